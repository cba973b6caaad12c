import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { ChannelError } from '../../src/handover/channel.ts'
import { decodeRecord, encodeRecord, FAILURES, type HandoverRecord, MESSAGES_KIND, REFUSALS, VERSION } from '../../src/handover/record.ts'

const boot = Buffer.alloc(32, 1)
const token = Buffer.alloc(32, 2)
const RECORDS: readonly HandoverRecord[] = [
  { kind: 'take', version: VERSION, memory: 32 * 1_024 ** 3 },
  ...REFUSALS.map((reason) => ({ kind: 'refused', reason }) as const),
  { kind: 'give', boot, token, messages: 123_456_789 },
  { kind: 'spent', bytes: Buffer.alloc(80, 3) },
  { kind: 'messages', bytes: Buffer.from('bytes') },
  { kind: 'read' },
  { kind: 'end', messages: 0 },
  { kind: 'held' },
  { kind: 'released' },
  { kind: 'opened' },
  { kind: 'done' },
  { kind: 'abort' },
]

describe.each(RECORDS.map((record) => [record.kind, record] as const))('%s', (_kind, record) => {
  it('is read as it was written', () => {
    expect(decodeRecord(encodeRecord(record))).toEqual(record)
  })

  it('is refused longer or shorter', () => {
    if (record.kind === 'messages') return
    const bytes = encodeRecord(record)
    expect(() => decodeRecord(Buffer.concat([bytes, Buffer.of(0)]))).toThrow(new ChannelError('forged'))
    for (let length = 0; length < bytes.length; length++) {
      // Of fewer keys, and still whole.
      if (record.kind === 'spent' && (length - 1) % 40 === 0) continue
      expect(() => decodeRecord(bytes.subarray(0, length))).toThrow(new ChannelError('forged'))
    }
  })
})

it('another version is told, whatever follows it', () => {
  const [kind] = encodeRecord({ kind: 'take', version: VERSION, memory: 0 })
  expect(decodeRecord(Buffer.of(kind!, VERSION + 1))).toMatchObject({ kind: 'take', version: VERSION + 1 })
  expect(decodeRecord(Buffer.of(kind!, 255, 1, 2, 3))).toMatchObject({ kind: 'take', version: 255 })
})

it('anything else is refused, and nothing is thrown but that', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 90 }), (bytes) => {
      try {
        expect(encodeRecord(decodeRecord(Buffer.from(bytes)))[0]).toBe(bytes[0])
      } catch (error) {
        expect(error).toEqual(new ChannelError('forged'))
      }
    }),
    { numRuns: 2_000 },
  )
})

it('the kind of messages is theirs', () => {
  expect(encodeRecord({ kind: 'messages', bytes: Buffer.alloc(0) })).toEqual(Buffer.of(MESSAGES_KIND))
  expect(new Set(FAILURES).size).toBe(FAILURES.length)
})
