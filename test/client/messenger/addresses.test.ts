/** Addresses: many of them, hostile ones, and clients that share them. */
import { setImmediate as turn, setTimeout as later } from 'node:timers/promises'
import { afterEach, describe, expect, test } from 'vitest'
import { hybridKey } from '../../../src/auth/age-hybrid.ts'
import { randomBytes } from '../../../src/auth/crypto.ts'
import { seal, sealTo } from '../../../src/client/format/envelope.ts'
import { fingerprintOf, makeId } from '../../../src/client/format/field.ts'
import { writeMessage } from '../../../src/client/format/message.ts'
import { AddressConnection } from '../../../src/client/messenger/addresses.ts'
import type { Contact } from '../../../src/client/messenger/contact.ts'
import type { MessengerEvent } from '../../../src/client/messenger/event.ts'
import type { Messenger } from '../../../src/client/messenger/messenger.ts'
import type { MessengerOptions } from '../../../src/client/messenger/options.ts'
import { type Address, decodeSecrets, encodeSecrets, fingerprintOfSecret, makeAddress } from '../../../src/client/messenger/secrets.ts'
import type { ClaimClient } from '../../../src/client/wire/claim-client.ts'
import { connectClaims } from '../../../src/client/wire/connect.ts'
import { RelayError } from '../../../src/client/wire/error.ts'
import { decodeRing } from '../../../src/client/ring/text.ts'
import { createClock } from '../../support/clock.ts'
import { makePerson, take, textOf } from '../../support/people.ts'
import { startTestRelay, type TestRelay } from '../../support/relay.ts'
import { cardOf, makeSecret, openSecret, type Secret, watch } from '../../support/secret.ts'

const closers: (() => unknown)[] = []
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close()
})

async function startRelay(port = 0): Promise<{ relay: TestRelay; name: string }> {
  const relay = await startTestRelay({ connections: 100, unproven: 50, memory: 2 ** 25, port })
  closers.push(() => relay.close())
  return { relay, name: `localhost:${relay.port}` }
}

function open(person: Secret, contacts: readonly Contact[], more?: Partial<MessengerOptions>): Messenger {
  const messenger = openSecret(person, contacts, more)
  closers.push(() => messenger.close())
  return messenger
}

const addressesOf = (person: Secret): readonly Address[] => decodeSecrets(person.disk.secrets)?.addresses ?? []

/** Two people who have written to each other, both ways. */
async function introduce(name: string) {
  const [alice, bob] = [makeSecret('alice', [name]), makeSecret('bob', [name])]
  const [from, to] = [open(alice, [cardOf(bob)]), open(bob, [cardOf(alice)])]
  for (const each of [from, to]) {
    await each.fetched()
    await each.flush()
  }
  const one = from.send(cardOf(bob), { type: 'text', text: 'one' })
  await take(to, 1)
  await one.settled
  const two = to.send(cardOf(alice), { type: 'text', text: 'two' })
  await take(from, 1)
  await two.settled
  return { alice, bob, from, to }
}

/** Sends payloads to the address that Bob has for Alice. */
async function sendTo(name: string, address: Address, payloads: readonly Uint8Array[]): Promise<void> {
  const client = await connectClaims({ relay: name })
  for (const payload of payloads) await client.sendSealed(fingerprintOfSecret(address.secret), payload)
  client.close()
}

