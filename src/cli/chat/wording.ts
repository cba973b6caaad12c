/** Texts for people: errors, messages that are not plain text, and outcomes of files. */
import { type Card, CardError } from '../../client/format/card.ts'
import type { Delivery } from '../../client/messenger/delivery.ts'
import { fingerprintOf } from '../../client/format/field.ts'
import { GroupError } from '../../client/format/group.ts'
import type { Content } from '../../client/format/content.ts'
import type { FileDelivery } from '../../client/messenger/transfers.ts'
import { toCliError } from '../talk/refusal.ts'
import { describeContent as describe } from '../../wording/content.ts'
import { CliError } from '../program/error.ts'
import { DAMAGED, type Delivery as Shown, fileFailure as describeFailure, NOT_RECEIVED } from '../../wording/delivery.ts'

export const NO_RECEIVER = 'there is no one left to receive it'
export const NO_CARD = 'you have no card yet; make one with `asfaleia me`'

export function shownDelivery({ id, to, state }: Delivery): Shown {
  return { id, member: fingerprintOf(to.key), to: to.name, state }
}

export function fileFailure({ state, to, error }: FileDelivery): string {
  return describeFailure(state, to.name, error === undefined ? undefined : (describeError(error) ?? 'it cannot be read'))
}

export const ARRIVAL_FAILURES: Readonly<Record<'damaged' | 'refused' | 'failed', string>> = {
  damaged: DAMAGED,
  refused: 'refused: to receive files, use --files FOLDER, or `files` in the profile',
  failed: NOT_RECEIVED,
}

/** Describes an expected error; undefined for a defect. */
export function describeError(error: unknown): string | undefined {
  const known = toCliError(error, NEVER)
  return known instanceof CliError || known instanceof CardError || known instanceof GroupError ? known.message : undefined
}

/** Describes why a relay cannot be used, with the next step. */
export function describeRelayError(error: unknown, relay: string): string | undefined {
  const known = toCliError(error, NEVER, relay)
  return known instanceof CliError && known.hint !== undefined ? `${known.message}; ${known.hint}` : describeError(error)
}

const NEVER = new AbortController().signal

/** As {@link describe}, with the command that adds a card. */
export function describeContent(content: Content, isStored?: (card: Card) => boolean): ReturnType<typeof describe> {
  return describe(content, 'add it with /add', isStored)
}
