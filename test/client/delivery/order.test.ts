import fc from 'fast-check'
import { expect, test } from 'vitest'
import { Order, ORDER, type Ordered } from '../../../src/client/delivery/order.ts'

const ALICE = 'alice'
const items = (given: readonly Ordered<string>[]): unknown[] =>
  given.map(({ item, gap, late }) => (gap ? `${item} after a gap` : late ? `${item} late` : item))

/** Pushes message n of second n, which follows message n − 1. */
function push(order: Order<string>, n: number, now: number, from = ALICE): unknown[] {
  return items(order.push(from, { id: `${n}`, time: n, ...(n > 0 && { after: `${n - 1}` }) }, `${n}`, now))
}

test('messages in any order of arrival come out once and in sequence', () => {
  const shuffled = fc.integer({ min: 1, max: 60 }).chain((count) => {
    const all = Array.from({ length: count }, (_, n) => n)
    return fc.shuffledSubarray(all, { minLength: count, maxLength: count })
  })
  fc.assert(
    fc.property(shuffled, (arrival) => {
      const order = new Order<string>()
      // The first message of an unknown sender begins the sequence, so it does not wait for an earlier one.
      order.push(ALICE, { id: 'start', time: -1 }, 'start', 0)
      const given = arrival.flatMap((n) => push(order, n, 0))
      expect(given).toEqual(arrival.toSorted((a, b) => a - b).map(String))
      expect(order.count(() => true)).toBe(0)
    }),
  )
})

test('the first message of a sender waits for the one before if the memory of earlier runs does not have it', () => {
  const order = new Order<string>()
  expect(order.push('alice', { id: 'b', after: 'a' }, 'b', 0, false, true)).toEqual([])
  expect(order.push('alice', { id: 'a' }, 'a', 1, false, true)).toEqual([{ item: 'a' }, { item: 'b' }])
  expect(order.push('bob', { id: 'y', after: 'x' }, 'y', 2, true, true)).toEqual([{ item: 'y' }])
})

test('the first message of a sender comes out at once, whichever message it follows', () => {
  expect(push(new Order(), 7, 0)).toEqual(['7'])
})

test('a message comes out at once if its predecessor came in an earlier run', () => {
  const order = new Order<string>()
  push(order, 0, 0)
  expect(items(order.push(ALICE, { id: '9', time: 9, after: '8' }, '9', 0, true))).toEqual(['9'])
})

test('a missing message is awaited for a limited time, and marked late afterwards', () => {
  const order = new Order<string>()
  expect(push(order, 0, 0)).toEqual(['0'])
  expect(order.due()).toBe(Number.POSITIVE_INFINITY)
  expect(push(order, 2, 100)).toEqual([])
  expect(push(order, 3, 200)).toEqual([])
  expect(order.due()).toBe(100 + ORDER.hold)
  expect(order.expire(99 + ORDER.hold)).toEqual([])
  expect(items(order.expire(100 + ORDER.hold))).toEqual(['2 after a gap', '3'])
  expect(order.due()).toBe(Number.POSITIVE_INFINITY)
  expect(push(order, 1, 0)).toEqual(['1 late'])
  expect(push(order, 4, 0)).toEqual(['4'])
})

test('behind a gap, the messages that are here come in their order', () => {
  const order = new Order<string>()
  push(order, 0, 0)
  for (const n of [6, 4, 5, 3]) expect(push(order, n, n)).toEqual([])
  expect(items(order.expire(6 + ORDER.hold))).toEqual(['3 after a gap', '4', '5', '6'])
  expect(push(order, 1, 6 + ORDER.hold)).toEqual(['1 late'])
  expect(push(order, 2, 6 + ORDER.hold)).toEqual(['2 late'])
})

test('every message of a gap that arrives after all is late, and newer ones are not', () => {
  const order = new Order<string>()
  push(order, 0, 0)
  push(order, 5, 0)
  expect(items(order.expire(ORDER.hold))).toEqual(['5 after a gap'])
  expect(push(order, 1, ORDER.hold)).toEqual(['1 late'])
  expect(push(order, 3, ORDER.hold)).toEqual([])
  expect(push(order, 2, ORDER.hold)).toEqual(['2 late', '3 late'])
  expect(push(order, 4, ORDER.hold)).toEqual(['4 late'])
  expect(push(order, 6, ORDER.hold)).toEqual(['6'])
})

test('a message that fills a gap is late, also if the one before it came in an earlier run', () => {
  const order = new Order<string>()
  expect(order.push(ALICE, { id: '5', time: 5, after: '4' }, '5', 0, false, true)).toEqual([])
  expect(items(order.expire(ORDER.hold))).toEqual(['5 after a gap'])
  expect(items(order.push(ALICE, { id: '2', time: 2, after: '1' }, '2', ORDER.hold, true, true))).toEqual(['2 late'])
  expect(push(order, 3, ORDER.hold)).toEqual(['3 late'])
  expect(push(order, 6, ORDER.hold)).toEqual(['6'])
})

