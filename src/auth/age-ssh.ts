/**
 * age files (age-encryption.org/v1) to SSH keys. The age specification leaves their stanzas, `ssh-ed25519` and
 * `ssh-rsa`, to filippo.io/age/agessh; this file composes them from the primitives of crypto.ts.
 *
 * `encryptToKey` is for relays' challenges and clients' messages, which are small and must be fast: it needs no part of
 * age-encryption. The Recipient and the Identity are for age-encryption's Encrypter and Decrypter. This file does not
 * decide whether a text may be decrypted or returned: that is the client's duty (docs/protocol.md, section 7).
 */
import type { Identity, Recipient, Stanza } from 'age-encryption'
import { encryptChunk, FILE_KEY_BYTES, VERSION } from './age-chunk.ts'
import { createShare, encryptOaep, hkdf, type Multiply, open, seal, TAG_BYTES, x25519 } from './crypto.ts'
import { toMontgomery } from './ed25519-point.ts'
import type { SshKey, SshPrivateKey } from './ssh-key.ts'
import { concat } from './ssh-wire.ts'
import { decodeUnpadded, encodeUnpadded } from './unpadded.ts'

const ED25519_LABEL = `${VERSION}/ssh-ed25519`
const utf8 = new TextEncoder()
const RSA_LABEL = utf8.encode(`${VERSION}/ssh-rsa`)
/** A wrap key is used only once, so its nonce is fixed (age specification, "ChaCha20-Poly1305"). */
const WRAP_NONCE = new Uint8Array(12)
const NOTHING = new Uint8Array(0)
/** Stanzas with our tag that are tried. Two keys share a tag by chance once in 2^32. */
const MOST_TRIES = 3

/**
 * Encrypts a plaintext to a key, as a binary age file of one chunk.
 *
 * @param plaintext at most 64 KiB
 * @param key `ssh-ed25519` or `ssh-rsa`, parsed with the full check
 * @param pause awaited between pieces of some 100 µs, so that the caller can do other work in between
 * @throws {RangeError} if the plaintext is longer
 * @throws {TypeError} if the key cannot decrypt
 */
export async function encryptToKey(plaintext: Uint8Array, key: SshKey, pause: Pause = goOn): Promise<Uint8Array> {
  const wrap = createWrap(key)
  await pause()
  return encryptChunk(plaintext, (fileKey) => wrap(fileKey, pause))
}

type Pause = () => Promise<void>
type Wrap = (fileKey: Uint8Array, pause?: Pause) => Promise<Stanza>

const goOn: Pause = async () => {}

/** Encrypts messages of any size to an SSH key, as a recipient of age-encryption's Encrypter. */
export class SshRecipient implements Recipient {
  readonly #wrap: Wrap

  /** @throws {TypeError} if the key cannot decrypt */
  constructor(key: SshKey) {
    this.#wrap = createWrap(key)
  }

  async wrapFileKey(fileKey: Uint8Array): Promise<Stanza[]> {
    return [await this.#wrap(fileKey)]
  }
}

/** Decrypts messages with an SSH key, as an identity of age-encryption's Decrypter. */
export class SshIdentity implements Identity {
  readonly #key: SshPrivateKey

  /** @throws {TypeError} if the key cannot decrypt */
  constructor(privateKey: SshPrivateKey) {
    requireDecrypting(privateKey.public)
    this.#key = privateKey
  }

