/**
 * Cuts bytes into packets, one at a time, on demand: `push` what arrived, then call `next` until it
 * has none. A line is bounded before it is complete, and every byte handed in is overwritten once
 * it was read, so no payload outlives its packet here. Knows nothing of what a packet means.
 */

const LF = 0x0a
const CR = 0x0d

/** A copy that can be overwritten for good: V8 keeps short arrays in its own heap, moves them, and leaves what they were. */
export function copyBytes(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  const copy = new Uint8Array(new ArrayBuffer(bytes.length))
  copy.set(bytes)
  return copy
}

/** A whole ArrayBuffer, as bytes and as words. */
interface Ground {
  readonly buffer: ArrayBufferLike
  readonly bytes: Uint8Array
  readonly words: DataView
}

const NOTHING = groundOf(new ArrayBuffer(0))
/** What was looked at last: sockets are all read into one buffer, whose views are made once. */
let last = NOTHING

function groundOf(buffer: ArrayBufferLike): Ground {
  return { buffer, bytes: new Uint8Array(buffer), words: new DataView(buffer) }
}

/** Where a packet lies, with what reads its bytes; no object is made for it. Good until the next call of its source. */
export class Found {
  #ground = NOTHING
  start = 0
  end = 0

  get bytes(): Uint8Array {
    return this.#ground.bytes
  }

  get words(): DataView {
    return this.#ground.words
  }

  set(bytes: Uint8Array, start: number, end: number): void {
    const { buffer, byteOffset } = bytes
    if (last.buffer !== buffer) last = groundOf(buffer)
    this.#ground = last
    this.start = byteOffset + start
    this.end = byteOffset + end
  }

  clear(): void {
    this.#ground = NOTHING
    this.start = 0
    this.end = 0
  }

  view(start = this.start, end = this.end): Uint8Array {
    return new Uint8Array(this.#ground.buffer, start, end - start)
  }
}

/** A pull decoder of packets. How bytes were cut into chunks never changes what `next` gives. */
export interface PacketSource {
  /** Takes a chunk over; the decoder overwrites it when it was read. */
  push(chunk: Uint8Array): void
  /**
   * Gives the chunk that was pushed last back, overwritten: what was not read of it is copied. No packet that
   * was given before is good any more.
   */
  giveBack(): void
  /** What `find` found. */
  readonly found: Found
  /**
   * Looks for the next packet, without its line end; `too-large` if it holds more than `limit` bytes (the
   * source is of no use afterwards); undefined if none is complete.
   */
  find(limit: number): 'found' | 'too-large' | undefined
  /** The same, with the packet as a view. */
  next(limit: number): Uint8Array | 'too-large' | undefined
  /** Bytes held that no packet was made of yet. */
  readonly held: number
  /** Overwrites and forgets everything held. */
  clear(): void
}

/** Packets ended by LF, as TCP and unix sockets carry them; one CR before the LF is ignored. */
export class LineDecoder implements PacketSource {
  readonly found = new Found()
  /** The chunk that is read, and the unread ones behind it: hardly ever any, so that no array grows for each chunk. */
  #chunk: Uint8Array | undefined
  #later: Uint8Array[] | undefined
  /** Where the unread part of the chunk begins. */
  #at = 0
  /** A line begun in chunks that are gone; `#carried` bytes of it are known. */
  #carry: Uint8Array | undefined
  #carried = 0
  /** Set while the last returned packet is a view of the carry buffer. */
  #lent = false

