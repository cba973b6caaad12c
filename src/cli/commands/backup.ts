/**
 * `asfaleia backup`: writes the onion service's keys to one encrypted file, or checks such a file. The file is a tar
 * archive encrypted by age. The command never writes the keys to a disk unencrypted.
 */
import type { Recipient } from 'age-encryption'
import { SshRecipient } from '../../auth/age-ssh.ts'
import type { SshKey } from '../../auth/ssh-key.ts'
import { clientOf, type ServiceFiles } from '../../onion/service.ts'
import { isRecipient, type Lock, sealBackup } from '../../onion/backup.ts'
import { readCommandLine } from '../program/arguments.ts'
import { writeNew } from '../disk/file.ts'
import { readKeyFile } from '../disk/keyfile.ts'
import { isKeyText, readPublicKey, readPublicKeys, type Source } from '../disk/public-key.ts'
import { newPassphrase, PASSPHRASE_VARIABLE } from '../disk/passphrase.ts'
import { describeService, findService, readService, SERVICE_OPTION } from '../service/folder.ts'
import { CliError, UsageError } from '../program/error.ts'
import { EXIT } from '../program/exit.ts'
import type { Io } from '../program/io.ts'
import { formatJson } from '../program/show.ts'
import { checkScryptMemory, erase, IDENTITY_OPTION, openBackupFile } from '../service/unlock.ts'
import type { Page } from '../program/page.ts'

export const page = {
  name: 'backup',
  usages: ['backup --out FILE (--to RECIPIENT … | --passphrase) [--service FOLDER]', 'backup --verify FILE [--identity FILE]'],
  options: {
    ...SERVICE_OPTION,
    out: { value: 'FILE', about: 'the file to write, which must not exist yet; `-` is standard output' },
    to: {
      value: 'RECIPIENT',
      about: 'encrypt to age1…, to an SSH public key, or to each of those in a file',
      multiple: true,
    },
    passphrase: { about: 'encrypt with a passphrase instead' },
    verify: { value: 'FILE', about: 'check a backup and write nothing; `-` is standard input' },
    ...IDENTITY_OPTION,
    json: { about: 'print one JSON object' },
  },
  variables: PASSPHRASE_VARIABLE,
  text: `
    Writes the keys, the address and the authorized clients of the onion service to one encrypted FILE. Anyone who can decrypt it can
    impersonate the relay. \`age -d FILE | tar -x\` opens it, too.

    --verify decrypts a backup and checks that its keys belong to its address.`,
  examples: [
    ['back up to an SSH key', 'asfaleia backup --to backup-key.pub --out onion.age'],
    ['check that backup', 'asfaleia backup --verify onion.age --identity backup-key'],
  ],
} as const satisfies Page

const WEAK = 'anyone who guesses it can impersonate the relay: choose several random words'

export async function run(argv: string[], io: Io): Promise<number> {
  const given = readCommandLine(argv, io, page)
  if (given === undefined) return EXIT.ok
  const { values, hint } = given
  const { verify, out, to = [], identity } = values
  if (verify !== undefined) {
    if (out !== undefined || to.length > 0 || values.passphrase === true)
      throw new UsageError('--verify does not go together with --out, --to or --passphrase', { hint })
    const { address, files } = await openBackupFile(verify, identity, io)
    tell(io, values.json === true, 'a good backup of', address, files)
    erase(files)
    return EXIT.ok
  }
  if (out === undefined) throw new UsageError('--out FILE or --verify FILE is missing', { hint })
  if (to.length > 0 === (values.passphrase === true)) throw new UsageError('give either --to or --passphrase', { hint })
  if (out === '-' && io.stdout.isTTY === true)
    throw new UsageError('a backup is not text that a terminal can show', { hint: 'redirect standard output to a file' })
  const folder = findService(values.service, io)
  const recipients = (await Promise.all(to.map(readRecipients))).flat()
  const files = await readService(folder, io)
  try {
    const lock: Lock = to.length > 0 ? { recipients } : { passphrase: await lockByPassphrase('passphrase for the backup', WEAK, io) }
    const sealed = await sealBackup(files, lock).catch((error: unknown) => Promise.reject(describeService(folder, error)))
    const address = Buffer.from(files.get('hostname')!).toString('latin1').trim()
    if (out === '-') {
      await new Promise<void>((resolve, reject) => {
        io.stdout.write(sealed, (error) => (error ? reject(new CliError('standard output is closed')) : resolve()))
      })
    } else {
      await writeNew(out, sealed, 0o600)
      tell(io, values.json === true, 'backed up', address, files)
    }
    return EXIT.ok
  } finally {
    erase(files)
  }
}

async function lockByPassphrase(prompt: string, hint: string, io: Io): Promise<string> {
  checkScryptMemory()
  return newPassphrase(prompt, hint, io)
}

function tell(io: Io, json: boolean, what: string, address: string, files: ServiceFiles): void {
  const clients = [...files.keys()].filter((path) => clientOf(path) !== undefined).length
  const more = clients === 0 ? '' : `, with ${clients} authorized client${clients === 1 ? '' : 's'}`
  io.stdout.write(json ? `${formatJson({ address, clients })}\n` : `${what} ${address}${more}\n`)
}

/** Reads the value of --to: a recipient, or a file with one recipient a line. @throws {CliError} */
async function readRecipients(given: string): Promise<(string | Recipient)[]> {
  const option: Source = { name: '--to' }
  if (given.startsWith('age1')) return [readAgeRecipient(given, option)]
  if (isKeyText(given)) return [toRecipient(readPublicKey(given, option), option)]
  const file = await readKeyFile(given)
  const source: Source = { name: given, isFile: true }
  const readOther = (line: string): string | undefined => (line.startsWith('age1') ? readAgeRecipient(line, source) : undefined)
  const all = readPublicKeys(file.bytes, source, readOther)
  return all.map((each) => (typeof each === 'string' ? each : toRecipient(each, source)))
}

function readAgeRecipient(text: string, { name }: Source): string {
  if (isRecipient(text)) return text
  throw new CliError(`${name} is not an age recipient`, { hint: 'expected age1…, as `age-keygen` prints it' })
}

function toRecipient(key: SshKey, { name }: Source): Recipient {
  if (key.canDecrypt) return new SshRecipient(key)
  throw new CliError(`${name}: this key can only sign, so nothing can be encrypted to it`, { hint: 'use an ssh-ed25519 or ssh-rsa key' })
}
