/**
 * The packets of docs/protocol.md, section 2, as a table, and the reading of them. Fields stay where
 * they are in the line; nothing is decoded, copied or turned into text here.
 */
import { ProtocolError } from './errors.ts'
import { Found } from './line.ts'

export interface PacketRow {
  readonly no: number
  readonly from: 'client' | 'relay'
  /** Fields after the number; `max` Infinity where they repeat. */
  readonly min: number
  readonly max: number
}

export const PACKETS = {
  AUTH: { no: 0, from: 'client', min: 1, max: 2 },
  CHALLENGE: { no: 1, from: 'relay', min: 2, max: 2 },
  VERIFY: { no: 2, from: 'client', min: 2, max: 2 },
  TOKEN: { no: 12, from: 'relay', min: 2, max: 2 },
  SEND: { no: 3, from: 'client', min: 3, max: 3 },
  SENT: { no: 13, from: 'relay', min: 2, max: 2 },
  GET: { no: 4, from: 'client', min: 1, max: 2 },
  MESSAGES: { no: 14, from: 'relay', min: 2, max: 2 },
  MESSAGE: { no: 20, from: 'relay', min: 2, max: 2 },
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
  NOTICE: { no: 98, from: 'relay', min: 1, max: Infinity },
  ERROR: { no: 99, from: 'relay', min: 2, max: Infinity },
} as const satisfies Record<string, PacketRow>

export type PacketName = keyof typeof PACKETS
type NamesFrom<From> = { [K in PacketName]: (typeof PACKETS)[K]['from'] extends From ? K : never }[PacketName]
export type RequestName = NamesFrom<'client'>
export type AnswerName = NamesFrom<'relay'>

/** A packet cut into its fields, each a view of the line. */
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

/** The client's reading of what a relay sent. @throws ProtocolError `wrong-usage` or `unknown-packet` */
export function decodeAnswer(line: Uint8Array): Packet<AnswerName> {
  const found = new Found()
  found.set(line, 0, line.length)
  const answer = new Fields(ANSWERS)
  answer.read(found)
  return { name: answer.name, fields: Array.from({ length: answer.count }, (_, n) => answer.field(n)) }
}

/** Reads requests, one after the other. */
export function createRequest(): Fields<RequestName> {
  return new Fields(REQUESTS)
}

/** A packet's name and where its fields lie; none of them is an object before it is asked for. Read into again and again. */
export class Fields<Name extends PacketName> {
  readonly #names: readonly (Name | undefined)[]
  #found = new Found()
  #name: Name | undefined
  /** Where each field begins; behind the last one, where another would. */
  #starts = new Uint32Array(8)
  #count = 0

  constructor(names: readonly (Name | undefined)[]) {
    this.#names = names
  }

  /** @throws ProtocolError `wrong-usage` or `unknown-packet` */
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
      // The last field of a packet that cannot have more is not searched: a payload is long, and its
      // own check of the alphabet refuses a separator.
      at = name === 'SEND' && this.#count === max ? end : this.#separator(at, end)
    }
    if (this.#count < min) throw new ProtocolError('wrong-usage')
    this.#begin(end + 1)
    this.#count--
  }

  /** The next separator, or `end`. Four bytes at a time: a byte of `x` is zero where one of the word is a separator. */
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

  /** Fields after the number. */
  get count(): number {
    return this.#count
  }

  length(n: number): number {
    return this.#starts[n + 1]! - 1 - this.#starts[n]!
  }

  /** A view of the field, good until the next packet is looked for. */
  field(n: number): Uint8Array {
    return this.#found.view(this.#starts[n]!, this.#starts[n + 1]! - 1)
  }

  /** Whether the field's bytes are these. */
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

  isBase64(n: number): boolean {
    return isBase64Within(this.#found.words, this.#starts[n]!, this.length(n))
  }

  /** Eight lower-case hexadecimal digits of a field, from `skip` on, as a number; NaN for anything else. */
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

/** The decimal number from `start` to `end`. A number too long to be ours is one that nobody has. */
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

// 0 for the 64 characters of RFC 4648 section 4, 1 for every other byte; and the same for two bytes at once,
// which takes two thirds of the time: the alphabet is most of what a SEND costs.
const NOT_BASE64 = new Uint8Array(256).fill(1)
for (const character of 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/') {
  NOT_BASE64[character.charCodeAt(0)] = 0
}
const NOT_BASE64_PAIR = Uint8Array.from({ length: 65_536 }, (_, pair) => NOT_BASE64[pair >>> 8]! | NOT_BASE64[pair & 0xff]!)

/** Whether `field` is padded base64 of at least one byte: alphabet, padding and length, without decoding it. */
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

/** Whether `field` is the ASCII text `word`. */
export function isWord(field: Uint8Array, word: string): boolean {
  if (field.length !== word.length) return false
  for (let i = 0; i < word.length; i++) if (field[i] !== word.charCodeAt(i)) return false
  return true
}

/** The text of a short ASCII field; undefined if it holds anything but printable ASCII. */
export function asciiText(field: Uint8Array): string | undefined {
  let text = ''
  for (const byte of field) {
    if (byte < 0x20 || byte > 0x7e) return undefined
    text += String.fromCharCode(byte)
  }
  return text
}
