/** `asfaleia restore`: makes an onion service's folder from a backup, completely or not at all. */
import { clientOf } from '../../onion/service.ts'
import { readCommandLine } from '../program/arguments.ts'
import { writeNewFolder } from '../disk/file.ts'
import { PASSPHRASE_VARIABLE } from '../disk/passphrase.ts'
import { UsageError } from '../program/error.ts'
import { EXIT } from '../program/exit.ts'
import type { Io } from '../program/io.ts'
import { formatJson } from '../program/show.ts'
import { erase, IDENTITY_OPTION, openBackupFile } from '../service/unlock.ts'
import type { Page } from '../program/page.ts'

export const page = {
  name: 'restore',
  words: ['FILE'],
  usages: ['restore FILE --to FOLDER [--identity FILE]'],
  options: {
    to: { value: 'FOLDER', about: 'the folder to make' },
    ...IDENTITY_OPTION,
    json: { about: 'print one JSON object' },
  },
  variables: PASSPHRASE_VARIABLE,
  text: `
    Makes FOLDER, tor's HiddenServiceDir, from the backup in FILE; \`-\` reads standard input. FOLDER must not exist yet. Its mode is
    0700, that of its files 0600.

    Run this as tor's user while tor does not run. If you run it as root, the files belong to the owner of the parent folder.`,
  examples: [['restore a backup that was encrypted to an SSH key', 'asfaleia restore onion.age --identity backup-key --to restored']],
} as const satisfies Page

export async function run(argv: string[], io: Io): Promise<number> {
  const given = readCommandLine(argv, io, page)
  if (given === undefined) return EXIT.ok
  const {
    values,
    words: [path],
    hint,
  } = given
  const { to } = values
  if (to === undefined) throw new UsageError('--to FOLDER is missing', { hint })
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
