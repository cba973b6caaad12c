/** The inbox without relays: which copies of a message it acknowledges, and when. */
import { expect, test } from 'vitest'
import { seedKey } from '../../../src/auth/seed.ts'
import { parsePublicKey } from '../../../src/auth/ssh-key.ts'
import { generatePrivateKey } from '../../../src/auth/private-key.ts'
import { makeId } from '../../../src/client/format/field.ts'
import type { Contact } from '../../../src/client/messenger/contact.ts'
import { type Copy, type Given, Inbox, type Received, type Signed } from '../../../src/client/messenger/inbox.ts'

const from: Contact = { name: 'bob', key: parsePublicKey(generatePrivateKey('bob').public), relays: [] }

/** A relay that notes what it is asked to erase. */
function createRelay(name: string): { readonly acked: string[]; copy(id: string): Copy } {
  const acked: string[] = []
  const incoming = { window: 64, ack: (id: string) => void acked.push(id) }
  return { acked, copy: (id) => ({ incoming, relay: name, id }) }
}

const message = (more: { id?: string; after?: string } = {}): Signed =>
  ({
    verdict: 'genuine',
    envelope: { id: makeId(), from: from.key, to: 'me', time: 0, content: { type: 'text', text: 'hi' }, ...more },
  }) as unknown as Signed

/** An inbox whose messages are stored when the test says so. */
function createInbox(): {
  readonly inbox: Inbox
  readonly stored: Given[]
  take(copy: Copy, opened: Signed, sender?: Contact | null): boolean
  next(): Promise<Received>
  store(error?: Error): void
} {
  const stored: Given[] = []
  const storing: PromiseWithResolvers<void>[] = []
  const inbox = new Inbox((opened) => {
    stored.push(opened)
    storing.push(Promise.withResolvers<void>())
    return storing.at(-1)!.promise
  })
  const messages = inbox.received[Symbol.asyncIterator]()
  return {
    inbox,
    stored,
    take: (copy, opened, sender) => inbox.take(copy, opened, sender === null ? undefined : from, 0, false, true),
    next: async () => (await messages.next()).value as Received,
    store(error) {
      const { resolve, reject } = storing.shift()!
      if (error === undefined) resolve()
      else reject(error)
    },
  }
}

test('every copy of a message is acknowledged once it is done, and no copy before', async () => {
  const { inbox, take, next, store } = createInbox()
  const [one, two] = [createRelay('one'), createRelay('two')]
  const opened = message()
  expect(take(one.copy('1'), opened)).toBe(true)
  expect(take(two.copy('2'), opened)).toBe(false)
  expect(take(two.copy('2'), opened)).toBe(false)
  const done = (await next()).done()
  expect([one.acked, two.acked]).toEqual([[], []])
  store()
  await done
  expect([one.acked, two.acked]).toEqual([['1'], ['2']])
  inbox.close()
})

test('a copy that arrives while done() stores its message is acknowledged, and the message is not shown again', async () => {
  const { inbox, stored, take, next, store } = createInbox()
  const [one, two] = [createRelay('one'), createRelay('two')]
  const opened = message()
  take(one.copy('1'), opened)
  const done = (await next()).done()
  expect(stored).toHaveLength(1)
  expect(take(two.copy('2'), opened)).toBe(false)
  expect(one.acked).toEqual([])
  store()
  await done
  expect([one.acked, two.acked]).toEqual([['1'], ['2']])
  take(one.copy('3'), message())
  expect((await next()).envelope?.id).not.toBe(opened.envelope.id)
  inbox.close()
})

test('done() twice stores a message once, and after a failure it can be done again', async () => {
  const { inbox, stored, take, next, store } = createInbox()
  const one = createRelay('one')
  take(one.copy('1'), message())
  const received = await next()
  const first = received.done()
  expect(received.done()).toBe(first)
  store(new Error('disk full'))
  await expect(first).rejects.toThrow('disk full')
  expect([stored.length, one.acked]).toEqual([1, []])
  const second = received.done()
  store()
  await second
  expect([stored.length, one.acked]).toEqual([2, ['1']])
  inbox.close()
})

test('of the copies of a message, only sixteen are kept', async () => {
  const { inbox, take, next, store } = createInbox()
  const one = createRelay('one')
  const opened = message()
  for (let n = 0; n < 40; n++) take(one.copy(`${n}`), opened)
  const done = (await next()).done()
  store()
  await done
  expect(one.acked).toHaveLength(16)
  inbox.close()
})

test('a message without a proven sender is known by the id that its relay gave it', async () => {
  const { inbox, next, store } = createInbox()
  const one = createRelay('one')
  const opened = { verdict: 'malformed' } as unknown as Given
  for (const id of ['1', '1', '2']) inbox.give(one.copy(id), opened)
  for (const id of ['1', '2']) {
    const done = (await next()).done()
    store()
    await done
    expect(one.acked.at(-1)).toBe(id)
  }
  expect(one.acked).toEqual(['1', '2'])
  inbox.close()
})

test('a stranger’s message waits for no earlier one, and a contact’s does', async () => {
  const { inbox, take, next } = createInbox()
  const one = createRelay('one')
  const [waits, comes] = [message({ after: makeId() }), message({ after: makeId() })]
  take(one.copy('1'), waits)
  take(one.copy('2'), comes, null)
  expect((await next()).envelope?.id).toBe(comes.envelope.id)
  inbox.expire(Number.POSITIVE_INFINITY)
  expect(await next()).toMatchObject({ gap: true, envelope: { id: waits.envelope.id } })
  inbox.close()
})

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
