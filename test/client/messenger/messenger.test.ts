/** The messenger with relays in this process. */
import { randomBytes } from 'node:crypto'
import { getEventListeners } from 'node:events'
import { setImmediate as turn, setTimeout as later } from 'node:timers/promises'
import { afterEach, describe, expect, test } from 'vitest'
import { connectRelay } from '../../../src/client/wire/connect.ts'
import { FILE, type FileSink, Parts } from '../../../src/client/delivery/file.ts'
import { countParts, PART_BYTES } from '../../../src/client/format/content.ts'
import { makeId } from '../../../src/client/format/field.ts'
import { encodeMessage } from '../../../src/client/format/message.ts'
import type { Contact } from '../../../src/client/messenger/contact.ts'
import type { Introducer, MessengerOptions, OutboxStore } from '../../../src/client/messenger/options.ts'
import type { MessengerEvent } from '../../../src/client/messenger/event.ts'
import type { Messenger } from '../../../src/client/messenger/messenger.ts'
import type { OutboxEntry } from '../../../src/client/delivery/entry.ts'
import type { SeenStore } from '../../../src/client/delivery/seen.ts'
import type { FileOffer, FileReceiver } from '../../../src/client/messenger/transfers.ts'
import { createClock } from '../../support/clock.ts'
import { memoryFile, type MemoryFile, sourceOf } from '../../support/files.ts'
import { makePerson, messengerOf, type Person, take, textOf } from '../../support/people.ts'
import { startSocksServer } from '../../support/socks-server.ts'
import { startTestRelay, type TestRelay, type TestRelayOptions } from '../../support/relay.ts'

const closers: (() => unknown)[] = []
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close()
})

async function startRelay(options?: TestRelayOptions): Promise<TestRelay> {
  const started = await startTestRelay(options)
  closers.push(() => started.close())
  return started
}

function open(person: Person, contacts: readonly Contact[], more?: Partial<MessengerOptions>): Messenger {
  const messenger = messengerOf(person, contacts, more)
  closers.push(() => messenger.close())
  return messenger
}

describe('two messengers on two relays', () => {
  test("deliver a message once, with the contact's name, and the sender gets its receipt", async () => {
    const [first, second] = [await startRelay(), await startRelay()]
    const [alice, bob] = [makePerson('alice', first.address), makePerson('bob', second.address)]
    const [from, to] = [open(alice, [bob]), open(bob, [alice])]
    const delivery = from.send(bob, { type: 'text', text: 'Hello Bob.' })
    expect(delivery).toMatchObject({ state: 'waiting', to: bob, held: false })
    expect(await delivery.accepted).toBe('held')
    expect(delivery).toMatchObject({ relay: second.address })
    const [received] = await take(to, 1)
    expect(received).toMatchObject({ verdict: 'genuine', from: { name: 'alice' }, relay: second.address, envelope: { id: delivery.id } })
    expect(textOf(received!)).toBe('Hello Bob.')
    expect(await delivery.settled).toBe('delivered')
    expect(delivery).toMatchObject({ state: 'delivered', held: true })
    expect(from.deliveries()).toEqual([])
    await to.flush()
  })

  test('the card goes with messages to contacts who may not have it, until they are heard', async () => {
    const relay = await startRelay()
    const [alice, bob] = [makePerson('alice', relay.address), makePerson('bob', relay.address)]
    const heard: string[] = []
    const introducer: Introducer = {
      cardFor: () => (heard.length === 0 ? 'asfaleia:card/2:alice' : undefined),
      onHeard: ({ name }) => heard.push(name),
    }
    const [from, to] = [open(alice, [bob], { introducer }), open(bob, [alice])]
    const delivery = from.send(bob, { type: 'text', text: 'one' })
    from.send(bob, { type: 'text', text: 'in a group' }, { group: makeId() })
    const [one, grouped] = await take(to, 2)
    expect([one, grouped].map((each) => each?.envelope?.card)).toEqual(['asfaleia:card/2:alice', undefined])
    expect(await delivery.settled).toBe('delivered')
    expect(heard).toContain('bob')
    from.send(bob, { type: 'text', text: 'two' })
    expect((await take(to, 1))[0]?.envelope?.card).toBeUndefined()
  })

  test('deliver many messages in order, in both directions at once', { timeout: 60_000 }, async () => {
    const [first, second] = [await startRelay({ memory: 2 ** 24 }), await startRelay({ memory: 2 ** 24 })]
    const [alice, bob] = [makePerson('alice', first.address), makePerson('bob', second.address)]
    const [from, to] = [open(alice, [bob]), open(bob, [alice])]
    const texts = Array.from({ length: 200 }, (_, n) => `message ${n}`)
    const out = texts.map((text) => from.send(bob, { type: 'text', text }))
    const back = texts.map((text) => to.send(alice, { type: 'text', text }))
    const [came, cameBack] = await Promise.all([take(to, 200), take(from, 200)])
    expect(came.map(textOf)).toEqual(texts)
    expect(cameBack.map(textOf)).toEqual(texts)
    expect(new Set(await Promise.all([...out, ...back].map(({ settled }) => settled)))).toEqual(new Set(['delivered']))
  })
})

