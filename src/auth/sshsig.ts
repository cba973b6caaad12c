/**
 * SSHSIG signatures (OpenSSH, PROTOCOL.sshsig; FIDO keys: PROTOCOL.u2f), as `ssh-keygen -Y sign` makes
 * them: how a key that cannot decrypt proves itself (docs/protocol.md, section 3). On the wire a
 * signature is the base64 of its blob, without armor.
 * Must not say why a signature is refused.
 */
import { createHash, hash, sign, timingSafeEqual, verify, type KeyObject } from 'node:crypto'
import type { SshPrivateKey } from './private-key.ts'
import { encodeKey, eraseKey, parseKeyBlob, type EcdsaCurve, type SshKey, type SshKeyType } from './ssh-key.ts'
import { encodeMpint, encodeString, encodeUint32, WireError, WireReader } from './ssh-wire.ts'

/** The namespace of a login's signatures: one made for anything else is no login. */
export const AUTH_NAMESPACE = 'asfaleia-auth'

const MAGIC = Buffer.from('SSHSIG')
const VERSION = 1
const USER_PRESENT = 0x01

type Hash = 'sha256' | 'sha512'

/** RFC 5656, section 6.2.1, and the size of r and s. */
const CURVES = {
  nistp256: { hash: 'sha256', bytes: 32 },
  nistp384: { hash: 'sha384', bytes: 48 },
  nistp521: { hash: 'sha512', bytes: 66 },
} as const satisfies Record<EcdsaCurve, { hash: string; bytes: number }>

interface Parsed {
  readonly key: SshKey
  readonly namespace: Buffer
  readonly hash: Hash
  readonly signature: Buffer
}

/** What node:crypto is asked; `null` where the key's type implies the hash. */
interface Check {
  readonly algorithm: Hash | 'sha384' | null
  readonly signed: Uint8Array
  readonly key: ReturnType<typeof encodeKey>
  readonly signature: Uint8Array
}

/**
 * Whether `blob` is a signature of `message` by `key` in `namespace`. Never rejects: bad input is false.
 *
 * The signature is always checked with the key inside the blob, whatever key was expected, and that
 * key compared by hash in constant time: a wrong key, message or namespace all cost one signature
 * check, so that failures take alike long. Only a blob that is no SSHSIG at all fails sooner, and
 * that its sender knows already.
 *
 * @param input.blob the decoded SSHSIG, exact to its end; its key may be a user certificate of `key`
 * @param input.key of a key parsed with the full check; FIDO keys must have asserted user presence
 */
export async function verifySignature(input: {
  readonly blob: Uint8Array
  readonly key: Pick<SshKey, 'fingerprint'>
  readonly namespace: string
  readonly message: Uint8Array
}): Promise<boolean> {
  let parsed: Parsed | undefined
  try {
    parsed = parseSignature(input.blob)
    const sound = await checkSignature(prepare(parsed, encodeSigned(parsed.namespace, parsed.hash, input.message)))
    const expected = timingSafeEqual(parsed.key.fingerprint, input.key.fingerprint)
    return sound && expected && parsed.namespace.equals(Buffer.from(input.namespace))
  } catch {
    return false
  } finally {
    if (parsed !== undefined) eraseKey(parsed.key)
  }
}

/** @throws {WireError} or what parseKeyBlob throws */
function parseSignature(blob: Uint8Array): Parsed {
  const reader = new WireReader(blob)
  if (!reader.bytes(MAGIC.length).equals(MAGIC) || reader.uint32() !== VERSION) throw new WireError()
  // By form only: it counts for nothing unless it is the expected key, whose points were checked.
  const key = parseKeyBlob(reader.string(), 'form')
  const namespace = reader.string()
  if (namespace.length === 0 || reader.string().length > 0) throw new WireError()
  const hash = reader.name()
  if (hash !== 'sha256' && hash !== 'sha512') throw new WireError()
  const signature = reader.string()
  reader.end()
  return { key, namespace, hash, signature }
}

