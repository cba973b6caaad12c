/**
 * Nothing that the messenger accepted is lost: two people write to each other with the real messenger through real relays,
 * while relays and clients restart, disks fail, state is lost or restored, and clocks are wrong.
 */
import { setTimeout as later } from 'node:timers/promises'
import { afterEach, describe, expect, test } from 'vitest'
import type { Delivery } from '../../../src/client/messenger/delivery.ts'
import type { MessengerEvent } from '../../../src/client/messenger/event.ts'
import type { Received } from '../../../src/client/messenger/inbox.ts'
import type { Messenger } from '../../../src/client/messenger/messenger.ts'
import { createClock, type TestClock } from '../../support/clock.ts'
import { textOf } from '../../support/people.ts'
import { startTestRelay, type TestRelay } from '../../support/relay.ts'
import { cardOf, type Disk, EMPTY_DISK, makeSecret, openSecret, type Secret, type Write } from '../../support/secret.ts'

const HOUR = 3_600_000
const DAY = 24 * HOUR

const closers: (() => unknown)[] = []
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close()
})

/** A person, and the program that runs for them. */
class Running {
  readonly person: Secret
  readonly world: World
  messenger: Messenger | undefined
  readonly got: string[] = []
  readonly events: MessengerEvent[] = []
  /** Messages that the disk did not take. */
  readonly undone: Received[] = []
  /** Milliseconds that this machine's clock is ahead. */
  ahead = 0

  constructor(person: Secret, world: World) {
    this.person = person
    this.world = world
  }

  start(): void {
    const { clock } = this.world
    const contacts = this.world.people.filter((each) => each !== this).map(({ person }) => cardOf(person))
    const messenger = openSecret(this.person, contacts, {
      clock: { now: () => clock.now() + this.ahead, after: (milliseconds, work) => clock.after(milliseconds, work) },
    })
    this.messenger = messenger
    closers.push(() => messenger.close())
    void (async () => {
      for await (const received of messenger.received()) {
        const text = textOf(received)
        if (text !== undefined) this.got.push(text)
        await received.done().catch(() => this.undone.push(received))
      }
    })()
    void (async () => {
      for await (const event of messenger.events()) this.events.push(event)
    })()
  }

  async stop(): Promise<void> {
    await this.messenger?.close()
    this.messenger = undefined
  }

  async restart(disk: Disk = this.person.disk): Promise<void> {
    await this.stop()
    this.person.disk = disk
    this.start()
  }

  send(to: Running, ...texts: readonly string[]): Delivery[] {
    return texts.map((text) => this.messenger!.send(cardOf(to.person), { type: 'text', text }, { deadline: 13 * 86_400 }))
  }
}

class World {
  readonly clock: TestClock = createClock(20)
  relay!: TestRelay
  people: Running[] = []

  get alice(): Running {
    return this.people[0]!
  }

  get bob(): Running {
    return this.people[1]!
  }

  async restartRelay(): Promise<void> {
    await this.relay.kill()
    this.relay = await startTestRelay({ port: this.relay.port, ...RELAY })
  }

  /** Waits, an hour of the people's time after the other if nothing else happens. */
  async until(isDone: () => boolean, hours = 24 * 12): Promise<void> {
    for (let n = 0; !isDone(); n++) {
      if (n > 4 * hours) throw new Error(`not done: alice got ${this.alice.got.join(', ')}; bob got ${this.bob.got.join(', ')}`)
      await later(n < 40 ? 20 : 50)
      if (n >= 40 && n % 4 === 0) this.clock.skip(HOUR)
    }
  }

  /** Lets each person publish a bundle. */
  async settle(): Promise<void> {
    for (const { messenger } of this.people) {
      await messenger?.fetched()
      await messenger?.flush()
    }
  }
}

const RELAY = { connections: 200, unproven: 100, memory: 2 ** 24 } as const

async function createWorld(): Promise<World> {
  const world = new World()
  world.relay = await startTestRelay(RELAY)
  closers.push(() => world.relay.close())
  const relay = `localhost:${world.relay.port}`
  world.people = ['alice', 'bob'].map((name) => new Running(makeSecret(name, [relay]), world))
  for (const each of world.people) each.start()
  await world.settle()
  return world
}

