/**
 * Key files: reads a private one (asking for its passphrase where it has one), reads a public one, and
 * never writes over anything. Prints no part of a private key.
 */
import { constants } from 'node:fs'
import { open } from 'node:fs/promises'
import { PrivateKeyError } from '../../auth/key-error.ts'
import { parseSeedFile } from '../../auth/seed.ts'
import { formatFingerprint, parsePublicKey, type SshKey, type SshPrivateKey } from '../../auth/ssh-key.ts'
import { ProtocolError } from '../../protocol/errors.ts'
import { CliError } from '../program/error.ts'
import type { Io } from '../program/io.ts'
import { sanitizeLine } from '../program/show.ts'
import { askPassphrase, readPassphraseFile } from './passphrase.ts'
import { systemCode } from './system.ts'

/** An RSA key of 8,192 bits takes 6.5 KB. */
const MOST_BYTES = 65_536

export interface KeyFile {
  readonly bytes: Buffer
  /** Whether others than the owner may read it. */
  readonly exposed: boolean
}

/** @throws {CliError} with one line why it cannot be read */
export async function readKeyFile(path: string): Promise<KeyFile> {
  const unreadable = (why: string): CliError => new CliError(`cannot read the key file ${path}: ${why}`)
  try {
    // A pipe is not waited for.
    await using file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK)
    const stat = await file.stat()
    if (!stat.isFile()) throw unreadable('it is no file')
    if (stat.size > MOST_BYTES) throw unreadable('it is too large for a key')
    return { bytes: await file.readFile(), exposed: (stat.mode & 0o077) !== 0 }
  } catch (error) {
    if (error instanceof CliError) throw error
    const why = { ENOENT: 'there is none', EACCES: 'permission denied', EISDIR: 'it is a folder' }[systemCode(error)]
    throw unreadable(why ?? 'the system refuses')
  }
}

export function isPrivateKey({ bytes }: KeyFile): boolean {
  return bytes.includes('PRIVATE KEY-----')
}

/** The private key of a file; says on stderr if others may read the file. @throws {CliError} */
export async function unlockPrivateKey(file: KeyFile, path: string, io: Io): Promise<SshPrivateKey> {
  try {
    return await openPrivateKey(file, path, io)
  } catch (error) {
    throw error instanceof PrivateKeyError ? describePrivateKey(error, path) : error
  }
}

/** As {@link unlockPrivateKey}, for who has more to do where the key is of no use. @throws {CliError | PrivateKeyError} */
export async function openPrivateKey(file: KeyFile, path: string, io: Io): Promise<SshPrivateKey> {
  if (file.exposed) {
    io.stderr.write(`asfaleia: warning: others may read ${sanitizeLine(path)}; chmod 600 keeps them out\n`)
  }
  try {
    return await parseAsking(file.bytes, path, io)
  } finally {
    file.bytes.fill(0)
  }
}

/** What is wrong with the private key of `path`, as a failure of the command line. */
export function describePrivateKey(error: PrivateKeyError, path: string): CliError {
  const hint = hintOf(error, path)
  return new CliError(`${path}: ${error.message}`, { ...(hint !== undefined && { hint }) })
}

function hintOf({ code, key }: PrivateKeyError, path: string): string | undefined {
  if (key !== undefined) return `\`ssh-add ${path}\` gives it to the agent; then --key agent:${formatFingerprint(key.fingerprint)}`
  if (code === 'too-costly') return `\`ssh-keygen -p -a 100 -f ${path}\` makes them fewer`
  return code === 'several-keys' ? 'put each into a file of its own' : undefined
}

/** More rounds than ssh-keygen takes unless it is told to. */
const MANY_ROUNDS = 64

async function parseAsking(bytes: Buffer, path: string, io: Io): Promise<SshPrivateKey> {
  const plain = parsePlain(bytes)
  if (plain !== undefined) return plain
  // What reads all other keys takes some 50 ms to load.
  const { readPrivateKey } = await import('../../auth/private-key.ts')
  try {
    return await readPrivateKey(bytes)
  } catch (error) {
    if (!(error instanceof PrivateKeyError) || error.code !== 'needs-passphrase') throw error
  }
  const passphrase = (await readPassphraseFile(io)) ?? (await askPassphrase(`passphrase of ${path}`, io))
  const onRounds = (rounds: number): void => {
    if (rounds > MANY_ROUNDS) io.stderr.write(`asfaleia: opening the key takes ${rounds} rounds, of some milliseconds each\n`)
  }
  try {
    return await readPrivateKey(bytes, passphrase, { signal: io.signal, onRounds })
  } catch (error) {
    throw io.signal.aborted ? new CliError('interrupted') : error
  }
}

/** An ed25519 key without a passphrase, as `me` makes it; undefined for any other, whatever is wrong with it. */
function parsePlain(bytes: Buffer): SshPrivateKey | undefined {
  try {
    return parseSeedFile(bytes.toString('latin1'))
  } catch (error) {
    if (error instanceof PrivateKeyError) return undefined
    throw error
  }
}

/** The key in a text such as a `.pub` file: its first line that is no comment. @throws {CliError} */
export function readPublicKey(text: string, what: string): SshKey {
  const line = text.split('\n').find((each) => each.trim() !== '' && !each.startsWith('#'))
  try {
    return parsePublicKey(line?.trim() ?? '')
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error
    throw new CliError(
      error.code === 'unsupported-key' ? `${what} is a key of a type that is not supported` : `${what} is no public key, or too weak a one`,
      { hint: 'a public key is one line: type, base64, and a comment' },
    )
  }
}
