/** The suspicion that the clock of this machine is wrong. */
import { expect, test } from 'vitest'
import { ClockDoubt } from '../../../src/client/messenger/doubt.ts'
import { FUTURE, STALE } from '../../../src/client/format/message.ts'

const NOW = 1_795_000_000
const DAY = 86_400

test('one contact alone raises no suspicion, two do, once', () => {
  const doubt = new ClockDoubt()
  expect(doubt.onMessage('a', NOW + DAY, NOW)).toBeUndefined()
  expect(doubt.onMessage('a', NOW + DAY, NOW)).toBeUndefined()
  expect(doubt.onMessage('b', NOW + 2 * DAY, NOW)).toEqual({ off: 'behind', by: DAY })
  expect(doubt.onMessage('c', NOW + 2 * DAY, NOW)).toBeUndefined()
})

test('a clock that is ahead makes all messages old', () => {
  const doubt = new ClockDoubt()
  expect(doubt.onMessage('a', NOW - 20 * DAY, NOW)).toBeUndefined()
  expect(doubt.onMessage('b', NOW - 21 * DAY, NOW)).toEqual({ off: 'ahead', by: 20 * DAY })
})

test('contacts who contradict each other raise none, and a message of now clears all', () => {
  const doubt = new ClockDoubt()
  doubt.onMessage('a', NOW + DAY, NOW)
  expect(doubt.onMessage('b', NOW - 20 * DAY, NOW)).toBeUndefined()
  doubt.onMessage('c', NOW - 5, NOW)
  expect(doubt.onMessage('d', NOW + DAY, NOW)).toBeUndefined()
  expect(doubt.onMessage('e', NOW + DAY, NOW)).toBeDefined()
})

test('messages at the edge of what a right clock allows raise none', () => {
  const doubt = new ClockDoubt()
  for (const from of ['a', 'b', 'c']) expect(doubt.onMessage(from, NOW + FUTURE, NOW)).toBeUndefined()
  for (const from of ['a', 'b', 'c']) expect(doubt.onMessage(from, NOW - STALE, NOW)).toBeUndefined()
  doubt.onMessage('a', NOW + FUTURE + 1, NOW)
  expect(doubt.onMessage('b', NOW + FUTURE + 1, NOW)).toEqual({ off: 'behind', by: FUTURE + 1 })
})

test('after a message of now, the same fault can be told again', () => {
  const doubt = new ClockDoubt()
  const tell = (): unknown => {
    doubt.onMessage('a', NOW + DAY, NOW)
    return doubt.onMessage('b', NOW + DAY, NOW)
  }
  expect(tell()).toBeDefined()
  expect(tell()).toBeUndefined()
  doubt.onMessage('c', NOW, NOW)
  expect(tell()).toBeDefined()
})
