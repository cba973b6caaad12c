/**
 * Cuts what a WebSocket sends at the ends of its frames (RFC 6455, section 5.2), so that the library is handed whole
 * frames alone: of half a frame it makes copies that nobody can overwrite. Knows nothing of what is in a frame.
 */

/** FIN, and the opcodes that are control frames, of a frame's first byte; the mask's bit and the length of its second. */
const FIN = 0x80
const CONTROL = 0x08
const MASKED = 0x80
const LENGTH = 0x7f
/** A longer length is in the next two bytes, or eight. */
const LENGTH_2 = 126
const LENGTH_8 = 127
const LONGEST_HEAD = 14
/** What the first piece of a frame takes at least. */
const SMALLEST_PENDING = 1_024
const NOTHING = new Uint8Array(0)

export class Frames {
  readonly #longest: number
  readonly #head = new Uint8Array(LONGEST_HEAD)
  #headLength = 0
  /** Bytes of the payload that are to come; undefined while the head is. */
  #left: number | undefined
  /** The beginning of a frame whose end did not come yet: so many bytes of the buffer, which grows with them. */
  #pending: Uint8Array = NOTHING
  #pendingLength = 0
  /** Payloads of the frames of one message, but of a message that is one frame. */
  #parts: Uint8Array[] = []
  #fragmented = false
  /** A frame that is too long for us: the library has to see it at once, and ends the connection. */
  #open = false

  /** @param longest bytes of a frame's payload */
  constructor(longest: number) {
    this.#longest = longest
  }

  /** @returns whole frames, where the chunk completes any. The chunk is ours; what is returned is the caller's. */
  push(chunk: Uint8Array): Uint8Array | undefined {
    if (this.#open) return chunk
    /** Up to where there are whole frames, and the payloads in there that are parts of a message. */
    let end = 0
    const parts: [from: number, to: number][] = []
    const before = this.#pendingLength
    for (let at = 0; at < chunk.length; ) {
      if (this.#left === undefined) {
        this.#head[this.#headLength++] = chunk[at++]!
        this.#left = this.#readHead()
        if (this.#left !== undefined && this.#left > this.#longest) this.#open = true
      }
      if (this.#open) return this.#join(chunk, chunk.length)
      if (this.#left === undefined) continue
      const step = Math.min(this.#left, chunk.length - at)
      at += step
      this.#left -= step
      if (this.#left > 0) continue
      if (this.#isPart()) parts.push([before + at - this.#payloadLength(), before + at])
      end = at
      this.#left = undefined
      this.#headLength = 0
    }
    const whole = end === 0 ? undefined : this.#join(chunk, end)
    if (end < chunk.length) this.#hold(chunk.subarray(end))
    if (whole === undefined) return undefined
    for (const [from, to] of parts) this.#parts.push(whole.subarray(from, to))
    return whole
  }

  /** Overwrites the parts that messages were put together from. Called once the library had what `push` gave. */
  clear(): void {
    if (this.#fragmented) return
    for (const part of this.#parts) part.fill(0)
    this.#parts = []
  }

  /** Overwrites everything that is held. */
  end(): void {
    for (const bytes of [this.#pending, ...this.#parts]) bytes.fill(0)
    this.#pending = NOTHING
    this.#pendingLength = 0
    this.#parts = []
  }

  #join(chunk: Uint8Array, end: number): Uint8Array {
    if (this.#pendingLength === 0) return chunk.subarray(0, end)
    this.#hold(chunk.subarray(0, end))
    const whole = this.#pending.subarray(0, this.#pendingLength)
    this.#pending = NOTHING
    this.#pendingLength = 0
    return whole
  }

  /** Moves the bytes to those that wait; at most twice as much is taken as came. */
  #hold(bytes: Uint8Array): void {
    const length = this.#pendingLength + bytes.length
    if (length > this.#pending.length) {
      // Not of a pool, which would keep it.
      const larger = Buffer.allocUnsafeSlow(Math.max(SMALLEST_PENDING, 2 * this.#pending.length, length))
      larger.set(this.#pending.subarray(0, this.#pendingLength))
      this.#pending.fill(0)
      this.#pending = larger
    }
    this.#pending.set(bytes, this.#pendingLength)
    this.#pendingLength = length
    bytes.fill(0)
  }

  /** The length of the payload, once the whole head is there. */
  #readHead(): number | undefined {
    if (this.#headLength < 2) return undefined
    const short = this.#head[1]! & LENGTH
    const extended = short === LENGTH_2 ? 2 : short === LENGTH_8 ? 8 : 0
    const mask = (this.#head[1]! & MASKED) === 0 ? 0 : 4
    return this.#headLength < 2 + extended + mask ? undefined : this.#payloadLength()
  }

  #payloadLength(): number {
    const view = new DataView(this.#head.buffer)
    const short = this.#head[1]! & LENGTH
    if (short === LENGTH_2) return view.getUint16(2)
    return short === LENGTH_8 ? Number(view.getBigUint64(2)) : short
  }

  /** Of the frame that is complete: whether its message has others. */
  #isPart(): boolean {
    const first = this.#head[0]!
    if ((first & CONTROL) !== 0) return false
    const was = this.#fragmented
    this.#fragmented = (first & FIN) === 0
    return was || this.#fragmented
  }
}
