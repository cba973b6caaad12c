/**
 * Gathers outgoing packets, so that all answers of one turn of the event loop leave in one write. The buffers come from
 * a stock that all connections share, since large buffers are slow to allocate in Node 24 and later
 * (nodejs/node#60423). They go back overwritten, so that no sent byte stays in memory.
 */

const SEMICOLON = 0x3b
const LF = 0x0a

/**
 * How the receiver tells packets apart. `line`: each packet ends with an LF. `message`: each packet is a WebSocket
 * frame (RFC 6455, section 5.2: final, text, not masked, with a length of 7, 16 or 64 bits).
 */
export type Framing = 'line' | 'message'
/** The longest frame head. */
const FRAME_BYTES = 10
const FRAME = 0x81
const LENGTH_2 = 126
const LENGTH_8 = 127

/** A packet's number and a message id, each with its semicolon. */
const ID_BYTES = 20
/** A packet's number with its semicolon. */
const NUMBER_BYTES = 3

/**
 * Sizes of buffers: for the answers of a turn; for a stranger's, of which the longest is a CHALLENGE to an RSA-8192 key
 * (2.5 KB); for messages, {@link OUTPUT_BYTES} and one packet.
 */
const SIZES = [1_024, 4_096, 96 * 1_024] as const
/** Unused buffers of each size that a stock keeps. */
const KEPT = 32
/** Bytes of all unused buffers. */
export const STOCK_BYTES = KEPT * SIZES.reduce((sum, size) => sum + size, 0)

/**
 * A session that has gathered this much output stops reading and delivering. A slow reader can therefore make the relay
 * hold this much gathered and this much in flight, and one more message each.
 */
export const OUTPUT_BYTES = 48 * 1_024
/** The same for a peer that has proved no key. It also gets nothing gathered while a write waits. */
export const STRANGER_OUTPUT_BYTES = 1_024

const HEX = new Uint8Array(512)
for (let byte = 0; byte < 256; byte++) HEX.set(Buffer.from(byte.toString(16).padStart(2, '0')), byte * 2)

/** The output buffers of a relay. */
export class Stock {
  /** Unused buffers, by size. */
  readonly #unused: readonly Buffer[][] = SIZES.map(() => [])

  /** Returns a buffer of at least `bytes` bytes, with any content. */
  take(bytes: number): Buffer {
    for (let n = 0; n < SIZES.length; n++) {
      const size = SIZES[n]!
      if (bytes <= size) return this.#unused[n]!.pop() ?? Buffer.allocUnsafeSlow(size)
    }
    return Buffer.allocUnsafeSlow(bytes)
  }

  /** Takes a buffer back: overwrites its first `used` bytes, and keeps it for later if it has a standard size. */
  give(buffer: Buffer, used: number): void {
    buffer.fill(0, 0, used)
    const kept = this.#unused[SIZES.indexOf(buffer.length as (typeof SIZES)[number])]
    if (kept !== undefined && kept.length < KEPT) kept.push(buffer)
  }
}

export class Output {
  readonly #stock: Stock
  readonly #framing: Framing
  #buffer: Buffer | undefined
  #length = 0
  #inFlight: Buffer | undefined
  #inFlightBytes = 0

  constructor(stock: Stock, framing: Framing) {
    this.#stock = stock
    this.#framing = framing
  }

  /** Bytes gathered and not yet taken. */
  get length(): number {
    return this.#length
  }

