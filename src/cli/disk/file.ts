/**
 * Writes files and folders atomically, readable by their owner alone, and reads them without ever blocking on a pipe.
 */
import { randomBytes } from 'node:crypto'
import { constants } from 'node:fs'
import { chmod, chown, type FileHandle, link, lstat, mkdir, mkdtemp, open, readdir, realpath, rename, rm, stat } from 'node:fs/promises'
import { homedir } from 'node:os'
import { basename, dirname, join, resolve } from 'node:path'
import { systemCode, systemHint, systemReason } from './system.ts'
import { CliError } from '../program/error.ts'

/**
 * Writes a new file and syncs it to the disk. If writing fails, no part of the file remains.
 * @throws {CliError} if the file exists or cannot be written
 */
export async function writeNew(path: string, content: string | Uint8Array, mode: number): Promise<void> {
  try {
    await create(path, content, mode)
  } catch (error) {
    if (systemCode(error) === 'ENOENT')
      throw new CliError(`cannot write ${path}: there is no folder ${dirname(path)}`, {
        hint: 'make the folder first, or name another file',
      })
    throw refuseWrite(`cannot write ${path}: ${systemReason(error)}`, error)
  }
}

/** As {@link writeNew}, but throws the system's error. */
async function create(path: string, content: string | Uint8Array, mode: number): Promise<void> {
  await using file = await open(path, 'wx', mode)
  try {
    await file.writeFile(content)
    await file.sync()
    await flush(dirname(path))
  } catch (error) {
    await rm(path)
    throw error
  }
}

/** Resolves a path as people write it: `~` is their home, and a relative path begins in `folder`. */
export function resolvePath(path: string, folder = '.'): string {
  return resolve(folder, path.replace(/^~(?=\/)/, homedir()))
}

/**
 * Reads a regular file of UTF-8 text. Opening a pipe does not block.
 * @param most the largest size, in bytes
 * @returns undefined if there is no such file
 * @throws {CliError} that names the path
 */
export async function readText(path: string, most: number): Promise<string | undefined> {
  const bytes = await readBytes(path, most)
  try {
    return bytes && new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch {
    throw refuseFile(path, 'it is not UTF-8 text')
  }
}

/** As {@link readText}, but returns the bytes, whatever they are. */
export async function readBytes(path: string, most: number): Promise<Buffer | undefined> {
  try {
    await using file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK)
    const stat = await file.stat()
    if (stat.isDirectory()) throw refuseFile(path, 'it is a folder')
    if (!stat.isFile()) throw refuseFile(path, 'it is not a regular file')
    // The file may grow meanwhile, and files of the kernel have no size.
    let bytes = Buffer.alloc(Math.min(Math.max(stat.size, LEAST_BYTES), most) + 1)
    for (let length = 0; ; bytes = Buffer.concat([bytes], Math.min(2 * length, most + 1))) {
      length += await readAt(file, bytes.subarray(length), length)
      if (length > most) throw refuseFile(path, `it is larger than ${most} bytes`)
      if (length < bytes.length) return bytes.subarray(0, length)
    }
  } catch (error) {
    if (error instanceof CliError) throw error
    if (systemCode(error) === 'ENOENT') return undefined
    throw refuseFile(path, systemReason(error))
  }
}

/** The first piece of a file. */
const LEAST_BYTES = 4_096

const refuseFile = (path: string, why: string): CliError =>
  new CliError(`cannot read ${path}: ${why}`, { hint: 'nothing was changed; repair or remove it, and try again' })

/**
 * Writes a file of mode 0600 atomically: into a temporary file beside it, synced, then renamed. Readers find either the
 * old or the new content, even after a crash. Refuses to replace a symbolic link, or to write through one.
 * @param replace whether the file may exist already
 * @throws {CliError} that names the path; an existing file is then unchanged
 */
