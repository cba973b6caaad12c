/** A queue that a loop reads: bounded, closed, and left. */
import { expect, test } from 'vitest'
import { Channel } from '../../../src/client/messenger/channel.ts'

async function readAll<T>(channel: Channel<T>): Promise<T[]> {
  const all: T[] = []
  for await (const value of channel) all.push(value)
  return all
}

/** Whether a promise has settled, after all that is due now. */
async function isSettled(promise: Promise<unknown>): Promise<boolean> {
  let settled = false
  void promise.then(() => (settled = true))
  for (let n = 0; n < 10; n++) await Promise.resolve()
  return settled
}

test('values are read in order, also those that come before the end and none that come after it', async () => {
  const channel = new Channel<number>()
  for (const value of [1, 2]) channel.push(value)
  channel.close()
  channel.push(3)
  expect(await readAll(channel)).toEqual([1, 2])
})

test('a waiting reader gets the next value, and each value has one reader', async () => {
  const channel = new Channel<number>()
  const [one, two, three] = [channel.next(), channel.next(), channel.next()]
  channel.push(1)
  channel.push(2)
  channel.close()
  expect(await Promise.all([one, two, three])).toEqual([
    { value: 1, done: false },
    { value: 2, done: false },
    { value: undefined, done: true },
  ])
})

test('a full queue drops its oldest value, and none before', async () => {
  const channel = new Channel<number>(2)
  for (const value of [1, 2, 3]) channel.push(value)
  channel.close()
  expect(await readAll(channel)).toEqual([2, 3])
})

test('waits until few enough values are left, or until the end', async () => {
  const channel = new Channel<number>()
  for (const value of [1, 2, 3]) channel.push(value)
  const [none, one] = [channel.until(0), channel.until(1)]
  expect([await isSettled(channel.until(3)), await isSettled(one)]).toEqual([true, false])
  await channel.next()
  expect(await isSettled(one)).toBe(false)
  await channel.next()
  expect([await isSettled(one), await isSettled(none)]).toEqual([true, false])
  channel.close()
  expect([await isSettled(none), await isSettled(channel.until(0))]).toEqual([true, true])
})

test('tells that its loop was left', async () => {
  let left = 0
  const channel = new Channel<number>(1, () => left++)
  channel.push(1)
  for await (const value of channel) if (value === 1) break
  expect(left).toBe(1)
})
