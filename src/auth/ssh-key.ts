/**
 * Public keys as OpenSSH writes them, `type base64 [comment]`, parsed strictly (docs/protocol.md,
 * section 3). Every key goes through here before sshpk, node:crypto or age see it: sshpk 1.18
 * accepts trailing bytes, ed25519 keys of 31 bytes or off the curve, and RSA exponents of 1; and
 * node:crypto imports ed25519 points unchecked.
 * Must not keep comments, nor echo anything of a key in an error, nor make a string of a key, which nobody could overwrite.
 */
import { createPublicKey, hash, type KeyObject } from 'node:crypto'
import { ed25519 } from '@noble/curves/ed25519.js'
import { p256, p384, p521 } from '@noble/curves/nist.js'
import { ProtocolError } from '../protocol/errors.ts'
import { asBuffer, decodeBase64, encodeString, WireError, WireReader } from './ssh-wire.ts'

export type EcdsaCurve = 'nistp256' | 'nistp384' | 'nistp521'

export type SshKeyType =
  | 'ssh-ed25519'
  | 'ssh-rsa'
  | `ecdsa-sha2-${EcdsaCurve}`
  | 'sk-ssh-ed25519@openssh.com'
  | 'sk-ecdsa-sha2-nistp256@openssh.com'

/** A key's numbers, big-endian as on the wire. `application` is a FIDO key's, hashed into its signatures. */
export type KeyMaterial =
  | { readonly kind: 'ed25519'; readonly point: Uint8Array; readonly application?: Uint8Array }
  | { readonly kind: 'rsa'; readonly modulus: Uint8Array; readonly exponent: Uint8Array }
  | {
      readonly kind: 'ecdsa'
      readonly curve: EcdsaCurve
      /** Uncompressed: 0x04, x, y. */
      readonly point: Uint8Array
      readonly application?: Uint8Array
    }

export interface SshKey {
  readonly type: SshKeyType
  /** The plain key's blob, in memory of its own; for a certificate, the blob of the key inside it. */
  readonly blob: Uint8Array
  /** Whether age can encrypt to it: `ssh-ed25519` and `ssh-rsa`, their certificates included. */
  readonly canDecrypt: boolean
  /** SHA-256 of `blob`, 32 bytes. */
  readonly fingerprint: Uint8Array
  /** Views of `blob`. */
  readonly material: KeyMaterial
}

/** Overwrites the key but for its fingerprint: what held it is of no other use any more. */
export function eraseKey(key: SshKey): void {
  key.blob.fill(0)
}

/**
 * `form` skips only what is expensive, the proof that a point is on its curve and not of small
 * order: for a key whose fingerprint passed `full` before.
 */
export type KeyCheck = 'full' | 'form'

/** What stands before the point in a SubjectPublicKeyInfo. */
const ED25519_SPKI = Buffer.from('302a300506032b6570032100', 'hex')
const CURVES = {
  nistp256: { bytes: 32, spki: Buffer.from('3059301306072a8648ce3d020106082a8648ce3d030107034200', 'hex'), Point: p256.Point },
  nistp384: { bytes: 48, spki: Buffer.from('3076301006072a8648ce3d020106052b81040022036200', 'hex'), Point: p384.Point },
  nistp521: { bytes: 66, spki: Buffer.from('30819b301006072a8648ce3d020106052b8104002303818600', 'hex'), Point: p521.Point },
} as const

const RSA_BITS = { min: 2_048, max: 8_192 }
/** 65537 is the protocol's; 64 bits is where OpenSSL stops for large moduli, and bounds the work of a check. */
const RSA_EXPONENT = { min: 65_537n, maxBytes: 8 }
/** FIDO application strings are `ssh:` and a short label; the bound is ours. */
const APPLICATION_BYTES = 255
/** A certificate's type in OpenSSH's PROTOCOL.certkeys. */
const USER = 1
const HOST = 2

