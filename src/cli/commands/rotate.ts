/**
 * `asfaleia rotate`: a new address for the relay. It makes the new service's keys, with the clients of the old one,
 * and says what to tell tor and the relay; for a while both addresses lead to the relay, and whoever comes by the old
 * one is told the new one (`98;moved`). In the end it destroys the old keys.
 */
import { dirname, join, resolve } from 'node:path'
import { isOnionName } from '../../config/value.ts'
import { checkService, clientOf, createService, HOSTNAME, type ServiceFiles } from '../../onion/service.ts'
import { openCommandLine } from '../program/arguments.ts'
import { writeNewFolder } from '../disk/file.ts'
import { describeService, destroyService, findService, readHostname, readService, SERVICE_HELP } from '../service/folder.ts'
import { CliError, UsageError } from '../program/error.ts'
import { EXIT } from '../program/exit.ts'
import type { Io } from '../program/io.ts'
import { formatJson, sanitizeLine } from '../program/show.ts'
import { erase } from '../service/unlock.ts'

const USAGE = 'asfaleia rotate --to FOLDER, or asfaleia rotate --end ADDRESS'

const HELP = `usage: ${USAGE}

Makes FOLDER, an onion service with a new address and the authorized clients of the old one, and says what comes next.
When the people have moved, --end destroys the keys of the old address, which has to be named.

${SERVICE_HELP}
                      the old address's, of both forms
  --to FOLDER         where to write the new one
  --end ADDRESS       the old address: its keys are destroyed. Take it out of torrc, and reload tor, before
  --json              one JSON object on stdout
  -h, --help          this text
`

export async function run(argv: string[], io: Io): Promise<number> {
  const options = {
    service: { type: 'string' },
    to: { type: 'string' },
    end: { type: 'string' },
    json: { type: 'boolean' },
  } as const
  const given = openCommandLine(argv, io, { usage: USAGE, help: HELP, options, words: 0 })
  if (given === undefined) return EXIT.ok
  const { values } = given
  const { to, end } = values
  if ((to === undefined) === (end === undefined)) throw new UsageError('either --to or --end is wanted', { hint: USAGE })
  const folder = findService(values.service, io)
  if (end !== undefined) {
    await endOld(folder, end, io)
    return EXIT.ok
  }
  // Set in docker-compose.yml, where `entry` serves one folder beside the old one, and arranges the rest.
  const appliance = io.env['ASFALEIA_APPLIANCE'] === 'on'
  const served = join(dirname(resolve(folder)), 'next')
  if (appliance && resolve(to!) !== served)
    throw new UsageError(`the appliance serves the new address from ${served} alone`, { hint: `--to ${served}` })
  const [old, made] = await makeNew(folder, io)
  const address = checkService(made)
  try {
    await writeNewFolder(to!, made)
  } finally {
    erase(made)
  }
  const clients = [...made.keys()].filter((path) => clientOf(path) !== undefined).length
  const said = [address, '', ...(appliance ? stepsInAppliance(old, to!) : steps(old, to!)), ...describeClients(clients), ''].join('\n')
  io.stdout.write(values.json === true ? `${formatJson({ address, old, clients, folder: to! })}\n` : said)
  return EXIT.ok
}

/** The old address, and the files of a new service that lets in whom the old one lets in. */
async function makeNew(folder: string, io: Io): Promise<[old: string, made: ServiceFiles]> {
  const files = await readService(folder, io)
  try {
    const old = checkService(files)
    // Left out, they would make a service that was for few one for everybody.
    const clients = [...files].filter(([path]) => clientOf(path) !== undefined).map(([path, bytes]) => [path, Buffer.from(bytes)] as const)
    return [old, new Map([...createService(), ...clients])]
  } catch (error) {
    throw describeService(folder, error)
  } finally {
    erase(files)
  }
}

function steps(old: string, folder: string): string[] {
  const asFolder = sanitizeLine(resolve(folder))
  return [
    `1. Back it up: asfaleia backup --service ${asFolder} …`,
    '2. Give tor these lines beside those of the old service, with the same HiddenServicePort lines after them, and reload it:',
    `     HiddenServiceDir ${asFolder}`,
    '3. Start the relay with these, instead of its old --name-file or --name:',
    `     --name-file ${asFolder}/${HOSTNAME} --moved-from ${old}`,
    '4. When the people have moved: take the old service out of torrc, reload tor, start the relay without --moved-from, and',
    `     asfaleia rotate --end ${old}`,
  ]
}

/** Those of docs/appliance.md: what is said of torrc and of the relay's options above, `entry` does. */
function stepsInAppliance(old: string, folder: string): string[] {
  return [
    '1. Back it up:',
    `     docker compose run --rm -T keys backup --service ${sanitizeLine(resolve(folder))} --to RECIPIENT --out - >next.age`,
    '2. Serve both addresses:',
    '     docker compose kill --signal HUP tor',
    '3. When the people have moved:',
    `     docker compose run --rm -T keys rotate --end ${old}`,
    '     docker compose kill --signal HUP tor',
  ]
}

function describeClients(clients: number): string[] {
  return clients === 0
    ? []
    : ['', `The ${clients} authorized client${clients === 1 ? '' : 's'} came along: each changes the address in their line for tor.`]
}

async function endOld(folder: string, address: string, io: Io): Promise<void> {
  if (!isOnionName(address)) throw new UsageError('--end wants the old address', { hint: USAGE })
  const found = await readHostname(`${folder}/${HOSTNAME}`)
  if (found !== address)
    throw new CliError(`${folder} is not the folder of that address`, { hint: 'nothing was destroyed; name the old one with --service' })
  await destroyService(folder)
  io.stdout.write(`the keys of ${address} are destroyed\n`)
}
