import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { ChannelError, MAX_RECORD_BYTES } from '../../src/handover/channel.ts'
import {
  decodeRecord,
  decodeSpent,
  encodeRecord,
  encodeSpent,
  FAILURES,
  FILLED,
  type HandoverRecord,
  OLD_VERSION,
  REFUSALS,
  VERSION,
} from '../../src/handover/record.ts'

const boot = Buffer.alloc(32, 1)
const token = Buffer.alloc(32, 2)
const RECORDS: readonly HandoverRecord[] = [
  { kind: 'take', version: VERSION, memory: 32 * 1_024 ** 3 },
  { kind: 'take', version: OLD_VERSION, memory: 1 },
  ...REFUSALS.map((reason) => ({ kind: 'refused', reason }) as const),
  { kind: 'give', boot, token, messages: 123_456_789, size: { bytes: 2 ** 40, senders: 5, bundles: 6 } },
  { kind: 'give', boot, token, messages: 123_456_789, size: { bytes: 2 ** 40, senders: 5 } },
  { kind: 'spent', bytes: Buffer.alloc(80, 3) },
  { kind: 'messages', bytes: Buffer.from('bytes') },
  { kind: 'bundles', bytes: Buffer.from('bytes') },
  { kind: 'read' },
  { kind: 'end', messages: 0 },
  { kind: 'held' },
  { kind: 'released' },
  { kind: 'opened' },
  { kind: 'done' },
  { kind: 'owned' },
  { kind: 'abort' },
]

describe.each(RECORDS.map((record) => [record.kind, record] as const))('the record %s', (_kind, record) => {
  it('decodes to the encoded value', () => {
    expect(decodeRecord(encodeRecord(record))).toEqual(record)
  })

  it('is refused if longer or shorter', () => {
    if (record.kind === 'messages' || record.kind === 'bundles') return
    const bytes = encodeRecord(record)
    expect(() => decodeRecord(Buffer.concat([bytes, Buffer.of(0)]))).toThrow(new ChannelError('forged'))
    for (let length = 0; length < bytes.length; length++) {
      // A `spent` record of fewer keys is still complete.
      if (record.kind === 'spent' && (length - 1) % 40 === 0) continue
      // Without its last number, a `give` is one of the version before.
      if (record.kind === 'give' && record.size.bundles !== undefined && length === 1 + 2 * 32 + 24) continue
      expect(() => decodeRecord(bytes.subarray(0, length))).toThrow(new ChannelError('forged'))
    }
  })
})

it('a take record of another version decodes to that version, whatever follows it', () => {
  const [kind] = encodeRecord({ kind: 'take', version: VERSION, memory: 0 })
  expect(decodeRecord(Buffer.of(kind!, VERSION + 1))).toMatchObject({ kind: 'take', version: VERSION + 1 })
  expect(decodeRecord(Buffer.of(kind!, 255, 1, 2, 3))).toMatchObject({ kind: 'take', version: 255 })
})

it("a kind's byte is the same in every version", () => {
  const kinds = [
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
  ]
  for (const record of RECORDS) expect(encodeRecord(record)[0]).toBe(kinds.indexOf(record.kind))
})

it('junk either decodes to a record of its kind or is refused as forged', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 100 }), (bytes) => {
      try {
        expect(encodeRecord(decodeRecord(Buffer.from(bytes)))[0]).toBe(bytes[0])
      } catch (error) {
        expect(error).toEqual(new ChannelError('forged'))
      }
    }),
    { numRuns: 2_000 },
  )
})

it('FILLED has the first byte of messages and bundles records, and no failure is listed twice', () => {
  for (const kind of ['messages', 'bundles'] as const)
    expect(encodeRecord({ kind, bytes: Buffer.alloc(0) })).toEqual(Buffer.of(FILLED[kind]))
  expect(new Set(FAILURES).size).toBe(FAILURES.length)
})

it('a number that is too large to be exact is refused, and the largest exact one is read', () => {
  const record = encodeRecord({ kind: 'end', messages: Number.MAX_SAFE_INTEGER })
  expect(decodeRecord(record)).toEqual({ kind: 'end', messages: Number.MAX_SAFE_INTEGER })
  record.writeBigUInt64BE(2n ** 53n, 1)
  expect(() => decodeRecord(record)).toThrow(new ChannelError('forged'))
})

it('limits are cut into records that fit, and come back', () => {
  const all = Array.from({ length: 4_000 }, (_, n) => ({ sender: Buffer.alloc(32, n % 251).toString('base64url'), bytes: n }))
  const records = [...encodeSpent(all)]
  expect(Math.max(...records.map(({ length }) => length))).toBeLessThanOrEqual(MAX_RECORD_BYTES)
  const read = records.flatMap((record) => {
    const decoded = decodeRecord(record)
    return decoded.kind === 'spent' ? decodeSpent(decoded.bytes) : []
  })
  expect(read).toEqual(all)
})
