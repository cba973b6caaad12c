/**
 * The files in the folder of a v3 onion service (HiddenServiceDir of tor), as bytes: their names, their content, and
 * whether they belong together. Touches no disk. The owner of these keys can pose as the relay, so no error contains any
 * part of them.
 */
import { createHash, randomBytes } from 'node:crypto'
import { ed25519 } from '@noble/curves/ed25519.js'
import { bytesToNumberLE } from '@noble/curves/utils.js'
import { CodedError } from '../protocol/coded-error.ts'
import { encodeOnion } from './address.ts'

/** The files by their paths in the folder. */
export type ServiceFiles = ReadonlyMap<string, Uint8Array>

export const HOSTNAME = 'hostname'
export const SECRET_KEY = 'hs_ed25519_secret_key'
export const PUBLIC_KEY = 'hs_ed25519_public_key'
/** The folder of client authorization, with a file NAME.auth for each client. */
export const CLIENTS = 'authorized_clients'

/** The names of clients that we make. Tor accepts any name; these are safe in every shell, archive and terminal. */
export const CLIENT_NAME = /^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$/

/** The headers of tor's key files, padded to 32 bytes (`crypto_write_tagged_contents_to_file` of tor). */
const SECRET_HEADER = header('== ed25519v1-secret: type0 ==')
const PUBLIC_HEADER = header('== ed25519v1-public: type0 ==')
/** An expanded secret key: scalar and prefix (RFC 8032, section 5.1.5, before its step 2 forgets the seed). */
const SECRET_BYTES = 64

export type ServiceProblem =
  'no-secret-key' | 'malformed-key' | 'foreign-public-key' | 'foreign-hostname' | 'strange-file' | 'malformed-client'

const TEXTS = {
  'no-secret-key': 'it contains no secret key of an onion service',
  'malformed-key': 'a key file does not have the format of tor',
  'foreign-public-key': 'the public key does not belong to the secret key',
  'foreign-hostname': 'the address does not belong to the secret key',
  'strange-file': 'it contains a file that does not belong to an onion service',
  'malformed-client': 'the file of an authorized client does not have the format of tor',
} as const satisfies Record<ServiceProblem, string>

export class ServiceError extends CodedError<ServiceProblem> {
  constructor(code: ServiceProblem) {
    super('ServiceError', code, TEXTS[code])
  }
}

/**
 * Checks that the files are a complete onion service: public key and address belong to the secret key, every client's
 * file has the format of tor, and there is no other file.
 * @returns its address, `….onion`
 * @throws {ServiceError}
 */
export function checkService(files: ServiceFiles): string {
  const secret = files.get(SECRET_KEY)
  if (secret === undefined) throw new ServiceError('no-secret-key')
  const publicKey = derivePublicKey(cutHeader(secret, SECRET_HEADER, SECRET_BYTES))
  const stored = files.get(PUBLIC_KEY)
  if (stored === undefined || Buffer.compare(cutHeader(stored, PUBLIC_HEADER, 32), publicKey) !== 0)
    throw new ServiceError('foreign-public-key')
  const onion = encodeOnion(publicKey)
  if (
    Buffer.from(files.get(HOSTNAME) ?? [])
      .toString('latin1')
      .trim() !== onion
  )
    throw new ServiceError('foreign-hostname')
  for (const [path, bytes] of files) {
    if (path === HOSTNAME || path === SECRET_KEY || path === PUBLIC_KEY) continue
    if (clientOf(path) === undefined) throw new ServiceError('strange-file')
    if (!isTorsClient(bytes)) throw new ServiceError('malformed-client')
  }
  return onion
}

/** Whether tor takes the file of a client (`parse_authorized_client` of tor): letters of both cases, and blanks around fields. */
function isTorsClient(bytes: Uint8Array): boolean {
  return /^\s*descriptor\s*:\s*x25519\s*:\s*[A-Za-z2-7]{52}\s*$/.test(Buffer.from(bytes).toString('latin1'))
}

/**
 * Separates the files of clients that tor itself skips, so that such a file stops no backup.
 * @returns all other files, and the paths of those
 */
export function splitClients(files: ServiceFiles): { readonly files: ServiceFiles; readonly skipped: readonly string[] } {
  const isSkipped = ([path, bytes]: readonly [string, Uint8Array]): boolean =>
    path.startsWith(`${CLIENTS}/`) && (clientOf(path) === undefined || !isTorsClient(bytes))
  const all = [...files]
  return { files: new Map(all.filter((each) => !isSkipped(each))), skipped: all.filter(isSkipped).map(([path]) => path) }
}

/** Makes the keys and the address of a new onion service, in the format of tor. */
export function createService(): ServiceFiles {
  const secret = createHash('sha512').update(randomBytes(32)).digest()
  // RFC 8032, section 5.1.5: tor keeps the scalar clamped.
  secret[0]! &= 0xf8
  secret[31]! &= 0x7f
  secret[31]! |= 0x40
  const publicKey = derivePublicKey(secret)
  return new Map([
    [HOSTNAME, Buffer.from(`${encodeOnion(publicKey)}\n`)],
    [PUBLIC_KEY, Buffer.concat([PUBLIC_HEADER, publicKey])],
    [SECRET_KEY, Buffer.concat([SECRET_HEADER, secret])],
  ])
}

export function clientPath(name: string): string {
  return `${CLIENTS}/${name}.auth`
}

/** Returns the name of the client whose file has this path; undefined for any other path. */
export function clientOf(path: string): string | undefined {
  return /^authorized_clients\/([^/\p{Cc}]+)\.auth$/u.exec(path)?.[1]
}

/** Multiplies the base point by the scalar (RFC 8032, section 5.1.5, step 4). @throws {ServiceError} if the scalar is 0 */
function derivePublicKey(secret: Uint8Array): Uint8Array {
  const { Fn, BASE } = ed25519.Point
  const scalar = Fn.create(bytesToNumberLE(secret.subarray(0, 32)))
  if (scalar === 0n) throw new ServiceError('malformed-key')
  return BASE.multiply(scalar).toBytes()
}

function cutHeader(file: Uint8Array, expected: Uint8Array, bytes: number): Uint8Array {
  const sound = file.length === expected.length + bytes && Buffer.compare(file.subarray(0, expected.length), expected) === 0
  if (!sound) throw new ServiceError('malformed-key')
  return file.subarray(expected.length)
}

function header(text: string): Buffer {
  const bytes = Buffer.alloc(32)
  bytes.write(text, 'latin1')
  return bytes
}
