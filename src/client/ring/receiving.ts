/** The rules of a ring for receiving: R1, R2, R4 to R6 (docs/protocol.md, section 13). */
import type { Mailbox } from '../format/answer.ts'
import { compareAge, type Doubt, findErased, type Given, type Held, keep, type Place, RING, type Ring, type Run, without } from './state.ts'

/** A genuine message of the contact that was shown or stored. */
export interface Reading {
  /** The user's clock. */
  readonly now: number
  readonly id: string
  readonly time: number
  /** The payload's tag. */
  readonly tag: string
  /** The key of ours that opened it. `daily`: a recipient of the day, or a key that does not change. */
  readonly key: Place | 'daily'
  /** The id of the previous message in `after`, if this message is one of those that others name in `after`. */
  readonly chained?: { readonly after?: string }
  readonly left?: number
  readonly keys?: readonly string[]
  readonly address?: readonly Mailbox[]
  /**
   * Whether `begin` is a signature of the inbox that the user knew before: `unproven` if it is missing or wrong,
   * `unknown` if the user knows no inbox of this contact.
   */
  readonly begin: 'proven' | 'unproven' | 'unknown'
  /** The message was read before, under another tag: it was encrypted anew. */
  readonly repeated?: true
}

/**
 * `anew`: the contact has lost its state; encrypt all unconfirmed messages anew (`onRenew`), and tell the user.
 * `unproven`: either another person has the contact's SSH key, or the contact has lost everything; send nothing, and
 * let the user decide (`onAccept`). `two-clients`: two programs write with this contact's key.
 */
export type RingEvent = 'anew' | 'unproven' | 'two-clients'

export interface Change {
  /** The ring to write before the message is confirmed (R4). */
  readonly ring: Ring
  /** Seeds to overwrite once the ring is written. */
  readonly erased: readonly Uint8Array[]
  readonly events: readonly RingEvent[]
}

/** Whether a payload came before (R1): it was opened, or no key opened it. */
export function recognise(ring: Ring, tag: string): 'read' | 'unread' | undefined {
  return ring.seen.has(tag) ? 'read' : ring.unread.has(tag) ? 'unread' : undefined
}

/** Takes a message that was read: erases keys (R2), and takes those that it brings. */
export function onRead(ring: Ring, reading: Reading): Change {
  const seen = keep(ring.seen, reading.tag, reading.id, RING.seen)
  const own = reading.key === 'daily' ? undefined : ring.given.find(({ place }) => compareAge(place, reading.key as Place) === 0)
  const { step, unproven } = own === undefined ? takeDaily(ring, reading) : takeAnswer(ring, reading, own)
  if (unproven) return { ring: { ...step, seen }, erased: [], events: ['unproven'] }
  const events: RingEvent[] = step.anewAt === ring.anewAt ? [] : ['anew']
  if (own?.use === 'former' && ring.anewAt !== undefined && reading.time > ring.anewAt) events.push('two-clients')
  const next = { ...(reading.repeated === true ? step : follow(step, reading, own?.place)), seen }
  return { ring: next, erased: findErased(ring, next), events }
}

/** Takes a message to a key of the ring. Only the contact could know it, so its headers are believed. */
function takeAnswer(ring: Ring, reading: Reading, own: Given): { step: Ring; unproven: boolean } {
  const given = ring.given.flatMap((key): Given[] => {
    if (key !== own) return [key]
    if ((reading.left ?? 0) > 0) return []
    return [key.use === 'open' ? { ...key, use: 'used' } : key]
  })
  const step = { ...ring, given, known: true, heard: reading.now, unanswered: false, usedAt: Math.max(ring.usedAt ?? 0, reading.time) }
  return { step: takeHeaders(step, reading), unproven: false }
}

/**
 * Takes a message to a recipient of the day, which anyone can encrypt to. A thief of the contact's SSH key could write
 * it, so `begin` must prove the inbox. Without `left` the contact has begun anew (R6).
 */
