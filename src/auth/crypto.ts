/**
 * The primitives that keys, age files and signatures are composed from, by node:crypto. In a page `crypto.web.ts`
 * stands in this file's place (package.json, `browser`); both have the same names and do the same.
 * What is asynchronous is so in one of the two: on Node's thread pool, or in WebCrypto.
 * Copies of a key that are made here are overwritten here.
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

export function randomBytes(length: number): Uint8Array {
  return drawBytes(length)
}

export function sha256(bytes: Uint8Array): Uint8Array {
  return hash('sha256', bytes, 'buffer')
}

export function sha512(bytes: Uint8Array): Uint8Array {
  return hash('sha512', bytes, 'buffer')
}

/** HMAC-SHA-256. */
export function hmac(key: Uint8Array, message: Uint8Array): Uint8Array {
  return createHmac('sha256', key).update(message).digest()
}

/** HKDF-SHA-256 (RFC 5869) of 32 bytes. */
export function hkdf(secret: Uint8Array, salt: Uint8Array, info: string): Uint8Array {
  return new Uint8Array(hkdfSync('sha256', secret, salt, info, 32))
}

/** Whether both are the same, in constant time. @throws where their lengths differ */
export function isEqual(one: Uint8Array, other: Uint8Array): boolean {
  return timingSafeEqual(one, other)
}

/** ChaCha20-Poly1305 (RFC 8439): the ciphertext, and behind it the tag. */
export function seal(key: Uint8Array, nonce: Uint8Array, plaintext: Uint8Array): Uint8Array {
  const cipher = createCipheriv('chacha20-poly1305', key, nonce, { authTagLength: TAG_BYTES })
  return Buffer.concat([cipher.update(plaintext), cipher.final(), cipher.getAuthTag()])
}

/** The plaintext of {@link seal}; null where the tag is wrong, or there is none. */
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

/** X25519 (RFC 7748) by one scalar. @throws where the result is all zero */
export type Multiply = (point: Uint8Array) => Uint8Array

/** @param scalar 32 bytes, clamped and copied here */
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

/** A new scalar and its point. */
export function createShare(): { readonly share: Uint8Array; readonly multiply: Multiply } {
  const { publicKey, privateKey } = generateKeyPairSync('x25519')
  const share = Buffer.from(publicKey.export({ format: 'jwk' }).x!, 'base64url')
  return { share, multiply: multiplyBy(privateKey) }
}

/** PKCS8 around a raw scalar (RFC 8410, section 7): JWK would need the public half as well. */
const X25519_PKCS8 = Buffer.from('302e020100300506032b656e04220420', 'hex')
/** And around an ed25519 seed. */
const ED25519_PKCS8 = Buffer.from('302e020100300506032b657004220420', 'hex')

/** OpenSSL refuses an all-zero result (RFC 7748, section 6.1). */
function multiplyBy(privateKey: KeyObject): Multiply {
  return (point) => {
    const x = asBuffer(point).toString('base64url')
    return diffieHellman({ privateKey, publicKey: createPublicKey({ key: { kty: 'OKP', crv: 'X25519', x }, format: 'jwk' }) })
  }
}

/** The ed25519 key (RFC 8032) of a seed of 32 bytes: its public point, and what signs. */
export function ed25519(seed: Uint8Array): { readonly point: Uint8Array; sign(message: Uint8Array): Uint8Array } {
  const privateKey = importPrivateKey(ED25519_PKCS8, seed)
  const point = Buffer.from(createPublicKey(privateKey).export({ format: 'jwk' }).x!, 'base64url')
  return { point, sign: (message) => sign(null, message, privateKey) }
}

/** RSA-OAEP (RFC 8017) with SHA-256. */
export async function encryptOaep(key: RsaMaterial, plaintext: Uint8Array, label: Uint8Array): Promise<Uint8Array> {
  const encoded = encodeKey(key)
  try {
    return publicEncrypt({ ...encoded, oaepHash: 'sha256', oaepLabel: asBuffer(label) }, plaintext)
  } finally {
    encoded.key.fill(0)
  }
}

/**
 * Whether it is a signature of `message` by the key: RSA by PKCS1 v1.5; ECDSA's as r and s at the curve's full size.
 *
 * @param digest undefined for ed25519, which has its own
 * @returns false for a point that is none, too
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
    // OpenSSL imports no point that is off its curve.
    return false
  } finally {
    encoded.key.fill(0)
  }
}

/**
 * Whether a signature by the key is checked within some 150 µs: the way to the thread pool and back takes as much. What
 * takes up to 3 ms must not hold up everybody's messages.
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
