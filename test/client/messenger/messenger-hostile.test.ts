/**
 * The messenger with a hostile relay and hostile correspondents: it loses no accepted message, shows none
 * twice, lets no one speak for another, and bounds everything that it holds.
 */
import { afterEach, describe, expect, test } from 'vitest'
import { connectRelay } from '../../../src/client/wire/connect.ts'
import { RelayError } from '../../../src/client/wire/error.ts'
import { makeId } from '../../../src/client/format/field.ts'
import { type Content, type FilePart, PART_BYTES } from '../../../src/client/format/content.ts'
import { encodeMessage } from '../../../src/client/format/message.ts'
import type { Contact } from '../../../src/client/messenger/contact.ts'
import type { MessengerOptions } from '../../../src/client/messenger/options.ts'
import type { MessengerEvent } from '../../../src/client/messenger/event.ts'
import type { Messenger } from '../../../src/client/messenger/messenger.ts'
import type { Received } from '../../../src/client/messenger/inbox.ts'
import type { FileOffer } from '../../../src/client/messenger/transfers.ts'
import { ORDER } from '../../../src/client/delivery/order.ts'
import { createClock } from '../../support/clock.ts'
import { memoryFile, type MemoryFile, sha256 } from '../../support/files.ts'
import {
  challengeLine,
  challengePacket,
  honestly,
  type HostileRelay,
  type Peer,
  startHostileRelay,
  TOKEN,
} from '../../support/hostile-relay.ts'
import { makePerson, messengerOf, type Person, take, textOf } from '../../support/people.ts'
import { startTestRelay, type TestRelay } from '../../support/relay.ts'

const closers: (() => unknown)[] = []
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close()
})

async function startRelay(): Promise<TestRelay> {
  const started = await startTestRelay({ memory: 2 ** 24 })
  closers.push(() => started.close())
  return started
}

async function startScript(script: (peer: Peer) => Promise<void>): Promise<HostileRelay> {
  const hostile = await startHostileRelay(script)
  closers.push(() => hostile.close())
  return hostile
}

function open(person: Person, contacts: readonly Contact[], more?: Partial<MessengerOptions>): Messenger {
  const messenger = messengerOf(person, contacts, more)
  closers.push(() => messenger.close())
  return messenger
}

/** Records every event from now on. */
function listen(messenger: Messenger): {
  readonly events: MessengerEvent[]
  until(found: (event: MessengerEvent) => boolean): Promise<MessengerEvent>
} {
  const events: MessengerEvent[] = []
  const watchers = new Set<() => void>()
  void (async () => {
    for await (const event of messenger.events()) {
      events.push(event)
      for (const watcher of watchers) watcher()
    }
  })()
  return {
    events,
    until: (found) =>
      new Promise((resolve) => {
        const look = (): void => {
          const event = events.find(found)
          if (event === undefined) return
          watchers.delete(look)
          resolve(event)
        }
        watchers.add(look)
        look()
      }),
  }
}

const now = (): number => Math.floor(Date.now() / 1_000)
const text = (words: string): Content => ({ type: 'text', text: words })

/** Writes a payload as any client can. */
function write(
  from: Person,
  to: Contact,
  content: Content,
  more: { id?: string; after?: string; time?: number } = {},
): Promise<Uint8Array> {
  const { id = makeId(), after, time = now() } = more
  return encodeMessage(from.identity, { to, id, time, content, ...(after !== undefined && { after }) })
}

/** Sends payloads to a relay under a person's key. */
async function post(relay: string, from: Person, to: Contact, payloads: readonly Uint8Array[]): Promise<void> {
  using client = await connectRelay({ relay, identity: from.identity, login: true })
  for (const payload of payloads) await client.sendSealed(to.key, payload)
}

