/** What a message needs before it is sent: relays to go to, a deadline, and the user's card if it may be the first one. */
import { parseTarget } from '../../transport/address.ts'
import { SPREAD_MS } from '../delivery/backoff.ts'
import type { OutboxEntry } from '../delivery/entry.ts'
import type { Content } from '../format/content.ts'
import type { Identity } from '../format/identity.ts'
import { encodeMessage } from '../format/message.ts'
import type { Contact } from './contact.ts'
import type { Context } from './context.ts'
import { MessengerError } from './error.ts'
import { type Draft, isTooLarge, type Sealed } from './sealer.ts'

const DEADLINE_SECONDS = 7 * 86_400
/** Receivers treat messages that are more than 14 days old as stale. */
const MOST_DEADLINE_SECONDS = 13 * 86_400
/** @throws {MessengerError} `no-relay` @throws {TypeError} if an address is malformed */
export function checkRelays({ relays }: Contact): void {
  if (relays.length === 0) throw new MessengerError('no-relay')
  for (const relay of relays) parseTarget(relay)
}

/** Returns the time, in ms, at which to give up a message of `now`. @param seconds as in {@link SendOptions} */
export function deadlineOf(now: number, seconds = DEADLINE_SECONDS): number {
  return now + Math.min(seconds, MOST_DEADLINE_SECONDS) * 1_000
}

/** Returns when a message leaves, in ms; undefined: now. @param spread as in {@link SendOptions} */
export function leaveAt({ sealer, random }: Context, now: number, spread = false): number | undefined {
  return spread && sealer !== undefined ? now + random() * SPREAD_MS : undefined
}

/** Whether a message may be the first one to a person. The members of a group have each other's cards. */
export function introduces({ type }: Content, group: string | undefined): boolean {
  return type === 'group' || (group === undefined && (type === 'text' || type === 'card'))
}

/**
 * Signs and encrypts a message.
 * @param card a link; left out if the message fits only without it
 * @param way as in {@link Sealer.write}
 */
export async function write(
  { options, sealer }: Context,
  to: Contact,
  card: string | undefined,
  draft: Draft,
  way?: 'daily' | 'key',
): Promise<Written> {
  if (sealer !== undefined) return sealer.write(to, { ...draft, ...(card !== undefined && { card }) }, way)
  return { payload: await encodeWithCard(options.identity, card, { to, ...draft }), daily: false, protection: 'key' }
}

/** Encodes a message with the user's card, or without it if only then it fits. */
async function encodeWithCard(
  identity: Identity,
  card: string | undefined,
  message: Parameters<typeof encodeMessage>[1],
): Promise<Uint8Array> {
  if (card === undefined) return encodeMessage(identity, message)
  try {
    return await encodeMessage(identity, { ...message, card })
  } catch (error) {
    if (!isTooLarge(error)) throw error
    return encodeMessage(identity, message)
  }
}

/** A message to send; without `secrecy` it has no text to encrypt anew. */
export type Written = Omit<Sealed, 'text'> & Partial<Pick<Sealed, 'text'>>

/** Returns the fields of the outbox for a message with these routes. */
export function storedOf({ text, payload, daily, left }: Written, relays: readonly string[]): Pick<OutboxEntry, 'relays' | 'payload'> {
  return {
    relays,
    payload,
    ...(text !== undefined && { text }),
    ...(left !== undefined && { left }),
    ...(daily && { daily: true as const }),
  }
}
