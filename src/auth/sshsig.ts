/**
 * SSHSIG signatures (OpenSSH, PROTOCOL.sshsig; FIDO keys: PROTOCOL.u2f), as `ssh-keygen -Y sign` makes them. A key that
 * cannot decrypt proves itself by one (docs/protocol.md, section 3). On the wire a signature is the base64 of its blob,
 * without armor. Must not tell why it refuses a signature.
 */
import { MissingCryptoError } from './missing-crypto.ts'
import { type Digest, isEqual, sha256, sha512, verify } from './crypto.ts'
import type { EcdsaCurve, KeyMaterial } from './key-material.ts'
import { eraseKey, parseKeyBlob, type SshKey, type SshKeyType, type SshPrivateKey } from './ssh-key.ts'
import { concat, encodeMpint, encodeString, encodeUint32, isSame, WireError, WireReader } from './ssh-wire.ts'

/** The namespace of signatures for a login. A signature for another namespace must not log in. */
export const AUTH_NAMESPACE = 'asfaleia-auth'

const utf8 = new TextEncoder()
const MAGIC = utf8.encode('SSHSIG')
const VERSION = 1
const USER_PRESENT = 0x01
const USER_VERIFIED = 0x04

type Hash = Exclude<Digest, 'sha384'>

/** The hash of each curve (RFC 5656, section 6.2.1), and the size of r and s in bytes. */
const CURVES = {
  nistp256: { digest: 'sha256', bytes: 32 },
  nistp384: { digest: 'sha384', bytes: 48 },
  nistp521: { digest: 'sha512', bytes: 66 },
} as const satisfies Record<EcdsaCurve, { digest: Digest; bytes: number }>

/** The signed fields between namespace and digest: the empty reserved field, the algorithm, the digest's length. */
const BEFORE_DIGEST = {
  sha256: concat(encodeString(''), encodeString('sha256'), encodeUint32(32)),
  sha512: concat(encodeString(''), encodeString('sha512'), encodeUint32(64)),
} as const satisfies Record<Hash, Uint8Array>

interface Parsed {
  readonly key: SshKey
  readonly namespace: Uint8Array
  readonly hash: Hash
  readonly signature: Uint8Array
}

/** The arguments of `verify` in crypto.ts. */
interface Check {
  readonly key: KeyMaterial
  /** Undefined if the key's type implies it. */
  readonly digest: Digest | undefined
  readonly signed: Uint8Array
  readonly signature: Uint8Array
}

/**
 * Verifies a signature of `message` by `key` in `namespace`. Returns false for bad input.
 * @throws {MissingCryptoError} in a web page whose browser cannot check this type of key; never in Node
 *
 * It always verifies with the key inside the blob, and compares the hash of that key with the expected one in constant
 * time. So a wrong key, message or namespace costs one verification, and all failures take the same time. Only a blob
 * that is not an SSHSIG fails sooner, and its sender knows that already.
 *
 * @param input.blob the decoded SSHSIG, exact to its end; its key may be a user certificate of `key`
 * @param input.key from the full check; a FIDO key must have asserted that its user was present
 * @param input.mustVerify whether a FIDO key must also have asserted that it verified its user, by PIN or fingerprint
 */
export async function verifySignature(input: {
  readonly blob: Uint8Array
  readonly key: Pick<SshKey, 'fingerprint'>
  readonly namespace: string
  readonly message: Uint8Array
  readonly mustVerify?: boolean
}): Promise<boolean> {
  let parsed: Parsed | undefined
  try {
    parsed = parseSignature(input.blob)
    const check = prepare(parsed, encodeSigned(parsed.namespace, parsed.hash, input.message), input.mustVerify === true)
    const sound = await verify(check.key, check.digest, check.signed, check.signature)
    const expected = isEqual(parsed.key.fingerprint, input.key.fingerprint)
    return sound && expected && isSame(parsed.namespace, utf8.encode(input.namespace))
  } catch (error) {
    // Not checked is not wrong.
    if (error instanceof MissingCryptoError) throw error
    return false
  } finally {
    if (parsed !== undefined) eraseKey(parsed.key)
  }
}

/** @throws {WireError}, and the errors of parseKeyBlob */
function parseSignature(blob: Uint8Array): Parsed {
  const reader = new WireReader(blob)
  if (!isSame(reader.bytes(MAGIC.length), MAGIC) || reader.uint32() !== VERSION) throw new WireError()
  // By form only: a key other than the expected one is refused, and the expected one passed the full check.
  const key = parseKeyBlob(reader.string(), 'form')
  const namespace = reader.string()
  if (namespace.length === 0 || reader.string().length > 0) throw new WireError()
  const hash = reader.name()
  if (hash !== 'sha256' && hash !== 'sha512') throw new WireError()
  const signature = reader.string()
  reader.end()
  return { key, namespace, hash, signature }
}

