/** The rules of docs/protocol.md, section 13, one by one. model.test.ts has all of them together. */
import { describe, expect, test } from 'vitest'
import { onTick } from '../../../src/client/ring/ageing.ts'
import {
  type Change,
  onAccept,
  onRead,
  onReport,
  onUnopened,
  type Reading,
  recognise,
  takeReport,
} from '../../../src/client/ring/receiving.ts'
import { countFresh, isGivenUp, onRenew, onSend, type Sent } from '../../../src/client/ring/sending.ts'
import { EMPTY, type Given, type Place, RING, type Ring } from '../../../src/client/ring/state.ts'

const NOW = 1_795_000_000
const HOUR = 3_600
const DAY = 86_400
const seedOf = (n: number): Uint8Array => new Uint8Array(32).fill(n)
const seeds = (count: number, from = 1): Uint8Array[] => Array.from({ length: count }, (_, n) => seedOf(from + n))

function send(ring: Ring, id: string, change: { time?: number; bundle?: string; way?: 'daily' } = {}, fresh = seeds(3)): Sent | undefined {
  const sending = { id, time: NOW, ...change }
  return onSend(ring, sending, fresh.slice(0, countFresh(ring, sending.time, fresh.length)))
}

function read(ring: Ring, reading: Partial<Reading> & Pick<Reading, 'id'>): Change {
  return onRead(ring, { now: NOW, time: NOW, tag: `tag-${reading.id}`, key: 'daily', begin: 'proven', ...reading })
}

/** A ring that holds keys of the contact, given at these times. */
function holding(...times: readonly number[]): Ring {
  return times.reduce((ring, time, n) => read(ring, { id: `held${n}`, time, keys: [`key${n}`], left: 5 }).ring, EMPTY)
}

/** A ring that has given keys in messages `own0`, `own1`, …, one each. */
function giving(count: number, ring = EMPTY): Ring {
  for (let n = 0; n < count; n++) ring = send(ring, `own${n}`, { time: NOW + n, bundle: 'bundle' }, seeds(1, 10 + n))!.ring
  return ring
}

const place = (n: number): Place => ({ time: NOW + n, id: `own${n}`, index: 0 })
const ids = (ring: Ring): string[] => ring.given.map(({ place: { id, index }, use }) => `${id}.${index} ${use}`)

describe('S1: a message is encrypted', () => {
  test('to the bundle at first, or waits for one', () => {
    expect(send(EMPTY, 'm')).toBeUndefined()
    expect(send(EMPTY, 'm', { bundle: 'bundle' })).toMatchObject({ to: 'bundle', way: 'daily' })
  })

  test('to the oldest unused key, then again to that of the last message, then to the bundle', () => {
    let ring = holding(NOW - 30, NOW - 40)
    const told: unknown[] = []
    for (const time of [NOW, NOW, NOW, NOW + 14 * DAY]) {
      const sent = send(ring, 'm', { time, bundle: 'bundle' }, [])!
      told.push([sent.to, sent.way, sent.left])
      ring = sent.ring
    }
    // The contact has not used a key of this ring, so a message to the bundle has no `left`.
    expect(told).toEqual([
      ['key1', 'one-time', 1],
      ['key0', 'one-time', 0],
      ['key0', 'again', 0],
      ['bundle', 'daily', undefined],
    ])
  })

  test('to no key of 14 days, and `left` does not count it', () => {
    const ring = holding(NOW - 14 * DAY, NOW - 14 * DAY + 2)
    expect(send(ring, 'm', { bundle: 'bundle' }, [])).toMatchObject({ to: 'key1', left: 0, ring: { held: [] } })
    expect(send(ring, 'm', { time: NOW + 2, bundle: 'bundle' }, [])).toMatchObject({ to: 'bundle', way: 'daily' })
  })

  test('to no key that is older than one that was used, even if it comes late', () => {
    const ring = send(holding(NOW - 10), 'm', {}, [])!.ring
    const late = read(ring, { id: 'late', time: NOW - 20, keys: ['older'] }).ring
    expect(send(late, 'm2', { bundle: 'bundle' }, [])).toMatchObject({ to: 'key0', way: 'again' })
    const later = read(late, { id: 'later', time: NOW - 5, keys: ['newer'] }).ring
    expect(send(later, 'm3', {}, [])).toMatchObject({ to: 'newer', way: 'one-time' })
  })

  test('to the bundle if the caller says so, with `left` if the contact knows this state', () => {
    const ring = holding(NOW - 10)
    expect(send(ring, 'm', { bundle: 'bundle', way: 'daily' })).toMatchObject({
      to: 'bundle',
      begin: true,
      ring: { held: [{ recipient: 'key0' }] },
    })
    expect(send({ ...ring, known: true }, 'm', { bundle: 'bundle', way: 'daily' })).toMatchObject({ to: 'bundle', begin: true, left: 1 })
    expect(send(ring, 'm', { bundle: 'bundle' })).toMatchObject({ to: 'key0', begin: false, left: 0 })
  })
})