describe('a client with seventy addresses at one relay', { timeout: 60_000 }, () => {
  test('has the messages of all of them once `fetched` resolves', async () => {
    const { name } = await startRelay()
    const bob = makeSecret('bob', [name])
    const friends = Array.from({ length: 70 }, (_, n) => makePerson(`friend ${n}`, name))
    const now = Math.floor(Date.now() / 1_000)
    const addresses = friends.map(({ key }) => makeAddress(fingerprintOf(key), name, randomBytes(32), now))
    bob.disk = { ...bob.disk, secrets: encodeSecrets({ ...decodeSecrets(undefined)!, addresses }) }
    for (const [n, friend] of friends.entries()) {
      const content = { type: 'text', text: `from ${n}` } as const
      const text = await writeMessage(friend.identity, { to: fingerprintOf(bob.key), id: makeId(), time: now, content })
      await sendTo(name, addresses[n]!, [await seal(bob.key, text)])
    }
    const messenger = open(bob, friends)
    const got: string[] = []
    void (async () => {
      for await (const received of messenger.received()) {
        got.push(textOf(received)!)
        await received.done()
      }
    })()
    expect([...(await messenger.fetched())]).toEqual([])
    await later(50)
    expect(got.toSorted()).toEqual(friends.map((_, n) => `from ${n}`).toSorted())
  })

  test('says so if it cannot reach the relay', async () => {
    const { relay, name } = await startRelay()
    const bob = makeSecret('bob', [name])
    const address = makeAddress(fingerprintOf(makePerson('friend').key), name, randomBytes(32), 0)
    bob.disk = { ...bob.disk, secrets: encodeSecrets({ ...decodeSecrets(undefined)!, addresses: [address] }) }
    await relay.kill()
    // The inbox is at another relay, which works.
    const other = await startRelay()
    const messenger = openSecret({ ...bob, relays: [other.name, name] }, [], {})
    closers.push(() => messenger.close())
    const missed = await messenger.fetched()
    expect([...missed.keys()]).toEqual([name])
  })
})

test('a connection for addresses that is closed while it dials ends what it reaches afterwards', async () => {
  const dialled = Promise.withResolvers<ClaimClient>()
  const states: string[] = []
  const connection = new AddressConnection(
    {
      connect: () => dialled.promise,
      clock: createClock(),
      random: () => 0,
      onMessage: async () => {},
      onState: (state) => void states.push(state),
      onTakenOver: () => {},
      onAcked: () => {},
    },
    [makeAddress(fingerprintOf(makePerson('friend').key), 'localhost', randomBytes(32), 0)],
  )
  connection.close()
  const ended = Promise.withResolvers<void>()
  dialled.resolve({ limits: { labels: 64 }, close: () => ended.resolve() } as unknown as ClaimClient)
  await ended.promise
  await later(10)
  expect(states).not.toContain('up')
})

/** The claims of a relay that a test plays. With 16 labels each address waits for its turn; with 64 a few are subscribed. */
function playRelay(labels: 16 | 64, get: (secret: string) => Promise<{ messages: readonly object[] }>) {
  let end = (_error: unknown): void => {}
  const open = (secret: string): unknown => ({
    get: () => get(secret),
    async *subscribe({ onSubscribed }: { onSubscribed: (waiting: number) => void }) {
      const { messages } = await get(secret)
      onSubscribed(messages.length)
      yield* messages
      await new Promise(() => {})
    },
    leave: () => {},
  })
  const client = { limits: { labels }, onEnd: (onEnd: typeof end) => void (end = onEnd), close: () => {}, open } as unknown as ClaimClient
  return { client, end: (error: unknown) => end(error) }
}

function connectTo(
  connect: (options: { early: (client: ClaimClient) => void }) => Promise<ClaimClient>,
  addresses: readonly Address[],
  more: Partial<ConstructorParameters<typeof AddressConnection>[0]> = {},
): AddressConnection {
  const connection = new AddressConnection(
    {
      connect,
      clock: createClock(),
      random: () => 0,
      onMessage: async () => {},
      onState: () => {},
      onTakenOver: () => {},
      onAcked: () => {},
      ...more,
    },
    addresses,
  )
  closers.push(() => connection.close())
  return connection
}

const makeAddresses = (length: number): Address[] =>
  Array.from({ length }, () => makeAddress(fingerprintOf(makePerson('friend').key), 'localhost', randomBytes(32), 0))

