/**
 * The folder of a v3 onion service as tor keeps it (HiddenServiceDir), as bytes: which files it has, what is in them,
 * and whether they belong together. Touches no disk. Whoever has these keys is the relay: nothing here puts a
 * part of them into an error.
 */
import { createHash, randomBytes } from 'node:crypto'
import { ed25519 } from '@noble/curves/ed25519.js'
import { bytesToNumberLE } from '@noble/curves/utils.js'
import { CodedError } from '../protocol/coded-error.ts'
import { encodeOnion } from './address.ts'

/** The files by their paths within the folder. */
export type ServiceFiles = ReadonlyMap<string, Uint8Array>

export const HOSTNAME = 'hostname'
export const SECRET_KEY = 'hs_ed25519_secret_key'
export const PUBLIC_KEY = 'hs_ed25519_public_key'
/** Of client authorization; a file NAME.auth for each client. */
export const CLIENTS = 'authorized_clients'

/** The name that a client has here; tor takes any, and this one is safe in every shell, archive and terminal. */
export const CLIENT_NAME = /^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$/

/** Tor's headers of key files (src/lib/crypt_ops/crypto_ed25519.c, `crypto_write_tagged_contents_to_file`), padded to 32 bytes. */
const SECRET_HEADER = header('== ed25519v1-secret: type0 ==')
const PUBLIC_HEADER = header('== ed25519v1-public: type0 ==')
/** An expanded secret key: scalar and prefix (RFC 8032, section 5.1.5, before its step 2 forgets the seed). */
const SECRET_BYTES = 64

export type ServiceProblem =
  'no-secret-key' | 'malformed-key' | 'foreign-public-key' | 'foreign-hostname' | 'strange-file' | 'malformed-client'

const TEXTS = {
  'no-secret-key': 'there is no secret key of an onion service in it',
  'malformed-key': 'a key file is not of the form that tor writes',
  'foreign-public-key': 'the secret key does not make the public key',
  'foreign-hostname': 'the secret key does not make the address',
  'strange-file': 'there is something in it that belongs to no onion service',
  'malformed-client': 'an authorized client is not of the form that tor takes',
} as const satisfies Record<ServiceProblem, string>

export class ServiceError extends CodedError<ServiceProblem> {
  constructor(code: ServiceProblem) {
    super('ServiceError', code, TEXTS[code])
  }
}

/**
 * Checks that the files are a whole onion service: the secret key makes the public key and the address, every client
 * is one that tor takes, and there is nothing else.
 * @returns its address, `….onion`
 * @throws {ServiceError}
 */
export function checkService(files: ServiceFiles): string {
  const secret = files.get(SECRET_KEY)
  if (secret === undefined) throw new ServiceError('no-secret-key')
  const publicKey = derivePublicKey(cutHeader(secret, SECRET_HEADER, SECRET_BYTES))
  const told = files.get(PUBLIC_KEY)
  if (told === undefined || Buffer.compare(cutHeader(told, PUBLIC_HEADER, 32), publicKey) !== 0)
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
    const client = clientOf(path)
    if (client === undefined || !CLIENT_NAME.test(client)) throw new ServiceError('strange-file')
    if (!/^descriptor:x25519:[A-Z2-7]{52}\n?$/.test(Buffer.from(bytes).toString('latin1'))) throw new ServiceError('malformed-client')
  }
  return onion
}

/** The keys and the address of a new onion service, as tor would have made them. */
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

/** The client that a path of the folder is the file of; undefined for any other. */
export function clientOf(path: string): string | undefined {
  return /^authorized_clients\/(.*)\.auth$/.exec(path)?.[1]
}

/** Scalar times base point (RFC 8032, section 5.1.5, step 4), by @noble/curves. @throws {ServiceError} */
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
