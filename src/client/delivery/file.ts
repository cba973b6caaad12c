/**
 * Files in parts (docs/protocol.md, section 10): which parts are where, what is to be sent next, and the putting
 * together, as machines. They touch no disk: a file is read through {@link FileSource} and written through
 * {@link FileSink}, so that Node writes files and a page keeps memory. Times are milliseconds.
 *
 * A file is whole when every part is there and the SHA-256 of them all is the one that was announced, not before.
 */
import { sha256 } from '@noble/hashes/sha2.js'
import { countParts, type FilePart, HAVE_RANGES, PART_BYTES, type PartRange } from '../format/content.ts'

/** What is sent is read through this. */
export interface FileSource {
  /** As the receiver sees it: no path. */
  readonly name: string
  /** Bytes. */
  readonly size: number
  /** @returns exactly so many bytes, unless the file became shorter */
  read(offset: number, length: number): Promise<Uint8Array>
}

/** What an announced file says of itself. */
export type FileInfo = Pick<FilePart, 'file' | 'name' | 'total' | 'hash'>

/** Where the parts of one file go. One call at a time. */
export interface FileSink {
  /** Parts that are there already, of an attempt before. */
  readonly have: readonly PartRange[]
  /** Resolves when the part is where it stays; part 1 begins at 0, each has {@link PART_BYTES}, but the last. */
  write(part: number, bytes: Uint8Array): Promise<void>
  read(part: number): Promise<Uint8Array>
  /** All is there, and its hash is right. */
  finish(): Promise<void>
  /** All is there, and its hash is wrong: nothing of it can be used. */
  discard(): Promise<void>
  /** Nothing more comes for now; the file may be opened again. Not called after a `finish` or `discard` that went well. */
  close?(): Promise<void>
}

export const FILE = Object.freeze({
  /** Parts that are sent and not confirmed: fewer than a relay is sent at once, so that texts pass between them. */
  window: 24,
  /**
   * Without a word of the receiver's for the first, ms, it is asked what it has, by an offer; after one that came and had no
   * answer, for twice as long, up to the second.
   */
  offer: Object.freeze([30_000, 600_000] as const),
  /** Files that are received at once, from one contact and from all. */
  contact: 4,
  all: 16,
})

/** Which parts of a file are there: a bit for each. */
export class Parts {
  readonly count: number
  readonly #bits: Uint8Array
  #size = 0

  /** @param count parts of the whole file, numbered from 1 */
  constructor(count: number) {
    this.count = count
    this.#bits = new Uint8Array((count >> 3) + 1)
  }

  get size(): number {
    return this.#size
  }

  get isWhole(): boolean {
    return this.#size === this.count
  }

  has(part: number): boolean {
    return (this.#bits[part >> 3]! & (1 << (part & 7))) !== 0
  }

  /** False if it was there, or is none of this file's. */
  add(part: number): boolean {
    if (part < 1 || part > this.count || this.has(part)) return false
    this.#bits[part >> 3]! |= 1 << (part & 7)
    this.#size++
    return true
  }

  addAll(ranges: readonly PartRange[]): void {
    for (const [first, last] of ranges) for (let part = Math.max(1, first); part <= Math.min(last, this.count); part++) this.add(part)
  }

  /** From the first on, as many as a message says. */
  ranges(): PartRange[] {
    const ranges: PartRange[] = []
    for (let part = 1; part <= this.count && ranges.length < HAVE_RANGES; part++) {
      if (!this.has(part)) continue
      const first = part
      while (part < this.count && this.has(part + 1)) part++
      ranges.push([first, part])
    }
    return ranges
  }
}

/** Bytes of a file that so many of its parts are, the last among them or not. */
export function bytesOf(info: Pick<FileInfo, 'total'>, parts: Parts): number {
  const last = parts.count
  const full = parts.size - (parts.has(last) ? 1 : 0)
  return full * PART_BYTES + (parts.has(last) ? info.total - (last - 1) * PART_BYTES : 0)
}

/** @returns SHA-256 in hexadecimal; each `read` is awaited before the next */
export async function hashOf(count: number, read: (index: number) => Promise<Uint8Array>): Promise<string> {
  const hash = sha256.create()
  for (let index = 0; index < count; index++) hash.update(await read(index))
  return Array.from(hash.digest(), (byte) => byte.toString(16).padStart(2, '0')).join('')
}

/**
 * `offered`: the receiver has not answered. `sending`: it wants it. `done`: it has it, and found it right. `refused`: it
 * does not want it, or found it damaged. `expired`, `failed`: as of a message.
 */
export type FileState = 'offered' | 'sending' | 'done' | 'refused' | 'expired' | 'failed'

/** A file on its way out. */
export class FileSending {
  readonly info: FileInfo
  /** What the receiver has, as far as it said. */
  #theirs: Parts
  readonly #flying = new Set<number>()
  #next = 1
  #state: FileState = 'offered'
  /** An offer is out whose answer says all that the receiver has. */
  #isAsked = false
  /** It did not come yet, as far as is known: that is the outbox's to see to, and another would only fill the mailbox. */
  #isUnderWay = false
  #offers = 0
  #pause = 0
  #offerAt = 0

  constructor(info: FileInfo) {
    this.info = info
    this.#theirs = new Parts(countParts(info.total))
  }

  get state(): FileState {
    return this.#state
  }