describe('a relay that is killed and restarted', () => {
  test('in the middle of 200 messages each way: all arrive once, in order, and are confirmed', { timeout: 60_000 }, async () => {
    let first = await startRelay({ memory: 2 ** 24 })
    const second = await startRelay({ memory: 2 ** 24 })
    const [alice, bob] = [makePerson('alice', first.address), makePerson('bob', second.address)]
    const [from, to] = [open(alice, [bob]), open(bob, [alice])]
    const forgotten: string[] = []
    void (async () => {
      for await (const event of to.events()) if (event.kind === 'forgotten') forgotten.push(event.relay)
    })()
    const texts = Array.from({ length: 200 }, (_, n) => `message ${n}`)
    const out = texts.map((text) => from.send(bob, { type: 'text', text }))
    const back = texts.map((text) => to.send(alice, { type: 'text', text }))
    const came = take(to, 200)
    const cameBack = await take(from, 40)
    await first.kill()
    first = await startRelay({ memory: 2 ** 24, port: first.port })
    cameBack.push(...(await take(from, 160)))
    expect((await came).map(textOf)).toEqual(texts)
    expect(cameBack.map(textOf)).toEqual(texts)
    expect(cameBack.filter(({ gap, late }) => gap || late)).toEqual([])
    expect(new Set(await Promise.all([...out, ...back].map(({ settled }) => settled)))).toEqual(new Set(['delivered']))
    expect(forgotten).toContain(first.address)
  })
})

/** Accepts one file and resumes it with the parts written before; `more` overrides functions of its sink. */
function keepOne(more: (file: MemoryFile) => Partial<FileSink>): { readonly files: FileReceiver; file: MemoryFile | undefined } {
  const kept: ReturnType<typeof keepOne> = {
    file: undefined,
    files: {
      async open(offer) {
        const { written = [], bytes } = kept.file ?? {}
        const have = new Parts(countParts(offer.total))
        for (const part of written) have.add(part)
        kept.file = memoryFile(offer, have.ranges(), bytes && new Uint8Array(bytes))
        kept.file.written.push(...written)
        return { ...kept.file.sink, ...more(kept.file) }
      },
    },
  }
  return kept
}

