/** The socket and the lock of a profile's owner: where they lie, and who may reach them. */
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { chmod, lstat, rm } from 'node:fs/promises'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { join } from 'node:path'
import { makeFolder, refuseWrite } from '../disk/file.ts'
import { systemCode, systemReason } from '../disk/system.ts'
import { CliError } from '../program/error.ts'

export interface Place {
  readonly socket: string
  readonly lock: string
}

/** Longest path of a socket, in bytes: the systems allow 104 to 108 with the final zero. */
const MOST_BYTES = 100

/**
 * Finds the place for a key of the user.
 * @param folder the profile's state folder
 * @param fingerprint of the key
 * @param runtime `$XDG_RUNTIME_DIR`, for a socket whose path would be too long
 * @returns undefined if the folder is missing, or belongs to another user: the command then works alone
 * @throws {CliError}
 */
export async function findPlace(folder: string, fingerprint: string, runtime: string | undefined): Promise<Place | undefined> {
  if (!(await isOurs(folder))) return undefined
  const name = createHash('sha256').update(fingerprint).digest('hex').slice(0, 16)
  const lock = join(folder, `owner-${name}.lock`)
  const near = join(folder, `owner-${name}`)
  if (Buffer.byteLength(near) <= MOST_BYTES) return { socket: near, lock }
  if (runtime === undefined || runtime === '')
    throw new CliError(`the path of the profile's folder is too long for a socket: ${folder}`, {
      hint: 'set XDG_RUNTIME_DIR to a folder of yours, or ASFALEIA_HOME to a shorter path',
    })
  const other = join(runtime, `asfaleia-${createHash('sha256').update(folder).digest('hex').slice(0, 16)}`)
  await makeFolder(other)
  const socket = join(other, `owner-${name}`)
  if (!(await isOurs(other)) || Buffer.byteLength(socket) > MOST_BYTES)
    throw new CliError(`cannot put a socket into XDG_RUNTIME_DIR, ${runtime}`, { hint: 'it must be a short path to a folder of yours' })
  return { socket, lock }
}

/** Whether the folder is this user's. Closes it to others. */
async function isOurs(folder: string): Promise<boolean> {
  try {
    const stat = await lstat(folder)
    if (!stat.isDirectory() || stat.uid !== process.getuid?.()) return false
    if ((stat.mode & 0o077) !== 0) await chmod(folder, 0o700)
    return true
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return false
    throw new CliError(`cannot use the folder ${folder}: ${systemReason(error)}`)
  }
}

/** Connects to the owner. @returns undefined if no process owns the profile @throws {CliError} */
export async function reach({ socket: path }: Place): Promise<Socket | undefined> {
  const socket = connect(path)
  try {
    await once(socket, 'connect')
    return socket
  } catch (error) {
    socket.destroy()
    if (['ENOENT', 'ECONNREFUSED', 'ENOTSOCK'].includes(systemCode(error))) return undefined
    throw new CliError(`cannot connect to ${path}: ${systemReason(error)}`)
  }
}

/** Listens for clients, in place of an owner that died. Only the holder of the lock may call it. @throws {CliError} */
export async function listen({ socket: path }: Place): Promise<Server> {
  const server = createServer()
  try {
    await rm(path, { force: true })
    server.listen(path)
    await once(server, 'listening')
    await chmod(path, 0o600)
    return server
  } catch (error) {
    server.close()
    throw refuseWrite(`cannot listen at ${path}: ${systemReason(error)}`, error)
  }
}
