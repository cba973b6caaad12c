/**
 * No downgrade: whatever a relay says of a bundle, and whoever has an SSH key, nothing leaves to a key that lasts, no SSH
 * key is proven, and the user learns it.
 */
import { afterEach, describe, expect, test } from 'vitest'
import { hybridKey } from '../../../src/auth/age-hybrid.ts'
import { randomBytes } from '../../../src/auth/crypto.ts'
import { generateSeedKey } from '../../../src/auth/seed.ts'
import { EXIT } from '../../../src/cli/program/exit.ts'
import { toCliError } from '../../../src/cli/talk/refusal.ts'
import { makeBundle } from '../../../src/client/format/bundle.ts'
import { openWith } from '../../../src/client/format/envelope.ts'
import { fingerprintOf } from '../../../src/client/format/field.ts'
import { identityOf } from '../../../src/client/format/identity.ts'
import type { Contact } from '../../../src/client/messenger/contact.ts'
import type { Messenger } from '../../../src/client/messenger/messenger.ts'
import type { MessengerOptions } from '../../../src/client/messenger/options.ts'
import { RelayError } from '../../../src/client/wire/error.ts'
import { decodeRing } from '../../../src/client/ring/text.ts'
import { describeFault } from '../../../src/wording/refusal.ts'
import { createClock } from '../../support/clock.ts'
import { type HostileRelay, type Peer, startHostileRelay } from '../../support/hostile-relay.ts'
import { take, textOf } from '../../support/people.ts'
import { startTestRelay } from '../../support/relay.ts'
import { cardOf, makeSecret, openSecret, type Secret, watch } from '../../support/secret.ts'

const DAY = 86_400
const now = (): number => Math.floor(Date.now() / 1_000)

const closers: (() => unknown)[] = []
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close()
})

function open(person: Secret, contacts: readonly Contact[], more?: Partial<MessengerOptions>): Messenger {
  const messenger = openSecret(person, contacts, more)
  closers.push(() => messenger.close())
  return messenger
}

interface Script {
  /** The limits in WELCOME. */
  readonly welcome?: string
  /** The answer to FETCH. */
  readonly bundle?: string
  /** The answer to CLAIM. */
  readonly claim?: string
}

/** A relay that answers as its script says, and takes every message. */
async function startRelay({ welcome = 'payload=32768;labels=64', bundle = '33', claim = '12;a.b.c;3600' }: Script): Promise<HostileRelay> {
  const relay = await startHostileRelay(async (peer: Peer) => {
    for (let line = await peer.line(); line !== undefined; line = await peer.line()) {
      const answers: Record<string, string> = {
        0: '99;denied;this relay does not admit that key',
        3: '13;AAAAAAAAAAA;3600',
        6: '16;0',
        7: '17',
        8: `18;asfaleia/1;${welcome}`,
        32: bundle,
        34: claim,
      }
      await peer.say(`${answers[line.split(';')[0]!] ?? '99;unknown-packet;there is no packet of that number'}\n`)
    }
  })
  closers.push(() => relay.close())
  return relay
}

/** The messages that a relay got: their receivers and payloads. */
const listSent = (relay: HostileRelay): { receiver: string; payload: Uint8Array }[] =>
  relay
    .received()
    .split('\n')
    .map((line) => line.split(';'))
    .filter(([no]) => no === '3')
    .map(([, , receiver = '', payload = '']) => ({ receiver, payload: Buffer.from(payload, 'base64') }))

const bundleOf = async (inbox: Parameters<typeof makeBundle>[0], days: number, seed = randomBytes(32)): Promise<string> => {
  const { text } = await makeBundle(inbox, { encrypt: hybridKey(seed).recipient, now: now() + days * DAY })
  return `33;${Buffer.from(text).toString('base64')}`
}

