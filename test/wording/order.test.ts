/** The order of conversations in the lists of the chat and the page. */
import { expect, test } from 'vitest'
import { compareConversations, type Listed } from '../../src/wording/order.ts'

const alice: Listed = { kind: 'contact', name: 'Alice' }
const ORDERED: readonly Listed[] = [
  alice,
  { kind: 'group', name: 'Tea' },
  { kind: 'contact', name: 'bob' },
  { kind: 'request', name: 'Adam' },
  { kind: 'request', name: 'Eve' },
  { kind: 'strangers', name: 'A' },
]

test('contacts and groups come by name, then requests by name, then the strangers', () => {
  for (const [at, each] of ORDERED.entries())
    for (const [place, other] of ORDERED.entries()) expect(Math.sign(compareConversations(each, other))).toBe(Math.sign(at - place))
  expect(compareConversations(alice, { ...alice, kind: 'group' })).toBe(0)
})
