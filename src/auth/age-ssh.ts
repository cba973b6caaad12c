/**
 * age files (age-encryption.org/v1) to SSH keys: the `ssh-ed25519` and `ssh-rsa` stanzas of
 * filippo.io/age/agessh, which the age specification leaves to it, composed from node:crypto's
 * primitives; @noble/curves only maps an ed25519 point to X25519.
 * Two ways in: `encryptToKey` for the relay's challenges, which need speed and are small, and a Recipient and an
 * Identity for age-encryption's Encrypter and Decrypter, for clients' messages.
 * Decides nothing about whether a text may be decrypted or returned: docs/protocol.md, section 3, is the client's duty.
 */
import {
  createCipheriv,
  createDecipheriv,
  createHash,
  createHmac,
  createPrivateKey,
  createPublicKey,
  diffieHellman,
  generateKeyPairSync,
  hkdfSync,
  privateDecrypt,
  publicEncrypt,
  randomBytes,
  type KeyObject,
} from 'node:crypto'
import { ed25519 } from '@noble/curves/ed25519.js'
import { Stanza, type Identity, type Recipient } from 'age-encryption'
import type { SshPrivateKey } from './private-key.ts'
import { encodeKey, type SshKey } from './ssh-key.ts'
import { asBuffer } from './ssh-wire.ts'

const VERSION = 'age-encryption.org/v1'
const ED25519_LABEL = `${VERSION}/ssh-ed25519`
const RSA_LABEL = Buffer.from(`${VERSION}/ssh-rsa`)
const FILE_KEY_BYTES = 16
const TAG_BYTES = 16
const CHUNK_BYTES = 65_536
/** Wrap keys are used once, so their nonce is fixed (age specification, "ChaCha20-Poly1305"). */
const WRAP_NONCE = Buffer.alloc(12)
/** STREAM's nonce of a first chunk that is the last: an 11-byte counter of 0, and the final flag. */
const ONLY_CHUNK_NONCE = Buffer.from('000000000000000000000001', 'hex')
/** PKCS8 around a raw X25519 scalar (RFC 8410, section 7): JWK would need the public half as well. */
const X25519_PKCS8 = Buffer.from('302e020100300506032b656e04220420', 'hex')
const NOTHING = Buffer.alloc(0)

/**
 * A whole binary age file of one chunk: a challenge.
 *
 * @param plaintext at most 64 KiB
 * @param key `ssh-ed25519` or `ssh-rsa`, parsed with the full check
 * @throws {RangeError} on a longer plaintext
 * @throws {TypeError} on a key that cannot decrypt
 */
export async function encryptToKey(plaintext: Uint8Array, key: SshKey): Promise<Uint8Array> {
  if (plaintext.length > CHUNK_BYTES) throw new RangeError('plaintext over one age chunk')
  const fileKey = randomBytes(FILE_KEY_BYTES)
  const nonce = randomBytes(16)
  const header = encodeHeader(wrap(fileKey, key))
  const mac = createHmac('sha256', hkdf(fileKey, NOTHING, 'header'))
    .update(header)
    .digest()
  const payload = seal(hkdf(fileKey, nonce, 'payload'), ONLY_CHUNK_NONCE, plaintext)
  return Buffer.concat([Buffer.from(`${header} ${toUnpadded(mac)}\n`), nonce, payload])
}

/** For age-encryption's Encrypter: messages of any size to an SSH key. */
export class SshRecipient implements Recipient {
  readonly #key: SshKey

  /** @throws {TypeError} on a key that cannot decrypt */
  constructor(key: SshKey) {
    requireDecrypting(key)
    this.#key = key
  }

