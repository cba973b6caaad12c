/** Opens a backup of an onion service with a passphrase, an age identity or an SSH key. */
import { open } from 'node:fs/promises'
import type { Identity } from 'age-encryption'
import { SshIdentity } from '../../auth/age-ssh.ts'
import { BackupError, isIdentity, kindOfBackup, openBackup, type Opener } from '../../onion/backup.ts'
import { checkService, type ServiceFiles } from '../../onion/service.ts'
import { systemReason } from '../disk/system.ts'
import { isPrivateKey, readKeyFile, unlockPrivateKey } from '../disk/keyfile.ts'
import { askPassphrase, readPassphraseFile } from '../disk/passphrase.ts'
import { describeService } from './folder.ts'
import { CliError } from '../program/error.ts'
import type { Io } from '../program/io.ts'
import type { Options } from '../program/page.ts'

export const IDENTITY_OPTION = {
  identity: { value: 'FILE', about: 'the age identity or private SSH key that opens a backup which was encrypted to a key' },
} as const satisfies Options

/** The largest backup; usual ones have a few kilobytes. */
const MOST_BYTES = 8 * 1_024 * 1_024

/** Decrypts a backup and checks its service. @param path `-` reads standard input @throws {CliError} */
export async function openBackupFile(
  path: string,
  identity: string | undefined,
  io: Io,
): Promise<{ readonly address: string; readonly files: ServiceFiles }> {
  const source = path === '-' ? 'the backup' : path
  const file = await readBackup(path, io)
  const kind = kindOfBackup(file)
  if (kind === 'identity' && identity === undefined) {
    throw new CliError(`${source} is encrypted to a key`, { hint: 'name the file of the age identity or private SSH key with --identity' })
  }
  try {
    const files = await openBackup(file, await readOpener(kind, source, identity, io))
    return { address: checkService(files), files }
  } catch (error) {
    if (!(error instanceof BackupError)) throw describeService(source, error)
    throw new CliError(`${source}: ${error.message}`, { hint: 'nothing was written' })
  }
}

/** Overwrites the keys in memory. */
export function erase(files: ServiceFiles): void {
  for (const bytes of files.values()) bytes.fill(0)
}

async function readOpener(kind: ReturnType<typeof kindOfBackup>, source: string, identity: string | undefined, io: Io): Promise<Opener> {
  if (kind === undefined) return { identities: [] }
  if (kind === 'identity') return { identities: await readIdentities(identity!, io) }
  return { passphrase: (await readPassphraseFile(io)) ?? (await askPassphrase(`passphrase of ${source}`, io)) }
}

async function readIdentities(path: string, io: Io): Promise<(string | Identity)[]> {
  const file = await readKeyFile(path)
  if (isPrivateKey(file)) {
    const key = await unlockPrivateKey(file, path, io)
    if (!key.public.canDecrypt) throw new CliError(`the key ${path} can only sign, so it cannot open a backup`)
    return [new SshIdentity(key)]
  }
  const lines = file.bytes
    .toString('latin1')
    .split('\n')
    .map((line) => line.trim())
  file.bytes.fill(0)
  const identities = lines.filter((line) => line !== '' && !line.startsWith('#'))
  if (identities.length === 0 || !identities.every(isIdentity)) throw new CliError(`${path} holds no age identity or private SSH key`)
  return identities
}

async function readBackup(path: string, io: Io): Promise<Buffer> {
  const chunks: Buffer[] = []
  let length = 0
  const take = (chunk: Uint8Array | string): void => {
    length += chunk.length
    if (length > MOST_BYTES) throw new CliError(`${path} is too large for a backup`)
    chunks.push(Buffer.from(chunk as Uint8Array))
  }
  if (path === '-') {
    for await (const chunk of io.stdin) take(chunk as Uint8Array | string)
    return Buffer.concat(chunks)
  }
  try {
    await using file = await open(path, 'r')
    for await (const chunk of file.createReadStream({ autoClose: false })) take(chunk as Uint8Array)
    return Buffer.concat(chunks)
  } catch (error) {
    if (error instanceof CliError) throw error
    throw new CliError(`cannot read ${path}: ${systemReason(error)}`)
  }
}
