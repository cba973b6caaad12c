/**
 * The primitives of keys, age files and signatures, from node:crypto. A page gets `crypto.web.ts` in place of this file
 * (package.json, `browser`); both export the same functions with the same behaviour. A function is asynchronous if it
 * is so in one of the two, on Node's thread pool or in WebCrypto. This file overwrites the copies
 * of keys that it makes.
 */
import {
  createCipheriv,
  createDecipheriv,
  createHash,
  createHmac,
  createPrivateKey,
  createPublicKey,
  decapsulate,
  diffieHellman,
  ECDH,
  encapsulate,
  generateKeyPairSync,
  hash,
  hkdfSync,
  type KeyObject,
  publicEncrypt,
  randomBytes as drawBytes,
  sign,
  timingSafeEqual,
  verify as verifySignature,
} from 'node:crypto'
import type { EcdsaCurve, KeyMaterial, RsaMaterial } from './key-material.ts'
import { asBuffer, encodeKey } from './key-object.ts'

export type Digest = 'sha256' | 'sha384' | 'sha512'

export const TAG_BYTES = 16

/** Draws random bytes. */
export function randomBytes(length: number): Uint8Array {
  return drawBytes(length)
}

export function sha256(bytes: Uint8Array): Uint8Array {
  return hash('sha256', bytes, 'buffer')
}

export function sha512(bytes: Uint8Array): Uint8Array {
  return hash('sha512', bytes, 'buffer')
}

/** Computes SHA3-256 (FIPS 202). */
export function sha3(bytes: Uint8Array): Uint8Array {
  return hash('sha3-256', bytes, 'buffer')
}

/** A SHA-256 of bytes that come in parts. */
export interface Hash {
  update(bytes: Uint8Array): unknown
  digest(): Uint8Array
}

export function startSha256(): Hash {
  return createHash('sha256')
}

/** Computes SHAKE256 (FIPS 202). @param length bytes of the result */
export function shake256(bytes: Uint8Array, length: number): Uint8Array {
  return createHash('shake256', { outputLength: length }).update(bytes).digest()
}

/** Computes HMAC-SHA-256. */
export function hmac(key: Uint8Array, message: Uint8Array): Uint8Array {
  return createHmac('sha256', key).update(message).digest()
}

/** Derives 32 bytes by HKDF-SHA-256 (RFC 5869). */
export function hkdf(secret: Uint8Array, salt: Uint8Array, info: string): Uint8Array {
  return new Uint8Array(hkdfSync('sha256', secret, salt, info, 32))
}

/** Compares in constant time. @throws {RangeError} if the lengths differ */
export function isEqual(one: Uint8Array, other: Uint8Array): boolean {
  return timingSafeEqual(one, other)
}

/** Encrypts by ChaCha20-Poly1305 (RFC 8439). Returns the ciphertext, followed by the tag of {@link TAG_BYTES}. */
export function seal(key: Uint8Array, nonce: Uint8Array, plaintext: Uint8Array): Uint8Array {
  const cipher = createCipheriv('chacha20-poly1305', key, nonce, { authTagLength: TAG_BYTES })
  return Buffer.concat([cipher.update(plaintext), cipher.final(), cipher.getAuthTag()])
}

/** Decrypts the result of {@link seal}. Returns null if the tag is wrong or missing. */
export function open(key: Uint8Array, nonce: Uint8Array, ciphertext: Uint8Array): Uint8Array | null {
  if (ciphertext.length < TAG_BYTES) return null
  const decipher = createDecipheriv('chacha20-poly1305', key, nonce, { authTagLength: TAG_BYTES })
  decipher.setAuthTag(ciphertext.subarray(-TAG_BYTES))
  const plaintext = decipher.update(ciphertext.subarray(0, -TAG_BYTES))
  try {
    return Buffer.concat([plaintext, decipher.final()])
  } catch {
    return null
  }
}

/** Multiplies a point by one scalar: X25519 (RFC 7748). @throws {Error} if the result is all zero */
export type Multiply = (point: Uint8Array) => Uint8Array

/** Creates the multiplication by a scalar. @param scalar 32 bytes; clamped and copied */
export function x25519(scalar: Uint8Array): Multiply {
  return multiplyBy(importPrivateKey(X25519_PKCS8, scalar))
}

function importPrivateKey(prefix: Uint8Array, secret: Uint8Array): KeyObject {
  const key = Buffer.concat([prefix, secret])
  try {
    return createPrivateKey({ key, format: 'der', type: 'pkcs8' })
  } finally {
    key.fill(0)
  }
}

/** Draws a new scalar. Returns its point, and the multiplication by it. */
export function createShare(): { readonly share: Uint8Array; readonly multiply: Multiply } {
  const { publicKey, privateKey } = generateKeyPairSync('x25519')
  const share = Buffer.from(publicKey.export({ format: 'jwk' }).x!, 'base64url')
  return { share, multiply: multiplyBy(privateKey) }
}

/** A private key of ML-KEM-768 (FIPS 203). */
export interface KemKey {
  /** The encapsulation key, 1,184 bytes. */
  readonly public: Uint8Array
  /** Returns the shared secret of a ciphertext: a random one if the ciphertext was not made for this key. */
  decapsulate(ciphertext: Uint8Array): Uint8Array
}

