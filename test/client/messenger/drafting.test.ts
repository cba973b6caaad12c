/** What a messenger decides about a message before it leaves. */
import { describe, expect, test } from 'vitest'
import { deadlineOf, introduces, storedOf } from '../../../src/client/messenger/drafting.ts'

const payload = new Uint8Array(3)
const text = new Uint8Array(2)

describe('the outbox', () => {
  test.each([
    ['a message without one-time keys', {}, {}],
    ['a message that left none of the keys', { text, left: 0 }, { text, left: 0 }],
    ['a message that left three of the keys', { text, left: 3 }, { text, left: 3 }],
    ['a message to the key of the day', { text, daily: true }, { text, daily: true }],
  ])('keeps of %s what a renewal needs, and nothing else', (_what, written, kept) => {
    const stored = storedOf({ payload, daily: false, protection: 'one-time', ...written }, ['a.onion'])
    expect(stored).toStrictEqual({ relays: ['a.onion'], payload, ...kept })
  })
})

test.each([
  [undefined, 7 * 86_400],
  [60, 60],
  [13 * 86_400, 13 * 86_400],
  [14 * 86_400, 13 * 86_400],
])('a message that may wait for %s s is given up after %i s', (seconds, given) => {
  expect(deadlineOf(1_000, seconds)).toBe(1_000 + given * 1_000)
})

test.each([
  [true, { type: 'text', text: 'hello' }, undefined],
  [true, { type: 'card', card: 'x' }, undefined],
  [true, { type: 'group', card: 'x' }, undefined],
  [true, { type: 'group', card: 'x' }, 'id'],
  [false, { type: 'text', text: 'hello' }, 'id'],
  [false, { type: 'card', card: 'x' }, 'id'],
  [false, { type: 'receipt', state: 'delivered', ids: [] }, undefined],
  [false, { type: 'leave' }, undefined],
] as const)('it is %s that %o in the group %s may be a first message', (may, content, group) => {
  expect(introduces(content, group)).toBe(may)
})
