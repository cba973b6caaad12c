/** Where messages go and when: without a bundle, without claims, after a restart, at a relay that knows its members. */
import { afterEach, describe, expect, test } from 'vitest'
import { fingerprintOf } from '../../../src/client/format/field.ts'
import type { Contact } from '../../../src/client/messenger/contact.ts'
import type { MessengerEvent } from '../../../src/client/messenger/event.ts'
import type { Messenger } from '../../../src/client/messenger/messenger.ts'
import type { MessengerOptions } from '../../../src/client/messenger/options.ts'
import type { ClaimClient } from '../../../src/client/wire/claim-client.ts'
import { connectClaims } from '../../../src/client/wire/connect.ts'
import { RelayError } from '../../../src/client/wire/error.ts'
import { createClock } from '../../support/clock.ts'
import { makePerson, messengerOf, type Person, take, textOf } from '../../support/people.ts'
import { startTestRelay, type TestRelayOptions } from '../../support/relay.ts'
import { cardOf, makeSecret, openSecret, type Secret } from '../../support/secret.ts'

const closers: (() => unknown)[] = []
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close()
})

async function startRelay(more: TestRelayOptions = {}) {
  const relay = await startTestRelay({ connections: 100, unproven: 50, memory: 2 ** 24, ...more })
  closers.push(() => relay.close())
  return { relay, name: `localhost:${relay.port}` }
}

function open(person: Secret, contacts: readonly Contact[], more?: Partial<MessengerOptions>): Messenger {
  const messenger = openSecret(person, contacts, more)
  closers.push(() => messenger.close())
  return messenger
}

async function settle(...messengers: readonly Messenger[]): Promise<void> {
  for (const each of messengers) {
    await each.fetched()
    await each.flush()
  }
}

test(
  'messages that wait for a bundle leave in order once there is one, also after a restart of the client',
  { timeout: 60_000 },
  async () => {
    const { name } = await startRelay()
    const clock = createClock(20)
    const [alice, bob] = [makeSecret('alice', [name]), makeSecret('bob', [name])]
    const first = open(alice, [cardOf(bob)], { clock })
    const texts = ['one', 'two', 'three']
    const waiting = texts.map((text) => first.send(cardOf(bob), { type: 'text', text }))
    await expect.poll(() => (waiting[0]!.error as RelayError | undefined)?.code).toBe('no-bundle')
    await first.close()
    expect(alice.disk.outbox.map(({ payload, text }) => [payload.length, text === undefined])).toEqual(texts.map(() => [0, false]))
    const second = open(alice, [cardOf(bob)], { clock })
    const to = open(bob, [cardOf(alice)], { clock })
    await to.fetched()
    const received = await take(to, 3)
    expect(received.map(textOf)).toEqual(texts)
    expect(received.map(({ protection }) => protection)).toEqual(['daily', 'daily', 'daily'])
    await Promise.all(second.deliveries().map(({ settled }) => settled))
  },
)

test('a message that a relay forgot is sent again at once, whichever mailbox it was in', { timeout: 60_000 }, async () => {
  const { relay, name } = await startRelay()
  const [alice, bob] = [makeSecret('alice', [name]), makeSecret('bob', [name])]
  const [from, to] = [open(alice, [cardOf(bob)]), open(bob, [cardOf(alice)])]
  await settle(from, to)
  const events: MessengerEvent[] = []
  void (async () => {
    for await (const event of from.events()) events.push(event)
  })()
  for (const [one, other, person] of [
    [from, to, bob],
    [to, from, alice],
  ] as const) {
    const delivery = one.send(cardOf(person), { type: 'text', text: 'hello' })
    await take(other, 1)
    await delivery.settled
  }
  await to.close()
  const delivery = from.send(cardOf(bob), { type: 'text', text: 'before the restart' })
  expect(await delivery.accepted).toBe('held')
  await relay.kill()
  const again = await startTestRelay({ connections: 100, unproven: 50, memory: 2 ** 24, port: relay.port })
  closers.push(() => again.close())
  const back = open(bob, [cardOf(alice)])
  expect((await take(back, 1)).map(textOf)).toEqual(['before the restart'])
  expect(await delivery.settled).toBe('delivered')
  expect(events.flatMap((event) => (event.kind === 'forgotten' ? [event.relay] : []))).toContain(name)
})

test('a start sends no text again that a relay still has, and all in order that a relay lost', { timeout: 60_000 }, async () => {
  const { relay, name } = await startRelay()
  const [alice, bob] = [makeSecret('alice', [name]), makeSecret('bob', [name])]
  const to = open(bob, [cardOf(alice)])
  await settle(open(alice, [cardOf(bob)]), to)
  await to.close()
  const texts = ['one', 'two', 'three', 'four']
  for (const text of texts) {
    const from = open(alice, [cardOf(bob)])
    expect(await from.send(cardOf(bob), { type: 'text', text }).accepted).toBe('held')
    await from.flush()
    await from.close()
  }
  expect(relay.relay.snapshot().messages).toBe(texts.length)
  expect(alice.disk.outbox.map(({ sent }) => sent?.copies)).toEqual(texts.map(() => 1))
  await relay.kill()
  const again = await startTestRelay({ connections: 100, unproven: 50, memory: 2 ** 24, port: relay.port })
  closers.push(() => again.close())
  await settle(open(alice, [cardOf(bob)]))
  expect(again.relay.snapshot().messages).toBe(texts.length)
  expect((await take(open(bob, [cardOf(alice)]), texts.length)).map(textOf)).toEqual(texts)
})

