/** The messenger over relays of this process. */
import { randomBytes } from 'node:crypto'
import { afterEach, describe, expect, test } from 'vitest'
import type { Contact, Messenger, MessengerOptions } from '../../src/client/messenger.ts'
import type { FileOffer } from '../../src/client/transfers.ts'
import { memoryFile, type MemoryFile, sourceOf } from '../support/files.ts'
import { makePerson, messengerOf, type Person, take, textOf } from '../support/people.ts'
import { startTestRelay, type TestRelay, type TestRelayOptions } from '../support/relay.ts'

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

describe('two people on two relays', () => {
  test('a message arrives once, in the sender’s name, and its sender is told', async () => {
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

  test('many arrive in the order in which they were written, both ways at once', { timeout: 60_000 }, async () => {
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

describe('a relay that is killed and started again', () => {
  test('in the middle of 200 messages each way: all arrive once, in the order of their sender, and are confirmed', { timeout: 60_000 }, async () => {
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

describe('files', () => {
  test('arrive whole though the connections are cut three times', { timeout: 60_000 }, async () => {
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
    // What came twice was written once.
    expect(file!.written.length).toBe(new Set(file!.written).size)
  })
})
