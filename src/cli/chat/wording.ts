/** What happened, in words: errors, contents of messages that are no text, and how files got on. None repeats what is not ours unasked. */
import { CardError, parseCard } from '../../client/format/card.ts'
import type { Delivery } from '../../client/messenger/delivery.ts'
import { fingerprintOf } from '../../client/format/field.ts'
import { GroupError } from '../../client/format/group.ts'
import type { Content } from '../../client/format/content.ts'
import type { FileDelivery } from '../../client/messenger/transfers.ts'
import { toCliError } from '../talk/refusal.ts'
import { CliError } from '../program/error.ts'
import type { Delivery as Shown } from './conversation.ts'

export function shownDelivery({ id, to, state }: Delivery): Shown {
  return { id, member: fingerprintOf(to.key), to: to.name, state }
}

export function fileFailure({ state, to, error }: FileDelivery): string {
  switch (state) {
    case 'refused':
      return `${to.name} does not take it`
    case 'expired':
      return `${to.name} did not take it in time`
    case 'failed':
    case 'offered':
    case 'sending':
    case 'done':
      return `not sent to ${to.name}${error === undefined ? '' : `: ${describeError(error) ?? 'it cannot be read'}`}`
  }
}

export const ARRIVAL_FAILURES: Readonly<Record<'damaged' | 'refused' | 'failed', string>> = {
  damaged: 'what came is not what was announced',
  refused: 'not taken: `--files FOLDER`, or `files` of the profile, says where files of contacts go',
  failed: 'not taken',
}

/** In our words; undefined for what nobody foresaw. */
export function describeError(error: unknown): string | undefined {
  const known = toCliError(error, NEVER)
  return known instanceof CliError || known instanceof CardError || known instanceof GroupError ? known.message : undefined
}

const NEVER = new AbortController().signal

/** What is not a text, in words. */
export async function describeContent(content: Content): Promise<{ readonly text: string; readonly card?: string }> {
  switch (content.type) {
    case 'text':
      return { text: content.text }
    case 'edit':
      return { text: `(changes a message) ${content.text}` }
    case 'remove':
      return { text: '(takes back a message)' }
    case 'receipt':
      return { text: `(says that ${content.ids.length} messages were ${content.state})` }
    case 'file':
      return { text: `(a part of the file "${content.name}")` }
    case 'have':
      return { text: '(what it has of a file)' }
    case 'group':
      return { text: '(the card of a group)' }
    case 'leave':
      return { text: '(leaves a group)' }
    case 'unknown':
      return { text: `(a message of a type that this version does not know: ${content.name})` }
    case 'card':
      try {
        const { name, key, relays } = await parseCard(content.card)
        return { text: `(the card of "${name}", ${fingerprintOf(key)}, at ${relays.join(', ')}: /add takes it)`, card: content.card }
      } catch (error) {
        if (!(error instanceof CardError)) throw error
        return { text: `(a card that is not good: ${error.message})` }
      }
  }
}
