/**
 * The functions of crypto.ts for a page: synchronous ones by @noble/*, operations with public keys by WebCrypto.
 * WebCrypto exists only in secure contexts (https, localhost, and .onion in Tor Browser).
 *
 * Two things are weaker than in Node: the browser bounds RSA exponents (Chromium: 33 bits), and copies of a secret that
 * a JavaScript engine makes cannot be overwritten.
 */
import { chacha20poly1305 } from '@noble/ciphers/chacha.js'
import { ed25519 as noble, x25519 as nobleX } from '@noble/curves/ed25519.js'
import { hkdf as nobleHkdf } from '@noble/hashes/hkdf.js'
import { hmac as nobleHmac } from '@noble/hashes/hmac.js'
import { sha256 as sha2_256, sha512 as sha2_512 } from '@noble/hashes/sha2.js'
import { sha3_256, shake256 as nobleShake } from '@noble/hashes/sha3.js'
import { ml_kem768 } from '@noble/post-quantum/ml-kem.js'
import { encodeBase64 } from '../protocol/base64.ts'
import { MissingCryptoError } from './missing-crypto.ts'
import type { Digest, Hash, KemKey, Multiply } from './crypto.ts'
import type { KeyMaterial, RsaMaterial } from './key-material.ts'

export type { Digest, Hash, KemKey, Multiply } from './crypto.ts'

export const TAG_BYTES = 16
const SCALAR_BYTES = 32

const utf8 = new TextEncoder()

export function randomBytes(length: number): Uint8Array {
  return crypto.getRandomValues(new Uint8Array(length))
}

export function sha256(bytes: Uint8Array): Uint8Array {
  return sha2_256(bytes)
}

export function sha512(bytes: Uint8Array): Uint8Array {
  return sha2_512(bytes)
}

export function sha3(bytes: Uint8Array): Uint8Array {
  return sha3_256(bytes)
}

export function startSha256(): Hash {
  return sha2_256.create()
}

export function shake256(bytes: Uint8Array, length: number): Uint8Array {
  return nobleShake(bytes, { dkLen: length })
}

export function hmac(key: Uint8Array, message: Uint8Array): Uint8Array {
  return nobleHmac(sha2_256, key, message)
}

export function hkdf(secret: Uint8Array, salt: Uint8Array, info: string): Uint8Array {
  return nobleHkdf(sha2_256, secret, salt, utf8.encode(info), 32)
}

export function isEqual(one: Uint8Array, other: Uint8Array): boolean {
  if (one.length !== other.length) throw new RangeError('the compared lengths differ')
  let differing = 0
  for (const [at, byte] of one.entries()) differing |= byte ^ other[at]!
  return differing === 0
}

export function seal(key: Uint8Array, nonce: Uint8Array, plaintext: Uint8Array): Uint8Array {
  return chacha20poly1305(key, nonce).encrypt(plaintext)
}

export function open(key: Uint8Array, nonce: Uint8Array, ciphertext: Uint8Array): Uint8Array | null {
  try {
    return chacha20poly1305(key, nonce).decrypt(ciphertext)
  } catch {
    return null
  }
}

export function x25519(scalar: Uint8Array): Multiply {
  const own = Uint8Array.from(scalar)
  return (point) => nobleX.getSharedSecret(own, point)
}

export function createShare(): { readonly share: Uint8Array; readonly multiply: Multiply } {
  const scalar = randomBytes(SCALAR_BYTES)
  return { share: nobleX.getPublicKey(scalar), multiply: x25519(scalar) }
}

export function kemKey(seed: Uint8Array): KemKey {
  const { publicKey, secretKey } = ml_kem768.keygen(seed)
  return { public: publicKey, decapsulate: (ciphertext) => ml_kem768.decapsulate(ciphertext, secretKey) }
}

export function encapsulateTo(key: Uint8Array): { readonly ciphertext: Uint8Array; readonly secret: Uint8Array } {
  const { cipherText, sharedSecret } = ml_kem768.encapsulate(key)
  return { ciphertext: cipherText, secret: sharedSecret }
}

export function ed25519(seed: Uint8Array): { readonly point: Uint8Array; sign(message: Uint8Array): Uint8Array } {
  const own = Uint8Array.from(seed)
  return { point: noble.getPublicKey(own), sign: (message) => noble.sign(message, own) }
}

