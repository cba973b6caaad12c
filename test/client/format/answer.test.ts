/** The headers that say how to answer a message (docs/protocol.md, section 13). */
import { bech32 } from '@scure/base'
import { beforeEach, describe, expect, test } from 'vitest'
import { hybridKey } from '../../../src/auth/age-hybrid.ts'
import { generateSeedKey } from '../../../src/auth/seed.ts'
import { type Answer, isBegunBy, type Mailbox, signBegin } from '../../../src/client/format/answer.ts'
import { openWith, sealTo } from '../../../src/client/format/envelope.ts'
import { encodeText, fingerprintOf, formatKey, formatTime, makeId } from '../../../src/client/format/field.ts'
import { identityOf } from '../../../src/client/format/identity.ts'
import { countRoom, encodeMessage, judge, openMessage, PADDED_BYTES, writeMessage } from '../../../src/client/format/message.ts'
import { keygenVerifies, makeFolder, needs } from '../../auth/openssh.ts'
import { KINDS, makePerson, NOW, ONION, type Person, signText } from '../people.ts'

const [alice, bob] = [await makePerson('ed25519'), await makePerson('ed25519')]
const inbox = identityOf(generateSeedKey())
const keys = [1, 2, 3].map((n) => hybridKey(new Uint8Array(32).fill(n)))
const [one, two, three] = keys.map(({ recipient }) => recipient) as [string, string, string]
const classic = (await makePerson('ecdsa256')).to.recipient!
const FINGERPRINTS = [1, 2, 3, 4, 5].map((n) => `SHA256:${Buffer.alloc(32, n).toString('base64').slice(0, 43)}`)
const RELAYS = [ONION, `${ONION}:3309`, 'localhost', 'localhost:3309', 'localhost:3310']
const address: readonly Mailbox[] = FINGERPRINTS.slice(0, 4).map((fingerprint, n) => ({ fingerprint, relay: RELAYS[n]! }))
const content = { type: 'text', text: 'Hello.' } as const
const facts = { id: 'AAAAAAAAAAAAAAAAAAAAAA', time: NOW, content }

/** Opens a message with these headers, written by us. */
async function pass(answer: Answer): Promise<Answer> {
  const payload = await encodeMessage(alice.identity, { ...facts, ...answer, to: bob.to })
  const opened = await openMessage(bob.identity, payload, { now: NOW })
  expect(opened.verdict).toBe('genuine')
  if (!('envelope' in opened)) throw new TypeError()
  const { from: _, to: __, id: ___, time: ____, content: _____, ...others } = opened.envelope
  return others
}

/** The verdict about a message with any headers. */
async function judgeHeaders(...headers: readonly string[]): Promise<string> {
  const header = ['type: text', `from: ${formatKey(alice.identity.key)}`, `to: ${fingerprintOf(bob.identity.key)}`]
  const lines = ['asfaleia-message/1', ...header, `id: ${facts.id}`, `time: ${formatTime(NOW)}`, ...headers, '', 'Hello.', '']
  return (await judge(bob.identity.key, await signText(alice, 'asfaleia-message', lines.join('\n')), { now: NOW })).verdict
}

const OWN = fingerprintOf(alice.identity.key)