test('the messages of a gap are late in any order of arrival', () => {
  const order = new Order<string>()
  expect(push(order, 9, 0)).toEqual(['9'])
  expect(push(order, 14, 0)).toEqual([])
  expect(items(order.expire(ORDER.hold))).toEqual(['14 after a gap'])
  expect(push(order, 13, ORDER.hold)).toEqual(['13 late'])
  expect(push(order, 0, ORDER.hold)).toEqual(['0 late'])
  expect(push(order, 12, ORDER.hold)).toEqual(['12 late'])
  expect(push(order, 10, ORDER.hold)).toEqual(['10 late'])
  expect(push(order, 11, ORDER.hold)).toEqual(['11 late'])
  expect(push(order, 15, ORDER.hold)).toEqual(['15'])
})

test('the first message of a sequence whose end came behind a gap is late, and that of a newer one is not', () => {
  const order = new Order<string>()
  const at = (id: string, time: number, after?: string): unknown[] =>
    items(order.push(ALICE, { id, time, ...(after !== undefined && { after }) }, id, 0, false, true))
  expect(at('d', 30, 'c')).toEqual([])
  expect(items(order.expire(ORDER.hold))).toEqual(['d after a gap'])
  expect(at('x', 40)).toEqual(['x'])
  expect(at('y', 41, 'x')).toEqual(['y'])
  expect(at('a', 10)).toEqual(['a late'])
  expect(at('b', 20, 'a')).toEqual(['b late'])
  expect(at('c', 25, 'b')).toEqual(['c late'])
  expect(at('z', 42, 'y')).toEqual(['z'])
})

test.each([true, false])(
  'the beginning of a sequence is late behind a newer message of another one (which began in an earlier run: %s)',
  (known) => {
    const order = new Order<string>()
    const at = (id: string, time: number, after?: string): unknown[] =>
      items(order.push(ALICE, { id, time, ...(after !== undefined && { after }) }, id, 0, known && after === 'y', known))
    expect(at('z', 40, 'y')).toEqual(['z'])
    expect(at('a', 10)).toEqual(['a late'])
    expect(at('b', 20, 'a')).toEqual(['b late'])
    expect(at('n', 50)).toEqual(['n'])
    expect(at('z2', 60, 'z')).toEqual(['z2'])
  },
)

test('the beginning of a sequence is late behind a message of the same second that follows one of an earlier run', () => {
  const order = new Order<string>()
  expect(items(order.push(ALICE, { id: '2', time: 5, after: '1' }, '2', 0, true, true))).toEqual(['2'])
  expect(items(order.push(ALICE, { id: '0', time: 5 }, '0', 0, false, true))).toEqual(['0 late'])
})

test('sequences that begin in the same second have no mark: no time tells which one is older', () => {
  const order = new Order<string>()
  for (const id of ['0', '1', '2']) expect(items(order.push(ALICE, { id, time: 5 }, id, 0, false, true))).toEqual([id])
  expect(items(order.push(ALICE, { id: '3', time: 5, after: '2' }, '3', 0, false, true))).toEqual(['3'])
  expect(items(order.push(ALICE, { id: '4', time: 5 }, '4', 0, false, true))).toEqual(['4 late'])
  expect(items(order.push(ALICE, { id: '5', time: 6 }, '5', 0, false, true))).toEqual(['5'])
  expect(items(order.push(ALICE, { id: '6', time: 6 }, '6', 0, false, true))).toEqual(['6'])
})

test('a message that fills a gap is late behind a newer one that follows a message of an earlier run', () => {
  const order = new Order<string>()
  const at = (n: number, known = false): unknown[] =>
    items(order.push(ALICE, { id: `${n}`, time: n, after: `${n - 1}` }, `${n}`, 0, known, true))
  expect(at(3)).toEqual([])
  expect(items(order.expire(ORDER.hold))).toEqual(['3 after a gap'])
  expect(at(6, true)).toEqual(['6'])
  expect(at(4)).toEqual(['4 late'])
})

test('messages that come after the beginning of a newer sequence are late', () => {
  const order = new Order<string>()
  const at = (id: string, time: number, after?: string): unknown[] =>
    items(order.push(ALICE, { id, time, ...(after !== undefined && { after }) }, id, 0, false, true))
  expect(at('a', 10)).toEqual(['a'])
  // The sender gave b and c up before it wrote x, so x names none; another relay gave x first.
  expect(at('x', 40)).toEqual(['x'])
  expect(at('b', 20, 'a')).toEqual(['b late'])
  expect(at('c', 30, 'b')).toEqual(['c late'])
  expect(at('y', 50, 'x')).toEqual(['y'])
  expect(at('z', 60)).toEqual(['z'])
  expect(at('y2', 70, 'y')).toEqual(['y2'])
})

