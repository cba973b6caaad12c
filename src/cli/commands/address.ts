/** `asfaleia address`: shows the address that tor wrote, also as a QR code. */
import { join } from 'node:path'
import { isOnionName } from '../../config/value.ts'
import { HOSTNAME } from '../../onion/service.ts'
import { readCommandLine } from '../program/arguments.ts'
import { drawCode } from '../program/qr.ts'
import { findService, readHostname, SERVICE_OPTION } from '../service/folder.ts'
import { CliError, UsageError } from '../program/error.ts'
import { EXIT } from '../program/exit.ts'
import type { Io } from '../program/io.ts'
import { formatJson } from '../program/show.ts'
import type { Page } from '../program/page.ts'

export const page = {
  name: 'address',
  usages: ['address [--service FOLDER | --name-file FILE] [--qr]'],
  options: {
    ...SERVICE_OPTION,
    'name-file': {
      value: 'FILE',
      about: "tor's `hostname` file, which the relay reads as its --name-file",
      variable: 'ASFALEIA_NAME_FILE',
    },
    qr: { about: 'show a QR code of the address as well' },
    json: { about: 'print one JSON object' },
  },
  text: "Shows the relay's onion address.",
  examples: [["show the address of tor's service, with a QR code", 'asfaleia address --service /var/lib/tor/asfaleia --qr']],
} as const satisfies Page

export async function run(argv: string[], io: Io): Promise<number> {
  const given = readCommandLine(argv, io, page)
  if (given === undefined) return EXIT.ok
  const { values, hint } = given
  if (values['name-file'] !== undefined && values.service !== undefined)
    throw new UsageError('give --name-file or --service, not both', { hint })
  const named = values.service === undefined ? (values['name-file'] ?? (io.env['ASFALEIA_NAME_FILE'] || undefined)) : undefined
  const path = named ?? join(findService(values.service, io), HOSTNAME)
  const address = await readHostname(path)
  if (!isOnionName(address)) {
    throw new CliError(`${path} contains no onion address`, { hint: "expected the file `hostname` in tor's HiddenServiceDir" })
  }
  if (values.json === true) io.stdout.write(`${formatJson({ address })}\n`)
  else io.stdout.write(`${address}\n${values.qr === true ? `\n${await drawCode(address, io)}\n` : ''}`)
  return EXIT.ok
}