describe('a file transfer', () => {
  test('completes although the connections are cut three times', { timeout: 60_000 }, async () => {
    const [first, second] = [await startRelay({ memory: 2 ** 24 }), await startRelay({ memory: 2 ** 24 })]
    const [alice, bob] = [makePerson('alice', first.address), makePerson('bob', second.address)]
    const bytes = new Uint8Array(randomBytes(5_000_000))
    const from = open(alice, [bob])
    const offers: FileOffer[] = []
    let file: MemoryFile | undefined
    const to = open(bob, [alice], {
      files: {
        async open(offer) {
          offers.push(offer)
          file = memoryFile(offer)
          return file.sink
        },
      },
    })
    const done = Promise.withResolvers<void>()
    const cuts = [1_000_000, 2_000_000, 3_000_000]
    void (async () => {
      for await (const event of to.events()) {
        if (event.kind !== 'file-received') continue
        if (event.bytes > (cuts[0] ?? Number.POSITIVE_INFINITY)) {
          cuts.shift()
          first.cut()
          second.cut()
        }
        if (event.state === 'done') done.resolve()
      }
    })()
    const delivery = await from.sendFile(bob, sourceOf('/some/where/five.bin', bytes))
    expect(await delivery.settled).toBe('done')
    await done.promise
    expect(cuts).toEqual([])
    expect(delivery).toMatchObject({ confirmed: 5_000_000, total: 5_000_000, name: 'five.bin', error: undefined })
    expect(offers).toMatchObject([{ name: 'five.bin', total: 5_000_000, from: { name: 'alice' } }])
    expect(file!.outcome).toBe('finished')
    expect(Buffer.compare(file!.bytes, bytes)).toBe(0)
    // Parts that arrived twice are written once.
    expect(file!.written.length).toBe(new Set(file!.written).size)
  })

  test('resumes after a restart of its sender or its receiver', async () => {
    const relay = await startRelay({ memory: 2 ** 24 })
    const [alice, bob] = [makePerson('alice', relay.address), makePerson('bob', relay.address)]
    const bytes = new Uint8Array(randomBytes(2_000_000))
    let closed = 0
    const kept = keepOne(() => ({ close: async () => void closed++ }))
    const { files } = kept
    const half = async (messenger: Messenger, most: number): Promise<void> => {
      for await (const event of messenger.events()) if (event.kind === 'file-received' && event.bytes > most) return
    }
    const first = open(alice, [bob])
    const receiver = open(bob, [alice], { files })
    const half1 = half(receiver, 500_000)
    const interrupted = await first.sendFile(bob, sourceOf('x', bytes))
    await half1
    await first.close()
    expect(await interrupted.settled).toBe('sending')

    const clock = createClock()
    const second = open(alice, [bob], { clock })
    const half2 = half(receiver, 1_000_000)
    const delivery = await second.sendFile(bob, sourceOf('x', bytes))
    await half2
    await receiver.close()
    const again = open(bob, [alice], { files })
    // The receiver took some parts without confirming them before it closed; after a silence its sender asks
    // for its state.
    for (let asked = 0; delivery.state === 'sending' && asked < 10; asked++) {
      await Promise.race([delivery.settled, later(1_000)])
      clock.skip(FILE.offer[0])
    }
    expect(await delivery.settled).toBe('done')
    expect(kept.file).toMatchObject({ outcome: 'finished' })
    expect(Buffer.compare(kept.file!.bytes, bytes)).toBe(0)
    expect(kept.file!.written.length).toBe(new Set(kept.file!.written).size)
    expect(closed).toBe(1)
    await again.close()
  })

  test('resumes after a restart of its receiver even if no part was confirmed', async () => {
    const [relay, own] = [await startRelay(), await startRelay({ memory: 2 ** 24 })]
    const [alice, bob] = [makePerson('alice', relay.address), makePerson('bob', own.address)]
    const bytes = new Uint8Array(randomBytes(FILE.window * PART_BYTES + 100_000))
    const taken = Promise.withResolvers<void>()
    const kept = keepOne(({ sink, written }) => ({
      write: async (part, content) => {
        await sink.write(part, content)
        if (written.length === FILE.window) taken.resolve()
      },
    }))
    const { files } = kept
    const clock = createClock()
    const from = open(alice, [bob], { clock })
    let away = false
    const nowhere = { ...alice, relays: ['127.0.0.1:1'] }
    const first = open(bob, [alice], { files, contacts: { find: () => (away ? nowhere : alice) } })
    void (async () => {
      // Once the parts arrive, nothing that Bob sends reaches Alice.
      for await (const event of first.events()) if (event.kind === 'file-received' && event.bytes > 0) away = true
    })()
    const delivery = await from.sendFile(bob, sourceOf('x', bytes))
    await taken.promise
    while (own.relay.snapshot().messages > 0) await later(10)
    await first.close()
    expect(delivery).toMatchObject({ state: 'sending', confirmed: 0 })
    open(bob, [alice], { files })
    clock.skip(FILE.offer[0])
    expect(await delivery.settled).toBe('done')
    expect(Buffer.compare(kept.file!.bytes, bytes)).toBe(0)
    expect(kept.file!.written.length).toBe(new Set(kept.file!.written).size)
  })

  test('that cannot be written or is not wanted is refused, and delays nothing else', async () => {
    const relay = await startRelay({ memory: 2 ** 24 })
    const [alice, bob] = [makePerson('alice', relay.address), makePerson('bob', relay.address)]
    const from = open(alice, [bob])
    const to = open(bob, [alice], {
      files: {
        async open(offer) {
          if (offer.name === 'unwanted') return undefined
          if (offer.name === 'known') return 'done'
          return { ...memoryFile(offer).sink, write: () => Promise.reject(new Error('the disk is full')) }
        },
      },
    })
    const failed = (async () => {
      for await (const event of to.events()) if (event.kind === 'file-received' && event.state === 'failed') return event
      return undefined
    })()
    const bytes = new Uint8Array(100_000)
    const deliveries = await Promise.all(['unwanted', 'known', 'unwritable'].map((name) => from.sendFile(bob, sourceOf(name, bytes))))
    expect(await Promise.all(deliveries.map(({ settled }) => settled))).toEqual(['refused', 'done', 'refused'])
    expect(await failed).toMatchObject({ error: { message: 'the disk is full' } })
    const after = from.send(bob, { type: 'text', text: 'after them' })
    expect((await take(to, 1)).map(textOf)).toEqual(['after them'])
    expect(await after.settled).toBe('delivered')
  })

  test('ends if its signal aborts, and is refused if the source is shorter than its size or too large', async () => {
    const relay = await startRelay({ memory: 2 ** 24 })
    const [alice, bob] = [makePerson('alice', relay.address), makePerson('bob', relay.address)]
    const from = open(alice, [bob])
    const stop = new AbortController()
    const delivery = await from.sendFile(bob, sourceOf('x', new Uint8Array(10)), { signal: stop.signal })
    stop.abort(new Error('never mind'))
    expect(await delivery.settled).toBe('failed')
    expect(delivery.error).toMatchObject({ message: 'never mind' })
    await expect(from.sendFile(bob, { name: 'x', size: 10, read: async () => new Uint8Array(9) })).rejects.toThrow(TypeError)
    await expect(from.sendFile(bob, { name: 'x', size: 2 ** 53, read: async () => new Uint8Array(0) })).rejects.toThrow(TypeError)
  })
})

