/** Files and folders written whole or not at all, for their owner alone; and read without waiting for anybody. */
import { randomBytes } from 'node:crypto'
import { constants } from 'node:fs'
import { chown, type FileHandle, link, lstat, mkdir, mkdtemp, open, readdir, rename, rm, stat } from 'node:fs/promises'
import { homedir } from 'node:os'
import { basename, dirname, join, resolve } from 'node:path'
import { systemCode, systemReason } from './system.ts'
import { CliError } from '../program/error.ts'

/** @throws {CliError} if there is something already, or it cannot be written; then nothing of it stays */
export async function writeNew(path: string, content: string | Uint8Array, mode: number): Promise<void> {
  try {
    await using file = await open(path, 'wx', mode)
    try {
      await file.writeFile(content)
      await file.sync()
      await flush(dirname(path))
    } catch (error) {
      await rm(path)
      throw error
    }
  } catch (error) {
    throw new CliError(`cannot write ${path}: ${systemReason(error)}`)
  }
}

/** A path as a person writes it: `~` is their home. @param folder that of what does not begin at the root */
export function resolvePath(path: string, folder = '.'): string {
  return resolve(folder, path.replace(/^~(?=\/)/, homedir()))
}

/**
 * A text of ours as it is on the disk; undefined where there is none. Whatever else is there (a folder, a pipe) is no
 * such text, and a pipe is not waited for.
 * @param most bytes
 * @throws {CliError} that names the path
 */
export async function readText(path: string, most: number): Promise<string | undefined> {
  const refused = (why: string): CliError =>
    new CliError(`cannot read ${path}: ${why}`, { hint: 'nothing was changed; it is left as it is' })
  try {
    await using file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK)
    const stat = await file.stat()
    if (stat.isDirectory()) throw refused('it is a folder')
    if (!stat.isFile()) throw refused('it is no file')
    if (stat.size > most) throw refused('it is too large')
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(await file.readFile())
  } catch (error) {
    if (error instanceof CliError) throw error
    if (error instanceof TypeError) throw refused('it is not text')
    if (systemCode(error) === 'ENOENT') return undefined
    throw refused(systemReason(error))
  }
}

/**
 * Writes a file of mode 0600 beside its place and moves it there once it is on the disk: whoever reads the place finds
 * the old or the new content, whatever happens in between. A symbolic link is not written through, nor replaced.
 * @param replace whether something may be there already
 * @throws {CliError} that names the path; then what was there is there still
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
      // Unlike rename, it never takes the place of anything.
      else await link(beside, path)
    } finally {
      await rm(beside, { force: true }).catch(() => {})
    }
    await flush(folder)
  } catch (error) {
    if (error instanceof CliError) throw error
    throw new CliError(`cannot write ${path}: ${systemReason(error)}`, { hint: 'nothing was changed' })
  }
  await sweep(folder).catch(() => {})
}

/** Folders in which this process looked for what others left. */
const swept = new Set<string>()
const BESIDE = /^\.new-[0-9a-f]{16}$/
/** Nobody writes for so long, ms. */
const LEFT = 3_600_000

/** A process that was killed while it wrote left a file beside the place: a key, it may be. */
async function sweep(folder: string): Promise<void> {
  if (swept.has(folder)) return
  swept.add(folder)
  for (const name of await readdir(folder)) {
    if (!BESIDE.test(name)) continue
    const path = join(folder, name)
    if ((await lstat(path)).mtimeMs < Date.now() - LEFT) await rm(path, { force: true })
  }
}

/** @throws {CliError} where something is there that is no plain file */
async function refuseOther(path: string): Promise<void> {
  const stat = await lstat(path).catch((error: unknown) => {
    if (systemCode(error) === 'ENOENT') return undefined
    throw error
  })
  if (stat === undefined || stat.isFile()) return
  const what = stat.isSymbolicLink() ? 'it is a symbolic link' : stat.isDirectory() ? 'it is a folder' : 'it is no file'
  throw new CliError(`cannot write ${path}: ${what}`, { hint: 'nothing was changed' })
}

/** A folder of mode 0700, and those above it, where they are not there yet. @throws {CliError} */
export async function makeFolder(path: string): Promise<void> {
  try {
    await mkdir(path, { recursive: true, mode: 0o700 })
  } catch (error) {
    throw new CliError(`cannot make the folder ${path}: ${systemReason(error)}`)
  }
}

/**
 * A folder of mode 0700 with files of mode 0600, made beside its place and moved there when all of it is on the disk.
 * What root makes belongs to the owner of the folder around it: tor refuses keys that are another's.
 * @param files by path within the folder, of one level of folders at most
 * @throws {CliError} if there is something already (an empty folder is nothing), or it cannot be written; then nothing of it stays
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
      await writeNew(join(made, name), content, 0o600)
      await give(join(made, name), owner)
    }
    for (const folder of folders) await flush(join(made, folder))
    await rename(made, place)
    made = undefined
    await flush(dirname(place))
  } catch (error) {
    // Of what failed within, the place is what the person knows.
    throw new CliError(`cannot write ${path}: ${error instanceof CliError ? error.message.split(': ').at(-1)! : systemReason(error)}`)
  } finally {
    if (made !== undefined) await rm(made, { recursive: true, force: true })
  }
}

/** Fills `bytes` with what the file has at `offset`. @returns how many it had: less where it ends before */
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

/** The owner of a path, where we are root and can give things away; undefined otherwise. */
export async function ownerOf(path: string): Promise<Owner | undefined> {
  if (process.getuid?.() !== 0) return undefined
  const { uid, gid } = await stat(path)
  return { uid, gid }
}

export async function give(path: string, owner: Owner | undefined): Promise<void> {
  if (owner !== undefined) await chown(path, owner.uid, owner.gid)
}

/** Puts a folder's entries on the disk. */
export async function flush(folder: string): Promise<void> {
  await using handle = await open(folder, 'r')
  await handle.sync()
}
