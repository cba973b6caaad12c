/**
 * The records that two relays exchange at a handover; docs/decisions/0009-handover.md has their order. A record is its
 * kind in one byte, and a body. Only the bodies of `spent` and `messages` vary in length.
 */
import type { Spent } from '../relay/senders.ts'
import { ChannelError, MAX_RECORD_BYTES } from './channel.ts'

export const VERSION = 2
export const SECRET_BYTES = 32

/** Why the predecessor refuses to hand over. */
export const REFUSALS = ['busy', 'memory', 'version'] as const
export type Refusal = (typeof REFUSALS)[number]

/** Why a handover failed, for the log. */
export const FAILURES = ['silent', 'ended', 'stalled', 'forged', 'wiped', 'fault'] as const
export type Failure = (typeof FAILURES)[number]

export type HandoverRecord =
  /** The successor asks for everything. `memory` is its memory for messages, bytes. */
  | { readonly kind: 'take'; readonly version: number; readonly memory: number }
  | { readonly kind: 'refused'; readonly reason: Refusal }
  /** The relay's secrets, and how many messages will follow. */
  | { readonly kind: 'give'; readonly boot: Uint8Array; readonly token: Uint8Array; readonly messages: number }
  /** How much some keys have sent lately: for each, 32 bytes of the blinded id and 8 of the number. */
  | { readonly kind: 'spent'; readonly bytes: Uint8Array }
  /** A piece of the encoded messages (src/handover/message.ts), cut anywhere. */
  | { readonly kind: 'messages'; readonly bytes: Uint8Array }
  /** The successor has read one `spent` or `messages`. */
  | { readonly kind: 'read' }
  /** The last message was sent; `messages` is their number. */
  | { readonly kind: 'end'; readonly messages: number }
  /** The successor has all messages. */
  | { readonly kind: 'held' }
  /** The addresses of the doors are free. */
  | { readonly kind: 'released' }
  /** The successor listens at its doors. */
  | { readonly kind: 'opened' }
  /** The successor serves now. */
  | { readonly kind: 'done' }
  /** The handover failed: the predecessor continues. */
  | { readonly kind: 'abort' }

/** The first byte of a record is the index of its kind. */
const KINDS = ['take', 'refused', 'give', 'spent', 'messages', 'read', 'end', 'held', 'released', 'opened', 'done', 'abort'] as const

/** The first byte of `messages`, for a caller that fills such a record in place. */
export const MESSAGES_KIND = KINDS.indexOf('messages')

export function encodeRecord(record: HandoverRecord): Buffer {
  const kind = Buffer.of(KINDS.indexOf(record.kind))
  switch (record.kind) {
    case 'take':
      return Buffer.concat([kind, Buffer.of(record.version), encodeNumber(record.memory)])
    case 'refused':
      return Buffer.concat([kind, Buffer.of(REFUSALS.indexOf(record.reason))])
    case 'give':
      return Buffer.concat([kind, record.boot, record.token, encodeNumber(record.messages)])
    case 'spent':
    case 'messages':
      return Buffer.concat([kind, record.bytes])
    case 'end':
      return Buffer.concat([kind, encodeNumber(record.messages)])
    case 'read':
    case 'held':
    case 'released':
    case 'opened':
    case 'done':
    case 'abort':
      return kind
  }
}

/** Decodes a record; its bytes are views. @throws ChannelError `forged` if it is malformed */
export function decodeRecord(bytes: Buffer): HandoverRecord {
  const kind = KINDS[bytes[0] ?? KINDS.length]
  if (kind === undefined) throw new ChannelError('forged')
  const body = bytes.subarray(1)
  switch (kind) {
    case 'take':
      // The rest of the record depends on the version.
      if (body.length > 0 && body[0] !== VERSION) return { kind, version: body[0]!, memory: 0 }
      return { kind, version: sized(body, 9)[0]!, memory: decodeNumber(body.subarray(1)) }
    case 'refused': {
      const reason = REFUSALS[sized(body, 1)[0]!]
      if (reason === undefined) throw new ChannelError('forged')
      return { kind, reason }
    }
    case 'give': {
      const messages = decodeNumber(sized(body, 2 * SECRET_BYTES + 8).subarray(2 * SECRET_BYTES))
      return { kind, boot: body.subarray(0, SECRET_BYTES), token: body.subarray(SECRET_BYTES, 2 * SECRET_BYTES), messages }
    }
    case 'spent':
      if (body.length % SPENT_BYTES !== 0) throw new ChannelError('forged')
      return { kind, bytes: body }
    case 'messages':
      return { kind, bytes: body }
    case 'end':
      return { kind, messages: decodeNumber(sized(body, 8)) }
    case 'read':
    case 'held':
    case 'released':
    case 'opened':
    case 'done':
    case 'abort':
      sized(body, 0)
      return { kind }
  }
}

const ID_BYTES = 32
const SPENT_BYTES = ID_BYTES + 8

/** Encodes the budgets, with as many keys in each record as fit. */
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

/** Decodes the body of `spent`. @throws ChannelError `forged` */
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
