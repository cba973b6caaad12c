/**
 * Private keys in the files that ssh-keygen and openssl write. For clients: the relay never imports this file.
 * container.ts decrypts OpenSSH's container, and sshpk reads the key inside; node:crypto reads PEM (PKCS8, PKCS1,
 * SEC1). Errors never contain key material.
 */
import {
  createHash,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  privateDecrypt,
  sign,
  verify,
  type KeyObject,
} from 'node:crypto'
import sshpk from 'sshpk'
import { ProtocolError } from '../protocol/errors.ts'
import { tidyArmor } from './armor.ts'
import { type Container, encodePlain, openContainer, parseContainer } from './container.ts'
import { type Multiply, x25519 } from './crypto.ts'
import { PrivateKeyError } from './key-error.ts'
import type { EcdsaCurve } from './key-material.ts'
import { asBuffer, createKeyObject } from './key-object.ts'
import { openPem } from './pem.ts'
import { findRsaFault } from './rsa.ts'
import { parseKeyBlob, type SshKey, type SshPrivateKey } from './ssh-key.ts'
import { encodeMpint, encodeString, isSame, WireError } from './ssh-wire.ts'

export { PrivateKeyError, type PrivateKeyErrorCode } from './key-error.ts'
export type { SshPrivateKey } from './ssh-key.ts'

/** A private key that node:crypto holds. */
export interface FilePrivateKey extends SshPrivateKey {
  readonly keyObject: KeyObject
}

const BEGIN = /^-----BEGIN ((?:OPENSSH |ENCRYPTED |RSA |EC )?PRIVATE KEY)-----$/gm

/**
 * Parses a private key's file. Blocks until it is done, which takes seconds if the passphrase has many rounds.
 * {@link readPrivateKey} does not block.
 *
 * @param file the file's bytes: an OpenSSH private key, or PEM (PKCS8, PKCS1 or SEC1), encrypted or not; text before
 *   and after the key, a byte order mark and blanks around lines are ignored
 * @param passphrase ignored if the file is not encrypted; a string stands for its UTF-8
 * @throws {PrivateKeyError}
 */
export function parsePrivateKey(file: Uint8Array, passphrase?: string | Uint8Array): FilePrivateKey {
  const steps = open(file, passphrase)
  for (;;) {
    const { done, value } = steps.next()
    if (done === true) return value
  }
}

/**
 * Parses a private key's file as {@link parsePrivateKey} does, but one piece of work a turn of the event loop.
 *
 * @param options.onRounds called once, before the work, with the count of bcrypt rounds; each takes some milliseconds
 * @throws {PrivateKeyError} and the signal's reason
 */
export async function readPrivateKey(
  file: Uint8Array,
  passphrase?: string | Uint8Array,
  options: { readonly signal?: AbortSignal; readonly onRounds?: (rounds: number) => void } = {},
): Promise<FilePrivateKey> {
  const steps = open(file, passphrase)
  for (let told = false; ; told = true) {
    const { done, value } = steps.next()
    if (done === true) return value
    if (!told) options.onRounds?.(value)
    await new Promise((resolve) => setImmediate(resolve))
    options.signal?.throwIfAborted()
  }
}

function* open(file: Uint8Array, given: string | Uint8Array | undefined): Generator<number, FilePrivateKey, void> {
  const passphrase = typeof given === 'string' ? Buffer.from(given) : given && asBuffer(given)
  const text = tidyArmor(asBuffer(file).toString('latin1'))
  const [block, ...more] = [...text.matchAll(BEGIN)]
  if (block === undefined) throw new PrivateKeyError('not-a-private-key')
  if (more.length > 0) throw new PrivateKeyError('several-keys', { count: 1 + more.length })
  const label = block[1]!
  const end = `\n-----END ${label}-----`
  const length = text.slice(block.index).indexOf(end)
  if (length === -1) throw new PrivateKeyError('damaged')
  const pem = text.slice(block.index, block.index + length + end.length)
  if (label !== 'OPENSSH PRIVATE KEY') return checkKey(openPem(pem, label, passphrase))
  return yield* openOpenSsh(pem.slice(block[0].length, -end.length), passphrase)
}

/** Opens OpenSSH's format (PROTOCOL.key). */
function* openOpenSsh(base64: string, passphrase: Uint8Array | undefined): Generator<number, FilePrivateKey, void> {
  let container: Container
  try {
    container = parseContainer(base64)
  } catch (error) {
    if (error instanceof WireError) throw new PrivateKeyError('damaged')
    throw error
  }
  const { publicBlob, lock } = container
  // First, because sshpk accepts keys that parseKeyBlob refuses.
  const key = parsePublicBlob(publicBlob)
  if (key.type.startsWith('sk-')) throw new PrivateKeyError('needs-token', { key })
  if (lock !== undefined && passphrase === undefined) throw new PrivateKeyError('needs-passphrase')
  const content = yield* openContainer(container, passphrase ?? new Uint8Array())
  let keyObject: KeyObject
  try {
    const opened = sshpk.parsePrivateKey(encodePlain(publicBlob, content), 'ssh-private')
    keyObject = opened.type === 'ed25519' ? importSeed(opened) : createPrivateKey(opened.toString('pkcs8'))
  } catch {
    throw new PrivateKeyError('damaged')
  } finally {
    content.fill(0)
  }
  const checked = checkKey(keyObject)
  if (!isSame(checked.public.blob, publicBlob)) throw new PrivateKeyError('damaged')
  return checked
}

