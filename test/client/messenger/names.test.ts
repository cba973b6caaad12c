/**
 * What relays learn: six people write ninety messages with the real messenger through real relays, and a proxy in Tor's
 * place records each line with its connection and circuit. A linker then plays the operator of all relays.
 */
import { createHash } from 'node:crypto'
import { afterEach, describe, expect, test } from 'vitest'
import { randomBytes } from '../../../src/auth/crypto.ts'
import { fingerprintOf } from '../../../src/client/format/field.ts'
import type { Messenger } from '../../../src/client/messenger/messenger.ts'
import type { MessengerOptions, Secrecy } from '../../../src/client/messenger/options.ts'
import { decodeSecrets, fingerprintOfSecret } from '../../../src/client/messenger/secrets.ts'
import { connectClaims } from '../../../src/client/wire/connect.ts'
import type { ClaimClient } from '../../../src/client/wire/claim-client.ts'
import { encodeOnion } from '../../../src/onion/address.ts'
import { messengerOf } from '../../support/people.ts'
import { startTestRelay } from '../../support/relay.ts'
import { cardOf, makeSecret, type Secret } from '../../support/secret.ts'
import { startTap, type Tap, type TapLine } from '../../support/tap.ts'

const PEOPLE = ['alice', 'bob', 'carol', 'dave', 'erin', 'frank']
const ROUNDS = 3

const closers: (() => unknown)[] = []
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close()
})

/** Starts relays with onion names behind one tap. */
async function startRelays(count: number): Promise<{ tap: Tap; names: string[] }> {
  const ports = new Map<string, number>()
  for (let n = 0; n < count; n++) {
    const name = encodeOnion(randomBytes(32))
    const relay = await startTestRelay({ names: [name], connections: 500, unproven: 300, memory: 2 ** 25 })
    closers.push(() => relay.close())
    ports.set(name, relay.port)
  }
  const tap = await startTap(ports)
  closers.push(() => tap.close())
  return { tap, names: [...ports.keys()] }
}

/** Everyone writes to everyone, three times. @returns the people, whose disks have their secrets */
async function converse(people: readonly Secret[], more: (person: Secret) => Partial<MessengerOptions>, rounds = ROUNDS): Promise<number> {
  const messengers = new Map<Secret, Messenger>()
  for (const person of people) {
    const contacts = people.filter((each) => each !== person).map(cardOf)
    const messenger = messengerOf(person, contacts, { secrecy: person.secrecy, seen: person.seen, outbox: person.outbox, ...more(person) })
    closers.push(() => messenger.close())
    messengers.set(person, messenger)
    void (async () => {
      for await (const received of messenger.received()) await received.done()
    })()
  }
  for (const messenger of messengers.values()) {
    await messenger.fetched()
    await messenger.flush()
  }
  let count = 0
  for (let round = 0; round < rounds; round++) {
    const deliveries = [...messengers].flatMap(([person, messenger]) =>
      people.filter((each) => each !== person).map((to) => messenger.send(cardOf(to), { type: 'text', text: `round ${round}` })),
    )
    for (const { settled } of deliveries) {
      expect(await settled).toBe('delivered')
      count++
    }
  }
  return count
}

/** The names by which a relay could recognise an SSH key: the key itself, its fingerprint, and age's tag. */
function namesOf({ key }: Secret): string[] {
  const blob = Buffer.from(key.blob)
  const hash = createHash('sha256').update(blob).digest()
  const texts = [blob, blob.subarray(-32), hash].flatMap((bytes) => [
    bytes.toString('base64').replaceAll('=', ''),
    bytes.toString('base64url'),
    bytes.toString('hex'),
    bytes.toString('latin1'),
  ])
  return [...texts, `-> ssh-ed25519 ${hash.subarray(0, 4).toString('base64').replaceAll('=', '')} `]
}

/** Searches each line, and the bytes of each of its fields, for the SSH keys. */
function findKeys(lines: readonly TapLine[], people: readonly Secret[]): string[] {
  const names = people.map((person) => [person.name, namesOf(person)] as const)
  return lines.flatMap(({ text }) => {
    const decoded = text.split(';').map((field) => Buffer.from(field, 'base64').toString('latin1'))
    const all = [text, ...decoded]
    return names.filter(([, each]) => each.some((name) => all.some((field) => field.includes(name)))).map(([name]) => name)
  })
}

interface Box {
  readonly owner: string
  readonly kind: 'inbox' | 'address' | 'key'
}

/** The truth: to whom each mailbox belongs. */
function ownersOf(people: readonly Secret[]): Map<string, Box> {
  const owners = new Map<string, Box>()
  for (const { name, key, inbox, disk } of people) {
    owners.set(fingerprintOf(key), { owner: name, kind: 'key' })
    owners.set(fingerprintOf(inbox!), { owner: name, kind: 'inbox' })
    for (const { secret } of decodeSecrets(disk.secrets)!.addresses)
      owners.set(fingerprintOfSecret(secret), { owner: name, kind: 'address' })
  }
  return owners
}

