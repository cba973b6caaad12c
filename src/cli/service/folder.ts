/**
 * The onion service's folder on this machine, tor's HiddenServiceDir: finds it, reads it, lists its clients and
 * destroys it. Tor owns the folder, so the commands must run as tor's user. They print no part of a key.
 */
import { constants } from 'node:fs'
import { open, readdir, rename, rm, rmdir, stat } from 'node:fs/promises'
import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { CLIENTS, HOSTNAME, PUBLIC_KEY, SECRET_KEY, ServiceError, type ServiceFiles, splitClients } from '../../onion/service.ts'
import { systemCode, systemReason } from '../disk/system.ts'
import { CliError } from '../program/error.ts'
import type { Io } from '../program/io.ts'
import { sanitizeLine } from '../program/show.ts'
import type { Options } from '../program/page.ts'

export const SERVICE_OPTION = {
  service: {
    value: 'FOLDER',
    about: "the folder of the onion service, tor's HiddenServiceDir",
    variable: 'ASFALEIA_SERVICE',
    fallback: 'the folder of `asfaleia start`',
  },
} as const satisfies Options

const HINT = "name tor's HiddenServiceDir with --service or ASFALEIA_SERVICE"
const USER_HINT = "run this as tor's user: on Debian `sudo -u debian-tor …`"
/** The largest file: a key has 96 bytes, the file of a client 70. */
const MOST_BYTES = 4_096

/** Finds the service's folder: by the option, the environment, or the default of `asfaleia start`. */
export function findService(flag: string | undefined, { env }: Pick<Io, 'env'>): string {
  return flag ?? (env['ASFALEIA_SERVICE'] || undefined) ?? join(env['ASFALEIA_STATE'] ?? join('state', 'tor'), 'onion')
}

/** Reads the files of the service: keys, name and clients. @throws {CliError} if one cannot be read */
export async function readService(folder: string, io: Pick<Io, 'stderr'>): Promise<ServiceFiles> {
  await checkFolder(folder, io)
  const files = new Map<string, Uint8Array>()
  for (const name of [HOSTNAME, PUBLIC_KEY, SECRET_KEY]) {
    const bytes = await readPart(folder, name)
    if (bytes === undefined) throw new CliError(`${folder} is not the folder of an onion service: it has no ${name}`, { hint: HINT })
    files.set(name, bytes)
  }
  for (const path of await listClients(folder)) {
    try {
      const bytes = await readPart(folder, path)
      if (bytes !== undefined) files.set(path, bytes)
    } catch (error) {
      if (!(error instanceof CliError)) throw error
      warnSkipped(path, io)
    }
  }
  const split = splitClients(files)
  for (const path of split.skipped) warnSkipped(path, io)
  for (const path of split.files.keys())
    if (Buffer.byteLength(path) > MOST_PATH)
      throw new CliError(`the name of ${path} is too long for a backup`, { hint: 'rename the file: tor takes any name' })
  return split.files
}

/** An archive's names are short (src/onion/archive.ts). */
const MOST_PATH = 100

/** Reports the file of a client that tor itself skips. */
export function warnSkipped(path: string, { stderr }: Pick<Io, 'stderr'>): void {
  stderr.write(`asfaleia: warning: ${sanitizeLine(path)} is left out: tor skips it, because it is not the file of a client\n`)
}

/** Lists the paths of the clients' files within the folder. @throws {CliError} */
export async function listClients(folder: string): Promise<string[]> {
  try {
    const names = await readdir(join(folder, CLIENTS))
    return names
      .filter((name) => name.endsWith('.auth') && name !== '.auth')
      .toSorted()
      .map((name) => `${CLIENTS}/${name}`)
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return []
    throw new CliError(`cannot read ${join(folder, CLIENTS)}: ${systemReason(error)}`, { hint: USER_HINT })
  }
}

