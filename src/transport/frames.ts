/**
 * Turns the frames of a WebSocket's client (RFC 6455, section 5) into lines: each message, in however many frames and
 * chunks it comes, followed by an LF. Works in place, and strictly. Between two chunks the reader keeps the state of one
 * frame and the payload of an unfinished control frame, nothing else. It does not look at the content of messages.
 */

/** RFC 6455, section 5.2. */
const FIN = 0x80
const RESERVED = 0x70
const CONTROL = 0x08
const MASKED = 0x80
const CONTINUATION = 0x0
const TEXT = 0x1
const BINARY = 0x2
const CLOSE = 0x8
const PING = 0x9
const PONG = 0xa
/** These lengths announce the real one, in the next two bytes or the next eight. */
const LENGTH_2 = 126
const LENGTH_8 = 127
const MASK_BYTES = 4
const LONGEST_CONTROL = 125

/** Close codes (RFC 6455, section 7.4.1). */
export const NORMAL = 1000
export const BREACH = 1002
export const TOO_BIG = 1009
type Refusal = typeof BREACH | typeof TOO_BIG
const CODE_BYTES = 2

const LF = 0x0a
const CR = 0x0d
/** `(word - LOW) & ~word` sets the highest bit of each byte below 0x0e; LF and CR are among those. */
const LOW = 0x0e0e0e0e
const HIGHEST = 0x80808080
/** Replaces an LF or CR inside a message. No field may contain it either, so the packet is refused. */
const NUL = 0

/** Receives the content of the frames. */
export interface FrameReceiver {
  /**
   * Receives lines and parts of lines; no bytes if only control frames came. The chunk is lent for the call, and the
   * receiver must overwrite it.
   */
  onLines(chunk: Uint8Array): void
  /** The payload is lent for the call. */
  onPing(payload: Uint8Array): void
  /** Receives the code of the peer's close frame, if it has one. The reader reads nothing after it. */
  onClose(code: number | undefined): void
  /** A frame broke the rules, or its head announces a message that is too long. The reader reads nothing after it. */
  onRefused(code: Refusal): void
}

export class FrameReader {
  readonly #longest: number
  readonly #receiver: FrameReceiver
  #opcode = 0
  #fin = false
  /** How many bytes of the head were read, and the head's length as far as they tell. */
  #headRead = 0
  #headLength = 2
  /** How many bytes of the payload are still to come. */
  #left = 0
  /** The mask as a word; its lowest byte unmasks the next byte. */
  #mask = 0
  /** Whether a message has begun, and the sum of its frames' lengths so far. */
  #inMessage = false
  #message = 0
  /** The payload of the control frame that is being read, in `#room`. */
  #control: Uint8Array | undefined
  /** Allocated when needed, and used again: a read can have twenty thousand control frames. */
  #room: Uint8Array | undefined
  #over = false

  /** @param longest the most bytes of a message */
  constructor(longest: number, receiver: FrameReceiver) {
    this.#longest = longest
    this.#receiver = receiver
  }

