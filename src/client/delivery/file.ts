/**
 * Files sent in parts (docs/protocol.md, section 10), as machines: which side has which parts, which part to send next,
 * and how the receiver assembles them. They touch no disk. A {@link FileSource} reads and a {@link FileSink} writes, so
 * that Node can use files and a page memory. Times are milliseconds.
 *
 * A file is complete only when every part is there and the SHA-256 of the whole matches the announced one.
 */
import { startSha256 } from '../../auth/crypto.ts'
import { countParts, type FilePart, HAVE_RANGES, PART_BYTES, type PartRange } from '../format/content.ts'

/** Reads the file to send. */
export interface FileSource {
  /** The file's name for the receiver, without a path. */
  readonly name: string
  /** Size in bytes. */
  readonly size: number
  /** Reads `length` bytes at `offset`. @returns fewer only if the file became shorter */
  read(offset: number, length: number): Promise<Uint8Array>
}

/** The description of a file that each of its parts carries. */
export type FileInfo = Pick<FilePart, 'file' | 'name' | 'total' | 'hash'>

/** Stores the parts of one file. Called once at a time. */
export interface FileSink {
  /** Parts that an earlier attempt stored. */
  readonly have: readonly PartRange[]
  /** Stores a part. Part 1 begins at offset 0. Each part has {@link PART_BYTES}, the last one may have fewer. */
  write(part: number, bytes: Uint8Array): Promise<void>
  /** Reads a stored part. */
  read(part: number): Promise<Uint8Array>
  /** Every part is stored and the hash is right. */
  finish(): Promise<void>
  /** Every part is stored and the hash is wrong, so the file is useless. */
  discard(): Promise<void>
  /** No part follows for now, but the file may be opened again. Not called after a successful `finish` or `discard`. */
  close?(): Promise<void>
}

export const FILE = Object.freeze({
  /** Unconfirmed parts of one file. Fewer than the outbox sends to a relay at once, so that texts pass between them. */
  window: 24,
  /**
   * Silence of the receiver, in ms, after which an offer asks again which parts it has. The pause doubles from the
   * first to the second with each offer that arrived and was not answered.
   */
  offer: Object.freeze([30_000, 600_000] as const),
  /** Files to receive at the same time, from one contact and from all. */
  contact: 4,
  all: 16,
})

/** A set of a file's parts, as a bitmap. */
export class Parts {
  readonly count: number
  readonly #bits: Uint8Array
  #size = 0

  /** @param count number of parts of the whole file; the first is 1 */
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

  /** Adds a part. @returns false if it was there, or the file has no such part */
  add(part: number): boolean {
    if (part < 1 || part > this.count || this.has(part)) return false
    this.#bits[part >> 3]! |= 1 << (part & 7)
    this.#size++
    return true
  }

  addAll(ranges: readonly PartRange[]): void {
    for (const [first, last] of ranges) for (let part = Math.max(1, first); part <= Math.min(last, this.count); part++) this.add(part)
  }

  /** Returns the ranges, from the first on, at most as many as one `have` carries. */
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

/** Returns how many bytes of a file the parts cover. */
export function bytesOf(info: Pick<FileInfo, 'total'>, parts: Parts): number {
  const last = parts.count
  const full = parts.size - (parts.has(last) ? 1 : 0)
  return full * PART_BYTES + (parts.has(last) ? info.total - (last - 1) * PART_BYTES : 0)
}

/** Hashes `count` parts, read one after the other. @returns the SHA-256 in hexadecimal */
export async function hashOf(count: number, read: (index: number) => Promise<Uint8Array>): Promise<string> {
  const hash = startSha256()
  for (let index = 0; index < count; index++) hash.update(await read(index))
  return Array.from(hash.digest(), (byte) => byte.toString(16).padStart(2, '0')).join('')
}

/**
 * `offered`: the receiver has not answered yet. `sending`: it accepts the file. `done`: it has the whole file, and the
 * hash is right. `refused`: it does not accept the file, or found it damaged. `expired`, `failed`: as for a message.
 */
export type FileState = 'offered' | 'sending' | 'done' | 'refused' | 'expired' | 'failed'

/** The sending side of a file. */
export class FileSending {
  readonly info: FileInfo
  /** The parts that the receiver reported. */
  #theirs: Parts
  readonly #flying = new Set<number>()
  #next = 1
  #state: FileState = 'offered'
  /** An offer was sent, and its answer will list all parts of the receiver. */
  #isAsked = false
  /** The offer is not confirmed yet. The outbox repeats it; a second offer would only fill the mailbox. */
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

  /** Bytes that the receiver reported. */
  get confirmed(): number {
    return bytesOf(this.info, this.#theirs)
  }

  get isSettled(): boolean {
    return this.#state !== 'offered' && this.#state !== 'sending'
  }

  /** Returns the parts to send now, 0 for the offer. They count as sent from here on. @param random in [0, 1) */
  take(random: number, now: number): number[] {
    if (this.isSettled) return []
    const parts: number[] = []
    // A time further ahead than the longest pause means that the clock was set back.
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

  /** Returns when `take` has an offer to send; infinite without one. */
  due(): number {
    return this.isSettled || this.#isUnderWay ? Number.POSITIVE_INFINITY : this.#offerAt
  }

  /** The receiver reported the parts that it has. */
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
    // The receiver may have stored parts and stopped before it could confirm them.
    for (const part of this.#flying) if (this.#theirs.has(part)) this.#flying.delete(part)
    this.#onWord(now)
  }

  /** Whether the receiver reported the part. */
  has(part: number): boolean {
    return this.#theirs.has(part)
  }

  /** The receiver confirmed the message with a part, or with the offer. Its answer to an offer is another message. */
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

  /** The receiver sent something, so the next offer can wait. */
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
 * `receiving`: parts are missing. `done`: complete, and the hash is right. `damaged`: complete, and the hash is wrong.
 * `refused`: the user does not accept it. `failed`: it could not be written.
 */
export type FileArrival = 'receiving' | 'done' | 'damaged' | 'refused' | 'failed'

/** The state of a received file after a part. */
export interface FileProgress {
  readonly state: FileArrival
  /** The answer for the sender, if there is one. */
  readonly answer?: readonly PartRange[] | 'done' | 'refused'
  /** Bytes stored so far. */
  readonly bytes: number
  readonly error?: unknown
}

/** The receiving side of a file. Handles one part after the other. */
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

  /** Closes the sink after the parts that are under way, and leaves the stored parts as they are. */
  close(): Promise<void> {
    const closed = this.#tail.then(() => (this.#state === 'receiving' ? this.#sink.close?.() : undefined))
    this.#tail = closed.catch(() => {})
    return closed
  }

  /** Stores a part, and checks the hash after the last one. @throws errors of the sink */
  take(part: FilePart): Promise<FileProgress> {
    const taken = this.#tail.then(() => this.#take(part))
    this.#tail = taken.catch(() => {})
    return taken
  }

  /** After an error of the sink, no further part is stored, and the stored ones stay as they are. */
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
