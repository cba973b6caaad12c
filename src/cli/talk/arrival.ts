/**
 * Receives files into the folder that the user chose: never outside it, and never over an existing file. A file gets
 * its name once it is complete and its hash is right. Until then its parts are in a hidden file beside it, and a
 * later transfer of the same file continues from there.
 */
import { createHash } from 'node:crypto'
import { constants } from 'node:fs'
import { type FileHandle, link, lstat, open, readdir, rename, rm, stat, statfs } from 'node:fs/promises'
import { join } from 'node:path'
import { FILE_NAME_BYTES, fingerprintOf, isFileName } from '../../client/format/field.ts'
import type { FileSink } from '../../client/delivery/file.ts'
import { countParts, PART_BYTES, type PartRange } from '../../client/format/content.ts'
import type { FileOffer, FileReceiver } from '../../client/messenger/transfers.ts'
import { flush, makeFolder, readAt, readText, writeAt, writeWhole } from '../disk/file.ts'
import { systemCode, systemHint, systemReason } from '../disk/system.ts'
import { CliError } from '../program/error.ts'

/** The largest record: it has a line of at most 7 bytes for each of 65,536 parts. */
const RECORD_BYTES = 1_048_576
/** The most unfinished files: a sender can begin any number, so the longest idle ones are removed. */
const UNFINISHED = 64
/** The most tags of complete files: a repeated offer of one of them is not received twice. */
const REMEMBERED = 1_000

export class Arrivals implements FileReceiver {
  readonly #folder: string
  readonly #done: string | undefined
  readonly #onDone: (offer: FileOffer, path: string) => void
  /** How many times each unfinished file is open. */
  readonly #open = new Map<string, number>()

  /**
   * @param folder created with the first file
   * @param done the file with the tags of complete files; without it, none are stored
   * @param onDone called when a file is complete, with its path
   */
  constructor(folder: string, done: string | undefined, onDone: (offer: FileOffer, path: string) => void) {
    this.#folder = folder
    this.#done = done
    this.#onDone = onDone
  }

