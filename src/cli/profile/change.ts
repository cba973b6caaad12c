/** Compares a contact with a newer card. One change needs the user's consent: another inbox. */
import type { SshKey } from '../../auth/ssh-key.ts'
import type { Card } from '../../client/format/card.ts'
import { fingerprintOf } from '../../client/format/field.ts'
import type { Contact } from '../../client/messenger/contact.ts'
import { CliError } from '../program/error.ts'
import { showName } from '../../wording/name.ts'

export interface Change {
  readonly what: 'name' | 'relays' | 'encryption key' | 'inbox'
  readonly before: string
  readonly after: string
}

/** A contact of the book, with the card that the book has. */
type Before = Contact & { readonly card?: Card }

/** Lists the differences between a contact and a newer card. */
export function compare(known: Before, card: Card): Change[] {
  const rows = [
    { what: 'name', before: known.card?.name ?? known.name, after: card.name },
    { what: 'relays', before: known.relays.join(', '), after: card.relays.join(', ') },
    { what: 'encryption key', before: known.recipient ?? 'none', after: card.encrypt ?? 'none' },
    { what: 'inbox', before: nameOf(known.inbox), after: nameOf(card.inbox) },
  ] as const
  return rows.filter(({ before, after }) => before !== after)
}

/** Whether the card names another inbox than the contact has, or none. */
export function hasOtherInbox({ inbox }: Before, card: Card): boolean {
  return inbox !== undefined && nameOf(inbox) !== nameOf(card.inbox)
}

/**
 * Refuses a card that names another inbox than the contact has, or none. A thief of the SSH key alone can sign such a
 * card, and would get the first messages by it.
 * @throws {CliError}
 */
export function refuseOtherInbox(known: Before, card: Card): void {
  if (!hasOtherInbox(known, card)) return
  const change = `${nameOf(known.inbox)} → ${nameOf(card.inbox)}`
  const names = card.inbox === undefined ? 'no inbox' : 'another inbox'
  throw new CliError(`this card of ${showName(known.name)} names ${names}, so nothing was changed: ${change}`, {
    hint: 'ask them over another channel whether the card is theirs; if so, `asfaleia contact add CARD --new-inbox`',
  })
}

const nameOf = (inbox: SshKey | undefined): string => (inbox === undefined ? 'none' : fingerprintOf(inbox))