test('a message behind a gap is late, too, if a newer one was released behind another gap, and so are those that follow it', () => {
  const order = new Order<string>()
  const at = (id: string, time: number, after: string, now: number): Ordered<string>[] =>
    order.push(ALICE, { id, time, after }, id, now, false, true)
  order.push(ALICE, { id: '0', time: 0 }, '0', 0)
  expect(at('5', 5, '4', 0)).toEqual([])
  expect(at('2', 2, '1', 5)).toEqual([])
  expect(order.expire(ORDER.hold)).toEqual([{ item: '5', gap: true }])
  expect(order.expire(ORDER.hold + 5)).toEqual([{ item: '2', gap: true, late: true }])
  expect(at('3', 3, '2', ORDER.hold + 5)).toEqual([{ item: '3', late: true }])
  expect(at('4', 4, '3', ORDER.hold + 5)).toEqual([{ item: '4', late: true }])
  expect(at('6', 6, '5', ORDER.hold + 5)).toEqual([{ item: '6' }])
})

test('a message that its sender gave up is late if a newer one came before it', () => {
  const order = new Order<string>()
  const at = (id: string, time: number, after?: string): unknown[] =>
    items(order.push(ALICE, { id, time, ...(after !== undefined && { after }) }, id, 0, false, true))
  expect(at('a', 10)).toEqual(['a'])
  expect(at('c', 30, 'a')).toEqual(['c'])
  expect(at('b', 20, 'a')).toEqual(['b late'])
  expect(at('b2', 25, 'b')).toEqual(['b2 late'])
  expect(at('d', 40, 'c')).toEqual(['d'])
  // The next run of the sender: nothing is unconfirmed, so its message begins a sequence.
  expect(at('e', 50)).toEqual(['e'])
  expect(at('s', 5)).toEqual(['s late'])
  // Both wait for the same one.
  expect(at('h', 80, 'f')).toEqual([])
  expect(at('g', 70, 'f')).toEqual([])
  expect(at('f', 60, 'e')).toEqual(['f', 'g', 'h'])
  expect(at('g2', 75, 'g')).toEqual(['g2 late'])
})

test('a message that its sender gave up is late, also if the one before it came in an earlier run', () => {
  const order = new Order<string>()
  const at = (id: string, time: number): unknown[] => items(order.push(ALICE, { id, time, after: 'a' }, id, 0, true, true))
  expect(at('c', 30)).toEqual(['c'])
  expect(at('b', 20)).toEqual(['b late'])
})

test('a clock set back does not prolong the wait', () => {
  const order = new Order<string>()
  push(order, 0, 90_000_000)
  expect(push(order, 2, 90_000_000)).toEqual([])
  expect(push(order, 4, 0)).toEqual([])
  expect(items(order.expire(0))).toEqual(['2 after a gap'])
  expect(order.due()).toBe(ORDER.hold)
})

test('a gap of one sender delays no other sender', () => {
  const order = new Order<string>()
  push(order, 0, 0)
  push(order, 2, 0)
  expect(push(order, 0, 0, 'bob')).toEqual(['0'])
  expect(push(order, 1, 0, 'bob')).toEqual(['1'])
  expect(order.count(() => true)).toBe(1)
})

test('the number of held messages with unknown predecessors is bounded', () => {
  const order = new Order<string>()
  push(order, 0, 0)
  let given = 0
  for (let n = 0; n < 10_000; n++) given += order.push(ALICE, { id: `x${n}`, after: `y${n}` }, `${n}`, n).length
  expect(order.count(() => true)).toBe(ORDER.sender)
  expect(given).toBe(10_000 - ORDER.sender)
  for (let s = 0; s < 100; s++) {
    push(order, 0, 0, `s${s}`)
    for (let n = 0; n < 50; n++) order.push(`s${s}`, { id: `x${n}`, after: `y${n}` }, '', 0)
  }
  expect(order.count(() => true)).toBe(ORDER.all)
})

test('messages that form a cycle come out as well', () => {
  const order = new Order<string>()
  push(order, 0, 0)
  expect(order.push(ALICE, { id: 'a', after: 'b' }, 'a', 0)).toEqual([])
  expect(order.push(ALICE, { id: 'b', after: 'a' }, 'b', 0)).toEqual([])
  expect(items(order.push(ALICE, { id: 'c', after: 'c' }, 'c', 0))).toEqual(['c'])
  expect(items(order.expire(ORDER.hold))).toEqual(['a after a gap', 'b late'])
  expect(order.count(() => true)).toBe(0)
})

