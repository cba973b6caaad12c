/**
 * Public keys as OpenSSH writes them, `type base64 [comment]`, parsed strictly (docs/protocol.md, section 3). Every key
 * is parsed here before sshpk, node:crypto, WebCrypto or age see it: sshpk 1.18 accepts trailing bytes, ed25519 keys of
 * 31 bytes or off the curve, and RSA exponents of 1; node:crypto imports ed25519 points unchecked.
 *
 * Must not keep comments, nor put a part of a key into an error, nor make a string of a key: a string cannot be
 * overwritten.
 */
import { ProtocolError } from '../protocol/errors.ts'
import { encodeBase64 } from '../protocol/base64.ts'
import { isWord } from '../protocol/packets.ts'
import { isOnCurve, sha256 } from './crypto.ts'
import { isSoundPoint } from './ed25519-point.ts'
import type { EcdsaCurve, KeyMaterial } from './key-material.ts'
import { readRsa } from './rsa.ts'
import { concat, decodeBase64, encodeString, isSame, WireError, WireReader } from './ssh-wire.ts'

export type SshKeyType =
  'ssh-ed25519' | 'ssh-rsa' | `ecdsa-sha2-${EcdsaCurve}` | 'sk-ssh-ed25519@openssh.com' | 'sk-ecdsa-sha2-nistp256@openssh.com'

export interface SshKey {
  readonly type: SshKeyType
  /** The plain key's blob, in memory that it shares with `material` only. For a certificate, the blob of its key. */
  readonly blob: Uint8Array
  /** Whether age can encrypt to the key: `ssh-ed25519` and `ssh-rsa`, and their certificates. */
  readonly canDecrypt: boolean
  /** SHA-256 of `blob`, 32 bytes. */
  readonly fingerprint: Uint8Array
  /** Views of `blob`. */
  readonly material: KeyMaterial
}

/**
 * A private key as the operations that it allows. The secret stays inside: in a KeyObject of node:crypto, or in a
 * closure over an ed25519 seed.
 */
export interface SshPrivateKey {
  readonly public: SshKey
  /**
   * Signs a message: by ed25519 (RFC 8032); by RSA with PKCS1 v1.5 and SHA-512; by ECDSA with its curve's hash (RFC
   * 5656, section 6.2.1), as r and s at the curve's full size.
   */
  sign(message: Uint8Array): Uint8Array
  /** Multiplies a point by an ed25519 key's scalar (X25519). @throws {Error} if the result is all zero */
  multiply?(point: Uint8Array): Uint8Array
  /** Decrypts RSA-OAEP with SHA-256, by an RSA key. @throws {Error} if it does not decrypt */
  decrypt?(ciphertext: Uint8Array, label: Uint8Array): Uint8Array
}

/** Overwrites a key, except its fingerprint. The key cannot be used afterwards. */
export function eraseKey(key: SshKey): void {
  key.blob.fill(0)
}

/**
 * `form` skips only the expensive check, that a point is on its curve and not of small order. The caller makes it later,
 * by `isSound`.
 */
export type KeyCheck = 'full' | 'form'

/** Bytes of a coordinate. */
const COORDINATES = { nistp256: 32, nistp384: 48, nistp521: 66 } as const satisfies Record<EcdsaCurve, number>

/** A FIDO application is `ssh:` and a short label. The bound is our own. */
const APPLICATION_BYTES = 255
/** The types of certificates (OpenSSH, PROTOCOL.certkeys). */
const USER = 1
const HOST = 2

