/**
 * age files (age-encryption.org/v1) to SSH keys. The age specification leaves their stanzas, `ssh-ed25519` and
 * `ssh-rsa`, to filippo.io/age/agessh; this file composes them from the primitives of crypto.ts. @noble/curves only
 * maps an ed25519 point to X25519.
 *
 * `encryptToKey` is for the relay's challenges, which are small and must be fast. The Recipient and the Identity are
 * for age-encryption's Encrypter and Decrypter, and so for clients' messages. This file does not decide whether a text
 * may be decrypted or returned: that is the client's duty (docs/protocol.md, section 7).
 */
import { ed25519 } from '@noble/curves/ed25519.js'
import { Stanza, type Identity, type Recipient } from 'age-encryption'
import { encodeBase64 } from '../protocol/base64.ts'
import { createShare, encryptOaep, hkdf, hmac, type Multiply, open, randomBytes, seal, TAG_BYTES, x25519 } from './crypto.ts'
import type { SshKey, SshPrivateKey } from './ssh-key.ts'
import { concat, decodeBase64 } from './ssh-wire.ts'

const VERSION = 'age-encryption.org/v1'
const ED25519_LABEL = `${VERSION}/ssh-ed25519`
const utf8 = new TextEncoder()
const RSA_LABEL = utf8.encode(`${VERSION}/ssh-rsa`)
const FILE_KEY_BYTES = 16
const NONCE_BYTES = 16
const CHUNK_BYTES = 65_536
/** A wrap key is used only once, so its nonce is fixed (age specification, "ChaCha20-Poly1305"). */
const WRAP_NONCE = new Uint8Array(12)
/** The STREAM nonce of a chunk that is the first and the last: an 11-byte counter of 0, and the final flag. */
const ONLY_CHUNK_NONCE = Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1)
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
  if (plaintext.length > CHUNK_BYTES) throw new RangeError('the plaintext is longer than one age chunk')
  const drawn = randomBytes(FILE_KEY_BYTES + NONCE_BYTES)
  const fileKey = drawn.subarray(0, FILE_KEY_BYTES)
  const nonce = drawn.subarray(FILE_KEY_BYTES)
  const wrap = createWrap(key)
  await pause()
  const header = encodeHeader(await wrap(fileKey, pause))
  const mac = hmac(hkdf(fileKey, NOTHING, 'header'), utf8.encode(header))
  const payload = seal(hkdf(fileKey, nonce, 'payload'), ONLY_CHUNK_NONCE, plaintext)
  fileKey.fill(0)
  return concat(utf8.encode(`${header} ${toUnpadded(mac)}\n`), nonce, payload)
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
  /** Only for an ed25519 key. It contains no secret. */
  readonly #converted: Converted | undefined

  /** @throws {TypeError} if the key cannot decrypt */
  constructor(privateKey: SshPrivateKey) {
    requireDecrypting(privateKey.public)
    this.#key = privateKey
    this.#converted = privateKey.public.material.kind === 'ed25519' ? convert(privateKey.public) : undefined
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
    const { point, tweak } = this.#converted!
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
  if (material.kind === 'rsa') return async (fileKey) => new Stanza(['ssh-rsa', tag], await encryptOaep(material, fileKey, RSA_LABEL))
  const { point, tweak } = convert(key)
  return async (fileKey, pause = goOn) => {
    const { share, multiply } = createShare()
    const shared = multiply(point)
    await pause()
    const wrapKey = hkdf(tweak(shared), concat(share, point), ED25519_LABEL)
    return new Stanza(['ssh-ed25519', tag, toUnpadded(share)], seal(wrapKey, WRAP_NONCE, fileKey))
  }
}

/** Computes the tag of agessh, by which a stanza names its key. */
function computeTag(key: SshKey): string {
  return toUnpadded(key.fingerprint.subarray(0, 4))
}

/** The X25519 form of an ed25519 key. It is the same for every file. */
interface Converted {
  readonly point: Uint8Array
  /** The tweak of agessh: binds the shared secret to the SSH key, so that it differs from that of a bare X25519 key. */
  readonly tweak: Multiply
}

function convert(key: SshKey): Converted {
  return { point: toMontgomery(key), tweak: x25519(hkdf(NOTHING, key.blob, ED25519_LABEL)) }
}

/** Maps an ed25519 point to X25519: u = (1 + y) / (1 - y) (RFC 7748, section 4.1). The parser checked the point. */
function toMontgomery({ material }: SshKey): Uint8Array {
  if (material.kind !== 'ed25519') throw new TypeError('not an ed25519 key')
  const { Fp } = ed25519.Point
  const encoded = Uint8Array.from(material.point)
  encoded[31]! &= 0x7f
  const y = Fp.fromBytes(encoded)
  encoded.fill(0)
  return Fp.toBytes(Fp.div(Fp.add(Fp.ONE, y), Fp.sub(Fp.ONE, y)))
}

/** Encodes a header of one stanza, up to and with `---`: the part that the MAC covers. */
function encodeHeader({ args, body }: Stanza): string {
  // Lines of 64 characters. The last line is shorter, and empty if the others are full.
  const lines = toUnpadded(body).replace(/.{64}/g, '$&\n')
  return `${VERSION}\n-> ${args.join(' ')}\n${lines}\n---`
}

function toUnpadded(bytes: Uint8Array): string {
  return encodeBase64(bytes).replace(/=+$/, '')
}

/** Decodes canonical unpadded base64, as the age specification demands. Returns undefined for anything else. */
function decodeUnpadded(text: string): Uint8Array | undefined {
  if (text.includes('=')) return undefined
  try {
    return decodeBase64(text.padEnd(Math.ceil(text.length / 4) * 4, '='))
  } catch {
    return undefined
  }
}

const malformed = (type: string): Error => new Error(`malformed ${type} stanza`)
