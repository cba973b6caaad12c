/**
 * Private keys in the files that ssh-keygen and openssl write: for clients; the relay never imports
 * this. OpenSSH's container is read strictly here and opened by sshpk, which knows its ciphers and
 * bcrypt; PEM (PKCS8, PKCS1, SEC1) by node:crypto. Errors never hold key material.
 */
import { createHash, createPrivateKey, createPublicKey, generateKeyPairSync, privateDecrypt, sign, verify, type KeyObject } from 'node:crypto'
import sshpk from 'sshpk'
import { ProtocolError } from '../protocol/errors.ts'
import { x25519 } from './crypto.ts'
import { PrivateKeyError } from './key-error.ts'
import { asBuffer, createKeyObject } from './key-object.ts'
import { parseKeyBlob, type EcdsaCurve, type SshKey, type SshPrivateKey } from './ssh-key.ts'
import { decodeBase64, encodeMpint, encodeString, WireError, WireReader } from './ssh-wire.ts'

export { PrivateKeyError, type PrivateKeyErrorCode } from './key-error.ts'
export type { SshPrivateKey } from './ssh-key.ts'

/** A private key that node:crypto holds. */
export interface FilePrivateKey extends SshPrivateKey {
  readonly keyObject: KeyObject
}

const OPENSSH = /^-----BEGIN OPENSSH PRIVATE KEY-----\n([A-Za-z0-9+/=\n]+)\n-----END OPENSSH PRIVATE KEY-----$/
const PEM =
  /^-----BEGIN ((?:ENCRYPTED |RSA |EC )?PRIVATE KEY)-----\n(Proc-Type: 4,ENCRYPTED\n)?[\s\S]+\n-----END \1-----$/
const MAGIC = Buffer.from('openssh-key-v1\0')
/** What sshpk 1.18 can decrypt, of what ssh-keygen can write. */
const CIPHERS: ReadonlySet<string> = new Set([
  'aes128-ctr',
  'aes192-ctr',
  'aes256-ctr',
  'aes128-cbc',
  'aes192-cbc',
  'aes256-cbc',
  '3des-cbc',
])

/**
 * @param file the file's bytes: an OpenSSH private key, or PEM (PKCS8, PKCS1 or SEC1), encrypted or not
 * @param passphrase ignored where the file isn't encrypted
 * @throws {PrivateKeyError}
 */
export function parsePrivateKey(file: Uint8Array, passphrase?: string): FilePrivateKey {
  const text = asBuffer(file).toString('latin1').replaceAll('\r\n', '\n').trim()
  const openssh = OPENSSH.exec(text)
  if (openssh !== null) return parseOpenSsh(text, openssh[1]!, passphrase)
  const pem = PEM.exec(text)
  if (pem === null) throw new PrivateKeyError('not-a-private-key')
  const encrypted = pem[1] === 'ENCRYPTED PRIVATE KEY' || pem[2] !== undefined
  return checkKey(readPem(text, encrypted, passphrase))
}

/** OpenSSH, PROTOCOL.key. */
function parseOpenSsh(text: string, base64: string, passphrase: string | undefined): FilePrivateKey {
  let publicBlob: Uint8Array
  let encrypted: boolean
  try {
    const reader = new WireReader(decodeBase64(base64.replaceAll('\n', '')))
    if (!MAGIC.equals(reader.bytes(MAGIC.length))) throw new WireError()
    const cipher = reader.name()
    const kdf = reader.name()
    reader.string() // the kdf's options
    const keys = reader.uint32()
    publicBlob = reader.string()
    encrypted = cipher !== 'none'
    if (encrypted !== (kdf !== 'none')) throw new WireError()
    const readable = !encrypted || (kdf === 'bcrypt' && CIPHERS.has(cipher))
    if (keys !== 1 || !readable) throw new PrivateKeyError('unsupported')
    reader.string() // the private part
    reader.end()
  } catch (error) {
    if (error instanceof WireError) throw new PrivateKeyError('not-a-private-key')
    throw error
  }
  // Before sshpk sees anything: it would take keys that parseKeyBlob refuses.
  const key = parsePublicBlob(publicBlob)
  if (key.type.startsWith('sk-')) throw new PrivateKeyError('needs-token', key)
  if (encrypted && passphrase === undefined) throw new PrivateKeyError('needs-passphrase')
  let keyObject: KeyObject
  try {
    const opened = sshpk.parsePrivateKey(text, 'ssh-private', encrypted ? { passphrase: passphrase! } : {})
    keyObject = opened.type === 'ed25519' ? importSeed(opened) : createPrivateKey(opened.toString('pkcs8'))
  } catch {
    throw new PrivateKeyError(encrypted ? 'wrong-passphrase' : 'not-a-private-key')
  }
  const checked = checkKey(keyObject)
  if (!Buffer.from(checked.public.blob).equals(publicBlob)) throw new PrivateKeyError('not-a-private-key')
  return checked
}

/** PKCS8 around an ed25519 seed (RFC 8410, section 7). */
const ED25519_PKCS8 = Buffer.from('302e020100300506032b657004220420', 'hex')