test('addresses that take turns are all asked again after a connection ended while some were asked', async () => {
  const clock = createClock()
  const states: unknown[] = []
  /** By connection: the addresses that were asked. */
  const asked: Set<string>[] = []
  let end = (_error: unknown): void => {}
  const connect = async ({ early }: { early: (client: ClaimClient) => void }): Promise<ClaimClient> => {
    const here = new Set<string>()
    const isFirst = asked.push(here) === 1
    const relay = playRelay(16, (secret) => {
      here.add(secret)
      return isFirst ? new Promise(() => {}) : Promise.resolve({ messages: [] })
    })
    end = relay.end
    early(relay.client)
    return relay.client
  }
  const onState = (state: string, more?: object): void => void states.push(state === 'up' ? more : state)
  connectTo(connect, makeAddresses(9), { clock, onState })
  await expect.poll(() => asked[0]?.size).toBe(8)
  end(new RelayError('closed'))
  await expect
    .poll(() => {
      clock.skip(1_000)
      return asked[1]?.size
    })
    .toBe(9)
  expect(states).toEqual(['connecting', { waiting: 0 }, 'down', 'connecting', { waiting: 0 }])
})

test.each([
  ['is subscribed', 64],
  ['takes turns', 16],
] as const)('`fetched` resolves only once the user has the messages of an address that %s', async (_how, labels) => {
  const batches = [{ messages: [{ id: 'one' }, { id: 'two' }] }]
  const { client } = playRelay(labels, async () => batches.shift() ?? { messages: [] })
  const [got, isTaken] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
  let isFetched = false
  const connection = connectTo(
    async ({ early }) => {
      early(client)
      return client
    },
    makeAddresses(1),
    {
      onMessage: (_source, _address, { id }) => {
        if (id === 'two') got.resolve()
        return id === 'two' ? isTaken.promise : Promise.resolve()
      },
    },
  )
  void connection.fetched.then(() => (isFetched = true))
  await got.promise
  await turn()
  expect(isFetched).toBe(false)
  isTaken.resolve()
  expect(await connection.fetched).toBeUndefined()
})

test('a client that receives loads the keys of each address before it is ready, and one that only sends loads none', async () => {
  const { name } = await startRelay()
  const { alice, bob, to } = await introduce(name)
  await to.close()
  const { rings } = bob.secrecy
  const loadedBy = async (relays: readonly string[]): Promise<string[]> => {
    const loaded: string[] = []
    const load = (contact: string): ReturnType<typeof rings.load> => {
      loaded.push(contact)
      return rings.load(contact)
    }
    const messenger = open({ ...bob, relays, secrecy: { ...bob.secrecy, rings: { ...rings, load } } }, [cardOf(alice)])
    await messenger.ready
    await messenger.close()
    return loaded
  }
  expect(await loadedBy([name])).toEqual([fingerprintOf(alice.key)])
  expect(await loadedBy([])).toEqual([])
})

describe('garbage at an address', { timeout: 120_000 }, () => {
  test('a thousand times, takes a bounded time, costs one report, and holds nothing up', async () => {
    const { name } = await startRelay()
    const { alice, bob, from, to } = await introduce(name)
    const address = addressesOf(bob).find(({ contact }) => contact === fingerprintOf(alice.key))!
    const garbage: Uint8Array[] = []
    for (let n = 0; n < 100; n++) garbage.push(await sealTo(hybridKey(randomBytes(32)).recipient, randomBytes(100)))
    const before = process.cpuUsage()
    for (let round = 0; round < 10; round++) await sendTo(name, address, garbage)
    const letter = from.send(cardOf(bob), { type: 'text', text: 'behind the garbage' })
    expect((await take(to, 1)).map(textOf)).toEqual(['behind the garbage'])
    expect(await letter.settled).toBe('delivered')
    // Both clients, the relay and the garbage itself: 20 ms for each message.
    expect(process.cpuUsage(before).user / 1_000_000).toBeLessThan(20)
    const ring = decodeRing(fingerprintOf(alice.key), bob.disk.rings.get(fingerprintOf(alice.key))!)
    expect(ring.unread.size).toBe(100)
    expect(ring.reports.length).toBeLessThanOrEqual(1)
  })
})