describe('S3: a message brings', () => {
  test('three keys while the contact has hardly any, else one', () => {
    const left = (count: number): Ring => ({ ...EMPTY, left: { count, time: NOW } })
    expect([EMPTY, left(0), left(1), left(2), left(32)].map((ring) => countFresh(ring, NOW))).toEqual([3, 3, 3, 1, 1])
    expect([0, 1, 2].map((room) => countFresh(EMPTY, NOW, room))).toEqual([0, 1, 2])
  })

  test('none while 32 are outstanding, and takes no old key back', () => {
    let ring = EMPTY
    const counts = Array.from({ length: 12 }, (_, n) => {
      const sent = send(ring, `m${n}`, { bundle: 'bundle', time: NOW + n }, seeds(3, 3 * n))!
      const count = sent.ring.given.length - ring.given.length
      ring = sent.ring
      return count
    })
    expect(counts).toEqual([3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 2, 0])
    expect(ring.given).toHaveLength(32)
  })

  test('new ones although 32 were lost, once the contact says how many it has', () => {
    const ring = { ...giving(40), left: { count: 0, time: NOW + 39 } }
    expect(ring.given).toHaveLength(32)
    expect(countFresh(ring, NOW + 39)).toBe(3)
    expect(countFresh({ ...ring, left: { count: 30, time: NOW + 39 } }, NOW + 39)).toBe(1)
    expect(countFresh({ ...ring, left: { count: 64, time: NOW + 39 } }, NOW + 39)).toBe(0)
  })

  test('new ones although 32 were given to a program that took none, once the contact begins to use keys', () => {
    const ring = giving(32)
    const begun = read(ring, { id: 'begin', time: NOW + 40, begin: 'unknown', keys: ['k'] }).ring
    expect([countFresh(ring, NOW + 50), countFresh(begun, NOW + 50)]).toEqual([0, 3])
    // The contact gets those that were given since.
    expect(countFresh(read(ring, { id: 'begin', time: NOW + 1, begin: 'unknown', keys: ['k'] }).ring, NOW + 50)).toBe(2)
  })

  test('one although 32 are outstanding, if it is repeated until the contact confirms it, and the contact is short of keys', () => {
    const count = (ring: Ring, now = NOW + 40): number => countFresh(ring, now, 3, true)
    const short = { ...giving(32), left: { count: 1, time: NOW - 1 } }
    expect([countFresh(short, NOW + 40), count(short), count(giving(32)), count(giving(31))]).toEqual([0, 1, 1, 1])
    expect(count({ ...short, left: { count: 2, time: NOW - 1 } })).toBe(0)
    // Those that the contact reported 14 days ago are too old to be used.
    expect(count({ ...short, left: { count: 2, time: NOW - 1 } }, NOW - 1 + 14 * DAY)).toBe(1)
    const given = giving(32).given.flatMap((key) => [key, { ...key, place: { ...key.place, index: 1 } }])
    expect([count({ ...short, given }), count({ ...short, given: given.slice(1) })]).toEqual([0, 1])
  })

  test('new ones although 32 were given by a clock that was wrong', () => {
    expect(countFresh(giving(40), NOW - DAY)).toBe(3)
  })
})

