import fc from 'fast-check'
import { expect, it } from 'vitest'
import { ChannelError } from '../../src/handover/channel.ts'
import { MessageReader, MessageWriter } from '../../src/handover/message.ts'
import type { HeldMessage } from '../../src/mailbox/mailbox.ts'

const message = fc.record({
  mailbox: fc.uint8Array({ minLength: 32, maxLength: 32 }).map((bytes) => Buffer.from(bytes).toString('base64url')),
  id: fc.record({ high: fc.nat(2 ** 32 - 1), low: fc.nat(2 ** 32 - 1) }),
  left: fc.nat(30 * 86_400_000),
  payload: fc.oneof(
    fc.uint8Array({ minLength: 1, maxLength: 300 }),
    fc.constantFrom(65_518, 65_519, 512 * 1_024).map((size) => new Uint8Array(size).fill(65)),
  ),
})

/** Writes the messages in pieces of `size` bytes and reads them again. */
function carry(messages: readonly HeldMessage[], size: number): HeldMessage[] {
  const writer = new MessageWriter(messages.values())
  const got: HeldMessage[] = []
  const reader = new MessageReader((each) => got.push({ ...each, payload: Uint8Array.from(each.payload) }))
  const room = new Uint8Array(size)
  for (let length = writer.write(room); length > 0; length = writer.write(room)) reader.push(room.subarray(0, length))
  expect([writer.count, reader.count, reader.isWhole]).toEqual([messages.length, messages.length, true])
  return got
}

it('messages survive writing and reading in pieces of any size', () => {
  fc.assert(
    fc.property(fc.array(message, { maxLength: 12 }), fc.constantFrom(1, 7, 51, 52, 53, 1_000, 65_518, 1_000_000), (messages, size) => {
      fc.pre(size > 100 || messages.every(({ payload }) => payload.length <= 300))
      const plain = ({ payload, ...rest }: HeldMessage): object => ({ ...rest, payload: Buffer.from(payload).toString('latin1') })
      expect(carry(messages, size).map(plain)).toEqual(messages.map(plain))
    }),
    { numRuns: 100 },
  )
})

const one = (payload: Uint8Array, left = 5): HeldMessage => ({
  mailbox: Buffer.alloc(32, 7).toString('base64url'),
  id: { high: 1, low: 2 },
  left,
  payload,
})

it('a message that expires on the way arrives with no time left', () => {
  expect(carry([one(Uint8Array.of(65), -3), one(Uint8Array.of(66), 0.5)], 1_000).map(({ left }) => left)).toEqual([0, 1])
})

it('a payload is overwritten after delivery, and an incomplete one when the reader is cleared', () => {
  const views: Uint8Array[] = []
  const reader = new MessageReader(({ payload }) => {
    expect(payload).toEqual(Buffer.from('secret'))
    views.push(payload)
  })
  const room = new Uint8Array(1_000)
  const length = new MessageWriter([one(Buffer.from('secret')), one(Buffer.from('secret'))].values()).write(room)
  reader.push(room.subarray(0, length - 1))
  expect(reader).toMatchObject({ count: 1, isWhole: false })
  expect(Buffer.from(views[0]!.buffer).includes('secre')).toBe(true)
  reader.clear()
  expect(Buffer.from(views[0]!.buffer).every((byte) => byte === 0)).toBe(true)
})

it('a payload length over the maximum is refused', () => {
  const room = Buffer.alloc(1_000)
  new MessageWriter([one(Uint8Array.of(65))].values()).write(room)
  room.writeUInt32BE(512 * 1_024 + 1, 48)
  expect(() => new MessageReader(() => {}).push(room.subarray(0, 52))).toThrow(new ChannelError('forged'))
})

it('the writer refuses a mailbox that is not a blinded id with a TypeError', () => {
  expect(() => new MessageWriter([{ ...one(Uint8Array.of(65)), mailbox: 'm' }].values()).write(new Uint8Array(100))).toThrow(TypeError)
})

/** The bytes of messages with these payloads. */
function bytesOf(...payloads: readonly string[]): Uint8Array {
  const room = new Uint8Array(10_000)
  return room.subarray(0, new MessageWriter(payloads.map((text) => one(Buffer.from(text))).values()).write(room))
}

it('as many messages and bytes come as were announced, and no more', () => {
  const read = (messages: number, bytes: number): number => {
    const reader = new MessageReader(() => {}, { messages, bytes })
    reader.push(bytesOf('one', 'three'))
    return reader.count
  }
  expect(read(2, 8)).toBe(2)
  for (const [messages, bytes] of [
    [1, 8],
    [2, 7],
  ] as const) {
    expect(() => read(messages, bytes)).toThrow(new ChannelError('forged'))
  }
})

it('the reader leaves nothing of a complete message in its buffer', () => {
  const views: Uint8Array[] = []
  new MessageReader(({ payload }) => void views.push(payload)).push(bytesOf('secret'))
  expect(Buffer.from(views[0]!.buffer).every((byte) => byte === 0)).toBe(true)
})

it('the records of a writer are overwritten after the last one, and if they are given up', () => {
  for (const isGivenUp of [false, true]) {
    let view: Buffer | undefined
    for (const record of new MessageWriter([one(Buffer.from('secret'))].values()).records('messages')) {
      expect(record.includes('secret')).toBe(true)
      view = record
      if (isGivenUp) break
    }
    expect(Buffer.from(view!.buffer, view!.byteOffset, view!.length).every((byte) => byte === 0)).toBe(true)
  }
})
