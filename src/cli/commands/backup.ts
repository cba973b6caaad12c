/**
 * `asfaleia backup`: the onion service's keys in one encrypted file, and whether such a file is good. The file is what
 * `age -d` and `tar -x` open. The keys never touch a disk unencrypted here.
 */
import type { Recipient } from 'age-encryption'
import { SshRecipient } from '../../auth/age-ssh.ts'
import { clientOf, type ServiceFiles } from '../../onion/service.ts'
import { isRecipient, type Lock, sealBackup } from '../../onion/backup.ts'
import { openCommandLine } from '../program/arguments.ts'
import { writeNew } from '../disk/file.ts'
import { isPrivateKey, readKeyFile, readPublicKey } from '../disk/keyfile.ts'
import { newPassphrase } from '../disk/passphrase.ts'
import { describeService, findService, readService, SERVICE_HELP } from '../service/folder.ts'
import { CliError, UsageError } from '../program/error.ts'
import { EXIT } from '../program/exit.ts'
import type { Io } from '../program/io.ts'
import { formatJson } from '../program/show.ts'
import { erase, IDENTITY_HELP, openBackupFile } from '../service/unlock.ts'

const USAGE = 'asfaleia backup --out FILE (--to RECIPIENT | --passphrase), or asfaleia backup --verify FILE'

const HELP = `usage: ${USAGE}

Puts the onion service's keys, its name and its clients into FILE, encrypted: whoever can open it is the relay. It
opens with \`age -d FILE | tar -x\` as well. --verify opens FILE, checks that the keys in it make its address, and
writes nothing.

${SERVICE_HELP}
  --out FILE          where to write; nothing is ever written over. \`-\` is standard output
  --to RECIPIENT      age1…, an SSH public key, or a file of one or more of them; may be given again
  --passphrase        ask for one instead; ASFALEIA_PASSPHRASE_FILE may name a file that holds it
  --verify FILE       see above; \`-\` is standard input
${IDENTITY_HELP}
  --json              one JSON object on stdout
  -h, --help          this text
`

const OPTIONS = {
  service: { type: 'string' },
  out: { type: 'string' },
  to: { type: 'string', multiple: true },
  passphrase: { type: 'boolean' },
  verify: { type: 'string' },
  identity: { type: 'string' },
  json: { type: 'boolean' },
} as const

const WEAK = 'whoever has the file could be the relay: take several random words'

export async function run(argv: string[], io: Io): Promise<number> {
  const given = openCommandLine(argv, io, { usage: USAGE, help: HELP, options: OPTIONS, words: 0 })
  if (given === undefined) return EXIT.ok
  const { values } = given
  const { verify, out, to = [], identity } = values
  if (verify !== undefined) {
    if (out !== undefined || to.length > 0 || values.passphrase === true)
      throw new UsageError('--verify goes with --identity alone', { hint: USAGE })
    const { address, files } = await openBackupFile(verify, identity, io)
    tell(io, values.json === true, 'a good backup of', address, files)
    erase(files)
    return EXIT.ok
  }
  if (out === undefined) throw new UsageError('--out or --verify is wanted', { hint: USAGE })
  if (to.length > 0 === (values.passphrase === true)) throw new UsageError('either --to or --passphrase is wanted', { hint: USAGE })
  if (out === '-' && io.stdout.isTTY === true) throw new UsageError('that is no text for a terminal', { hint: 'send it to a file' })
  const folder = findService(values.service, io)
  const files = await readService(folder, io)
  try {
    const lock: Lock =
      to.length > 0
        ? { recipients: (await Promise.all(to.map(readRecipients))).flat() }
        : { passphrase: await newPassphrase('passphrase for the backup', WEAK, io) }
    const sealed = await sealBackup(files, lock).catch((error: unknown) => Promise.reject(describeService(folder, error)))
    const address = Buffer.from(files.get('hostname')!).toString('latin1').trim()
    if (out === '-') {
      await new Promise<void>((resolve, reject) => {
        io.stdout.write(sealed, (error) => (error ? reject(new CliError('stdout is closed')) : resolve()))
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

function tell(io: Io, json: boolean, what: string, address: string, files: ServiceFiles): void {
  const clients = [...files.keys()].filter((path) => clientOf(path) !== undefined).length
  const more = clients === 0 ? '' : `, with ${clients} authorized client${clients === 1 ? '' : 's'}`
  io.stdout.write(json ? `${formatJson({ address, clients })}\n` : `${what} ${address}${more}\n`)
}

/** A recipient, or the file of some. @throws {CliError} */
async function readRecipients(given: string): Promise<(string | Recipient)[]> {
  const isText = given.startsWith('age1') || /^(?:ssh|ecdsa|sk)-\S+ \S/.test(given)
  if (isText) return [readRecipient(given, '--to')]
  const file = await readKeyFile(given)
  if (isPrivateKey(file) || file.bytes.includes('AGE-SECRET-KEY-'))
    throw new UsageError('--to is a private key', { hint: 'give the public one' })
  const lines = file.bytes
    .toString('latin1')
    .split('\n')
    .map((line) => line.trim())
  const recipients = lines.filter((line) => line !== '' && !line.startsWith('#')).map((line) => readRecipient(line, given))
  if (recipients.length === 0) throw new CliError(`${given} holds no recipient`)
  return recipients
}

function readRecipient(text: string, what: string): string | Recipient {
  if (text.startsWith('age1')) {
    if (isRecipient(text)) return text
    throw new CliError(`${what} is no age recipient`, { hint: 'age1…, as `age-keygen` prints it' })
  }
  const key = readPublicKey(text, what)
  if (!key.canDecrypt) throw new CliError(`${what} is a key that can sign, but not decrypt`, { hint: 'an ssh-ed25519 or ssh-rsa key can' })
  return new SshRecipient(key)
}
