/**
 * The primitives of keys, age files and signatures, from node:crypto. A page gets `crypto.web.ts` in place of this file
 * (package.json, `browser`); both export the same functions with the same behaviour. A function is asynchronous if it
 * is so in one of the two, on Node's thread pool or in WebCrypto. This file overwrites the copies
 * of keys that it makes.
 */
import {
  createCipheriv,
  createDecipheriv,
  createHmac,
  createPrivateKey,
  createPublicKey,
  diffieHellman,
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
import type { KeyMaterial, RsaMaterial } from './key-material.ts'
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