/** Reads what follows the type name (and a certificate's nonce) in a blob. */
function readMaterial(type: SshKeyType, reader: WireReader): KeyMaterial {
  switch (type) {
    case 'ssh-ed25519':
      return { kind: 'ed25519', point: readEd25519(reader) }
    case 'sk-ssh-ed25519@openssh.com':
      return { kind: 'ed25519', point: readEd25519(reader), application: readApplication(reader) }
    case 'ssh-rsa':
      return readRsa(reader)
    case 'ecdsa-sha2-nistp256':
    case 'sk-ecdsa-sha2-nistp256@openssh.com': {
      const point = readEcdsa('nistp256', reader)
      return type === 'ecdsa-sha2-nistp256'
        ? { kind: 'ecdsa', curve: 'nistp256', point }
        : { kind: 'ecdsa', curve: 'nistp256', point, application: readApplication(reader) }
    }
    case 'ecdsa-sha2-nistp384':
      return { kind: 'ecdsa', curve: 'nistp384', point: readEcdsa('nistp384', reader) }
    case 'ecdsa-sha2-nistp521':
      return { kind: 'ecdsa', curve: 'nistp521', point: readEcdsa('nistp521', reader) }
  }
}

/** A little-endian y below 2^255 - 19 and x's sign bit: 32 bytes, one spelling (RFC 8032, section 5.1.2). */
function readEd25519(reader: WireReader): Buffer {
  const point = reader.string()
  if (point.length !== 32) throw new WireError()
  const high = (point[31]! & 0x7f) === 0x7f && point.subarray(1, 31).every((byte) => byte === 0xff)
  if (high && point[0]! >= 0xed) throw new WireError()
  return point
}

function readRsa(reader: WireReader): KeyMaterial {
  const exponent = reader.mpint()
  const modulus = reader.mpint()
  const bits = modulus.length * 8 - (Math.clz32(modulus[0]!) - 24)
  if (bits < RSA_BITS.min || bits > RSA_BITS.max || modulus.at(-1)! % 2 === 0) throw new WireError()
  if (exponent.length > RSA_EXPONENT.maxBytes || exponent.at(-1)! % 2 === 0) throw new WireError()
  if (BigInt(`0x${exponent.toString('hex')}`) < RSA_EXPONENT.min) throw new WireError()
  return { kind: 'rsa', modulus, exponent }
}

function readEcdsa(curve: EcdsaCurve, reader: WireReader): Buffer {
  if (reader.name() !== curve) throw new WireError()
  const point = reader.string()
  if (point.length !== 1 + 2 * CURVES[curve].bytes || point[0] !== 0x04) throw new WireError()
  return point
}

function readApplication(reader: WireReader): Buffer {
  const application = reader.string()
  if (application.length === 0 || application.length > APPLICATION_BYTES) throw new WireError()
  return application
}

/** Whether the point is on its curve and, for ed25519, not of small order. */
function isSoundPoint(material: KeyMaterial): boolean {
  try {
    switch (material.kind) {
      case 'rsa':
        return true
      case 'ed25519':
        // Strict (zip215 false): refuses a non-canonical y, and x = 0 with its sign bit set, too.
        return !ed25519.Point.fromBytes(material.point, false).isSmallOrder()
      case 'ecdsa':
        // The cofactor is 1: a point on the curve is in the group. Infinity has no uncompressed form.
        CURVES[material.curve].Point.fromBytes(material.point)
        return true
    }
  } catch {
    // noble's messages may hold the point.
    return false
  }
}

/**
 * The rest of a certificate after its key (OpenSSH, PROTOCOL.certkeys). Only the form is checked:
 * the relay trusts no authority, so validity, principals and the authority's signature mean nothing
 * to it, and a user proves the key inside.
 * @returns the certificate's type
 */
function readCertificateTail(reader: WireReader): typeof USER | typeof HOST {
  reader.bytes(8) // serial
  const role = reader.uint32()
  if (role !== USER && role !== HOST) throw new WireError()
  reader.string() // key id
  const principals = new WireReader(reader.string())
  while (!principals.atEnd) principals.string()
  reader.bytes(16) // valid after, valid before
  readOptions(new WireReader(reader.string())) // critical options
  readOptions(new WireReader(reader.string())) // extensions
  reader.string() // reserved: "ignored in this version of the protocol"
  const authority = new WireReader(reader.string()).name()
  if (authority.includes('-cert-')) throw new WireError()
  const signature = new WireReader(reader.string())
  signature.name()
  if (signature.string().length === 0) throw new WireError()
  if (authority.startsWith('sk-')) signature.bytes(5) // flags, counter
  signature.end()
  return role
}

