/** Public keys in the form that node:crypto takes. For Node only: a page uses WebCrypto (crypto.web.ts). */
import { createPublicKey, type KeyObject } from 'node:crypto'
import type { EcdsaCurve, KeyMaterial } from './key-material.ts'
import { concat } from './ssh-wire.ts'

/** The prefix of the point in a SubjectPublicKeyInfo. */
const ED25519_SPKI = Buffer.from('302a300506032b6570032100', 'hex')
const ECDSA_SPKI = {
  nistp256: Buffer.from('3059301306072a8648ce3d020106082a8648ce3d030107034200', 'hex'),
  nistp384: Buffer.from('3076301006072a8648ce3d020106052b81040022036200', 'hex'),
  nistp521: Buffer.from('30819b301006072a8648ce3d020106052b8104002303818600', 'hex'),
} as const satisfies Record<EcdsaCurve, Buffer>

/** Returns the same memory with the methods of Buffer. Copies nothing. */
export function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

/**
 * Creates a key object.
 *
 * @throws {Error} if the key was parsed by form only and its point is not on its curve (ECDSA; OpenSSL checks it)
 */
export function createKeyObject(material: KeyMaterial): KeyObject {
  const encoded = encodeKey(material)
  try {
    return createPublicKey(encoded)
  } finally {
    encoded.key.fill(0)
  }
}

/**
 * Encodes a key for one call of node:crypto. A KeyObject would keep OpenSSL's copy until V8 collects its old objects.
 * DER and not JWK, which imports a little faster: a JWK consists of strings, which cannot be overwritten.
 *
 * The caller must overwrite `key`.
 */
export function encodeKey(material: KeyMaterial): { key: Buffer; format: 'der'; type: 'pkcs1' | 'spki' } {
  return { key: asBuffer(encodeDer(material)), format: 'der', type: material.kind === 'rsa' ? 'pkcs1' : 'spki' }
}

/** Encodes an RSAPublicKey (RFC 8017, appendix A.1.1) or a SubjectPublicKeyInfo (RFC 5480, RFC 8410). */
function encodeDer(material: KeyMaterial): Uint8Array {
  switch (material.kind) {
    case 'ed25519':
      return concat(ED25519_SPKI, material.point)
    case 'rsa': {
      const { modulus, exponent } = material
      const parts = [beginInteger(modulus), modulus, beginInteger(exponent), exponent]
      return concat(
        begin(
          0x30,
          parts.reduce((sum, part) => sum + part.length, 0),
        ),
        ...parts,
      )
    }
    case 'ecdsa':
      return concat(ECDSA_SPKI[material.curve], material.point)
  }
}

/**
 * Writes the head of a positive INTEGER. DER integers have a sign, so a first byte from 0x80 up needs a zero before it.
 */
function beginInteger(magnitude: Uint8Array): Uint8Array {
  return magnitude[0]! < 0x80 ? begin(0x02, magnitude.length) : concat(begin(0x02, magnitude.length + 1), Uint8Array.of(0))
}

/** Writes the head of an element: its tag and the length of its content. */
function begin(tag: number, length: number): Uint8Array {
  return length < 0x80
    ? Uint8Array.of(tag, length)
    : length < 0x100
      ? Uint8Array.of(tag, 0x81, length)
      : Uint8Array.of(tag, 0x82, length >> 8, length & 0xff)
}
