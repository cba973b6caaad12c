/** What tells a message that came before: tags, for 15 days, bounded in number. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { decodeText, encodeText, isId, makeId } from '../../../src/client/format/field.ts'
import { STALE } from '../../../src/client/format/message.ts'
import { Seen } from '../../../src/client/delivery/seen.ts'

const NOW = 1_795_000_000
const DAY = 86_400
const from = { fingerprint: new Uint8Array(32).fill(7) }
const other = { fingerprint: new Uint8Array(32).fill(8) }
const text = (seen: Seen): string => decodeText(seen.encode())!

describe('what came before', () => {
  it('is told by sender and id', () => {
    const seen = new Seen()
    const id = makeId()
    expect(seen.has(from, id)).toBe(false)
    seen.add({ from, id, time: NOW }, NOW)
    expect(seen.has(from, id)).toBe(true)
    expect(seen.has(other, id)).toBe(false)
    expect(seen.has(from, makeId())).toBe(false)
    expect(seen.since).toBe(-Infinity)
  })

  it('is kept as tags: neither an id nor a fingerprint stands in the text', () => {
    const seen = new Seen()
    const id = makeId()
    const line = decodeText(seen.add({ from, id, time: NOW }, NOW))!
    expect(text(seen)).toBe(`asfaleia-seen/1\n${line}`)
    expect(line).toMatch(/^[A-Za-z0-9_-]{22} \d+\n$/)
    expect(line).not.toContain(id)
    expect(isId(line.slice(0, 22))).toBe(true)
  })

  it('is the same after it was stored, as a whole or line by line', () => {
    const seen = new Seen()
    const ids = Array.from({ length: 20 }, makeId)
    const lines = ids.map((id) => decodeText(seen.add({ from, id, time: NOW }, NOW)))
    for (const stored of [seen.encode(), encodeText(`asfaleia-seen/1\n${lines.join('')}`)]) {
      const again = Seen.decode(stored, NOW)!
      expect(ids.every((id) => again.has(from, id))).toBe(true)
      expect(again.size).toBe(20)
      expect(text(again)).toBe(text(seen))
    }
  })

  it('is there but for its last line where that was not written to its end', () => {
    const seen = new Seen()
    const [first, last] = [makeId(), makeId()]
    for (const id of [first, last]) seen.add({ from, id, time: NOW }, NOW)
    const whole = seen.encode()
    const cut = Seen.decode(whole.subarray(0, -1), NOW)!
    expect([cut.has(from, first), cut.has(from, last)]).toEqual([true, false])
  })

  it.each([
    '',
    'asfaleia-seen/2\n',
    'asfaleia-seen/1\nx 1\n',
    'asfaleia-seen/1\n\n',
    `asfaleia-seen/1\n${'A'.repeat(22)}\n`,
    `asfaleia-seen/1\n${'A'.repeat(22)} -1\n`,
    `asfaleia-seen/1\nsince x\n`,
  ])('is not read from %j', (stored) => {
    expect(Seen.decode(encodeText(stored), NOW)).toBeUndefined()
  })

  it('is forgotten once the message is stale anyway, and not before', () => {
    const seen = new Seen()
    const id = makeId()
    seen.add({ from, id, time: NOW }, NOW)
    for (const [now, known] of [
      [NOW + STALE, true],
      [NOW + 15 * DAY, true],
      [NOW + 15 * DAY + 1, false],
    ] as const) {
      expect(Seen.decode(seen.encode(), now)!.has(from, id)).toBe(known)
    }
  })

  it('does not come again as new where a clock ran ahead, and was set back', () => {
    const seen = new Seen()
    const id = makeId()
    seen.add({ from, id, time: NOW }, NOW)
    const ahead = Seen.decode(seen.encode(), NOW + 30 * DAY)!
    const back = Seen.decode(ahead.encode(), NOW + 60)!
    expect(back.has(from, id) || NOW < back.since).toBe(true)
    expect(back.since).toBeLessThanOrEqual(NOW + 1)
  })

  it('is kept for as long when the message was stale already, and longer when it was from the future', () => {
    const seen = new Seen()
    const [old, ahead, far] = [makeId(), makeId(), makeId()]
    seen.add({ from, id: old, time: NOW - 400 * DAY }, NOW)
    seen.add({ from, id: ahead, time: NOW + 3 * DAY }, NOW)
    seen.add({ from, id: far, time: NOW + 4_000 * DAY }, NOW)
    const known = (now: number) => [old, ahead, far].map((id) => Seen.decode(seen.encode(), now)!.has(from, id))
    expect(known(NOW + 15 * DAY)).toEqual([true, true, true])
    expect(known(NOW + 18 * DAY)).toEqual([false, true, true])
    expect(known(NOW + 30 * DAY)).toEqual([false, false, true])
    expect(known(NOW + 30 * DAY + 1)).toEqual([false, false, false])
  })

  it('is bounded: what was forgotten for others is from before `since`', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(100), { minLength: 1, maxLength: 60 }), fc.boolean(), (waits, stored) => {
        let seen = new Seen(16)
        let now = NOW
        const messages: { id: string; time: number }[] = []
        for (const wait of waits) {
          now += wait
          const message = { id: makeId(), time: now - (wait % 7) }
          messages.push(message)
          seen.add({ from, ...message }, now)
          if (stored) seen = Seen.decode(seen.encode(), now, 16)!
          expect(seen.size).toBeLessThanOrEqual(16)
          // Whatever came is told: as seen, or as too old to tell.
          for (const { id, time } of messages) expect(seen.has(from, id) || time < seen.since).toBe(true)
          // And what comes new, a second from now, is neither.
          expect(seen.since).toBeLessThanOrEqual(now + 1)
        }
      }),
    )
  })
})
