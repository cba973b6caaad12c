/** Messages that are encrypted anew: how often, for which report, and when a key of the contact is given up. */
import { describe, expect, test } from 'vitest'
import { fingerprintOf } from '../../../src/client/format/field.ts'
import type { OutboxEntry, OutboxTask } from '../../../src/client/delivery/entry.ts'
import type { Contact } from '../../../src/client/messenger/contact.ts'
import { Renewals } from '../../../src/client/messenger/renewals.ts'
import { tagOf } from '../../../src/client/ring/keys.ts'
import { RING } from '../../../src/client/ring/state.ts'
import { makePerson } from '../../support/people.ts'

const bob: Contact = makePerson('bob')
const to = fingerprintOf(bob.key)
const payloadOf = (text: string): Uint8Array => Buffer.from(`age-encryption.org/v1\n-> X25519 ${text}\n`)

type Entry = Pick<OutboxEntry, 'id' | 'to' | 'payload' | 'text' | 'renewals' | 'daily'>

/** Renewals of these entries, whose sealer gives each message a new payload. */
function make(entries: Entry[], { isGivenUp = false, keys = Infinity }: { isGivenUp?: boolean; keys?: number } = {}) {
  const renewed: { id: string; way: 'daily' | undefined }[] = []
  const asked: number[] = []
  const errors: unknown[] = []
  const fetched: string[] = []
  /** Happens while the bundle is fetched. */
  let meanwhile = (): void => {}
  let failure: Error | undefined
  const sealer = {
    async renew(_to: Contact, { id }: { id: string }, way?: 'daily') {
      if (failure !== undefined) throw failure
      renewed.push({ id, way })
      const payload = renewed.length > keys ? new Uint8Array(0) : payloadOf(`${id} ${renewed.length}`)
      return { payload, daily: way === 'daily', protection: 'one-time' }
    },
    async fetchBundle() {
      fetched.push('bundle')
      meanwhile()
    },
    isGivenUp(_to: Contact, copies: number) {
      asked.push(copies)
      return isGivenUp
    },
  }
  const outbox = {
    find: (id: string) => entries.find((entry) => entry.id === id),
    listTo: () => entries.slice(),
    onSealed(id: string, payload: Uint8Array) {
      entries = entries.map((entry) => (entry.id === id ? { ...entry, payload } : entry))
    },
    onRenewed(id: string, sealed: object) {
      entries = entries.map((entry) => (entry.id === id ? { ...entry, ...sealed } : entry))
    },
  }
  const context = {
    sealer,
    options: { contacts: { find: (fingerprint: string) => (fingerprint === to ? bob : undefined) } },
    emit: ({ error }: { error: unknown }) => errors.push(error),
    schedule: () => {},
  }
  const renewals = new Renewals(context as never, outbox as never, { protect: () => {}, save: () => fetched.push('saved'), post: () => '' })
  const during = (work: () => void): void => void (meanwhile = work)
  const change = (id: string, more: Partial<Entry>): void => {
    entries = entries.map((entry) => (entry.id === id ? { ...entry, ...more } : entry))
  }
  return {
    fetched,
    during,
    change,
    remove: () => void (entries = []),
    renewals,
    renewed,
    asked,
    errors,
    entries: () => entries,
    fail: (error: Error) => (failure = error),
  }
}

const entryOf = (id: string, more: Partial<Entry> = {}): Entry => ({ id, to, payload: payloadOf(id), text: Uint8Array.of(1), ...more })

describe('a message that its receiver cannot read', () => {
  test('is encrypted anew three times: to a key of the report, and then to the bundle', async () => {
    const { renewals, renewed, entries } = make([entryOf('a'), entryOf('b')])
    for (let n = 0; n < RING.renewals + 2; n++) {
      const tags = [tagOf(entries()[0]!.payload)]
      await renewals.onUnreadable(to, { time: n, id: `report ${n}`, tags })
    }
    expect(renewed).toEqual([
      { id: 'a', way: undefined },
      { id: 'a', way: 'daily' },
      { id: 'a', way: 'daily' },
    ])
    expect(entries().map((entry) => entry.renewals)).toEqual([RING.renewals, undefined])
  })

  test('keeps its count if it is encrypted anew for another reason', async () => {
    const { renewals, entries } = make([entryOf('a'), entryOf('b', { renewals: 2 })])
    await renewals.onAnew(to)
    expect(entries().map((entry) => entry.renewals)).toEqual([0, 2])
  })
})

test('keys of a contact are for the messages that wait for a bundle', async () => {
  const { renewals, renewed } = make([entryOf('a'), entryOf('b', { payload: new Uint8Array(0) })])
  await renewals.onKeys(to)
  expect(renewed).toEqual([{ id: 'b', way: undefined }])
})

test('each of many messages with keys gives them to those that still wait, and no more is encrypted than there are keys', async () => {
  const waiting = (id: string): Entry => entryOf(id, { payload: new Uint8Array(0) })
  const { renewals, renewed } = make(['a', 'b', 'c', 'd', 'e'].map(waiting), { keys: 2 })
  await Promise.all([renewals.onKeys(to), renewals.onKeys(to)])
  expect(renewed.map(({ id }) => id)).toEqual(['a', 'b', 'c', 'c'])
})