describe('S4: a message goes to the bundle', () => {
  test('after three resends and three days of silence', () => {
    expect(isGivenUp(EMPTY, { resends: 3, now: NOW })).toBe(true)
    expect(isGivenUp({ ...EMPTY, heard: NOW - 3 * DAY }, { resends: 3, now: NOW })).toBe(true)
    expect(isGivenUp({ ...EMPTY, heard: NOW - 3 * DAY }, { resends: 2, now: NOW })).toBe(false)
    expect(isGivenUp({ ...EMPTY, heard: NOW - 3 * DAY + 1 }, { resends: 9, now: NOW })).toBe(false)
  })

  test('with the same text, whose keys count again', () => {
    const ring: Ring = { ...EMPTY, given: [{ place: place(0), seed: seedOf(1), use: 'former', until: NOW + DAY }] }
    expect(onRenew(ring, { id: 'own0', time: NOW, bundle: 'bundle', way: 'daily' }, 2)).toMatchObject({
      to: 'bundle',
      ring: { given: [{ use: 'open' }] },
    })
    expect(onRenew(ring, { id: 'other', time: NOW, bundle: 'bundle' }, 2)!.ring.given[0]!.use).toBe('former')
  })

  test('to a key that is used again only if the text says that no other is left', () => {
    const ring = holding(NOW - 10)
    expect(onRenew(ring, { id: 'm', time: NOW }, 0)!.ring.last?.recipient).toBe('key0')
    const spent = onRenew(ring, { id: 'm', time: NOW }, 3)!.ring
    expect(send(spent, 'n', { bundle: 'bundle' }, [])).toMatchObject({ to: 'bundle', way: 'daily' })
    // The contact has erased the keys that are older than this one.
    const later = read(spent, { id: 'late', time: NOW - 11, keys: ['older'], left: 5 }).ring
    expect(read(later, { id: 'new', time: NOW - 9, keys: ['newer'], left: 5 }).ring.held.map(({ recipient }) => recipient)).toEqual([
      'newer',
    ])
    expect(onRenew(EMPTY, { id: 'm', time: NOW }, 3)).toBeUndefined()
  })
})

describe('R1: a payload', () => {
  test('that came before is recognised by its tag', () => {
    const { ring } = read(EMPTY, { id: 'm', tag: 'one' })
    const both = onUnopened(ring, { tag: 'two', now: NOW, random: 0 })
    expect(['one', 'two', 'three'].map((tag) => recognise(both, tag))).toEqual(['read', 'unread', undefined])
  })
})

