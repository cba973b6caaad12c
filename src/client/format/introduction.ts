/**
 * Finds the card by which the sender of a message introduces themselves (docs/protocol.md, section 10): in the header
 * `card`, in a message of type `card`, or in a group that they made. Pure; runs in a browser too.
 */
import { type Card, CardError, parseCard } from './card.ts'
import { fingerprintOf } from './field.ts'
import { GroupError, parseGroup } from './group.ts'
import type { Envelope } from './message.ts'

/**
 * Returns the sender's own card. Call it only for a `genuine` message: the signature must prove who the sender is.
 * @returns undefined if the message has no valid card of its sender
 */
export async function introductionOf({ from, card: link, content }: Envelope): Promise<Card | undefined> {
  const sender = fingerprintOf(from)
  const isOwn = (card: Card): boolean => fingerprintOf(card.key) === sender
  try {
    const card = link === undefined ? undefined : await parseCard(link)
    if (card !== undefined && isOwn(card)) return card
  } catch (error) {
    // A reader ignores a header that it cannot read.
    if (!(error instanceof CardError)) throw error
  }
  try {
    if (content.type === 'card') return [await parseCard(content.card)].find(isOwn)
    if (content.type !== 'group') return undefined
    const group = await parseGroup(content.card)
    return fingerprintOf(group.maker) === sender ? group.members.find(isOwn) : undefined
  } catch (error) {
    if (error instanceof CardError || error instanceof GroupError) return undefined
    throw error
  }
}
