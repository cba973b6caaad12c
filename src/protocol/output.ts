/**
 * Packets on their way out, gathered so that the answers of one turn leave in one write. Its buffers
 * come from a stock that all connections share, and go back overwritten: large buffers are slow to
 * allocate in Node 24 and later (nodejs/node#60423), and nothing that was sent is left in them.
 */

const SEMICOLON = 0x3b
const LF = 0x0a

/**
 * How packets are told apart: by an LF behind each (a byte stream), or by the head of a frame before it (WebSocket; RFC
 * 6455, section 5.2: whole, text, not masked, a length of 7, 16 or 64 bits).
 */
export type Framing = 'line' | 'message'
/** The longest of either. */
const FRAME_BYTES = 10
const FRAME = 0x81
const LENGTH_2 = 126
const LENGTH_8 = 127

/** A packet's number, a message id, and a semicolon behind each. */
const ID_BYTES = 20

/** A turn's answers, and a turn's messages: what a session gathers at most, and one packet. */
const SMALL_BYTES = 1_024
const LARGE_BYTES = 96 * 1_024
/** Large buffers kept while nobody needs them. */
const KEPT = 32

const HEX = new Uint8Array(512)
for (let byte = 0; byte < 256; byte++) HEX.set(Buffer.from(byte.toString(16).padStart(2, '0')), byte * 2)

/** The buffers of a relay's outputs. */
export class Stock {
  readonly #small: Buffer[] = []
  readonly #large: Buffer[] = []

  /** A buffer of at least so many bytes, whose content is no matter. */
  take(bytes: number): Buffer {
    if (bytes <= SMALL_BYTES) return this.#small.pop() ?? Buffer.allocUnsafeSlow(SMALL_BYTES)
    if (bytes <= LARGE_BYTES) return this.#large.pop() ?? Buffer.allocUnsafeSlow(LARGE_BYTES)
    return Buffer.allocUnsafeSlow(bytes)
  }

  /** Overwrites the first `used` bytes and keeps the buffer for the next. */
  give(buffer: Buffer, used: number): void {
    buffer.fill(0, 0, used)
    const kept = buffer.length === SMALL_BYTES ? this.#small : buffer.length === LARGE_BYTES ? this.#large : undefined
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

  /** Appends a packet of ASCII fields. */
  packet(fields: string): void {
    const room = this.#begin(fields.length)
    let at = this.#length
    for (let i = 0; i < fields.length; i++) room[at++] = fields.charCodeAt(i)
    this.#end(room, at)
  }

  /** Appends a packet with a message id after its number, and a last field of ASCII text. */
  packetWithId(no: number, idHigh: number, idLow: number, last: string): void {
    const room = this.#begin(ID_BYTES + last.length)
    const at = writeNumberAndId(room, this.#length, no, idHigh, idLow)
    for (let i = 0; i < last.length; i++) room[at + i] = last.charCodeAt(i)
    this.#end(room, at + last.length)
  }

  /** The same, with the bytes from `start` to `end`, which never become a string, nor a view. */
  packetWithBytes(no: number, idHigh: number, idLow: number, bytes: Buffer, start: number, end: number): void {
    const room = this.#begin(ID_BYTES + end - start)
    const at = writeNumberAndId(room, this.#length, no, idHigh, idLow)
    bytes.copy(room, at, start, end)
    this.#end(room, at + end - start)
  }

  /** All that was gathered, to be written; `written` says when it was. */
  take(): Uint8Array {
    this.#inFlight = this.#buffer
    this.#inFlightBytes = this.#length
    this.#buffer = undefined
    this.#length = 0
    return this.#inFlight!.subarray(0, this.#inFlightBytes)
  }

  /** What was taken last is not needed any more: it is overwritten. */
  written(): void {
    if (this.#inFlight !== undefined) this.#stock.give(this.#inFlight, this.#inFlightBytes)
    this.#inFlight = undefined
  }

  /** Overwrites and forgets all. */
  clear(): void {
    this.written()
    if (this.#buffer !== undefined) this.#stock.give(this.#buffer, this.#length)
    this.#buffer = undefined
    this.#length = 0
  }

  /** Makes room for a packet of so many bytes, and says what comes before it. */
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

function writeNumberAndId(room: Buffer, at: number, no: number, idHigh: number, idLow: number): number {
  // Both packets of this form have two digits.
  room[at++] = 0x30 + Math.floor(no / 10)
  room[at++] = 0x30 + (no % 10)
  room[at++] = SEMICOLON
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