/** The PKCS8 prefix of an ed25519 seed (RFC 8410, section 7). */
const ED25519_PKCS8 = Buffer.from('302e020100300506032b657004220420', 'hex')

/** Imports a seed. sshpk 1.18 treats it as a number, so its own PKCS8 drops the leading zeros of one key in 256. */
function importSeed(opened: sshpk.PrivateKey): KeyObject {
  const number = opened.parts.find(({ name }) => name === 'k')!.data
  const seed = Buffer.concat([Buffer.alloc(32), number]).subarray(-32)
  return createPrivateKey({ key: Buffer.concat([ED25519_PKCS8, seed]), format: 'der', type: 'pkcs8' })
}

/** Derives the public key, parses it strictly, and checks by a signature that both belong together. */
function checkKey(keyObject: KeyObject): FilePrivateKey {
  const key = parsePublicBlob(encodePublicBlob(createPublicKey(keyObject)))
  const probe = Buffer.from('asfaleia key check')
  const algorithm = key.material.kind === 'ed25519' ? null : 'sha256'
  let matches: boolean
  try {
    matches = verify(algorithm, probe, createKeyObject(key.material), sign(algorithm, probe, keyObject))
  } catch {
    matches = false
  }
  if (!matches) throw new PrivateKeyError('damaged')
  return { public: key, keyObject, ...actionsOf(key, keyObject) }
}

const ECDSA_DIGESTS = { nistp256: 'sha256', nistp384: 'sha384', nistp521: 'sha512' } as const satisfies Record<EcdsaCurve, string>

function actionsOf({ material }: SshKey, keyObject: KeyObject): Omit<SshPrivateKey, 'public'> {
  switch (material.kind) {
    case 'ed25519':
      return { sign: (message) => sign(null, message, keyObject), multiply: multiplierOf(keyObject) }
    case 'rsa':
      return {
        sign: (message) => sign('sha512', message, keyObject),
        decrypt: (ciphertext, label) => privateDecrypt({ key: keyObject, oaepHash: 'sha256', oaepLabel: asBuffer(label) }, ciphertext),
      }
    case 'ecdsa':
      return { sign: (message) => sign(ECDSA_DIGESTS[material.curve], message, { key: keyObject, dsaEncoding: 'ieee-p1363' }) }
  }
}

/**
 * Computes the X25519 scalar of an ed25519 key: the first half of its seed's hash (RFC 8032, section 5.1.5), which
 * X25519 clamps as ed25519 does.
 */
function multiplierOf(keyObject: KeyObject): Multiply {
  const seed = Buffer.from(keyObject.export({ format: 'jwk' }).d!, 'base64url')
  const digest = createHash('sha512').update(seed).digest()
  try {
    return x25519(digest.subarray(0, 32))
  } finally {
    digest.fill(0)
    seed.fill(0)
  }
}

function parsePublicBlob(blob: Uint8Array): SshKey {
  try {
    return parseKeyBlob(blob)
  } catch (error) {
    if (error instanceof ProtocolError) throw new PrivateKeyError(findRsaFault(blob) ?? 'unsupported')
    throw error
  }
}

/** By the names of OpenSSL. */
const CURVES: Readonly<Record<string, EcdsaCurve>> = {
  prime256v1: 'nistp256',
  secp384r1: 'nistp384',
  secp521r1: 'nistp521',
}

/** Encodes the public key as SSH does. @throws {PrivateKeyError} `unsupported` if SSH has no type for it */
function encodePublicBlob(key: KeyObject): Uint8Array {
  const curve = CURVES[key.asymmetricKeyDetails?.namedCurve ?? '']
  switch (key.asymmetricKeyType) {
    case 'ed25519':
      return Buffer.concat([encodeString('ssh-ed25519'), encodeString(exportPart(key, 'x'))])
    case 'rsa':
      return Buffer.concat([encodeString('ssh-rsa'), encodeMpint(exportPart(key, 'e')), encodeMpint(exportPart(key, 'n'))])
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

/** The cipher that ssh-keygen writes; age reads it too. */
const NEW_CIPHER = 'aes256-ctr'

/**
 * Generates an ed25519 key in the two texts that ssh-keygen writes. The caller must protect the private one (mode
 * 0600).
 *
 * @param comment one line, for both texts
 * @param passphrase encrypts the private key, with 16 rounds of bcrypt; without one it is not encrypted
 * @returns `file`, an OPENSSH PRIVATE KEY, and `public`, the `.pub` line without its line break
 * @throws {TypeError} if the comment contains a line break or NUL, or the passphrase is empty
 */
export function generatePrivateKey(comment: string, passphrase?: string): { file: string; public: string } {
  if (/[\r\n\0]/.test(comment)) throw new TypeError('the comment must be one line')
  if (passphrase === '') throw new TypeError('the passphrase must not be empty')
  const { privateKey, publicKey } = generateKeyPairSync('ed25519')
  const key = sshpk.parsePrivateKey(privateKey.export({ format: 'pem', type: 'pkcs8' }), 'pkcs8')
  key.comment = comment
  const base64 = Buffer.from(encodePublicBlob(publicKey)).toString('base64')
  const file = key.toString('ssh-private', passphrase === undefined ? {} : { passphrase, cipher: NEW_CIPHER })
  return { file, public: `ssh-ed25519 ${base64} ${comment}`.trimEnd() }
}
