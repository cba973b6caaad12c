/** A messenger that commands share, on owners that the test plays: one after another, each of them ends. */
import { setImmediate as turn } from 'node:timers/promises'
import { expect, onTestFinished, test } from 'vitest'
import { type Attachment, Shared } from '../../../src/cli/owner/shared.ts'
import type { FileState } from '../../../src/client/delivery/file.ts'
import { Channel } from '../../../src/client/messenger/channel.ts'
import type { Delivery } from '../../../src/client/messenger/delivery.ts'
import { MessengerError } from '../../../src/client/messenger/error.ts'
import type { MessengerEvent } from '../../../src/client/messenger/event.ts'
import type { Received } from '../../../src/client/messenger/inbox.ts'
import type { MessengerPort } from '../../../src/client/messenger/port.ts'
import type { FileDelivery } from '../../../src/client/messenger/transfers.ts'
import { sourceOf } from '../../support/files.ts'
import { makePerson } from '../../support/people.ts'

const bob = makePerson('bob')

type OwnerFile = { -readonly [Key in keyof FileDelivery]: FileDelivery[Key] } & { readonly settle: (state: FileState) => void }

class Owner {
  readonly incoming = new Channel<Received>()
  readonly happening = new Channel<MessengerEvent>()
  readonly done: string[] = []
  /** How often a client asked for a flush. */
  flushes = 0
  /** The ids of the messages that clients sent, and the files. */
  readonly sent: string[] = []
  readonly files: OwnerFile[] = []
  readonly relays: string[] = []
  /** Resolves when an owner that is gone reports that it is closed. */
  untilClosed = (): Promise<void> => turn()
  readonly #lost = Promise.withResolvers<void>()
  #isGone = false

