import { expect, test } from 'vitest'
import { backoff, isOver } from '../../../src/client/delivery/backoff.ts'

test('pauses double from a second to a minute, half of each being random', () => {
  expect([1, 2, 3, 7, 8, 1_000].map((failures) => [backoff(failures, 0), backoff(failures, 1)])).toEqual([
    [500, 1_000],
    [1_000, 2_000],
    [2_000, 4_000],
    [30_000, 60_000],
    [30_000, 60_000],
    [30_000, 60_000],
  ])
})

test('a pause is at least as long as the relay asks, up to an hour', () => {
  expect(backoff(1, 0, 10)).toBe(10_500)
  expect(backoff(1, 0, 999_999_999)).toBe(3_600_500)
})

test('a pause is over at its time, and if the clock was set back by more than the longest pause', () => {
  expect([99, 100, 101].map((now) => isOver(100, now, 50))).toEqual([false, true, true])
  expect([50, 49, 0].map((now) => isOver(100, now, 50))).toEqual([false, true, true])
  expect(isOver(Number.POSITIVE_INFINITY, 0, 50)).toBe(false)
})
