/**
 * Cuts a stream of bytes into packets, on demand: `push` a chunk, then call `next` until no packet is complete. A
 * decoder bounds a line before the line is complete, and overwrites every byte after reading it, so that no payload
 * outlives its packet here. Knows nothing of the meaning of packets.
 */

const LF = 0x0a
const CR = 0x0d

/**
 * Copies bytes into memory that can be overwritten for good. V8 keeps short typed arrays in its own heap; when it moves
 * one, the old bytes stay behind. An ArrayBuffer is outside that heap.
 */
export function copyBytes(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  const copy = new Uint8Array(new ArrayBuffer(bytes.length))
  copy.set(bytes)
  return copy
}

/** Views of a whole ArrayBuffer, as bytes and as words. */
interface Views {
  readonly buffer: ArrayBufferLike
  readonly bytes: Uint8Array
  readonly words: DataView
}

const NOTHING = viewsOf(new ArrayBuffer(0))
/** The views of the last buffer. All sockets read into one buffer, so its views need to be created only once. */
let last = NOTHING

function viewsOf(buffer: ArrayBufferLike): Views {
  return { buffer, bytes: new Uint8Array(buffer), words: new DataView(buffer) }
}

/**
 * The place of a packet in memory: a decoder has one and uses it again for each packet, so that a packet needs no
 * object of its own. Good until the next call of its decoder.
 */
export class Found {
  #views = NOTHING
  start = 0
  end = 0

  get bytes(): Uint8Array {
    return this.#views.bytes
  }

  get words(): DataView {
    return this.#views.words
  }

  set(bytes: Uint8Array, start: number, end: number): void {
    const { buffer, byteOffset } = bytes
    if (last.buffer !== buffer) last = viewsOf(buffer)
    this.#views = last
    this.start = byteOffset + start
    this.end = byteOffset + end
  }

  clear(): void {
    this.#views = NOTHING
    this.start = 0
    this.end = 0
  }

  view(start = this.start, end = this.end): Uint8Array {
    return new Uint8Array(this.#views.buffer, start, end - start)
  }
}

/** A pull decoder of packets. How the bytes were cut into chunks never changes the packets. */
export interface PacketSource {
  /** Takes a chunk. The decoder owns it from now on, and overwrites it after reading it. */
  push(chunk: Uint8Array): void
  /**
   * Gives the last pushed chunk back to its owner, overwritten; copies its unread rest first. All packets found before
   * become invalid.
   */
  giveBack(): void
  /** The place of the packet that `find` found. */
  readonly found: Found
  /**
   * Finds the next packet, without its line end.
   *
   * @returns `too-large` if it has more than `limit` bytes (only `clear` may follow); undefined if no packet is
   *   complete
   */
  find(limit: number): 'found' | 'too-large' | undefined
  /** Does the same, and returns the packet as a view. */
  next(limit: number): Uint8Array | 'too-large' | undefined
  /** Bytes held that are not part of a packet yet. */
  readonly held: number
  /** Overwrites and forgets everything held. */
  clear(): void
}

/** Packets ended by LF, as TCP and unix sockets carry them; one CR before the LF is ignored. */
export class LineDecoder implements PacketSource {
  readonly found = new Found()
  /** The chunk being read. */
  #chunk: Uint8Array | undefined
  /** The chunks after it. There are hardly ever any, so the array is created only when needed. */
  #later: Uint8Array[] | undefined
  /** The start of the unread part of the chunk. */
  #at = 0
  /** The first `#carried` bytes of a line that began in an earlier chunk. */
  #carry: Uint8Array | undefined
  #carried = 0
  /** True while the last packet lies in `#carry`. */
  #lent = false
  /** Where the last packet begins in the chunk, if it does not lie in `#carry`. */
  #foundAt = 0
  /** Whether the packet in `#carry` was put back. */
  #again = false

  get held(): number {
    let held = this.#carried - this.#at + (this.#chunk?.length ?? 0)
    for (const chunk of this.#later ?? []) held += chunk.length
    return held
  }

  /** Bytes of the memory that it holds. */
  get memory(): number {
    let memory = (this.#chunk?.length ?? 0) + (this.#carry?.length ?? 0)
    for (const chunk of this.#later ?? []) memory += chunk.length
    return memory
  }

  push(chunk: Uint8Array): void {
    if (chunk.length === 0) return
    if (this.#chunk === undefined) this.#chunk = chunk
    else (this.#later ??= []).push(chunk)
  }

  /** Puts back the packet that `find` just found: the next `find` finds it again. */
  putBack(): void {
    if (this.#lent) this.#again = true
    else this.#at = this.#foundAt
  }

  giveBack(): void {
    if (this.#lent && !this.#again) this.#dropCarry()
    // Chunks are read in order, so if any is unread, the last one is.
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
    if (this.#again) {
      this.#again = false
      return this.#findCarried(limit)
    }
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
      if (this.#carried > 0) {
        if (!this.#take(chunk.subarray(this.#at, end), limit)) return 'too-large'
        this.#at = end + 1
        this.#lent = true
        return this.#findCarried(limit)
      }
      this.#foundAt = this.#at
      this.#at = end + 1
      return this.#findWithin(chunk, this.#foundAt, end, limit)
    }
  }

  #findCarried(limit: number): 'found' | 'too-large' {
    return this.#findWithin(this.#carry!, 0, this.#carried, limit)
  }

  /** Finds the packet from `start` to `end`, but for a CR at its end. */
  #findWithin(bytes: Uint8Array, start: number, end: number, limit: number): 'found' | 'too-large' {
    const { found } = this
    found.set(bytes, start, end)
    if (end > start && bytes[end - 1] === CR) found.end--
    return found.end - found.start > limit ? 'too-large' : 'found'
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

  /**
   * Adds to the unfinished line. Returns false if the line is over the limit; one byte over is allowed if it is a CR.
   */
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
    this.#again = false
  }
}

/** Packets carried by WebSocket messages: one message is one packet, and an LF in it is a malformed field. */
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
