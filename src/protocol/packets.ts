/**
 * The packets of docs/protocol.md, section 2, as a table, and their parser. Fields stay in place in the line: the
 * parser decodes nothing, copies nothing and makes no text.
 */
import { type ErrorCode, ERRORS, type NoticeCode, ProtocolError } from './errors.ts'
import { Found } from './line.ts'

export interface PacketRow {
  readonly no: number
  readonly from: 'client' | 'relay'
  /** Bounds for the count of fields after the number; `max` is Infinity if the last field repeats. */
  readonly min: number
  readonly max: number
}

export const PACKETS = {
  AUTH: { no: 0, from: 'client', min: 1, max: 2 },
  CHALLENGE: { no: 1, from: 'relay', min: 2, max: 2 },
  VERIFY: { no: 2, from: 'client', min: 2, max: 3 },
  CLAIM: { no: 34, from: 'client', min: 1, max: 2 },
  TOKEN: { no: 12, from: 'relay', min: 2, max: 2 },
  SEND: { no: 3, from: 'client', min: 3, max: 3 },
  SENT: { no: 13, from: 'relay', min: 2, max: 2 },
  GET: { no: 4, from: 'client', min: 1, max: 2 },
  MESSAGES: { no: 14, from: 'relay', min: 2, max: 2 },
  MESSAGE: { no: 20, from: 'relay', min: 2, max: 2 },
  DELIVERY: { no: 21, from: 'relay', min: 3, max: 3 },
  ACK: { no: 5, from: 'client', min: 2, max: Infinity },
  ACKED: { no: 15, from: 'relay', min: 1, max: 1 },
  SUBSCRIBE: { no: 6, from: 'client', min: 1, max: 1 },
  SUBSCRIBED: { no: 16, from: 'relay', min: 1, max: 1 },
  PING: { no: 7, from: 'client', min: 0, max: 0 },
  PONG: { no: 17, from: 'relay', min: 0, max: 0 },
  HELLO: { no: 8, from: 'client', min: 1, max: 2 },
  WELCOME: { no: 18, from: 'relay', min: 1, max: Infinity },
  WIPE: { no: 9, from: 'client', min: 1, max: 1 },
  WIPED: { no: 19, from: 'relay', min: 1, max: 1 },
  PUBLISH: { no: 30, from: 'client', min: 1, max: 2 },
  PUBLISHED: { no: 31, from: 'relay', min: 1, max: 1 },
  FETCH: { no: 32, from: 'client', min: 2, max: 2 },
  BUNDLE: { no: 33, from: 'relay', min: 0, max: 1 },
  NOTICE: { no: 98, from: 'relay', min: 1, max: Infinity },
  ERROR: { no: 99, from: 'relay', min: 2, max: Infinity },
} as const satisfies Record<string, PacketRow>

export type PacketName = keyof typeof PACKETS
type NamesFrom<From> = { [K in PacketName]: (typeof PACKETS)[K]['from'] extends From ? K : never }[PacketName]
export type RequestName = NamesFrom<'client'>
export type AnswerName = NamesFrom<'relay'>

/** A packet cut into its fields, which are views of the line. */
export interface Packet<Name extends PacketName = PacketName> {
  readonly name: Name
  readonly fields: readonly Uint8Array[]
}

const SEPARATOR = 0x3b
const FOUR_SEPARATORS = 0x3b3b3b3b
const ZERO = 0x30
const BASE64_EQUALS = 0x3d

function byNumber<Name extends PacketName>(from: 'client' | 'relay'): readonly (Name | undefined)[] {
  const rows: (Name | undefined)[] = []
  for (const [name, row] of Object.entries(PACKETS)) if (row.from === from) rows[row.no] = name as Name
  return rows
}

const REQUESTS = byNumber<RequestName>('client')
const ANSWERS = byNumber<AnswerName>('relay')

/**
 * Cuts a relay's packet into fields, for a client.
 *
 * @throws {ProtocolError} `wrong-usage`, `unknown-packet`
 */
export function decodeAnswer(line: Uint8Array): Packet<AnswerName> {
  const found = new Found()
  found.set(line, 0, line.length)
  const answer = new Fields(ANSWERS)
  answer.read(found)
  return { name: answer.name, fields: Array.from({ length: answer.count }, (_, n) => answer.field(n)) }
}

/** Creates a parser of requests, for a relay. */
export function createRequest(): Fields<RequestName> {
  return new Fields(REQUESTS)
}

/**
 * A parsed packet: its name and the places of its fields. One object parses packet after packet, and makes a field an
 * object only on demand.
 */
export class Fields<Name extends PacketName> {
  readonly #names: readonly (Name | undefined)[]
  #found = new Found()
  #name: Name | undefined
  /** The start of each field, and behind the last one the start that another would have. */
  #starts = new Uint32Array(8)
  #count = 0

  constructor(names: readonly (Name | undefined)[]) {
    this.#names = names
  }