describe('the headers', () => {
  test.each<[string, Answer]>([
    ['none', {}],
    ['one key', { keys: [one], left: 0 }],
    ['three keys, one of them X25519', { keys: [one, classic, two], left: 64 }],
    ['a beginning', { keys: [one], begin: new Uint8Array(64).fill(7), address: address.slice(0, 1) }],
    ['four mailboxes', { address, left: 3 }],
    ['the mailbox of the own key at two relays', { address: RELAYS.slice(0, 2).map((relay) => ({ fingerprint: OWN, relay })) }],
  ])('arrive as they were sent: %s', async (_name, answer) => {
    expect(await pass(answer)).toEqual(answer)
  })

  const flip = (text: string): string => text.slice(0, -1) + (text.endsWith('q') ? 'p' : 'q')
  const malformed = bech32.encode('age1pq', bech32.toWords(new Uint8Array(1_216).fill(255)), false)
  test.each([
    ['no key', 'keys: '],
    ['four keys', `keys: ${[one, two, three, classic].join(' ')}`],
    ['a thousand keys', `keys: ${Array.from({ length: 100 }, () => classic).join(' ')}`],
    ['a key twice', `keys: ${one} ${one}`],
    ['two spaces', `keys: ${classic}  ${one}`],
    ['a space at the end', `keys: ${classic} `],
    ['a wrong checksum', `keys: ${flip(one)}`],
    ['an upper-case key', `keys: ${classic.toUpperCase()}`],
    ['a key of another kind', 'keys: age1yubikey1qwt50d05nh5vutpdzmlg5wn80xq5negm4uj9ghv0snvdd3yysf5yw3rhl3t'],
    ['an SSH key', `keys: ${formatKey(alice.identity.key)}`],
    ['a key that no one can encrypt to', `keys: ${malformed}`],
    ['an X25519 key of small order', `keys: ${bech32.encodeFromBytes('age', new Uint8Array(32))}`],
    ['left of 10^9', 'left: 1000000000'],
    ['left of 65', 'left: 65'],
    ['left below zero', 'left: -1'],
    ['left with a leading zero', 'left: 01'],
    ['left without a number', 'left: none'],
    ['a short begin', `begin: ${'A'.repeat(85)}`],
    ['a long begin', `begin: ${'A'.repeat(87)}`],
    ['a padded begin', `begin: ${'A'.repeat(86)}==`],
    ['a begin with stray bits', `begin: ${'A'.repeat(85)}B`],
    ['a mailbox without a relay', `address: ${FINGERPRINTS[0]}`],
    ['five mailboxes', `address: ${FINGERPRINTS.map((each, n) => `${each} ${RELAYS[n]}`).join(' ')}`],
    ['a relay twice', `address: ${FINGERPRINTS[0]} ${ONION} ${FINGERPRINTS[1]} ${ONION}`],
    ['a relay twice, with its port', `address: ${FINGERPRINTS[0]} ${ONION} ${FINGERPRINTS[1]} ${ONION}:3308`],
    ['a fingerprint twice', `address: ${FINGERPRINTS[0]} ${ONION} ${FINGERPRINTS[0]} localhost`],
    ['a relay that no card may have', `address: ${FINGERPRINTS[0]} example.org`],
    ['a relay in upper case', `address: ${FINGERPRINTS[0]} ${ONION.toUpperCase()}`],
    ['a malformed fingerprint', `address: ${FINGERPRINTS[0]!.slice(0, -1)} ${ONION}`],
    ['a header twice', 'left: 1\nleft: 1'],
  ])('make a message malformed if they have %s', async (_name, header) => {
    expect(await judgeHeaders(header)).toBe('malformed')
  })

  test('are written only if a receiver would accept them', async () => {
    for (const answer of [{ keys: [] }, { keys: [one, one] }, { left: 65 }, { begin: new Uint8Array(63) }, { address: [] }])
      await expect(pass(answer)).rejects.toThrow(TypeError)
  })
})

describe('begin', () => {
  const beginning = { from: alice.identity.key, to: fingerprintOf(bob.identity.key), id: facts.id, time: NOW, keys: [one], address }

  test('is a good signature by the inbox key alone, over all six lines', async () => {
    const begin = await signBegin(inbox, beginning)
    expect(begin).toHaveLength(64)
    expect(await isBegunBy(inbox.key, begin, beginning)).toBe(true)
    const other = generateSeedKey().public
    expect(await isBegunBy(other, begin, beginning)).toBe(false)
    for (const change of [
      { from: other },
      { to: fingerprintOf(other) },
      { id: makeId() },
      { time: NOW + 1 },
      { keys: [two] },
      { keys: [one, two] },
      { address: address.slice(1) },
    ])
      expect(await isBegunBy(inbox.key, begin, { ...beginning, ...change })).toBe(false)
    const { keys: _, ...bare } = beginning
    expect(await isBegunBy(inbox.key, begin, bare)).toBe(false)
    expect(await isBegunBy(inbox.key, await signBegin(inbox, bare), bare)).toBe(true)
  })

  test('is not made by another type of key', async () => {
    const { identity } = await makePerson('rsa2048')
    await expect(signBegin(identity, beginning)).rejects.toThrow(TypeError)
    expect(await isBegunBy(identity.key, new Uint8Array(64), beginning)).toBe(false)
  })
})

