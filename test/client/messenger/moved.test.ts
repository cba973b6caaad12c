/** A relay that moves to another name: addresses at the old name, and what happens once that name is gone. */
import { createServer, connect as dialPort, type Server, type Socket } from 'node:net'
import type { AddressInfo } from 'node:net'
import { afterEach, describe, expect, test } from 'vitest'
import { fingerprintOf } from '../../../src/client/format/field.ts'
import type { Contact } from '../../../src/client/messenger/contact.ts'
import type { Messenger } from '../../../src/client/messenger/messenger.ts'
import type { MessengerOptions } from '../../../src/client/messenger/options.ts'
import { type Address, decodeSecrets, leave, makeAddress } from '../../../src/client/messenger/secrets.ts'
import { connectClaims, connectRelay } from '../../../src/client/wire/connect.ts'
import { RelayError } from '../../../src/client/wire/error.ts'
import { decodeRing } from '../../../src/client/ring/text.ts'
import { createClock } from '../../support/clock.ts'
import { take, textOf } from '../../support/people.ts'
import { startTestRelay, type TestRelay } from '../../support/relay.ts'
import { cardOf, makeSecret, openSecret, type Secret, watch } from '../../support/secret.ts'

const closers: (() => unknown)[] = []
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close()
})

/** Another name of a relay, which its operator can retire. */
interface Name {
  readonly name: string
  retire(): Promise<void>
}

async function startRelay(): Promise<TestRelay> {
  const relay = await startTestRelay({ connections: 200, unproven: 100, memory: 2 ** 24 })
  closers.push(() => relay.close())
  return relay
}

