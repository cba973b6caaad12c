/** Counts that docs/performance.md lists: round trips, connections, and the size of a chat line. */
import { afterEach, describe, expect, test } from 'vitest'
import { randomBytes } from '../../../src/auth/crypto.ts'
import { fingerprintOf } from '../../../src/client/format/field.ts'
import { encodeSecrets, makeAddress, type State } from '../../../src/client/messenger/secrets.ts'
import { connectClaims, connectRelay } from '../../../src/client/wire/connect.ts'
import { encodeOnion } from '../../../src/onion/address.ts'
import { createClock } from '../../support/clock.ts'
import { type Flights, type Flown, startFlights } from '../../support/flights.ts'
import { makePerson, messengerOf, take } from '../../support/people.ts'
import { startTestRelay } from '../../support/relay.ts'
import { cardOf, makeSecret, openSecret, type Secret } from '../../support/secret.ts'
import { startTap } from '../../support/tap.ts'

/** Milliseconds. */
const TRIP = 200
const CONTACTS = 20

const closers: (() => unknown)[] = []
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close()
})

async function startRelay(): Promise<{ name: string; port: number }> {
  const name = encodeOnion(randomBytes(32))
  const { port, close } = await startTestRelay({ names: [name], connections: 100, unproven: 50, memory: 2 ** 24 })
  closers.push(close)
  return { name, port }
}

async function startSlowRelay(): Promise<{ name: string; flights: Flights }> {
  const { name, port } = await startRelay()
  const flights = await startFlights(port, TRIP)
  closers.push(() => flights.close())
  return { name, flights }
}

/** Returns the last flight of packets with this number from the relay. */
const flightOf = (lines: readonly Flown[], no: string): number =>
  Math.max(...lines.filter(({ from, text }) => from === 'relay' && text.split(';')[0] === no).map(({ flight }) => flight))

/** A person with an address for each of 20 contacts. */
function makePopular(relay: string): { person: Secret; contacts: readonly ReturnType<typeof cardOf>[] } {
  const person = makeSecret('alice', [relay])
  const contacts = Array.from({ length: CONTACTS }, (_, n) => cardOf(makeSecret(`contact${n}`, [relay])))
  const now = Math.floor(Date.now() / 1_000)
  const state: State = {
    addresses: contacts.map(({ key }) => makeAddress(fingerprintOf(key), relay, randomBytes(32), now)),
    days: [],
    bundles: new Map(),
    strangers: new Map(),
  }
  person.disk = { ...person.disk, secrets: encodeSecrets(state) }
  return { person, contacts }
}

describe('once the circuit stands, the relay has a message after', () => {
  test('one round trip, if the sender shows a throwaway secret', async () => {
    const { name, flights } = await startSlowRelay()
    const to = fingerprintOf(makePerson('bob').key)
    let sent: Promise<unknown> | undefined
    const client = await connectClaims({
      relay: name,
      socks: flights.socks,
      early: (early) => (sent = early.sendSealed(to, randomBytes(900))),
    })
    await sent
    client.close()
    expect(flightOf(flights.lines, '13')).toBe(1)
  })

  test('two round trips, if the sender proves an SSH key: AUTH leaves with the stream, and SEND with VERIFY', async () => {
    const { name, flights } = await startSlowRelay()
    const to = fingerprintOf(makePerson('bob').key)
    for (const sign of [false, true]) {
      const before = flights.lines.length
      let sent: Promise<unknown> | undefined
      const client = await connectRelay({
        relay: name,
        socks: flights.socks,
        identity: makePerson('alice').identity,
        sign,
        login: true,
        early: (early) => (sent = early.sendSealed(to, randomBytes(900))),
      })
      await sent
      client.close()
      expect(flightOf(flights.lines.slice(before), '13')).toBe(2)
    }
  })

  test('two round trips, if a messenger sends by an SSH key', async () => {
    const { name, flights } = await startSlowRelay()
    const bob = makePerson('bob', name)
    const messenger = messengerOf(makePerson('alice'), [bob], { socks: flights.socks })
    closers.push(() => messenger.close())
    const texts = ['one', 'two'].map((text) => messenger.send(bob, { type: 'text', text }))
    for (const { accepted } of texts) expect(await accepted).toBe('held')
    expect(flights.lines.filter(({ from, text }) => from === 'relay' && text.startsWith('13;')).map(({ flight }) => flight)).toEqual([2, 2])
  })

  test('one round trip, if the sender has a token of that relay, and three if the relay restarted', async () => {
    const { name, flights } = await startSlowRelay()
    const options = { relay: name, socks: flights.socks, identity: makePerson('alice').identity }
    const to = fingerprintOf(makePerson('bob').key)
    const first = await connectRelay({ ...options, login: true })
    first.close()
    for (const [text, trips, isKnown] of [
      [first.token!.text, 1, true],
      ['a.b.c', 3, false],
    ] as const) {
      const before = flights.lines.length
      let sent: Promise<unknown> | undefined
      const client = await connectRelay({
        ...options,
        login: true,
        token: { ...first.token!, text },
        early: (early) => (sent = early.sendSealed(to, randomBytes(900))),
      })
      await sent
      client.close()
      expect(flightOf(flights.lines.slice(before), '13')).toBe(trips)
      expect(client.token!.text === text).toBe(isKnown)
    }
  })
})