describe('R2: a read message erases', () => {
  test('its key if the sender has others, and only the mark if not', () => {
    const ring = giving(2)
    const erased = read(ring, { id: 'm', key: place(0), left: 1 })
    expect(ids(erased.ring)).toEqual(['own1.0 open'])
    expect(erased.erased).toEqual([seedOf(10)])
    const kept = read(ring, { id: 'm', key: place(0), left: 0 })
    expect(ids(kept.ring)).toEqual(['own0.0 used', 'own1.0 open'])
    expect(kept.erased).toEqual([])
    // The second message to the same key.
    expect(ids(read(kept.ring, { id: 'n', key: place(0), left: 1 }).ring)).toEqual(['own1.0 open'])
  })

  test('all older keys once everything before it was read', () => {
    const ring = giving(5)
    const first = read(ring, { id: 'm', key: place(0), left: 0, chained: {} }).ring
    const next = read(first, { id: 'n', key: place(2), left: 0, chained: { after: 'm' } }).ring
    expect(ids(next)).toEqual(['own2.0 used', 'own3.0 open', 'own4.0 open'])
    const before = read(ring, { id: 'm2', key: place(1), left: 1, chained: { after: 'm1' } }).ring
    expect(ids(before)).toEqual(['own0.0 open', 'own2.0 open', 'own3.0 open', 'own4.0 open'])
    const after = read(before, { id: 'm3', key: place(2), left: 1, chained: { after: 'm2' } }).ring
    expect(ids(after)).toEqual(['own0.0 open', 'own3.0 open', 'own4.0 open'])
    expect(after.runs).toEqual([{ id: 'm3', after: 'm1', since: NOW, place: place(2) }])
    // The missing message.
    const all = read(after, { id: 'm1', key: place(0), left: 0, chained: {} }).ring
    expect(ids(all)).toEqual(['own3.0 open', 'own4.0 open'])
    expect([all.runs, all.read]).toEqual([[], ['m1', 'm3']])
  })

  test('the same in any order of arrival', () => {
    const messages = [0, 1, 2, 3].map((n) => ({ id: `m${n}`, key: place(n), left: 3 - n, chained: n === 0 ? {} : { after: `m${n - 1}` } }))
    const orders = permute(messages)
    expect(orders).toHaveLength(24)
    for (const order of orders) {
      const ring = order.reduce((each, message) => read(each, message).ring, giving(6))
      expect(ids(ring)).toEqual(['own3.0 used', 'own4.0 open', 'own5.0 open'])
      expect(ring.runs).toEqual([])
    }
  })

  test('older keys after 14 days although a message is missing', () => {
    const { ring } = read(giving(3), { id: 'm2', key: place(2), left: 0, chained: { after: 'm1' } })
    expect(ids(onTick(ring, NOW + 14 * DAY - 1).ring)).toHaveLength(3)
    expect(ids(onTick(ring, NOW + 14 * DAY).ring)).toEqual(['own2.0 used'])
  })

  test('older keys after 14 days if its sender has forgotten the messages before it', () => {
    const { ring } = read(giving(4), { id: 'm1', key: place(0), left: 1, chained: {} })
    // `m2`, to the key 1.0, is still on its way. Then the sender lost its outbox.
    const forgetful = read(ring, { id: 'm3', key: place(2), left: 1, chained: {} }).ring
    expect(ids(forgetful)).toEqual(['own1.0 open', 'own3.0 open'])
    const next = read(forgetful, { id: 'm4', key: place(3), left: 0, chained: { after: 'm3' } }).ring
    expect(ids(next)).toEqual(['own1.0 open', 'own3.0 used'])
    expect(ids(onTick(next, NOW + 14 * DAY).ring)).toEqual(['own3.0 used'])
  })

  test('older keys after 14 days if the first message to come names none before it, and is not to the oldest key', () => {
    // `m1` and `m2`, to the keys 0.0 and 1.0, are still on their way by another relay. Then the sender lost its outbox.
    const byKey = read(giving(4), { id: 'm3', key: place(2), left: 1, chained: {} }).ring
    const next = read(byKey, { id: 'm4', key: place(3), left: 0, chained: { after: 'm3' } }).ring
    expect(ids(next)).toEqual(['own0.0 open', 'own1.0 open', 'own3.0 used'])
    expect(ids(onTick(next, NOW + 14 * DAY).ring)).toEqual(['own3.0 used'])
    const daily = read(giving(4), { id: 'm3', key: 'daily', left: 1, chained: {} }).ring
    const after = read(daily, { id: 'm4', key: place(3), left: 0, chained: { after: 'm3' } }).ring
    expect(ids(after)).toEqual(['own0.0 open', 'own1.0 open', 'own2.0 open', 'own3.0 used'])
  })

  test('its key, and nothing else, if it came before under another tag', () => {
    const { ring } = read(giving(3), { id: 'm', key: place(1), left: 1, keys: ['key'], chained: {}, repeated: true })
    expect(ids(ring)).toEqual(['own0.0 open', 'own2.0 open'])
    expect(ring.held).toEqual([])
  })
})

