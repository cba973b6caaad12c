/**
 * `asfaleia rotate`: moves the relay to a new address. It makes the keys of a new service, copies the clients of the
 * old one, and prints what to configure. Until the move ends, both addresses lead to the relay, which tells clients
 * of the old address the new one (`98;moved`). At the end, it destroys the old keys.
 */
import { dirname, join, resolve } from 'node:path'
import { isOnionName } from '../../config/value.ts'
import { checkService, clientOf, createService, HOSTNAME, type ServiceFiles } from '../../onion/service.ts'
import { readCommandLine } from '../program/arguments.ts'
import { writeNewFolder } from '../disk/file.ts'
import { describeService, destroyService, findService, readHostname, readService, SERVICE_OPTION } from '../service/folder.ts'
import { NOBODY } from '../service/members.ts'
import { CliError, UsageError } from '../program/error.ts'
import { EXIT } from '../program/exit.ts'
import type { Io } from '../program/io.ts'
import { formatJson, sanitizeLine } from '../program/show.ts'
import { erase } from '../service/unlock.ts'
import type { Page } from '../program/page.ts'

export const page = {
  name: 'rotate',
  usages: ['rotate --to FOLDER [--service FOLDER]', 'rotate --end ADDRESS [--service FOLDER]'],
  options: {
    service: { ...SERVICE_OPTION.service, about: "the folder of the old onion service, tor's HiddenServiceDir" },
    to: { value: 'FOLDER', about: 'the folder to make for the new onion service' },
    end: { value: 'ADDRESS', about: 'destroy the keys of this old address. Remove the old service from torrc and reload tor first' },
    json: { about: 'print one JSON object' },
  },
  text: `
    Makes FOLDER, an onion service with a new address and the authorized clients of the old one, and prints the next steps. While both
    services run, the relay tells clients of the old address where it moved.

    When all clients use the new address, destroy the keys of the old one with --end.`,
  examples: [
    ['make a service with a new address', 'asfaleia rotate --to /var/lib/tor/second'],
    ['destroy the keys of the old address', 'asfaleia rotate --end ADDRESS.onion'],
  ],
} as const satisfies Page

export async function run(argv: string[], io: Io): Promise<number> {
  const given = readCommandLine(argv, io, page)
  if (given === undefined) return EXIT.ok
  const { values, hint } = given
  const { to, end } = values
  if ((to === undefined) === (end === undefined)) throw new UsageError('give either --to or --end', { hint })
  const folder = findService(values.service, io)
  if (end !== undefined) {
    await endOld(folder, end, hint, io)
    return EXIT.ok
  }
  // docker-compose.yml sets it. There, `entry` serves one folder beside the old one, and configures tor and the relay.
  const appliance = io.env['ASFALEIA_APPLIANCE'] === 'on'
  const served = join(dirname(resolve(folder)), 'next')
  if (appliance && resolve(to!) !== served)
    throw new UsageError(`the appliance serves a new address from ${served} only`, { hint: `use --to ${served}` })
  const [old, made] = await makeNew(folder, io)
  const address = checkService(made)
  try {
    await writeNewFolder(to!, made)
  } finally {
    erase(made)
  }
  const clients = [...made.keys()].filter((path) => clientOf(path) !== undefined && clientOf(path) !== NOBODY).length
  const said = [address, '', ...(appliance ? stepsInAppliance(old, to!) : steps(old, to!)), ...describeClients(clients), ''].join('\n')
  io.stdout.write(values.json === true ? `${formatJson({ address, old, clients, folder: to! })}\n` : said)
  return EXIT.ok
}

/** Returns the old address, and the files of a new service with the authorized clients of the old one. */
async function makeNew(folder: string, io: Io): Promise<[old: string, made: ServiceFiles]> {
  const files = await readService(folder, io)
  try {
    const old = checkService(files)
    // Without them, everyone could find a service that was for a few clients.
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
    '2. Add these lines to torrc beside those of the old service, followed by the same HiddenServicePort lines, and reload tor:',
    `     HiddenServiceDir ${asFolder}`,
    '3. Start the relay with these options instead of its old --name-file or --name:',
    `     --name-file ${asFolder}/${HOSTNAME} --moved-from ${old}`,
    '4. When all clients have moved: remove the old service from torrc, reload tor, start the relay without --moved-from, and run',
    `     asfaleia rotate --end ${old}`,
  ]
}

/** The steps of docs/appliance.md: there, `entry` changes torrc and the relay's options. */
function stepsInAppliance(old: string, folder: string): string[] {
  return [
    '1. Back it up:',
    `     docker compose run --rm -T keys backup --service ${sanitizeLine(resolve(folder))} --to RECIPIENT --out - >next.age`,
    '2. Tor serves both addresses within a few seconds; its log prints the new one.',
    '3. When all clients have moved:',
    `     docker compose run --rm -T keys rotate --end ${old}`,
  ]
}

function describeClients(clients: number): string[] {
  return clients === 0
    ? []
    : [
        '',
        `The new service has the ${clients} authorized client${clients === 1 ? '' : 's'} of the old one. Each changes the address in their line for tor.`,
      ]
}

async function endOld(folder: string, address: string, hint: string, io: Io): Promise<void> {
  if (!isOnionName(address)) throw new UsageError('--end: expected the old onion address', { hint })
  const found = await readHostname(`${folder}/${HOSTNAME}`)
  if (found !== address)
    throw new CliError(`the address in ${folder} is another one`, {
      hint: 'nothing was destroyed; name the folder of the old service with --service',
    })
  await destroyService(folder)
  io.stdout.write(`the keys of ${address} are destroyed\n`)
}