  /** @throws {CliError} if the file cannot be written; the messenger then refuses it */
  async open(offer: FileOffer): Promise<FileSink | 'done' | undefined> {
    if (!isFileName(offer.name)) return undefined
    if ((await this.#readDone()).includes(tagOf(offer, offer.file))) return 'done'
    await makeFolder(this.#folder)
    const { bavail, bsize } = await statfs(this.#folder)
    // The tag covers the name: the same bytes under another name are a separate file with its own parts.
    const base = join(this.#folder, `.asfaleia-${tagOf(offer, `${offer.hash} ${offer.name}`)}`)
    await this.#makeRoom(base)
    const parts = await readRecord(`${base}.have`, offer)
    if (parts.length === 0 && BigInt(bavail) * BigInt(bsize) < BigInt(offer.total))
      throw new CliError(`no space for ${offer.name} (${offer.total} bytes) in ${this.#folder}`, {
        hint: 'make room there, or name another folder with --files',
      })
    const before = parts.length > 0 ? await openOwn(`${base}.part`, constants.O_RDWR) : undefined
    const file = before ?? (await createPart(`${base}.part`))
    const have = before === undefined ? [] : parts
    try {
      // Rewritten, so that appending never continues a half-written line.
      await rm(`${base}.have`, { force: true })
      await writeWhole(`${base}.have`, `${formatOffer(offer)}\n${formatParts(have)}`, { replace: false })
    } catch (error) {
      await file.close()
      throw error
    }
    return this.#sink(offer, base, file, have)
  }

  /** Removes the longest idle unfinished files, until there is room for `base`. */
  async #makeRoom(base: string): Promise<void> {
    const found = (await readdir(this.#folder)).flatMap((name) => UNFINISHED_NAME.exec(name)?.[1] ?? [])
    const all = new Set(found.map((name) => join(this.#folder, name)))
    if (all.size < UNFINISHED || all.has(base)) return
    const idle = [...all].filter((each) => !this.#open.has(each))
    const aged = await Promise.all(
      idle.map(async (each) => ({ each, time: (await stat(`${each}.have`).catch(() => undefined))?.mtimeMs ?? 0 })),
    )
    for (const { each } of aged.toSorted((one, other) => one.time - other.time).slice(0, all.size - UNFINISHED + 1)) {
      // The record first: a file without a record starts over.
      for (const ending of ['have', 'part']) await rm(`${each}.${ending}`, { force: true })
    }
  }

  #sink(offer: FileOffer, base: string, file: FileHandle, have: readonly PartRange[]): FileSink {
    this.#open.set(base, (this.#open.get(base) ?? 0) + 1)
    let isOpen = true
    const close = async (): Promise<void> => {
      if (!isOpen) return
      isOpen = false
      const others = (this.#open.get(base) ?? 1) - 1
      if (others > 0) this.#open.set(base, others)
      else this.#open.delete(base)
      await file.close()
    }
    const leave = async (): Promise<void> => {
      await close()
      await rm(`${base}.have`, { force: true })
    }
    return {
      have,
      write: (part, bytes) =>
        guard(`${base}.part`, async () => {
          await writeAt(file, bytes, (part - 1) * PART_BYTES)
          // The part must be on the disk before its record: a crash in between must not leave a recorded hole.
          await file.datasync()
          await using record = await openOwn(`${base}.have`, constants.O_WRONLY | constants.O_APPEND)
          if (record === undefined) throw disturbed(this.#folder)
          await record.appendFile(`${part}\n`)
        }),
      read: (part) => readPart(file, offer, part),
      finish: () =>
        guard(this.#folder, async () => {
          await file.truncate(offer.total)
          await file.sync()
          const path = await this.#place(`${base}.part`, offer.name, file)
          await leave()
          if (path === undefined) throw disturbed(this.#folder)
          this.#onDone(offer, path)
          // The file is complete; without its tag, it may at worst arrive a second time.
          await this.#remember(tagOf(offer, offer.file)).catch(() => {})
        }),
      discard: () =>
        guard(this.#folder, async () => {
          await leave()
          await rm(`${base}.part`, { force: true })
        }),
      close,
    }
  }

  /**
   * Gives a complete file its name, or the next free one: `name (2)`.
   * @param file the bytes whose hash is right
   * @returns undefined if the part is another file by now; then nothing has the name
   */
  async #place(part: string, name: string, file: FileHandle): Promise<string | undefined> {
    for (let number = 1; ; number++) {
      const path = join(this.#folder, number === 1 ? name : withNumber(name, number))
      try {
        await link(part, path)
        await rm(part)
        return await this.#keep(path, file)
      } catch (error) {
        if (systemCode(error) === 'EEXIST') continue
        if (!['EPERM', 'ENOTSUP', 'ENOSYS', 'EMLINK'].includes(systemCode(error))) throw error
      }
      // The file system has no hard links: reserve the name first.
      try {
        await (await open(path, 'wx', 0o600)).close()
      } catch (error) {
        if (systemCode(error) === 'EEXIST') continue
        throw error
      }
      await rename(part, path)
      return this.#keep(path, file)
    }
  }

  /** Removes the path again if it is not the file that was checked: another user may have put their own into its place. */
  async #keep(path: string, file: FileHandle): Promise<string | undefined> {
    const [placed, checked] = await Promise.all([lstat(path, { bigint: true }), file.stat({ bigint: true })])
    const isSame = placed.dev === checked.dev && placed.ino === checked.ino
    if (!isSame) await rm(path)
    await flush(this.#folder)
    return isSame ? path : undefined
  }

  async #readDone(): Promise<string[]> {
    if (this.#done === undefined) return []
    return (await readText(this.#done, RECORD_BYTES))?.split('\n').filter((line) => line !== '') ?? []
  }

  async #remember(tag: string): Promise<void> {
    if (this.#done === undefined) return
    const tags = [...(await this.#readDone()), tag].slice(-REMEMBERED)
    await writeWhole(this.#done, tags.map((each) => `${each}\n`).join(''), { replace: true })
  }
}

/** Builds `name (2).ending`, of at most 255 bytes. */
function withNumber(name: string, number: number): string {
  const [, base = name, ending = ''] = /^(.+?)((?:\.tar)?\.[A-Za-z0-9]{1,10})$/.exec(name) ?? []
  const kept = Array.from(base)
  const build = (): string => `${kept.join('')} (${number})${ending}`
  while (Buffer.byteLength(build()) > FILE_NAME_BYTES) kept.pop()
  return build()
}

/** `.part` holds the bytes of an unfinished file, `.have` lists its parts. */
const UNFINISHED_NAME = /^(\.asfaleia-[0-9a-f]{32})\.(?:have|part)$/

/** Hashes sender, size and file: the tag reveals neither to anyone who reads the folder. */
function tagOf({ from, total }: FileOffer, what: string): string {
  return createHash('sha256')
    .update(`${fingerprintOf(from.key)} ${total} ${what}`)
    .digest('hex')
    .slice(0, 32)
}

function formatOffer({ total, hash }: FileOffer): string {
  return `asfaleia-have/1 ${total} ${hash}`
}

function formatParts(ranges: readonly PartRange[]): string {
  return ranges.flatMap(([first, last]) => Array.from({ length: last - first + 1 }, (_, index) => `${first + index}\n`)).join('')
}

/** Reads the parts that an earlier transfer wrote. Ignores an incomplete last line. */
async function readRecord(path: string, offer: FileOffer): Promise<PartRange[]> {
  await using record = await openOwn(path, constants.O_RDONLY)
  if (record === undefined) return []
  const { size } = await record.stat()
  const bytes = Buffer.alloc(Math.min(size, RECORD_BYTES))
  const [form, ...lines] = bytes.toString('latin1', 0, await readAt(record, bytes, 0)).split('\n')
  if (form !== formatOffer(offer)) return []
  const numbers = [...new Set(lines.slice(0, -1).map(Number))].filter(
    (part) => Number.isSafeInteger(part) && part >= 1 && part <= countParts(offer.total),
  )
  const ranges: [number, number][] = []
  for (const part of numbers.toSorted((a, b) => a - b)) {
    const last = ranges.at(-1)
    if (last !== undefined && last[1] === part - 1) last[1] = part
    else ranges.push([part, part])
  }
  return ranges
}

/**
 * Opens a file that an earlier transfer made. If others may write to the folder, they may have put something else there:
 * a link, or a file that they own, may write to or keep a second name of.
 * @returns undefined if there is no such file, or it is not the user's own, of mode 0600 and with one name
 */
async function openOwn(path: string, flags: number): Promise<FileHandle | undefined> {
  let file
  try {
    file = await open(path, flags | constants.O_NOFOLLOW | constants.O_NONBLOCK)
    const { uid, mode, nlink } = await file.stat()
    // The type is a part of the mode.
    if (mode === (constants.S_IFREG | 0o600) && nlink === 1 && uid === (process.getuid?.() ?? uid)) return file
  } catch (error) {
    if (!['ENOENT', 'ELOOP', 'EACCES', 'ENXIO', 'EISDIR'].includes(systemCode(error)))
      throw new CliError(`cannot open ${path}: ${systemReason(error)}`, systemHint(error))
  }
  await file?.close()
  return undefined
}

/** Begins the bytes of a file anew. */
async function createPart(path: string): Promise<FileHandle> {
  try {
    await rm(path, { force: true })
    return await open(path, constants.O_RDWR | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW, 0o600)
  } catch (error) {
    throw new CliError(`cannot write ${path}: ${systemReason(error)}`, systemHint(error))
  }
}

const disturbed = (folder: string): CliError =>
  new CliError(`another user or program changes unfinished files in ${folder}`, { hint: 'receive files into a folder of your own' })

async function readPart(file: FileHandle, { total }: FileOffer, part: number): Promise<Uint8Array> {
  const offset = (part - 1) * PART_BYTES
  const bytes = new Uint8Array(Math.min(PART_BYTES, total - offset))
  await readAt(file, bytes, offset)
  return bytes
}

async function guard<T>(path: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    if (error instanceof CliError) throw error
    throw new CliError(`cannot write ${path}: ${systemReason(error)}`, systemHint(error))
  }
}