export async function writeWhole(path: string, content: string | Uint8Array, { replace }: { readonly replace: boolean }): Promise<void> {
  const folder = dirname(path)
  const beside = join(folder, `.new-${randomBytes(8).toString('hex')}`)
  try {
    if (replace) await refuseOther(path)
    try {
      await using file = await open(beside, 'wx', 0o600)
      await file.writeFile(content)
      await file.sync()
    } catch (error) {
      await rm(beside, { force: true }).catch(() => {})
      throw error
    }
    try {
      if (replace) await rename(beside, path)
      // Unlike rename, link never replaces a file.
      else await link(beside, path)
    } finally {
      await rm(beside, { force: true }).catch(() => {})
    }
    await flush(folder)
  } catch (error) {
    if (error instanceof CliError) throw error
    throw refuseWrite(`cannot write ${path}: ${systemReason(error)}`, error, 'nothing was changed')
  }
  await sweep(folder).catch(() => {})
}

/**
 * Replaces the content of a file atomically, like {@link writeWhole}, and keeps its mode and its owner: another user's
 * program may read it. Follows symbolic links.
 * @throws {CliError} that names the path; the file is then unchanged
 */
export async function rewrite(path: string, content: Uint8Array): Promise<void> {
  let beside: string | undefined
  try {
    const target = await realpath(path)
    const { mode, uid, gid } = await stat(target)
    beside = join(dirname(target), `.new-${randomBytes(8).toString('hex')}`)
    await create(beside, content, 0o600)
    const made = await stat(beside)
    if (made.uid !== uid || made.gid !== gid) await chown(beside, uid, gid)
    await chmod(beside, mode & 0o777)
    await rename(beside, target)
    await flush(dirname(target))
  } catch (error) {
    throw new CliError(`cannot write ${path}: ${systemReason(error)}`, { hint: 'nothing was changed; run this as the owner of the file' })
  } finally {
    if (beside !== undefined) await rm(beside, { force: true }).catch(() => {})
  }
}

/** The folders that this process has swept. */
const swept = new Set<string>()
const BESIDE = /^\.new-[0-9a-f]{16}$/
/** No process writes a file for this long, ms. */
const LEFT = 3_600_000

/** Removes temporary files that a killed process left behind; one of them may hold a key. Once a folder and process. */
async function sweep(folder: string): Promise<void> {
  if (swept.has(folder)) return
  swept.add(folder)
  for (const name of await readdir(folder)) {
    if (!BESIDE.test(name)) continue
    const path = join(folder, name)
    if ((await lstat(path)).mtimeMs < Date.now() - LEFT) await rm(path, { force: true })
  }
}

/** @throws {CliError} if the path exists and is not a regular file */
async function refuseOther(path: string): Promise<void> {
  const stat = await lstat(path).catch((error: unknown) => {
    if (systemCode(error) === 'ENOENT') return undefined
    throw error
  })
  if (stat === undefined || stat.isFile()) return
  const reason = stat.isSymbolicLink() ? 'it is a symbolic link' : stat.isDirectory() ? 'it is a folder' : 'it is not a regular file'
  throw new CliError(`cannot write ${path}: ${reason}`, { hint: 'nothing was changed' })
}

/** Creates a folder of mode 0700, and its parents, unless they exist. @throws {CliError} */
export async function makeFolder(path: string): Promise<void> {
  const folder = resolve(path)
  try {
    await mkdir(folder, { mode: 0o700 })
  } catch (error) {
    if (await isFolder(folder)) return
    const parent = dirname(folder)
    const code = systemCode(error)
    const refuse = (reason: string): CliError => refuseWrite(`cannot create the folder ${path}: ${reason}`, error)
    if (code === 'EEXIST') throw refuse('a file of that name exists')
    if (code === 'ENOTDIR') throw refuse(`${await findFile(parent)} is a file`)
    // Not by the option `recursive`: where a file system makes no folders, such as /proc, Node tries for ever.
    if (code !== 'ENOENT') throw refuse(systemReason(error))
    if (await isFolder(parent)) throw refuse('its file system makes no folders')
    await makeFolder(parent)
    return makeFolder(folder)
  }
}

async function isFolder(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined))?.isDirectory() === true
}

/** Returns the part of a path that is no folder. */
async function findFile(path: string): Promise<string> {
  const isThere = (await stat(path).catch(() => undefined)) !== undefined
  return isThere || path === dirname(path) ? path : findFile(dirname(path))
}