describe('R5: a payload that no key opens', () => {
  const unopened = (ring: Ring, count: number, now = NOW): Ring =>
    Array.from({ length: count }, (_, n) => `t${n}`).reduce((each, tag) => onUnopened(each, { tag, now, random: 0.5 }), ring)

  test('is reported within an hour, 64 in one report', () => {
    const ring = unopened(EMPTY, 70)
    expect(takeReport(ring, { now: NOW + 1_799, random: 0 })).toBeUndefined()
    const first = takeReport(ring, { now: NOW + 1_800, random: 0 })!
    expect(first.tags).toHaveLength(64)
    expect(first.way).toBeUndefined()
    expect(takeReport(first.ring, { now: NOW + 1_800 + HOUR - 1, random: 0 })).toBeUndefined()
    // Nothing was opened since, so the next one goes to the bundle.
    expect(takeReport(first.ring, { now: NOW + 1_800 + HOUR, random: 0 })).toMatchObject({ way: 'daily', tags: { length: 6 } })
    const opened = read(first.ring, { id: 'm' }).ring
    expect(takeReport(opened, { now: NOW + 1_800 + HOUR, random: 0 })!.way).toBeUndefined()
  })

  test('is reported at most 8 times a day, whatever comes', () => {
    let ring = EMPTY
    let count = 0
    for (let now = NOW; now < NOW + 3 * DAY; now += 300) {
      ring = onUnopened(ring, { tag: `t${now}`, now, random: 0 })
      const report = takeReport(ring, { now, random: 0 })
      if (report === undefined) continue
      ring = report.ring
      count++
    }
    expect(count).toBe(24)
  })

  test('is reported again if it comes again, and not if it was read', () => {
    const reported = takeReport(unopened(EMPTY, 1), { now: NOW + HOUR, random: 0 })!.ring
    expect(takeReport(reported, { now: NOW + 9 * HOUR, random: 0 })).toBeUndefined()
    expect(takeReport(unopened(reported, 1, NOW + 5 * HOUR), { now: NOW + 9 * HOUR, random: 0 })!.tags).toEqual(['t0'])
    const { ring } = read(EMPTY, { id: 'm', tag: 't0' })
    expect(unopened(ring, 1)).toBe(ring)
  })

  test('makes the sender drop the keys from before the report', () => {
    const ring = holding(NOW - 20, NOW - 10)
    const answered = read(ring, { id: 'report', time: NOW, keys: ['new'] }).ring
    expect(onReport(answered, { id: 'report', time: NOW }).held.map(({ recipient }) => recipient)).toEqual(['new'])
    const used = send(ring, 'm', {}, [])!.ring
    expect(onReport(used, { id: 'report', time: NOW }).last).toBeUndefined()
  })

  test('is reported although the clock was set back by years', () => {
    const ring = unopened(EMPTY, 1, NOW + 1_000 * DAY)
    expect(takeReport(ring, { now: NOW, random: 0 })).toBeDefined()
  })
})

