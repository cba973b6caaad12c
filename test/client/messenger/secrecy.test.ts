/** The messenger with one-time keys, addresses, couriers and an inbox, with relays in this process. */
import { afterEach, describe, expect, test } from 'vitest'
import { fingerprintOf } from '../../../src/client/format/field.ts'
import type { Contact } from '../../../src/client/messenger/contact.ts'
import type { MessengerOptions } from '../../../src/client/messenger/options.ts'
import type { Messenger } from '../../../src/client/messenger/messenger.ts'
import { decodeRing } from '../../../src/client/ring/text.ts'
import { take, textOf } from '../../support/people.ts'
import { createClock } from '../../support/clock.ts'
import { startTestRelay, type TestRelay, type TestRelayOptions } from '../../support/relay.ts'
import { cardOf, makeSecret, openSecret, type Secret } from '../../support/secret.ts'

const closers: (() => unknown)[] = []
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close()
})

async function startRelay(options?: TestRelayOptions): Promise<TestRelay> {
  const started = await startTestRelay(options)
  closers.push(() => started.close())
  return started
}

function open(person: Secret, contacts: readonly Contact[], more: Partial<MessengerOptions> = {}): Messenger {
  const messenger = openSecret(person, contacts, more)
  closers.push(() => messenger.close())
  return messenger
}

describe('two people with cards of version 2', () => {
  test('write first to the inbox, and then to addresses, each message to a key of its own', async () => {
    const { address } = await startRelay()
    const relay = address.replace('127.0.0.1', 'localhost')
    const [alice, bob] = [makeSecret('alice', [relay]), makeSecret('bob', [relay])]
    const [from, to] = [open(alice, [cardOf(bob)]), open(bob, [cardOf(alice)])]
    await to.fetched()
    await to.flush()
    const first = from.send(cardOf(bob), { type: 'text', text: 'one' })
    const [one] = await take(to, 1)
    expect(one).toMatchObject({ verdict: 'genuine', protection: 'daily', from: { name: 'alice' } })
    expect(textOf(one!)).toBe('one')
    expect(await first.settled).toBe('delivered')
    expect(first.protection).toBe('daily')
    const answer = to.send(cardOf(alice), { type: 'text', text: 'two' })
    const [two] = await take(from, 1)
    expect(two).toMatchObject({ verdict: 'genuine', protection: 'one-time', from: { name: 'bob' } })
    expect(await answer.settled).toBe('delivered')
    expect(answer.protection).toBe('one-time')
    for (let n = 0; n < 5; n++) {
      const there = from.send(cardOf(bob), { type: 'text', text: `there ${n}` })
      const [received] = await take(to, 1)
      expect(received).toMatchObject({ verdict: 'genuine', protection: 'one-time' })
      expect(textOf(received!)).toBe(`there ${n}`)
      expect(await there.settled).toBe('delivered')
    }
    const contact = fingerprintOf(alice.key)
    const ring = decodeRing(contact, bob.disk.rings.get(contact)!)
    expect(ring.address?.mailboxes).toHaveLength(1)
  })
})

test('messages to several people at once leave at random moments within 20 s', { timeout: 30_000 }, async () => {
  const relay = await startRelay({ connections: 50, unproven: 50 })
  const name = `localhost:${relay.port}`
  const [alice, bob, carol] = [makeSecret('alice', [name]), makeSecret('bob', [name]), makeSecret('carol', [name])]
  for (const each of [bob, carol]) {
    const messenger = open(each, [cardOf(alice)])
    await messenger.fetched()
    await messenger.flush()
  }
  const clock = createClock(20)
  const from = open(alice, [cardOf(bob), cardOf(carol)], { clock, random: () => 0.5 })
  await from.fetched()
  const began = clock.now()
  const all = [bob, carol].map((each) => from.send(cardOf(each), { type: 'text', text: 'to both' }, { spread: true }))
  await from.flush()
  expect(all.map(({ state }) => state)).toEqual(['held', 'held'])
  expect(clock.now() - began).toBeGreaterThanOrEqual(10_000)
})

describe('a contact with addresses at two relays', () => {
  test('gets a text that one of them lost while its sender was offline, and sees it once', async () => {
    const [inbox, one, two] = await Promise.all([startRelay(), startRelay(), startRelay()])
    const names = [inbox, one, two].map(({ address }) => address.replace('127.0.0.1', 'localhost'))
    const [alice, bob] = [makeSecret('alice', names), makeSecret('bob', names)]
    const met = [open(alice, [cardOf(bob)]), open(bob, [cardOf(alice)])] as const
    await met[1].fetched()
    await met[1].flush()
    const first = met[0].send(cardOf(bob), { type: 'text', text: 'one' })
    await take(met[1], 1)
    expect(await first.settled).toBe('delivered')
    const answer = met[1].send(cardOf(alice), { type: 'text', text: 'two' })
    await take(met[0], 1)
    expect(await answer.settled).toBe('delivered')
    await met[1].flush()
    await met[1].close()
    const kept = met[0].send(cardOf(bob), { type: 'text', text: 'three' })
    expect(await kept.accepted).toBe('held')
    expect(kept.relays).toEqual(names.slice(1))
    await met[0].flush()
    await met[0].close()
    // Both have it: whichever dies, the other one delivers it.
    for (const { relay } of [one, two]) expect(relay.snapshot().messages).toBeGreaterThan(0)
    await one!.kill()
    const back = open(bob, [cardOf(alice)])
    const [three] = await take(back, 1)
    expect(textOf(three!)).toBe('three')
  })
})
