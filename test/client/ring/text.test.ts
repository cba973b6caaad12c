import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { onTick } from '../../../src/client/ring/ageing.ts'
import { onRead, onReport, onUnopened, takeReport } from '../../../src/client/ring/receiving.ts'
import { onSend } from '../../../src/client/ring/sending.ts'
import { EMPTY, type Ring } from '../../../src/client/ring/state.ts'
import { decodeRing, encodeRing, RingError, type RingErrorCode } from '../../../src/client/ring/text.ts'
import { encodeText, makeId } from '../../../src/client/format/field.ts'
import { hybridKey } from '../../../src/auth/age-hybrid.ts'
import { ONION } from '../people.ts'

const NOW = 1_795_000_000
const CONTACT = `SHA256:${'A'.repeat(43)}`
const RECIPIENTS = [1, 2, 3, 4].map((n) => hybridKey(new Uint8Array(32).fill(n)).recipient)
const ADDRESS = [
  { fingerprint: CONTACT, relay: ONION },
  { fingerprint: `SHA256:${'B'.repeat(42)}A`, relay: 'localhost:3309' },
]

/** A ring after some inputs, which the numbers choose. */
function grow(choices: readonly number[]): Ring {
  let ring = EMPTY
  let now = NOW
  for (const [n, choice] of choices.entries()) {
    now += choice * 977
    const id = makeId()
    const key = ring.given[choice % 5]?.place ?? 'daily'
    const keys = [RECIPIENTS[choice % 4]!]
    const reading = { now, id, time: now, tag: makeId(), key, keys, begin: choice % 3 === 0 ? 'unproven' : 'proven' } as const
    switch (choice % 9) {
      case 0:
      case 1:
        ring = onSend(
          ring,
          { id, time: now, bundle: RECIPIENTS[3]! },
          [1, 2, 3].map((seed) => new Uint8Array(32).fill(seed + n)),
        )!.ring
        break
      case 2:
        ring = onRead(ring, { ...reading, address: ADDRESS, left: choice % 2, chained: {} }).ring
        break
      case 3:
        ring = onRead(ring, { ...reading, left: 0, chained: { after: makeId() } }).ring
        break
      case 4:
        ring = onRead(ring, { ...reading, address: ADDRESS.slice(1) }).ring
        break
      case 5:
        ring = onUnopened(ring, { tag: makeId(), now, random: 0.3 })
        break
      case 6:
        ring = takeReport(ring, { now: now + 7_200, random: 0.9 })?.ring ?? ring
        break
      case 7:
        ring = onTick(ring, now + choice * 86_400).ring
        break
      case 8:
        ring = onReport(ring, { time: now - 500, id })
    }
  }
  return ring
}

function refuse(text: Uint8Array, contact = CONTACT): RingErrorCode | undefined {
  try {
    decodeRing(contact, text)
    return undefined
  } catch (error) {
    if (!(error instanceof RingError)) throw error
    return error.code
  }
}

const choices = fc.array(fc.nat(60), { maxLength: 40 })
/** With every kind of line. */
const full: Ring = {
  ...grow([0, 9, 2, 3, 12, 5, 6, 14, 4, 21, 33]),
  known: true,
  last: { place: { time: NOW, id: makeId(), index: 2 }, recipient: RECIPIENTS[0]!, mark: NOW + 5 },
  doubt: { time: NOW, id: makeId(), keys: RECIPIENTS.slice(0, 2), address: ADDRESS },
  address: { time: NOW, mailboxes: ADDRESS },
  usedAt: NOW,
  anewAt: NOW - 5,
  reportAt: NOW + 9,
  given: [
    { place: { time: NOW, id: makeId(), index: 0 }, seed: new Uint8Array(32).fill(9), use: 'former', until: NOW + 8, mark: NOW + 9 },
    { place: { time: NOW + 1, id: makeId(), index: 1 }, seed: new Uint8Array(32).fill(8), use: 'used' },
  ],
}

test('any ring is read as it was written', () => {
  fc.assert(
    fc.property(choices, (each) => {
      const ring = grow(each)
      expect(decodeRing(CONTACT, encodeRing(CONTACT, ring))).toEqual(ring)
    }),
  )
  expect(decodeRing(CONTACT, encodeRing(CONTACT, full))).toEqual(full)
  expect(decodeRing(CONTACT, encodeRing(CONTACT, EMPTY))).toEqual(EMPTY)
  const spent = { ...EMPTY, last: { place: { time: NOW, id: makeId(), index: 0 }, recipient: '' } }
  expect(decodeRing(CONTACT, encodeRing(CONTACT, spent))).toEqual(spent)
})

test('the text has the seeds in base64, and only there', () => {
  const text = Buffer.from(encodeRing(CONTACT, full)).toString()
  expect(text).toMatch(/^asfaleia-ring\/1\ncontact: SHA256:A{43}\nknown: yes\nunanswered: /)
  for (const { seed } of full.given) expect(text.split(Buffer.from(seed).toString('base64'))).toHaveLength(2)
})

