/**
 * The packets of docs/protocol.md, section 2, as a table, and the relay's reading of requests.
 * Fields stay views of the line; nothing is decoded, copied or turned into text here.
 */
import { ProtocolError } from './errors.ts'

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
const ZERO = 0x30
const BASE64_EQUALS = 0x3d

function byNumber<Name extends PacketName>(from: 'client' | 'relay'): readonly (Name | undefined)[] {
  const rows: (Name | undefined)[] = []
  for (const [name, row] of Object.entries(PACKETS)) if (row.from === from) rows[row.no] = name as Name
  return rows
}

const REQUESTS = byNumber<RequestName>('client')
const ANSWERS = byNumber<AnswerName>('relay')

/** @throws ProtocolError `wrong-usage` or `unknown-packet` */
export function decodeRequest(line: Uint8Array): Packet<RequestName> {
  return decodePacket(line, REQUESTS)
}

/** The client's reading of what a relay sent. @throws ProtocolError `wrong-usage` or `unknown-packet` */
export function decodeAnswer(line: Uint8Array): Packet<AnswerName> {
  return decodePacket(line, ANSWERS)
}

function decodePacket<Name extends PacketName>(line: Uint8Array, names: readonly (Name | undefined)[]): Packet<Name> {
  let end = line.indexOf(SEPARATOR)
  const name = names[packetNumber(line, end === -1 ? line.length : end)]
  if (name === undefined) throw new ProtocolError('unknown-packet')
  const { min, max } = PACKETS[name]
  const fields: Uint8Array[] = []
  while (end !== -1) {
    if (fields.length === max) throw new ProtocolError('wrong-usage')
    const start = end + 1
    // The last field of a packet that cannot have more is not searched: a payload is long, and its
    // own check of the alphabet refuses a separator.
    end = name === 'SEND' && fields.length === 2 ? -1 : line.indexOf(SEPARATOR, start)
    fields.push(line.subarray(start, end === -1 ? line.length : end))
  }
  if (fields.length < min) throw new ProtocolError('wrong-usage')
  return { name, fields }
}

/** The decimal number in the first `end` bytes. A number too long to be ours is one that nobody has. */
function packetNumber(line: Uint8Array, end: number): number {
  if (end === 0 || (end > 1 && line[0] === ZERO)) throw new ProtocolError('wrong-usage')
  let number = 0
  for (let i = 0; i < end; i++) {
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
  const { length } = field
  if (length === 0 || length % 4 !== 0) return false
  const view = new DataView(field.buffer, field.byteOffset, length)
  let wrong = 0
  const last = length - 4
  for (let i = 0; i < last; i += 4) {
    const word = view.getUint32(i)
    wrong |= NOT_BASE64_PAIR[word >>> 16]! | NOT_BASE64_PAIR[word & 0xffff]!
  }
  let end = length
  if (field[end - 1] === BASE64_EQUALS) end--
  if (field[end - 1] === BASE64_EQUALS) end--
  for (let i = last; i < end; i++) wrong |= NOT_BASE64[field[i]!]!
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
