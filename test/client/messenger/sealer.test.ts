/** The key that protects a message, when it is written and when it is encrypted anew. */
import { describe, expect, test } from 'vitest'
import { hybridKey } from '../../../src/auth/age-hybrid.ts'
import { randomBytes } from '../../../src/auth/crypto.ts'
import { generateSeedKey } from '../../../src/auth/seed.ts'
import { makeBundle } from '../../../src/client/format/bundle.ts'
import { fingerprintOf, makeId } from '../../../src/client/format/field.ts'
import { identityOf } from '../../../src/client/format/identity.ts'
import type { Contact } from '../../../src/client/messenger/contact.ts'
import { Rings } from '../../../src/client/messenger/rings.ts'
import { Sealer } from '../../../src/client/messenger/sealer.ts'
import { Vault } from '../../../src/client/messenger/vault.ts'
import { EMPTY, type Held } from '../../../src/client/ring/state.ts'
import { makePerson } from '../../support/people.ts'
import { cardOf, makeSecret } from '../../support/secret.ts'

const NOW = 1_795_000_000
const RELAY = 'localhost:1'
const held = (): Held => ({ place: { time: NOW, id: makeId(), index: 0 }, recipient: hybridKey(randomBytes(32)).recipient })

const MAILBOX = `SHA256:${'A'.repeat(43)}`

/** Alice's sealer, with so many keys of the contact, who reads at an address if there are any. */
async function make(to: Contact, keys: number, { fingerprint = MAILBOX, members = [] as readonly string[] } = {}) {
  const alice = makeSecret('alice', [RELAY], { members })
  const rings = new Rings(alice.secrecy.rings)
  const address = { time: NOW, mailboxes: [{ fingerprint, relay: RELAY }] }
  if (keys > 0) {
    const ring = { ...EMPTY, known: true, held: Array.from({ length: keys }, held), address }
    await rings.change(fingerprintOf(to.key), () => ({ ring, value: undefined }))
  }
  const { identity, secrecy } = alice
  return new Sealer({
    identity,
    secrecy,
    rings,
    vault: new Vault(secrecy.secrets, () => {}),
    relays: () => [RELAY],
    now: () => NOW * 1_000,
  })
}

describe('a message is protected by', () => {
  const withInbox = cardOf(makeSecret('bob', [RELAY]))
  const withoutInbox = makePerson('bob', RELAY)

  test.each([
    ['a one-time key, if the contact gave keys', withInbox, 2, undefined, 'one-time', false],
    ['the recipient of the day, if the contact has an inbox and gave no keys', withInbox, 0, undefined, 'daily', true],
    ['the recipient of the day, if it must go to the inbox', withInbox, 2, 'daily', 'daily', true],
    ['the contact’s own key, if the contact has no inbox and gave no keys', withoutInbox, 0, undefined, 'key', false],
    ['the contact’s own key, too, if it must go to the inbox', withoutInbox, 0, 'daily', 'key', false],
  ] as const)('%s', async (_name, to, keys, way, protection, daily) => {
    const sealer = await make(to, keys)
    const draft = { id: makeId(), time: NOW, content: { type: 'text', text: 'hello' } } as const
    const sealed = await sealer.write(to, draft, way)
    const { text: _, left: __, ...written } = sealed
    expect(written).toMatchObject({ protection, daily })
    const renewed = await sealer.renew(to, { id: draft.id, ...sealed }, way)
    expect(renewed).toMatchObject({ protection, daily })
    // Without the bundle of the inbox, the recipient of the day is not known yet.
    expect([written.payload.length > 0, renewed!.payload.length > 0]).toEqual([!daily, !daily])
  })
})

test('a message of an earlier version, which stored no text of it, goes to the inbox as it is', async () => {
  const sealer = await make(cardOf(makeSecret('bob', [RELAY])), 2)
  const message = { id: makeId(), payload: Uint8Array.of(1) }
  expect(await sealer.renew(makePerson('bob', RELAY), message, 'daily')).toEqual({
    payload: message.payload,
    daily: true,
    protection: 'key',
  })
  expect(await sealer.renew(makePerson('bob', RELAY), message)).toBeUndefined()
})