describe('a hostile correspondent', () => {
  test('cannot confirm messages to another contact or messages that were never sent', async () => {
    const [first, second] = [await startRelay(), await startRelay()]
    const [alice, bob, mallory] = [
      makePerson('alice', first.address),
      makePerson('bob', second.address),
      makePerson('mallory', second.address),
    ]
    const messenger = open(alice, [bob, mallory])
    const heard = listen(messenger)
    const delivery = messenger.send(bob, text('for Bob'))
    expect(await delivery.accepted).toBe('held')
    const ids = [delivery.id, makeId()]
    await post(first.address, mallory, alice, [
      await write(mallory, alice, { type: 'receipt', state: 'delivered', ids }),
      await write(mallory, alice, { type: 'receipt', state: 'read', ids }),
      await write(mallory, alice, text('after them')),
    ])
    expect((await take(messenger, 1)).map(textOf)).toEqual(['after them'])
    expect(delivery.state).toBe('held')
    await post(first.address, bob, alice, [await write(bob, alice, { type: 'receipt', state: 'delivered', ids })])
    expect(await delivery.settled).toBe('delivered')
    await heard.until(() => heard.events.filter(({ kind }) => kind === 'delivery').length === 2)
  })

  test('gets no receipt as a stranger, not even for a replay', async () => {
    const first = await startRelay()
    const [alice, bob, stranger] = [
      makePerson('alice', first.address),
      makePerson('bob', first.address),
      makePerson('stranger', first.address),
    ]
    const messenger = open(alice, [bob])
    const id = makeId()
    await post(first.address, stranger, alice, [await write(stranger, alice, text('one'), { id })])
    // Send the same message again: it is dropped, and the stranger gets no answer.
    await post(first.address, stranger, alice, [
      await write(stranger, alice, text('one'), { id }),
      await write(stranger, alice, text('two')),
    ])
    const received = await take(messenger, 2)
    expect(received.map(textOf)).toEqual(['one', 'two'])
    expect(received.map(({ from }) => from)).toEqual([undefined, undefined])
    await messenger.flush()
    using client = await connectRelay({ relay: first.address, identity: stranger.identity })
    expect(await client.get()).toEqual({ messages: [], waiting: 0 })
  })

  test('sends junk, forgeries and stale messages, which get their verdicts and change nothing', async () => {
    const first = await startRelay()
    const [alice, bob, mallory] = [
      makePerson('alice', first.address),
      makePerson('bob', first.address),
      makePerson('mallory', first.address),
    ]
    const messenger = open(alice, [bob])
    const delivery = messenger.send(bob, text('for Bob'))
    await delivery.accepted
    // Signed by another key than the one it names.
    const sign = async (namespace: string, bytes: Uint8Array): Promise<Uint8Array> => {
      const blob = await mallory.identity.sign(namespace, bytes)
      blob.set(bob.key.blob, Buffer.from(blob).indexOf(mallory.key.blob))
      return blob
    }
    const forged = await encodeMessage(
      { key: bob.key, sign },
      { to: alice, id: makeId(), time: now(), content: { type: 'receipt', state: 'read', ids: [delivery.id] } },
    )
    await post(first.address, mallory, alice, [
      new Uint8Array(100),
      forged,
      await write(bob, alice, text('genuine')),
      await write(bob, alice, text('old'), { time: now() - 15 * 86_400 }),
    ])
    const received = await take(messenger, 4)
    expect(received.map(({ verdict }) => verdict)).toEqual(['unreadable', 'forged', 'genuine', 'stale'])
    expect(received[1]!.from).toBeUndefined()
    expect(delivery.state).toBe('held')
    await messenger.flush()
    using client = await connectRelay({ relay: first.address, identity: alice.identity })
    expect(await client.get()).toEqual({ messages: [], waiting: 0 })
  })

  test('delays no other sender by an endless chain of messages with unknown predecessors', async () => {
    const first = await startRelay()
    const [alice, bob, mallory] = [
      makePerson('alice', first.address),
      makePerson('bob', first.address),
      makePerson('mallory', first.address),
    ]
    const messenger = open(alice, [bob, mallory])
    await post(first.address, mallory, alice, [await write(mallory, alice, text('begins'))])
    const chain = await Promise.all(Array.from({ length: 60 }, (_, n) => write(mallory, alice, text(`${n}`), { after: makeId() })))
    await post(first.address, mallory, alice, chain)
    await post(first.address, bob, alice, [await write(bob, alice, text('from Bob'))])
    const seen: Received[] = []
    for await (const each of messenger.received()) {
      seen.push(each)
      await each.done()
      if (textOf(each) === 'from Bob') break
    }
    // Half of the relay's window may be held back; the rest came out marked with gaps.
    expect(seen.length).toBeGreaterThanOrEqual(60 - 32 + 2)
    expect(seen.slice(1, -1).every(({ gap }) => gap === true)).toBe(true)
    expect(ORDER.hold).toBeLessThanOrEqual(60_000)
  })

  test('cannot disturb a transfer by endless, repeated, misplaced or foreign parts', async () => {
    const first = await startRelay()
    const [alice, bob, mallory] = [
      makePerson('alice', first.address),
      makePerson('bob', first.address),
      makePerson('mallory', first.address),
    ]
    const offers: FileOffer[] = []
    const files: MemoryFile[] = []
    const messenger = open(alice, [bob, mallory], {
      files: {
        async open(offer) {
          offers.push(offer)
          const file = memoryFile(offer)
          files.push(file)
          return file.sink
        },
      },
    })
    const heard = listen(messenger)
    const bytes = new Uint8Array(PART_BYTES + 5).fill(7)
    const file = makeId()
    const part = (number: number, more: Partial<FilePart> = {}): FilePart => ({
      type: 'file',
      file,
      name: 'x.bin',
      total: bytes.length,
      hash: sha256(bytes),
      part: number,
      bytes: number === 0 ? new Uint8Array(0) : bytes.slice((number - 1) * PART_BYTES, number * PART_BYTES),
      ...more,
    })
    // A file of 2^53 bytes, a part of a wrong length and a path as a name cannot even be encoded.
    for (const wrong of [part(0, { total: 2 ** 53 }), part(2, { bytes: bytes.slice(0, 6) }), part(3), part(0, { name: '../x' })]) {
      await expect(write(mallory, alice, wrong)).rejects.toThrow(TypeError)
    }
    await post(first.address, mallory, alice, [
      await write(mallory, alice, part(0)),
      await write(mallory, alice, part(2)),
      await write(mallory, alice, part(2)),
      // Another file under the same id.
      await write(mallory, alice, part(1, { hash: '0'.repeat(64) })),
      // Bob's file of the same id is separate and does not affect Mallory's.
      await write(bob, alice, part(1, { bytes: new Uint8Array(PART_BYTES) })),
      await write(mallory, alice, part(1)),
      await write(mallory, alice, part(1, { bytes: new Uint8Array(PART_BYTES) })),
    ])
    await heard.until((event) => event.kind === 'file-received' && event.state === 'done')
    expect(offers.map(({ from }) => from.name)).toEqual(['mallory', 'mallory', 'bob'])
    expect(files[1]).toMatchObject({ outcome: 'open', written: [1] })
    expect(files[0]).toMatchObject({ outcome: 'finished', written: [2, 1] })
    expect(Buffer.compare(files[0]!.bytes, bytes)).toBe(0)
    // The hash does not match, so no part of the file may stay.
    await post(first.address, bob, alice, [await write(bob, alice, part(2))])
    const damaged = await heard.until((event) => event.kind === 'file-received' && event.state === 'damaged')
    expect(damaged).toMatchObject({ offer: { from: { name: 'bob' } } })
    expect(files[2]).toMatchObject({ outcome: 'discarded' })
    await messenger.flush()
  })

  test('can keep only a few files open at once: the longest idle one is closed', async () => {
    const first = await startRelay()
    const [alice, mallory] = [makePerson('alice', first.address), makePerson('mallory', first.address)]
    const count = { opened: 0, closed: 0 }
    let most = 0
    const messenger = open(alice, [mallory], {
      files: {
        async open(offer) {
          count.opened++
          const close = async (): Promise<void> => void count.closed++
          return { ...memoryFile(offer, [], new Uint8Array(0)).sink, close }
        },
      },
    })
    const heard = listen(messenger)
    const offers = Array.from(
      { length: 20 },
      (_, n) =>
        ({ type: 'file', file: makeId(), name: `${n}`, total: 2 ** 30, hash: '0'.repeat(64), part: 0, bytes: new Uint8Array(0) }) as const,
    )
    for (const offer of offers) {
      await post(first.address, mallory, alice, [await write(mallory, alice, offer)])
      await heard.until((event) => event.kind === 'file-received' && event.offer.name === offer.name)
      most = Math.max(most, count.opened - count.closed)
    }
    expect(count.opened).toBe(20)
    expect(most).toBeLessThanOrEqual(5)
    await messenger.close()
    while (count.closed < 20) await new Promise((resolve) => setImmediate(resolve))
  })

  test('that offers more files than fit at once is not refused: its next offer has room', async () => {
    const first = await startRelay()
    const [alice, bob] = [makePerson('alice', first.address), makePerson('bob', first.address)]
    const stored = Promise.withResolvers<void>()
    const messenger = open(alice, [bob], {
      files: {
        async open(offer) {
          await stored.promise
          return memoryFile(offer, [], new Uint8Array(0)).sink
        },
      },
    })
    const heard = listen(messenger)
    const offer = (n: number): FilePart => {
      const file = `${`${n}`.repeat(21)}A`
      return { type: 'file', file, name: `${n}`, total: 2 ** 30, hash: '0'.repeat(64), part: 0, bytes: new Uint8Array(0) }
    }
    const written = [2, 3, 4, 5, 6].map(async (n) => write(bob, alice, offer(n)))
    await post(first.address, bob, alice, [...(await Promise.all(written)), await write(bob, alice, text('behind the offers'))])
    await take(messenger, 1)
    stored.resolve()
    for (const n of [2, 3, 4, 5]) await heard.until((event) => event.kind === 'file-received' && event.offer.name === `${n}`)
    await post(first.address, bob, alice, [await write(bob, alice, offer(6))])
    const next = await heard.until((event) => event.kind === 'file-received' && event.offer.name === '6')
    expect(next).toMatchObject({ state: 'receiving' })
    await messenger.close()
  })

  test('cannot confirm a file that was sent to another contact or never sent', async () => {
    const [first, second] = [await startRelay(), await startRelay()]
    const [alice, bob, mallory] = [
      makePerson('alice', first.address),
      makePerson('bob', second.address),
      makePerson('mallory', second.address),
    ]
    const kept: string[] = []
    const seen = {
      load: async () => undefined,
      replace: async () => {},
      append: async (line: Uint8Array) => void kept.push(Buffer.from(line).toString()),
    }
    const messenger = open(alice, [bob, mallory], { seen })
    const delivery = await messenger.sendFile(bob, { name: 'x', size: 3, read: async () => new Uint8Array(3) })
    await post(first.address, mallory, alice, [
      await write(mallory, alice, { type: 'have', file: delivery.file, parts: 'done' }),
      await write(mallory, alice, { type: 'have', file: makeId(), parts: [[1, 65_536]] }),
      await write(mallory, alice, text('after them')),
    ])
    await take(messenger, 1)
    expect(delivery.state).toBe('offered')
    // Only the text is stored: messages that anyone can send without end are not.
    expect(kept).toHaveLength(1)
    await post(first.address, bob, alice, [await write(bob, alice, { type: 'have', file: delivery.file, parts: 'refused' })])
    expect(await delivery.settled).toBe('refused')
  })
})