/** Name and data by turns, the names ascending, each once. */
function readOptions(reader: WireReader): void {
  let last: string | undefined
  while (!reader.atEnd) {
    const name = reader.name()
    if (last !== undefined && name <= last) throw new WireError()
    last = name
    reader.string()
  }
}

const TYPES: ReadonlySet<string> = new Set<SshKeyType>([
  'ssh-ed25519',
  'ssh-rsa',
  'ecdsa-sha2-nistp256',
  'ecdsa-sha2-nistp384',
  'ecdsa-sha2-nistp521',
  'sk-ssh-ed25519@openssh.com',
  'sk-ecdsa-sha2-nistp256@openssh.com',
])

const isKeyType = (name: string): name is SshKeyType => TYPES.has(name)

/** From a certificate's type, `sk-ssh-ed25519-cert-v01@openssh.com`, to its key's, `sk-ssh-ed25519@openssh.com`. */
const CERTIFICATES: ReadonlyMap<string, SshKeyType> = new Map(
  [...TYPES].filter(isKeyType).map((type) => [`${type.replace('@openssh.com', '')}-cert-v01@openssh.com`, type]),
)

/**
 * Parses a key's or user certificate's blob, from its first to its last byte.
 *
 * @param check see {@link KeyCheck}
 * @throws {ProtocolError} `bad-key` where it is malformed, off its curve or weak; `unsupported-key`
 *   for host certificates and types that docs/protocol.md, section 3, doesn't list.
 */
export function parseKeyBlob(bytes: Uint8Array, check: KeyCheck = 'full'): SshKey {
  let blob: Buffer | undefined
  try {
    const reader = new WireReader(bytes)
    const name = reader.name()
    const type = isKeyType(name) ? name : CERTIFICATES.get(name)
    if (type === undefined) throw new ProtocolError('unsupported-key')
    const certificate = type !== name
    if (certificate) reader.string() // the authority's nonce
    const start = reader.position
    readMaterial(type, reader)
    blob = join(encodeString(type), bytes.subarray(start, reader.position))
    const material = readMaterial(type, new WireReader(blob.subarray(4 + type.length)))
    const role = certificate ? readCertificateTail(reader) : USER
    reader.end()
    if (check === 'full' && !isSoundPoint(material)) throw new WireError()
    if (role !== USER) throw new ProtocolError('unsupported-key')
    return {
      type,
      blob,
      canDecrypt: type === 'ssh-ed25519' || type === 'ssh-rsa',
      fingerprint: hash('sha256', blob, 'buffer'),
      material,
    }
  } catch (error) {
    blob?.fill(0)
    if (error instanceof WireError) throw new ProtocolError('bad-key')
    throw error
  }
}

const SPACE = 0x20
const NAME_BYTES = 64
/** What a comment may not hold: NUL and line breaks. */
const BREAKS = [0x00, 0x0a, 0x0d]

/**
 * Parses one line of the form `type base64 [comment]`: single spaces, canonical padded base64, the type the
 * same before the blob and in it. The comment may hold anything but line breaks and NUL, and is dropped.
 *
 * @param text without its line break
 * @param check see {@link KeyCheck}
 * @throws {ProtocolError} as {@link parseKeyBlob}
 */
export function parsePublicKey(text: Uint8Array | string, check: KeyCheck = 'full'): SshKey {
  const line = asBuffer(typeof text === 'string' ? Buffer.from(text) : text)
  const end = line.indexOf(SPACE)
  if (end < 1 || end > NAME_BYTES) throw new ProtocolError('bad-key')
  const comment = line.indexOf(SPACE, end + 1)
  if (comment !== -1 && BREAKS.some((byte) => line.includes(byte, comment))) throw new ProtocolError('bad-key')
  let bytes: Buffer | undefined
  try {
    bytes = decodeBase64(line.subarray(end + 1, comment === -1 ? line.length : comment))
    if (new WireReader(bytes).name() !== line.toString('latin1', 0, end)) throw new WireError()
    return parseKeyBlob(bytes, check)
  } catch (error) {
    if (error instanceof WireError) throw new ProtocolError('bad-key')
    throw error
  } finally {
    bytes?.fill(0)
  }
}