/** Puts connections together that share a circuit, a token, or a secret. @returns the mailboxes of each cluster */
function link(lines: readonly TapLine[]): Set<string>[] {
  const parents = new Map<string, string>()
  const find = (node: string): string => {
    const parent = parents.get(node) ?? node
    if (parent === node) return node
    const root = find(parent)
    parents.set(node, root)
    return root
  }
  const join = (one: string, other: string): void => void parents.set(find(one), find(other))
  const touched = new Map<string, Set<string>>()
  for (const { connection, circuit, from, text } of lines) {
    const node = `connection ${connection}`
    const [no = '', ...fields] = text.split(';')
    const mailboxes = touched.get(node) ?? new Set<string>()
    touched.set(node, mailboxes)
    join(node, `circuit ${circuit}`)
    for (const field of fields) if (/^[\w-]+\.[\w-]+\.[\w-]+$/.test(field)) join(node, `token ${field}`)
    if (from === 'relay') continue
    if (no === '34') {
      join(node, `secret ${fields[0]}`)
      // A secret with a label is read.
      if (fields[1] !== undefined && fields[1] !== '') mailboxes.add(fingerprintOfSecret(Buffer.from(fields[0]!, 'base64url')))
    }
    if (no === '0')
      mailboxes.add(
        `SHA256:${createHash('sha256')
          .update(Buffer.from(fields[0]!.split(' ')[1]!, 'base64'))
          .digest('base64')
          .slice(0, 43)}`,
      )
    if (no === '3' || no === '32') mailboxes.add(fields[1]!)
  }
  const clusters = new Map<string, Set<string>>()
  for (const [node, mailboxes] of touched) {
    const root = find(node)
    clusters.set(root, new Set([...(clusters.get(root) ?? []), ...mailboxes]))
  }
  return [...clusters.values()]
}

/** Finds clusters with the mailboxes of two people, or with an inbox and an address of one person. */
function findJoins(lines: readonly TapLine[], people: readonly Secret[]): (readonly Box[])[] {
  const owners = ownersOf(people)
  return link(lines)
    .map((mailboxes) => [...mailboxes].map((mailbox) => owners.get(mailbox)).filter((box) => box !== undefined))
    .filter((boxes) => new Set(boxes.map(({ owner }) => owner)).size > 1 || new Set(boxes.map(({ kind }) => kind)).size > 1)
}

const makePeople = (relays: readonly string[], more: Partial<Secrecy> = {}, names = PEOPLE): Secret[] =>
  names.map((name) => makeSecret(name, relays, more))

/** Most mailboxes of a person are read: so the search does not find nothing because there is nothing. */
function expectSeen(lines: readonly TapLine[], people: readonly Secret[]): void {
  const clusters = link(lines)
  const all = new Set(clusters.flatMap((each) => [...each]))
  const owners = ownersOf(people)
  expect([...owners].filter(([name, { kind }]) => kind !== 'key' && !all.has(name))).toEqual([])
  expect(clusters.length).toBeGreaterThan(people.length * people.length)
}

describe.each([1, 2])('six people with %i relays each, whose operator records ninety messages', { timeout: 180_000 }, (count) => {
  test('show no SSH key and no fingerprint, and nothing joins an inbox and an address, or two people', async () => {
    const { tap, names } = await startRelays(count)
    const people = makePeople(names)
    expect(await converse(people, () => ({ socks: tap.socks }))).toBe(90)
    expect(tap.lines.length).toBeGreaterThan(1_000)
    expect(findKeys(tap.lines, people)).toEqual([])
    expect(findJoins(tap.lines, people)).toEqual([])
    expectSeen(tap.lines, people)
  })
})

describe('the search finds', { timeout: 60_000 }, () => {
  test('the SSH key of a person whose profile is public', async () => {
    const { tap, names } = await startRelays(1)
    const people = [makeSecret('alice', names, { isPublic: true }), makeSecret('bob', names)]
    await converse(people, () => ({ socks: tap.socks }), 1)
    expect(new Set(findKeys(tap.lines, people))).toEqual(new Set(['alice']))
  })

  test('the receivers of a person who writes to all of them on one connection', async () => {
    const { tap, names } = await startRelays(1)
    const people = makePeople(names, {}, ['alice', 'bob', 'carol'])
    const shared = new Map<Secret, Promise<ClaimClient>>()
    await converse(
      people,
      (person) => ({
        socks: tap.socks,
        ...(person.name === 'alice' && {
          connectClaims: async ({ early, ...options }) => {
            const client = await (shared.get(person) ?? (shared.set(person, connectClaims(options)), shared.get(person)!))
            early?.(client)
            return client
          },
        }),
      }),
      1,
    )
    const joins = findJoins(tap.lines, people)
    expect(joins.some((boxes) => ['bob', 'carol'].every((name) => boxes.some(({ owner }) => owner === name)))).toBe(true)
  })

  test('the receivers of a person whose connections share a circuit', async () => {
    const { tap, names } = await startRelays(1)
    const people = makePeople(names, {}, ['alice', 'bob', 'carol'])
    await converse(
      people,
      (person) => ({
        socks: tap.socks,
        ...(person.name === 'alice' && { connectClaims: (options) => connectClaims({ ...options, isolation: 'alice' }) }),
      }),
      1,
    )
    expect(findJoins(tap.lines, people)).not.toEqual([])
  })
})
