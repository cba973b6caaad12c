/**
 * A conversation with real messages, keys and encryption, whose ciphertexts a relay records. Then a thief takes the rings,
 * the SSH keys and the recipients of the day of both people, and opens what it can.
 */
import { describe, expect, test } from 'vitest'
import { hybridKey } from '../../../src/auth/age-hybrid.ts'
import { randomBytes } from '../../../src/auth/crypto.ts'
import { generateSeedKey } from '../../../src/auth/seed.ts'
import { isBegunBy, signBegin } from '../../../src/client/format/answer.ts'
import { makeBundle, parseBundle } from '../../../src/client/format/bundle.ts'
import { open, openWith, sealTo } from '../../../src/client/format/envelope.ts'
import { fingerprintOf, makeId } from '../../../src/client/format/field.ts'
import { type Identity, identityOf } from '../../../src/client/format/identity.ts'
import { countRoom, judge, writeMessage } from '../../../src/client/format/message.ts'
import { listKeys, tagOf } from '../../../src/client/ring/keys.ts'
import { onRead, recognise } from '../../../src/client/ring/receiving.ts'
import { countFresh, onSend, type Way } from '../../../src/client/ring/sending.ts'
import { EMPTY, type Ring } from '../../../src/client/ring/state.ts'

const NOW = 1_795_000_000

class Person {
  readonly identity: Identity = identityOf(generateSeedKey())
  readonly inbox: Identity = identityOf(generateSeedKey())
  /** The recipient of the day. */
  readonly day = hybridKey(randomBytes(32))
  readonly erases: boolean
  ring: Ring = EMPTY
  last: string | undefined
  /** Seeds that a program with a mistake keeps. */
  readonly attic: Uint8Array[] = []

  constructor(erases: boolean) {
    this.erases = erases
  }

  /** Writes a text to the other person. */
  async write(to: Person, text: string, time: number): Promise<{ file: Uint8Array; way: Way }> {
    const bundle = await parseBundle(to.inbox.key, (await makeBundle(to.inbox, { encrypt: to.day.recipient, now: NOW })).text)
    const content = { type: 'text', text } as const
    const message = { id: makeId(), time, content, ...(this.last === undefined ? {} : { after: this.last }) }
    const room = countRoom(this.identity.key, message)
    const fresh = Array.from({ length: countFresh(this.ring, time, room) }, () => randomBytes(32))
    const sent = onSend(this.ring, { id: message.id, time, bundle: bundle.encrypt }, fresh)!
    const keys = fresh.map((seed) => hybridKey(seed).recipient)
    const facts = { ...message, to: fingerprintOf(to.identity.key), ...(keys.length === 0 ? {} : { keys }) }
    const begin = sent.begin ? { begin: await signBegin(this.inbox, { ...facts, from: this.identity.key }) } : {}
    const written = await writeMessage(this.identity, { ...facts, ...begin, ...(sent.left === undefined ? {} : { left: sent.left }) })
    this.ring = sent.ring
    this.last = message.id
    return { file: await sealTo(sent.to, written), way: sent.way }
  }

  /** Reads a message, and returns its text. */
  async read(from: Person, file: Uint8Array, now: number): Promise<string> {
    const tag = tagOf(file)
    if (recognise(this.ring, tag) !== undefined) return 'duplicate'
    const keys = listKeys(this.ring)
    const opened = await openWith<(typeof keys)[number] | typeof this.day>([...keys, this.day], file)
    if (opened === undefined) return 'unreadable'
    const judged = await judge(this.identity.key, opened.text, { now })
    if (judged.verdict !== 'genuine' || judged.envelope.content.type !== 'text') return judged.verdict
    const { id, time, after, left, keys: theirs, begin, content } = judged.envelope
    const isProven = begin !== undefined && (await isBegunBy(from.inbox.key, begin, judged.envelope)) === true
    const { ring, erased } = onRead(this.ring, {
      now,
      id,
      time,
      tag,
      key: 'place' in opened.key ? opened.key.place : 'daily',
      begin: isProven ? 'proven' : 'unproven',
      chained: after === undefined ? {} : { after },
      ...(left === undefined ? {} : { left }),
      ...(theirs === undefined ? {} : { keys: theirs }),
    })
    this.ring = ring
    for (const seed of erased)
      if (this.erases) seed.fill(0)
      else this.attic.push(seed)
    return content.text
  }
}