test('each mailbox has one route, also if an address names the mailbox of a key at a relay that knows its members', async () => {
  const to = makePerson('bob', RELAY)
  const fingerprint = fingerprintOf(to.key)
  const members = [RELAY]
  const routes = async (keys: number, more: Parameters<typeof make>[2]): Promise<readonly string[]> =>
    (await make(to, keys, more)).routesOf(to, false)
  expect(await routes(0, { members })).toEqual([RELAY])
  expect(await routes(1, { members, fingerprint })).toEqual([RELAY])
  expect(await routes(1, { members })).toEqual([`${RELAY} ${MAILBOX}`])
  expect(await routes(0, {})).toEqual([`${RELAY} ${fingerprint}`])
  expect(await routes(1, { fingerprint })).toEqual([`${RELAY} ${fingerprint}`])
})

describe('the bundle of an inbox', () => {
  const DAY = 86_400
  const inbox = identityOf(generateSeedKey())
  const encrypt = hybridKey(randomBytes(32)).recipient
  const to: Contact = { ...makePerson('bob', RELAY), inbox: inbox.key }
  const bundleOf = (now: number): ReturnType<typeof makeBundle> => makeBundle(inbox, { encrypt, now })

  function stand() {
    const { identity, secrecy } = makeSecret('alice', [RELAY])
    const vault = new Vault(secrecy.secrets, () => {})
    const place = { now: NOW * 1_000, fetches: 0 }
    const sealer = new Sealer({ identity, secrecy, rings: new Rings(secrecy.rings), vault, relays: () => [RELAY], now: () => place.now })
    const fetch = async (served: Uint8Array | undefined): Promise<Uint8Array | undefined> => {
      const bundle = await sealer.fetchBundle(to, async () => {
        place.fetches++
        return served
      })
      return bundle?.text
    }
    return { vault, place, fetch, stored: () => vault.state.bundles.get(fingerprintOf(inbox.key)) }
  }

  test('that is the newest one is stored, so that a relay cannot serve an older one', async () => {
    const { vault, place, fetch, stored } = stand()
    const [older, newer] = [(await bundleOf(NOW - DAY)).text, (await bundleOf(NOW)).text]
    for (const text of [older, newer]) {
      expect(await fetch(text)).toEqual(text)
      expect(stored()).toEqual(text)
      place.now += 3_600_001
    }
    let writes = 0
    const { change } = vault
    vault.change = (work) => {
      writes++
      return change.call(vault, work) as never
    }
    expect(await fetch(older)).toEqual(newer)
    expect(writes).toBe(0)
    place.now += 3_600_001
    // A relay that restarted has none.
    expect(await fetch(undefined)).toBeUndefined()
  })

  test('is fetched once in an hour, or when the clock shows that it is over', async () => {
    const { place, fetch } = stand()
    const first = (await bundleOf(NOW - 13 * DAY)).text
    const next = (await bundleOf(NOW + DAY)).text
    expect(await fetch(first)).toEqual(first)
    place.now += 3_600_000
    expect(await fetch(next)).toEqual(first)
    expect(place.fetches).toBe(1)
    place.now += 1
    expect(await fetch(next)).toEqual(next)
    expect(place.fetches).toBe(2)
    // The clock was set forward, and back.
    place.now += 60 * DAY * 1_000
    await expect(fetch(next)).rejects.toMatchObject({ code: 'old-bundle' })
    place.now -= 60 * DAY * 1_000
    expect(await fetch(undefined)).toEqual(next)
    expect(place.fetches).toBe(3)
  })
})

test('the keys of a first message become those of the contact, and are those of a stranger no more', async () => {
  const bob = makePerson('bob', RELAY)
  const contact = fingerprintOf(bob.key)
  const { identity, secrecy } = makeSecret('alice', [RELAY])
  const vault = new Vault(secrecy.secrets, () => {})
  const rings = new Rings(secrecy.rings)
  const { recipient } = hybridKey(randomBytes(32))
  const first = { id: makeId(), time: NOW, keys: [recipient], address: [{ fingerprint: MAILBOX, relay: RELAY }] }
  await vault.change((state) => ({ ...state, strangers: new Map([[contact, first]]) }))
  const sealer = new Sealer({ identity, secrecy, rings, vault, relays: () => [RELAY], now: () => NOW * 1_000 })
  await sealer.adopt(bob)
  expect(rings.peek(contact)).toMatchObject({ held: [{ recipient }], address: { mailboxes: [{ fingerprint: MAILBOX, relay: RELAY }] } })
  expect(vault.state.strangers.size).toBe(0)
  // Without keys of a stranger there is nothing to take.
  const ring = rings.peek(contact)
  await sealer.adopt(bob)
  expect(rings.peek(contact)).toBe(ring)
})