function takeDaily(ring: Ring, reading: Reading): { step: Ring; unproven: boolean } {
  const { time, left, begin, now, keys = [], address = [], id } = reading
  if (reading.repeated === true) return { step: ring, unproven: false }
  const { usedAt = -Infinity, anewAt = -Infinity } = ring
  // A beginning can take several messages. The contact has not used a key of ours between them.
  const isAnew = left === undefined && time > usedAt && usedAt > anewAt
  const isNew = ring.usedAt === undefined && ring.held.length === 0 && ring.last === undefined
  if (begin !== 'proven' && !(begin === 'unknown' && isNew)) {
    // A text that was encrypted anew for a recipient of the day has no `begin`, but a `left`: its keys are not needed.
    // Each message of a proven beginning has the proof. One that the user accepted may lack it, and names the same address.
    const isOther = ring.anewAt === undefined || address.some((each) => !hasMailbox(ring, each))
    const isDoubted = isAnew || (begin === 'unproven' && left === undefined && !isNew && time > usedAt && isOther)
    return isDoubted ? { step: { ...ring, doubt: { time, id, keys, address } }, unproven: true } : { step: ring, unproven: false }
  }
  const heard = { ...ring, heard: now, unanswered: false }
  if (isAnew) return { step: beginAnew(heard, reading), unproven: false }
  // Keys of a state before the one with which the contact began anew.
  if (left === undefined && time < anewAt) return { step: heard, unproven: false }
  // A contact that begins holds no key of ours: those that it did not take, or could not, are not outstanding (S3).
  return { step: takeHeaders(heard, { ...reading, left: left ?? 0 }), unproven: false }
}

const hasMailbox = ({ address }: Ring, { relay, fingerprint }: Mailbox): boolean =>
  address?.mailboxes.some((each) => each.relay === relay && each.fingerprint === fingerprint) === true

/** R6. */
function beginAnew(ring: Ring, message: Pick<Reading, 'time' | 'id' | 'keys' | 'address' | 'now'>): Ring {
  const given = ring.given.map((key): Given => {
    if (key.use === 'former' || key.place.time >= message.time) return key
    return { ...key, use: 'former', until: message.now + RING.former }
  })
  const { last: _, left: __, doubt: ___, ...others } = ring
  return takeHeaders({ ...others, given, held: [], read: [], runs: [], anewAt: message.time }, message)
}

/** Lets an unproven beginning hold: the user has decided that it is the contact's. */
export function onAccept(ring: Ring, now: number): Change | undefined {
  if (ring.doubt === undefined) return undefined
  const next = beginAnew(ring, { ...ring.doubt, now })
  return { ring: next, erased: findErased(ring, next), events: ['anew'] }
}

/** Takes the keys, the address and `left`. */
function takeHeaders(
  ring: Ring,
  { time, id, keys = [], address, left, repeated }: Pick<Reading, 'time' | 'id' | 'keys' | 'address' | 'left' | 'repeated'>,
): Ring {
  if (repeated === true) return ring
  let next = ring
  const known = new Set([...ring.held.map(({ recipient }) => recipient), ring.last?.recipient])
  const fresh = keys
    .map((recipient, index): Held => ({ place: { time, id, index }, recipient }))
    // The contact erases keys that are older than one that was used.
    .filter(({ place, recipient }) => !known.has(recipient) && (ring.last === undefined || compareAge(place, ring.last.place) > 0))
  if (fresh.length > 0) {
    const held = [...ring.held, ...fresh].toSorted((one, other) => compareAge(one.place, other.place)).slice(0, RING.held)
    next = { ...next, held }
  }
  if (left !== undefined && time >= (ring.left?.time ?? -Infinity)) next = { ...next, left: { count: left, time } }
  if (address !== undefined && time > (ring.address?.time ?? -Infinity)) next = { ...next, address: { time, mailboxes: address } }
  return next
}

/** R2: erases the keys that are older than one whose message was read with all before it. */
function follow(ring: Ring, { id, chained, now }: Reading, place: Place | undefined): Ring {
  if (chained === undefined) return ring
  // If it names none, its sender may have forgotten messages that are on their way to older keys. It then waits, for itself, 14 days.
  const { after = id } = chained
  const isOldest = ring.given.every((key) => key.use === 'former' || (place !== undefined && compareAge(key.place, place) >= 0))
  if (chained.after === undefined ? isOldest : ring.read.includes(after))
    return closeRuns(ring, [{ id, after, since: now, ...(place && { place }) }])
  const before = ring.runs.find((run) => run.id === after)
  const behind = ring.runs.find((run) => run.after === id)
  const others = ring.runs.filter((run) => run !== before && run !== behind)
  const newest = [before?.place, place, behind?.place]
    .filter((each) => each !== undefined)
    .toSorted(compareAge)
    .at(-1)
  const run = {
    id: behind?.id ?? id,
    after: before?.after ?? after,
    since: Math.min(before?.since ?? now, behind?.since ?? now),
    ...(newest && { place: newest }),
  }
  return { ...ring, runs: [...others, run].slice(-RING.runs) }
}

