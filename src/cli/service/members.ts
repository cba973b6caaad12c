/**
 * The members of a closed relay: client authorization of its onion service (rend-spec-v3). The folder of the service has
 * a file NAME.auth with the public key of each. A date at which a membership ends is a part of that name, so that
 * backups and moves keep it. The private key is printed once and stored nowhere.
 */
import { generateKeyPairSync } from 'node:crypto'
import { mkdir, rm } from 'node:fs/promises'
import { basename, dirname, join, resolve } from 'node:path'
import { base32nopad } from '@scure/base'
import { isOnionName } from '../../config/value.ts'
import { CLIENT_NAME, clientOf, clientPath, CLIENTS, HOSTNAME } from '../../onion/service.ts'
import { give, ownerOf, writeNew } from '../disk/file.ts'
import { systemCode, systemReason } from '../disk/system.ts'
import { CliError, UsageError } from '../program/error.ts'
import type { Io } from '../program/io.ts'
import { checkFolder, listClients, readHostname, readPart } from './folder.ts'

/** The name of a client whose private key was thrown away: it keeps a service without members closed. */
export const NOBODY = 'nobody'
/** Tor puts all clients into the descriptor of the service, which has room for about so many. */
export const MOST_MEMBERS = 330
const NAME_CHARACTERS = 40
const UNTIL = '--until-'

export interface Member {
  readonly name: string
  /** When the membership ends, ms since 1970. */
  readonly until?: number
  /** The name of the file without `.auth`. */
  readonly file: string
}

export interface Members {
  readonly members: readonly Member[]
  /** Whether the service stays closed without members. */
  readonly isLocked: boolean
  /** Names of files that tor skips, because they hold no public key. */
  readonly skipped: readonly string[]
}

/** @throws {UsageError} */
export function checkMemberName(name: string): string {
  if (CLIENT_NAME.test(name) && name.length <= NAME_CHARACTERS && name !== NOBODY && !name.includes(UNTIL)) return name
  throw new UsageError('NAME is not a name for a member', {
    hint: `use up to ${NAME_CHARACTERS} of A–Z a–z 0–9 _ -, not beginning with _ or -; \`nobody\` is reserved`,
  })
}

/** @throws {CliError} */
export async function readMembers(folder: string, io: Pick<Io, 'stderr'>): Promise<Members> {
  await checkFolder(folder, io)
  const paths = await listClients(folder)
  const members: Member[] = []
  const skipped: string[] = []
  for (const path of paths) {
    const file = clientOf(path)
    if (file === NOBODY) continue
    // A name that no client of ours can have, such as one with a control character, is reported and left alone.
    if (file !== undefined && (await isKeyFile(folder, path))) members.push(parseFile(file))
    else skipped.push(file ?? basename(path, '.auth'))
  }
  return { members, skipped, isLocked: paths.includes(clientPath(NOBODY)) }
}

/** Whether tor loads the file; it takes keys in either case, and a line break of any system. */
async function isKeyFile(folder: string, path: string): Promise<boolean> {
  try {
    const bytes = await readPart(folder, path)
    return /^descriptor:x25519:[A-Z2-7]{52}\s*$/i.test(bytes?.toString('latin1') ?? '')
  } catch {
    return false
  }
}

function parseFile(file: string): Member {
  const at = file.lastIndexOf(UNTIL)
  const [, ...parts] = /^(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)$/.exec(at === -1 ? '' : file.slice(at + UNTIL.length)) ?? []
  if (parts.length === 0) return { name: file, file }
  const [year, month, day, hour, minute, second] = parts.map(Number) as [number, number, number, number, number, number]
  return { name: file.slice(0, at), until: Date.UTC(year, month - 1, day, hour, minute, second), file }
}

function formatFile(name: string, until: number | undefined): string {
  return until === undefined ? name : `${name}${UNTIL}${new Date(until).toISOString().replace(/[-:T]|\.\d+Z/g, '')}`
}

export interface NewMember {
  /** The service's address, `….onion`. */
  readonly address: string
  /** The member's private key, in base32. */
  readonly key: string
  /** Makes the membership last. A service that was locked without members relies on this one from now on. */
  keep(): Promise<void>
  /** Takes the membership back: the key did not reach the operator. */
  undo(): Promise<void>
}

/**
 * Makes the keys of a member, and stores the public one.
 * @param until when the membership ends, ms since 1970
 * @throws {CliError} if there is such a member already, or too many
 */
export async function addMember(folder: string, name: string, until: number | undefined, io: Pick<Io, 'stderr'>): Promise<NewMember> {
  const { members } = await readMembers(folder, io)
  const address = await readHostname(join(folder, HOSTNAME))
  if (!isOnionName(address)) throw new CliError(`${folder} contains no onion address`)
  if (members.some((each) => each.name === name)) {
    throw new CliError(`there is a member with the name ${name} already`, {
      hint: `choose another name, or first \`asfaleia member remove ${name}\``,
    })
  }
  if (members.length >= MOST_MEMBERS) {
    throw new CliError(`tor takes at most ${MOST_MEMBERS} members of an onion service, and this one has ${members.length}`, {
      hint: 'remove one, or let people in by their keys: `asfaleia admit`',
    })
  }
  const file = formatFile(name, until)
  const key = await writeKey(folder, file)
  return {
    address,
    key,
    keep: () => rm(join(folder, clientPath(NOBODY)), { force: true }),
    undo: () => rm(join(folder, clientPath(file))),
  }
}

/**
 * Removes members. Without a member left, the service stays closed unless `open`.
 * @returns how many members are left
 * @throws {CliError}
 */
export async function removeMembers(folder: string, gone: readonly Member[], open: boolean, io: Pick<Io, 'stderr'>): Promise<number> {
  const { members, isLocked } = await readMembers(folder, io)
  const left = members.filter(({ file }) => !gone.some((each) => each.file === file)).length
  if (left === 0 && !isLocked && !open) await writeKey(folder, NOBODY)
  const files = [...gone.map(({ file }) => file), ...(left === 0 && open ? [NOBODY] : [])]
  try {
    for (const file of files) await rm(join(folder, clientPath(file)), { force: true })
  } catch (error) {
    throw new CliError(`cannot remove the member: ${systemReason(error)}`, { hint: "run this as tor's user" })
  }
  return left
}

/** Makes a pair of keys and writes the public one. @returns the private key in base32 */
async function writeKey(folder: string, file: string): Promise<string> {
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
  const path = join(folder, clientPath(file))
  await writeNew(path, `descriptor:x25519:${base32nopad.encode(Buffer.from(x!, 'base64url'))}\n`, 0o600)
  await give(path, await ownerOf(folder))
  return base32nopad.encode(Buffer.from(d!, 'base64url'))
}

/** Writes a member's line for tor, and gives the file to the owner of its folder, who may be tor's user. @throws {CliError} */
export async function writeKeyFile(path: string, line: string): Promise<void> {
  await writeNew(path, `${line}\n`, 0o600)
  await give(path, await ownerOf(dirname(resolve(path))))
}

export function describeLeft(left: number, open: boolean): string {
  if (left > 0) return `${left} member${left === 1 ? '' : 's'} can find the service`
  return open ? 'everyone who knows its address can find the service' : 'no one can find the service; `asfaleia invite` adds a member'
}