  /** Bytes that the receiver said it has. */
  get confirmed(): number {
    return bytesOf(this.info, this.#theirs)
  }

  get isSettled(): boolean {
    return this.#state !== 'offered' && this.#state !== 'sending'
  }

  /** What is to be sent now: 0 is the offer. It counts as sent from here on. */
  take(random: number, now: number): number[] {
    if (this.isSettled) return []
    const parts: number[] = []
    // Further ahead than any pause is: the clock was set back.
    if (!this.#isUnderWay && (this.#offerAt <= now || this.#offerAt > now + FILE.offer[1])) {
      this.#isAsked = true
      this.#isUnderWay = true
      const [first, most] = FILE.offer
      this.#pause = Math.min(first * 2 ** this.#offers++, most) * (0.75 + random / 4)
      parts.push(0)
    }
    if (this.#state === 'offered') return parts
    for (let part = this.#findMissing(); part !== undefined && this.#flying.size < FILE.window; part = this.#findMissing()) {
      this.#flying.add(part)
      parts.push(part)
    }
    return parts
  }

  /** When `take` has an offer to make. */
  due(): number {
    return this.isSettled || this.#isUnderWay ? Number.POSITIVE_INFINITY : this.#offerAt
  }

  /** The receiver says what it has. */
  onHave(parts: readonly PartRange[] | 'done' | 'refused', now: number): void {
    if (this.isSettled) return
    if (typeof parts === 'string') {
      this.#state = parts
      if (parts === 'done') this.#theirs.addAll([[1, this.#theirs.count]])
      return
    }
    this.#state = 'sending'
    if (this.#isAsked) {
      this.#isAsked = false
      this.#isUnderWay = false
      this.#theirs = new Parts(this.#theirs.count)
      this.#next = 1
    }
    this.#theirs.addAll(parts)
    // It may have taken parts and ended before it could confirm them.
    for (const part of this.#flying) if (this.#theirs.has(part)) this.#flying.delete(part)
    this.#onWord(now)
  }

  /** Whether the receiver said that it has it. */
  has(part: number): boolean {
    return this.#theirs.has(part)
  }

  /** The receiver confirmed a part, or that the offer came: its answer is another message. */
  onConfirmed(part: number, now: number): void {
    if (part === 0) {
      if (this.#isUnderWay) this.#offerAt = now + this.#pause
      this.#isUnderWay = false
      return
    }
    this.#flying.delete(part)
    this.#theirs.add(part)
    this.#onWord(now)
  }

  onEnd(state: 'expired' | 'failed'): void {
    if (!this.isSettled) this.#state = state
  }

  /** As long as it says something it need not be asked. */
  #onWord(now: number): void {
    this.#offers = 0
    this.#offerAt = now + FILE.offer[0]
  }

  #findMissing(): number | undefined {
    for (; this.#next <= this.#theirs.count; this.#next++)
      if (!this.#theirs.has(this.#next) && !this.#flying.has(this.#next)) return this.#next
    return undefined
  }
}

/**
 * `receiving`: parts are missing. `done`: whole, and right. `damaged`: whole, and not what was announced. `refused`: it
 * was not wanted. `failed`: it could not be written.
 */
export type FileArrival = 'receiving' | 'done' | 'damaged' | 'refused' | 'failed'

/** What came of a part. */
export interface FileProgress {
  readonly state: FileArrival
  /** What the sender is to be told, if anything. */
  readonly answer?: readonly PartRange[] | 'done' | 'refused'
  /** Bytes that are there. */
  readonly bytes: number
  readonly error?: unknown
}

/** A file on its way in. Its parts are taken one after the other. */
export class FileReceiving {
  readonly info: FileInfo
  readonly #sink: FileSink
  readonly #parts: Parts
  #tail: Promise<unknown> = Promise.resolve()
  #state: FileArrival = 'receiving'

  constructor(info: FileInfo, sink: FileSink) {
    this.info = info
    this.#sink = sink
    this.#parts = new Parts(countParts(info.total))
    this.#parts.addAll(sink.have)
  }

  /** Nothing more comes for now: after what is under way, what is there is left as it is. */
  close(): Promise<void> {
    const closed = this.#tail.then(() => (this.#state === 'receiving' ? this.#sink.close?.() : undefined))
    this.#tail = closed.catch(() => {})
    return closed
  }

  take(part: FilePart): Promise<FileProgress> {
    const taken = this.#tail.then(() => this.#take(part))
    this.#tail = taken.catch(() => {})
    return taken
  }

  /** @throws what the sink throws: then nothing more is taken, and what is there is left as it is */
  async #take(part: FilePart): Promise<FileProgress> {
    try {
      return await this.#put(part)
    } catch (error) {
      this.#state = 'failed'
      await this.#sink.close?.().catch(() => {})
      throw error
    }
  }

  async #put({ part, bytes }: FilePart): Promise<FileProgress> {
    if (this.#state === 'receiving' && part > 0 && !this.#parts.has(part)) {
      await this.#sink.write(part, bytes)
      this.#parts.add(part)
    }
    const here = bytesOf(this.info, this.#parts)
    switch (this.#state) {
      case 'receiving':
        if (this.#parts.isWhole) break
        return { state: 'receiving', bytes: here, ...(part === 0 && { answer: this.#parts.ranges() }) }
      case 'done':
        return { state: 'done', bytes: here, ...(part === 0 && { answer: 'done' }) }
      case 'damaged':
      case 'refused':
      case 'failed':
        return { state: this.#state, bytes: here, ...(part === 0 && { answer: 'refused' }) }
    }
    const hash = await hashOf(this.#parts.count, (index) => this.#sink.read(index + 1))
    if (hash === this.info.hash) {
      await this.#sink.finish()
      this.#state = 'done'
      return { state: 'done', answer: 'done', bytes: here }
    }
    await this.#sink.discard()
    this.#state = 'damaged'
    return { state: 'damaged', answer: 'refused', bytes: 0 }
  }
}