test('contacts without an inbox, too, have a connection each', { timeout: 60_000 }, async () => {
  const { name } = await startRelay()
  const alice = makeSecret('alice', [])
  const people = [makePerson('bob', name), makePerson('carol', name)]
  const circuits = new Set<string | undefined>()
  const from = open(alice, people, {
    connectClaims: (options) => {
      circuits.add(options.isolation)
      return connectClaims(options)
    },
  })
  for (const person of people) {
    const to = messengerOf(person, [cardOf(alice)])
    closers.push(() => to.close())
    from.send(person, { type: 'text', text: person.name })
    expect((await take(to, 1)).map(textOf)).toEqual([person.name])
  }
  expect(circuits.size).toBe(2)
})

test('what left early to a relay without claims is sent again under a throwaway key', { timeout: 60_000 }, async () => {
  const { name } = await startRelay()
  const bob = makeSecret('bob', [name])
  const alice = makeSecret('alice', [])
  const to = open(bob, [cardOf(alice)])
  await settle(to)
  const proven: string[] = []
  const from = open(alice, [cardOf(bob)], {
    connectClaims: async ({ early }) => {
      const ended: ((error: unknown) => void)[] = []
      const never = Promise.withResolvers<never>()
      const client = {
        limits: { labels: 0 },
        onEnd: (listener: (error: unknown) => void) => ended.push(listener),
        prove: () => {},
        fetch: () => never.promise,
        sendSealed: () => never.promise,
        close: () => {
          never.reject(new RelayError('closed'))
          for (const listener of ended.splice(0)) listener(undefined)
        },
      } as unknown as ClaimClient
      never.promise.catch(() => {})
      early?.(client)
      return client
    },
    connect: async (options) => {
      proven.push(fingerprintOf(options.identity.key))
      const { connectRelay } = await import('../../../src/client/wire/connect.ts')
      return connectRelay(options)
    },
  })
  from.send(cardOf(bob), { type: 'text', text: 'hello' })
  expect((await take(to, 1)).map(textOf)).toEqual(['hello'])
  expect(proven.length).toBeGreaterThan(0)
  expect(proven).not.toContain(fingerprintOf(alice.key))
})

describe('a relay that knows its members', { timeout: 60_000 }, () => {
  test('carries a conversation with one-time keys, to the mailboxes of the SSH keys', async () => {
    const people = ['alice', 'bob'].map((name) => makePerson(name))
    const { name } = await startRelay({ admit: people.map(({ key }) => ({ fingerprint: key.fingerprint })) })
    const [alice, bob] = people.map(({ name: own, identity, key }) =>
      Object.assign(makeSecret(own, [name], { members: [name] }), { identity, key }),
    ) as [Secret, Secret]
    const [from, to] = [open(alice, [cardOf(bob)]), open(bob, [cardOf(alice)])]
    await settle(from, to)
    const protections: (string | undefined)[] = []
    for (let n = 0; n < 3; n++) {
      for (const [one, other, person] of [
        [from, to, bob],
        [to, from, alice],
      ] as const) {
        const delivery = one.send(cardOf(person), { type: 'text', text: `text ${n}` })
        const [received] = await take(other, 1)
        expect(textOf(received!)).toBe(`text ${n}`)
        protections.push(received!.protection)
        expect(await delivery.settled).toBe('delivered')
      }
    }
    expect(protections).toEqual(['daily', 'one-time', 'one-time', 'one-time', 'one-time', 'one-time'])
  })

  const makeMembers = (relays: readonly string[], people: readonly Person[]): Secret[] =>
    people.map(({ name, identity, key }) => Object.assign(makeSecret(name, relays, { members: relays, copies: 2 }), { identity, key }))

  test('opens one-time messages after a restart, before it wrote to their sender', async () => {
    const people = ['alice', 'bob'].map((name) => makePerson(name))
    const { name } = await startRelay({ admit: people.map(({ key }) => ({ fingerprint: key.fingerprint })) })
    const [alice, bob] = makeMembers([name], people) as [Secret, Secret]
    const [from, to] = [open(alice, [cardOf(bob)]), open(bob, [cardOf(alice)])]
    await settle(from, to)
    await Promise.all([from.send(cardOf(bob), { type: 'text', text: 'one' }).settled, take(to, 1)])
    await to.close()
    const delivery = from.send(cardOf(bob), { type: 'text', text: 'two' })
    await from.flush()
    const again = open(bob, [cardOf(alice)])
    expect(await take(again, 1)).toMatchObject([{ verdict: 'genuine', protection: 'one-time' }])
    expect(await delivery.settled).toBe('delivered')
  })

  test('can be two of them: a text goes to both, and is shown once', async () => {
    const people = ['alice', 'bob'].map((name) => makePerson(name))
    const admit = people.map(({ key }) => ({ fingerprint: key.fingerprint }))
    const [one, other] = [await startRelay({ admit }), await startRelay({ admit })]
    const [alice, bob] = makeMembers([one.name, other.name], people) as [Secret, Secret]
    const [from, to] = [open(alice, [cardOf(bob)]), open(bob, [cardOf(alice)])]
    await settle(from, to)
    const shown: unknown[] = []
    void (async () => {
      for await (const received of to.received()) {
        shown.push(received.verdict)
        await received.done()
      }
    })()
    for (let n = 0; n < 4; n++) expect(await from.send(cardOf(bob), { type: 'text', text: `text ${n}` }).settled).toBe('delivered')
    await settle(from, to)
    expect(other.relay.relay.snapshot().counters.stored).toBeGreaterThan(2)
    expect(shown).toEqual(['genuine', 'genuine', 'genuine', 'genuine'])
  })
})