describe('a person with 20 contacts at one relay', { timeout: 60_000 }, () => {
  test('has two connections on two circuits', async () => {
    const { name, flights } = await startSlowRelay()
    const { person, contacts } = makePopular(name)
    const messenger = openSecret(person, contacts, { socks: flights.socks })
    closers.push(() => messenger.close())
    expect(await messenger.fetched()).toEqual(new Map())
    await messenger.flush()
    expect(flights.open).toBe(2)
    expect(new Set(flights.lines.map(({ circuit }) => circuit)).size).toBe(2)
    const subscribed = flights.lines.filter(({ from, text }) => from === 'relay' && text.startsWith('16;'))
    expect(subscribed).toHaveLength(1 + CONTACTS)
  })

  test('reads all addresses and the inbox again one round trip after the circuit stands', async () => {
    const { name, flights } = await startSlowRelay()
    const { person, contacts } = makePopular(name)
    // Only pauses pass faster.
    const messenger = openSecret(person, contacts, { socks: flights.socks, clock: createClock(20) })
    closers.push(() => messenger.close())
    await messenger.fetched()
    await messenger.flush()
    const before = flights.lines.length
    flights.cut()
    const later = (): readonly Flown[] => flights.lines.slice(before).filter(({ connection }) => connection > 2)
    const subscribed = (): number => later().filter(({ from, text }) => from === 'relay' && text.startsWith('16;')).length
    await expect.poll(subscribed, { timeout: 30_000 }).toBe(1 + CONTACTS)
    const isAddress = ({ connection }: Flown): boolean =>
      later().some((line) => line.connection === connection && line.text.startsWith('34;'))
    expect(flightOf(later().filter(isAddress), '16')).toBe(1)
    expect(
      flightOf(
        later().filter((line) => !isAddress(line)),
        '16',
      ),
    ).toBe(1)
  })
})

test('the payload of a chat line has at most 7,680 characters once both people have answered', async () => {
  const { name, port } = await startRelay()
  const tap = await startTap(new Map([[name, port]]))
  closers.push(() => tap.close())
  const people = [makeSecret('alice', [name]), makeSecret('bob', [name])] as const
  // Receipts wait for up to 2 s.
  const clock = createClock(20)
  const messengers = people.map((person, n) => openSecret(person, [cardOf(people[1 - n]!)], { socks: tap.socks, clock }))
  closers.push(...messengers.map((messenger) => () => messenger.close()))
  for (const messenger of messengers) {
    await messenger.fetched()
    await messenger.flush()
  }
  const sizes: number[][] = []
  for (let n = 0; n < 8; n++) {
    const before = tap.lines.length
    const delivery = messengers[n % 2]!.send(cardOf(people[1 - (n % 2)]!), { type: 'text', text: 'a line of a chat, as people write it' })
    await take(messengers[1 - (n % 2)]!, 1)
    expect(await delivery.settled).toBe('delivered')
    for (const messenger of messengers) await messenger.flush()
    const sends = tap.lines.slice(before).filter(({ from, text }) => from === 'client' && text.startsWith('3;'))
    sizes.push(sends.map(({ text }) => text.split(';')[3]!.length))
  }
  // The line, and the receipt. The first ones bring addresses, and three keys each.
  expect(sizes.slice(4).flat()).toHaveLength(8)
  expect(Math.max(...sizes.slice(4).flat())).toBeLessThanOrEqual(7_680)
})