  /**
   * Reads a chunk. The chunk is lent: it is overwritten when the call returns.
   *
   * @returns how many frames completed no message: control frames, and parts of messages
   */
  read(chunk: Uint8Array): number {
    let idle = 0
    /** The lines fill the chunk up to here. They never overtake `at`, since a frame's head has at least six bytes. */
    let to = 0
    /** A message is complete; its LF is written once a byte of the next head has been read, which makes room. */
    let ended = false
    let refused: Refusal | undefined
    let closed: Uint8Array | undefined
    for (let at = 0; at < chunk.length && !this.#over;) {
      if (this.#headRead < this.#headLength) {
        const byte = chunk[at++]!
        if (ended) chunk[to++] = LF
        ended = false
        refused = this.#readHead(byte)
        if (refused !== undefined) this.#over = true
        if (this.#over || this.#headRead < this.#headLength) continue
      } else {
        const length = Math.min(this.#left, chunk.length - at)
        if (this.#control === undefined) {
          if (unmask(chunk, at, length, this.#mask, to)) blank(chunk.subarray(to, to + length))
          to += length
        } else {
          unmask(chunk, at, length, this.#mask, at)
          this.#control.set(chunk.subarray(at, at + length), this.#control.length - this.#left)
        }
        at += length
        this.#left -= length
        this.#turnMask(length)
      }
      if (this.#left > 0) continue
      // The frame is complete.
      this.#headRead = 0
      this.#headLength = 2
      const control = this.#control
      this.#control = undefined
      if (control === undefined) {
        if (!this.#fin) {
          idle++
          continue
        }
        this.#inMessage = false
        this.#message = 0
        ended = true
      } else if (this.#opcode === CLOSE) {
        this.#over = true
        closed = control
      } else {
        idle++
        if (this.#opcode === PING) this.#receiver.onPing(control)
        control.fill(0)
      }
    }
    this.#give(chunk, to, ended)
    if (closed !== undefined) this.#close(closed)
    if (refused !== undefined) this.#receiver.onRefused(refused)
    return idle
  }

  /** Overwrites the bytes that the reader holds. */
  clear(): void {
    this.#control?.fill(0)
    this.#control = undefined
    this.#over = true
  }

  #give(chunk: Uint8Array, to: number, ended: boolean): void {
    // A line that began in an earlier chunk and ends exactly with this one leaves no room for its LF.
    const isFull = ended && to === chunk.length
    if (ended && !isFull) chunk[to++] = LF
    chunk.fill(0, to)
    this.#receiver.onLines(chunk.subarray(0, to))
    if (isFull) this.#receiver.onLines(Uint8Array.of(LF))
  }

  #close(payload: Uint8Array): void {
    const code = payload.length < CODE_BYTES ? undefined : payload[0]! * 256 + payload[1]!
    payload.fill(0)
    if (code === undefined || mayClose(code)) this.#receiver.onClose(code)
    else this.#receiver.onRefused(BREACH)
  }

  /** Reads the head's next byte. */
  #readHead(byte: number): Refusal | undefined {
    const n = this.#headRead++
    if (n === 0) return this.#readFirst(byte)
    if (n === 1) return this.#readLength(byte)
    const maskAt = this.#headLength - MASK_BYTES
    if (n >= maskAt) {
      this.#mask |= byte << ((n - maskAt) * 8)
      return undefined
    }
    // The highest bit of a length of eight bytes must be clear.
    if (n === 2 && maskAt === 10 && byte > 0x7f) return BREACH
    this.#left = this.#left * 256 + byte
    if (n + 1 < maskAt) return undefined
    // A length must not use more bytes than it needs.
    return this.#left < (maskAt === 10 ? 65_536 : LENGTH_2) ? BREACH : this.#begin()
  }

  #readFirst(byte: number): typeof BREACH | undefined {
    const opcode = byte & 0x0f
    this.#opcode = opcode
    this.#fin = (byte & FIN) !== 0
    if ((byte & RESERVED) !== 0) return BREACH
    if ((opcode & CONTROL) !== 0) return this.#fin && (opcode === CLOSE || opcode === PING || opcode === PONG) ? undefined : BREACH
    if (opcode === CONTINUATION) return this.#inMessage ? undefined : BREACH
    return (opcode === TEXT || opcode === BINARY) && !this.#inMessage ? undefined : BREACH
  }

  #readLength(byte: number): Refusal | undefined {
    if ((byte & MASKED) === 0) return BREACH
    const short = byte & ~MASKED
    this.#mask = 0
    this.#headLength = 2 + (short === LENGTH_2 ? 2 : short === LENGTH_8 ? 8 : 0) + MASK_BYTES
    this.#left = short >= LENGTH_2 ? 0 : short
    if ((this.#opcode & CONTROL) === 0) return short >= LENGTH_2 ? undefined : this.#begin()
    // A close code has two bytes.
    if (short > LONGEST_CONTROL || (this.#opcode === CLOSE && short === 1)) return BREACH
    this.#control = (this.#room ??= allocate(LONGEST_CONTROL)).subarray(0, short)
    return undefined
  }

  /** Begins the payload of a message's frame, whose length the head has stated. */
  #begin(): typeof TOO_BIG | undefined {
    this.#inMessage = true
    this.#message += this.#left
    return this.#message > this.#longest ? TOO_BIG : undefined
  }

  /** Turns the mask on by the bytes that were read. */
  #turnMask(length: number): void {
    const bits = (length & 3) * 8
    if (bits > 0) this.#mask = (this.#mask >>> bits) | (this.#mask << (32 - bits))
  }
}

/** Allocates outside of V8's heap: V8 moves short arrays of its heap, and leaves copies that cannot be overwritten. */
function allocate(length: number): Uint8Array {
  return new Uint8Array(new ArrayBuffer(length))
}

/** A view of the last buffer, kept since all sockets are read into one buffer. */
let words: DataView = new DataView(new ArrayBuffer(0))

/** Unmasks bytes in place or further to the front. @returns whether any byte may be an LF or CR (is below 0x0e) */
function unmask(chunk: Uint8Array, from: number, length: number, mask: number, to: number): boolean {
  if (words.buffer !== chunk.buffer) words = new DataView(chunk.buffer)
  const view = words
  let low = 0
  let source = chunk.byteOffset + from
  let target = chunk.byteOffset + to
  const end = source + length
  // Four words at a time take two thirds of the time of one at a time.
  for (; source + 16 <= end; source += 16, target += 16) {
    const a = view.getInt32(source, true) ^ mask
    const b = view.getInt32(source + 4, true) ^ mask
    const c = view.getInt32(source + 8, true) ^ mask
    const d = view.getInt32(source + 12, true) ^ mask
    view.setInt32(target, a, true)
    view.setInt32(target + 4, b, true)
    view.setInt32(target + 8, c, true)
    view.setInt32(target + 12, d, true)
    low |= ((a - LOW) & ~a) | ((b - LOW) & ~b) | ((c - LOW) & ~c) | ((d - LOW) & ~d)
  }
  for (let shift = 0; source < end; source++, target++, shift += 8) {
    const byte = (view.getUint8(source) ^ (mask >>> (shift & 24))) & 0xff
    view.setUint8(target, byte)
    if (byte < 0x0e) low = HIGHEST
  }
  return (low & HIGHEST) !== 0
}

function blank(bytes: Uint8Array): void {
  for (let i = 0; i < bytes.length; i++) if (bytes[i] === LF || bytes[i] === CR) bytes[i] = NUL
}

/** Returns whether a close frame may hold the code (RFC 6455, section 7.4, and IANA's registry). */
function mayClose(code: number): boolean {
  return (code >= 1000 && code <= 1014 && code !== 1004 && code !== 1005 && code !== 1006) || (code >= 3000 && code <= 4999)
}

/** Encodes a close frame of the relay. */
export function encodeClose(code: number | undefined): Uint8Array {
  return code === undefined ? Uint8Array.of(FIN | CLOSE, 0) : Uint8Array.of(FIN | CLOSE, CODE_BYTES, code >>> 8, code & 0xff)
}

/** Bytes of the longest pong. */
const PONG_BYTES = 2 + LONGEST_CONTROL

/**
 * Encodes the answer to a ping. The caller may overwrite it.
 *
 * @param room an earlier answer that is not needed any more
 */
export function encodePong(payload: Uint8Array, room?: Uint8Array): Uint8Array {
  const whole = new Uint8Array(room?.buffer ?? new ArrayBuffer(PONG_BYTES)).fill(0)
  const frame = whole.subarray(0, 2 + payload.length)
  frame[0] = FIN | PONG
  frame[1] = payload.length
  frame.set(payload, 2)
  return frame
}
