/**
 * The messages, and then the bundles, as a stream of bytes from one relay to the next. Each is 32 bytes of the
 * mailbox's blinded id, 8 of the message id, 8 of the milliseconds left, 4 of the payload's length, and the payload;
 * numbers are big endian. Payloads stay bytes, and every buffer of theirs is overwritten after use.
 */
import type { HeldMessage } from '../mailbox/mailbox.ts'
import { ChannelError, MAX_RECORD_BYTES } from './channel.ts'
import { FILLED } from './record.ts'

/** The longest payload that a relay can be configured to accept. */
const MAX_PAYLOAD_BYTES = 512 * 1_024
const ID_BYTES = 32
const HEAD_BYTES = ID_BYTES + 8 + 8 + 4

/** Cuts the messages of a relay into pieces of any size. */
export class MessageWriter {
  readonly #messages: Iterator<HeldMessage, void>
  readonly #head = Buffer.alloc(HEAD_BYTES)
  #payload: Uint8Array = new Uint8Array(0)
  /** Bytes of head and payload written so far. */
  #at = HEAD_BYTES
  #count = 0

  constructor(messages: Iterator<HeldMessage, void>) {
    this.#messages = messages
  }

  /** Messages begun so far. */
  get count(): number {
    return this.#count
  }

  /** Fills `room` from its beginning; returns the number of bytes written, 0 if there are no more messages. */
  write(room: Uint8Array): number {
    let filled = 0
    while (filled < room.length) {
      if (this.#at === HEAD_BYTES + this.#payload.length && !this.#next()) break
      const rest = this.#at < HEAD_BYTES ? this.#head.subarray(this.#at) : this.#payload.subarray(this.#at - HEAD_BYTES)
      const part = rest.subarray(0, room.length - filled)
      room.set(part, filled)
      filled += part.length
      this.#at += part.length
    }
    return filled
  }

  /** Gives the rest as records of a kind, each good until the next one. */
  *records(kind: keyof typeof FILLED): Generator<Buffer, void> {
    const record = Buffer.alloc(MAX_RECORD_BYTES)
    record[0] = FILLED[kind]
    try {
      for (;;) {
        const length = this.write(record.subarray(1))
        if (length === 0) return
        yield record.subarray(0, 1 + length)
      }
    } finally {
      record.fill(0)
    }
  }

  #next(): boolean {
    const { value, done } = this.#messages.next()
    if (done === true || value === undefined) return false
    const { mailbox, id, left, payload } = value
    if (this.#head.write(mailbox, 'base64url') !== ID_BYTES) throw new TypeError('a blinded id is 32 bytes in base64url')
    this.#head.writeUInt32BE(id.high, ID_BYTES)
    this.#head.writeUInt32BE(id.low, ID_BYTES + 4)
    this.#head.writeBigUInt64BE(BigInt(Math.max(0, Math.ceil(left))), ID_BYTES + 8)
    this.#head.writeUInt32BE(payload.length, ID_BYTES + 16)
    this.#payload = payload
    this.#at = 0
    this.#count++
    return true
  }
}

/** The most that a reader accepts in all. */
export interface MessageBounds {
  readonly messages: number
  /** Of all payloads together. */
  readonly bytes: number
}

/** Reassembles the messages from pieces of any size. */
export class MessageReader {
  readonly #buffer = Buffer.alloc(HEAD_BYTES + MAX_PAYLOAD_BYTES)
  readonly #onMessage: (message: HeldMessage) => void
  readonly #bounds: MessageBounds
  #length = 0
  #count = 0
  #bytes = 0

  /**
   * @param onMessage gets each complete message, whose payload is good until it returns
   * @param bounds announced by the other relay
   */
  constructor(onMessage: (message: HeldMessage) => void, bounds: MessageBounds = { messages: Infinity, bytes: Infinity }) {
    this.#onMessage = onMessage
    this.#bounds = bounds
  }

  /** Complete messages so far. */
  get count(): number {
    return this.#count
  }

  /** Whether the last message is complete. */
  get isWhole(): boolean {
    return this.#length === 0
  }

  /** The piece stays the caller's. @throws ChannelError `forged` if a payload is too long, or the bounds are exceeded */
  push(piece: Uint8Array): void {
    let at = 0
    while (at < piece.length) {
      const part = piece.subarray(at, at + this.#missing())
      this.#buffer.set(part, this.#length)
      this.#length += part.length
      at += part.length
      if (this.#missing() === 0) this.#give()
    }
  }

  /** Overwrites the incomplete message, if there is one. */
  clear(): void {
    this.#buffer.fill(0)
    this.#length = 0
  }

  /** Returns the bytes that are missing until the head, and then the message, is complete. */
  #missing(): number {
    if (this.#length < HEAD_BYTES) return HEAD_BYTES - this.#length
    const payload = this.#buffer.readUInt32BE(ID_BYTES + 16)
    if (payload > MAX_PAYLOAD_BYTES) throw new ChannelError('forged')
    if (this.#count >= this.#bounds.messages || this.#bytes + payload > this.#bounds.bytes) throw new ChannelError('forged')
    return HEAD_BYTES + payload - this.#length
  }

  #give(): void {
    const buffer = this.#buffer
    this.#bytes += this.#length - HEAD_BYTES
    this.#onMessage({
      mailbox: buffer.toString('base64url', 0, ID_BYTES),
      id: { high: buffer.readUInt32BE(ID_BYTES), low: buffer.readUInt32BE(ID_BYTES + 4) },
      left: Number(buffer.readBigUInt64BE(ID_BYTES + 8)),
      payload: buffer.subarray(HEAD_BYTES, this.#length),
    })
    buffer.fill(0, 0, this.#length)
    this.#length = 0
    this.#count++
  }
}
