import { expect, test } from 'vitest'
import { PageRate } from '../../src/relay/page-rate.ts'

/** Asks until the answer is a time to wait, and returns how many answers came before it. */
function ask(rate: PageRate, circuit: string | undefined, now: number): number {
  for (let n = 0; ; n++) if (rate.wait(circuit, now) > 0) return n
}

test('a circuit may have the web page 8 times at once, and once more each minute', () => {
  const rate = new PageRate(0)
  expect(ask(rate, 'a', 0)).toBe(8)
  expect(rate.wait('a', 1_000)).toBe(59)
  expect(rate.wait('a', 59_000)).toBe(1)
  expect(ask(rate, 'a', 60_000)).toBe(1)
  expect(ask(rate, 'a', 3_600_000)).toBe(8)
  expect(ask(rate, 'b', 0)).toBe(8)
})

test('connections of no known circuit share one limit', () => {
  const rate = new PageRate(0)
  expect(ask(rate, undefined, 0)).toBe(64)
  expect(ask(rate, undefined, 10_000)).toBe(10)
  expect(rate.wait('a', 10_000)).toBe(0)
})

test('a circuit is forgotten once its limit is full again, or at once if everything is wiped', () => {
  const rate = new PageRate(0)
  rate.wait('a', 0)
  rate.wait('b', 30_000)
  rate.sweep(59_000)
  expect(rate.circuits).toBe(2)
  rate.sweep(60_001)
  expect(rate.circuits).toBe(1)
  rate.forget()
  expect(rate.circuits).toBe(0)
})