/**
 * Derives the key of a seed.
 * @param seed 64 bytes, d and z of FIPS 203, section 7.1; copied
 * @throws {Error} if the seed has another length
 */
export function kemKey(seed: Uint8Array): KemKey {
  requireLength(seed, 64)
  const privateKey = importPrivateKey(KEM_PKCS8, seed)
  const encoded = createPublicKey(privateKey).export({ format: 'der', type: 'spki' })
  return { public: encoded.subarray(KEM_SPKI.length), decapsulate: (ciphertext) => decapsulate(privateKey, ciphertext) }
}

/**
 * Draws a shared secret and encrypts it to a key of ML-KEM-768.
 * @param key 1,184 bytes
 * @returns the ciphertext, 1,088 bytes, and the secret, 32 bytes
 * @throws {Error} if the key is malformed
 */
export function encapsulateTo(key: Uint8Array): { readonly ciphertext: Uint8Array; readonly secret: Uint8Array } {
  requireLength(key, 1_184)
  const publicKey = createPublicKey({ key: Buffer.concat([KEM_SPKI, key]), format: 'der', type: 'spki' })
  const { ciphertext, sharedKey } = encapsulate(publicKey)
  return { ciphertext, secret: sharedKey }
}

/** OpenSSL ignores what follows a key. */
function requireLength(bytes: Uint8Array, length: number): void {
  if (bytes.length !== length) throw new RangeError(`not ${length} bytes`)
}

/** The PKCS8 prefix of a seed, and the SPKI prefix of an encapsulation key, of ML-KEM-768 (RFC 9935). */
const KEM_PKCS8 = Buffer.from('3054020100300b060960864801650304040204428040', 'hex')
const KEM_SPKI = Buffer.from('308204b2300b0609608648016503040402038204a100', 'hex')
/** The PKCS8 prefix of a raw scalar (RFC 8410, section 7). A JWK would also need the public half. */
const X25519_PKCS8 = Buffer.from('302e020100300506032b656e04220420', 'hex')
/** The PKCS8 prefix of an ed25519 seed. */
const ED25519_PKCS8 = Buffer.from('302e020100300506032b657004220420', 'hex')

/** OpenSSL refuses an all-zero result (RFC 7748, section 6.1). */
function multiplyBy(privateKey: KeyObject): Multiply {
  return (point) => {
    const x = asBuffer(point).toString('base64url')
    return diffieHellman({ privateKey, publicKey: createPublicKey({ key: { kty: 'OKP', crv: 'X25519', x }, format: 'jwk' }) })
  }
}

/** Creates the ed25519 key (RFC 8032) of a seed of 32 bytes. */
export function ed25519(seed: Uint8Array): { readonly point: Uint8Array; sign(message: Uint8Array): Uint8Array } {
  const privateKey = importPrivateKey(ED25519_PKCS8, seed)
  const point = Buffer.from(createPublicKey(privateKey).export({ format: 'jwk' }).x!, 'base64url')
  return { point, sign: (message) => sign(null, message, privateKey) }
}

const CURVES = { nistp256: 'prime256v1', nistp384: 'secp384r1', nistp521: 'secp521r1' } as const satisfies Record<EcdsaCurve, string>

/** Whether an uncompressed point (SEC 1, section 2.3.3) is on its curve. */
export function isOnCurve(curve: EcdsaCurve, point: Uint8Array): boolean {
  try {
    // OpenSSL checks the point while it reads it.
    ECDH.convertKey(point, CURVES[curve])
    return true
  } catch {
    return false
  }
}

/** Encrypts by RSA-OAEP (RFC 8017) with SHA-256. */
export async function encryptOaep(key: RsaMaterial, plaintext: Uint8Array, label: Uint8Array): Promise<Uint8Array> {
  const encoded = encodeKey(key)
  try {
    return publicEncrypt({ ...encoded, oaepHash: 'sha256', oaepLabel: asBuffer(label) }, plaintext)
  } finally {
    encoded.key.fill(0)
  }
}

/**
 * Verifies a signature of a message: for RSA by PKCS1 v1.5, for ECDSA as r and s at the curve's full size.
 *
 * @param digest undefined for ed25519, which has its own
 * @returns false also if the key's point is not on its curve
 */
export async function verify(key: KeyMaterial, digest: Digest | undefined, message: Uint8Array, signature: Uint8Array): Promise<boolean> {
  const encoded = encodeKey(key)
  try {
    const options = { ...encoded, dsaEncoding: 'ieee-p1363' } as const
    if (isQuick(key)) return verifySignature(digest, message, options, signature)
    return await new Promise((resolve) => {
      verifySignature(digest, message, options, signature, (error, good) => resolve(error === null && good))
    })
  } catch {
    // OpenSSL does not import a point that is off its curve.
    return false
  } finally {
    encoded.key.fill(0)
  }
}

/**
 * Whether a verification takes at most some 150 µs, which the way to the thread pool and back costs too. A verification
 * of up to 3 ms goes to the pool, so that it does not hold up the messages of all others.
 */
function isQuick(key: KeyMaterial): boolean {
  switch (key.kind) {
    case 'ed25519':
      return true
    case 'rsa':
      return key.modulus.length <= 512 && key.exponent.length <= 3
    case 'ecdsa':
      return key.curve === 'nistp256'
  }
}