async function nameRelay(relay: TestRelay): Promise<Name> {
  const sockets = new Set<Socket>()
  const server: Server = createServer((socket) => {
    const there = dialPort(relay.port, '127.0.0.1')
    for (const [one, other] of [
      [socket, there],
      [there, socket],
    ] as const) {
      sockets.add(one)
      one.on('error', () => {})
      one.on('close', () => other.destroy())
      one.pipe(other)
    }
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const retire = async (): Promise<void> => {
    if (!server.listening) return
    const closed = new Promise((resolve) => server.close(resolve))
    for (const socket of sockets) socket.destroy()
    await closed
  }
  closers.push(retire)
  return { name: `localhost:${(server.address() as AddressInfo).port}`, retire }
}

function open(person: Secret, contacts: readonly Contact[], more?: Partial<MessengerOptions>): Messenger {
  const messenger = openSecret(person, contacts, more)
  closers.push(() => messenger.close())
  return messenger
}

const addressesOf = (person: Secret): readonly Address[] => decodeSecrets(person.disk.secrets)?.addresses ?? []

/** Which relays each of Bob's addresses is at, as Alice knows it. */
const knownOf = (alice: Secret, bob: Secret): readonly string[] => {
  const contact = fingerprintOf(bob.key)
  return decodeRing(contact, alice.disk.rings.get(contact)!).address?.mailboxes.map(({ relay }) => relay) ?? []
}

/** Alice, and Bob with an inbox at one relay and addresses at another, have written to each other. */
async function meet(more?: Partial<MessengerOptions>) {
  const [first, second] = await Promise.all([startRelay(), startRelay()])
  const [old, next] = [await nameRelay(second), await nameRelay(second)]
  const inbox = `localhost:${first.port}`
  const relays = [inbox, old.name]
  const alice = makeSecret('alice', [inbox])
  const bob = makeSecret('bob', relays, { relays: () => relays })
  const [from, to] = [open(alice, [cardOf(bob)], more), open(bob, [cardOf(alice)], more)]
  for (const each of [from, to]) {
    await each.fetched()
    await each.flush()
  }
  for (const [one, other, person] of [
    [from, to, bob],
    [to, from, alice],
    [from, to, bob],
  ] as const) {
    const delivery = one.send(cardOf(person), { type: 'text', text: 'hello' })
    await take(other, 1)
    expect(await delivery.settled).toBe('delivered')
  }
  expect(knownOf(alice, bob)).toEqual([old.name])
  /** Bob puts the new name into the profile. */
  const follow = (messenger: Messenger): void => {
    relays.splice(1, 1, next.name)
    messenger.receiveFrom(next.name)
    messenger.leaveRelay(old.name)
  }
  return { alice, bob, from, to, old, next, relays, follow, first }
}

describe('a user who follows a relay to another name', { timeout: 90_000 }, () => {
  test('still reads the addresses at the old name, and contacts learn those at the new one', async () => {
    const { alice, bob, from, to, old, next, follow } = await meet()
    const events = watch(to)
    follow(to)
    const delivery = from.send(cardOf(bob), { type: 'text', text: 'to the old name' })
    expect((await take(to, 1)).map(textOf)).toEqual(['to the old name'])
    expect(await delivery.settled).toBe('delivered')
    // The receipt names the new address.
    await expect.poll(() => knownOf(alice, bob)).toEqual([next.name])
    const later = from.send(cardOf(bob), { type: 'text', text: 'to the new name' })
    expect((await take(to, 1)).map(textOf)).toEqual(['to the new name'])
    expect(await later.settled).toBe('delivered')
    expect(addressesOf(bob).map(({ relay, replaced }) => [relay, replaced === undefined])).toEqual([
      [old.name, false],
      [next.name, true],
    ])
    // The old name may go: the user has left it, and is not told of it.
    await old.retire()
    expect((await to.fetched()).size).toBe(0)
    expect(events.filter((event) => event.kind === 'relay' && event.relay === old.name && event.state !== 'connecting')).toEqual([])
  })

  test('reads them after the next start, too', async () => {
    const { alice, bob, from, to, follow } = await meet()
    await to.close()
    follow(to)
    const delivery = from.send(cardOf(bob), { type: 'text', text: 'to the old name' })
    expect(await delivery.accepted).toBe('held')
    const again = open({ ...bob, relays: bob.secrecy.relays() }, [cardOf(alice)])
    expect((await take(again, 1)).map(textOf)).toEqual(['to the old name'])
  })

  test('never shows a secret under another name than its own', async () => {
    const claimed = new Map<string, Set<string>>()
    const { from, to, bob, old, next, follow } = await meet({
      connectClaims: async (options) => {
        const note = (client: Awaited<ReturnType<typeof connectClaims>>): void => {
          const before = client.open.bind(client)
          client.open = (secret) => {
            const name = Buffer.from(secret).toString('hex')
            claimed.set(name, (claimed.get(name) ?? new Set<string>()).add(options.relay))
            return before(secret)
          }
        }
        return connectClaims({
          ...options,
          ...(options.early && {
            early: (client) => {
              note(client)
              options.early!(client)
            },
          }),
        })
      },
    })
    follow(to)
    const delivery = from.send(cardOf(bob), { type: 'text', text: 'one' })
    await take(to, 1)
    await delivery.settled
    const at = addressesOf(bob).map(({ secret, relay }) => [relay, [...(claimed.get(Buffer.from(secret).toString('hex')) ?? [])]])
    expect(at).toEqual([old.name, next.name].map((name) => [name, [name]]))
  })
})

describe('a contact whose address is at a name that is gone', { timeout: 120_000 }, () => {
  test('gets texts in the inbox, also one that a relay held there, and answers with a new address', async () => {
    const clock = createClock(200)
    const { alice, bob, from, to, old, next, relays, follow } = await meet({ clock })
    await to.close()
    const held = from.send(cardOf(bob), { type: 'text', text: 'held at the old name' })
    expect(await held.accepted).toBe('held')
    await old.retire()
    follow(to)
    const waiting = from.send(cardOf(bob), { type: 'text', text: 'never left' })
    await expect.poll(() => alice.disk.outbox.map(({ daily }) => daily), { timeout: 60_000 }).toEqual([true, true])
    await expect.poll(() => waiting.state).toBe('held')
    const again = open({ ...bob, relays }, [cardOf(alice)], { clock })
    const received = await take(again, 2)
    expect(received.map((each) => [textOf(each), each.protection])).toEqual([
      ['held at the old name', 'daily'],
      ['never left', 'daily'],
    ])
    expect(await Promise.all([held.settled, waiting.settled])).toEqual(['delivered', 'delivered'])
    await expect.poll(() => knownOf(alice, bob)).toEqual([next.name])
  })

  test('gets none there before ten minutes, nor while the sender reaches no relay', async () => {
    const clock = createClock(200)
    let isOffline = false
    const fail = <T>(dial: () => Promise<T>): Promise<T> => (isOffline ? Promise.reject(new RelayError('no-answer')) : dial())
    const { alice, bob, from, to, old, first } = await meet({
      clock,
      connect: (options) => fail(() => connectRelay(options)),
      connectClaims: (options) => fail(() => connectClaims(options)),
    })
    await to.close()
    const began = clock.now()
    await old.retire()
    isOffline = true
    first.cut()
    const text = from.send(cardOf(bob), { type: 'text', text: 'one' })
    await expect.poll(() => clock.now() - began, { timeout: 30_000 }).toBeGreaterThan(1_200_000)
    expect(text.state).toBe('waiting')
    expect(alice.disk.outbox.map(({ daily }) => daily)).toEqual([undefined])
    isOffline = false
    await expect.poll(() => text.state, { timeout: 30_000 }).toBe('held')
    expect(alice.disk.outbox.map(({ daily }) => daily)).toEqual([true])
    const next = from.send(cardOf(bob), { type: 'text', text: 'two' })
    expect(await next.accepted).toBe('held')
  })
})

test('only contacts with an address at a relay that the user has left get another one', () => {
  const of = (contact: string, relay: string) => ({ ...makeAddress(contact, relay, new Uint8Array(32), 1), isKnown: true })
  const empty = decodeSecrets(undefined)!
  const state = { ...empty, addresses: [of('a', 'old'), of('a', 'kept'), of('b', 'kept')] }
  expect(leave(state, ['kept', 'old'], 5)).toBe(state)
  expect(leave(state, [], 5)).toBe(state)
  const left = leave(state, ['kept'], 5)
  expect(left.addresses.map(({ isKnown, replaced }) => [isKnown, replaced])).toEqual([
    [false, 5],
    [false, undefined],
    [true, undefined],
  ])
  expect(leave(left, ['kept'], 6)).toBe(left)
})