  /** Bytes of the buffers that it has taken from the stock. */
  get held(): number {
    return (this.#buffer?.length ?? 0) + (this.#inFlight?.length ?? 0)
  }

  /** Whether so much is gathered that nothing more should be. */
  get isFull(): boolean {
    return this.#length >= OUTPUT_BYTES
  }

  /** Appends a packet, given as its ASCII fields joined by semicolons. */
  packet(fields: string): void {
    const room = this.#begin(fields.length)
    let at = this.#length
    for (let i = 0; i < fields.length; i++) room[at++] = fields.charCodeAt(i)
    this.#end(room, at)
  }

  /** Appends a packet of a two-digit number, a message id and a last field of ASCII text. */
  packetWithId(no: number, idHigh: number, idLow: number, last: string): void {
    const room = this.#begin(ID_BYTES + last.length)
    const at = writeNumberAndId(room, this.#length, no, idHigh, idLow)
    for (let i = 0; i < last.length; i++) room[at + i] = last.charCodeAt(i)
    this.#end(room, at + last.length)
  }

  /**
   * Does the same with `bytes` from `start` to `end` as the last field. They become neither a string nor a view.
   *
   * @param label a field before the id, unless it is empty
   */
  packetWithBytes(no: number, label: string, idHigh: number, idLow: number, bytes: Buffer, start: number, end: number): void {
    const before = label === '' ? 0 : label.length + 1
    const room = this.#begin(ID_BYTES + before + end - start)
    const at = writeNumberAndId(room, this.#length, no, idHigh, idLow, label)
    bytes.copy(room, at, start, end)
    this.#end(room, at + end - start)
  }

  /** Appends a packet of a two-digit number, and of `bytes` as its only field; undefined leaves the field out. */
  packetOfBytes(no: number, bytes: Buffer | undefined): void {
    if (bytes === undefined) return this.packet(`${no}`)
    const room = this.#begin(NUMBER_BYTES + bytes.length)
    const at = writeNumber(room, this.#length, no)
    bytes.copy(room, at)
    this.#end(room, at + bytes.length)
  }

  /** Returns everything gathered, for one write. `written` must follow when the system has taken it. */
  take(): Uint8Array {
    this.#inFlight = this.#buffer
    this.#inFlightBytes = this.#length
    this.#buffer = undefined
    this.#length = 0
    return this.#inFlight!.subarray(0, this.#inFlightBytes)
  }

  /** Overwrites the bytes of the last `take`: the system has taken them. */
  written(): void {
    if (this.#inFlight !== undefined) this.#stock.give(this.#inFlight, this.#inFlightBytes)
    this.#inFlight = undefined
  }

  /** Overwrites and forgets everything. */
  clear(): void {
    this.written()
    if (this.#buffer !== undefined) this.#stock.give(this.#buffer, this.#length)
    this.#buffer = undefined
    this.#length = 0
  }

  /** Makes room for a packet of `length` bytes, and writes the frame head if there is one. */
  #begin(length: number): Buffer {
    const room = this.#reserve(length + FRAME_BYTES)
    if (this.#framing === 'message') this.#length = writeHead(room, this.#length, length)
    return room
  }

  #end(room: Buffer, at: number): void {
    if (this.#framing === 'line') room[at++] = LF
    this.#length = at
  }

  #reserve(bytes: number): Buffer {
    const need = this.#length + bytes
    const buffer = this.#buffer
    if (buffer !== undefined && buffer.length >= need) return buffer
    const grown = this.#stock.take(need)
    if (buffer !== undefined) {
      grown.set(buffer.subarray(0, this.#length))
      this.#stock.give(buffer, this.#length)
    }
    this.#buffer = grown
    return grown
  }
}

/** Writes a number of two digits. */
function writeNumber(room: Buffer, at: number, no: number): number {
  room[at++] = 0x30 + Math.floor(no / 10)
  room[at++] = 0x30 + (no % 10)
  room[at++] = SEMICOLON
  return at
}

function writeNumberAndId(room: Buffer, at: number, no: number, idHigh: number, idLow: number, label = ''): number {
  at = writeNumber(room, at, no)
  if (label !== '') {
    for (let i = 0; i < label.length; i++) room[at++] = label.charCodeAt(i)
    room[at++] = SEMICOLON
  }
  at = writeHex(room, at, idHigh)
  at = writeHex(room, at, idLow)
  room[at++] = SEMICOLON
  return at
}

function writeHex(room: Buffer, at: number, word: number): number {
  for (let shift = 24; shift >= 0; shift -= 8) {
    const pair = ((word >>> shift) & 0xff) * 2
    room[at++] = HEX[pair]!
    room[at++] = HEX[pair + 1]!
  }
  return at
}

function writeHead(room: Buffer, at: number, length: number): number {
  room[at++] = FRAME
  if (length < LENGTH_2) {
    room[at++] = length
  } else if (length < 65_536) {
    room[at++] = LENGTH_2
    room[at++] = length >>> 8
    room[at++] = length & 0xff
  } else {
    room[at++] = LENGTH_8
    at = room.writeUInt32BE(0, at)
    at = room.writeUInt32BE(length, at)
  }
  return at
}
