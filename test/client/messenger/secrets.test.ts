/** The user's secrets at relays: their text, their ages, and the bundle that a client publishes. */
import { describe, expect, test } from 'vitest'
import { hybridKey } from '../../../src/auth/age-hybrid.ts'
import { randomBytes } from '../../../src/auth/crypto.ts'
import { ANSWER } from '../../../src/client/format/answer.ts'
import { parseBundle } from '../../../src/client/format/bundle.ts'
import { fingerprintOf, makeId } from '../../../src/client/format/field.ts'
import type { Context } from '../../../src/client/messenger/context.ts'
import { Publisher } from '../../../src/client/messenger/publisher.ts'
import {
  decodeSecrets,
  encodeSecrets,
  leave,
  makeAddress,
  onPublished,
  SECRETS,
  type State,
  tick,
  today,
} from '../../../src/client/messenger/secrets.ts'
import { Vault } from '../../../src/client/messenger/vault.ts'
import { makePerson } from '../../support/people.ts'
import { makeSecret } from '../../support/secret.ts'

const DAY = 86_400
const NOW = 1_795_000_000
const EMPTY = decodeSecrets(undefined)!
const draw = (): Uint8Array => randomBytes(32)

/** A client that published each day, until NOW. */
function publish(days: number): State {
  let state = EMPTY
  for (let day = days - 1; day >= 0; day--) state = onPublished(today(state, NOW - day * DAY, draw).state, NOW - day * DAY)
  return state
}

test('the text is read as it was written, and not if a byte is missing', () => {
  const { key } = makePerson('bob')
  const contact = fingerprintOf(key)
  const recipient = hybridKey(randomBytes(32)).recipient
  const state: State = {
    addresses: [
      makeAddress(contact, 'relay.onion', randomBytes(32), NOW),
      { ...makeAddress(contact, 'a.onion', randomBytes(32), NOW), replaced: NOW, mark: NOW },
    ],
    days: publish(3).days,
    bundles: new Map([[contact, randomBytes(100)]]),
    strangers: new Map([
      [
        contact,
        { id: makeId(), time: NOW, keys: [recipient], address: [{ fingerprint: contact, relay: 'relay.onion' }], begin: randomBytes(64) },
      ],
    ]),
  }
  const text = encodeSecrets(state)
  expect(Buffer.from(encodeSecrets(decodeSecrets(text)!))).toEqual(Buffer.from(text))
  for (const cut of [0, 1, 20, text.length - 1]) expect(decodeSecrets(text.subarray(0, cut))).toBeUndefined()
})

test('the text of an earlier version, which said when each recipient was published, is read', () => {
  const { days } = tick(publish(2), NOW + 8 * DAY)
  expect(days.map(({ former, mark }) => [former !== undefined, mark !== undefined])).toEqual([
    [true, true],
    [false, false],
  ])
  const text = Buffer.from(encodeSecrets({ ...EMPTY, days })).toString()
  const earlier = text.replace(/^day: (\d+)/gm, 'day: $1 1795000000')
  expect(earlier).not.toBe(text)
  expect(decodeSecrets(Buffer.from(earlier))!.days).toEqual(decodeSecrets(Buffer.from(text))!.days)
  const times = (all: State['days']): unknown => all.map(({ made, former, mark }) => [made, former, mark])
  expect(times(decodeSecrets(Buffer.from(text))!.days)).toEqual(times(days))
})

describe('the part of a text about a stranger', () => {
  const stranger = (count: number): State => {
    const mailbox = { fingerprint: fingerprintOf(makePerson('bob').key), relay: 'relay.onion' }
    const address = Array.from({ length: count }, () => mailbox)
    return { ...EMPTY, strangers: new Map([[mailbox.fingerprint, { id: makeId(), time: NOW, keys: [], address }]]) }
  }
  const textOf = (state: State): string => Buffer.from(encodeSecrets(state)).toString()
  const isRead = (text: string): boolean => decodeSecrets(new Uint8Array(Buffer.from(text))) !== undefined

  test('is read with the most mailboxes, and refused with more', () => {
    expect([0, 1, ANSWER.mailboxes, ANSWER.mailboxes + 1].map((count) => isRead(textOf(stranger(count))))).toEqual([
      true,
      true,
      true,
      false,
    ])
  })

  test.each<[what: string, damage: (text: string) => string]>([
    ['a mailbox without a relay', (text) => text.replace(' relay.onion', '')],
    ['a relay with a control character', (text) => text.replace('relay.onion', 'relay\u{7f}onion')],
    ['a relay of 81 characters', (text) => text.replace('relay.onion', 'r'.repeat(81))],
    ['a mailbox that is no fingerprint', (text) => text.replace(/SHA256:(\S+) relay/, 'SHA1:$1 relay')],
    ['more keys than it has words', (text) => text.replace(' - 0 ', ' - 9 ')],
    ['a malformed id', (text) => text.replace(/(stranger: \S+ )\S+/, '$1x')],
  ])('is refused with %s', (_what, damage) => {
    const text = textOf(stranger(1))
    const damaged = damage(text)
    expect([damaged === text, isRead(text), isRead(damaged)]).toEqual([false, true, false])
  })
})

