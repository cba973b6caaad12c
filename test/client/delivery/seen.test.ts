/** The set of seen messages: tags that detect replays for 15 days, bounded in number. */
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

describe('the set of seen messages', () => {
  it('recognizes a message by sender and id', () => {
    const seen = new Seen()
    const id = makeId()
    expect(seen.has(from, id)).toBe(false)
    seen.add({ from, id, time: NOW }, NOW)
    expect(seen.has(from, id)).toBe(true)
    expect(seen.has(other, id)).toBe(false)
    expect(seen.has(from, makeId())).toBe(false)
    expect(seen.since).toBe(-Infinity)
  })

  it('stores only tags: its text contains neither an id nor a fingerprint', () => {
    const seen = new Seen()
    const id = makeId()
    const line = decodeText(seen.add({ from, id, time: NOW }, NOW))!
    expect(text(seen)).toBe(`asfaleia-seen/1\n${line}`)
    expect(line).toMatch(/^[A-Za-z0-9_-]{22} \d+\n$/)
    expect(line).not.toContain(id)
    expect(isId(line.slice(0, 22))).toBe(true)
  })

  it('survives storage, as a whole or line by line', () => {
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

  it('loses only its last line if that was cut in writing', () => {
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
  ])('refuses to read %j', (stored) => {
    expect(Seen.decode(encodeText(stored), NOW)).toBeUndefined()
  })

  it('forgets a message once it is stale, and not before', () => {
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

  it('admits no replay after a clock ran ahead and was set back', () => {
    const seen = new Seen()
    const id = makeId()
    seen.add({ from, id, time: NOW }, NOW)
    const ahead = Seen.decode(seen.encode(), NOW + 30 * DAY)!
    const back = Seen.decode(ahead.encode(), NOW + 60)!
    expect(back.has(from, id) || NOW < back.since).toBe(true)
    expect(back.since).toBeLessThanOrEqual(NOW + 1)
  })

  it('makes nothing stale for long after a clock ran ahead and a message was dated ahead', () => {
    const seen = new Seen()
    seen.add({ from, id: makeId(), time: NOW + 15 * DAY }, NOW)
    const back = Seen.decode(Seen.decode(seen.encode(), NOW + 90 * DAY)!.encode(), NOW + 60)!
    expect(back.since).toBeGreaterThan(NOW + 60)
    expect(back.correct(NOW + 60)).toBe(true)
    expect(back.since).toBe(NOW + 60)
    for (const now of [NOW + 60, NOW + 61]) expect(back.correct(now)).toBe(false)
    expect(Seen.decode(back.encode(), NOW + 61)!.since).toBe(NOW + 60)
  })

  it('does not pass its clock when many messages that are dated ahead take all space', () => {
    const seen = new Seen(16)
    for (let n = 0; n < 100; n++) seen.add({ from, id: makeId(), time: NOW + 10 * DAY }, NOW + 0.5)
    expect(seen.since).toBe(NOW)
  })

  it('keeps a stale message as long as a new one, and a message from the future longer', () => {
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

  it('forgets nothing as long as there are no more tags than it may keep', () => {
    const seen = new Seen(16)
    const ids = Array.from({ length: 16 }, () => makeId())
    for (const id of ids) seen.add({ from, id, time: NOW }, NOW)
    const read = Seen.decode(seen.encode(), NOW, 16)!
    expect([seen.size, read.size, ids.every((id) => read.has(from, id))]).toEqual([16, 16, true])
  })

  it('merges the tags of another program: each is kept for the longer of the two times', () => {
    const [own, other] = [new Seen(), new Seen()]
    const [long, short] = [makeId(), makeId()]
    own.add({ from, id: long, time: NOW + 3 * DAY }, NOW)
    other.add({ from, id: long, time: NOW }, NOW)
    own.add({ from, id: short, time: NOW }, NOW)
    other.add({ from, id: short, time: NOW + 3 * DAY }, NOW)
    own.merge(other, NOW)
    const later = Seen.decode(own.encode(), NOW + 18 * DAY)!
    expect([long, short].map((id) => later.has(from, id))).toEqual([true, true])
  })

  it('merges the time before which nothing is known: the later of the two', () => {
    const early = (): Seen => Seen.decode(encodeText(`asfaleia-seen/1\nsince ${NOW - 20}\n`), NOW)!
    const late = (): Seen => Seen.decode(encodeText(`asfaleia-seen/1\nsince ${NOW - 10}\n`), NOW)!
    for (const [own, other] of [
      [early(), late()],
      [late(), early()],
    ] as const) {
      own.merge(other, NOW)
      expect(own.since).toBe(NOW - 10)
    }
  })

  it('reads the longer of two times of a tag, in whatever order the lines are', () => {
    const id = makeId()
    const line = (time: number): string => Buffer.from(new Seen().add({ from, id, time }, NOW)).toString()
    const lines = [line(NOW), line(NOW + 3 * DAY)]
    for (const each of [lines, lines.toReversed()]) {
      expect(Seen.decode(encodeText(`asfaleia-seen/1\n${each.join('')}`), NOW + 18 * DAY)!.has(from, id)).toBe(true)
    }
  })

  it('is bounded: messages forgotten for space are older than `since`', () => {
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
          // Every earlier message is recognized as seen or as too old.
          for (const { id, time } of messages) expect(seen.has(from, id) || time < seen.since).toBe(true)
          // A new message one second from now must be neither.
          expect(seen.since).toBeLessThanOrEqual(now + 1)
        }
      }),
    )
  })
})