/** Reads a key's numbers, which follow the type name (and the nonce of a certificate) in a blob. */
function readMaterial(type: SshKeyType, reader: WireReader): KeyMaterial {
  switch (type) {
    case 'ssh-ed25519':
      return { kind: 'ed25519', point: readEd25519(reader) }
    case 'sk-ssh-ed25519@openssh.com':
      return { kind: 'ed25519', point: readEd25519(reader), application: readApplication(reader) }
    case 'ssh-rsa':
      return { kind: 'rsa', ...readRsa(reader) }
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

/**
 * Reads y, little-endian and below 2^255 - 19, with the sign bit of x: 32 bytes, one spelling (RFC 8032, section
 * 5.1.2).
 */
function readEd25519(reader: WireReader): Uint8Array {
  const point = reader.string()
  if (point.length !== 32) throw new WireError()
  const high = (point[31]! & 0x7f) === 0x7f && point.subarray(1, 31).every((byte) => byte === 0xff)
  if (high && point[0]! >= 0xed) throw new WireError()
  return point
}

function readEcdsa(curve: EcdsaCurve, reader: WireReader): Uint8Array {
  if (reader.name() !== curve) throw new WireError()
  const point = reader.string()
  if (point.length !== 1 + 2 * COORDINATES[curve] || point[0] !== 0x04) throw new WireError()
  return point
}

function readApplication(reader: WireReader): Uint8Array {
  const application = reader.string()
  if (application.length === 0 || application.length > APPLICATION_BYTES) throw new WireError()
  return application
}

/** Whether a key has a point: without one, `form` checks everything. */
export function hasPoint({ material }: SshKey): boolean {
  return material.kind !== 'rsa'
}

/**
 * Checks whether the point is on its curve and, for ed25519, not of small order: the part that `full` adds to `form`.
 */
export function isSound({ material }: Pick<SshKey, 'material'>): boolean {
  switch (material.kind) {
    case 'rsa':
      return true
    case 'ed25519':
      return isSoundPoint(material.point)
    case 'ecdsa':
      // The cofactor is 1, so every point on the curve is in the group. Infinity has no uncompressed form.
      return isOnCurve(material.curve, material.point)
  }
}

/**
 * Reads the rest of a certificate after its key (OpenSSH, PROTOCOL.certkeys), and checks only its form. The relay
 * trusts no authority, so it ignores validity, principals and the authority's signature: a user proves the key inside.
 *
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

/** Reads pairs of name and data. The names must ascend, so each comes once. */
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

/**
 * Maps a certificate's type, as `sk-ssh-ed25519-cert-v01@openssh.com`, to its key's, as `sk-ssh-ed25519@openssh.com`.
 */
const CERTIFICATES: ReadonlyMap<string, SshKeyType> = new Map(
  [...TYPES].filter(isKeyType).map((type) => [`${type.replace('@openssh.com', '')}-cert-v01@openssh.com`, type]),
)

/** Whether the text is the name of a type of key, or of its certificates. */
export function isTypeName(text: string): boolean {
  return isKeyType(text) || CERTIFICATES.has(text)
}

/**
 * Parses the blob of a key or of a user certificate, from its first to its last byte.
 *
 * @throws {ProtocolError} `bad-key` if it is malformed, off its curve or weak; `unsupported-key` for host certificates
 *   and for types that docs/protocol.md, section 3, does not list
 */
export function parseKeyBlob(bytes: Uint8Array, check: KeyCheck = 'full'): SshKey {
  return parseOwn(concat(bytes), check)
}

/** Parses bytes that it owns: they become the key's blob, or it overwrites them. */
function parseOwn(bytes: Uint8Array, check: KeyCheck): SshKey {
  let blob: Uint8Array | undefined
  let kept = false
  try {
    const reader = new WireReader(bytes)
    const name = reader.name()
    const type = isKeyType(name) ? name : CERTIFICATES.get(name)
    if (type === undefined) throw new ProtocolError('unsupported-key')
    let material: KeyMaterial
    let role: typeof USER | typeof HOST = USER
    if (type === name) {
      blob = bytes
      material = readMaterial(type, reader)
    } else {
      reader.string() // the authority's nonce
      const start = reader.position
      readMaterial(type, reader)
      blob = concat(encodeString(type), bytes.subarray(start, reader.position))
      material = readMaterial(type, new WireReader(blob.subarray(4 + type.length)))
      role = readCertificateTail(reader)
    }
    reader.end()
    if (check === 'full' && !isSound({ material })) throw new WireError()
    if (role !== USER) throw new ProtocolError('unsupported-key')
    kept = true
    return {
      type,
      blob,
      canDecrypt: type === 'ssh-ed25519' || type === 'ssh-rsa',
      fingerprint: sha256(blob),
      material,
    }
  } catch (error) {
    if (error instanceof WireError) throw new ProtocolError('bad-key')
    throw error
  } finally {
    if (!kept) blob?.fill(0)
    if (!kept || blob !== bytes) bytes.fill(0)
  }
}

const utf8 = new TextEncoder()
const SPACE = 0x20
const PADDING = 0x3d
const NAME_BYTES = 64
/** Bytes that a comment must not contain: NUL and line breaks. */
const BREAKS = [0x00, 0x0a, 0x0d]

/**
 * Parses one line of the form `type base64 [comment]`: single spaces, canonical padded base64, the same type before the
 * blob and in it. The comment may contain anything except line breaks and NUL, and is dropped.
 *
 * @param text without a line break at its end
 * @throws {ProtocolError} `bad-key`, `unsupported-key`
 */
export function parsePublicKey(text: Uint8Array | string, check: KeyCheck = 'full'): SshKey {
  const line = typeof text === 'string' ? utf8.encode(text) : text
  const end = line.indexOf(SPACE)
  if (end < 1 || end > NAME_BYTES) throw new ProtocolError('bad-key')
  const comment = line.indexOf(SPACE, end + 1)
  if (comment !== -1 && BREAKS.some((byte) => line.includes(byte, comment))) throw new ProtocolError('bad-key')
  let bytes: Uint8Array | undefined
  try {
    bytes = decodeBase64(line.subarray(end + 1, comment === -1 ? line.length : comment))
    if (!isSame(new WireReader(bytes).string(), line.subarray(0, end))) throw new WireError()
  } catch {
    bytes?.fill(0)
    throw new ProtocolError('bad-key')
  }
  return parseOwn(bytes, check)
}

const FINGERPRINT = 'SHA256:'
/** The base64 of 32 bytes without its padding. */
const FINGERPRINT_DIGITS = 43

/**
 * Parses the `receiver` of a SEND (docs/protocol.md, section 4): a public key's line, or its fingerprint as
 * {@link formatFingerprint} writes it.
 *
 * @returns the key's SHA-256, 32 bytes; and the key itself, if it was checked by its form only and has a point
 * @throws {ProtocolError} `bad-key`; `unsupported-key` for the line of a key that cannot have a mailbox
 */
export function parseReceiver(field: Uint8Array): { readonly fingerprint: Uint8Array; readonly unchecked?: SshKey } {
  if (!isWord(field.subarray(0, FINGERPRINT.length), FINGERPRINT)) {
    const key = parsePublicKey(field, 'form')
    const { fingerprint } = key
    if (hasPoint(key)) return { fingerprint, unchecked: key }
    eraseKey(key)
    return { fingerprint }
  }
  if (field.length !== FINGERPRINT.length + FINGERPRINT_DIGITS) throw new ProtocolError('bad-key')
  const padded = new Uint8Array(FINGERPRINT_DIGITS + 1).fill(PADDING)
  padded.set(field.subarray(FINGERPRINT.length))
  try {
    return { fingerprint: decodeBase64(padded) }
  } catch {
    throw new ProtocolError('bad-key')
  } finally {
    padded.fill(0)
  }
}

/** Writes a fingerprint as `ssh-keygen -l` prints it: `SHA256:` and unpadded base64. */
export function formatFingerprint(fingerprint: Uint8Array): string {
  return FINGERPRINT + encodeBase64(fingerprint).replace(/=+$/, '')
}