describe('a hostile relay', () => {
  /** Logs in, or accepts a shown token; then yields the fields of each line that the client sends. */
  async function* requests(peer: Peer, victim: Person, knows = false): AsyncGenerator<readonly string[]> {
    if (knows) await peer.line()
    if (knows) await peer.say('18;asfaleia/1\n')
    else await honestly(peer, victim.key)
    for (let line = await peer.line(); line !== undefined; line = await peer.line()) yield line.split(';')
  }

  test('that announces a message and delivers none is reported as such', async () => {
    for (const waiting of [1, 0]) {
      const bob = makePerson('bob', 'localhost')
      const hostile = await startScript(async (peer) => {
        for await (const [name] of requests(peer, bob)) if (name === '6') await peer.say(`16;${waiting}\n`)
      })
      const clock = createClock()
      const messenger = open({ ...bob, relays: [hostile.address] }, [], { clock })
      const events = messenger.events()
      for await (const event of events) if (event.kind === 'relay' && event.state === 'up') break
      clock.skip(10_001)
      const missed = [...(await messenger.fetched())]
      expect(missed).toEqual(waiting === 0 ? [] : [[hostile.address, expect.objectContaining({ code: 'undelivered' })]])
    }
  })

  test('that confirms and forgets a message cannot lose it: it goes to the next relay or expires unconfirmed', async () => {
    const honest = await startRelay()
    const alice = makePerson('alice', honest.address)
    let taken = 0
    const hostile = await startScript(async (peer) => {
      for await (const [name] of requests(peer, alice)) {
        if (name === '3') {
          taken++
          // It announces a short hold time.
          await peer.say('13;aa;60\n')
        }
        if (name === '5') await peer.say('15;0\n')
      }
    })
    const clock = createClock()
    const bob = makePerson('bob', hostile.address, honest.address)
    const messenger = open(alice, [bob], { clock })
    const to = open({ ...bob, relays: [honest.address] }, [alice])
    const delivery = messenger.send(bob, text('hello'), { deadline: 7_200 })
    const never = messenger.send({ ...makePerson('carol', hostile.address) }, text('hello'), { deadline: 7_200 })
    expect(await delivery.accepted).toBe('held')
    expect(await never.accepted).toBe('held')
    expect(taken).toBe(2)
    clock.skip(61_000)
    expect((await take(to, 1)).map(textOf)).toEqual(['hello'])
    expect(await delivery.settled).toBe('delivered')
    clock.skip(7_200_000)
    expect(await never.settled).toBe('expired')
    expect(never).toMatchObject({ held: true })
  })

  test('that repeats and reorders messages under new ids cannot make any appear twice or out of order', async () => {
    const [alice, bob] = [makePerson('alice'), makePerson('bob')]
    const ids = Array.from({ length: 10 }, makeId)
    const payloads = await Promise.all(ids.map((id, n) => write(alice, bob, text(`${n}`), { id, ...(n > 0 && { after: ids[n - 1]! }) })))
    const base64 = payloads.map((payload) => Buffer.from(payload).toString('base64'))
    const order = [0, 3, 3, 1, 0, 2, 9, 8, 7, 1, 4, 6, 5, 0, 9]
    const acked: string[] = []
    const hostile = await startScript(async (peer) => {
      for await (const [name, , ...rest] of requests(peer, bob)) {
        if (name === '6') {
          await peer.say('16;99\n')
          for (const [n, which] of order.entries()) await peer.say(`20;m${n};${base64[which]}\n`)
        }
        if (name === '5') {
          acked.push(...rest)
          await peer.say(`15;${rest.length}\n`)
        }
        if (name === '7') await peer.say('17\n')
      }
    })
    const messenger = open({ ...bob, relays: [hostile.address] }, [alice])
    const received = await take(messenger, 10)
    expect(received.map(textOf)).toEqual(ids.map((_, n) => `${n}`))
    expect(received.some(({ gap, late }) => gap || late)).toBe(false)
    while (acked.length < order.length) await new Promise((resolve) => setImmediate(resolve))
    expect(acked.toSorted()).toEqual(order.map((_, n) => `m${n}`).toSorted())
  })

  test('with a foreign challenge, a drip or endless junk gets no answer, and the message goes to the next relay', async () => {
    const honest = await startRelay()
    const [alice, bob] = [makePerson('alice'), makePerson('bob', honest.address)]
    const payload = await write(bob, alice, text('a message'))
    const scripts: Record<string, (peer: Peer) => Promise<void>> = {
      'hostile-challenge': async (peer) => {
        await peer.line()
        await peer.say('18;asfaleia/1\n')
        await peer.say(await challengePacket(challengeLine('x'.repeat(56) + '.onion'), alice.key))
        await peer.gone
      },
      'a message as a challenge': async (peer) => {
        await peer.line()
        await peer.say(`18;asfaleia/1\n1;1;${Buffer.from(payload).toString('base64')}\n`)
        await peer.gone
      },
      'broken-relay': async (peer) => {
        await peer.line()
        while (await peer.say('x'.repeat(65_536)));
      },
      'no-answer': async (peer) => {
        while (await peer.say('1')) await Promise.race([peer.gone, new Promise((resolve) => setImmediate(resolve))])
      },
    }
    for (const [name, script] of Object.entries(scripts)) {
      const hostile = await startScript(script)
      const messenger = open({ ...alice, relays: [hostile.address] }, [bob], { timeout: 500 })
      const heard = listen(messenger)
      const delivery = messenger.send({ ...bob, relays: [hostile.address, honest.address] }, text(`past ${name}`))
      expect(await delivery.accepted).toBe('held')
      expect(delivery.relay).toBe(honest.address)
      await heard.until((event) => event.kind === 'relay' && event.purpose === 'receive' && event.state === 'down')
      await messenger.close()
      expect(hostile.received()).not.toMatch(/^2;/m)
      expect(hostile.received()).not.toContain(TOKEN)
    }
  })

  test("that floods a slow reader is disconnected once the client's cap is reached", async () => {
    const alice = makePerson('alice')
    const overrun = Promise.withResolvers<void>()
    const hostile = await startScript(async (peer) => {
      for await (const [name] of requests(peer, alice)) {
        if (name !== '6') continue
        await peer.say('16;1\n')
        // Use one id, which must not make them count as one message.
        while (await peer.say('20;m;anVuaw==\n'.repeat(1_000)));
        overrun.resolve()
      }
    })
    const messenger = open({ ...alice, relays: [hostile.address] }, [])
    const heard = listen(messenger)
    await overrun.promise
    const down = await heard.until((event) => event.kind === 'relay' && event.state === 'down')
    expect(down).toMatchObject({ error: { code: 'broken-relay', reason: 'too-much' } })
  })

  test('that cuts the connection before messages are processed must deliver them again, and each is shown once, junk too', async () => {
    const [alice, bob] = [makePerson('alice'), makePerson('bob')]
    const base64 = (payload: Uint8Array): string => Buffer.from(payload).toString('base64')
    const packets = [Buffer.from('junk'), Buffer.from('junk'), await write(alice, bob, text('hello'))].map(
      (payload, n) => `20;m${n};${base64(payload)}\n`,
    )
    let connections = 0
    const acked: string[] = []
    const hostile = await startScript(async (peer) => {
      const isFirst = ++connections === 1
      for await (const [name, , ...rest] of requests(peer, bob, !isFirst)) {
        if (name === '5') acked.push(...rest)
        if (name === '5') await peer.say(`15;${rest.length}\n`)
        if (name === '6') await peer.say(`16;3\n${packets.join('')}`)
        if (name === '6' && isFirst) return peer.end()
      }
    })
    const clock = createClock()
    const messenger = open({ ...bob, relays: [hostile.address] }, [alice], { clock })
    const heard = listen(messenger)
    await heard.until((event) => event.kind === 'relay' && event.state === 'down')
    clock.skip(60_000)
    // The signed message is recognized, and with it the ones before.
    await heard.until(({ kind }) => kind === 'duplicate')
    const received = await take(messenger, 3)
    expect(received.map(({ verdict }) => verdict)).toEqual(['unreadable', 'unreadable', 'genuine'])
    while (acked.filter((id) => id.startsWith('m')).length < 3) await new Promise((resolve) => setImmediate(resolve))
    expect(acked.toSorted().filter((id) => id.startsWith('m'))).toEqual(['m0', 'm1', 'm2'])
    expect(await Promise.race([take(messenger, 1), messenger.flush()])).toBeUndefined()
  })

  test('that redelivers to another program with the same store cannot make the message appear twice', async () => {
    const [alice, bob] = [makePerson('alice'), makePerson('bob')]
    const packet = `20;m;${Buffer.from(await write(alice, bob, text('hello'))).toString('base64')}\n`
    const hostile = await startScript(async (peer) => {
      for await (const [name] of requests(peer, bob)) if (name === '6') await peer.say(`16;1\n${packet}`)
    })
    let stored = ''
    const seen = {
      load: async () => (stored === '' ? undefined : Buffer.from(stored)),
      replace: async (all: Uint8Array) => void (stored = Buffer.from(all).toString()),
      append: async (line: Uint8Array) => void (stored += Buffer.from(line).toString()),
    }
    const first = open({ ...bob, relays: [hostile.address] }, [alice], { seen })
    const gate = Promise.withResolvers<void>()
    const connect: typeof connectRelay = (options) => gate.promise.then(() => connectRelay(options))
    const second = open({ ...bob, relays: [hostile.address] }, [alice], { seen, connect })
    await second.ready
    const heard = listen(second)
    expect((await take(first, 1)).map(textOf)).toEqual(['hello'])
    gate.resolve()
    expect(await Promise.race([heard.until(({ kind }) => kind === 'duplicate'), take(second, 1)])).toMatchObject({ kind: 'duplicate' })
  })

  test('that hands the mailbox to another client is reported, and the messenger does not take it back', async () => {
    const relay = await startRelay()
    const alice = makePerson('alice', relay.address)
    const first = open(alice, [])
    const heard = listen(first)
    await heard.until((event) => event.kind === 'relay' && event.state === 'up')
    const second = open(alice, [])
    const other = listen(second)
    await heard.until(({ kind }) => kind === 'taken-over')
    await other.until((event) => event.kind === 'relay' && event.state === 'up')
    await post(relay.address, alice, alice, [await write(alice, alice, text('to the newer one'))])
    expect((await take(second, 1)).map(textOf)).toEqual(['to the newer one'])
    expect(other.events.filter(({ kind }) => kind === 'taken-over')).toEqual([])
  })

  test('that says so soon after a failure may mean the connection that failed: the messenger takes the mailbox back once', async () => {
    const relay = await startRelay()
    const alice = makePerson('alice', relay.address)
    let tries = 0
    const connect: typeof connectRelay = (options) =>
      ++tries === 1 ? Promise.reject(new RelayError('connect-timeout')) : connectRelay(options)
    const first = open(alice, [], { connect })
    const heard = listen(first)
    const isUp = (event: MessengerEvent): boolean => event.kind === 'relay' && event.state === 'up'
    await heard.until(isUp)
    const takeOver = async (): Promise<void> => {
      const late = await connectRelay({ relay: relay.address, identity: alice.identity })
      closers.push(() => late.close())
      void late
        .subscribe()
        .next()
        .catch(() => {})
    }
    await takeOver()
    await heard.until((event) => event.kind === 'relay' && event.state === 'down' && tries === 2)
    await expect.poll(() => heard.events.filter(isUp).length, { timeout: 10_000 }).toBe(2)
    expect(heard.events.filter(({ kind }) => kind === 'taken-over')).toEqual([])
    await takeOver()
    await heard.until(({ kind }) => kind === 'taken-over')
    expect(tries).toBe(3)
  })
})