  /**
   * Decrypts the file key. Tries the stanzas that carry this key's tag, {@link MOST_TRIES} at most: the tag is public,
   * so any sender can write it into a thousand stanzas, and each try costs a private-key operation (up to 50 ms for
   * RSA-4096).
   *
   * @returns null if no tried stanza is for this key
   * @throws {Error} if a stanza of this key's type is malformed, or its share is of small order
   */
  async unwrapFileKey(stanzas: Stanza[]): Promise<Uint8Array | null> {
    const { material, type } = this.#key.public
    const tag = computeTag(this.#key.public)
    let tries = 0
    for (const stanza of stanzas) {
      if (stanza.args[0] !== type) continue
      const share = readShare(stanza, type)
      // The tag has 4 bytes: another key may have the same one, and only the decryption tells.
      if (stanza.args[1] !== tag) continue
      // A file to an RSA key of another size and the same tag is sound; an ed25519 stanza has one length (age
      // specification).
      if (material.kind === 'rsa' && stanza.body.length !== material.modulus.length) continue
      if (material.kind !== 'rsa' && stanza.body.length !== FILE_KEY_BYTES + TAG_BYTES) throw malformed(type)
      if (++tries > MOST_TRIES) return null
      // RSA operations of several messages in a row would otherwise run without a break.
      if (tries > 1 || material.kind === 'rsa') await nextTurn()
      const fileKey = share === undefined ? this.#unwrapRsa(stanza.body) : this.#unwrapEd25519(share, stanza.body)
      if (fileKey !== null) return fileKey
    }
    return null
  }

  #unwrapEd25519(share: Uint8Array, body: Uint8Array): Uint8Array | null {
    const { point, tweak } = convert(this.#key.public)
    let shared: Uint8Array
    try {
      shared = tweak(this.#key.multiply!(share))
    } catch {
      // The result was all zero (RFC 7748, section 6.1).
      throw malformed('ssh-ed25519')
    }
    const salt = concat(share, point)
    return open(hkdf(shared, salt, ED25519_LABEL), WRAP_NONCE, body)
  }

  #unwrapRsa(body: Uint8Array): Uint8Array | null {
    try {
      const fileKey = this.#key.decrypt!(body, RSA_LABEL)
      return fileKey.length === FILE_KEY_BYTES ? fileKey : null
    } catch {
      return null
    }
  }
}

/**
 * Checks the arguments of a stanza, and returns its share: 32 bytes for `ssh-ed25519`, undefined for `ssh-rsa`.
 *
 * @throws {Error}
 */
function readShare({ args }: Stanza, type: string): Uint8Array | undefined {
  const isEd25519 = type === 'ssh-ed25519'
  if (args.length !== (isEd25519 ? 3 : 2) || decodeUnpadded(args[1]!)?.length !== 4) throw malformed(type)
  if (!isEd25519) return undefined
  const share = decodeUnpadded(args[2]!)
  if (share?.length !== 32) throw malformed(type)
  return share
}

/** Lets the event loop serve everything else: a timer, because web pages have no other way. */
function nextTurn(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 0))
}

function requireDecrypting(key: SshKey): void {
  if (!key.canDecrypt) throw new TypeError('age cannot encrypt to a key of this type: it can only sign')
}

/** @throws {TypeError} if the key cannot decrypt */
function createWrap(key: SshKey): Wrap {
  requireDecrypting(key)
  const { material } = key
  const tag = computeTag(key)
  if (material.kind === 'rsa') return async (fileKey) => ({ args: ['ssh-rsa', tag], body: await encryptOaep(material, fileKey, RSA_LABEL) })
  const { point, tweak } = convert(key)
  return async (fileKey, pause = goOn) => {
    const { share, multiply } = createShare()
    const shared = multiply(point)
    await pause()
    const wrapKey = hkdf(tweak(shared), concat(share, point), ED25519_LABEL)
    return { args: ['ssh-ed25519', tag, encodeUnpadded(share)], body: seal(wrapKey, WRAP_NONCE, fileKey) }
  }
}

/** Computes the tag of agessh, by which a stanza names its key. */
function computeTag(key: SshKey): string {
  return encodeUnpadded(key.fingerprint.subarray(0, 4))
}

/** The X25519 form of an ed25519 key. It is the same for every file. */
interface Converted {
  readonly point: Uint8Array
  /** The tweak of agessh: binds the shared secret to the SSH key, so that it differs from that of a bare X25519 key. */
  readonly tweak: Multiply
}

/** The forms of keys that are in use. They contain no secret. */
const converted = new WeakMap<SshKey, Converted>()

function convert(key: SshKey): Converted {
  if (key.material.kind !== 'ed25519') throw new TypeError('not an ed25519 key')
  let form = converted.get(key)
  if (form === undefined) {
    form = { point: toMontgomery(key.material.point), tweak: x25519(hkdf(NOTHING, key.blob, ED25519_LABEL)) }
    converted.set(key, form)
  }
  return form
}

const malformed = (type: string): Error => new Error(`malformed ${type} stanza`)
