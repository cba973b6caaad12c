import { expect, test } from 'vitest'
import { makeId } from '../../../src/client/format/field.ts'
import { type Copy, Inbox, type Signed } from '../../../src/client/messenger/inbox.ts'
import { seedKey } from '../../../src/auth/seed.ts'

const { public: key } = seedKey(new Uint8Array(32).fill(7))
const alice = { name: 'alice', key, relays: [] }

test('a copy that arrives while a message is being stored is acknowledged once it is stored, and stays if that fails', async () => {
  const acks: string[] = []
  let stored = Promise.withResolvers<void>()
  const inbox = new Inbox(() => stored.promise)
  const copy = (id: string): Copy => ({ incoming: { ack: (each: string) => acks.push(each), window: 64 } as never, relay: 'r', id })
  const opened = {
    verdict: 'genuine',
    envelope: { id: makeId(), from: key, to: '', time: 0, content: { type: 'text', text: 'hi' } },
  } satisfies Signed
  const take = (id: string): boolean => inbox.take(copy(id), opened, alice, 0, false, false)
  expect(take('first')).toBe(true)
  const received = await inbox.received[Symbol.asyncIterator]().next()
  const message = received.value!
  const failing = message.done()
  expect(take('second')).toBe(false)
  stored.reject(new Error('the disk is full'))
  await expect(failing).rejects.toThrow('the disk is full')
  expect(acks).toEqual([])
  stored = Promise.withResolvers()
  const done = message.done()
  expect(take('third')).toBe(false)
  expect(acks).toEqual([])
  stored.resolve()
  await done
  expect(acks).toEqual(['first', 'second', 'third'])
})