/** A few texts each way, all delivered. */
async function talk(world: World, name: string): Promise<void> {
  for (let n = 0; n < 2; n++) {
    const all = [...world.alice.send(world.bob, `${name} a${n}`), ...world.bob.send(world.alice, `${name} b${n}`)]
    await world.until(() => all.every(({ state }) => state === 'delivered'))
  }
}

const findMissing = (got: readonly string[], texts: readonly string[]): string[] => texts.filter((text) => !got.includes(text))

describe('nothing is lost', { timeout: 120_000 }, () => {
  test('if both write first at the same time', async () => {
    const world = await createWorld()
    const { alice, bob } = world
    const texts = Array.from({ length: 6 }, (_, n) => `text ${n}`)
    const all = [...alice.send(bob, ...texts), ...bob.send(alice, ...texts)]
    await world.until(() => all.every(({ state }) => state === 'delivered'))
    expect(bob.got).toEqual(texts)
    expect(alice.got).toEqual(texts)
    await talk(world, 'later')
    expect([...alice.events, ...bob.events].filter(({ kind }) => kind === 'ring')).toEqual([])
  })

  test.each([1, 2, 3])('if the relay restarts between and under messages, and the clients do: seed %i', async (seed) => {
    const world = await createWorld()
    const { alice, bob } = world
    const random = createRandom(seed)
    const texts = { alice: [] as string[], bob: [] as string[] }
    for (let step = 0; step < 14; step++) {
      const from = random() < 0.5 ? alice : bob
      const text = `step ${step}`
      texts[from === alice ? 'alice' : 'bob'].push(text)
      from.send(from === alice ? bob : alice, text)
      await later(random() * 60)
      const chance = random()
      if (chance < 0.2) await world.restartRelay()
      else if (chance < 0.4) await (random() < 0.5 ? alice : bob).restart()
    }
    await world.until(() => world.people.every(({ messenger }) => messenger!.deliveries().length === 0))
    expect(findMissing(bob.got, texts.alice)).toEqual([])
    expect(findMissing(alice.got, texts.bob)).toEqual([])
  })

  test.each(
    (['ring', 'secrets', 'outbox', 'seen'] as const).flatMap((what) =>
      ([0, 1] as const).map((who) => ({ what, who, name: ['alice', 'bob'][who] })),
    ),
  )('if a write of the file $what of $name fails, each in its turn, and the client ends there', async ({ what, who }) => {
    const world = await createWorld()
    await talk(world, 'before')
    const failing = world.people[who]!
    for (let nth = 1; nth <= 5; nth++) {
      let count = 0
      let hasFailed = false
      failing.person.onWrite = (each: Write) => {
        // From then on the disk is as it was: the process has ended.
        if (hasFailed || (each === what && ++count === nth)) {
          hasFailed = true
          throw new Error('the disk is full')
        }
      }
      const names = [`a${nth}`, `b${nth}`]
      const all = [...world.alice.send(world.bob, `${names[0]} one`, `${names[0]} two`), ...world.bob.send(world.alice, `${names[1]} one`)]
      await world.until(() => hasFailed || all.every(({ state }) => state === 'delivered' || state === 'failed'), 12)
      const accepted = all.filter(({ state }) => state !== 'failed')
      const kept = [world.alice, world.bob].map(({ person }) => person.disk.outbox.map(({ id }) => id))
      failing.person.onWrite = () => {}
      await failing.restart()
      await world.until(() => world.people.every(({ messenger }) => messenger!.deliveries().length === 0))
      const lost = accepted.filter(({ id, content, to, state }) => {
        const sender = to.name === 'bob' ? 0 : 1
        // A text that was in no outbox when its sender ended, and at no relay, was never accepted.
        const isAccepted = sender !== who || kept[sender]!.includes(id) || state !== 'waiting'
        return isAccepted && content?.type === 'text' && !world.people[1 - sender]!.got.includes(content.text)
      })
      expect(lost).toEqual([])
    }
    await talk(world, 'after')
  })

  test.each([true, false])('if a client loses its keys and addresses; the outbox is kept: %j', async (isKept) => {
    const world = await createWorld()
    const { alice, bob } = world
    await talk(world, 'before')
    await bob.stop()
    alice.send(bob, 'to the lost state, one', 'to the lost state, two')
    await world.until(() => alice.messenger!.deliveries().every(({ state }) => state === 'held'))
    await alice.stop()
    bob.start()
    // Bob's client writes, and loses its state before it reads.
    const held = bob.send(alice, 'held')
    await world.until(() => held[0]!.state === 'held' || held[0]!.state === 'delivered')
    const { outbox, seen } = bob.person.disk
    await bob.restart({ ...EMPTY_DISK, seen, ...(isKept && { outbox }) })
    alice.start()
    await later(200)
    const text = bob.send(alice, 'from the new state')
    await world.until(() => text[0]!.state === 'delivered' && alice.messenger!.deliveries().length === 0)
    expect(findMissing(bob.got, ['to the lost state, one', 'to the lost state, two'])).toEqual([])
    expect(findMissing(alice.got, ['held', 'from the new state'])).toEqual([])
    await talk(world, 'after')
    const told = alice.events.filter((event) => event.kind === 'ring').map(({ event }) => event)
    expect(told).toEqual(['anew'])
  })

  test('if the disk of a client is as it was a week before', async () => {
    const world = await createWorld()
    const { alice, bob } = world
    await talk(world, 'before')
    const backup = bob.person.disk
    for (const name of ['Monday', 'Tuesday', 'Wednesday']) {
      await talk(world, name)
      world.clock.skip(2 * DAY)
    }
    await bob.stop()
    alice.send(bob, 'under way one', 'under way two')
    await world.until(() => alice.messenger!.deliveries().every(({ state }) => state === 'held'))
    await bob.restart(backup)
    const back = bob.send(alice, 'from the old state one', 'from the old state two')
    await world.until(() => alice.messenger!.deliveries().length === 0 && back.every(({ state }) => state === 'delivered'))
    expect(findMissing(bob.got, ['under way one', 'under way two'])).toEqual([])
    expect(findMissing(alice.got, ['from the old state one', 'from the old state two'])).toEqual([])
    await talk(world, 'after')
  })

  test('if the receiver is away for ten days', async () => {
    const world = await createWorld()
    const { alice, bob } = world
    await talk(world, 'before')
    await bob.stop()
    const texts = Array.from({ length: 10 }, (_, n) => `day ${n}`)
    for (const text of texts) {
      alice.send(bob, text)
      world.clock.skip(DAY)
      await later(60)
    }
    bob.start()
    await world.until(() => alice.messenger!.deliveries().length === 0, 24 * 8)
    expect(findMissing(bob.got, texts)).toEqual([])
    await talk(world, 'after')
  })

  test.each([-26 * HOUR, 20 * DAY])('if a clock is wrong by %i ms for one command', async (ahead) => {
    const world = await createWorld()
    const { alice, bob } = world
    await talk(world, 'before')
    alice.ahead = ahead
    await alice.restart()
    const sent = alice.send(bob, 'by the wrong clock')
    bob.send(alice, 'to the wrong clock')
    await later(500)
    alice.ahead = 0
    await alice.restart()
    await world.until(() => world.people.every(({ messenger }) => messenger!.deliveries().length === 0))
    expect(sent).toHaveLength(1)
    expect(findMissing(bob.got, ['by the wrong clock'])).toEqual([])
    expect(findMissing(alice.got, ['to the wrong clock'])).toEqual([])
    world.clock.skip(3 * DAY)
    await talk(world, 'after')
    expect([...alice.events, ...bob.events].filter(({ kind }) => kind === 'ring')).toEqual([])
  })

  test('if the disk of a client is full for a while, and nothing is confirmed that it does not have', async () => {
    const world = await createWorld()
    const { alice, bob } = world
    await talk(world, 'before')
    bob.person.onWrite = () => {
      throw new Error('the disk is full')
    }
    const [delivery] = alice.send(bob, 'to a full disk')
    await world.until(() => bob.got.includes('to a full disk'))
    world.clock.skip(HOUR)
    await later(200)
    expect(delivery!.state).toBe('held')
    expect(bob.events.length).toBeLessThan(500)
    const [refused] = bob.send(alice, 'from a full disk')
    expect(await refused!.settled).toBe('failed')
    bob.person.onWrite = () => {}
    for (const each of bob.undone) await each.done()
    await world.until(() => delivery!.state === 'delivered')
    await talk(world, 'after')
  })
})

/** Marsaglia's xorshift32. */
function createRandom(seed: number): () => number {
  let state = seed * 2_654_435_761 + 1
  return () => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    return (state >>> 0) / 2 ** 32
  }
}