describe('an address of a contact', { timeout: 60_000 }, () => {
  /** Bob's client, after a message of Alice that names `mailboxes`. */
  async function nameAddress(name: string, mailboxes: (bob: Secret, alice: Secret) => { fingerprint: string; relay: string }[]) {
    const { alice, bob, from, to } = await introduce(name)
    const contact = fingerprintOf(alice.key)
    const ring = decodeRing(contact, bob.disk.rings.get(contact)!)
    await to.close()
    const address = { time: Math.floor(Date.now() / 1_000), mailboxes: mailboxes(bob, alice) }
    await bob.secrecy.rings.save(contact, { ...ring, address })
    return { alice, bob, from, to: open(bob, [cardOf(alice)]) }
  }

  test('at `localhost` is not dialled by a client that does not receive there: the message goes to the inbox', async () => {
    const { relay, name } = await startRelay()
    const { alice, to, from, bob } = await nameAddress(name, () => [{ fingerprint: `SHA256:${'A'.repeat(43)}`, relay: 'localhost:1' }])
    await to.close()
    const away = { ...bob, relays: [], secrecy: { ...bob.secrecy, relays: () => [] } }
    const elsewhere: Contact = { ...cardOf(alice), relays: [relay.address.replace('127.0.0.1', 'localhost')] }
    const messenger = open(away, [elsewhere])
    const delivery = messenger.send(elsewhere, { type: 'text', text: 'to the inbox' })
    expect((await take(from, 1)).map(textOf)).toEqual(['to the inbox'])
    expect(delivery.protection).toBe('daily')
    expect(delivery.error).toBeUndefined()
  })

  test("at the user's own address brings the message back to the user, as one that no key opens, and nothing loops", async () => {
    const { name } = await startRelay()
    const { alice, bob, to } = await nameAddress(name, (owner, contact) => {
      const own = addressesOf(owner).find((each) => each.contact === fingerprintOf(contact.key))!
      return [{ fingerprint: fingerprintOfSecret(own.secret), relay: name }]
    })
    const delivery = to.send(cardOf(alice), { type: 'text', text: 'to myself' })
    expect(await delivery.accepted).toBe('held')
    const contact = fingerprintOf(alice.key)
    await expect.poll(() => decodeRing(contact, bob.disk.rings.get(contact)!).unread.size, { timeout: 10_000 }).toBe(1)
    await later(500)
    expect(decodeRing(contact, bob.disk.rings.get(contact)!).reports.length).toBeLessThanOrEqual(1)
    expect(delivery.state).toBe('held')
  })

  test('at a relay that refuses claims is given up for the inbox', async () => {
    const { name } = await startRelay()
    const member = makePerson('member')
    const closed = await startTestRelay({ admit: [{ fingerprint: member.key.fingerprint }], connections: 50, unproven: 50 })
    closers.push(() => closed.close())
    const { alice, from, to } = await nameAddress(name, () => [
      { fingerprint: `SHA256:${'A'.repeat(43)}`, relay: `localhost:${closed.port}` },
    ])
    const delivery = to.send(cardOf(alice), { type: 'text', text: 'to the inbox' })
    expect((await take(from, 1)).map((each) => [textOf(each), each.protection])).toEqual([['to the inbox', 'daily']])
    expect(await delivery.settled).toBe('delivered')
  })

  test('that another person writes to is renewed, once a day at most, and the contact uses the new one', async () => {
    const { name } = await startRelay()
    const { alice, bob, from, to } = await introduce(name)
    const contact = fingerprintOf(alice.key)
    const address = addressesOf(bob).find((each) => each.contact === contact)!
    await to.close()
    // The address is two days old.
    const secrets = decodeSecrets(bob.disk.secrets)!
    const aged = secrets.addresses.map((each) => ({ ...each, since: each.since - 2 * 86_400 }))
    bob.disk = { ...bob.disk, secrets: encodeSecrets({ ...secrets, addresses: aged }) }
    const again = open(bob, [cardOf(alice)])
    const stranger = makePerson('mallory')
    const write = async (): Promise<Uint8Array> =>
      seal(
        bob.key,
        await writeMessage(stranger.identity, {
          to: fingerprintOf(bob.key),
          id: makeId(),
          time: Math.floor(Date.now() / 1_000),
          content: { type: 'text', text: 'I know your address' },
        }),
      )
    for (let n = 0; n < 3; n++) {
      await sendTo(name, address, [await write()])
      await take(again, 1)
      const letter = again.send(cardOf(alice), { type: 'text', text: `new ${n}` })
      await take(from, 1)
      await letter.settled
    }
    const all = addressesOf(bob).filter((each) => each.contact === contact)
    expect(all.map(({ replaced }) => replaced === undefined)).toEqual([false, true])
    const answer = from.send(cardOf(bob), { type: 'text', text: 'to the new one' })
    expect((await take(again, 1)).map(textOf)).toEqual(['to the new one'])
    expect(await answer.settled).toBe('delivered')
    const held = decodeRing(fingerprintOf(bob.key), alice.disk.rings.get(fingerprintOf(bob.key))!).address
    expect(held?.mailboxes.map(({ fingerprint }) => fingerprint)).toEqual([fingerprintOfSecret(all[1]!.secret)])
  })
})