export { isNistPoint as isOnCurve } from './nist-point.ts'

/** As in crypto.ts. @throws {MissingCryptoError} in an insecure context */
export async function encryptOaep(key: RsaMaterial, plaintext: Uint8Array, label: Uint8Array): Promise<Uint8Array> {
  const subtle = secureSubtle()
  const imported = await importRsa(key, { name: 'RSA-OAEP', hash: 'SHA-256' }, 'encrypt')
  return new Uint8Array(await subtle.encrypt({ name: 'RSA-OAEP', label: own(label) }, imported, own(plaintext)))
}

/**
 * As in crypto.ts, with @noble/curves for ed25519 if WebCrypto does not check it.
 * @throws {MissingCryptoError} if WebCrypto is missing, or does not support the key
 */
export async function verify(key: KeyMaterial, digest: Digest | undefined, message: Uint8Array, signature: Uint8Array): Promise<boolean> {
  try {
    const subtle = secureSubtle()
    // Chromium takes RSA exponents of 33 bits at most, and reports longer ones as malformed.
    if (key.kind === 'rsa' && key.exponent.length > 4) throw new MissingCryptoError('unsupported-key')
    const { imported, algorithm } = await importVerifying(key, digest)
    return await subtle.verify(algorithm, imported, own(signature), own(message))
  } catch (error) {
    const missing = error instanceof MissingCryptoError || (error as { name?: unknown }).name === 'NotSupportedError'
    if (!missing) return false
    if (key.kind === 'ed25519') return verifyEd25519(key.point, message, signature)
    throw error instanceof MissingCryptoError ? error : new MissingCryptoError('unsupported-key')
  }
}

/** Returns WebCrypto. @throws {MissingCryptoError} in an insecure context, which has none */
function secureSubtle(): SubtleCrypto {
  // The type says that it is always there.
  const subtle = crypto.subtle as SubtleCrypto | undefined
  if (subtle === undefined) throw new MissingCryptoError('insecure-context')
  return subtle
}

/** Checks by RFC 8032's rules, as OpenSSL does, and not by those of ZIP 215. */
function verifyEd25519(point: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean {
  try {
    return noble.verify(signature, message, point, { zip215: false })
  } catch {
    return false
  }
}

const HASHES = { sha256: 'SHA-256', sha384: 'SHA-384', sha512: 'SHA-512' } as const satisfies Record<Digest, string>
const CURVES = { nistp256: 'P-256', nistp384: 'P-384', nistp521: 'P-521' } as const

async function importVerifying(
  key: KeyMaterial,
  digest: Digest | undefined,
): Promise<{ imported: CryptoKey; algorithm: { name: string; hash?: string } }> {
  switch (key.kind) {
    case 'ed25519': {
      const algorithm = { name: 'Ed25519' }
      return { imported: await crypto.subtle.importKey('raw', own(key.point), algorithm, false, ['verify']), algorithm }
    }
    case 'ecdsa': {
      const algorithm = { name: 'ECDSA', namedCurve: CURVES[key.curve], hash: HASHES[digest!] }
      return { imported: await crypto.subtle.importKey('raw', own(key.point), algorithm, false, ['verify']), algorithm }
    }
    case 'rsa': {
      const algorithm = { name: 'RSASSA-PKCS1-v1_5', hash: HASHES[digest!] }
      return { imported: await importRsa(key, algorithm, 'verify'), algorithm }
    }
  }
}

function importRsa(key: RsaMaterial, algorithm: { name: string; hash: string }, usage: 'verify' | 'encrypt'): Promise<CryptoKey> {
  const jwk = { kty: 'RSA', n: toBase64Url(key.modulus), e: toBase64Url(key.exponent) }
  return crypto.subtle.importKey('jwk', jwk, algorithm, false, [usage])
}

function toBase64Url(bytes: Uint8Array): string {
  return encodeBase64(bytes).replaceAll('+', '-').replaceAll('/', '_').replace(/=+$/, '')
}

/** Copies bytes: the types of WebCrypto require memory that no other thread shares. */
function own(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  return new Uint8Array(bytes)
}
