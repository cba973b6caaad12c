/** The page's state after each input. */
import { describe, expect, it } from 'vitest'
import {
  type Arrival,
  conversationOf,
  type Entry,
  initialState,
  protectionOf,
  type State,
  STRANGERS,
  unconfirmedOf,
  unseenOf,
  withArrival,
  withDelivery,
  withNotice,
  withOwn,
  withPeople,
  withRelay,
  withSeen,
} from '../../src/page/model.ts'

const BOB = 'SHA256:bob'
const PLAIN: Arrival = { conversation: BOB, author: 'Bob', fingerprint: BOB, id: 'a', at: 1_000, verdict: 'genuine', text: 'hi' }

const begin = (): State =>
  withPeople(initialState({ name: 'Alice', link: '', fingerprint: 'SHA256:alice', relays: [] }), [
    { id: BOB, kind: 'contact', name: 'Bob', verified: true, blocked: false },
  ])
const arrive = (...arrivals: readonly Partial<Arrival>[]): State =>
  arrivals.reduce<State>((state, each) => withArrival(state, { ...PLAIN, ...each }), begin())
const entriesOf = (state: State, id = BOB): readonly Entry[] => conversationOf(state, id)!.entries
const last = (state: State, id = BOB): Entry => entriesOf(state, id).at(-1)!

describe('a message that arrives', () => {
  it('has nothing but the facts that came with it', () => {
    const { key, ...entry } = last(arrive({}))
    const facts = { id: 'a', fingerprint: BOB, at: 1_000, verdict: 'genuine', text: 'hi', author: 'Bob' }
    expect(entry).toStrictEqual({ ...facts, from: 'them', deliveries: [], unseen: true })
    expect(key).toBe(1)
  })

  it.each([{ gap: true }, { late: true }, { card: 'asfaleia:card/1' }, { expires: 60 }, { protection: 'daily' }] as const)(
    'keeps %j',
    (fact) => {
      expect(last(arrive(fact))).toMatchObject(fact)
    },
  )

  it('quotes the message that it replies to', () => {
    expect(last(arrive({}, { id: 'b', replyTo: 'a' })).reply).toBe('hi')
    expect(last(arrive({ id: 'b', replyTo: 'a' })).reply).toBe('(a message that is not shown here)')
    const long = last(arrive({ text: `one\n${'x'.repeat(200)}` }, { id: 'b', replyTo: 'a' })).reply
    expect(long).toBe(`one ${'x'.repeat(116)}…`)
  })

  it('changes or removes an earlier one of the same sender only', () => {
    const edited = arrive({}, { id: 'b', text: 'hello', change: { of: 'a', to: 'edited' } })
    expect(entriesOf(edited)).toMatchObject([{ id: 'a', text: 'hello', changed: 'edited', unseen: true }])
    const removed = arrive({}, { id: 'b', text: '', change: { of: 'a', to: 'removed' } })
    expect(entriesOf(removed)).toMatchObject([{ id: 'a', text: '', changed: 'removed' }])
    const foreign = arrive({}, { id: 'b', fingerprint: 'SHA256:mallory', text: 'x', change: { of: 'a', to: 'edited' } })
    expect(entriesOf(foreign).map(({ text }) => text)).toEqual(['hi', '(edited a message that is not shown here) x'])
    const unknown = arrive({ text: '', change: { of: 'a', to: 'removed' } })
    expect(entriesOf(unknown).map(({ text }) => text)).toEqual(['(removed a message that is not shown here)'])
  })

  it('of an unknown person is among the strangers, in one conversation', () => {
    const state = arrive({ conversation: 'SHA256:x' }, { conversation: 'SHA256:y' })
    expect(state.conversations.map(({ id, entries }) => [id, entries.length])).toEqual([
      [BOB, 0],
      [STRANGERS, 2],
    ])
  })

  it('is new until the user has seen it', () => {
    const state = arrive({}, { id: 'b' })
    expect(unseenOf(conversationOf(state, BOB)!)).toBe(2)
    expect(unseenOf(conversationOf(withSeen(state, BOB, new Set([1])), BOB)!)).toBe(1)
  })
})

describe('a message of the user', () => {
  const own = (state: State): State =>
    withOwn(state, BOB, { at: 2_000, text: 'own', deliveries: [{ id: 'x', to: 'Bob', member: BOB, state: 'waiting' }] })

  it('is unconfirmed until it is delivered, and tells what protects it', () => {
    const sent = own(begin())
    expect([unconfirmedOf(sent), protectionOf(conversationOf(sent, BOB)!)]).toEqual([1, 'key'])
    const held = withDelivery(sent, 'x', 'held', undefined, 'one-time')
    expect([unconfirmedOf(held), protectionOf(conversationOf(held, BOB)!)]).toEqual([1, 'one-time'])
    const delivered = withDelivery(held, 'x', 'delivered', undefined)
    expect([unconfirmedOf(delivered), protectionOf(conversationOf(delivered, BOB)!)]).toEqual([0, 'one-time'])
    expect(withDelivery(delivered, 'unknown', 'failed', 'why')).toBe(delivered)
  })

  it('has the reason of a failure until the state changes again', () => {
    const failed = withDelivery(own(begin()), 'x', 'failed', 'no\nroom')
    expect(last(failed).deliveries[0]).toMatchObject({ state: 'failed', why: expect.not.stringContaining('\n') as string })
    expect(last(withDelivery(failed, 'x', 'held', undefined)).deliveries[0]).not.toHaveProperty('why')
  })
})

it('keeps the conversations of people who stay, under their new names', () => {
  const bob = { id: BOB, kind: 'contact', verified: true, blocked: false } as const
  const state = { ...arrive({}), open: BOB }
  const renamed = withPeople(state, [{ ...bob, name: 'Robert' }])
  expect(renamed.open).toBe(BOB)
  expect(renamed.conversations).toMatchObject([{ name: 'Robert', entries: [{ author: 'Robert', text: 'hi' }] }])
  expect(withPeople(state, [])).toMatchObject({ conversations: [], open: undefined })
})

it('has each relay and each notice once, and the last five notices', () => {
  const up = withRelay(withRelay(begin(), { relay: 'one', state: 'connecting' }), { relay: 'one', state: 'up' })
  expect(withRelay(up, { relay: 'two', state: 'down' }).relays).toEqual([
    { relay: 'one', state: 'up' },
    { relay: 'two', state: 'down' },
  ])
  const told = ['a', 'b', 'c', 'd', 'e', 'b', 'f'].reduce((state, text) => withNotice(state, text), begin())
  expect(told.notices.map(({ text }) => text)).toEqual(['c', 'd', 'e', 'b', 'f'])
})
