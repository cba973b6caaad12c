/**
 * The records of a handover as a table; docs/decisions/0009-handover.md gives their order. A record is one byte for its
 * kind, and a body of fixed length; only `spent` and `messages` vary in length.
 */
import type { Spent } from '../relay/senders.ts'
import { ChannelError, MAX_RECORD_BYTES } from './channel.ts'

export const VERSION = 4
/** The version before: no bundles. */
export const OLD_VERSION = 3
export const SECRET_BYTES = 32

/** Why the running relay refuses to hand over. */
export const REFUSALS = ['busy', 'memory', 'version'] as const
export type Refusal = (typeof REFUSALS)[number]

/** Why the running relay ended a connection that had proved no secret, for the log. */
export const UNPROVEN = ['proof', 'ended', 'stalled'] as const

/** Why a handover failed, for the log. */
export const FAILURES = ['silent', 'ended', 'stalled', 'forged', 'wiped', 'fault'] as const
export type Failure = (typeof FAILURES)[number]

/** The most that the running relay will send, and the most that the successor accepts. */
export interface Size {
  /** Bytes of all messages and bundles, as the running relay counts them. */
  readonly bytes: number
  /** Keys whose sending limit is in use. */
  readonly senders: number
  /** Version 3 has none. */
  readonly bundles?: number
}

export type HandoverRecord =
  /** The successor asks for everything, and has `memory` bytes for messages. */
  | { readonly kind: 'take'; readonly version: number; readonly memory: number }
  | { readonly kind: 'refused'; readonly reason: Refusal }
  /** The secrets of the relay, and how much will follow. */
  | { readonly kind: 'give'; readonly boot: Uint8Array; readonly token: Uint8Array; readonly messages: number; readonly size: Size }
  /** The bytes that some keys have sent of late; for each, 32 bytes of the blinded id and 8 of the number. */
  | { readonly kind: 'spent'; readonly bytes: Uint8Array }
  /** Some of the bytes that src/handover/message.ts makes of the messages, cut anywhere. */
  | { readonly kind: 'messages'; readonly bytes: Uint8Array }
  /** The same of the bundles, whose message ids are zeros. */
  | { readonly kind: 'bundles'; readonly bytes: Uint8Array }
  /** The successor has read one `spent`, `messages` or `bundles`. */
  | { readonly kind: 'read' }
  /** The running relay has sent `messages` messages and all bundles, and no more will follow. */
  | { readonly kind: 'end'; readonly messages: number }
  /** The successor holds all of them. */
  | { readonly kind: 'held' }
  /** The running relay has closed its doors. */
  | { readonly kind: 'released' }
  /** The successor listens at its doors. */
  | { readonly kind: 'opened' }
  /** The running relay leaves the messages to the successor. */
  | { readonly kind: 'done' }
  /** The successor has read `done`: the messages are its own. The old relay erases its copy on reading this. */
  | { readonly kind: 'owned' }
  /** The running relay goes on, with every message. */
  | { readonly kind: 'abort' }

/** The first byte of each kind is its index here. */
const KINDS = [
  'take',
  'refused',
  'give',
  'spent',
  'messages',
  'read',
  'end',
  'held',
  'released',
  'opened',
  'done',
  'abort',
  'owned',
  'bundles',
] as const

/** The first byte of the records that code fills in place. */
export const FILLED = { messages: KINDS.indexOf('messages'), bundles: KINDS.indexOf('bundles') } as const

export function encodeRecord(record: HandoverRecord): Buffer {
  const kind = Buffer.of(KINDS.indexOf(record.kind))
  switch (record.kind) {
    case 'take':
      return Buffer.concat([kind, Buffer.of(record.version), encodeNumber(record.memory)])
    case 'refused':
      return Buffer.concat([kind, Buffer.of(REFUSALS.indexOf(record.reason))])
    case 'give': {
      const { boot, token, messages, size } = record
      const { bytes, senders, bundles } = size
      const numbers = [messages, bytes, senders, ...(bundles === undefined ? [] : [bundles])]
      return Buffer.concat([kind, boot, token, ...numbers.map(encodeNumber)])
    }
    case 'spent':
    case 'messages':
    case 'bundles':
      return Buffer.concat([kind, record.bytes])
    case 'end':
      return Buffer.concat([kind, encodeNumber(record.messages)])
    case 'read':
    case 'held':
    case 'released':
    case 'opened':
    case 'done':
    case 'owned':
    case 'abort':
      return kind
  }
}

