import { expect, test } from 'vitest'
import { RECEIPTS, Receipts } from '../../../src/client/delivery/receipts.ts'

const BOB = `SHA256:${'b'.repeat(43)}`
const CAROL = `SHA256:${'c'.repeat(43)}`

test('receipts within a random pause are joined into one message for each contact and state', () => {
  const receipts = new Receipts()
  expect(receipts.due()).toBe(Number.POSITIVE_INFINITY)
  receipts.add(BOB, 'one', 'delivered', 0, 0.5)
  receipts.add(CAROL, 'two', 'delivered', 10, 0.75)
  receipts.add(BOB, 'three', 'delivered', 900, 0)
  receipts.add(BOB, 'one', 'read', 900, 0.5)
  receipts.add(BOB, 'one', 'delivered', 900, 0.5)
  expect(receipts.size).toBe(4)
  expect(receipts.due()).toBe(1_000)
  expect(receipts.take(999)).toEqual([])
  expect(receipts.take(1_000)).toEqual([{ to: BOB, state: 'delivered', ids: ['one', 'three'] }])
  expect(receipts.due()).toBe(1_510)
  expect(receipts.take(1_510)).toEqual([{ to: CAROL, state: 'delivered', ids: ['two'] }])
  expect(receipts.take(1_510, true)).toEqual([{ to: BOB, state: 'read', ids: ['one'] }])
  expect(receipts.size).toBe(0)
})

test('a full message of receipts is due at once, and no message exceeds the limit', () => {
  const receipts = new Receipts()
  for (let n = 0; n < RECEIPTS.most - 1; n++) receipts.add(BOB, `${n}`, 'delivered', 0, 0.5)
  expect(receipts.take(0)).toEqual([])
  receipts.add(BOB, 'last', 'delivered', 0, 0.5)
  expect(receipts.take(0).map(({ ids }) => ids.length)).toEqual([RECEIPTS.most])
  for (let n = 0; n < RECEIPTS.most + 10; n++) receipts.add(BOB, `${n}`, 'delivered', 0, 0.5)
  expect(receipts.due()).toBe(0)
  expect(receipts.take(0).map(({ ids }) => ids.length)).toEqual([RECEIPTS.most, 10])
})

test('the number of pending receipts is bounded', () => {
  const receipts = new Receipts()
  for (let n = 0; n < RECEIPTS.all * 2; n++) receipts.add(n % 2 === 0 ? BOB : CAROL, `${n}`, 'delivered', 0, 0.5)
  expect(receipts.size).toBe(RECEIPTS.all)
  expect(receipts.take(0, true).flatMap(({ ids }) => ids)).toHaveLength(RECEIPTS.all)
})

test('receipts that a sender waits for are due in small numbers', () => {
  const receipts = new Receipts()
  for (let n = 0; n < RECEIPTS.hurried; n++) {
    expect(receipts.take(0)).toEqual([])
    receipts.add(BOB, `${n}`, 'delivered', 0, 0.5, true)
  }
  expect(receipts.due()).toBe(0)
  expect(receipts.take(0)).toHaveLength(1)
})

test('a clock set back does not delay receipts', () => {
  const receipts = new Receipts()
  receipts.add('bob', 'one', 'delivered', 90_000_000, 0.5)
  expect(receipts.take(90_000_000)).toEqual([])
  expect(receipts.take(0)).toEqual([{ to: 'bob', state: 'delivered', ids: ['one'] }])
})