describe('begin and ssh-keygen', () => {
  beforeEach(needs('ssh-keygen'))

  test('begin is what ssh-keygen signs over the lines of the header', async () => {
    const beginning = { from: alice.identity.key, to: fingerprintOf(bob.identity.key), id: facts.id, time: NOW, keys: [one], address }
    const message = { ...facts, to: fingerprintOf(bob.identity.key), keys: [one], address, begin: await signBegin(inbox, beginning) }
    const text = Buffer.from(await writeMessage(alice.identity, message)).toString('latin1')
    const wanted = ['from', 'to', 'id', 'time', 'keys', 'address'].map((name) => new RegExp(`^${name}: .*\n`, 'm').exec(text)![0])
    const blob = await inbox.sign('asfaleia-begin', encodeText(wanted.join('')))
    expect(Buffer.from(blob.subarray(-64)).equals(Buffer.from(message.begin))).toBe(true)
    const line = formatKey(inbox.key)
    expect(keygenVerifies(makeFolder(), { line, blob, namespace: 'asfaleia-begin', message: encodeText(wanted.join('')) })).toBe(true)
  })
})

describe('room for keys', () => {
  test('a text has the sizes of section 3.1 with one key', async () => {
    // From the ed25519 key, without `after`: 4,096, 8,192 and 22,528 bytes in all.
    for (const [bytes, size] of [
      [1_300, 4_096],
      [5_400, 8_192],
      [19_700, 22_528],
    ] as const) {
      const message = { ...facts, content: { type: 'text', text: 'x'.repeat(bytes) } as const, keys: [one], left: 12 }
      const text = await writeMessage(alice.identity, { ...message, to: fingerprintOf(bob.identity.key), after: makeId() })
      expect(text).toHaveLength(size)
    }
  })

  test.each(KINDS)(
    'as many as countRoom says fit a message of any length, and one more does not: %s',
    { timeout: 60_000 },
    async (kind) => {
      const person: Person = await makePerson(kind)
      const counts = new Set<number>()
      for (const length of [0, 13_000, 15_500, 17_500, 19_500, 21_000]) {
        const message = { ...facts, content: { type: 'text', text: 'x'.repeat(length) } as const }
        const room = countRoom(person.identity.key, message)
        counts.add(room)
        const write = (count: number): Promise<Uint8Array> =>
          writeMessage(person.identity, {
            ...message,
            to: fingerprintOf(bob.identity.key),
            keys: [one, two, three].slice(0, count),
            left: 64,
            begin: new Uint8Array(64),
          })
        if (room > 0) expect((await write(room)).length).toBeLessThanOrEqual(PADDED_BYTES[2])
      }
      expect(counts).toContain(3)
      expect(counts).toContain(0)
    },
  )

  test('a part of a file leaves room for a key, with the key of any type', async () => {
    const part = { type: 'file', file: makeId(), name: 'x'.repeat(255), total: 16_384, hash: 'a'.repeat(64), part: 1 } as const
    for (const kind of KINDS) {
      const { identity } = await makePerson(kind)
      const room = countRoom(identity.key, { ...facts, after: makeId(), content: { ...part, bytes: new Uint8Array(16_384) } })
      expect([kind, room > 0]).toEqual([kind, true])
    }
  })
})

test('a text is encrypted several times to one-time keys, and each key opens its own file', async () => {
  const text = await writeMessage(alice.identity, { ...facts, to: fingerprintOf(bob.identity.key), keys: [one], left: 1 })
  for (const [index, recipient] of [one, two, three].entries()) {
    const file = await sealTo(recipient, text)
    const opened = await openWith(keys, file)
    expect(opened?.key).toBe(keys[index])
    expect((await judge(bob.identity.key, opened!.text, { now: NOW })).verdict).toBe('genuine')
    expect(
      await openWith(
        keys.filter((_, n) => n !== index),
        file,
      ),
    ).toBeUndefined()
  }
})

test('a report of unreadable messages has 1 to 64 different tags', async () => {
  const tags = Array.from({ length: 65 }, makeId)
  const send = async (list: readonly string[]): Promise<object> => {
    const payload = await encodeMessage(alice.identity, { ...facts, to: bob.to, content: { type: 'unreadable', tags: list } })
    return openMessage(bob.identity, payload, { now: NOW })
  }
  for (const list of [tags.slice(0, 1), tags.slice(0, 64)])
    expect(await send(list)).toMatchObject({ verdict: 'genuine', envelope: { content: { type: 'unreadable', tags: list } } })
  for (const list of [[], tags, [tags[0]!, tags[0]!], ['short'], [`${tags[0]}\n`]]) await expect(send(list)).rejects.toThrow(TypeError)
})