  get held(): number {
    let held = this.#carried - this.#at + (this.#chunk?.length ?? 0)
    for (const chunk of this.#later ?? []) held += chunk.length
    return held
  }

  push(chunk: Uint8Array): void {
    if (chunk.length === 0) return
    if (this.#chunk === undefined) this.#chunk = chunk
    else (this.#later ??= []).push(chunk)
  }

  giveBack(): void {
    if (this.#lent) this.#dropCarry()
    // Chunks are read in order: if any is left, the last one is.
    const last = this.#later?.pop() ?? this.#chunk
    if (last === undefined) return
    const isFirst = last === this.#chunk
    const rest = copyBytes(isFirst ? last.subarray(this.#at) : last)
    if (isFirst) {
      this.#chunk = undefined
      this.#at = 0
    }
    last.fill(0)
    this.push(rest)
    this.found.clear()
  }

  next(limit: number): Uint8Array | 'too-large' | undefined {
    const outcome = this.find(limit)
    return outcome === 'found' ? this.found.view() : outcome
  }

  find(limit: number): 'found' | 'too-large' | undefined {
    if (this.#lent) this.#dropCarry()
    for (;;) {
      const chunk = this.#chunk
      if (chunk === undefined) return undefined
      if (this.#at === chunk.length) {
        chunk.fill(0)
        this.#chunk = this.#later?.shift()
        this.#at = 0
        continue
      }
      const end = chunk.indexOf(LF, this.#at)
      if (end === -1) {
        const rest = chunk.subarray(this.#at)
        if (!this.#take(rest, limit)) return 'too-large'
        this.#at = chunk.length
        continue
      }
      const { found } = this
      if (this.#carried > 0) {
        if (!this.#take(chunk.subarray(this.#at, end), limit)) return 'too-large'
        found.set(this.#carry!, 0, this.#carried)
        this.#lent = true
      } else {
        found.set(chunk, this.#at, end)
      }
      this.#at = end + 1
      if (found.end > found.start && found.bytes[found.end - 1] === CR) found.end--
      return found.end - found.start > limit ? 'too-large' : 'found'
    }
  }

  clear(): void {
    this.#chunk?.fill(0)
    this.#chunk = undefined
    for (const chunk of this.#later ?? []) chunk.fill(0)
    this.#later = undefined
    this.#at = 0
    this.#dropCarry()
    this.found.clear()
  }

  /** Adds to the unfinished line; false if no end could make it fit. The one byte over may be a CR. */
  #take(bytes: Uint8Array, limit: number): boolean {
    const total = this.#carried + bytes.length
    if (total > limit + 1) return false
    if (total === limit + 1 && bytes.length > 0 && bytes[bytes.length - 1] !== CR) return false
    if (this.#carry === undefined || this.#carry.length < total) {
      const grown = new Uint8Array(Math.min(Math.max(total, this.#carried * 2, 256), limit + 1))
      if (this.#carry !== undefined) {
        grown.set(this.#carry.subarray(0, this.#carried))
        this.#carry.fill(0)
      }
      this.#carry = grown
    }
    this.#carry.set(bytes, this.#carried)
    this.#carried = total
    return true
  }

  #dropCarry(): void {
    this.#carry?.fill(0, 0, this.#carried)
    this.#carry = undefined
    this.#carried = 0
    this.#lent = false
  }
}

/** Packets as WebSocket messages carry them: one message is one packet, and an LF in it is a malformed field. */
export class MessageDecoder implements PacketSource {
  readonly found = new Found()
  #messages: Uint8Array[] = []
  #lent: Uint8Array | undefined

  get held(): number {
    return this.#messages.reduce((sum, message) => sum + message.length, 0)
  }

  push(chunk: Uint8Array): void {
    this.#messages.push(chunk)
  }

  giveBack(): void {
    this.#lent?.fill(0)
    this.#lent = undefined
    const message = this.#messages.pop()
    if (message === undefined) return
    this.#messages.push(copyBytes(message))
    message.fill(0)
  }

  next(limit: number): Uint8Array | 'too-large' | undefined {
    const outcome = this.find(limit)
    return outcome === 'found' ? this.found.view() : outcome
  }

  find(limit: number): 'found' | 'too-large' | undefined {
    this.#lent?.fill(0)
    const message = this.#messages.shift()
    this.#lent = message
    if (message === undefined) return undefined
    this.found.set(message, 0, message.length)
    return message.length > limit ? 'too-large' : 'found'
  }

  clear(): void {
    this.#lent?.fill(0)
    this.#lent = undefined
    for (const message of this.#messages) message.fill(0)
    this.#messages = []
    this.found.clear()
  }
}
