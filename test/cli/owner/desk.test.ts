/** The desk of a profile's owner: which client gets which message, and who finishes it. */
import { setImmediate as turn } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { Desk, type Taker } from '../../../src/cli/owner/desk.ts'
import { Channel } from '../../../src/client/messenger/channel.ts'
import type { Received } from '../../../src/client/messenger/inbox.ts'

/** A client that takes messages one after another, without finishing them. */
interface Client {
  readonly taker: Taker
  readonly got: string[]
  readonly held: Received[]
}

function createDesk() {
  const source = new Channel<Received>(1_000)
  const finished: string[] = []
  let reads = 0
  const desk = new Desk(() => {
    reads++
    return source
  })
  return {
    desk,
    finished,
    reads: () => reads,
    arrive(...names: string[]) {
      for (const name of names) {
        const done = async (): Promise<void> => void finished.push(name)
        source.push({ verdict: 'unreadable', relay: name, done } as unknown as Received)
      }
    },
    /** Takes messages until the client leaves. */
    join(wishes: Partial<Taker> = {}): Client {
      const client: Client = { taker: { takes: 'all', mirrors: false, ...wishes } as Taker, got: [], held: [] }
      void (async () => {
        for (;;) {
          const next = await desk.next(client.taker)
          if (next === undefined) return
          client.got.push(nameOf(next))
          client.held.push(next)
        }
      })()
      return client
    },
  }
}

const nameOf = (received: Received): string => (received as unknown as { relay: string }).relay
const settle = async (): Promise<void> => {
  for (let n = 0; n < 10; n++) await turn()
}

test('the first client that shows all messages gets each, and the next one after it what is unfinished', async () => {
  const { desk, finished, arrive, join } = createDesk()
  const [first, second] = [join(), join()]
  arrive('one', 'two', 'three')
  await settle()
  expect([first.got, second.got]).toEqual([['one', 'two', 'three'], []])
  await first.held[1]!.done()
  expect(finished).toEqual(['two'])
  desk.leave(first.taker)
  await settle()
  expect(second.got).toEqual(['one', 'three'])
  // A client that left finishes no message any more.
  await first.held[0]!.done()
  await second.held[0]!.done()
  expect(finished).toEqual(['two', 'one'])
})

test('a client that only sends gets nothing, and reads nothing', async () => {
  const { desk, reads, arrive, join } = createDesk()
  const sender = join({ takes: 'none' })
  arrive('one')
  await settle()
  expect([sender.got, reads()]).toEqual([[], 0])
  const reader = join({ takes: 'rest' })
  await settle()
  expect([sender.got, reader.got, reads()]).toEqual([[], ['one'], 1])
  desk.leave(reader.taker)
  await settle()
  expect(sender.got).toEqual([])
})

test('a client for the rest gets only what the first client releases, once, and then finishes it alone', async () => {
  const { finished, arrive, join } = createDesk()
  const chat = join({ releases: (received: Received) => nameOf(received) === 'other' })
  const getter = join({ takes: 'rest' })
  arrive('mine', 'other')
  await settle()
  expect([chat.got, getter.got]).toEqual([['mine', 'other'], ['other']])
  await chat.held[1]!.done()
  expect(finished).toEqual([])
  await getter.held[0]!.done()
  expect(finished).toEqual(['other'])
})

test('a client for the rest gets nothing while a client that shows all messages is busy', async () => {
  const { desk, arrive, join } = createDesk()
  const busy: Taker = { takes: 'all', mirrors: false } as Taker
  void desk.next(busy)
  const getter = join({ takes: 'rest' })
  arrive('one', 'two')
  await settle()
  expect(getter.got).toEqual([])
  desk.leave(busy)
  await settle()
  expect(getter.got).toEqual(['one', 'two'])
})

test('a mirror gets a copy of each message, and the first client that is done finishes it for both', async () => {
  const { desk, finished, arrive, join } = createDesk()
  const chat = join()
  arrive('before')
  await settle()
  const mirror = join({ mirrors: true })
  arrive('one', 'two')
  await settle()
  expect([chat.got, mirror.got]).toEqual([
    ['before', 'one', 'two'],
    ['before', 'one', 'two'],
  ])
  await mirror.held[1]!.done()
  await mirror.held[1]!.done()
  expect(finished).toEqual(['one'])
  desk.leave(chat.taker)
  await settle()
  // It is the first one now, and gets the unfinished messages themselves.
  expect(mirror.got).toEqual(['before', 'one', 'two', 'before', 'two'])
})

test('a client is idle once it waits and nothing is there for it, or it leaves', async () => {
  const { desk, arrive, join } = createDesk()
  const idle: string[] = []
  const client = join()
  arrive('one')
  await settle()
  void desk.idle(client.taker).then(() => idle.push('waits'))
  await settle()
  expect(idle).toEqual(['waits'])
  const other: Taker = { takes: 'all', mirrors: false } as Taker
  void desk.idle(other).then(() => idle.push('left'))
  await settle()
  expect(idle).toEqual(['waits'])
  desk.leave(other)
  await settle()
  expect(idle).toEqual(['waits', 'left'])
})

test('reads no further while 256 messages are unfinished, and stops when it closes', async () => {
  const { desk, arrive, join } = createDesk()
  const client = join()
  arrive(...Array.from({ length: 300 }, (_, n) => String(n)))
  await expect.poll(() => client.got.length).toBe(256)
  await settle()
  expect(client.got).toHaveLength(256)
  await client.held[0]!.done()
  await settle()
  expect(client.got).toHaveLength(257)
  desk.close()
  await client.held[1]!.done()
  await settle()
  expect(client.got).toHaveLength(257)
})

test('a closed desk reads no more, also if it waited for room', async () => {
  let [reads, isOver] = [0, false]
  async function* endless(): AsyncIterable<Received> {
    try {
      for (;;) {
        reads++
        yield { verdict: 'unreadable', relay: 'one', done: async () => {} } as unknown as Received
      }
    } finally {
      isOver = true
    }
  }
  const desk = new Desk(endless)
  const taker = { takes: 'all', mirrors: false } as Taker
  void desk.next(taker)
  // It stops reading once it has as many unfinished messages as it may.
  for (let before = -1; before !== reads;) {
    before = reads
    await settle()
  }
  expect(isOver).toBe(false)
  const before = reads
  desk.close()
  await settle()
  expect([isOver, reads]).toEqual([true, before])
})