/** The disk takes no more: it is full, or read-only. */
export class UnwritableError extends CliError {}

const UNWRITABLE: readonly string[] = ['ENOSPC', 'EDQUOT', 'EFBIG', 'EROFS']

/** Makes the error of a write, from the system's. */
export function refuseWrite(message: string, error: unknown, hint?: string): CliError {
  const options = hint === undefined ? systemHint(error) : { hint }
  return UNWRITABLE.includes(systemCode(error)) ? new UnwritableError(message, options) : new CliError(message, options)
}

/**
 * Writes a folder of mode 0700 with files of mode 0600 atomically: into a temporary folder beside it, synced, then
 * renamed. If root writes it, the owner of the parent folder gets it, because tor refuses keys that another user owns.
 * If writing fails, no part of the folder remains.
 * @param files by path within the folder, at most one folder deep
 * @throws {CliError} if the folder exists and is not empty, or cannot be written
 */
export async function writeNewFolder(path: string, files: ReadonlyMap<string, Uint8Array>): Promise<void> {
  const place = resolve(path)
  let made: string | undefined
  try {
    const owner = await ownerOf(dirname(place))
    made = await mkdtemp(join(dirname(place), `.${basename(place)}-`))
    const folders = new Set(['.', ...[...files.keys()].map((each) => dirname(each))])
    for (const folder of folders) {
      await mkdir(join(made, folder), { recursive: true, mode: 0o700 })
      await give(join(made, folder), owner)
    }
    for (const [name, content] of files) {
      await create(join(made, name), content, 0o600)
      await give(join(made, name), owner)
    }
    for (const folder of folders) await flush(join(made, folder))
    await rename(made, place)
    made = undefined
    await flush(dirname(place))
  } catch (error) {
    if (systemCode(error) === 'ENOENT')
      throw new CliError(`cannot write ${path}: there is no folder ${dirname(place)}`, {
        hint: 'make the folder first, or name another one',
      })
    const isThere = systemCode(error) === 'ENOTDIR' && (await lstat(place).catch(() => undefined)) !== undefined
    throw refuseWrite(`cannot write ${path}: ${isThere ? 'it already exists' : systemReason(error)}`, error)
  } finally {
    if (made !== undefined) await rm(made, { recursive: true, force: true })
  }
}

/** Fills `bytes` from the file, beginning at `offset`. @returns the number of bytes read: fewer if the file ends */
export async function readAt(file: FileHandle, bytes: Uint8Array, offset: number): Promise<number> {
  let read = 0
  while (read < bytes.length) {
    const { bytesRead } = await file.read(bytes, read, bytes.length - read, offset + read)
    if (bytesRead === 0) break
    read += bytesRead
  }
  return read
}

export async function writeAt(file: FileHandle, bytes: Uint8Array, offset: number): Promise<void> {
  let written = 0
  while (written < bytes.length) written += (await file.write(bytes, written, bytes.length - written, offset + written)).bytesWritten
}

export interface Owner {
  readonly uid: number
  readonly gid: number
}

/** Returns the owner of a path, for {@link give}; undefined unless this process is root. */
export async function ownerOf(path: string): Promise<Owner | undefined> {
  if (process.getuid?.() !== 0) return undefined
  const { uid, gid } = await stat(path)
  return { uid, gid }
}

/** Makes `owner`, if there is one, the owner of the path. */
export async function give(path: string, owner: Owner | undefined): Promise<void> {
  if (owner !== undefined) await chown(path, owner.uid, owner.gid)
}

/**
 * Removes a file for good: a power failure does not bring it back.
 * @throws {CliError} that names the path
 */
export async function removeFile(path: string): Promise<void> {
  try {
    await rm(path, { force: true })
    await flush(dirname(path))
  } catch (error) {
    if (systemCode(error) !== 'ENOENT') throw new CliError(`cannot remove ${path}: ${systemReason(error)}`)
  }
}

/** Syncs the entries of a folder to the disk. */
export async function flush(folder: string): Promise<void> {
  await using handle = await open(folder, 'r')
  await handle.sync()
}
