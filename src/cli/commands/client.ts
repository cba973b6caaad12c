/**
 * `asfaleia client`: client authorization of the onion service (rend-spec-v3). A client's public key lies in the
 * service's folder; the command prints the private key once, for the client's tor, and stores it nowhere.
 */
import { generateKeyPairSync } from 'node:crypto'
import { mkdir, rm } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import { base32nopad } from '@scure/base'
import { CLIENT_NAME, clientOf, clientPath, CLIENTS, HOSTNAME } from '../../onion/service.ts'
import { isOnionName } from '../../config/value.ts'
import { readCommandLine } from '../program/arguments.ts'
import { give, ownerOf, writeNew } from '../disk/file.ts'
import { systemCode, systemReason } from '../disk/system.ts'
import { CONTROL_OPTION, findControl, tellTor } from '../service/reload.ts'
import { checkFolder, findService, listClients, readHostname, SERVICE_OPTION } from '../service/folder.ts'
import { CliError, UsageError } from '../program/error.ts'
import { EXIT } from '../program/exit.ts'
import type { Io } from '../program/io.ts'
import { formatJson } from '../program/show.ts'
import type { Page } from '../program/page.ts'

export const page = {
  name: 'client',
  shared: { ...SERVICE_OPTION, ...CONTROL_OPTION, json: { about: 'print one JSON object' } },
  text: `
    Chooses who can find the onion service. Without authorized clients, everyone who knows its address can find it; with at least one,
    only they can.`,
  verbs: {
    add: {
      summary: 'authorize a client',
      words: ['NAME'],
      options: { out: { value: 'FILE', about: 'write the line to FILE, mode 0600, instead of printing it' } },
      text: `
        Prints a line that contains the private key of the client; this machine stores it nowhere. The client puts it into a file
        NAME.auth_private in the ClientOnionAuthDir of their tor, or gives it to \`asfaleia onion add\`. Hand it over as you would a
        password.`,
      examples: [['authorize Alice and write her line to a file', 'asfaleia client add alice --out alice.auth_private']],
    },
    list: { summary: 'list the authorized clients', examples: [['list the clients', 'asfaleia client list']] },
    remove: {
      summary: 'withdraw the authorization of a client',
      words: ['NAME'],
      options: { open: { about: 'if this was the last client, let everyone find the service again; without it, no one can' } },
      text: 'Takes effect for new connections only: the client keeps connections that are open.',
      examples: [['withdraw the authorization of Alice', 'asfaleia client remove alice']],
    },
  },
  examples: [['authorize a client', 'asfaleia client add alice']],
} as const satisfies Page

/** The name of a client whose private key was thrown away: it keeps a service without other clients closed. */
const NOBODY = 'nobody'

export async function run(argv: string[], io: Io): Promise<number> {
  const given = readCommandLine(argv, io, page)
  if (given === undefined) return EXIT.ok
  const { values } = given
  const json = values.json === true
  const folder = findService(values.service, io)
  const control = findControl(values['tor-control'], io, given.hint)
  switch (given.verb) {
    case 'add': {
      const name = checkName(given.words[0])
      const { out } = given.values
      const line = await addClient(folder, name, out, io)
      if (out === undefined) io.stdout.write(json ? `${formatJson({ name, line })}\n` : `${line}\n`)
      await tellTor(control, io)
      return EXIT.ok
    }
    case 'remove': {
      const name = checkName(given.words[0])
      const open = given.values.open === true
      const left = await removeClient(folder, name, open, io)
      io.stdout.write(json ? `${formatJson({ name, left, open: left === 0 && open })}\n` : `removed; ${describeLeft(left, open)}\n`)
      await tellTor(control, io)
      return EXIT.ok
    }
    case 'list': {
      await checkFolder(folder, io)
      const { names, locked } = await readClients(folder)
      const open = names.length === 0 && !locked
      if (json) io.stdout.write(`${formatJson({ clients: names, open })}\n`)
      else io.stdout.write(names.length > 0 ? names.map((each) => `${each}\n`).join('') : `${describeLeft(0, open)}\n`)
      return EXIT.ok
    }
  }
}

/** Gives the file to the owner of its folder, who may be tor's user on this machine. */
async function writeLine(path: string, line: string): Promise<void> {
  await writeNew(path, `${line}\n`, 0o600)
  await give(path, await ownerOf(dirname(resolve(path))))
}

function checkName(name: string): string {
  if (CLIENT_NAME.test(name) && name !== NOBODY) return name
  throw new UsageError('NAME is not a name for a client', {
    hint: 'use up to 64 of A–Z a–z 0–9 _ -, not beginning with _ or -; `nobody` is reserved',
  })
}

function describeLeft(left: number, open: boolean): string {
  if (left > 0) return `${left} client${left === 1 ? '' : 's'} can find the service`
  return open
    ? 'everyone who knows its address can find the service'
    : 'no one can find the service; `asfaleia client add` authorizes a client'
}

async function readClients(folder: string): Promise<{ names: string[]; locked: boolean }> {
  const all = (await listClients(folder)).map((path) => clientOf(path)!)
  return { names: all.filter((name) => name !== NOBODY), locked: all.includes(NOBODY) }
}

/** Writes the line to the file `out`, if there is one. @returns the line for the client's tor */
async function addClient(folder: string, name: string, out: string | undefined, io: Io): Promise<string> {
  await checkFolder(folder, io)
  const address = await readHostname(join(folder, HOSTNAME))
  if (!isOnionName(address)) throw new CliError(`${folder} contains no onion address`)
  const line = `${address.slice(0, -'.onion'.length)}:descriptor:x25519:${await writeClient(folder, name)}`
  try {
    if (out !== undefined) await writeLine(out, line)
  } catch (error) {
    // Without its private key, the client would close a service that was open.
    await rm(join(folder, clientPath(name)))
    throw error
  }
  // Comes last, so that the service always has a client.
  await rm(join(folder, clientPath(NOBODY)), { force: true })
  return line
}

/** @returns how many clients are left */
async function removeClient(folder: string, name: string, open: boolean, io: Io): Promise<number> {
  await checkFolder(folder, io)
  const { names, locked } = await readClients(folder)
  if (!names.includes(name)) throw new CliError('there is no client with this name', { hint: '`asfaleia client list` shows the names' })
  if (names.length === 1 && !locked && !open) await writeClient(folder, NOBODY)
  const gone = names.length === 1 && open ? [name, NOBODY] : [name]
  try {
    for (const each of gone) await rm(join(folder, clientPath(each)), { force: true })
  } catch (error) {
    throw new CliError(`cannot remove the client: ${systemReason(error)}`, { hint: "run this as tor's user" })
  }
  return names.length - 1
}

/** Makes the keys of a client and writes the public key. @returns the private key in base32 */
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
  await writeNew(path, `descriptor:x25519:${base32nopad.encode(Buffer.from(x!, 'base64url'))}\n`, 0o600)
  await give(path, await ownerOf(folder))
  return base32nopad.encode(Buffer.from(d!, 'base64url'))
}