/** @throws {WireError} where the signature is not one that this key makes */
function prepare({ key, signature }: Parsed, signed: Uint8Array): Check {
  const reader = new WireReader(signature)
  const algorithm = reader.name()
  const body = reader.string()
  const { material } = key
  if (material.kind === 'rsa') {
    // Never `ssh-rsa`, which is SHA-1.
    if (algorithm !== 'rsa-sha2-256' && algorithm !== 'rsa-sha2-512') throw new WireError()
    reader.end()
    const algorithmHash = algorithm === 'rsa-sha2-256' ? 'sha256' : 'sha512'
    return { algorithm: algorithmHash, signed, key: encodeKey(key), signature: body }
  }
  if (algorithm !== key.type) throw new WireError()
  let message = signed
  if (material.application !== undefined) {
    const flags = reader.bytes(1)
    const counter = reader.bytes(4)
    if ((flags[0]! & USER_PRESENT) === 0) throw new WireError()
    message = Buffer.concat([sha256(material.application), flags, counter, sha256(signed)])
  }
  reader.end()
  if (material.kind === 'ed25519') {
    if (body.length !== 64) throw new WireError()
    return { algorithm: null, signed: message, key: encodeKey(key), signature: body }
  }
  const { hash: algorithmHash, bytes } = CURVES[material.curve]
  const numbers = new WireReader(body)
  const r = pad(numbers.mpint(), bytes)
  const s = pad(numbers.mpint(), bytes)
  numbers.end()
  return { algorithm: algorithmHash, signed: message, key: encodeKey(key), signature: Buffer.concat([r, s]) }
}

/** On the thread pool: a flood of logins must not hold up everybody's messages. */
function checkSignature({ algorithm, signed, key, signature }: Check): Promise<boolean> {
  return new Promise((resolve) => {
    verify(algorithm, signed, { ...key, dsaEncoding: 'ieee-p1363' }, signature, (error, good) => {
      key.key.fill(0)
      resolve(error === null && good)
    })
  })
}

/**
 * @param namespace not empty
 * @returns the SSHSIG's blob, by SHA-512; deterministic for ed25519 and RSA
 */
export function signMessage(privateKey: SshPrivateKey, namespace: string, message: Uint8Array): Uint8Array {
  if (namespace === '') throw new TypeError('an SSHSIG has a namespace')
  const { public: key, keyObject } = privateKey
  const signed = encodeSigned(namespace, 'sha512', message)
  return Buffer.concat([
    MAGIC,
    encodeUint32(VERSION),
    encodeString(key.blob),
    encodeString(namespace),
    encodeString(''),
    encodeString('sha512'),
    encodeString(signWith(key, keyObject, signed)),
  ])
}

function signWith(key: SshKey, keyObject: KeyObject, signed: Uint8Array): Buffer {
  const { material } = key
  switch (material.kind) {
    case 'ed25519':
      return encodeBody(key.type, sign(null, signed, keyObject))
    case 'rsa':
      return encodeBody('rsa-sha2-512', sign('sha512', signed, keyObject))
    case 'ecdsa': {
      const { hash: algorithm, bytes } = CURVES[material.curve]
      const both = sign(algorithm, signed, { key: keyObject, dsaEncoding: 'ieee-p1363' })
      const numbers = [encodeMpint(both.subarray(0, bytes)), encodeMpint(both.subarray(bytes))]
      return encodeBody(key.type, Buffer.concat(numbers))
    }
  }
}

function encodeBody(algorithm: SshKeyType | 'rsa-sha2-512', body: Uint8Array): Buffer {
  return Buffer.concat([encodeString(algorithm), encodeString(body)])
}

/** What the key really signs: PROTOCOL.sshsig, section 3. */
function encodeSigned(namespace: Uint8Array | string, algorithm: Hash, message: Uint8Array): Buffer {
  return Buffer.concat([
    MAGIC,
    encodeString(namespace),
    encodeString(''),
    encodeString(algorithm),
    encodeString(createHash(algorithm).update(message).digest()),
  ])
}

const sha256 = (bytes: Uint8Array): Buffer => hash('sha256', bytes, 'buffer')

/** @throws {WireError} where it is longer than `bytes` */
function pad(magnitude: Buffer, bytes: number): Buffer {
  if (magnitude.length > bytes) throw new WireError()
  return Buffer.concat([Buffer.alloc(bytes - magnitude.length), magnitude])
}