const FINGERPRINT = 'SHA256:'
/** The base64 of 32 bytes, whose padding a fingerprint leaves out. */
const FINGERPRINT_DIGITS = 43

/**
 * The mailbox that a SEND's `receiver` names (docs/protocol.md, section 4): a public key's line, or its
 * fingerprint as {@link formatFingerprint} writes it.
 *
 * @param isKnown whether a key of that fingerprint passed the full check before, so that only its form is
 *   checked now; none is known where it isn't given.
 * @returns the key's SHA-256, 32 bytes
 * @throws {ProtocolError} `bad-key`; `unsupported-key` for a sound line of a key that can have no mailbox
 */
export function parseReceiver(field: Uint8Array, isKnown?: (fingerprint: Uint8Array) => boolean): Uint8Array {
  const text = asBuffer(field)
  if (text.toString('latin1', 0, FINGERPRINT.length) !== FINGERPRINT) {
    const key = parsePublicKey(text, 'form')
    const sound = isKnown?.(key.fingerprint) === true || isSoundPoint(key.material)
    eraseKey(key)
    if (!sound) throw new ProtocolError('bad-key')
    return key.fingerprint
  }
  if (text.length !== FINGERPRINT.length + FINGERPRINT_DIGITS) throw new ProtocolError('bad-key')
  const padded = Buffer.alloc(FINGERPRINT_DIGITS + 1, '=')
  padded.set(text.subarray(FINGERPRINT.length))
  try {
    return decodeBase64(padded)
  } catch {
    throw new ProtocolError('bad-key')
  } finally {
    padded.fill(0)
  }
}

/** `SHA256:` and unpadded base64, as `ssh-keygen -l` prints it. */
export function formatFingerprint(fingerprint: Uint8Array): string {
  return FINGERPRINT + asBuffer(fingerprint).toString('base64').replace(/=+$/, '')
}

/**
 * The key for node:crypto: made when it is needed, since most keys of a relay are only hashed.
 *
 * @throws {Error} where the key was parsed by form only and is not on its curve (ECDSA; OpenSSL checks it)
 */
export function createKeyObject(key: SshKey): KeyObject {
  const encoded = encodeKey(key)
  try {
    return createPublicKey(encoded)
  } finally {
    encoded.key.fill(0)
  }
}

/**
 * The key as a function of node:crypto takes it for one use: a KeyObject would keep OpenSSL's copy until V8
 * collects its old objects. By DER, though JWK is imported a little faster: a JWK is strings.
 * The caller overwrites `key`.
 */
export function encodeKey({ material }: SshKey): { key: Buffer; format: 'der'; type: 'pkcs1' | 'spki' } {
  return { key: encodeDer(material), format: 'der', type: material.kind === 'rsa' ? 'pkcs1' : 'spki' }
}

/** An RSAPublicKey (RFC 8017, appendix A.1.1), else a SubjectPublicKeyInfo (RFC 5480, RFC 8410). */
function encodeDer(material: KeyMaterial): Buffer {
  switch (material.kind) {
    case 'ed25519':
      return join(ED25519_SPKI, material.point)
    case 'rsa':
      return element(0x30, element(0x02, positive(material.modulus)), element(0x02, positive(material.exponent)))
    case 'ecdsa':
      return join(CURVES[material.curve].spki, material.point)
  }
}

/** DER's INTEGER is signed. */
function positive(magnitude: Uint8Array): Buffer {
  return join(Buffer.alloc(magnitude[0]! >= 0x80 ? 1 : 0), magnitude)
}

/** One element of DER; overwrites its parts, which are copies already. */
function element(tag: number, ...parts: Buffer[]): Buffer {
  const content = join(...parts)
  const { length } = content
  const size = length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff]
  const whole = join(Buffer.from([tag, ...size]), content)
  for (const part of [content, ...parts]) part.fill(0)
  return whole
}

/** As Buffer.concat, but not in Node's shared pool: it is overwritten as a whole. */
function join(...parts: readonly Uint8Array[]): Buffer {
  const whole = Buffer.alloc(parts.reduce((sum, part) => sum + part.length, 0))
  let at = 0
  for (const part of parts) {
    whole.set(part, at)
    at += part.length
  }
  return whole
}