/** How many of the recorded files a thief of everything that both people have opens. */
async function steal(files: readonly Uint8Array[], ...people: readonly Person[]): Promise<number> {
  let count = 0
  for (const file of files) {
    const keys = people.flatMap(({ ring, day, attic }) => [...listKeys(ring), ...attic.map(hybridKey), day])
    const bySsh = await Promise.all(people.map(({ identity }) => open(identity, file)))
    if ((await openWith(keys, file)) !== undefined || bySsh.some((text) => text !== undefined)) count++
  }
  return count
}

/** Alice writes first; then they take turns, some texts each. */
async function talk(erases: boolean): Promise<{ files: Uint8Array[]; ways: Way[]; people: [Person, Person] }> {
  const people: [Person, Person] = [new Person(erases), new Person(erases)]
  const files: Uint8Array[] = []
  const ways: Way[] = []
  let now = NOW
  for (const [n, count] of [1, 2, 1, 3, 2, 1, 5, 1, 1, 4].entries()) {
    const [from, to] = [people[n % 2]!, people[1 - (n % 2)]!]
    for (let text = 0; text < count; text++) {
      const { file, way } = await from.write(to, `text ${n}.${text}`, now)
      files.push(file)
      ways.push(way)
      expect(await to.read(from, file, now)).toBe(`text ${n}.${text}`)
      expect(await to.read(from, file, now)).toBe('duplicate')
      now += 60
    }
  }
  return { files, ways, people }
}

describe('a thief of everything, after 21 messages were read', { timeout: 60_000 }, () => {
  test('opens only the first one, and those to a key that may be used again', async () => {
    const { files, ways, people } = await talk(true)
    expect(files).toHaveLength(21)
    expect(ways.filter((way) => way === 'one-time').length).toBeGreaterThanOrEqual(17)
    expect(ways.filter((way) => way === 'daily')).toEqual(['daily'])
    expect(ways[0]).toBe('daily')
    const kept = people.flatMap(({ ring }) => ring.given.filter(({ use }) => use === 'used'))
    expect(await steal(files, ...people)).toBeLessThanOrEqual(1 + kept.length + ways.filter((way) => way === 'again').length)
    // Once the recipients of the day are erased, nothing is left of the first message.
    expect(await steal(files.slice(0, 1), ...people)).toBe(1)
    for (const person of people) Object.assign(person, { day: hybridKey(randomBytes(32)) })
    expect(await steal(files.slice(0, 1), ...people)).toBe(0)
  })

  test('opens all of them if nothing is erased', async () => {
    const { files, people } = await talk(false)
    expect(await steal(files, ...people)).toBe(files.length)
  })
})

test('a thief of the SSH key alone, who also writes, opens nothing and gets nothing', { timeout: 60_000 }, async () => {
  const { people } = await talk(true)
  const [alice, bob] = people
  const thief = new Person(true)
  Object.assign(thief, { identity: alice.identity })
  // The thief has another inbox, and no key of the ring.
  const { file } = await thief.write(bob, 'It is me.', NOW + 10_000)
  expect(await bob.read(alice, file, NOW + 10_000)).toBe('It is me.')
  const held = bob.ring.held.map(({ recipient }) => recipient)
  for (const { recipient } of listKeys(thief.ring)) expect(held).not.toContain(recipient)
  const { file: answer } = await bob.write(alice, 'Really?', NOW + 10_060)
  expect(await steal([answer], thief)).toBe(0)
  expect(await alice.read(bob, answer, NOW + 10_060)).toBe('Really?')
})