test('a message gets a newer key, too, if one before it does: its receiver erases the older ones', async () => {
  const { renewals, renewed, entries } = make([entryOf('a'), entryOf('b', { payload: new Uint8Array(0) }), entryOf('c', { renewals: 1 })])
  await renewals.onKeys(to)
  expect(renewed.map(({ id }) => id)).toEqual(['b', 'c'])
  expect(entries().map((entry) => entry.renewals)).toEqual([undefined, 0, 1])
})

test('a later message waits, too, if no newer key is left for it', async () => {
  const { renewals, renewed, entries } = make([entryOf('b', { payload: new Uint8Array(0) }), entryOf('c'), entryOf('d')], { keys: 1 })
  await renewals.onKeys(to)
  expect(renewed.map(({ id }) => id)).toEqual(['b', 'c'])
  expect(entries().map(({ payload }) => payload.length > 0)).toEqual([true, false, false])
})

test('later messages keep their keys if no key is left for the first one that waits', async () => {
  const { renewals, entries } = make([entryOf('b', { payload: new Uint8Array(0) }), entryOf('c')], { keys: 0 })
  await renewals.onKeys(to)
  expect(entries().map(({ payload }) => payload.length > 0)).toEqual([false, true])
})

test('a message is not encrypted anew once it left the outbox, or to a person who is no contact', async () => {
  const { renewals, renewed } = make([entryOf('b', { to: 'SHA256:x' })])
  expect([await renewals.renew('b'), await renewals.renew('c')]).toEqual([false, false])
  expect(renewed).toEqual([])
})

test('a message whose renewal fails stays as it is, and the program is told', async () => {
  const { renewals, entries, errors, fail } = make([entryOf('a')])
  const before = entries()[0]
  const error = new Error('the disk is full')
  fail(error)
  expect(await renewals.renew('a')).toBe(false)
  expect([entries()[0], errors]).toEqual([before, [error]])
})

describe('the key of a message is given up', () => {
  const task = (more: object): Extract<OutboxTask, { kind: 'send' }> =>
    ({ kind: 'send', relay: 'x', id: 'a', to, payload: payloadOf('a'), copies: RING.resends + 1, ...more }) as never

  test('only after enough copies, of which the first is no repetition', () => {
    const { renewals, asked } = make([], { isGivenUp: true })
    expect(renewals.isGivenUp(task({ copies: RING.resends }))).toBe(false)
    expect(renewals.isGivenUp(task({}))).toBe(true)
    expect(asked).toEqual([RING.resends])
    expect([9, 10].map((copies) => renewals.isGivenUp(task({ copies, daily: true })))).toEqual([false, true])
  })

  test('not if the message waits for a bundle, the receiver is no contact, or the contact was heard', () => {
    const { renewals } = make([], { isGivenUp: true })
    expect(renewals.isGivenUp(task({ payload: new Uint8Array(0) }))).toBe(false)
    expect(renewals.isGivenUp(task({ to: 'SHA256:x' }))).toBe(false)
    expect(make([]).renewals.isGivenUp(task({}))).toBe(false)
  })
})

describe('a message that gets its key on the way to the relay', () => {
  const waiting = (more: Partial<Entry> = {}): Entry => entryOf('a', { payload: new Uint8Array(0), daily: true, ...more })
  const fetch = async (): Promise<undefined> => undefined

  test('is encrypted to the bundle, and stored', async () => {
    const { renewals, entries, fetched, renewed } = make([waiting()])
    const payload = await renewals.sealLate('a', fetch)
    expect(payload).toEqual(payloadOf('a 1'))
    expect(entries()[0]!.payload).toEqual(payload)
    expect([fetched, renewed]).toEqual([['bundle', 'saved'], [{ id: 'a', way: 'daily' }]])
  })

  test('keeps the key that it got meanwhile', async () => {
    const { renewals, during, change, renewed } = make([waiting()])
    during(() => change('a', { payload: payloadOf('other') }))
    expect(await renewals.sealLate('a', fetch)).toEqual(payloadOf('other'))
    expect(renewed).toEqual([])
  })

  test.each<[string, Entry, (made: ReturnType<typeof make>) => void]>([
    ['is gone meanwhile', waiting(), ({ during, remove }) => during(remove)],
    ['goes to an address now', waiting(), ({ during, change }) => during(() => change('a', { daily: undefined as never }))],
    ['has no text', waiting({ text: undefined as never }), () => {}],
    ['is for a person who is no contact', waiting({ to: 'SHA256:x' }), () => {}],
  ])('does not go out if it %s', async (_why, entry, disturb) => {
    const made = make([entry])
    disturb(made)
    await expect(made.renewals.sealLate('a', fetch)).rejects.toMatchObject({ code: 'no-bundle' })
    expect(made.renewed).toEqual([])
  })

  test('does not go out if there is no key for it, or it cannot be encrypted, which the program is told', async () => {
    const none = make([waiting()], { keys: 0 })
    await expect(none.renewals.sealLate('a', fetch)).rejects.toMatchObject({ code: 'no-bundle' })
    expect(none.entries()[0]!.payload).toHaveLength(0)
    const broken = make([waiting()])
    const error = new Error('the disk is full')
    broken.fail(error)
    await expect(broken.renewals.sealLate('a', fetch)).rejects.toMatchObject({ code: 'no-bundle' })
    expect(broken.errors).toEqual([error])
  })
})