test('`flush` resolves once the relay has the acknowledgements, also if no receipt follows them', { timeout: 60_000 }, async () => {
  const { name } = await startRelay()
  const [alice, bob] = [makeSecret('alice', [name]), makeSecret('bob', [name])]
  const silent = { receipts: { delivered: false } }
  const [from, to] = [open(alice, [cardOf(bob)], silent), open(bob, [cardOf(alice)], silent)]
  for (const each of [from, to]) {
    await each.fetched()
    await each.flush()
  }
  // At the inbox first, and then at an address.
  for (const protection of ['daily', 'one-time']) {
    const letter = from.send(cardOf(bob), { type: 'text', text: protection })
    const [got] = await take(to, 1)
    expect([textOf(got!), got!.protection, letter.protection]).toEqual([protection, protection, protection])
    await to.flush({ signal: AbortSignal.timeout(20_000) })
    to.send(cardOf(alice), { type: 'text', text: 'keys' })
    await take(from, 1)
  }
})

test('a copy of a message whose one-time key is erased is confirmed again: the receipt may be lost', { timeout: 60_000 }, async () => {
  const { relay, name } = await startRelay()
  const { alice, bob, from, to } = await introduce(name)
  await to.close()
  const letter = from.send(cardOf(bob), { type: 'text', text: 'three' })
  expect(await letter.accepted).toBe('held')
  await expect.poll(() => alice.disk.outbox.some(({ id, payload }) => id === letter.id && payload.length > 0)).toBe(true)
  const { payload } = alice.disk.outbox.find(({ id }) => id === letter.id)!
  const again = open(bob, [cardOf(alice)])
  expect((await take(again, 1)).map(textOf)).toEqual(['three'])
  expect(await letter.settled).toBe('delivered')
  expect(letter.protection).toBe('one-time')
  const { stored } = relay.relay.snapshot().counters
  await sendTo(
    name,
    addressesOf(bob).find(({ contact }) => contact === fingerprintOf(alice.key))!,
    [payload],
  )
  // The copy, and a second receipt.
  await expect.poll(() => relay.relay.snapshot().counters.stored, { timeout: 20_000 }).toBe(stored + 2)
  // Both are erased.
  await expect.poll(() => relay.relay.snapshot().messages, { timeout: 20_000 }).toBe(0)
})

