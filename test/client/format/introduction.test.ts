/** The card by which a stranger introduces themselves: only the sender's own counts. */
import { expect, test } from 'vitest'
import { type Card, makeCard } from '../../../src/client/format/card.ts'
import type { Content } from '../../../src/client/format/content.ts'
import { makeId } from '../../../src/client/format/field.ts'
import { makeGroup, makeGroupId } from '../../../src/client/format/group.ts'
import { introductionOf } from '../../../src/client/format/introduction.ts'
import { encodeMessage, type Envelope, openMessage, roomFor } from '../../../src/client/format/message.ts'
import { makePerson, NOW, ONION, type Person } from '../people.ts'

const [alice, bob] = [await makePerson('ed25519'), await makePerson('ed25519')]
const cardOf = (who: Person, name: string, version: 1 | 2 = 2): Promise<Card> =>
  makeCard(who.identity, { name, relays: [ONION], time: NOW, version })
const [alices, bobs] = [await cardOf(alice, 'Alice'), await cardOf(bob, 'Bob')]
const text = { type: 'text', text: 'hi' } as const

async function send(content: Content, card?: string): Promise<Envelope> {
  const payload = await encodeMessage(alice.identity, {
    to: bob.to,
    id: makeId(),
    time: NOW,
    content,
    ...(content.type === 'group' && { group: makeId() }),
    ...(card !== undefined && { card }),
  })
  const opened = await openMessage(bob.identity, payload, { now: NOW })
  expect(opened.verdict).toBe('genuine')
  if (!('envelope' in opened)) throw new Error('the message has no envelope')
  return opened.envelope
}

test.each([1, 2] as const)('a card of version %i in the header is that of the sender', async (version) => {
  const card = await cardOf(alice, 'Alice', version)
  const envelope = await send(text, card.link)
  expect(envelope).toMatchObject({ card: card.link, content: text })
  expect(await introductionOf(envelope)).toMatchObject({ name: 'Alice', text: card.text })
})

test.each([
  ['no header', undefined],
  ['the card of another person', bobs.link],
  ['a changed card', alices.link.replace('Alice', 'Malice')],
  ['no card at all', 'hello'],
  ['a card of a later version', alices.link.replace('card/2', 'card/9')],
])('%s introduces nobody, and the message stays genuine', async (_what, card) => {
  expect(await introductionOf(await send(text, card))).toBeUndefined()
})

test('the own card as content introduces its sender, and a group its maker', async () => {
  expect(await introductionOf(await send({ type: 'card', card: alices.text }))).toMatchObject({ name: 'Alice' })
  expect(await introductionOf(await send({ type: 'card', card: bobs.text }))).toBeUndefined()
  const facts = { name: 'Tea', version: 1, time: NOW, members: [alices, bobs] }
  const own = await makeGroup(alice.identity, { ...facts, id: makeGroupId(alice.identity.key) })
  expect(await introductionOf(await send({ type: 'group', card: own.text }))).toMatchObject({ name: 'Alice' })
  const forwarded = await makeGroup(bob.identity, { ...facts, id: makeGroupId(bob.identity.key) })
  expect(await introductionOf(await send({ type: 'group', card: forwarded.text }))).toBeUndefined()
  expect(await introductionOf(await send({ type: 'group', card: 'nothing' }))).toBeUndefined()
})

test('a card fits beside the longest text of an ordinary message', async () => {
  const long = 'x'.repeat(roomFor(alice.identity.key) - 400)
  expect((await send({ type: 'text', text: long }, alices.link)).content).toEqual({ type: 'text', text: long })
})