  wrapFileKey(fileKey: Uint8Array): Stanza[] {
    return [wrap(fileKey, this.#key)]
  }
}

/** For age-encryption's Decrypter. */
export class SshIdentity implements Identity {
  readonly #key: SshPrivateKey

  /** @throws {TypeError} on a key that cannot decrypt */
  constructor(privateKey: SshPrivateKey) {
    requireDecrypting(privateKey.public)
    this.#key = privateKey
  }

  /**
   * @returns the file key, or null where no stanza is for this key
   * @throws {Error} on a malformed stanza of this key's type, and where its share is of small order
   */
  unwrapFileKey(stanzas: Stanza[]): Uint8Array | null {
    const { type } = this.#key.public
    const tag = computeTag(this.#key.public)
    for (const stanza of stanzas) {
      if (stanza.args[0] !== type) continue
      // The tag has 4 bytes: someone else's may be ours, and then only the decryption tells.
      const fileKey = type === 'ssh-ed25519' ? this.#unwrapEd25519(stanza, tag) : this.#unwrapRsa(stanza, tag)
      if (fileKey !== null) return fileKey
    }
    return null
  }

  #unwrapEd25519({ args, body }: Stanza, tag: string): Uint8Array | null {
    const share = args.length === 3 ? decodeUnpadded(args[2]!) : undefined
    if (share?.length !== 32 || decodeUnpadded(args[1]!)?.length !== 4) throw malformed('ssh-ed25519')
    if (args[1] !== tag) return null
    if (body.length !== FILE_KEY_BYTES + TAG_BYTES) throw malformed('ssh-ed25519')
    const { public: key, keyObject } = this.#key
    const seed = Buffer.from(keyObject.export({ format: 'jwk' }).d!, 'base64url')
    // RFC 8032, section 5.1.5: the scalar is the first half of the seed's hash; X25519 clamps it alike.
    const scalar = createHash('sha512').update(seed).digest().subarray(0, 32)
    let shared: Buffer
    try {
      shared = multiply(computeTweak(key), multiply(importScalar(scalar), share))
    } catch {
      // OpenSSL refuses an all-zero result (RFC 7748, section 6.1).
      throw malformed('ssh-ed25519')
    }
    const salt = Buffer.concat([share, toMontgomery(key)])
    return open(hkdf(shared, salt, ED25519_LABEL), WRAP_NONCE, body)
  }

  #unwrapRsa({ args, body }: Stanza, tag: string): Uint8Array | null {
    if (args.length !== 2 || decodeUnpadded(args[1]!)?.length !== 4) throw malformed('ssh-rsa')
    if (args[1] !== tag) return null
    try {
      const fileKey = privateDecrypt({ key: this.#key.keyObject, oaepHash: 'sha256', oaepLabel: RSA_LABEL }, body)
      return fileKey.length === FILE_KEY_BYTES ? fileKey : null
    } catch {
      return null
    }
  }
}

function requireDecrypting(key: SshKey): void {
  if (!key.canDecrypt) throw new TypeError('age cannot encrypt to a key of this type')
}

function wrap(fileKey: Uint8Array, key: SshKey): Stanza {
  requireDecrypting(key)
  if (key.type === 'ssh-rsa') {
    const encoded = encodeKey(key)
    const body = publicEncrypt({ ...encoded, oaepHash: 'sha256', oaepLabel: RSA_LABEL }, fileKey)
    encoded.key.fill(0)
    return new Stanza(['ssh-rsa', computeTag(key)], body)
  }
  const ephemeral = generateKeyPairSync('x25519')
  const share = exportPoint(ephemeral.publicKey)
  const point = toMontgomery(key)
  const shared = multiply(computeTweak(key), multiply(ephemeral.privateKey, point))
  const wrapKey = hkdf(shared, Buffer.concat([share, point]), ED25519_LABEL)
  return new Stanza(['ssh-ed25519', computeTag(key), toUnpadded(share)], seal(wrapKey, WRAP_NONCE, fileKey))
}

/** agessh's tag: how a stanza says whose it is. */
function computeTag(key: SshKey): string {
  return toUnpadded(key.fingerprint.subarray(0, 4))
}

/** agessh's tweak: binds the shared secret to the SSH key, so that it differs from a bare X25519 key's. */
function computeTweak(key: SshKey): KeyObject {
  return importScalar(hkdf(NOTHING, key.blob, ED25519_LABEL))
}

/** An ed25519 key for X25519, u = (1 + y) / (1 - y) (RFC 7748, section 4.1). Its point was checked when parsed. */
function toMontgomery({ material }: SshKey): Buffer {
  if (material.kind !== 'ed25519') throw new TypeError('not an ed25519 key')
  const { Fp } = ed25519.Point
  const encoded = Uint8Array.from(material.point)
  encoded[31]! &= 0x7f
  const y = Fp.fromBytes(encoded)
  encoded.fill(0)
  return Buffer.from(Fp.toBytes(Fp.div(Fp.add(Fp.ONE, y), Fp.sub(Fp.ONE, y))))
}

function importScalar(scalar: Uint8Array): KeyObject {
  return createPrivateKey({ key: Buffer.concat([X25519_PKCS8, scalar]), format: 'der', type: 'pkcs8' })
}

function exportPoint(key: KeyObject): Buffer {
  return Buffer.from(key.export({ format: 'jwk' }).x!, 'base64url')
}

/** X25519. @throws where the result is all zero */
function multiply(privateKey: KeyObject, point: Uint8Array): Buffer {
  const x = asBuffer(point).toString('base64url')
  return diffieHellman({
    privateKey,
    publicKey: createPublicKey({ key: { kty: 'OKP', crv: 'X25519', x }, format: 'jwk' }),
  })
}

function hkdf(secret: Uint8Array, salt: Uint8Array, label: string): Buffer {
  return Buffer.from(hkdfSync('sha256', secret, salt, label, 32))
}

function seal(key: Uint8Array, nonce: Uint8Array, plaintext: Uint8Array): Buffer {
  const cipher = createCipheriv('chacha20-poly1305', key, nonce, { authTagLength: TAG_BYTES })
  return Buffer.concat([cipher.update(plaintext), cipher.final(), cipher.getAuthTag()])
}

/** @returns null where the tag is wrong */
function open(key: Uint8Array, nonce: Uint8Array, ciphertext: Uint8Array): Buffer | null {
  const decipher = createDecipheriv('chacha20-poly1305', key, nonce, { authTagLength: TAG_BYTES })
  decipher.setAuthTag(ciphertext.subarray(-TAG_BYTES))
  const plaintext = decipher.update(ciphertext.subarray(0, -TAG_BYTES))
  try {
    return Buffer.concat([plaintext, decipher.final()])
  } catch {
    return null
  }
}

/** A header of one stanza up to and with `---`, which is what the MAC covers. */
function encodeHeader({ args, body }: Stanza): string {
  // Lines of 64 characters; the last one is shorter, and empty where the others hold everything.
  const lines = toUnpadded(body).replace(/.{64}/g, '$&\n')
  return `${VERSION}\n-> ${args.join(' ')}\n${lines}\n---`
}

function toUnpadded(bytes: Uint8Array): string {
  return asBuffer(bytes).toString('base64').replace(/=+$/, '')
}

/** Canonical unpadded base64, as the age specification demands; undefined for anything else. */
function decodeUnpadded(text: string): Buffer | undefined {
  const bytes = Buffer.from(text, 'base64')
  return toUnpadded(bytes) === text ? bytes : undefined
}

const malformed = (type: string): Error => new Error(`malformed ${type} stanza`)
