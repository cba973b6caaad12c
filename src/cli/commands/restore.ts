/** `asfaleia restore`: an onion service's folder from a backup, all of it or nothing. */
import { clientOf } from '../../onion/service.ts'
import { openCommandLine } from '../program/arguments.ts'
import { writeNewFolder } from '../disk/file.ts'
import { UsageError } from '../program/error.ts'
import { EXIT } from '../program/exit.ts'
import type { Io } from '../program/io.ts'
import { formatJson } from '../program/show.ts'
import { erase, IDENTITY_HELP, openBackupFile } from '../service/unlock.ts'

const USAGE = 'asfaleia restore FILE --to FOLDER [--identity FILE]'

const HELP = `usage: ${USAGE}

Makes FOLDER, tor's HiddenServiceDir, from the backup in FILE (\`-\`: standard input): mode 0700, its files 0600. It must
not be there yet. Run it as tor's user, while tor does not run; what root makes belongs to the owner of the folder around it.

  --to FOLDER         where to write
${IDENTITY_HELP}
                      (for one with a passphrase, ASFALEIA_PASSPHRASE_FILE may name a file that holds it)
  --json              one JSON object on stdout
  -h, --help          this text
`

export async function run(argv: string[], io: Io): Promise<number> {
  const options = {
    to: { type: 'string' },
    identity: { type: 'string' },
    json: { type: 'boolean' },
  } as const
  const given = openCommandLine(argv, io, { usage: USAGE, help: HELP, options })
  if (given === undefined) return EXIT.ok
  const { values, positionals } = given
  const [path, ...more] = positionals
  const { to } = values
  if (path === undefined || to === undefined || more.length > 0) throw new UsageError('a FILE and --to FOLDER are wanted', { hint: USAGE })
  const { address, files } = await openBackupFile(path, values.identity, io)
  try {
    await writeNewFolder(to, files)
  } finally {
    erase(files)
  }
  const clients = [...files.keys()].filter((each) => clientOf(each) !== undefined).length
  io.stdout.write(values.json === true ? `${formatJson({ address, clients, folder: to })}\n` : `restored ${address} to ${to}\n`)
  return EXIT.ok
}