/** sshpk 1.18 takes a seed for a number: its own PKCS8 lacks the zeros that one key in 256 begins with. */
function importSeed(opened: sshpk.PrivateKey): KeyObject {
  const number = opened.parts.find(({ name }) => name === 'k')!.data
  const seed = Buffer.concat([Buffer.alloc(32), number]).subarray(-32)
  return createPrivateKey({ key: Buffer.concat([ED25519_PKCS8, seed]), format: 'der', type: 'pkcs8' })
}

function readPem(text: string, encrypted: boolean, passphrase: string | undefined): KeyObject {
  if (encrypted && passphrase === undefined) throw new PrivateKeyError('needs-passphrase')
  try {
    return createPrivateKey(encrypted ? { key: text, passphrase: passphrase! } : text)
  } catch {
    throw new PrivateKeyError(encrypted ? 'wrong-passphrase' : 'not-a-private-key')
  }
}

/** The public half from the private one, as strictly as any public key, and proof that they belong together. */
function checkKey(keyObject: KeyObject): FilePrivateKey {
  const key = parsePublicBlob(encodePublicBlob(createPublicKey(keyObject)))
  const probe = Buffer.from('asfaleia key check')
  const algorithm = key.material.kind === 'ed25519' ? null : 'sha256'
  let matches: boolean
  try {
    matches = verify(algorithm, probe, createKeyObject(key), sign(algorithm, probe, keyObject))
  } catch {
    matches = false
  }
  if (!matches) throw new PrivateKeyError('not-a-private-key')
  return { public: key, keyObject, ...actionsOf(key, keyObject) }
}

const ECDSA_DIGESTS = { nistp256: 'sha256', nistp384: 'sha384', nistp521: 'sha512' } as const satisfies Record<EcdsaCurve, string>

function actionsOf({ material }: SshKey, keyObject: KeyObject): Omit<SshPrivateKey, 'public'> {
  switch (material.kind) {
    case 'ed25519':
      return { sign: (message) => sign(null, message, keyObject), multiply: (point) => x25519(scalarOf(keyObject))(point) }
    case 'rsa':
      return {
        sign: (message) => sign('sha512', message, keyObject),
        decrypt: (ciphertext, label) => privateDecrypt({ key: keyObject, oaepHash: 'sha256', oaepLabel: asBuffer(label) }, ciphertext),
      }
    case 'ecdsa':
      return { sign: (message) => sign(ECDSA_DIGESTS[material.curve], message, { key: keyObject, dsaEncoding: 'ieee-p1363' }) }
  }
}

/** RFC 8032, section 5.1.5: the scalar is the first half of the seed's hash; X25519 clamps it alike. */
function scalarOf(keyObject: KeyObject): Uint8Array {
  const seed = Buffer.from(keyObject.export({ format: 'jwk' }).d!, 'base64url')
  return createHash('sha512').update(seed).digest().subarray(0, 32)
}

function parsePublicBlob(blob: Uint8Array): SshKey {
  try {
    return parseKeyBlob(blob)
  } catch (error) {
    if (error instanceof ProtocolError) throw new PrivateKeyError('unsupported')
    throw error
  }
}

/** By OpenSSL's names. */
const CURVES: Readonly<Record<string, EcdsaCurve>> = {
  prime256v1: 'nistp256',
  secp384r1: 'nistp384',
  secp521r1: 'nistp521',
}

/** @throws {PrivateKeyError} `unsupported` for keys that SSH has no type for */
function encodePublicBlob(key: KeyObject): Uint8Array {
  const curve = CURVES[key.asymmetricKeyDetails?.namedCurve ?? '']
  switch (key.asymmetricKeyType) {
    case 'ed25519':
      return Buffer.concat([encodeString('ssh-ed25519'), encodeString(exportPart(key, 'x'))])
    case 'rsa':
      return Buffer.concat([
        encodeString('ssh-rsa'),
        encodeMpint(exportPart(key, 'e')),
        encodeMpint(exportPart(key, 'n')),
      ])
    case 'ec': {
      if (curve === undefined) break
      const point = Buffer.concat([Buffer.of(0x04), exportPart(key, 'x'), exportPart(key, 'y')])
      return Buffer.concat([encodeString(`ecdsa-sha2-${curve}`), encodeString(curve), encodeString(point)])
    }
  }
  throw new PrivateKeyError('unsupported')
}

function exportPart(key: KeyObject, name: 'x' | 'y' | 'n' | 'e'): Buffer {
  return Buffer.from(key.export({ format: 'jwk' })[name] ?? '', 'base64url')
}

/**
 * A new ed25519 key in the two texts that ssh-keygen writes, the private one not encrypted: the caller
 * keeps it from others' eyes (mode 0600).
 *
 * @param comment one line; it stands in both
 * @returns `file`, an OPENSSH PRIVATE KEY, and `public`, the `.pub` line without its line break
 * @throws {TypeError} on a comment with a line break or NUL
 */
export function generatePrivateKey(comment: string): { file: string; public: string } {
  if (/[\r\n\0]/.test(comment)) throw new TypeError('a comment is one line')
  const { privateKey, publicKey } = generateKeyPairSync('ed25519')
  const key = sshpk.parsePrivateKey(privateKey.export({ format: 'pem', type: 'pkcs8' }), 'pkcs8')
  key.comment = comment
  const base64 = Buffer.from(encodePublicBlob(publicKey)).toString('base64')
  return { file: key.toString('ssh-private'), public: `ssh-ed25519 ${base64} ${comment}`.trimEnd() }
}
