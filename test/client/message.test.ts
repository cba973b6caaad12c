/** Messages (docs/protocol.md, section 10). */
import { describe, expect, it } from 'vitest'
import { generatePrivateKey, parsePrivateKey } from '../../src/auth/private-key.ts'
import { makeCard, parseCard } from '../../src/client/card.ts'
import { makeId } from '../../src/client/field.ts'
import { identityOf } from '../../src/client/identity.ts'
import { encodeMessage, openMessage, PADDED_BYTES } from '../../src/client/message.ts'

const NOW = 1_795_000_000
const person = () => identityOf(parsePrivateKey(Buffer.from(generatePrivateKey('').file)))

describe('a message', () => {
  it('is genuine to its receiver, and unreadable to anybody else', async () => {
    const [alice, bob, eve] = [person(), person(), person()]
    const id = makeId()
    const payload = await encodeMessage(alice, { to: { key: bob.key }, id, time: NOW, content: { type: 'text', text: 'hello' } })
    expect(payload.length).toBeGreaterThan(PADDED_BYTES[0])
    const opened = await openMessage(bob, payload, { now: NOW })
    expect(opened).toMatchObject({ verdict: 'genuine', envelope: { id, time: NOW, content: { type: 'text', text: 'hello' } } })
    expect(await openMessage(eve, payload, { now: NOW })).toEqual({ verdict: 'unreadable' })
  })
})

describe('a card', () => {
  it('is the same as text and as link', async () => {
    const card = await makeCard(person(), { name: 'Alice', relays: ['localhost:3308'], time: NOW })
    expect(await parseCard(card.text)).toEqual(card)
    expect(await parseCard(card.link)).toEqual(card)
  })
})