describe('a first message, if the relay of the receiver', () => {
  const mallory = identityOf(generateSeedKey())
  test.each<readonly [name: string, code: string, script: (bob: Secret) => Promise<Script>]>([
    ['has no bundle', 'no-bundle', async () => ({ bundle: '33' })],
    ['has one that is over', 'old-bundle', async (bob) => ({ bundle: await bundleOf(bob.secrecy.inbox, -20) })],
    ['has one of next week', 'old-bundle', async (bob) => ({ bundle: await bundleOf(bob.secrecy.inbox, 7) })],
    ['has one of another person', 'no-bundle', async () => ({ bundle: await bundleOf(mallory, 0) })],
    ['has junk of 8,192 characters', 'no-bundle', async () => ({ bundle: `33;${'A'.repeat(8_192)}` })],
    ['answers with a million characters', 'broken-relay', async () => ({ bundle: `33;${'A'.repeat(1_000_000)}` })],
    ['does not know bundles', 'unknown-packet', async () => ({ bundle: '99;unknown-packet;there is no packet of that number' })],
    ['knows neither claims nor bundles', 'denied', async () => ({ welcome: 'payload=32768', claim: '99;unknown-packet;no' })],
    ['refuses claims', 'denied', async () => ({ claim: '99;denied;this relay does not admit that key' })],
  ])('%s, does not leave, and the user learns %s', { timeout: 30_000 }, async (_, code, script) => {
    const bob = makeSecret('bob', ['unused'])
    const relay = await startRelay(await script(bob))
    const alice = makeSecret('alice', [relay.address])
    const to = { ...cardOf(bob), relays: [relay.address] }
    const messenger = open(alice, [to])
    const events = watch(messenger)
    const delivery = messenger.send(to, { type: 'text', text: 'hello' })
    await expect.poll(() => (delivery.error instanceof RelayError ? delivery.error.code : undefined), { timeout: 20_000 }).toBeDefined()
    expect((delivery.error as RelayError).code).toBe(code)
    expect(['waiting', 'failed']).toContain(delivery.state)
    expect(events.some((event) => event.kind === 'delivery' && event.delivery.error !== undefined)).toBe(true)
    expect(listSent(relay)).toEqual([])
    for (const person of [alice, bob]) {
      expect(relay.received()).not.toContain(Buffer.from(person.key.blob).toString('base64'))
      expect(relay.received()).not.toContain(fingerprintOf(person.key))
    }
  })

  test.each([
    [-20, 'too old: it was made 20 days ago. The receiver has not been online since'],
    [7, /dated [67] days in the future: one of the two clocks is wrong/],
  ])('has one that was made %i days from now, waits, and the user learns its age', { timeout: 30_000 }, async (days, text) => {
    const bob = makeSecret('bob', ['unused'])
    const relay = await startRelay({ bundle: await bundleOf(bob.secrecy.inbox, days) })
    const to = { ...cardOf(bob), relays: [relay.address] }
    const delivery = open(makeSecret('alice', [relay.address]), [to]).send(to, { type: 'text', text: 'hello' })
    await expect.poll(() => delivery.error, { timeout: 20_000 }).toBeDefined()
    expect(delivery.state).toBe('waiting')
    expect(describeFault(delivery.error)).toMatch(text)
    const shown = toCliError(delivery.error, new AbortController().signal)
    expect(shown).toMatchObject({ exitCode: EXIT.unconfirmed, hint: expect.stringMatching(/^check the clock of this machine, and ask/) })
  })

  test('serves an older bundle than before, is encrypted to the newer one', async () => {
    const bob = makeSecret('bob', ['unused'])
    const seeds = { newer: randomBytes(32), older: randomBytes(32) }
    let bundle = await bundleOf(bob.secrecy.inbox, 0, seeds.newer)
    const script = { bundle }
    const relay = await startHostileRelay(async (peer: Peer) => {
      for (let line = await peer.line(); line !== undefined; line = await peer.line()) {
        const answers: Record<string, string> = {
          8: '18;asfaleia/1;payload=32768;labels=64',
          34: '12;a.b.c;3600',
          32: bundle,
          3: '13;AAAAAAAAAAA;3600',
        }
        await peer.say(`${answers[line.split(';')[0]!] ?? '17'}\n`)
      }
    })
    closers.push(() => relay.close())
    const alice = makeSecret('alice', [])
    const to = { ...cardOf(bob), relays: [relay.address] }
    const first = open(alice, [to])
    expect(await first.send(to, { type: 'text', text: 'one' }).accepted).toBe('held')
    await first.flush()
    await first.close()
    bundle = await bundleOf(bob.secrecy.inbox, -3, seeds.older)
    expect(bundle).not.toBe(script.bundle)
    const second = open({ ...alice, outbox: makeSecret('none', []).outbox }, [to])
    expect(await second.send(to, { type: 'text', text: 'two' }).accepted).toBe('held')
    const sent = listSent(relay)
    expect(sent.length).toBeGreaterThanOrEqual(2)
    for (const { receiver, payload } of sent) {
      expect(receiver).toBe(fingerprintOf(bob.inbox!))
      expect(await openWith([hybridKey(seeds.newer)], payload)).toBeDefined()
      expect(await openWith([hybridKey(seeds.older)], payload)).toBeUndefined()
    }
  })
})

