/**
 * Who writes with whom: two hundred games between the real messenger and a linker that operates all relays, has the cards of
 * everyone, and has two accomplices among the receivers. And what is not claimed: presence does link.
 */
import { afterEach, describe, expect, test } from 'vitest'
import { randomBytes } from '../../src/auth/crypto.ts'
import { fingerprintOf } from '../../src/client/format/field.ts'
import type { Contact } from '../../src/client/messenger/contact.ts'
import type { Messenger } from '../../src/client/messenger/messenger.ts'
import type { MessengerOptions } from '../../src/client/messenger/options.ts'
import type { ClaimClient } from '../../src/client/wire/claim-client.ts'
import { connectClaims } from '../../src/client/wire/connect.ts'
import { encodeOnion } from '../../src/onion/address.ts'
import { createClock } from '../support/clock.ts'
import { startTestRelay } from '../support/relay.ts'
import { cardOf, makeSecret, openSecret, type Secret } from '../support/secret.ts'
import { startTap, type TapLine } from '../support/tap.ts'

const GAMES = 200
/** Games that are played at the same time. */
const TABLE = 10
/** Chance and three standard deviations, of 200 games. */
const MOST_RIGHT = 0.606

const closers: (() => unknown)[] = []
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close()
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

const shuffle = <T>(all: readonly T[], random: () => number): T[] =>
  all
    .map((each) => [random(), each] as const)
    .toSorted(([one], [other]) => one - other)
    .map(([, each]) => each)

interface Game {
  /** The connections that wrote to the accomplices: one of Alice, and one of Carol. */
  readonly known: readonly [alice: number, carol: number]
  /** The connections that wrote to Bob and to Dave. */
  readonly asked: readonly [toBob: number, toDave: number]
  /** Whether Alice wrote to Bob and Carol to Dave; otherwise Alice wrote to Dave and Carol to Bob. */
  readonly isStraight: boolean
}

/** Ten games: in each, Alice writes to an accomplice and to Bob or Dave, and Carol to another accomplice and to the other. */
async function play(seed: number, more: () => Partial<MessengerOptions>): Promise<{ games: Game[]; lines: readonly TapLine[] }> {
  const random = createRandom(seed)
  const ports = new Map<string, number>()
  for (let n = 0; n < 2; n++) {
    const name = encodeOnion(randomBytes(32))
    const relay = await startTestRelay({ names: [name], connections: 2_000, unproven: 1_000, memory: 2 ** 25 })
    closers.push(() => relay.close())
    ports.set(name, relay.port)
  }
  const tap = await startTap(ports)
  closers.push(() => tap.close())
  const clock = createClock(20)
  const relays = [...ports.keys()]
  const contacts: Contact[] = []
  const messengers: Messenger[] = []
  const start = (person: Secret, own: Partial<MessengerOptions> = {}): Messenger => {
    const messenger = openSecret(person, [], {
      socks: tap.socks,
      clock,
      contacts: { find: (fingerprint) => contacts.find(({ key }) => fingerprintOf(key) === fingerprint) },
      ...own,
    })
    messengers.push(messenger)
    closers.push(() => messenger.close())
    void (async () => {
      for await (const received of messenger.received()) await received.done()
    })()
    return messenger
  }
  const receivers = ['bob', 'dave', 'erin', 'frank'].map((name) => makeSecret(name, relays))
  const [bob, dave, erin, frank] = receivers as [Secret, Secret, Secret, Secret]
  const players = Array.from({ length: TABLE }, () => [makeSecret('alice', relays), makeSecret('carol', relays)] as const)
  contacts.push(...[...receivers, ...players.flat()].map(cardOf))
  for (const receiver of receivers) start(receiver)
  const opened = new Map(shuffle(players.flat(), random).map((person) => [person, start(person, more())]))
  for (const messenger of messengers) {
    await messenger.fetched()
    await messenger.flush()
  }
  const letters: { readonly from: Secret; readonly to: Secret }[] = []
  const straight = players.map(() => random() < 0.5)
  for (const [n, [alice, carol]] of players.entries()) {
    letters.push({ from: alice, to: erin }, { from: carol, to: frank })
    letters.push({ from: alice, to: straight[n]! ? bob : dave }, { from: carol, to: straight[n]! ? dave : bob })
  }
  // The test draws the order, and lets one letter leave before the next: so each SEND has a known writer.
  const connections = new Map<string, number>()
  const nameOf = ({ from, to }: { from: Secret; to: Secret }): string => `${fingerprintOf(from.key)} ${to.name}`
  for (const letter of shuffle(letters, random)) {
    const before = tap.lines.length
    const text = 'x'.repeat(Math.floor(random() * 1_000))
    await opened.get(letter.from)!.send(cardOf(letter.to), { type: 'text', text }).accepted
    const inbox = fingerprintOf(letter.to.inbox!)
    const line = tap.lines
      .slice(before)
      .find(({ from, text: each }) => from === 'client' && each.startsWith('3;') && each.split(';')[2] === inbox)
    connections.set(nameOf(letter), line!.connection)
  }
  for (const messenger of messengers) await messenger.flush()
  for (const messenger of messengers) await messenger.close()
  const games = players.map(([alice, carol], n): Game => {
    const isStraight = straight[n]!
    const of = (from: Secret, to: Secret): number => connections.get(nameOf({ from, to }))!
    return {
      isStraight,
      known: [of(alice, erin), of(carol, frank)],
      asked: isStraight ? [of(alice, bob), of(carol, dave)] : [of(carol, bob), of(alice, dave)],
    }
  })
  return { games, lines: tap.lines }
}

