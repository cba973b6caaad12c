/**
 * Files that contacts send, in a folder that was chosen: never outside it, never over anything that is there, and named
 * only once all of it is there and its hash is right. What has come of a file lies beside, hidden, and is gone on with
 * when the same file is sent again.
 */
import { createHash } from 'node:crypto'
import { constants } from 'node:fs'
import { appendFile, type FileHandle, link, open, readdir, rename, rm, stat, statfs } from 'node:fs/promises'
import { join } from 'node:path'
import { FILE_NAME_BYTES, fingerprintOf, isFileName } from '../../client/format/field.ts'
import type { FileSink } from '../../client/delivery/file.ts'
import { countParts, PART_BYTES, type PartRange } from '../../client/format/content.ts'
import type { FileOffer, FileReceiver } from '../../client/messenger/transfers.ts'
import { flush, makeFolder, readAt, readText, writeAt, writeWhole } from '../disk/file.ts'
import { systemCode, systemReason } from '../disk/system.ts'
import { CliError } from '../program/error.ts'

/** A record has a line of at most 7 bytes for each of 65,536 parts. */
const RECORD_BYTES = 1_048_576
/** Files that are kept unfinished: those that nothing came of for longest go, since whoever sends them can begin as many as it likes. */
const UNFINISHED = 64
/** Files that are remembered as done, so that an offer that comes again brings no second one. */
const REMEMBERED = 1_000

export class Arrivals implements FileReceiver {
  readonly #folder: string
  readonly #done: string | undefined
  readonly #onDone: (offer: FileOffer, path: string) => void
  /** How often each is open. */
  readonly #open = new Map<string, number>()

  /**
   * @param folder made where it is not there
   * @param done a file of tags of those that were received
   * @param onDone a file is there, under that name
   */
  constructor(folder: string, done: string | undefined, onDone: (offer: FileOffer, path: string) => void) {
    this.#folder = folder
    this.#done = done
    this.#onDone = onDone
  }

  /** @throws {CliError} where it cannot be written; its sender is told that it was refused */
  async open(offer: FileOffer): Promise<FileSink | 'done' | undefined> {
    if (!isFileName(offer.name)) return undefined
    if ((await this.#readDone()).includes(tagOf(offer, offer.file))) return 'done'
    await makeFolder(this.#folder)
    const { bavail, bsize } = await statfs(this.#folder)
    // The name, too: the same bytes under another name are a file of their own, which nobody else writes to.
    const base = join(this.#folder, `.asfaleia-${tagOf(offer, `${offer.hash} ${offer.name}`)}`)
    await this.#makeRoom(base)
    const parts = await readRecord(`${base}.have`, offer)
    if (parts.length === 0 && BigInt(bavail) * BigInt(bsize) < BigInt(offer.total))
      throw new CliError(`there is no room for ${offer.name} in ${this.#folder}`)
    const before = parts.length > 0 ? await openPart(`${base}.part`, true) : undefined
    const file = before ?? (await openPart(`${base}.part`, false))!
    const have = before === undefined ? [] : parts
    try {
      // As a whole: what is added to it must not go on with half a line.
      await writeWhole(`${base}.have`, `${formatOffer(offer)}\n${formatParts(have)}`, { replace: true })
    } catch (error) {
      await file.close()
      throw error
    }
    return this.#sink(offer, base, file, have)
  }

  /** For one more unfinished file, where `base` is not among them already. */
  async #makeRoom(base: string): Promise<void> {
    const found = (await readdir(this.#folder)).flatMap((name) => UNFINISHED_NAME.exec(name)?.[1] ?? [])
    const all = new Set(found.map((name) => join(this.#folder, name)))
    if (all.size < UNFINISHED || all.has(base)) return
    const idle = [...all].filter((each) => !this.#open.has(each))
    const aged = await Promise.all(
      idle.map(async (each) => ({ each, time: (await stat(`${each}.have`).catch(() => undefined))?.mtimeMs ?? 0 })),
    )
    for (const { each } of aged.toSorted((one, other) => one.time - other.time).slice(0, all.size - UNFINISHED + 1)) {
      // The record first: bytes without one are begun anew.
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
          // What the record says is on the disk, whatever the machine does next: a file with a hole in it would be refused.
          await file.datasync()
          await appendFile(`${base}.have`, `${part}\n`)
        }),
      read: (part) => readPart(file, offer, part),
      finish: () =>
        guard(this.#folder, async () => {
          await file.truncate(offer.total)
          await file.sync()
          const path = await this.#place(`${base}.part`, offer.name)
          await leave()
          this.#onDone(offer, path)
          // The file is there; what is not remembered would at most come a second time.
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

  /** Gives what has come its name, or the next one that is free. */
  async #place(part: string, name: string): Promise<string> {
    for (let number = 1; ; number++) {
      const path = join(this.#folder, number === 1 ? name : withNumber(name, number))
      try {
        await link(part, path)
        await rm(part)
        await flush(this.#folder)
        return path
      } catch (error) {
        if (systemCode(error) === 'EEXIST') continue
        if (!['EPERM', 'ENOTSUP', 'ENOSYS', 'EMLINK'].includes(systemCode(error))) throw error
      }
      // A file system without hard links: the name is taken first.
      try {
        await (await open(path, 'wx', 0o600)).close()
      } catch (error) {
        if (systemCode(error) === 'EEXIST') continue
        throw error
      }
      await rename(part, path)
      return path
    }
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

/** `name (2).ending`, of at most 255 bytes. */
function withNumber(name: string, number: number): string {
  const [, base = name, ending = ''] = /^(.+?)((?:\.tar)?\.[A-Za-z0-9]{1,10})$/.exec(name) ?? []
  const kept = Array.from(base)
  const build = (): string => `${kept.join('')} (${number})${ending}`
  while (Buffer.byteLength(build()) > FILE_NAME_BYTES) kept.pop()
  return build()
}

/** The bytes of an unfinished file, and which of them are there. */
const UNFINISHED_NAME = /^(\.asfaleia-[0-9a-f]{32})\.(?:have|part)$/

/** Says nothing of who sent what to whoever finds it. */
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

/** Parts that a former attempt wrote; a last line that was not written to its end is left out. */
async function readRecord(path: string, offer: FileOffer): Promise<PartRange[]> {
  const [form, ...lines] = ((await readText(path, RECORD_BYTES)) ?? '').split('\n')
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

/** @param again whether one is there to go on with; undefined if there is none after all */
async function openPart(path: string, again: boolean): Promise<FileHandle | undefined> {
  try {
    if (!again) await rm(path, { force: true })
    const flags = constants.O_RDWR | constants.O_NOFOLLOW | constants.O_NONBLOCK
    const file = await open(path, again ? flags : flags | constants.O_CREAT | constants.O_EXCL, 0o600)
    if ((await file.stat()).isFile()) return file
    await file.close()
  } catch (error) {
    if (!again || systemCode(error) !== 'ENOENT') throw new CliError(`cannot write ${path}: ${systemReason(error)}`)
  }
  return undefined
}

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
    throw new CliError(`cannot write ${path}: ${systemReason(error)}`)
  }
}