describe('R6: a message without `left` to a recipient of the day', () => {
  /** A ring with three given keys, of which the contact has used the first, and one held key. */
  const used = read(giving(3, holding(NOW - 10)), { id: 'm', time: NOW + 1, key: place(0), left: 1, keys: ['live'] }).ring
  const anew = { id: 'anew', time: NOW + 2, now: NOW + 5, keys: ['fresh'], address: [{ fingerprint: 'f', relay: 'r' }] }

  test('begins anew if it is proven', () => {
    const { ring, events } = read(used, anew)
    expect(events).toEqual(['anew'])
    expect(ring.held.map(({ recipient }) => recipient)).toEqual(['fresh'])
    // The key of the message from after that time still counts.
    expect(ids(ring)).toEqual(['own1.0 former', 'own2.0 open'])
    expect(ring.given[0]!.until).toBe(NOW + 5 + 8 * DAY)
    expect(ring.address).toEqual({ time: NOW + 2, mailboxes: anew.address })
  })

  test('goes on if it is a further one of the same beginning, until the contact uses a key', () => {
    const { ring } = read(used, anew)
    const further = read(ring, { ...anew, id: 'further', time: NOW + 3, keys: ['second'] })
    expect(further.events).toEqual([])
    expect(further.ring.held.map(({ recipient }) => recipient)).toEqual(['fresh', 'second'])
    const earlier = read(ring, { ...anew, id: 'earlier', time: NOW + 1, keys: ['dead'] })
    expect(earlier.ring.held.map(({ recipient }) => recipient)).toEqual(['fresh'])
    const answered = read(further.ring, { id: 'answer', time: NOW + 4, key: place(2), left: 1 }).ring
    expect(read(answered, { ...anew, id: 'again', time: NOW + 5, keys: ['third'] }).events).toEqual(['anew'])
  })

  test.each(['unproven', 'unknown'] as const)('changes nothing if it is %s, and holds if the user accepts it', (begin) => {
    const { ring, events, erased } = read(used, { ...anew, begin })
    expect([events, erased]).toEqual([['unproven'], []])
    const { doubt, seen, ...others } = ring
    const { seen: _, ...before } = used
    expect(others).toEqual(before)
    expect(seen.has('tag-anew')).toBe(true)
    expect(doubt).toMatchObject({ keys: ['fresh'] })
    const accepted = onAccept(ring, NOW + 9)!
    expect(accepted.ring.held.map(({ recipient }) => recipient)).toEqual(['fresh'])
    expect([accepted.events, accepted.ring.doubt]).toEqual([['anew'], undefined])
    expect(onAccept(used, NOW)).toBeUndefined()
  })

  const other = {
    id: 'other',
    time: NOW + 5,
    begin: 'unproven',
    keys: ['theirs'],
    address: [{ fingerprint: 'SHA256:theirs', relay: 'r' }],
  } as const
  test.each([
    ['the first one', (): Ring => read(EMPTY, anew).ring],
    ['a proven one of a contact who had used keys', (): Ring => read(used, anew).ring],
    ['one that the user accepted', (): Ring => onAccept(read(used, { ...anew, begin: 'unproven' }).ring, NOW + 9)!.ring],
  ])('is told if it is unproven and comes after %s, before any key was used', (_, make) => {
    const before = make()
    const { ring, events } = read(before, other)
    expect(events).toEqual(['unproven'])
    expect(ring.held).toEqual(before.held)
    expect(ring.address).toEqual(before.address)
    expect(ring.doubt).toMatchObject({ keys: ['theirs'] })
    expect(onAccept(ring, NOW + 9)!.ring.held.map(({ recipient }) => recipient)).toEqual(['theirs'])
  })

  test('that the user accepted goes on without the proof, and is not told again', () => {
    const { ring } = onAccept(read(used, { ...anew, begin: 'unproven' }).ring, NOW + 9)!
    expect(read(ring, { ...anew, id: 'further', time: NOW + 3, begin: 'unproven', keys: ['second'] }).events).toEqual([])
  })

  test('with `left`, but unproven, brings no key: a thief of the SSH key could write it', () => {
    const { ring, events } = read(used, { ...anew, begin: 'unproven', left: 0 })
    expect(events).toEqual([])
    expect(ring.held).toEqual(used.held)
    expect(ring.address).toBeUndefined()
    expect(ring.heard).toBe(used.heard)
  })

  test('that is older than the last one to a key of ours is no beginning', () => {
    const { ring, events } = read(used, { ...anew, time: NOW + 1 })
    expect(events).toEqual([])
    expect(ring.held.map(({ recipient }) => recipient)).toEqual(['fresh', 'live'])
  })

  test('of a contact without a known inbox brings keys only if it is the first', () => {
    const first = read(EMPTY, { ...anew, begin: 'unknown' }).ring
    expect(first.held).toHaveLength(1)
    expect(read(first, { ...anew, id: 'second', begin: 'unknown', keys: ['other'] }).ring.held).toHaveLength(1)
    expect(read(EMPTY, { ...anew, begin: 'unproven' }).ring.held).toEqual([])
  })

  test('tells of two clients if a later message uses a key from before', () => {
    const { ring } = read(used, anew)
    expect(read(ring, { id: 'old', time: NOW + 2, key: place(1), left: 1 }).events).toEqual([])
    expect(read(ring, { id: 'new', time: NOW + 3, key: place(1), left: 1 }).events).toEqual(['two-clients'])
  })

  test('keeps the keys for messages that are under way, whatever the new state says', () => {
    const { ring } = read(used, anew)
    const first = read(ring, { id: 'first', time: NOW + 4, key: place(2), left: 1, chained: {} }).ring
    expect(ids(first)).toEqual(['own1.0 former'])
    expect(first.read).toEqual(['first'])
  })
})

