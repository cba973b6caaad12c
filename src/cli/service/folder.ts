/**
 * The onion service's folder on this machine (tor's HiddenServiceDir): where it is, reading it whole, its clients, and
 * its end. Tor owns it; run these as tor's user. Nothing of a key is ever printed.
 */
import { open, readdir, readFile, rename, rm, rmdir, stat } from 'node:fs/promises'
import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { CLIENTS, HOSTNAME, PUBLIC_KEY, SECRET_KEY, ServiceError, type ServiceFiles } from '../../onion/service.ts'
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

const HINT = "name tor's HiddenServiceDir with --service, or ASFALEIA_SERVICE"
const USER_HINT = "run this as tor's user: on Debian `sudo -u debian-tor …`"
/** Keys have 96 bytes, clients' files 70. */
const MOST_BYTES = 4_096

/** Where the service's folder is, by flag, environment and what `asfaleia start` does. */
export function findService(flag: string | undefined, { env }: Pick<Io, 'env'>): string {
  return flag ?? (env['ASFALEIA_SERVICE'] || undefined) ?? join(env['ASFALEIA_STATE'] ?? join('state', 'tor'), 'onion')
}

/**
 * All that makes the service: keys, name and clients, as they are.
 * @throws {CliError} where a part cannot be read
 */
export async function readService(folder: string, io: Pick<Io, 'stderr'>): Promise<ServiceFiles> {
  await checkFolder(folder, io)
  const files = new Map<string, Uint8Array>()
  for (const name of [HOSTNAME, PUBLIC_KEY, SECRET_KEY]) {
    const bytes = await readPart(folder, name)
    if (bytes === undefined) throw new CliError(`${folder} is no onion service: it has no ${name}`, { hint: HINT })
    files.set(name, bytes)
  }
  for (const path of await listClients(folder)) files.set(path, (await readPart(folder, path))!)
  return files
}

/** The paths of clients' files. @throws {CliError} */
export async function listClients(folder: string): Promise<string[]> {
  try {
    const names = await readdir(join(folder, CLIENTS))
    return names
      .filter((name) => name.endsWith('.auth'))
      .toSorted()
      .map((name) => `${CLIENTS}/${name}`)
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return []
    throw new CliError(`cannot read ${join(folder, CLIENTS)}: ${systemReason(error)}`, { hint: USER_HINT })
  }
}

/** Whether there is a folder that we may look into; says where others may, too. @throws {CliError} */
export async function checkFolder(folder: string, io: Pick<Io, 'stderr'>): Promise<void> {
  try {
    const found = await stat(folder)
    if (!found.isDirectory()) throw new CliError(`${folder} is no folder`, { hint: HINT })
    if ((found.mode & 0o077) !== 0)
      io.stderr.write(`asfaleia: warning: others may enter ${sanitizeLine(folder)}; chmod 700 keeps them out\n`)
    await readdir(folder)
  } catch (error) {
    if (error instanceof CliError) throw error
    const missing = systemCode(error) === 'ENOENT'
    throw new CliError(missing ? `there is no folder ${folder}` : `cannot read ${folder}: ${systemReason(error)}`, {
      hint: missing ? HINT : USER_HINT,
    })
  }
}

/** The service's address, as its file `hostname` says; its form alone is checked. @throws {CliError} */
export async function readHostname(path: string): Promise<string> {
  let text: string
  try {
    text = (await readFile(path, 'latin1')).trim()
  } catch (error) {
    const hint =
      systemCode(error) === 'ENOENT'
        ? "tor writes it at its first start; name it with --name-file, or tor's HiddenServiceDir with --service"
        : USER_HINT
    throw new CliError(`cannot read ${path}: ${systemReason(error)}`, { hint })
  }
  return text
}

/**
 * Overwrites the secret key and removes the service; goes on where an earlier call was broken off. What stands in old
 * blocks of a flash disk, a journal or a snapshot is out of our reach: only a disk that was encrypted, and whose key is
 * gone, forgets.
 * @returns what of the folder is left over, because it is not the service's
 * @throws {CliError} if there are no keys, or they cannot be destroyed
 */
export async function destroyService(folder: string): Promise<string[]> {
  try {
    // Gone for tor at once, and only then slowly; before anything else that could fail.
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
      {
        hint: missing ? HINT : USER_HINT,
      },
    )
  }
}

/** What a secret key is called while it is being overwritten. */
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

/** A small regular file; undefined if there is none. @throws {CliError} */
export async function readPart(folder: string, name: string): Promise<Buffer | undefined> {
  const path = join(folder, name)
  try {
    await using file = await open(path, 'r')
    const found = await file.stat()
    if (!found.isFile() || found.size > MOST_BYTES) throw new CliError(`${path} is not what tor writes`)
    return await file.readFile()
  } catch (error) {
    if (error instanceof CliError) throw error
    if (systemCode(error) === 'ENOENT') return undefined
    throw new CliError(`cannot read ${path}: ${systemReason(error)}`, { hint: USER_HINT })
  }
}

/** What is wrong with a service's files as an error of the command line; others are given back. */
export function describeService(where: string, error: unknown): unknown {
  return error instanceof ServiceError ? new CliError(`${where}: ${error.message}`) : error
}
