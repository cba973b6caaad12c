/** A messenger that commands share, on owners that the test plays: one after another, each of them ends. */
import { setImmediate as turn } from 'node:timers/promises'
import { expect, onTestFinished, test } from 'vitest'
import { type Attachment, Shared } from '../../../src/cli/owner/shared.ts'
import { Channel } from '../../../src/client/messenger/channel.ts'
import { MessengerError } from '../../../src/client/messenger/error.ts'
import type { MessengerEvent } from '../../../src/client/messenger/event.ts'
import type { Received } from '../../../src/client/messenger/inbox.ts'
import type { MessengerPort } from '../../../src/client/messenger/port.ts'
import { makePerson } from '../../support/people.ts'

const bob = makePerson('bob')

class Owner {
  readonly incoming = new Channel<Received>()
  readonly happening = new Channel<MessengerEvent>()
  readonly done: string[] = []
  /** How often a client asked for a flush. */
  flushes = 0
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