describe('a contact who was removed', { timeout: 60_000 }, () => {
  test('has no address any more, no connection reads it, and nothing of the ring is left', async () => {
    const { name } = await startRelay()
    const { alice, bob, from, to } = await introduce(name)
    const contact = fingerprintOf(alice.key)
    const [address] = addressesOf(bob)
    const waiting = to.send(cardOf(alice), { type: 'text', text: 'never confirmed' })
    await waiting.accepted
    await to.forget(cardOf(alice))
    expect(addressesOf(bob)).toEqual([])
    expect([...bob.disk.rings.keys()]).toEqual([])
    expect(decodeSecrets(bob.disk.secrets)!.bundles.size).toBe(0)
    expect(await waiting.settled).toBe('failed')
    expect(waiting.error).toMatchObject({ code: 'removed' })
    await expect.poll(() => bob.disk.outbox.map(({ id, held }) => [id === waiting.id, held])).toEqual([])
    const events = watch(to)
    expect(await from.send(cardOf(bob), { type: 'text', text: 'to the old address' }).accepted).toBe('held')
    await later(300)
    // It waits at the relay, and no other connection has a lease of it.
    const client = await connectClaims({ relay: name })
    closers.push(() => client.close())
    expect((await client.open(address!.secret).get({ lease: true })).messages).toHaveLength(1)
    expect(events).toEqual([])
    expect([...bob.disk.rings.keys()]).toEqual([])
    await to.close()
    const again = open(bob, [])
    expect([...(await again.fetched())]).toEqual([])
    expect(bob.disk.rings.has(contact)).toBe(false)
  })

  test('leaves the other addresses at the relay as they are, also on the same connection', async () => {
    const { name } = await startRelay()
    const [alice, bob, carol] = [makeSecret('alice', [name]), makeSecret('bob', [name]), makeSecret('carol', [name])]
    const to = open(bob, [cardOf(alice), cardOf(carol)])
    const [from, third] = [open(alice, [cardOf(bob)]), open(carol, [cardOf(bob)])]
    for (const each of [to, from, third]) {
      await each.fetched()
      await each.flush()
    }
    for (const [person, messenger] of [
      [alice, from],
      [carol, third],
    ] as const) {
      to.send(cardOf(person), { type: 'text', text: 'hello' })
      await take(messenger, 1)
      const answer = messenger.send(cardOf(bob), { type: 'text', text: 'answer' })
      await take(to, 1)
      await answer.settled
    }
    const events = watch(to)
    await to.forget(cardOf(alice))
    const letter = third.send(cardOf(bob), { type: 'text', text: 'still there' })
    expect((await take(to, 1)).map(textOf)).toEqual(['still there'])
    expect(await letter.settled).toBe('delivered')
    expect(events.filter((event) => event.kind === 'relay' && event.purpose === 'receive')).toEqual([])
  })

  test('who is a contact again begins anew, and both write to each other', async () => {
    const { name } = await startRelay()
    const { alice, bob, from, to } = await introduce(name)
    await to.forget(cardOf(alice))
    // A beginning counts if it was written in a later second than the last message (docs/protocol.md, R6).
    await later(1_100)
    const again = to.send(cardOf(alice), { type: 'text', text: 'again' })
    expect((await take(from, 1)).map(textOf)).toEqual(['again'])
    expect(await again.settled).toBe('delivered')
    const answer = from.send(cardOf(bob), { type: 'text', text: 'to the new address' })
    expect((await take(to, 1)).map(textOf)).toEqual(['to the new address'])
    expect(await answer.settled).toBe('delivered')
    expect(answer.protection).toBe('one-time')
  })
})

describe('a relay at which a client has only addresses', { timeout: 60_000 }, () => {
  /** Bob has his inbox at one relay, and his addresses at the other one, or both at one. */
  async function stand(count: 1 | 2) {
    const [first, second] = [await startRelay(), await startRelay()]
    const relays = [first.name, second.name].slice(2 - count)
    const [alice, bob] = [makeSecret('alice', [first.name]), makeSecret('bob', relays)]
    const from = open(alice, [cardOf(bob)], { receipts: { delivered: false } })
    const to = open(bob, [cardOf(alice)], { random: () => 0 })
    for (const each of [from, to]) {
      await each.fetched()
      await each.flush()
    }
    const letter = to.send(cardOf(alice), { type: 'text', text: 'held' })
    await take(from, 1)
    const answer = from.send(cardOf(bob), { type: 'text', text: 'to the address' })
    await take(to, 1)
    await answer.settled
    const events = watch(to)
    await second.relay.kill()
    await startRelay(second.relay.port)
    const told = (): MessengerEvent[] => events.filter((event) => event.kind === 'forgotten' && event.relay === second.name)
    return { first, letter, told, from, to, bob }
  }

  test.each([2, 1] as const)('that restarts is noticed once, and unconfirmed messages are sent again: %i relays', async (count) => {
    const { first, letter, told, from, to, bob } = await stand(count)
    expect(letter.state).toBe('held')
    const before = first.relay.relay.snapshot().counters.stored
    await expect.poll(() => told().length, { timeout: 20_000 }).toBe(1)
    await expect.poll(() => first.relay.relay.snapshot().counters.stored, { timeout: 20_000 }).toBeGreaterThan(before)
    const answer = from.send(cardOf(bob), { type: 'text', text: 'after the restart' })
    await take(to, 1)
    expect(await answer.settled).toBe('delivered')
    expect(told()).toHaveLength(1)
  })
})