/** Alice and Bob have written to each other; a thief with Bob's SSH key has an inbox of its own, at the same relay. */
async function steal(options: { readonly isChecked: boolean; readonly knowsBob?: boolean }) {
  const relay = await startTestRelay({ connections: 100, unproven: 50 })
  closers.push(() => relay.close())
  const name = `localhost:${relay.port}`
  const [alice, bob, other] = [makeSecret('alice', [name]), makeSecret('bob', [name]), makeSecret('thief', [name])]
  const thief: Secret = Object.assign(other, { name: 'bob', identity: bob.identity, key: bob.key })
  const contacts = options.knowsBob === false ? [] : [cardOf(bob)]
  const from = open(alice, contacts)
  const victim = open(bob, [cardOf(alice)])
  const events = watch(from)
  for (const each of [from, victim]) {
    await each.fetched()
    await each.flush()
  }
  if (contacts.length > 0) {
    await victim.send(cardOf(alice), { type: 'text', text: 'from Bob' }).accepted
    await take(from, 1)
    const answer = from.send(cardOf(bob), { type: 'text', text: 'from Alice' })
    await take(victim, 1)
    await answer.settled
    const again = victim.send(cardOf(alice), { type: 'text', text: 'with a key of Alice' })
    await take(from, 1)
    await again.settled
  }
  // If `begin` were not checked, any inbox would do.
  if (!options.isChecked) contacts.splice(0, 1, { ...cardOf(bob), inbox: thief.inbox! })
  await new Promise((resolve) => setTimeout(resolve, 1_100))
  const clock = createClock()
  const robber = open(thief, [cardOf(alice)], { clock })
  const theft = robber.send(cardOf(alice), { type: 'text', text: 'I am Bob' })
  const [stolen] = await take(from, 1)
  expect(textOf(stolen!)).toBe('I am Bob')
  return { alice, bob, thief, from, victim, robber, clock, theft, events, contacts }
}

test('a message goes to the key that lasts if the user says so, and the receiver reads it', { timeout: 30_000 }, async () => {
  const relay = await startTestRelay({ connections: 100, unproven: 50 })
  closers.push(() => relay.close())
  const name = `localhost:${relay.port}`
  const [alice, bob] = [makeSecret('alice', [name]), makeSecret('bob', [name])]
  // Bob was never online, so there is no bundle.
  const from = open(alice, [cardOf(bob)])
  const delivery = from.send(cardOf(bob), { type: 'text', text: 'to your key' }, { toKey: true })
  expect(await delivery.accepted).toBe('held')
  expect(delivery.protection).toBe('key')
  const to = open(bob, [cardOf(alice)])
  const [came] = await take(to, 1)
  expect([textOf(came!), came!.protection, came!.verdict]).toEqual(['to your key', 'key', 'genuine'])
  expect(await delivery.settled).toBe('delivered')
  const answer = to.send(cardOf(alice), { type: 'text', text: 'to a key of its own' })
  await take(from, 1)
  expect([await answer.settled, answer.protection]).toEqual(['delivered', 'one-time'])
  const again = from.send(cardOf(bob), { type: 'text', text: 'once more' }, { toKey: true })
  expect((await take(to, 1)).map(({ protection }) => protection)).toEqual(['key'])
  expect(await again.settled).toBe('delivered')
})

describe('a thief of the SSH key alone', { timeout: 30_000 }, () => {
  test('gets no answer, and the user is told', async () => {
    const { alice, bob, thief, from, victim, events } = await steal({ isChecked: true })
    await expect.poll(() => events.filter((event) => event.kind === 'ring').map(({ event }) => event)).toEqual(['unproven'])
    const answer = from.send(cardOf(bob), { type: 'text', text: 'Really?' })
    const [came] = await take(victim, 1)
    expect(textOf(came!)).toBe('Really?')
    expect(await answer.settled).toBe('delivered')
    const ring = decodeRing(fingerprintOf(bob.key), alice.disk.rings.get(fingerprintOf(bob.key))!)
    const theirs = decodeRing(fingerprintOf(alice.key), thief.disk.rings.get(fingerprintOf(alice.key))!)
    const keys = theirs.given.map(({ seed }) => hybridKey(seed).recipient)
    expect(keys.length).toBeGreaterThan(0)
    expect([...ring.held, ring.last].filter((held) => held !== undefined && keys.includes(held.recipient))).toEqual([])
  })

  test('takes the conversation over if `begin` is not checked', async () => {
    const { from, robber, clock, contacts } = await steal({ isChecked: false })
    from.send(contacts[0]!, { type: 'text', text: 'Really?' })
    // It waits for the messages before it, which the thief does not get.
    const hurry = setInterval(() => clock.skip(10_000), 200)
    const [came] = await take(robber, 1).finally(() => clearInterval(hurry))
    expect(textOf(came!)).toBe('Really?')
  })

  test('gets no answer either if it wrote before the person became a contact, by a card', async () => {
    const { bob, from, victim, contacts } = await steal({ isChecked: true, knowsBob: false })
    contacts.push(cardOf(bob))
    const answer = from.send(cardOf(bob), { type: 'text', text: 'Hello, Bob' })
    const [came] = await take(victim, 1)
    expect(textOf(came!)).toBe('Hello, Bob')
    expect(answer.protection).toBe('daily')
  })
})