interface Trace {
  /** The circuit, and all fields that occur on few connections: tokens, secrets, mailboxes, ids. */
  readonly marks: ReadonlySet<string>
  readonly first: number
  readonly count: number
  readonly bytes: number
  readonly fields: number
}

function trace(lines: readonly TapLine[], connection: number): Trace {
  const own = lines.filter((line) => line.connection === connection)
  const fields = own.flatMap(({ text }) => text.split(';'))
  return {
    marks: new Set([`connection ${connection}`, ...own.map(({ circuit }) => circuit), ...fields.filter((field) => field.length > 11)]),
    first: own[0]!.at,
    count: own.length,
    bytes: own.reduce((sum, { text }) => sum + text.length, 0),
    fields: fields.length,
  }
}

/**
 * Guesses whether Alice wrote to Bob: by marks that two connections share, and no others; else by a vote of the sizes, the
 * order, the counts and the fields, in which what is more alike belongs together.
 */
function guess(lines: readonly TapLine[], { known, asked }: Game, random: () => number): boolean {
  const [alice, carol, toBob, toDave] = [...known, ...asked].map((connection) => trace(lines, connection)) as [Trace, Trace, Trace, Trace]
  const shared = (one: Trace, other: Trace, ...others: Trace[]): number =>
    [...one.marks].filter((mark) => other.marks.has(mark) && !others.some(({ marks }) => marks.has(mark))).length
  const straight = shared(alice, toBob, carol, toDave) + shared(carol, toDave, alice, toBob)
  const crossed = shared(alice, toDave, carol, toBob) + shared(carol, toBob, alice, toDave)
  if (straight !== crossed) return straight > crossed
  const apart = (feature: 'first' | 'count' | 'bytes' | 'fields'): number =>
    Math.sign((alice[feature] - carol[feature]) * (toBob[feature] - toDave[feature]))
  const votes = apart('first') + apart('count') + apart('bytes') + apart('fields')
  return votes === 0 ? random() < 0.5 : votes > 0
}

describe('Alice to Bob and Carol to Dave, or Alice to Dave and Carol to Bob: a linker', () => {
  test('is right in at most 60.6 % of two hundred games', { timeout: 300_000 }, async () => {
    let right = 0
    for (let table = 0; table < GAMES / TABLE; table++) {
      const { games, lines } = await play(table + 1, () => ({}))
      const random = createRandom(1_000 + table)
      right += games.filter((game) => guess(lines, game, random) === game.isStraight).length
      for (const close of closers.splice(0).toReversed()) await close()
    }
    expect(right / GAMES).toBeLessThanOrEqual(MOST_RIGHT)
    // A linker that is mostly wrong would be one that is mostly right.
    expect(right / GAMES).toBeGreaterThanOrEqual(1 - MOST_RIGHT)
  })

  test('is right in all games if a client writes to two contacts on one connection', { timeout: 60_000 }, async () => {
    const { games, lines } = await play(1, () => {
      const shared = new Map<string, Promise<ClaimClient>>()
      return {
        // The connection stays for a minute without a message.
        clock: createClock(),
        connectClaims: async ({ early, ...options }) => {
          const client = await (shared.get(options.relay) ??
            (shared.set(options.relay, connectClaims(options)), shared.get(options.relay)!))
          client.onEnd(() => shared.delete(options.relay))
          early?.(client)
          return client
        },
      }
    })
    const random = createRandom(1)
    expect(games.filter((game) => guess(lines, game, random) === game.isStraight)).toHaveLength(TABLE)
  })
})

/** A connection of a mailbox, in seconds. */
interface Presence {
  readonly begin: number
  readonly end: number
}

/** Sessions of two hours with about six hours between them: two connections begin and end together, up to the spread. */
function simulate(people: number, days: number, random: () => number): { inboxes: Presence[][]; addresses: Presence[][] } {
  const [inboxes, addresses]: [Presence[][], Presence[][]] = [[], []]
  for (let n = 0; n < people; n++) {
    const [inbox, address]: [Presence[], Presence[]] = [[], []]
    for (let at = random() * 8 * 3_600; at < days * 86_400; at += (2 + 12 * random()) * 3_600) {
      const end = at + 7_200 * (0.5 + random())
      inbox.push({ begin: at + random() * 20, end: end + random() })
      address.push({ begin: at + random() * 20, end: end + random() })
      at = end
    }
    inboxes.push(inbox)
    addresses.push(address)
  }
  return { inboxes, addresses }
}

/** Pairs each inbox with the addresses that were most often connected at the same times. */
function pair(inboxes: readonly Presence[][], addresses: readonly Presence[][]): number[] {
  return inboxes.map((inbox) => {
    const scores = addresses.map((address) => {
      const alike = inbox.filter(({ begin, end }) =>
        address.some((each) => Math.abs(each.begin - begin) < 20 && Math.abs(each.end - end) < 2),
      )
      return alike.length / Math.max(inbox.length, address.length)
    })
    return scores.indexOf(Math.max(...scores))
  })
}

test.each([1, 7])('presence does link: who sees both connections of a hundred people for %i days pairs most of them', (days) => {
  const { inboxes, addresses } = simulate(100, days, createRandom(days))
  const right = pair(inboxes, addresses).filter((found, n) => found === n).length
  expect(right).toBeGreaterThan(74)
  // A relay that has only one of the two has nothing to pair.
  const strangers = simulate(100, days, createRandom(days + 1)).addresses
  expect(pair(inboxes, strangers).filter((found, n) => found === n).length).toBeLessThan(10)
})
