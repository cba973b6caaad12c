/** Reads key files, opens private keys, and asks for passphrases. Prints no part of a private key. public-key.ts reads public keys. */
import { constants } from 'node:fs'
import { open } from 'node:fs/promises'
import { PrivateKeyError } from '../../auth/key-error.ts'
import { parseSeedFile } from '../../auth/seed.ts'
import { formatFingerprint, type SshPrivateKey } from '../../auth/ssh-key.ts'
import { CliError } from '../program/error.ts'
import type { Io } from '../program/io.ts'
import { readAt } from './file.ts'
import { askPassphrase, readPassphraseFile } from './passphrase.ts'
import { systemHint, systemReason } from './system.ts'

/** An RSA key of 8,192 bits takes 6.5 KB. */
const MOST_BYTES = 65_536

export interface KeyFile {
  readonly bytes: Buffer
  /** Its mode, such as 0644, if it is the user's own file, and other users may read or change it. */
  readonly exposed?: string
}

/** Reads a key file of any kind. Opening a pipe does not block. @throws {CliError} that names the path */
export async function readKeyFile(path: string): Promise<KeyFile> {
  const unreadable = (why: string, options = {}): CliError => new CliError(`cannot read the key file ${path}: ${why}`, options)
  try {
    await using file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK)
    const stat = await file.stat()
    if (!stat.isFile()) throw unreadable('it is not a regular file')
    if (stat.size > MOST_BYTES) throw unreadable('it is too large for a key')
    // A file of another user is theirs to protect, as ssh has it: root may make a key for a service.
    const isExposed = (stat.mode & 0o077) !== 0 && stat.uid === process.getuid?.()
    const bytes = Buffer.alloc(MOST_BYTES + 1)
    const length = await readAt(file, bytes, 0)
    if (length > MOST_BYTES) throw unreadable('it is too large for a key')
    const mode = `0${(stat.mode & 0o777).toString(8).padStart(3, '0')}`
    return { bytes: bytes.subarray(0, length), ...(isExposed && { exposed: mode }) }
  } catch (error) {
    if (error instanceof CliError) throw error
    throw unreadable(systemReason(error), systemHint(error))
  }
}

export function isPrivateKey({ bytes }: KeyFile): boolean {
  return bytes.includes('PRIVATE KEY-----')
}

/** Decodes a private key and erases `file.bytes`. @throws {CliError}, also if other users may read the file */
export async function unlockPrivateKey(file: KeyFile, path: string, io: Io): Promise<SshPrivateKey> {
  try {
    return await openPrivateKey(file, path, io)
  } catch (error) {
    throw error instanceof PrivateKeyError ? describePrivateKey(error, path) : error
  }
}

/**
 * As {@link unlockPrivateKey}, for callers that handle an unusable key themselves.
 * @throws {CliError | PrivateKeyError}
 */
export async function openPrivateKey(file: KeyFile, path: string, io: Io): Promise<SshPrivateKey> {
  try {
    refuseExposed(file, path)
    return await parseAsking(file.bytes, path, io)
  } finally {
    file.bytes.fill(0)
  }
}

/** Opens a file with an ed25519 key without a passphrase, as this program makes it. @throws {CliError} */
export async function openSeedFile(path: string): Promise<SshPrivateKey> {
  const file = await readKeyFile(path)
  try {
    refuseExposed(file, path)
    return parseSeedFile(file.bytes.toString('latin1'))
  } catch (error) {
    if (!(error instanceof PrivateKeyError)) throw error
    throw new CliError(`${path}: it does not hold an ed25519 key without a passphrase`, {
      hint: 'the file was left untouched; restore it from a backup',
    })
  } finally {
    file.bytes.fill(0)
  }
}

function refuseExposed({ exposed }: KeyFile, path: string): void {
  if (exposed === undefined) return
  throw new CliError(`other users may read the private key ${path}, of mode ${exposed}`, {
    hint: `keep them out, as ssh requires: chmod 600 ${path}; if they may have read the key, make another one`,
  })
}

/** Turns an error of the private key in `path` into an error of the command line. */
export function describePrivateKey(error: PrivateKeyError, path: string): CliError {
  const hint = hintOf(error, path)
  return new CliError(`${path}: ${error.message}`, { ...(hint !== undefined && { hint }) })
}

function hintOf({ code, key }: PrivateKeyError, path: string): string | undefined {
  if (key !== undefined) return `add it to your agent with \`ssh-add ${path}\`, then use --key agent:${formatFingerprint(key.fingerprint)}`
  if (code === 'too-costly') return `\`ssh-keygen -p -a 100 -f ${path}\` reduces them`
  return code === 'several-keys' ? 'put each key into a file of its own' : undefined
}

/** More rounds of bcrypt than this are worth a notice; ssh-keygen uses 16 or 24 by default. */
const MANY_ROUNDS = 64

async function parseAsking(bytes: Buffer, path: string, io: Io): Promise<SshPrivateKey> {
  const plain = parsePlain(bytes)
  if (plain !== undefined) return plain
  // The reader of all other keys takes some 50 ms to load.
  const { readPrivateKey } = await import('../../auth/private-key.ts')
  try {
    return await readPrivateKey(bytes)
  } catch (error) {
    if (!(error instanceof PrivateKeyError) || error.code !== 'needs-passphrase') throw error
  }
  const passphrase = (await readPassphraseFile(io)) ?? (await askPassphrase(`passphrase of ${path}`, io))
  const onRounds = (rounds: number): void => {
    if (rounds > MANY_ROUNDS) io.stderr.write(`asfaleia: decrypting the key takes ${rounds} rounds of a few milliseconds each\n`)
  }
  try {
    return await readPrivateKey(bytes, passphrase, { signal: io.signal, onRounds })
  } catch (error) {
    throw io.signal.aborted ? new CliError('interrupted') : error
  }
}

/**
 * Decodes an ed25519 key without a passphrase, as `asfaleia me` makes it. Returns undefined for any other, even a
 * broken one.
 */
function parsePlain(bytes: Buffer): SshPrivateKey | undefined {
  try {
    return parseSeedFile(bytes.toString('latin1'))
  } catch (error) {
    if (error instanceof PrivateKeyError) return undefined
    throw error
  }
}
