import { expect, test } from 'vitest'
import { OUTBOX } from '../../../src/client/delivery/entry.ts'
import { Reach } from '../../../src/client/delivery/reach.ts'

/** A minute for each failure in a row. */
const minutes = (failures: number): number => failures * 60_000

test('a message is stranded once every relay that holds it failed twice in a row', () => {
  const reach = new Reach()
  const held = new Map([
    ['one', 0],
    ['two', 0],
  ])
  const strands: boolean[] = []
  for (const [relay, now] of [
    ['one', 0],
    ['one', 60_000],
    ['two', 60_000],
    ['two', 120_000],
  ] as const) {
    reach.blockRelay(relay, 'closed', now, minutes)
    strands.push(reach.strands(held))
  }
  expect(strands).toEqual([false, false, false, true])
  reach.onReached('one', 130_000)
  expect([reach.strands(held), reach.strands(new Map())]).toEqual([false, false])
})

test('a relay is blocked until its pause ends, and longer after each failure in a row', () => {
  const reach = new Reach()
  expect([reach.hasDown, reach.isDown('one', 0), reach.downUntil('one'), reach.failures('one')]).toEqual([false, false, 0, 0])
  reach.blockRelay('one', 'closed', 0, minutes)
  expect([reach.hasDown, reach.isDown('one', 59_999), reach.isDown('one', 60_000)]).toEqual([true, true, false])
  expect([reach.isOpen('bob', 'one', 59_999), reach.isOpen('bob', 'one', 60_000), reach.isOpen('bob', 'two', 0)]).toEqual([
    false,
    true,
    true,
  ])
  reach.blockRelay('one', 'closed', 60_000, minutes)
  expect([reach.downUntil('one'), reach.failures('one')]).toEqual([180_000, 2])
})

test('failures while the relay is blocked count once', () => {
  const reach = new Reach()
  for (const now of [0, 10, 20]) reach.blockRelay('one', 'closed', now, minutes)
  expect([reach.downUntil('one'), reach.failures('one')]).toEqual([60_000, 1])
})

test('a relay that was reached for a minute has short pauses again, and one that cut the connection sooner has not', () => {
  for (const [held, pause] of [
    [60_000, 2],
    [60_001, 1],
  ] as const) {
    const reach = new Reach()
    reach.blockRelay('one', 'closed', 0, minutes)
    reach.onReached('one', 1_000)
    expect([reach.isDown('one', 1_000), reach.failures('one')]).toEqual([false, 0])
    // Further words of the relay do not begin the minute anew.
    reach.onReached('one', 30_000)
    reach.blockRelay('one', 'closed', 1_000 + held, minutes)
    expect([held, reach.downUntil('one')]).toEqual([held, 1_000 + held + pause * 60_000])
  }
})

test('a mailbox is blocked for its receiver only, and is doubted until it takes a message', () => {
  const reach = new Reach()
  reach.blockMailbox('bob', 'one', 'mailbox-full', 0, minutes)
  expect([reach.isOpen('bob', 'one', 0), reach.isOpen('carol', 'one', 0), reach.isDown('one', 0)]).toEqual([false, true, false])
  expect([reach.isDoubted('bob', 'one'), reach.isDoubted('carol', 'one')]).toEqual([true, false])
  // An answer to a message that was sent before the refusal.
  reach.onTaken('bob', 'one', 59_999)
  expect([reach.isOpen('bob', 'one', 59_999), reach.isDoubted('bob', 'one')]).toEqual([false, true])
  reach.onTaken('bob', 'one', 60_000)
  expect([reach.isOpen('bob', 'one', 60_000), reach.isDoubted('bob', 'one')]).toEqual([true, false])
})

test('an accepted message ends the failures of its relay in a row, once the pause is over', () => {
  const reach = new Reach()
  reach.blockRelay('one', 'closed', 0, minutes)
  // An answer to a message that was sent before the connection broke.
  reach.onTaken('bob', 'one', 59_999)
  expect([reach.failures('one'), reach.downUntil('one')]).toEqual([1, 60_000])
  reach.onTaken('bob', 'one', 60_000)
  expect([reach.failures('one'), reach.downUntil('one')]).toEqual([0, 0])
})

test('names the relays that cannot take a message now, each with the time of the next try', () => {
  const reach = new Reach()
  reach.blockRelay('one', 'closed', 0, minutes)
  reach.blockMailbox('bob', 'one', 'mailbox-full', 0, () => 90_000)
  reach.blockMailbox('bob', 'two', 'mailbox-full', 0, minutes)
  expect(reach.opening('bob', ['one', 'two', 'three'], 0)).toEqual([
    ['one', 90_000],
    ['two', 60_000],
  ])
  expect(reach.opening('carol', ['one', 'two'], 0)).toEqual([['one', 60_000]])
  expect(reach.opening('bob', ['one', 'two'], 90_000)).toEqual([])
})

