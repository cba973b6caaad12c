/** The content of messages in words. */
import { type Card, CardError, parseCard } from '../client/format/card.ts'
import type { Content } from '../client/format/content.ts'
import { fingerprintOf } from '../client/format/field.ts'
import { quoteName } from './name.ts'

/**
 * Describes the content of a message in words, and returns the card in it.
 * @param how how the user adds a card, such as `add it with /add`
 * @param isStored whether the user has that card already
 */
export async function describeContent(
  content: Content,
  how: string,
  isStored: (card: Card) => boolean = () => false,
): Promise<{ readonly text: string; readonly card?: string }> {
  switch (content.type) {
    case 'text':
      return { text: content.text }
    case 'edit':
      return { text: `(edits a message) ${content.text}` }
    case 'remove':
      return { text: '(removes a message)' }
    case 'receipt':
      return { text: `(a receipt: ${content.ids.length} messages ${content.state})` }
    case 'file':
      return { text: `(a part of the file "${content.name}")` }
    case 'have':
      return { text: '(a report on a file transfer)' }
    case 'unreadable':
      return { text: `(a report: ${content.tags.length} messages could not be read)` }
    case 'group':
      return { text: '(the card of a group)' }
    case 'leave':
      return { text: '(leaves a group)' }
    case 'unknown':
      return { text: `(a message of a type that this version does not know: ${content.name})` }
    case 'card':
      try {
        const card = await parseCard(content.card)
        const { name, key, relays } = card
        const about = `the card of ${quoteName(name)}, ${fingerprintOf(key)}, at ${relays.join(', ')}`
        return isStored(card) ? { text: `(${about}; you have it already)` } : { text: `(${about}; ${how})`, card: card.text }
      } catch (error) {
        if (!(error instanceof CardError)) throw error
        return { text: `(an invalid card: ${error.message})` }
      }
  }
}