describe('the stores of a messenger', () => {
  test('are not written again when a relay cannot be reached', async () => {
    const down = await startRelay()
    await down.close()
    const [alice, bob] = [makePerson('alice', down.address), makePerson('bob', down.address)]
    const saves: (readonly OutboxEntry[])[] = []
    const outbox: OutboxStore = { load: async () => [], save: async (entries) => void saves.push(entries) }
    const messenger = open(alice, [bob], { outbox })
    const delivery = messenger.send(bob, { type: 'text', text: 'one' })
    while (delivery.error === undefined) await turn()
    await messenger.close()
    expect(delivery.error).toMatchObject({ code: 'relay-down' })
    expect(saves.map((entries) => entries.map(({ id }) => id))).toEqual([[delivery.id]])
  })

  test('let the next process resume the outbox and recognize earlier messages', async () => {
    const first = await startRelay()
    const down = await startRelay()
    await down.close()
    const [alice, bob] = [makePerson('alice', first.address), makePerson('bob', down.address)]
    let kept: readonly OutboxEntry[] = []
    let saves = 0
    const outbox: OutboxStore = {
      load: async () => kept,
      async save(entries) {
        saves++
        // Like a disk, do not save at once.
        await turn()
        kept = structuredClone(entries)
      },
    }
    const before = open(alice, [bob], { outbox })
    const texts = ['one', 'two', 'three']
    const lost = texts.map((text) => before.send(bob, { type: 'text', text }))
    while (lost[0]!.error === undefined) await turn()
    expect(lost[0]).toMatchObject({ state: 'waiting', held: false, error: { code: 'relay-down' } })
    await before.close()
    expect(await Promise.all(lost.map(({ settled }) => settled))).toEqual(['waiting', 'waiting', 'waiting'])
    expect(kept.map(({ id }) => id)).toEqual(lost.map(({ id }) => id))
    expect(saves).toBeGreaterThan(0)

    // Meanwhile Bob has moved to another relay, and Alice knows it.
    const moved = { ...bob, relays: [first.address] }
    let lines = new Uint8Array(0)
    const seen: SeenStore = {
      load: async () => (lines.length === 0 ? undefined : lines),
      append: async (line) => void (lines = Uint8Array.of(...lines, ...line)),
      replace: async (text) => void (lines = Uint8Array.from(text)),
    }
    const receiver = open(moved, [alice], { seen })
    const after = open(alice, [moved], { outbox })
    await after.ready
    expect(after.deliveries()).toMatchObject(lost.map(({ id }) => ({ id, state: 'waiting', content: undefined })))
    const states = after.deliveries().map(({ settled }) => settled)
    const fourth = after.send(moved, { type: 'text', text: 'four' })
    const received = await take(receiver, 4)
    expect(received.map(textOf)).toEqual([...texts, 'four'])
    // It follows the last message of the former run.
    expect(received[3]!.envelope?.after).toBe(lost[2]!.id)
    expect(await Promise.all([...states, fourth.settled])).toEqual(['delivered', 'delivered', 'delivered', 'delivered'])
    await after.flush()
    expect(kept).toEqual([])

    // Send the same message again to a restarted receiver, which must recognize it.
    await receiver.close()
    const again = open(moved, [alice], { seen })
    const duplicate = (async () => {
      for await (const event of again.events()) if (event.kind === 'duplicate') return event
      return undefined
    })()
    const copy = {
      ...lost[0]!,
      payload: await encodeMessage(alice.identity, {
        to: moved,
        id: lost[0]!.id,
        time: Math.floor(Date.now() / 1_000),
        content: { type: 'text', text: 'one' },
      }),
    }
    using client = await connectRelay({ relay: first.address, identity: alice.identity })
    await client.sendSealed(moved.key, copy.payload)
    expect(await duplicate).toMatchObject({ id: lost[0]!.id })
  })

  test('that are new let a first run mark that an earlier message is missing', async () => {
    const relay = await startRelay()
    const [alice, bob] = [makePerson('alice', relay.address), makePerson('bob', relay.address)]
    const from = open(alice, [bob])
    const phone = open(bob, [alice])
    from.send(bob, { type: 'text', text: 'one' })
    await take(phone, 1)
    await phone.close()
    await from.send(bob, { type: 'text', text: 'two' }).accepted
    const seen: SeenStore = { load: async () => undefined, append: async () => {}, replace: async () => {} }
    const laptop = open(bob, [alice], { seen })
    await laptop.fetched()
    const [two] = await take(laptop, 1)
    expect(textOf(two!)).toBe('two')
    expect(two).toMatchObject({ gap: true })
  })

  test('are left untouched if damaged, and then nothing is sent or received', async () => {
    const relay = await startRelay()
    const alice = makePerson('alice', relay.address)
    let replaced = false
    const seen: SeenStore = {
      load: async () => Buffer.from('something else'),
      append: async () => {},
      replace: async () => void (replaced = true),
    }
    const messenger = open(alice, [alice], { seen })
    await expect(messenger.ready).rejects.toMatchObject({ code: 'broken-store' })
    expect(await messenger.send(alice, { type: 'text', text: 'x' }).settled).toBe('failed')
    expect(replaced).toBe(false)
    expect(relay.relay.snapshot().messages).toBe(0)
  })
})