/** Checks that the folder exists and is readable. Warns if other users may enter it. @throws {CliError} */
export async function checkFolder(folder: string, io: Pick<Io, 'stderr'>): Promise<void> {
  try {
    const found = await stat(folder)
    if (!found.isDirectory()) throw new CliError(`${folder} is not a folder`, { hint: HINT })
    if ((found.mode & 0o077) !== 0) {
      const shown = sanitizeLine(folder)
      io.stderr.write(`asfaleia: warning: other users may enter ${shown}; to keep them out: chmod 700 ${shown}\n`)
    }
    await readdir(folder)
  } catch (error) {
    if (error instanceof CliError) throw error
    throw new CliError(`cannot read ${folder}: ${systemReason(error)}`, { hint: systemCode(error) === 'ENOENT' ? HINT : USER_HINT })
  }
}

/** Reads the service's address from a file such as tor's `hostname`. The caller checks it. @throws {CliError} */
export async function readHostname(path: string): Promise<string> {
  const bytes = await readPart('', path)
  if (bytes !== undefined) return bytes.toString('latin1').trim()
  throw new CliError(`cannot read ${path}: no such file or folder`, {
    hint: "tor writes it when it first starts; name it with --name-file, or tor's HiddenServiceDir with --service",
  })
}

/**
 * Overwrites the secret key and removes the service. Continues an earlier call that was interrupted. Cannot reach
 * copies in old blocks of a flash disk, a journal or a snapshot; only losing the key of an encrypted disk erases
 * those.
 * @returns the files left in the folder, because they are not the service's
 * @throws {CliError} if there are no keys, or they cannot be destroyed
 */
export async function destroyService(folder: string): Promise<string[]> {
  try {
    // First rename the key: that hides it from tor at once, before a slower step can fail.
    await rename(join(folder, SECRET_KEY), join(folder, `${DOOMED}${randomBytes(8).toString('hex')}`)).catch(async (error: unknown) => {
      if (systemCode(error) !== 'ENOENT' || (await listDoomed(folder)).length === 0) throw error
    })
    for (const name of await listDoomed(folder)) {
      await overwrite(join(folder, name))
      await rm(join(folder, name))
    }
    const clients = await listClients(folder)
    for (const name of [PUBLIC_KEY, HOSTNAME, ...clients]) await rm(join(folder, name), { force: true })
    await rmdir(join(folder, CLIENTS)).catch(() => {})
    const rest = await readdir(folder)
    if (rest.length === 0) await rmdir(folder).catch(() => {})
    return rest
  } catch (error) {
    if (error instanceof CliError) throw error
    const missing = systemCode(error) === 'ENOENT'
    throw new CliError(
      missing ? `${folder} holds no keys of an onion service` : `cannot destroy the keys in ${folder}: ${systemReason(error)}`,
      { hint: missing ? HINT : USER_HINT },
    )
  }
}

/** The prefix of a secret key's name while it is overwritten. */
const DOOMED = '.destroyed-'

async function listDoomed(folder: string): Promise<string[]> {
  return (await readdir(folder)).filter((name) => name.startsWith(DOOMED))
}

async function overwrite(path: string): Promise<void> {
  await using file = await open(path, 'r+')
  const { size } = await file.stat()
  await file.write(randomBytes(size), 0, size, 0)
  await file.sync()
}

/** Reads a small regular file; undefined if it does not exist. @throws {CliError} */
export async function readPart(folder: string, name: string): Promise<Buffer | undefined> {
  const path = join(folder, name)
  try {
    // Opening a pipe must not block.
    await using file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK)
    const found = await file.stat()
    if (!found.isFile() || found.size > MOST_BYTES)
      throw new CliError(`${path} is not a file of tor: it must be a regular file of at most ${MOST_BYTES} bytes`)
    return await file.readFile()
  } catch (error) {
    if (error instanceof CliError) throw error
    if (systemCode(error) === 'ENOENT') return undefined
    throw new CliError(`cannot read ${path}: ${systemReason(error)}`, { hint: USER_HINT })
  }
}

/** Turns an error about the service's files into an error of the command line. Returns other errors unchanged. */
export function describeService(where: string, error: unknown): unknown {
  return error instanceof ServiceError ? new CliError(`${where}: ${error.message}`) : error
}