/** Takes runs of messages before which all was read, and those that waited for them. */
export function closeRuns(ring: Ring, closed: readonly Run[]): Ring {
  const read = [...ring.read]
  let { given } = ring
  let runs = ring.runs.filter((run) => !closed.includes(run))
  for (const waiting = [...closed]; waiting.length > 0;) {
    const { id, place } = waiting.shift()!
    read.push(id)
    // Messages from before a loss of state use `former` keys, and no `after` tells of them.
    if (place !== undefined) given = given.filter((key) => key.use === 'former' || compareAge(key.place, place) >= 0)
    waiting.push(...runs.filter((run) => run.after === id))
    runs = runs.filter((run) => run.after !== id)
  }
  return { ...ring, given, runs, read: read.slice(-RING.read) }
}

/**
 * Takes a payload that came to the contact's address, and that no key opens (R5).
 *
 * @param random in [0, 1): when to report it
 */
export function onUnopened(
  ring: Ring,
  { tag, now, random }: { readonly tag: string; readonly now: number; readonly random: number },
): Ring {
  if (ring.seen.has(tag)) return ring
  // A payload that comes again after a report: the report was lost, or the answer to it.
  const unread = keep(ring.unread, tag, { time: now, reported: false }, RING.unread)
  return { ...ring, unread, reportAt: ring.reportAt ?? schedule(ring, now, random) }
}

/** Returns a random time within the hour after the next report is allowed. */
function schedule({ reports }: Ring, now: number, random: number): number {
  const previous = reports.at(-1)
  const first = reports.length < RING.reports ? undefined : reports.at(-RING.reports)
  const allowed = Math.max(now, previous === undefined ? 0 : previous + RING.pause, first === undefined ? 0 : first + 86_400)
  // A clock that was set back must not delay a report for ever.
  return Math.min(allowed, now + 86_400) + Math.floor(random * RING.pause)
}

/** A report to send, of the type `unreadable`. */
export interface Report {
  readonly ring: Ring
  readonly tags: readonly string[]
  /** `daily`: the contact did not answer the last report, so this one goes to the bundle. */
  readonly way?: 'daily'
}

/** Takes the report that is due. @returns undefined if none is */
export function takeReport(ring: Ring, { now, random }: { readonly now: number; readonly random: number }): Report | undefined {
  const { reportAt } = ring
  if (reportAt === undefined || (now < reportAt && reportAt <= now + 2 * 86_400)) return undefined
  const waiting = [...ring.unread].filter(([, { reported }]) => !reported)
  const taken = waiting.slice(0, RING.tags)
  const others = without(ring, 'reportAt')
  if (taken.length === 0) return undefined
  const unread = new Map(ring.unread)
  for (const [tag, { time }] of taken) unread.set(tag, { time, reported: true })
  const reports = [...ring.reports.filter((time) => time > now - 86_400 && time <= now), now]
  const reported = { ...others, unread, reports, unanswered: true }
  const next = waiting.length > taken.length ? { ...reported, reportAt: schedule(reported, now, random) } : reported
  return { ring: next, tags: taken.map(([tag]) => tag), ...(ring.unanswered ? { way: 'daily' as const } : {}) }
}

/**
 * Takes a report of the contact about messages that the user still has. Call it after {@link onRead}. The contact has
 * lost the private halves of the keys that it gave before, some or all of them.
 */
export function onReport(ring: Ring, report: { readonly time: number; readonly id: string }): Ring {
  const limit = { ...report, index: 0 }
  const held = ring.held.filter(({ place }) => compareAge(place, limit) >= 0)
  const isOlder = ring.last !== undefined && compareAge(ring.last.place, limit) < 0
  return { ...(isOlder ? without(ring, 'last') : ring), held }
}

export type { Doubt }