describe('a text is refused', () => {
  const text = encodeRing(CONTACT, full)

  test('if it is cut off anywhere, or has anything after it', () => {
    for (let length = 0; length < text.length; length += 1) {
      const cut = text.subarray(0, length)
      // A cut between two lines may leave a smaller ring, which the encryption of the file refuses.
      const isWhole = length === 0 || text[length - 1] === 0x0a
      if (!isWhole) expect([length, refuse(cut)]).toEqual([length, 'damaged'])
    }
    expect(refuse(Buffer.concat([text, Buffer.of(0)]))).toBe('damaged')
    expect(refuse(Buffer.concat([text, encodeText('\n')]))).toBe('damaged')
    expect(refuse(new Uint8Array(0))).toBe('damaged')
  })

  test('if any of its lines is repeated, or in another order', () => {
    const lines = Buffer.from(text).toString('latin1').split('\n').slice(0, -1)
    const join = (each: readonly string[]): Uint8Array => Buffer.from(`${each.join('\n')}\n`, 'latin1')
    expect(refuse(join(lines))).toBeUndefined()
    for (const [n, line] of lines.entries()) {
      // Reports are times, which may be equal.
      if (!line.startsWith('report: ')) expect([line, refuse(join(lines.toSpliced(n, 0, line)))]).toEqual([line, 'damaged'])
      const name = line.split(' ')[0]
      const next = lines[n + 1]
      if (next === undefined || next.startsWith(`${name} `)) continue
      expect([line, refuse(join(lines.toSpliced(n, 2, next, line)))]).toEqual([line, 'damaged'])
    }
  })

  test.each<[RingErrorCode, string, string]>([
    ['unknown-version', 'asfaleia-ring/1', 'asfaleia-ring/2'],
    ['damaged', 'asfaleia-ring/1', 'asfaleia-ring/01'],
    ['damaged', 'asfaleia-ring/1', 'asfaleia-card/1'],
    ['damaged', 'known: yes', 'known: true'],
    ['damaged', `used: ${NOW}`, `used: 0${NOW}`],
    ['damaged', `used: ${NOW}`, 'used: -1'],
    ['damaged', `used: ${NOW}`, `used: ${NOW} 1`],
    ['damaged', `used: ${NOW}`, 'other: 1'],
    ['damaged', 'former', 'older'],
    ['damaged', ' 2 ', ' 3 '],
    ['damaged', 'age1pq1', 'age1zz1'],
    ['damaged', 'localhost:3309', 'localhost: 3309'],
    ['damaged', 'CQkJ', 'CQk*'],
    ['damaged', 'CQk=\n', 'CQl=\n'],
    ['damaged', '\n', '\r\n'],
  ])('as %s if %j becomes %j', (code, from, to) => {
    const changed = Buffer.from(text).toString('latin1').replace(from, to)
    expect(changed).not.toBe(Buffer.from(text).toString('latin1'))
    expect(refuse(Buffer.from(changed, 'latin1'))).toBe(code)
  })

  test('as one of another contact', () => {
    expect(refuse(text, `SHA256:${'C'.repeat(42)}A`)).toBe('other-contact')
  })

  test('if it has more of anything than a ring may have, and never with a part of it in the error', () => {
    const run = { id: makeId(), after: makeId(), since: NOW }
    const many: readonly Partial<Ring>[] = [
      { read: Array.from({ length: 257 }, makeId) },
      { runs: Array.from({ length: 65 }, () => run) },
      { seen: new Map(Array.from({ length: 2_049 }, () => [makeId(), makeId()] as const)) },
      { unread: new Map(Array.from({ length: 4_097 }, () => [makeId(), { time: NOW, reported: false }])) },
      { held: Array.from({ length: 65 }, (_, n) => ({ place: { time: n, id: makeId(), index: 0 }, recipient: RECIPIENTS[0]! })) },
      {
        given: Array.from({ length: 129 }, (_, n) => ({
          place: { time: n, id: makeId(), index: 0 },
          seed: new Uint8Array(32),
          use: 'open',
        })),
      },
    ]
    for (const each of many) expect(refuse(encodeRing(CONTACT, { ...EMPTY, ...each }))).toBe('damaged')
  })

  test('whatever bytes it has', () => {
    fc.assert(
      fc.property(fc.nat(text.length - 1), fc.integer({ min: 1, max: 255 }), (at, change) => {
        const other = Uint8Array.from(text)
        other[at]! ^= change
        try {
          // A changed number or tag can be a ring, too: encryption authenticates the file.
          expect(encodeRing(CONTACT, decodeRing(CONTACT, other))).toEqual(other)
        } catch (error) {
          expect(error).toBeInstanceOf(RingError)
        }
      }),
    )
  })
})
