/** Opens a backup of an onion service with a passphrase, an age identity or an SSH key. */
import { readFileSync } from 'node:fs'
import { open, readFile, stat } from 'node:fs/promises'
import type { Identity } from 'age-encryption'
import { SshIdentity } from '../../auth/age-ssh.ts'
import { BackupError, findBackup, isIdentity, kindOfBackup, openBackup, type Opener } from '../../onion/backup.ts'
import { checkService, type ServiceFiles } from '../../onion/service.ts'
import { systemHint, systemReason } from '../disk/system.ts'
import { readMemoryLimit } from '../disk/cgroup.ts'
import { tidyArmor } from '../../auth/armor.ts'
import { quoteWord } from '../program/show.ts'
import { findKeyFormat } from '../disk/key-format.ts'
import { isPrivateKey, type KeyFile, readKeyFile, unlockPrivateKey } from '../disk/keyfile.ts'
import { askPassphrase, chomp, decodePassphrase, readPassphraseFile } from '../disk/passphrase.ts'
import { describeService, warnSkipped } from './folder.ts'
import { CliError } from '../program/error.ts'
import type { Io } from '../program/io.ts'
import type { Options } from '../program/page.ts'

export const IDENTITY_OPTION = {
  identity: {
    value: 'FILE',
    about: `the age identity or private SSH key that opens a backup which was encrypted to a key. \`-\` takes it, or the passphrase, from
      standard input; if the backup comes from there, too, the backup follows it`,
  },
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
  const { secret, file } = await readInputs(path, identity, io)
  const kind = kindOfBackup(file)
  if (kind === 'identity' && identity === undefined) {
    throw new CliError(`${source} is encrypted to a key`, { hint: 'name the file of the age identity or private SSH key with --identity' })
  }
  try {
    const files = await openBackup(file, await readOpener(kind, source, { identity, secret }, io), (skipped) => warnSkipped(skipped, io))
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

/** Reads the backup, and what comes before it on standard input. */
async function readInputs(
  path: string,
  identity: string | undefined,
  io: Io,
): Promise<{ readonly secret?: Buffer; readonly file: Buffer }> {
  if (identity !== '-') return { file: await readBackup(path, io) }
  const input = await readBackup('-', io)
  if (path !== '-') return { secret: input, file: await readBackup(path, io) }
  const begin = findBackup(input)
  return begin === -1 ? { secret: input, file: Buffer.alloc(0) } : { secret: input.subarray(0, begin), file: input.subarray(begin) }
}

async function readOpener(
  kind: ReturnType<typeof kindOfBackup>,
  source: string,
  { identity, secret }: { readonly identity: string | undefined; readonly secret: Buffer | undefined },
  io: Io,
): Promise<Opener> {
  if (kind === undefined) return { identities: [] }
  if (kind === 'identity') return { identities: await readIdentities(identity!, secret, io) }
  checkScryptMemory()
  const bytes = secret === undefined ? await readPassphraseFile(io) : chomp(secret)
  return { passphrase: bytes === undefined ? await askPassphrase(`passphrase of ${source}`, io) : decodePassphrase(bytes) }
}

/** Memory of age's scrypt, and of this program beside it. */
const SCRYPT_BYTES = 400 * 2 ** 20

/** @throws {CliError} if the system would kill this process, without a word, for the memory that a passphrase takes */
export function checkScryptMemory(read = readText): void {
  const limit = readMemoryLimit(read)
  if (limit === undefined || limit >= SCRYPT_BYTES) return
  throw new CliError(
    `a passphrase takes 400 MiB of memory, but the control group of this process allows ${Math.floor(limit / 2 ** 20)} MiB`,
    {
      hint: 'raise the limit (mem_limit of `keys` in docker-compose.yml), or encrypt the backup to a key (--to)',
    },
  )
}

function readText(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return undefined
  }
}

async function readIdentities(given: string, secret: Buffer | undefined, io: Io): Promise<(string | Identity)[]> {
  const path = secret === undefined ? given : 'the identity on standard input'
  const file = secret === undefined ? await readIdentityFile(given) : { bytes: secret }
  if (isPrivateKey(file)) {
    const key = await unlockPrivateKey(file, path, io)
    if (!key.public.canDecrypt) throw new CliError(`the key ${path} can only sign, so it cannot open a backup`)
    return [new SshIdentity(key)]
  }
  const format = findKeyFormat(file.bytes)
  const lines = tidyArmor(file.bytes.toString('latin1')).split('\n')
  file.bytes.fill(0)
  const identities = lines.filter((line) => line !== '' && !line.startsWith('#'))
  if (identities.length === 0 || !identities.every(isIdentity)) {
    if (format !== undefined && !lines.some((line) => line.startsWith('AGE-')))
      throw new CliError(`${path} is ${format.name}`, { hint: format.toPrivate.replaceAll('FILE', () => quoteWord(given)) })
    throw new CliError(`${path} holds no age identity or private SSH key`, { hint: 'name the file that `age-keygen` or `ssh-keygen` made' })
  }
  return identities
}

/** Reads a regular file, or a pipe such as that of `<(pass show key)`. */
async function readIdentityFile(path: string): Promise<KeyFile> {
  if (!(await stat(path).catch(() => undefined))?.isFIFO()) return readKeyFile(path)
  return { bytes: await readFile(path) }
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
    throw new CliError(`cannot read ${path}: ${systemReason(error)}`, systemHint(error))
  }
}