describe('addresses of which a relay says that another connection has them', { timeout: 60_000 }, () => {
  /** A client that reads two addresses, and another connection that takes some of them over. @param fails whether its first try fails */
  async function stand(fails: boolean) {
    const { name } = await startRelay()
    const addresses = Array.from({ length: 2 }, () => makeAddress(fingerprintOf(makePerson('friend').key), name, randomBytes(32), 0))
    const clock = createClock()
    let [tries, takenOver] = [0, 0]
    const states: string[] = []
    const got: Address[] = []
    const connection = new AddressConnection(
      {
        connect: (options) =>
          ++tries === 1 && fails ? Promise.reject(new RelayError('connect-timeout')) : connectClaims({ relay: name, ...options }),
        clock,
        random: () => 0,
        onMessage: async (_, address) => void got.push(address),
        onState: (state) => states.push(state),
        onTakenOver: () => takenOver++,
        onAcked: () => {},
      },
      addresses,
    )
    closers.push(() => connection.close())
    const isUp = async (): Promise<void> => {
      await expect
        .poll(() => {
          clock.skip(500)
          return states.at(-1)
        })
        .toBe('up')
    }
    await isUp()
    const takeOver = async (count: number): Promise<void> => {
      const other = await connectClaims({ relay: name })
      closers.push(() => other.close())
      for (const { secret } of addresses.slice(0, count))
        void other
          .open(secret)
          .subscribe()
          .next()
          .catch(() => {})
    }
    return { name, addresses, clock, got, states, isUp, takeOver, takenOver: () => takenOver, tries: () => tries }
  }

  test.each([1, 2])('are read again if the try before failed: the relay heard late of it (%d of 2 addresses)', async (count) => {
    const { name, addresses, got, states, isUp, takeOver, takenOver } = await stand(true)
    await takeOver(count)
    await expect.poll(() => states.at(-1)).toBe('down')
    await isUp()
    expect(takenOver()).toBe(0)
    for (const each of addresses) await sendTo(name, each, [randomBytes(64)])
    await expect.poll(() => got).toEqual(addresses)
    // Only once in a row.
    await takeOver(count)
    await expect.poll(takenOver).toBe(count)
  })

  test.each([1, 2])('are left alone if it was the first try: another program of the user reads %d of 2', async (count) => {
    const { takeOver, takenOver, tries } = await stand(false)
    await takeOver(count)
    await expect.poll(takenOver).toBe(count)
    expect(tries()).toBe(1)
  })

  test('are left alone if the connection has stood for more than a minute', async () => {
    const { clock, takeOver, takenOver, tries } = await stand(true)
    clock.skip(61_000)
    await takeOver(2)
    await expect.poll(takenOver).toBe(2)
    expect(tries()).toBe(2)
  })
})

