/** The rules of a ring for sending: S1 to S4 (docs/protocol.md, section 13). */
import { FUTURE } from '../format/message.ts'
import { compareAge, type Given, type Held, RING, type Ring } from './state.ts'

/**
 * How a message is protected. `one-time`: a key for this message alone. `again`: a key that an earlier message used
 * too. `daily`: the recipient in the contact's bundle.
 */
export type Way = 'one-time' | 'again' | 'daily'

/** A message to encrypt. */
export interface Sending {
  readonly id: string
  /** The message's time: the user's clock. */
  readonly time: number
  /** The recipient of the contact's bundle, if there is a valid one. */
  readonly bundle?: string
  /** `daily`: to the bundle in any case (S4, R5). */
  readonly way?: 'daily'
}

export interface Chosen {
  /** The ring to write before the message is sent (S5). */
  readonly ring: Ring
  /** The age recipient to encrypt to. */
  readonly to: string
  readonly way: Way
}

/** A message with the headers that its ring gives it. */
export interface Sent extends Chosen {
  /** The header `left`. */
  readonly left?: number
  /** Whether the message needs the header `begin`: without it the receiver does not believe its keys. */
  readonly begin: boolean
}

/**
 * Returns how many new keys a message brings (S3): one, or three while the contact has hardly any.
 * @param now the user's clock
 * @param room how many fit
 * @param repeats whether the message is sent again until the contact confirms it
 */
export function countFresh(ring: Ring, now: number, room: number = RING.fresh, repeats = false): number {
  const outstanding = countOutstanding(ring, now)
  const { count = 0, time = 0 } = ring.left ?? {}
  const isScarce = count < RING.scarce || now - time >= RING.usable
  // All outstanding keys may be lost. Without a key the contact could not even confirm the message.
  const spare = isScarce && repeats && outstanding < RING.held ? 1 : 0
  const wanted = Math.min(isScarce ? RING.fresh : 1, Math.max(RING.outstanding - outstanding, spare))
  return Math.max(0, Math.min(wanted, room, RING.given - ring.given.length))
}

/**
 * Counts the keys that the contact holds unused, or will: those that it reports, and those that were given since. Keys
 * in messages that were lost do not count; 32 of them would otherwise stop all new keys until they die of age.
 */
function countOutstanding({ given, left }: Ring, now: number): number {
  // The contact refuses messages from the future, and does not get their keys.
  const open = given.filter(({ use, place }) => use === 'open' && place.time <= now + FUTURE)
  const since = open.filter(({ place }) => place.time > (left?.time ?? -Infinity)).length
  return since + Math.min(left?.count ?? 0, open.length - since)
}

/**
 * Chooses the recipient of a new message (S1) and gives it fresh keys (S3).
 *
 * @param fresh seeds of the keys that the message brings, {@link countFresh} of them
 * @returns undefined if there is no recipient: the message waits for a bundle
 */
export function onSend(ring: Ring, sending: Sending, fresh: readonly Uint8Array[]): Sent | undefined {
  const chosen = choose(ring, sending)
  if (chosen === undefined) return undefined
  const { id, time } = sending
  const given = fresh.map((seed, index): Given => ({ place: { time, id, index }, seed, use: 'open' }))
  const left = countUsable(chosen.ring, time)
  return {
    ...chosen,
    ring: { ...chosen.ring, given: [...chosen.ring.given, ...given].toSorted(byAge) },
    // A contact that does not know this state gets no `left`, so that it begins anew, too (R6).
    ...(chosen.way === 'daily' && !ring.known ? {} : { left }),
    begin: chosen.way === 'daily',
  }
}

/**
 * Chooses a new recipient for a message that was sent before. Its text is signed and stays the same: so its keys count
 * again, and its `left` is that of then.
 *
 * @param left the header `left` of the text
 */
export function onRenew(ring: Ring, sending: Sending, left: number | undefined): Chosen | undefined {
  const chosen = choose(ring, sending)
  if (chosen === undefined) return undefined
  const given = chosen.ring.given.map((key): Given => {
    if (key.use !== 'former' || key.place.id !== sending.id) return key
    const { until: _, ...others } = key
    return { ...others, use: 'open' }
  })
  const { last } = chosen.ring
  // The receiver erases the key at once if the text says that others are left, so no message can use it again.
  const isSpent = chosen.way === 'one-time' && last !== undefined && left !== undefined && left > 0
  return { ...chosen, ring: { ...chosen.ring, given, ...(isSpent && { last: { ...last, recipient: '' } }) } }
}

/** Whether an unconfirmed message goes to the bundle (S4): the contact may have lost its state. */
export function isGivenUp(ring: Ring, { resends, now }: { readonly resends: number; readonly now: number }): boolean {
  return resends >= RING.resends && (ring.heard === undefined || now - ring.heard >= RING.silent)
}

const byAge = (one: Given, other: Given): number => compareAge(one.place, other.place)

const isUsable = ({ place, recipient }: Held, now: number): boolean => recipient !== '' && now - place.time < RING.usable

function countUsable(ring: Ring, now: number): number {
  return ring.held.filter((key) => isUsable(key, now)).length
}

/** Whether a message of now would use a one-time key. */
export function hasKey({ held, last }: Ring, now: number): boolean {
  return held.some((key) => isUsable(key, now)) || (last !== undefined && isUsable(last, now))
}

/** S1. */
function choose(ring: Ring, { time, bundle, way }: Sending): Chosen | undefined {
  const oldest = way === 'daily' ? -1 : ring.held.findIndex((key) => isUsable(key, time))
  if (oldest !== -1) {
    const last = ring.held[oldest]!
    // The receiver erases all keys older than one that was used.
    return { ring: { ...ring, held: ring.held.slice(oldest + 1), last }, to: last.recipient, way: 'one-time' }
  }
  if (way !== 'daily' && ring.last !== undefined && isUsable(ring.last, time)) return { ring, to: ring.last.recipient, way: 'again' }
  return bundle === undefined ? undefined : { ring, to: bundle, way: 'daily' }
}
