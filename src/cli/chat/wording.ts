/** Texts for people: errors, messages that are not plain text, and outcomes of files. */
import { type Card, CardError, parseCard } from '../../client/format/card.ts'
import type { Delivery } from '../../client/messenger/delivery.ts'
import { fingerprintOf } from '../../client/format/field.ts'
import { GroupError } from '../../client/format/group.ts'
import type { Content } from '../../client/format/content.ts'
import type { FileDelivery } from '../../client/messenger/transfers.ts'
import { toCliError } from '../talk/refusal.ts'
import { quoteName } from '../profile/name.ts'
import { CliError } from '../program/error.ts'
import type { Delivery as Shown } from './conversation.ts'

export const NO_RECEIVER = 'there is no one left to receive it'
export const NO_CARD = 'you have no card yet; make one with `asfaleia me`'

export function shownDelivery({ id, to, state }: Delivery): Shown {
  return { id, member: fingerprintOf(to.key), to: to.name, state }
}

export function fileFailure({ state, to, error }: FileDelivery): string {
  switch (state) {
    case 'refused':
      return `${to.name} refused it`
    case 'expired':
      return `${to.name} did not accept it in time`
    case 'failed':
    case 'offered':
    case 'sending':
    case 'done':
      return `not sent to ${to.name}${error === undefined ? '' : `: ${describeError(error) ?? 'it cannot be read'}`}`
  }
}

export const ARRIVAL_FAILURES: Readonly<Record<'damaged' | 'refused' | 'failed', string>> = {
  damaged: 'damaged: its hash is wrong',
  refused: 'refused: to receive files, use --files FOLDER, or `files` in the profile',
  failed: 'not received',
}

/** Describes an expected error; undefined for a defect. */
export function describeError(error: unknown): string | undefined {
  const known = toCliError(error, NEVER)
  return known instanceof CliError || known instanceof CardError || known instanceof GroupError ? known.message : undefined
}

/** Describes why a relay cannot be used, with the next step. */
export function describeRelayError(error: unknown): string | undefined {
  const known = toCliError(error, NEVER)
  return known instanceof CliError && known.hint !== undefined ? `${known.message}; ${known.hint}` : describeError(error)
}

const NEVER = new AbortController().signal

/**
 * Describes the content of a message in words, and returns the card in it.
 * @param isStored whether the user has that card already
 */
export async function describeContent(
  content: Content,
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
        return isStored(card) ? { text: `(${about}; you have it already)` } : { text: `(${about}; add it with /add)`, card: card.text }
      } catch (error) {
        if (!(error instanceof CardError)) throw error
        return { text: `(an invalid card: ${error.message})` }
      }
  }
}