describe('two machines', { timeout: 60_000 }, () => {
  test('with a copy of one folder: the first one is told that the other one took over, and leaves it alone', async () => {
    const { name } = await startRelay()
    const { alice, bob, from, to } = await introduce(name)
    const events = watch(to)
    const second = makeSecret('bob', [name])
    Object.assign(second, { identity: bob.identity, key: bob.key, inbox: bob.inbox, disk: bob.disk })
    const copy = open(second, [cardOf(alice)], { secrecy: { ...second.secrecy, inbox: bob.secrecy.inbox } })
    await expect.poll(() => events.filter(({ kind }) => kind === 'taken-over').length, { timeout: 10_000 }).toBe(2)
    from.send(cardOf(bob), { type: 'text', text: 'to the second machine' })
    expect((await take(copy, 1)).map(textOf)).toEqual(['to the second machine'])
    await later(300)
    expect(events.filter(({ kind }) => kind === 'taken-over')).toHaveLength(2)
  })

  test('with one inbox key and states of their own: the second one is told of the bundle that it did not make', async () => {
    const { name } = await startRelay()
    const { alice, bob, to } = await introduce(name)
    await to.close()
    const second = makeSecret('bob', [name])
    Object.assign(second, { identity: bob.identity, key: bob.key, inbox: bob.inbox })
    const { days } = decodeSecrets(bob.disk.secrets)!
    // A state of an earlier day: its recipients are others.
    const other = days.map((day) => ({ ...day, made: day.made - 86_400, seed: randomBytes(32) }))
    second.disk = { ...second.disk, secrets: encodeSecrets({ ...decodeSecrets(undefined)!, days: other }) }
    const messenger = open(second, [cardOf(alice)], { secrecy: { ...second.secrecy, inbox: bob.secrecy.inbox } })
    const events = watch(messenger)
    await messenger.fetched()
    await messenger.flush()
    expect(events.filter(({ kind }) => kind === 'other-bundle')).toHaveLength(1)
  })
})

test('a message of a contact whose program has no one-time keys makes no ring', { timeout: 60_000 }, async () => {
  const { name } = await startRelay()
  const bob = makeSecret('bob', [name])
  const alice = makePerson('alice', name)
  const to = open(bob, [alice], { receipts: { delivered: false } })
  await to.fetched()
  const content = { type: 'text', text: 'by an old program' } as const
  const time = Math.floor(Date.now() / 1_000)
  const text = await writeMessage(alice.identity, { to: fingerprintOf(bob.key), id: makeId(), time, content })
  const client = await connectClaims({ relay: name })
  await client.sendSealed(fingerprintOf(bob.inbox!), await seal(bob.key, text))
  client.close()
  expect((await take(to, 1))[0]).toMatchObject({ verdict: 'genuine', protection: 'key', from: { name: 'alice' } })
  await to.flush({ signal: AbortSignal.timeout(20_000) })
  expect([...bob.disk.rings.keys()]).toEqual([])
})

test(
  'a contact who goes back to a program without one-time keys is read, and gets no message to the SSH key',
  { timeout: 60_000 },
  async () => {
    const { name } = await startRelay()
    const { alice, bob, from, to } = await introduce(name)
    // Its messages are encrypted to the SSH key, without the headers, and come to the inbox.
    const text = await writeMessage(alice.identity, {
      to: fingerprintOf(bob.key),
      id: makeId(),
      time: Math.floor(Date.now() / 1_000) + 2,
      content: { type: 'text', text: 'by an old program' },
    })
    const client = await connectClaims({ relay: name })
    await client.sendSealed(fingerprintOf(bob.inbox!), await seal(bob.key, text))
    client.close()
    const events = watch(to)
    const [old] = await take(to, 1)
    expect(old).toMatchObject({ verdict: 'genuine', protection: 'key', from: { name: 'alice' } })
    // The message has no `left`, as that of a contact who has lost everything; so the user is asked.
    await expect.poll(() => events.filter((event) => event.kind === 'ring').map(({ event }) => event)).toEqual(['unproven'])
    const answer = to.send(cardOf(alice), { type: 'text', text: 'still one-time' })
    expect((await take(from, 1)).map(textOf)).toEqual(['still one-time'])
    expect(await answer.settled).toBe('delivered')
    expect(answer.protection).toBe('one-time')
  },
)