/** Prepares the verification. @throws {WireError} if a key of this type cannot have made the signature */
function prepare({ key, signature }: Parsed, signed: Uint8Array, mustVerify: boolean): Check {
  const reader = new WireReader(signature)
  const algorithm = reader.name()
  const body = reader.string()
  const { material } = key
  if (material.kind === 'rsa') {
    // Not `ssh-rsa`, which is SHA-1.
    if (algorithm !== 'rsa-sha2-256' && algorithm !== 'rsa-sha2-512') throw new WireError()
    reader.end()
    return { key: material, digest: algorithm === 'rsa-sha2-256' ? 'sha256' : 'sha512', signed, signature: body }
  }
  if (algorithm !== key.type) throw new WireError()
  let message = signed
  if (material.application !== undefined) {
    const flags = reader.bytes(1)
    const counter = reader.bytes(4)
    const needed = USER_PRESENT | (mustVerify ? USER_VERIFIED : 0)
    if ((flags[0]! & needed) !== needed) throw new WireError()
    message = concat(sha256(material.application), flags, counter, sha256(signed))
  }
  reader.end()
  if (material.kind === 'ed25519') {
    if (body.length !== 64) throw new WireError()
    return { key: material, digest: undefined, signed: message, signature: body }
  }
  const { digest, bytes } = CURVES[material.curve]
  const numbers = new WireReader(body)
  const r = pad(numbers.mpint(), bytes)
  const s = pad(numbers.mpint(), bytes)
  numbers.end()
  return { key: material, digest, signed: message, signature: concat(r, s) }
}

/**
 * Signs a message with SHA-512. Deterministic for ed25519 and RSA.
 *
 * @returns the SSHSIG's blob
 * @throws {TypeError} if the namespace is empty
 */
export function signMessage(privateKey: SshPrivateKey, namespace: string, message: Uint8Array): Uint8Array {
  if (namespace === '') throw new TypeError('the namespace must not be empty')
  const signature = privateKey.sign(encodeSigned(namespace, 'sha512', message))
  return encodeSignature(privateKey.public, namespace, encodeKeySignature(privateKey.public, signature))
}

/** Encodes the SSHSIG's blob of a signature with SHA-512 over the bytes of {@link encodeSigned}. */
export function encodeSignature(key: SshKey, namespace: string, signature: Uint8Array): Uint8Array {
  return concat(
    MAGIC,
    encodeUint32(VERSION),
    encodeString(key.blob),
    encodeString(namespace),
    encodeString(''),
    encodeString('sha512'),
    encodeString(signature),
  )
}

/** Encodes the result of {@link SshPrivateKey.sign} as SSH does: the algorithm, and the bytes or numbers. */
function encodeKeySignature({ type, material }: SshKey, signature: Uint8Array): Uint8Array {
  switch (material.kind) {
    case 'ed25519':
      return encodeBody(type, signature)
    case 'rsa':
      return encodeBody('rsa-sha2-512', signature)
    case 'ecdsa': {
      const { bytes } = CURVES[material.curve]
      return encodeBody(type, concat(encodeMpint(signature.subarray(0, bytes)), encodeMpint(signature.subarray(bytes))))
    }
  }
}

function encodeBody(algorithm: SshKeyType | 'rsa-sha2-512', body: Uint8Array): Uint8Array {
  return concat(encodeString(algorithm), encodeString(body))
}

/** Encodes the SSHSIG's blob of an ed25519 signature of 64 bytes, with SHA-512. */
export function encodeEd25519Signature(key: SshKey, namespace: string, signature: Uint8Array): Uint8Array {
  return encodeSignature(key, namespace, encodeBody('ssh-ed25519', signature))
}

/** Encodes the bytes that the key itself signs (PROTOCOL.sshsig, section 3). */
export function encodeSigned(namespace: Uint8Array | string, algorithm: Hash, message: Uint8Array): Uint8Array {
  const digest = algorithm === 'sha256' ? sha256(message) : sha512(message)
  return concat(MAGIC, encodeString(namespace), BEFORE_DIGEST[algorithm], digest)
}

/** Pads with leading zeros. @throws {WireError} if the magnitude is longer than `bytes` */
function pad(magnitude: Uint8Array, bytes: number): Uint8Array {
  if (magnitude.length > bytes) throw new WireError()
  return concat(new Uint8Array(bytes - magnitude.length), magnitude)
}
