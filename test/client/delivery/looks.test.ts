import { expect, test } from 'vitest'
import { OUTBOX } from '../../../src/client/delivery/entry.ts'
import { Looks } from '../../../src/client/delivery/looks.ts'

const [FIRST, MOST] = OUTBOX.look
const nothingIsDown = (): boolean => false

test('a relay whose connection broke is looked at now, once, and as soon as it is not blocked', () => {
  const looks = new Looks()
  expect(looks.isDoubted('one')).toBe(false)
  looks.onLost('one', 100)
  expect(looks.isDoubted('one')).toBe(true)
  expect(looks.due(() => 0)).toBe(100)
  expect(looks.due(() => 500)).toBe(500)
  expect(looks.take(99, nothingIsDown)).toEqual([])
  expect(looks.take(100, () => true)).toEqual([])
  expect(looks.take(100, nothingIsDown)).toEqual(['one'])
  expect(looks.take(100, nothingIsDown)).toEqual([])
  expect(looks.due(() => 0)).toBe(Number.POSITIVE_INFINITY)
  // A look that is under way is not hurried.
  looks.hurry('one', 200)
  expect(looks.take(200, nothingIsDown)).toEqual([])
  looks.onUp('one')
  expect(looks.isDoubted('one')).toBe(false)
})

test('a look at a relay that is no longer doubted is dropped', () => {
  const looks = new Looks()
  looks.onLost('one', 100)
  looks.onUp('one')
  expect(looks.take(100, nothingIsDown)).toEqual([])
  expect(looks.due(() => 0)).toBe(Number.POSITIVE_INFINITY)
})

test('the pauses after idle connections double, from the first to the longest, less a quarter at most', () => {
  const looks = new Looks()
  const pauses: number[] = []
  for (let n = 0; n < 6; n++) {
    looks.onIdle('one', n === 0 ? 0 : 1, 1_000)
    pauses.push(looks.due(() => 0) - 1_000)
  }
  expect(pauses).toEqual([FIRST * 0.75, FIRST * 2, FIRST * 4, FIRST * 8, MOST, MOST])
  expect(looks.isDoubted('one')).toBe(true)
})

test('a message for a doubted relay brings its look forward, and a message on its way is as good as one', () => {
  const looks = new Looks()
  looks.onIdle('one', 1, 0)
  looks.hurry('one', 50)
  expect(looks.due(() => 0)).toBe(50)
  looks.hurry('two', 70)
  expect(looks.due(() => 0)).toBe(50)
  looks.cancel('one')
  expect(looks.due(() => 0)).toBe(70)
  expect(looks.take(70, nothingIsDown)).toEqual([])
})

test('a clock that is set back delays no look for longer than the longest pause', () => {
  const looks = new Looks()
  looks.onIdle('one', 1, 10 * MOST)
  expect(looks.take(0, nothingIsDown)).toEqual(['one'])
})

test('relays that hold no message any more are forgotten', () => {
  const looks = new Looks()
  for (const relay of ['one', 'two']) looks.onLost(relay, 100)
  looks.expire(() => new Set(['two']))
  expect(['one', 'two'].map((relay) => looks.isDoubted(relay))).toEqual([false, true])
  expect(looks.take(100, nothingIsDown)).toEqual(['two'])
})
