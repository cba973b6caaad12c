/**
 * `asfaleia client`: who may find the onion service at all (client authorization, rend-spec-v3). A client's public
 * key lies in the service's folder; the private one is printed once, for the client's tor, and kept nowhere.
 */
import { generateKeyPairSync } from 'node:crypto'
import { mkdir, rm } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import { encodeBase32 } from '../../onion/base32.ts'
import { CLIENT_NAME, clientOf, clientPath, CLIENTS, HOSTNAME } from '../../onion/service.ts'
import { isOnionName } from '../../config/value.ts'
import { openCommandLine } from '../program/arguments.ts'
import { give, ownerOf, writeNew } from '../disk/file.ts'
import { systemCode, systemReason } from '../disk/system.ts'
import { CONTROL_HELP, findControl, signalTor } from '../service/reload.ts'
import { checkFolder, findService, listClients, readHostname, SERVICE_HELP } from '../service/folder.ts'
import { CliError, UsageError } from '../program/error.ts'
import { EXIT } from '../program/exit.ts'
import type { Io } from '../program/io.ts'
import { formatJson } from '../program/show.ts'

const USAGE = 'asfaleia client add NAME [--out FILE], asfaleia client list, or asfaleia client remove NAME [--open]'

const HELP = `usage: ${USAGE}

Who may find the onion service. Without clients everybody may who has its address; with the first one, only clients.
\`add\` prints the line that the client puts into a file NAME.auth_private of their tor's ClientOnionAuthDir: it holds
their private key, which is kept nowhere else; hand it over as you would a password. \`remove\` takes effect for new connections.

${SERVICE_HELP}
${CONTROL_HELP}
  --out FILE          with \`add\`: write the line there, mode 0600, instead of printing it
  --open              with \`remove\` of the last one: let everybody in. Without it nobody can come in then
  --json              one JSON object on stdout
  -h, --help          this text
`

/** A client whose private key nobody has: it keeps a service without other clients closed. */
const NOBODY = 'nobody'

export async function run(argv: string[], io: Io): Promise<number> {
  const options = {
    service: { type: 'string' },
    'tor-control': { type: 'string' },
    open: { type: 'boolean' },
    out: { type: 'string' },
    json: { type: 'boolean' },
  } as const
  const given = openCommandLine(argv, io, { usage: USAGE, help: HELP, options })
  if (given === undefined) return EXIT.ok
  const { values, positionals } = given
  const [verb, name, ...more] = positionals
  const json = values.json === true
  const open = values.open === true
  const { out } = values
  if (more.length > 0 || (open && verb !== 'remove') || (out !== undefined && verb !== 'add'))
    throw new UsageError('too many words', { hint: USAGE })
  const folder = findService(values.service, io)
  const control = findControl(values['tor-control'], io, USAGE)
  const tellTor = async (): Promise<void> => {
    if (control === undefined) io.stderr.write('asfaleia: tor does not know yet: reload it (SIGHUP), or name its --tor-control\n')
    else await signalTor(control, 'RELOAD')
  }
  switch (verb) {
    case 'add': {
      const line = await addClient(folder, checkName(name), out, io)
      if (out === undefined) io.stdout.write(json ? `${formatJson({ name, line })}\n` : `${line}\n`)
      await tellTor()
      return EXIT.ok
    }
    case 'remove': {
      const left = await removeClient(folder, checkName(name), open, io)
      io.stdout.write(json ? `${formatJson({ name, left, open: left === 0 && open })}\n` : `removed; ${describeLeft(left, open)}\n`)
      await tellTor()
      return EXIT.ok
    }
    case 'list': {
      if (name !== undefined) throw new UsageError('too many words', { hint: USAGE })
      await checkFolder(folder, io)
      const { names, locked } = await readClients(folder)
      const open = names.length === 0 && !locked
      if (json) io.stdout.write(`${formatJson({ clients: names, open })}\n`)
      else io.stdout.write(names.length > 0 ? names.map((each) => `${each}\n`).join('') : `${describeLeft(0, open)}\n`)
      return EXIT.ok
    }
  }
  throw new UsageError('add, list or remove is wanted', { hint: USAGE })
}

