/** The link that the user of the page pasted. */
import { beforeAll, describe, expect, it } from 'vitest'
import { type Card, makeCard } from '../../src/client/format/card.ts'
import { formatInvite, type Invite } from '../../src/client/format/invite.ts'
import { AccountError } from '../../src/page/check.ts'
import { readLink } from '../../src/page/link.ts'
import { makePerson } from '../support/people.ts'

const NOW = 1_800_000_000
const ONION = '2gzyxa5ihm7nsggfxnu52rck2vv4rvmdlkiu3zzui5du4xyclen53wid.onion'
const INVITE: Invite = { relay: ONION, key: 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567ABCDEFGHIJKLMNOPQRSA', name: 'alice' }

let card: Card
beforeAll(async () => {
  card = await makeCard(makePerson('Op').identity, { name: 'Op', relays: [ONION], time: NOW })
})

describe('a link', () => {
  it('is a card, as a link or as a text, with words around it', async () => {
    for (const text of [`Hello, ${card.link} bye`, `Hello\n${card.text.replaceAll('\n', '\r\n')}bye`])
      expect(await readLink(text, NOW)).toMatchObject({ kind: 'card', card: { name: 'Op' } })
  })

  it('is an invite, perhaps with the card of the operator, until it expires', async () => {
    expect(await readLink(formatInvite(INVITE), NOW)).toEqual({ kind: 'invite', invite: INVITE })
    const full = { ...INVITE, until: NOW, card: card.link }
    expect(await readLink(formatInvite(full), NOW)).toMatchObject({ kind: 'invite', invite: full, card: { name: 'Op' } })
    await expect(readLink(formatInvite(full), NOW + 1)).rejects.toThrow('this invite has expired')
  })

  it('is refused with the next step if it is broken or something else', async () => {
    const again = /Copy the whole link again, or ask for it again$/
    for (const text of [
      card.link.slice(0, -9),
      formatInvite(INVITE).slice(0, -3),
      formatInvite({ ...INVITE, card: 'asfaleia:card/1?x' }),
    ]) {
      const refusal = readLink(text, NOW)
      await expect(refusal).rejects.toThrow(AccountError)
      await expect(refusal).rejects.toThrow(again)
    }
    await expect(readLink('hello', NOW)).rejects.toThrow('this is no link of Asfaleia')
  })
})
