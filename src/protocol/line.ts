/**
 * Cuts bytes into packets, one at a time, on demand: `push` what arrived, then call `next` until it
 * has none. A line is bounded before it is complete, and every byte handed in is overwritten once
 * it was read, so no payload outlives its packet here. Knows nothing of what a packet means.
 */

const LF = 0x0a
const CR = 0x0d

/** A copy that can be overwritten for good: V8 keeps short arrays in its own heap, moves them, and leaves what they were. */
export function copyBytes(bytes: Uint8Array): Uint8Array {
  const copy = new Uint8Array(new ArrayBuffer(bytes.length))
  copy.set(bytes)
  return copy
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
  /**
   * The next packet without its line end, a view that is good until the following call;
   * `too-large` if it holds more than `limit` bytes (the source is of no use afterwards);
   * undefined if none is complete.
   */
  next(limit: number): Uint8Array | 'too-large' | undefined
  /** Bytes held that no packet was made of yet. */
  readonly held: number
  /** Overwrites and forgets everything held. */
  clear(): void
}

/** Packets ended by LF, as TCP and unix sockets carry them; one CR before the LF is ignored. */
export class LineDecoder implements PacketSource {
  #chunks: Uint8Array[] = []
  /** Where the unread part of the first chunk begins. */
  #at = 0
  /** A line begun in chunks that are gone; `#carried` bytes of it are known. */
  #carry: Uint8Array | undefined
  #carried = 0
  /** Set while the last returned packet is a view of the carry buffer. */
  #lent = false

  get held(): number {
    let held = this.#carried - this.#at
    for (const chunk of this.#chunks) held += chunk.length
    return held
  }

  push(chunk: Uint8Array): void {
    if (chunk.length > 0) this.#chunks.push(chunk)
  }

  giveBack(): void {
    if (this.#lent) this.#dropCarry()
    // Chunks are read in order: if any is left, the last one is.
    const chunk = this.#chunks.pop()
    if (chunk === undefined) return
    const isFirst = this.#chunks.length === 0
    const rest = copyBytes(isFirst ? chunk.subarray(this.#at) : chunk)
    if (isFirst) this.#at = 0
    chunk.fill(0)
    this.push(rest)
  }

  next(limit: number): Uint8Array | 'too-large' | undefined {
    if (this.#lent) this.#dropCarry()
    for (;;) {
      const chunk = this.#chunks[0]
      if (chunk === undefined) return undefined
      if (this.#at === chunk.length) {
        chunk.fill(0)
        this.#chunks.shift()
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
      let line = chunk.subarray(this.#at, end)
      if (this.#carried > 0) {
        if (!this.#take(line, limit)) return 'too-large'
        line = this.#carry!.subarray(0, this.#carried)
        this.#lent = true
      }
      this.#at = end + 1
      if (line[line.length - 1] === CR) line = line.subarray(0, -1)
      return line.length > limit ? 'too-large' : line
    }
  }

  clear(): void {
    for (const chunk of this.#chunks) chunk.fill(0)
    this.#chunks = []
    this.#at = 0
    this.#dropCarry()
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
    this.#lent?.fill(0)
    const message = this.#messages.shift()
    this.#lent = message
    if (message === undefined) return undefined
    return message.length > limit ? 'too-large' : message
  }

  clear(): void {
    this.#lent?.fill(0)
    this.#lent = undefined
    for (const message of this.#messages) message.fill(0)
    this.#messages = []
  }
}