/** For a tor of this machine: the file belongs to the owner of its folder. */
async function writeLine(path: string, line: string): Promise<void> {
  await writeNew(path, `${line}\n`, 0o600)
  await give(path, await ownerOf(dirname(resolve(path))))
}

function checkName(name: string | undefined): string {
  if (name === undefined) throw new UsageError('the client has no name', { hint: USAGE })
  if (!CLIENT_NAME.test(name) || name === NOBODY) {
    throw new UsageError('that is no name for a client', {
      hint: 'up to 64 of A–Z a–z 0–9 _ -, not beginning with _ or -; `nobody` is ours',
    })
  }
  return name
}

function describeLeft(left: number, open: boolean): string {
  if (left > 0) return `${left} client${left === 1 ? '' : 's'} may find the service`
  return open ? 'everybody may find the service who has its address' : 'nobody can find the service; `asfaleia client add` lets somebody'
}

async function readClients(folder: string): Promise<{ names: string[]; locked: boolean }> {
  const all = (await listClients(folder)).map((path) => clientOf(path)!)
  return { names: all.filter((name) => name !== NOBODY), locked: all.includes(NOBODY) }
}

/** @returns the line for the client's tor, which is in `out`, too, where that is given */
async function addClient(folder: string, name: string, out: string | undefined, io: Io): Promise<string> {
  await checkFolder(folder, io)
  const address = await readHostname(join(folder, HOSTNAME))
  if (!isOnionName(address)) throw new CliError(`${folder} holds no onion address`)
  const line = `${address.slice(0, -'.onion'.length)}:descriptor:x25519:${await writeClient(folder, name)}`
  try {
    if (out !== undefined) await writeLine(out, line)
  } catch (error) {
    // A client whose key nobody has would close a service that was open.
    await rm(join(folder, clientPath(name)))
    throw error
  }
  // Only now: there is never a moment without any client.
  await rm(join(folder, clientPath(NOBODY)), { force: true })
  return line
}

/** @returns how many are left */
async function removeClient(folder: string, name: string, open: boolean, io: Io): Promise<number> {
  await checkFolder(folder, io)
  const { names, locked } = await readClients(folder)
  if (!names.includes(name)) throw new CliError('there is no client of that name', { hint: '`asfaleia client list` shows them' })
  if (names.length === 1 && !locked && !open) await writeClient(folder, NOBODY)
  const gone = names.length === 1 && open ? [name, NOBODY] : [name]
  try {
    for (const each of gone) await rm(join(folder, clientPath(each)), { force: true })
  } catch (error) {
    throw new CliError(`cannot remove the client: ${systemReason(error)}`, { hint: "run this as tor's user" })
  }
  return names.length - 1
}

/** Makes a client's keys and writes the public one. @returns the private one, in base32 */
async function writeClient(folder: string, name: string): Promise<string> {
  const clients = join(folder, CLIENTS)
  try {
    await mkdir(clients, { mode: 0o700 })
    await give(clients, await ownerOf(folder))
  } catch (error) {
    if (systemCode(error) !== 'EEXIST')
      throw new CliError(`cannot write ${clients}: ${systemReason(error)}`, { hint: "run this as tor's user" })
  }
  const pair = generateKeyPairSync('x25519')
  const { x, d } = pair.privateKey.export({ format: 'jwk' })
  const path = join(folder, clientPath(name))
  await writeNew(path, `descriptor:x25519:${encodeBase32(Buffer.from(x!, 'base64url'))}\n`, 0o600)
  await give(path, await ownerOf(folder))
  return encodeBase32(Buffer.from(d!, 'base64url'))
}
