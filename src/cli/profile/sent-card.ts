/** The card that a contact sends in a message, for the contact book. */
import { fingerprintOf } from '../../client/format/field.ts'
import { introductionOf } from '../../client/format/introduction.ts'
import type { Envelope } from '../../client/format/message.ts'
import { CliError } from '../program/error.ts'
import { showName } from '../../wording/name.ts'
import type { Book } from './book.ts'
import { hasOtherInbox } from './change.ts'

/**
 * Takes the card in a genuine message of a contact, if the book knows no inbox of that contact: their earlier card, or
 * their bare key, named none.
 * @returns whether the contact has an inbox now
 */
export async function takeSentCard(book: Book, envelope: Envelope): Promise<boolean> {
  const known = book.find(fingerprintOf(envelope.from))
  if (known === undefined || known.inbox !== undefined) return false
  const card = await introductionOf(envelope)
  try {
    return card !== undefined && (await book.takeInbox(known, card))
  } catch (error) {
    // The next messages have the card, too.
    if (error instanceof CliError) return false
    throw error
  }
}

/**
 * Says that the card in a genuine message of a contact names another inbox than the book has.
 * @returns undefined if it does not
 */
export async function warnOfInbox(book: Book, envelope: Envelope): Promise<string | undefined> {
  const known = book.find(fingerprintOf(envelope.from))
  if (known?.inbox === undefined) return undefined
  const card = await introductionOf(envelope)
  if (card?.inbox === undefined || card.time <= (known.card?.time ?? -Infinity) || !hasOtherInbox(known, card)) return undefined
  return (
    `${showName(known.name)} sent a card with another inbox. Ask them over another channel whether it is theirs; if so: ` +
    // A link of version 2 needs no quotes.
    `asfaleia contact add ${card.link} --new-inbox`
  )
}