describe('a state that nothing changes', () => {
  test('stays the same object, so that the client does not write it again', () => {
    const state = publish(3)
    expect(onPublished(state, NOW + 60)).toBe(state)
    expect(tick(state, NOW + 60)).toBe(state)
    expect(onPublished(EMPTY, NOW)).toBe(EMPTY)
    const address = makeAddress('SHA256:x', 'a.onion', randomBytes(32), NOW)
    const stays = { ...state, addresses: [address] }
    expect(leave(stays, ['a.onion'], NOW)).toBe(stays)
    expect(leave(stays, [], NOW)).toBe(stays)
    expect(tick(stays, NOW)).toBe(stays)
  })
})

describe('a recipient of the day', () => {
  test('is drawn anew at midnight UTC, and only then', () => {
    const midnight = Math.floor(NOW / DAY) * DAY
    const first = today(EMPTY, midnight, draw)
    const last = today(first.state, midnight + DAY - 1, draw)
    expect(last.state).toBe(first.state)
    expect(last.key.recipient).toBe(first.key.recipient)
    const next = today(first.state, midnight + DAY, draw)
    expect(next.state.days.map(({ made }) => made)).toEqual([midnight, midnight + DAY])
    expect(next.key.recipient).not.toBe(first.key.recipient)
  })

  test('is held until a relay has the next one', () => {
    const midnight = Math.floor(NOW / DAY) * DAY
    const one = onPublished(today(EMPTY, midnight, draw).state, midnight)
    const two = today(one, midnight + DAY, draw).state
    expect(two.days.map(({ former }) => former)).toEqual([undefined, undefined])
    expect(onPublished(two, midnight + DAY + 5).days.map(({ former }) => former)).toEqual([midnight + DAY + 5, undefined])
  })

  test('opens until eight days after the next one was published, and a day longer', () => {
    let state = publish(3)
    const count = (): number => state.days.length
    expect(count()).toBe(3)
    for (const [days, left] of [
      [7, 3],
      [8, 2],
      [8.5, 2],
      [9.5, 1],
    ] as const) {
      state = tick(state, NOW + days * DAY)
      expect([days, count()]).toEqual([days, left])
    }
    expect(tick(tick(state, NOW + SECRETS.life), NOW + SECRETS.life + DAY).days).toEqual([])
  })

  test('is not erased because the clock was twenty days ahead for an hour', () => {
    const before = publish(2)
    const wrong = NOW + 20 * DAY
    const ahead = onPublished(today(tick(before, wrong), wrong, draw).state, wrong)
    let state = tick(ahead, NOW + 3_600)
    for (let hour = 1; hour < 7 * 24; hour++) state = tick(state, NOW + hour * 3_600)
    for (const { seed } of before.days.slice(-1)) expect(state.days.some((day) => day.seed === seed)).toBe(true)
  })
})

describe('a client whose state was restored from a backup', () => {
  test('tells of the bundle that it did not make, and publishes its own on the next day', async () => {
    const bob = makeSecret('bob', ['relay.onion'])
    const mailbox = fingerprintOf(bob.inbox!)
    let clock = NOW
    let held: Uint8Array | undefined
    const client = {
      fetch: async () => held,
      publish: async (text: Uint8Array | undefined) => {
        held = text
        return 14 * DAY
      },
    }
    const events: string[] = []
    const start = async (): Promise<Publisher> => {
      const vault = new Vault(bob.secrecy.secrets, () => {})
      await vault.load()
      return new Publisher({
        options: { identity: bob.identity, relays: [], contacts: { find: () => undefined }, secrecy: bob.secrecy },
        vault,
        clock: { now: () => clock * 1_000, after: () => () => {} },
        random: () => 0,
        emit: ({ kind }: { kind: string }) => events.push(kind),
      } as unknown as Context)
    }
    const relay = { relay: 'relay.onion', mailbox, client }
    await (await start()).publish(relay)
    const backup = bob.disk
    clock += 7 * DAY
    await (await start()).publish(relay)
    expect(events).toEqual([])
    const lost = (await parseBundle(bob.inbox!, held!)).encrypt
    bob.disk = backup
    const next = await (await start()).publish(relay)
    expect(events).toEqual(['other-bundle'])
    expect((await parseBundle(bob.inbox!, held!)).encrypt).toBe(lost)
    clock = next / 1_000
    await (await start()).publish(relay)
    expect(events).toEqual(['other-bundle', 'other-bundle'])
    const { encrypt, time } = await parseBundle(bob.inbox!, held!)
    expect(encrypt).not.toBe(lost)
    expect(time).toBe(Math.floor(clock / DAY) * DAY)
    // Its private half was stored before.
    expect(decodeSecrets(bob.disk.secrets)!.days.map(({ seed }) => hybridKey(seed).recipient)).toContain(encrypt)
  })
})