describe('a messenger', () => {
  test('withdraws an unconfirmed message when its signal aborts', async () => {
    const down = await startRelay()
    await down.close()
    const [alice, bob] = [makePerson('alice'), makePerson('bob', down.address)]
    const messenger = open(alice, [bob])
    const stop = new AbortController()
    const delivery = messenger.send(bob, { type: 'text', text: 'x' }, { signal: stop.signal })
    while (delivery.error === undefined) await turn()
    stop.abort(new Error('never mind'))
    expect(await delivery.settled).toBe('failed')
    expect(delivery.error).toMatchObject({ message: 'never mind' })
    expect(messenger.deliveries()).toEqual([])
    const late = messenger.send(bob, { type: 'text', text: 'x' }, { signal: AbortSignal.abort() })
    expect(await late.settled).toBe('failed')
  })

  test('removes its listeners from a shared signal once deliveries settle', async () => {
    const relay = await startRelay()
    const [alice, bob] = [makePerson('alice', relay.address), makePerson('bob', relay.address)]
    const [from, to] = [open(alice, [bob]), open(bob, [alice], { files: { open: async (offer) => memoryFile(offer).sink } })]
    const stop = new AbortController()
    const delivery = from.send(bob, { type: 'text', text: 'x' }, { signal: stop.signal })
    await take(to, 1)
    expect(await delivery.settled).toBe('delivered')
    expect(await (await from.sendFile(bob, sourceOf('x', new Uint8Array(10)), { signal: stop.signal })).settled).toBe('done')
    await turn()
    expect(getEventListeners(stop.signal, 'abort')).toEqual([])
  })

  test('fails at once for a message that cannot be sent, and sends the next one', async () => {
    const relay = await startRelay()
    const [alice, bob] = [makePerson('alice', relay.address), makePerson('bob', relay.address)]
    const messenger = open(alice, [bob])
    const states = [
      messenger.send({ ...bob, relays: [] }, { type: 'text', text: 'x' }),
      messenger.send({ ...bob, relays: ['no address'] }, { type: 'text', text: 'x' }),
      messenger.send(bob, { type: 'text', text: 'x'.repeat(30_000) }),
      messenger.send(bob, { type: 'text', text: 'fits' }),
    ]
    expect(await Promise.all(states.map(({ accepted }) => accepted))).toEqual(['failed', 'failed', 'failed', 'held'])
    expect(states.slice(0, 3).map(({ error }) => error)).toMatchObject([{ code: 'no-relay' }, { name: 'TypeError' }, { code: 'too-large' }])
    // It follows none of the failed messages.
    const [received] = await take(open(bob, [alice]), 1)
    expect(received!.envelope).not.toHaveProperty('after')
    expect(() => open({ ...alice, relays: ['no address'] }, [])).toThrow(TypeError)
  })

  test('flush() waits for messages under way until its signal aborts', async () => {
    const relay = await startRelay()
    const [alice, bob] = [makePerson('alice', relay.address), makePerson('bob', relay.address)]
    const messenger = open(alice, [bob])
    const delivery = messenger.send(bob, { type: 'text', text: 'x' })
    await messenger.flush()
    expect(delivery.state).toBe('held')
    await relay.kill()
    messenger.send(bob, { type: 'text', text: 'y' })
    const stop = new AbortController()
    const flushed = messenger.flush({ signal: stop.signal })
    stop.abort(new Error('enough'))
    await expect(flushed).rejects.toThrow('enough')
  })

  test('closes when its signal aborts: its loops end, and unconfirmed deliveries settle in their last state', async () => {
    const relay = await startRelay()
    const [alice, bob] = [makePerson('alice', relay.address), makePerson('bob', relay.address)]
    const stop = new AbortController()
    const messenger = open(alice, [bob], { signal: stop.signal })
    const delivery = messenger.send(bob, { type: 'text', text: 'x' })
    await delivery.accepted
    const loops = [messenger.received(), messenger.events()].map(async (each) => {
      for await (const _ of each);
      return 'ended'
    })
    stop.abort()
    expect(await Promise.all(loops)).toEqual(['ended', 'ended'])
    expect(await delivery.settled).toBe('held')
    expect(await messenger.send(bob, { type: 'text', text: 'x' }).settled).toBe('failed')
    expect(() => open(alice, [], { signal: stop.signal })).toThrow('aborted')
  })

  test('uses separate circuits for each relay and purpose, and new ones after a failure', async () => {
    const { port } = await startRelay({ names: ['one.example', 'two.example'] })
    const proxy = await startSocksServer({ to: port })
    closers.push(() => proxy.close())
    const [alice, bob, carol] = [makePerson('alice', 'one.example'), makePerson('bob', 'one.example'), makePerson('carol', 'two.example')]
    const messenger = open(alice, [bob, carol], { socks: `127.0.0.1:${proxy.port}` })
    const deliveries = [messenger.send(bob, { type: 'text', text: 'x' }), messenger.send(carol, { type: 'text', text: 'x' })]
    expect(await Promise.all(deliveries.map(({ accepted }) => accepted))).toEqual(['held', 'held'])
    while (proxy.requests.length < 3) await turn()
    proxy.cut()
    while (proxy.requests.length < 6) await new Promise((resolve) => setTimeout(resolve, 10))
    expect(new Set(proxy.requests.map(({ user }) => user)).size).toBe(6)
    expect(proxy.requests.map(({ host }) => host).toSorted()).toEqual([
      'one.example',
      'one.example',
      'one.example',
      'one.example',
      'two.example',
      'two.example',
    ])
  })

  test('closes an idle sending connection, and resumes with its token', async () => {
    const relay = await startRelay()
    const [alice, bob] = [makePerson('alice'), makePerson('bob', relay.address)]
    const clock = createClock()
    const messenger = open(alice, [bob], { clock })
    const states: string[] = []
    const events = messenger.events()[Symbol.asyncIterator]()
    const next = async (state: string): Promise<void> => {
      for (;;) {
        const { value } = await events.next()
        if (value?.kind === 'relay') states.push(value.error === undefined ? value.state : 'failed')
        if (value?.kind === 'relay' && value.state === state) return
      }
    }
    expect(await messenger.send(bob, { type: 'text', text: 'one' }).accepted).toBe('held')
    await next('up')
    await turn()
    clock.skip(60_000)
    await next('down')
    expect(await messenger.send(bob, { type: 'text', text: 'two' }).accepted).toBe('held')
    await next('up')
    await turn()
    clock.skip(60_000)
    await next('down')
    // With nothing to send, it checks whether the relay still holds the messages.
    await turn()
    clock.skip(480_000)
    await next('up')
    expect(states).toEqual(['connecting', 'up', 'down', 'connecting', 'up', 'down', 'connecting', 'up'])
    expect(relay.relay.snapshot()).toMatchObject({ messages: 2, counters: { logins: { decrypt: 1 } } })
  })

  test('resends messages that a relay lost in a restart, once it checks that relay', async () => {
    let relay = await startRelay()
    const [alice, bob] = [makePerson('alice'), makePerson('bob', relay.address)]
    const clock = createClock()
    const messenger = open(alice, [bob], { clock })
    const events = messenger.events()[Symbol.asyncIterator]()
    const until = async (found: (event: MessengerEvent) => boolean): Promise<void> => {
      for (;;) {
        const { value } = await events.next()
        if (value !== undefined && found(value)) return
      }
    }
    const deliveries = ['one', 'two'].map((text) => messenger.send(bob, { type: 'text', text }))
    await Promise.all(deliveries.map(({ accepted }) => accepted))
    await turn()
    clock.skip(60_000)
    await until((event) => event.kind === 'relay' && event.state === 'down')
    await relay.kill()
    relay = await startRelay({ port: relay.port })
    await turn()
    clock.skip(240_000)
    await until(({ kind }) => kind === 'forgotten')
    expect((await take(open(bob, [alice]), 2)).map(textOf)).toEqual(['one', 'two'])
  })

  test('waits at least as long as a restarting relay asks', async () => {
    const relay = await startRelay()
    const alice = makePerson('alice', relay.address)
    const messenger = open(alice, [])
    const events = messenger.events()[Symbol.asyncIterator]()
    const next = async (state: string): Promise<MessengerEvent> => {
      for (;;) {
        const { value } = await events.next()
        if (value?.kind === 'relay' && value.state === state) return value
      }
    }
    await next('up')
    await relay.relay.close()
    const down = await next('down')
    expect(down).toMatchObject({ error: { code: 'restarting', seconds: 10 } })
    expect((down as { again: number }).again).toBeGreaterThanOrEqual(10_000)
  })

  test('reports that a relay is moving, and does not follow', async () => {
    const name = '2gzyxa5ihm7nsggfxnu52rck2vv4rvmdlkiu3zzui5du4xyclen53wid.onion'
    const relay = await startRelay({ names: [name, 'localhost'], movedFrom: ['localhost'] })
    const alice = makePerson('alice', relay.address)
    const messenger = open(alice, [alice])
    for await (const event of messenger.events()) {
      if (event.kind !== 'moved') continue
      expect(event).toEqual({ kind: 'moved', relay: relay.address, name })
      break
    }
    const delivery = messenger.send(alice, { type: 'text', text: 'still here' })
    expect((await take(messenger, 1)).map(textOf)).toEqual(['still here'])
    expect(await delivery.accepted).toBe('held')
  })
})