test('a user in a hurry opens what failed, but not what the relay itself closed', () => {
  const reach = new Reach()
  reach.blockRelay('one', 'closed', 0, minutes)
  reach.blockMailbox('bob', 'one', 'mailbox-full', 0, minutes)
  expect(reach.hurry('bob', 'one', 10)).toBeUndefined()
  expect(reach.isOpen('bob', 'one', 10)).toBe(true)
  for (const code of ['rate-limited', 'denied', 'bad-key', 'unsupported-key', 'onion-malformed'] as const) {
    const refused = new Reach()
    refused.blockRelay('one', code, 0, minutes)
    expect([code, refused.hurry('bob', 'one', 10), refused.isDown('one', 10)]).toEqual([code, code, true])
    expect(refused.hurry('bob', 'one', 60_000)).toBeUndefined()
  }
  const denied = new Reach()
  denied.blockMailbox('bob', 'one', 'denied', 0, minutes)
  expect([denied.hurry('bob', 'one', 10), denied.hurry('carol', 'one', 10)]).toEqual(['denied', undefined])
})

test('a relay that forgot its messages has no full mailbox any more, and other relays keep theirs', () => {
  const reach = new Reach()
  for (const relay of ['one', 'other one']) reach.blockMailbox('bob', relay, 'mailbox-full', 0, minutes)
  reach.blockMailbox('carol', 'two', 'mailbox-full', 0, minutes)
  reach.onForgot('two')
  expect([reach.isOpen('carol', 'two', 0), reach.isOpen('bob', 'one', 0)]).toEqual([true, false])
})

test('a receipt opens the full mailboxes of its sender only, and no mailbox that is closed to the user', () => {
  const reach = new Reach()
  reach.blockMailbox('bob', 'one', 'mailbox-full', 0, minutes)
  reach.blockMailbox('bob', 'two', 'denied', 0, minutes)
  reach.blockMailbox('bobby', 'one', 'mailbox-full', 0, minutes)
  reach.onFetched('bob')
  expect([reach.isOpen('bob', 'one', 0), reach.isOpen('bob', 'two', 0), reach.isOpen('bobby', 'one', 0)]).toEqual([true, false, false])
})

test('failures are forgotten an hour after the last pause ended', () => {
  const reach = new Reach()
  reach.blockRelay('one', 'closed', 0, minutes)
  reach.blockMailbox('bob', 'two', 'mailbox-full', 0, minutes)
  reach.expire(60_000 + OUTBOX.denied)
  expect([reach.failures('one'), reach.isDoubted('bob', 'two')]).toEqual([1, true])
  reach.expire(60_001 + OUTBOX.denied)
  expect([reach.failures('one'), reach.isDoubted('bob', 'two'), reach.hasDown]).toEqual([0, false, false])
})

test('a clock that is set back blocks nothing for longer than two hours', () => {
  const reach = new Reach()
  reach.blockRelay('one', 'closed', 10 * OUTBOX.denied, minutes)
  expect(reach.isDown('one', 0)).toBe(false)
  expect(reach.isDown('one', 10 * OUTBOX.denied)).toBe(true)
})

test('a relay is lost after six failures and ten minutes, if a relay was reached meanwhile', () => {
  const reach = new Reach()
  const relay = 'lost.example'
  const fail = (now: number): void => reach.blockRelay(relay, 'closed', now, () => 1)
  for (let n = 0; n < 5; n++) fail(1_000 * (n + 1))
  expect(reach.isLost(relay, 0, 700_000, true)).toBe(false)
  fail(6_000)
  expect(reach.isLost(relay, 6_000, 600_999, true)).toBe(false)
  expect(reach.isLost(relay, 6_000, 601_000, true)).toBe(true)
  // An older message does not wait again.
  expect(reach.isLost(relay, -600_000, 6_000, true)).toBe(true)
  expect(reach.isLost(relay, 0, 700_000, false)).toBe(false)
  reach.onReached('other.example', 700_000)
  expect(reach.isLost(relay, 0, 700_000, false)).toBe(true)
  expect(reach.isLost('other.example', 0, 700_000, true)).toBe(false)
  // The failures begin anew once it was reached for a minute.
  reach.onReached(relay, 700_000)
  fail(760_001)
  expect(reach.isLost(relay, 0, 1_400_000, true)).toBe(false)
})