describe('R3 and R7: age', () => {
  const erasedAt = (ring: Ring, ...clock: readonly number[]): number | undefined => {
    for (const now of clock) {
      ring = onTick(ring, now).ring
      if (ring.given.length === 0) return now
    }
    return undefined
  }
  const hours = (from: number, count: number): number[] => Array.from({ length: count }, (_, n) => from + n * HOUR)

  test('erases a key a day after it is 22 days old', () => {
    expect(erasedAt(giving(1), ...hours(NOW, 30 * 24))).toBe(NOW + 23 * DAY)
    const { ring } = onTick(giving(1), NOW + 22 * DAY)
    const { erased } = onTick(ring, NOW + 23 * DAY)
    expect(erased).toEqual([seedOf(10)])
  })

  test('erases a key of an earlier state a day after its eight days', () => {
    const ring: Ring = { ...EMPTY, given: [{ place: place(0), seed: seedOf(1), use: 'former', until: NOW + 8 * DAY }] }
    expect(erasedAt(ring, ...hours(NOW, 30 * 24))).toBe(NOW + 9 * DAY)
  })

  test.each([
    ['20 days ahead for an hour', NOW + 20 * DAY],
    ['a year ahead for an hour', NOW + 365 * DAY],
    ['26 hours back for an hour', NOW - 26 * HOUR],
  ])('erases nothing by a clock that is %s', (_name, wrong) => {
    const ring = holding(NOW - 3 * DAY)
    const own = giving(2, ring)
    const after = [NOW, wrong, wrong + HOUR, NOW + HOUR].reduce((each, now) => onTick(each, now).ring, own)
    expect(after).toEqual(own)
  })

  test('erases keys that a wrong clock gave far in the future', () => {
    expect(erasedAt(giving(1), ...hours(NOW - 20 * DAY, 72))).toBe(NOW - 19 * DAY)
  })

  test('forgets payloads that no key opened after 23 days', () => {
    const ring = onUnopened(EMPTY, { tag: 't', now: NOW, random: 0 })
    expect(onTick(ring, NOW + 23 * DAY - 1).ring).toEqual(ring)
    const later = onTick(ring, NOW + 23 * DAY).ring
    expect([later.unread.size, later.reportAt]).toEqual([0, undefined])
  })
})

test('a hostile contact cannot make a ring grow', () => {
  let ring = EMPTY
  for (let n = 0; n < 4_200; n++) {
    const id = `m${n}`
    const keys = [`a${n}`, `b${n}`, `c${n}`]
    ring = read(ring, { id, time: NOW + n, keys, left: 0, chained: { after: `missing${n}` } }).ring
    ring = onUnopened(ring, { tag: `t${n}`, now: NOW, random: 0 })
    if (n % 3 === 0) ring = read(ring, { id: `anew${n}`, time: NOW + n, keys, key: ring.given.at(-1)?.place ?? 'daily', left: 0 }).ring
    ring = send(ring, `own${n}`, { time: NOW + n, bundle: 'bundle' })!.ring
  }
  expect(ring.given.length).toBeLessThanOrEqual(RING.given)
  expect(ring.held.length).toBeLessThanOrEqual(RING.held)
  expect(ring.runs.length).toBe(RING.runs)
  expect(ring.read.length).toBeLessThanOrEqual(RING.read)
  expect(ring.seen.size).toBe(RING.seen)
  expect(ring.unread.size).toBe(RING.unread)
})

test('no rule changes a ring in place', () => {
  const freeze = (ring: Ring): Ring => {
    for (const list of [ring.given, ring.held, ring.runs, ring.read, ring.reports]) {
      for (const each of list) Object.freeze(each)
      Object.freeze(list)
    }
    return Object.freeze(ring)
  }
  let ring = freeze(holding(NOW - 2, NOW - 1))
  for (let n = 0; n < 6; n++) ring = freeze(send(ring, `own${n}`, { time: NOW + n, bundle: 'bundle' })!.ring)
  const own = ring.given[2] as Given
  for (const reading of [
    { key: own.place, left: 0 },
    { key: own.place, left: 1, chained: {} },
    { keys: ['x'] },
    { begin: 'unproven' as const },
  ])
    ring = freeze(read(ring, { id: 'm', time: NOW + 9, ...reading }).ring)
  ring = freeze(onUnopened(ring, { tag: 't', now: NOW, random: 0 }))
  ring = freeze(takeReport(ring, { now: NOW + DAY, random: 0 })!.ring)
  for (const day of [21, 22, 23, 46]) ring = freeze(onTick(ring, NOW + day * DAY).ring)
  expect(ring.given).toEqual([])
})

/** All orders of a list. */
function permute<T>(list: readonly T[]): T[][] {
  if (list.length < 2) return [[...list]]
  return list.flatMap((first, n) => permute(list.toSpliced(n, 1)).map((others) => [first, ...others]))
}