/** Decodes a record; byte fields are views. @throws ChannelError `forged` if it is not of one of the forms above */
export function decodeRecord(bytes: Buffer): HandoverRecord {
  const kind = KINDS[bytes[0] ?? KINDS.length]
  if (kind === undefined) throw new ChannelError('forged')
  const body = bytes.subarray(1)
  switch (kind) {
    case 'take': {
      const version = body[0]
      // The bytes after an unknown version have that version's form.
      if (version !== undefined && version !== VERSION && version !== OLD_VERSION) return { kind, version, memory: 0 }
      return { kind, version: sized(body, 9)[0]!, memory: decodeNumber(body.subarray(1)) }
    }
    case 'refused': {
      const reason = REFUSALS[sized(body, 1)[0]!]
      if (reason === undefined) throw new ChannelError('forged')
      return { kind, reason }
    }
    case 'give':
      return decodeGive(body)
    case 'spent':
      if (body.length % SPENT_BYTES !== 0) throw new ChannelError('forged')
      return { kind, bytes: body }
    case 'messages':
    case 'bundles':
      return { kind, bytes: body }
    case 'end':
      return { kind, messages: decodeNumber(sized(body, 8)) }
    case 'read':
    case 'held':
    case 'released':
    case 'opened':
    case 'done':
    case 'owned':
    case 'abort':
      sized(body, 0)
      return { kind }
  }
}

function decodeGive(body: Buffer): HandoverRecord {
  const [boot, token, rest] = [
    body.subarray(0, SECRET_BYTES),
    body.subarray(SECRET_BYTES, 2 * SECRET_BYTES),
    body.subarray(2 * SECRET_BYTES),
  ]
  const numbers = [0, 8, 16].map((at) => decodeNumber(sized(rest.subarray(at, at + 8), 8))) as [number, number, number]
  const [messages, bytes, senders] = numbers
  const size = rest.length === 24 ? { bytes, senders } : { bytes, senders, bundles: decodeNumber(sized(rest.subarray(24), 8)) }
  return { kind: 'give', boot, token, messages, size }
}

const ID_BYTES = 32
const SPENT_BYTES = ID_BYTES + 8

/** Makes records of as many keys each as fit. */
export function* encodeSpent(all: Iterable<Spent>): Generator<Buffer, void> {
  const most = Math.floor((MAX_RECORD_BYTES - 1) / SPENT_BYTES)
  let parts: Buffer[] = []
  for (const { sender, bytes } of all) {
    parts.push(Buffer.concat([Buffer.from(sender, 'base64url'), encodeNumber(bytes)]))
    if (parts.length < most) continue
    yield encodeRecord({ kind: 'spent', bytes: Buffer.concat(parts) })
    parts = []
  }
  if (parts.length > 0) yield encodeRecord({ kind: 'spent', bytes: Buffer.concat(parts) })
}

/** @throws ChannelError `forged` */
export function decodeSpent(bytes: Uint8Array): Spent[] {
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)
  return Array.from({ length: bytes.length / SPENT_BYTES }, (_, i) => {
    const one = view.subarray(i * SPENT_BYTES, (i + 1) * SPENT_BYTES)
    return { sender: one.toString('base64url', 0, ID_BYTES), bytes: decodeNumber(one.subarray(ID_BYTES)) }
  })
}

function encodeNumber(value: number): Buffer {
  const bytes = Buffer.alloc(8)
  bytes.writeBigUInt64BE(BigInt(value))
  return bytes
}

function decodeNumber(bytes: Buffer): number {
  const value = Number(bytes.readBigUInt64BE())
  if (!Number.isSafeInteger(value)) throw new ChannelError('forged')
  return value
}

function sized(body: Buffer, length: number): Buffer {
  if (body.length !== length) throw new ChannelError('forged')
  return body
}
