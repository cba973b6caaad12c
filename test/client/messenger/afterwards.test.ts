/**
 * What can be read afterwards: a relay's operator records every ciphertext, and once all were read a thief takes what both
 * people have: the files of their clients, their SSH keys and their inbox keys.
 */
import { afterEach, describe, expect, test } from 'vitest'
import { hybridKey } from '../../../src/auth/age-hybrid.ts'
import { randomBytes } from '../../../src/auth/crypto.ts'
import { open, openWith } from '../../../src/client/format/envelope.ts'
import { fingerprintOf } from '../../../src/client/format/field.ts'
import type { Contact } from '../../../src/client/messenger/contact.ts'
import type { Messenger } from '../../../src/client/messenger/messenger.ts'
import { decodeSecrets, encodeSecrets } from '../../../src/client/messenger/secrets.ts'
import { decodeRing } from '../../../src/client/ring/text.ts'
import { encodeOnion } from '../../../src/onion/address.ts'
import { createClock } from '../../support/clock.ts'
import { take, textOf } from '../../support/people.ts'
import { startTestRelay } from '../../support/relay.ts'
import { cardOf, makeSecret, openSecret, type Secret } from '../../support/secret.ts'
import { startTap, type Tap } from '../../support/tap.ts'

const closers: (() => unknown)[] = []
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close()
})

interface Recording {
  readonly files: readonly Uint8Array[]
  readonly people: readonly [Secret, Secret]
  /** By person: every ring that the client ever wrote. */
  readonly rings: ReadonlyMap<Secret, readonly Uint8Array[]>
  /** The arrays in which the clients had the private halves, of every key that they gave. */
  readonly seeds: readonly Uint8Array[]
}

/** Twelve turns of one to three texts, which are 24, each turn read before the next. */
async function record(): Promise<Recording> {
  const name = encodeOnion(randomBytes(32))
  const relay = await startTestRelay({ names: [name], connections: 100, unproven: 50, memory: 2 ** 24 })
  const tap: Tap = await startTap(new Map([[name, relay.port]]))
  closers.push(
    () => relay.close(),
    () => tap.close(),
  )
  const people = [makeSecret('alice', [name]), makeSecret('bob', [name])] as const
  const clock = createClock(20)
  const rings = new Map<Secret, Uint8Array[]>(people.map((person) => [person, []]))
  const seeds = new Set<Uint8Array>()
  const messengers = people.map((person, n): Messenger => {
    const contact: Contact = cardOf(people[1 - n]!)
    const { rings: store } = person.secrecy
    const secrecy = {
      ...person.secrecy,
      rings: {
        ...store,
        save: async (of: string, ring: Parameters<typeof store.save>[1]) => {
          await store.save(of, ring)
          rings.get(person)!.push(person.disk.rings.get(of)!)
          for (const { seed } of ring.given) seeds.add(seed)
        },
      },
    }
    const messenger = openSecret(person, [contact], { secrecy, socks: tap.socks, clock })
    closers.push(() => messenger.close())
    return messenger
  })
  for (const messenger of messengers) {
    await messenger.fetched()
    await messenger.flush()
  }
  for (let turn = 0; turn < 12; turn++) {
    const [from, to] = [messengers[turn % 2]!, messengers[1 - (turn % 2)]!]
    const count = 1 + (turn % 3)
    const texts = Array.from({ length: count }, (_, n) => `text ${turn} ${n}`)
    const all = texts.map((text) => from.send(cardOf(people[1 - (turn % 2)]!), { type: 'text', text }))
    expect((await take(to, count)).map(textOf)).toEqual(texts)
    for (const { settled } of all) expect(await settled).toBe('delivered')
  }
  for (const messenger of messengers) await messenger.flush()
  for (const messenger of messengers) await messenger.close()
  const files = tap.lines
    .filter(({ from, text }) => from === 'client' && text.startsWith('3;'))
    .map(({ text }) => Buffer.from(text.split(';')[3]!, 'base64'))
  return { files, people, rings, seeds: [...seeds] }
}

/** Opens what the disks and the keys of both people open. @returns by key: how many files it opens */
async function steal({ files, people }: Pick<Recording, 'files' | 'people'>): Promise<Record<string, number>> {
  const opened: Record<string, number> = {}
  for (const file of files) {
    for (const person of people) {
      const { identity, secrecy, disk } = person
      const days = decodeSecrets(disk.secrets)!.days.map(({ seed }) => hybridKey(seed))
      const given = [...disk.rings].flatMap(([contact, text]) => decodeRing(contact, text).given)
      const used = given.filter(({ use }) => use === 'used').map(({ seed }) => hybridKey(seed))
      const unused = given.filter(({ use }) => use !== 'used').map(({ seed }) => hybridKey(seed))
      const found = [
        ['the SSH key', await open(identity, file)],
        ['the inbox key', await open(secrecy.inbox, file)],
        ['a recipient of the day', await openWith(days, file)],
        ['a key of the last run', await openWith(used, file)],
        ['an unused key', await openWith(unused, file)],
      ] as const
      for (const [name, text] of found) if (text !== undefined) opened[name] = (opened[name] ?? 0) + 1
    }
  }
  return opened
}

describe('a thief of the disks and of all keys, after 24 texts were read', { timeout: 120_000 }, () => {
  test('opens the first messages, to a recipient of the day, and the last run; nothing else', async () => {
    const recording = await record()
    const { files, people, seeds } = recording
    // The texts, and a receipt for each turn or more.
    expect(files.length).toBeGreaterThanOrEqual(36)
    const opened = await steal(recording)
    expect(Object.keys(opened).filter((name) => !['a recipient of the day', 'a key of the last run'].includes(name))).toEqual([])
    expect(opened['a recipient of the day']).toBeLessThanOrEqual(4)
    expect(opened['a key of the last run'] ?? 0).toBeLessThanOrEqual(4)

    // The memory of the clients: each private half that is in no ring any more was overwritten.
    const kept = new Set(
      people.flatMap(({ disk }) =>
        [...disk.rings].flatMap(([contact, text]) => decodeRing(contact, text).given.map(({ seed }) => Buffer.from(seed).toString('hex'))),
      ),
    )
    const left = seeds.filter((seed) => seed.some((byte) => byte !== 0) && !kept.has(Buffer.from(seed).toString('hex')))
    expect(seeds.length).toBeGreaterThan(24)
    expect(left).toEqual([])

    // 22 days later the recipients of the day are gone, too.
    for (const person of people) {
      const secrets = decodeSecrets(person.disk.secrets)!
      person.disk = { ...person.disk, secrets: encodeSecrets({ ...secrets, days: [] }) }
    }
    expect((await steal(recording))['a recipient of the day']).toBeUndefined()
  })

  test('opens everything if the client keeps each ring that it ever wrote', async () => {
    const { files, people, rings } = await record()
    let count = 0
    for (const file of files) {
      const keys = people.flatMap((person, n) => {
        const days = decodeSecrets(person.disk.secrets)!.days.map(({ seed }) => seed)
        const other = fingerprintOf(people[1 - n]!.key)
        const given = rings.get(person)!.flatMap((text) => decodeRing(other, text).given.map(({ seed }) => seed))
        const all = new Map([...days, ...given].map((seed) => [Buffer.from(seed).toString('hex'), seed]))
        return [...all.values()].map(hybridKey)
      })
      if ((await openWith(keys, file)) !== undefined) count++
    }
    expect(count).toBe(files.length)
  })
})
