/** `asfaleia address`: the relay's address as tor wrote it, for people and for a telephone's camera. */
import { join } from 'node:path'
import { isOnionName } from '../../config/value.ts'
import { HOSTNAME } from '../../onion/service.ts'
import { openCommandLine } from '../program/arguments.ts'
import { drawCode } from '../program/qr.ts'
import { findService, readHostname, SERVICE_HELP } from '../service/folder.ts'
import { CliError, UsageError } from '../program/error.ts'
import { EXIT } from '../program/exit.ts'
import type { Io } from '../program/io.ts'
import { formatJson } from '../program/show.ts'

const USAGE = 'asfaleia address [--name-file FILE | --service FOLDER] [--qr]'

const HELP = `usage: ${USAGE}

Shows the relay's onion address.

  --name-file FILE    tor's \`hostname\` file, the relay's --name-file; also ASFALEIA_NAME_FILE
${SERVICE_HELP}
  --qr                a QR code of it, too
  --json              one JSON object on stdout
  -h, --help          this text
`

export async function run(argv: string[], io: Io): Promise<number> {
  const options = {
    'name-file': { type: 'string' },
    service: { type: 'string' },
    qr: { type: 'boolean' },
    json: { type: 'boolean' },
  } as const
  const given = openCommandLine(argv, io, { usage: USAGE, help: HELP, options, words: 0 })
  if (given === undefined) return EXIT.ok
  const { values } = given
  if (values['name-file'] !== undefined && values.service !== undefined) {
    throw new UsageError('--name-file and --service say the same', { hint: USAGE })
  }
  const named = values.service === undefined ? (values['name-file'] ?? (io.env['ASFALEIA_NAME_FILE'] || undefined)) : undefined
  const path = named ?? join(findService(values.service, io), HOSTNAME)
  const address = await readHostname(path)
  if (!isOnionName(address)) {
    throw new CliError(`${path} holds no onion address`, { hint: "it has to be the file `hostname` of tor's HiddenServiceDir" })
  }
  if (values.json === true) io.stdout.write(`${formatJson({ address })}\n`)
  else io.stdout.write(`${address}\n${values.qr === true ? `\n${drawCode(address, io)}\n` : ''}`)
  return EXIT.ok
}