test('release() gives the oldest matching message and its successors', () => {
  const order = new Order<string>()
  push(order, 0, 0)
  push(order, 3, 10)
  push(order, 4, 20)
  push(order, 6, 30)
  const late = (item: string): boolean => Number(item) >= 3
  expect(order.count(late)).toBe(3)
  expect(items(order.release(late))).toEqual(['3 after a gap', '4'])
  expect(order.count(late)).toBe(1)
  expect(order.release((item) => item === 'none')).toEqual([])
})

test('release() picks the sender with the most held messages, not the one that wrote first', () => {
  const order = new Order<string>()
  push(order, 0, 0, 'bob')
  push(order, 0, 0, 'mallory')
  push(order, 2, 0, 'bob')
  for (const n of [2, 4, 6]) push(order, n, 10, 'mallory')
  expect(items(order.release(() => true))).toEqual(['2 after a gap'])
  expect(items(order.release(() => true))).toEqual(['4 after a gap'])
  // Bob's message still waits for its predecessor.
  expect(push(order, 1, 20, 'bob')).toEqual(['1', '2'])
})

test('of too many senders the one that wrote nothing for the longest time is forgotten, but none with held messages', () => {
  const order = new Order<string>()
  for (const from of ['waits', 'active', 'silent']) push(order, 0, 0, from)
  expect(push(order, 2, 0, 'waits')).toEqual([])
  for (let n = 3; n < ORDER.senders; n++) push(order, 0, 0, `other ${n}`)
  push(order, 1, 0, 'active')
  push(order, 0, 0, 'one more')
  // The first message of a sender that was forgotten comes out at once.
  expect(push(order, 3, 0, 'active')).toEqual([])
  expect(push(order, 1, 0, 'waits')).toEqual(['1', '2'])
  expect(push(order, 7, 0, 'silent')).toEqual(['7'])
})

test('messages of one time that waited for the same one come out in the order of their arrival, each with those that follow it', () => {
  const order = new Order<string>()
  push(order, 0, 0)
  const messages = { d: 'b', e: 'c', b: 'a', c: 'a' }
  for (const [id, after] of Object.entries(messages)) expect(order.push(ALICE, { id, time: 1, after }, id, 0)).toEqual([])
  expect(items(order.push(ALICE, { id: 'a', time: 1, after: '0' }, 'a', 0))).toEqual(['a', 'b', 'd', 'c', 'e'])
})

test('messages that waited for the same one come out in the order of their times, each with those that follow it', () => {
  const order = new Order<string>()
  const at = (id: string, time: number, after: string): unknown[] => items(order.push(ALICE, { id, time, after }, id, 0, false, true))
  // The sender gave up 2 and 3, and did not name them in 4.
  expect(at('1', 1, '0')).toEqual([])
  expect(at('4', 4, '1')).toEqual([])
  expect(at('2', 2, '1')).toEqual([])
  expect(at('3', 3, '2')).toEqual([])
  expect(items(order.expire(ORDER.hold))).toEqual(['1 after a gap', '2', '3', '4'])
})

test('a message that follows one that its sender gave up is late if a newer one came before it', () => {
  const order = new Order<string>()
  const at = (id: string, time: number, after?: string): unknown[] =>
    items(order.push(ALICE, { id, time, ...(after !== undefined && { after }) }, id, 0, false, true))
  expect(at('1', 1)).toEqual(['1'])
  expect(at('2', 2, '1')).toEqual(['2'])
  expect(at('4', 4, '1')).toEqual(['4'])
  expect(at('3', 3, '2')).toEqual(['3 late'])
  expect(at('5', 5, '4')).toEqual(['5'])
})

test('a message that follows one of an earlier run is late if a newer sequence began before it', () => {
  const order = new Order<string>()
  expect(items(order.push(ALICE, { id: 'b', time: 3 }, 'b', 0, false, true))).toEqual(['b'])
  expect(items(order.push(ALICE, { id: 'a', time: 2, after: 'earlier' }, 'a', 0, true, true))).toEqual(['a late'])
})

test('a message that follows one of an earlier run and is as old as the newest one is late only behind a gap', () => {
  const follow = (order: Order<string>): unknown[] =>
    items(order.push(ALICE, { id: 'x', time: 5, after: 'earlier' }, 'x', ORDER.hold, true))
  const whole = new Order<string>()
  for (let n = 0; n <= 5; n++) push(whole, n, 0)
  expect(follow(whole)).toEqual(['x'])
  const broken = new Order<string>()
  push(broken, 0, 0)
  expect(push(broken, 5, 0)).toEqual([])
  expect(items(broken.expire(ORDER.hold))).toEqual(['5 after a gap'])
  expect(follow(broken)).toEqual(['x late'])
})