  /**
   * Parses the packet at a place, and forgets the one before.
   *
   * @throws {ProtocolError} `wrong-usage`, `unknown-packet`
   */
  read(found: Found): void {
    const { bytes, start, end } = found
    this.#found = found
    this.#count = 0
    let at = this.#separator(start, end)
    const name = this.#names[packetNumber(bytes, start, at)]
    if (name === undefined) throw new ProtocolError('unknown-packet')
    this.#name = name
    const { min, max } = PACKETS[name]
    while (at < end) {
      if (this.#count === max) throw new ProtocolError('wrong-usage')
      this.#begin(++at)
      // A payload is long, so it is not searched for a separator: the check of its alphabet refuses one.
      at = name === 'SEND' && this.#count === max ? end : this.#separator(at, end)
    }
    if (this.#count < min) throw new ProtocolError('wrong-usage')
    this.#begin(end + 1)
    this.#count--
  }

  /**
   * Finds the next separator, or `end`. Tests four bytes at a time: a byte of `x` is zero if that byte is a separator.
   */
  #separator(at: number, end: number): number {
    const { bytes, words } = this.#found
    for (; at + 4 <= end; at += 4) {
      const x = words.getInt32(at, true) ^ FOUR_SEPARATORS
      if (((x - 0x01010101) & ~x & 0x80808080) !== 0) break
    }
    while (at < end && bytes[at] !== SEPARATOR) at++
    return at
  }

  #begin(at: number): void {
    if (this.#count === this.#starts.length) {
      const more = new Uint32Array(this.#count * 2)
      more.set(this.#starts)
      this.#starts = more
    }
    this.#starts[this.#count++] = at
  }

  get name(): Name {
    return this.#name!
  }

  /** The count of fields after the number. */
  get count(): number {
    return this.#count
  }

  /** Returns the length of a field in bytes. */
  length(n: number): number {
    return this.#starts[n + 1]! - 1 - this.#starts[n]!
  }

  /** Returns a view of a field, good until the decoder looks for the next packet. */
  field(n: number): Uint8Array {
    return this.#found.view(this.#starts[n]!, this.#starts[n + 1]! - 1)
  }

  /** Compares a field with known bytes. */
  isSame(n: number, known: DataView): boolean {
    const length = this.length(n)
    if (length !== known.byteLength) return false
    const { words } = this.#found
    const start = this.#starts[n]!
    let at = 0
    for (; at + 4 <= length; at += 4) if (words.getInt32(start + at, true) !== known.getInt32(at, true)) return false
    for (; at < length; at++) if (words.getUint8(start + at) !== known.getUint8(at)) return false
    return true
  }

  /** Checks a field as {@link isBase64} does. */
  isBase64(n: number): boolean {
    return isBase64Within(this.#found.words, this.#starts[n]!, this.length(n))
  }

  /** Reads eight lower-case hexadecimal digits of a field, from its byte `skip` on. Returns NaN for anything else. */
  hex(n: number, skip: number): number {
    const own = this.#found.bytes
    const start = this.#starts[n]! + skip
    let number = 0
    for (let i = start; i < start + 8; i++) {
      const byte = own[i]!
      if (byte >= 0x30 && byte <= 0x39) number = number * 16 + byte - 0x30
      else if (byte >= 0x61 && byte <= 0x66) number = number * 16 + byte - 0x57
      else return NaN
    }
    return number
  }
}

/** Parses the decimal number from `start` to `end`. A number over 1,000 counts as 1,000, which no packet has. */
function packetNumber(line: Uint8Array, start: number, end: number): number {
  if (start === end || (end > start + 1 && line[start] === ZERO)) throw new ProtocolError('wrong-usage')
  let number = 0
  for (let i = start; i < end; i++) {
    const digit = line[i]! - ZERO
    if (digit < 0 || digit > 9) throw new ProtocolError('wrong-usage')
    number = Math.min(number * 10 + digit, 1_000)
  }
  return number
}

// 0 for the 64 characters of RFC 4648, section 4, and 1 for every other byte. A second table looks up two bytes at
// once, in two thirds of the time: this check is most of the cost of a SEND.
const NOT_BASE64 = new Uint8Array(256).fill(1)
for (const character of 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/') {
  NOT_BASE64[character.charCodeAt(0)] = 0
}
const NOT_BASE64_PAIR = new Uint8Array(65_536).fill(1)
for (const [first, wrong] of NOT_BASE64.entries()) if (wrong === 0) NOT_BASE64_PAIR.set(NOT_BASE64, first << 8)

/** Checks for padded base64 of at least one byte: alphabet, padding and length, without decoding. */
export function isBase64(field: Uint8Array): boolean {
  return isBase64Within(new DataView(field.buffer, field.byteOffset, field.length), 0, field.length)
}

function isBase64Within(words: DataView, start: number, length: number): boolean {
  if (length === 0 || length % 4 !== 0) return false
  let wrong = 0
  let end = start + length
  const last = end - 4
  for (let i = start; i < last; i += 4) {
    const word = words.getUint32(i, true)
    wrong |= NOT_BASE64_PAIR[word >>> 16]! | NOT_BASE64_PAIR[word & 0xffff]!
  }
  if (words.getUint8(end - 1) === BASE64_EQUALS) end--
  if (words.getUint8(end - 1) === BASE64_EQUALS) end--
  for (let i = last; i < end; i++) wrong |= NOT_BASE64[words.getUint8(i)]!
  return wrong === 0
}

/** Compares a field with a word in ASCII. */
export function isWord(field: Uint8Array, word: string): boolean {
  if (field.length !== word.length) return false
  for (let i = 0; i < word.length; i++) if (field[i] !== word.charCodeAt(i)) return false
  return true
}

/** Decodes a short field. Returns undefined if it contains anything but printable ASCII. */
export function asciiText(field: Uint8Array): string | undefined {
  let text = ''
  for (const byte of field) {
    if (byte < 0x20 || byte > 0x7e) return undefined
    text += String.fromCharCode(byte)
  }
  return text
}

/** Writes an ERROR's fields, the number included. */
export function encodeError(code: ErrorCode, detail?: number): string {
  return `${PACKETS.ERROR.no};${code};${ERRORS[code].text}${detail === undefined ? '' : `;${detail}`}`
}

/** Writes a NOTICE's fields, the number included. */
export function encodeNotice(code: NoticeCode, detail?: number | string): string {
  return `${PACKETS.NOTICE.no};${code}${detail === undefined ? '' : `;${detail}`}`
}