  attachment(): Attachment {
    const port: Partial<MessengerPort> = {
      ready: Promise.resolve(),
      received: () => this.incoming,
      events: () => this.happening,
      flush: async () => {
        this.flushes++
        if (!this.#isGone) return
        await this.untilClosed()
        throw new MessengerError('closed')
      },
      close: async () => this.end(),
      deliveries: () => [],
      receiveFrom: (relay) => void this.relays.push(relay),
      leaveRelay: (relay) => void this.relays.splice(this.relays.indexOf(relay), 1),
      send: (to, content, options) => {
        this.sent.push(options!.id!)
        return { id: options!.id!, to, content, state: 'waiting' } as Delivery
      },
      sendFile: async (to, { name, size }) => {
        const settled = Promise.withResolvers<FileState>()
        const facts = { file: `${name} ${this.files.length}`, to, name, total: size, confirmed: 0, error: undefined }
        const delivery: OwnerFile = { ...facts, state: 'sending', settled: settled.promise, settle: settled.resolve }
        this.files.push(delivery)
        return delivery
      },
    }
    return { port: port as MessengerPort, lost: this.#lost.promise }
  }

  /** Delivers a message of Bob. */
  give(id: string, verdict: 'genuine' | 'forged' = 'genuine', relay = 'localhost'): void {
    this.incoming.push({
      verdict,
      envelope: { id, from: bob.key, to: '', time: 0, content: { type: 'text', text: id } },
      relay,
      done: async () => {
        if (this.#isGone) throw new MessengerError('closed')
        this.done.push(id)
      },
    })
  }

  /** Reports the state of a message. */
  report(delivery: Delivery, change: Partial<Delivery>): void {
    this.happening.push({ kind: 'delivery', delivery: { ...delivery, error: undefined, ...change } })
  }

  end(): void {
    this.#isGone = true
    this.incoming.close()
    this.happening.close()
    this.#lost.resolve()
  }
}

/** A program that shares the messenger, and the owners that it finds one after another. */
function play(...owners: readonly Owner[]): { readonly shared: Shared; readonly take: () => Promise<Received> } {
  const rest = owners.map((owner) => owner.attachment())
  const shared = new Shared(rest.shift()!, async () => rest.shift() ?? new Promise<never>(() => {}))
  onTestFinished(() => shared.close())
  const messages = shared.received()[Symbol.asyncIterator]()
  return { shared, take: async () => (await messages.next()).value as Received }
}

const idOf = ({ envelope }: Received): string | undefined => envelope?.id

test('a message that the next owner delivers again is given once, and acknowledged through that owner', async () => {
  const [first, second] = [new Owner(), new Owner()]
  const { take } = play(first, second)
  first.give('finished after the takeover')
  const one = await take()
  first.give('finished before the takeover')
  const two = await take()
  first.end()
  // The owner is gone: its relay still has the message.
  await two.done()
  second.give('finished before the takeover')
  second.give('finished after the takeover')
  second.give('new')
  expect(idOf(await take())).toBe('new')
  expect(second.done).toEqual(['finished before the takeover'])
  await one.done()
  expect(second.done).toEqual(['finished before the takeover', 'finished after the takeover'])
})

test('a message is given again after it was finished, and each relay gives one of an unproven sender', async () => {
  const owner = new Owner()
  const { take } = play(owner)
  owner.give('a')
  await (await take()).done()
  owner.give('a')
  expect(idOf(await take())).toBe('a')
  owner.give('b', 'forged', 'one')
  owner.give('b', 'forged', 'one')
  owner.give('b', 'forged', 'two')
  owner.give('b')
  const given = [await take(), await take(), await take()]
  expect(given.map(({ verdict, relay }) => [verdict, relay])).toEqual([
    ['forged', 'one'],
    ['forged', 'two'],
    ['genuine', 'localhost'],
  ])
  await turn()
  expect(owner.done).toEqual(['a'])
})

test('an operation that the end of its owner interrupts is done once more, by the next owner', async () => {
  const [first, second, third] = [new Owner(), new Owner(), new Owner()]
  const next = [Promise.withResolvers<Attachment>(), Promise.withResolvers<Attachment>()]
  const attached = [...next]
  const shared = new Shared(first.attachment(), () => attached.shift()?.promise ?? new Promise<never>(() => {}))
  onTestFinished(() => shared.close())
  first.end()
  const flushed = shared.flush()
  await turn()
  await turn()
  expect(first.flushes).toBe(1)
  next[0]!.resolve(second.attachment())
  await flushed
  expect([first, second].map(({ flushes }) => flushes)).toEqual([1, 1])
  // Here the next owner is there before the last one reports that it is closed.
  const closed = Promise.withResolvers<void>()
  second.untilClosed = () => closed.promise
  second.end()
  const again = shared.flush()
  next[1]!.resolve(third.attachment())
  await turn()
  closed.resolve()
  await again
  expect([first, second, third].map(({ flushes }) => flushes)).toEqual([1, 2, 1])
})

/** Collects the events of a shared messenger. */
function watch(shared: Shared): MessengerEvent[] {
  const events: MessengerEvent[] = []
  void (async () => {
    for await (const event of shared.events()) events.push(event)
  })()
  return events
}

/** Runs turns of the event loop until the condition holds. */
async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await turn()
}

test('the next owner gets the messages that are unsettled, under the same ids and once', async () => {
  const [first, second] = [new Owner(), new Owner()]
  const { shared } = play(first, second)
  const events = watch(shared)
  const [one, two, three] = ['one', 'two', 'three'].map((text) => shared.send(bob, { type: 'text', text })) as [
    Delivery,
    Delivery,
    Delivery,
  ]
  expect(first.sent).toEqual([one.id, two.id, three.id])
  first.report(one, { state: 'delivered' })
  first.report(two, { state: 'held' })
  first.report(three, { state: 'failed', error: new MessengerError('closed') })
  await until(() => events.length === 2)
  expect([one.state, two.state, three.state]).toEqual(['delivered', 'held', 'waiting'])
  expect(await one.settled).toBe('delivered')
  first.end()
  await until(() => second.sent.length === 2)
  expect(second.sent).toEqual([two.id, three.id])
  second.report(three, { state: 'failed', error: new MessengerError('outbox-full') })
  expect(await three.settled).toBe('failed')
  expect(three.error).toMatchObject({ code: 'outbox-full' })
})

test('events of files name the file of this client, and those of other clients are left out', async () => {
  const owner = new Owner()
  const { shared } = play(owner)
  const events = watch(shared)
  const mine = [await shared.sendFile(bob, sourceOf('a', new Uint8Array(2))), await shared.sendFile(bob, sourceOf('b', new Uint8Array(3)))]
  const [a, b] = owner.files
  b!.confirmed = 1
  owner.happening.push({ kind: 'file-sent', file: { ...a! } })
  owner.happening.push({ kind: 'file-sent', file: b! })
  owner.happening.push({ kind: 'clock', off: 'was-ahead' })
  await until(() => events.length === 2)
  expect(events[0]).toEqual({ kind: 'file-sent', file: mine[1] })
  expect(events[1]).toEqual({ kind: 'clock', off: 'was-ahead' })
  expect(mine.map(({ name, total, confirmed, state }) => [name, total, confirmed, state])).toEqual([
    ['a', 2, 0, 'sending'],
    ['b', 3, 1, 'sending'],
  ])
})

test('the next owner goes on with files that have not arrived, under the name that the client knows, and knows their relays', async () => {
  const [first, second] = [new Owner(), new Owner()]
  const { shared } = play(first, second)
  for (const relay of ['one', 'two']) shared.receiveFrom(relay)
  shared.leaveRelay('one')
  const [done, open] = [
    await shared.sendFile(bob, sourceOf('a', new Uint8Array(2))),
    await shared.sendFile(bob, sourceOf('b', new Uint8Array(3))),
  ]
  const { file } = open
  first.files[0]!.state = 'done'
  first.files[0]!.settle('done')
  expect(await done.settled).toBe('done')
  first.end()
  // The owner that is gone settles what it has.
  first.files[1]!.settle('sending')
  await until(() => second.files.length === 1)
  expect(second.relays).toEqual(['two'])
  expect([second.files[0]!.name, open.file]).toEqual(['b', file])
  await turn()
  second.files[0]!.confirmed = 3
  expect(open.confirmed).toBe(3)
  second.files[0]!.settle('done')
  expect(await open.settled).toBe('done')
})

test('if no owner follows, all that is unsettled fails with the reason', async () => {
  const owner = new Owner()
  const problem = new Error('no owner')
  const shared = new Shared(owner.attachment(), () => Promise.reject(problem))
  onTestFinished(() => shared.close())
  const message = shared.send(bob, { type: 'text', text: 'one' })
  const file = await shared.sendFile(bob, sourceOf('a', new Uint8Array(2)))
  owner.end()
  expect([await message.settled, message.error, await file.settled]).toEqual(['failed', problem, 'failed'])
  await expect(shared.flush()).rejects.toBe(problem)
})

test('a closed messenger sends nothing, and ends its events and its waits', async () => {
  const owner = new Owner()
  const { shared } = play(owner)
  const file = await shared.sendFile(bob, sourceOf('a', new Uint8Array(2)))
  await shared.close()
  expect(await file.settled).toBe('sending')
  const late = shared.send(bob, { type: 'text', text: 'late' })
  expect([await late.settled, late.error, owner.sent]).toEqual(['failed', expect.objectContaining({ code: 'closed' }), []])
  expect(await shared.events()[Symbol.asyncIterator]().next()).toEqual({ value: undefined, done: true })
  expect(await shared.received()[Symbol.asyncIterator]().next()).toEqual({ value: undefined, done: true })
})
