import { ChannelError } from '../../../src/handover/channel.ts'
import { MessageReader, MessageWriter } from '../../../src/handover/message.ts'
import { decodeRecord, decodeSpent, encodeRecord, type HandoverRecord } from '../../../src/handover/record.ts'
import type { HeldMessage } from '../../../src/mailbox/mailbox.ts'
import { chunksOf } from '../../support/chunks.ts'
import { attempt, bytesOf, fail, latin1, same, type Target } from '../target.ts'

const isForged = (error: unknown): boolean => error instanceof ChannelError && error.problem === 'forged'

const RECORDS: readonly HandoverRecord[] = [
  { kind: 'take', version: 3, memory: 2 ** 28 },
  { kind: 'take', version: 9, memory: 0 },
  { kind: 'refused', reason: 'memory' },
  { kind: 'give', boot: Buffer.alloc(32, 1), token: Buffer.alloc(32, 2), messages: 7, size: { bytes: 9, senders: 2 } },
  { kind: 'give', boot: Buffer.alloc(32, 1), token: Buffer.alloc(32, 2), messages: 7, size: { bytes: 9, senders: 2, bundles: 3 } },
  { kind: 'spent', bytes: Buffer.alloc(80, 3) },
  { kind: 'messages', bytes: Buffer.alloc(9, 4) },
  { kind: 'bundles', bytes: Buffer.alloc(9, 4) },
  { kind: 'bundles', bytes: Buffer.alloc(9, 4) },
  { kind: 'give', boot: Buffer.alloc(32, 1), token: Buffer.alloc(32, 2), messages: 7, size: { bytes: 9, senders: 2, bundles: 3 } },
  { kind: 'end', messages: 7 },
  ...(['read', 'held', 'released', 'opened', 'done', 'owned', 'abort'] as const).map((kind) => ({ kind })),
]

const MESSAGES: readonly HeldMessage[] = [
  { mailbox: Buffer.alloc(32, 5).toString('base64url'), id: { high: 1, low: 2 }, left: 604_800_000, payload: Buffer.from('QUJD') },
  { mailbox: Buffer.alloc(32, 6).toString('base64url'), id: { high: 3, low: 4 }, left: 1, payload: Buffer.from('QUJDRA==') },
]

function write(messages: readonly HeldMessage[]): Buffer {
  const room = Buffer.alloc(8_192)
  return room.subarray(0, new MessageWriter(messages.values()).write(room))
}

function read(input: Uint8Array, cuts: Iterable<number>): { messages: HeldMessage[]; text: string } {
  const messages: HeldMessage[] = []
  const reader = new MessageReader((message) => messages.push({ ...message, payload: Uint8Array.from(message.payload) }), {
    messages: 4,
    bytes: 1_000,
  })
  const outcome = attempt(() => {
    for (const chunk of chunksOf(input, cuts)) reader.push(chunk)
    return reader.isWhole ? 'whole' : 'cut'
  }, isForged)
  reader.clear()
  const end = 'value' in outcome ? outcome.value : outcome.refused
  return { messages, text: `${end} ${messages.map(({ mailbox, left, payload }) => `${mailbox} ${left} ${latin1(payload)}`).join()}` }
}

/** The input is a record; or after 0xff the stream of messages. */
export const target: Target = {
  name: 'handover',
  covers: ['handover/record.ts', 'handover/message.ts'],
  seeds: () => [...RECORDS.map(encodeRecord), Buffer.concat([Buffer.of(0xff), write(MESSAGES)])],
  run(input) {
    if (input[0] === 0xff) {
      const stream = input.subarray(1)
      const whole = read(stream, [])
      same('whole and in chunks', whole.text, read(stream, [1, 40, 60, 3]).text)
      const { messages } = whole
      // The mailbox shortens a time that is too long.
      if (!messages.every(({ left }) => Number.isInteger(left))) fail('a time is no whole number')
      same(
        'written and read',
        read(write(messages), [])
          .messages.map(({ left }) => left)
          .join(),
        messages.map(({ left }) => left).join(),
      )
      return whole.text.split(' ')[0]!
    }
    const outcome = attempt(() => decodeRecord(Buffer.from(input)), isForged)
    if (!('value' in outcome)) return outcome.refused
    const record = outcome.value
    if (record.kind === 'spent') {
      const spent = attempt(() => decodeSpent(record.bytes), isForged)
      if (!('value' in spent)) return 'spent, forged'
    }
    if (record.kind !== 'take' || record.memory > 0) {
      same('written and read', latin1(encodeRecord(record)), latin1(bytesOf(input)))
    }
    return record.kind
  },
}
