/**
 * The ring of a contact: the one-time keys that the user gave to this contact for answers, and those that the contact
 * gave to the user. The other files of this folder are its rules, as functions from a ring and an input to the next
 * ring: no I/O, no clock, no randomness. Nothing changes a ring in place, so a program that could not write the next
 * one goes on with the one before. Times are seconds since 1970.
 *
 * The rules have the numbers of docs/protocol.md, section 13. Forward secrecy comes from R2: the receiver erases the
 * private half of a key once the message that used it was read.
 */
import type { Mailbox } from '../format/answer.ts'

const DAY = 86_400

export const RING = Object.freeze({
  /** Keys of ours that the contact may hold unused. */
  outstanding: 32,
  /** Keys in one message. */
  fresh: 3,
  /** While the contact reports fewer unused keys than this, each message brings three. */
  scarce: 2,
  /** Keys of ours in all: outstanding ones, used ones that may be used again, and those of an earlier state. */
  given: 128,
  /** Unused keys of the contact. */
  held: 64,
  /** How long to encrypt to a key, and how long its private half lives, from the time of the message that gave it. */
  usable: 14 * DAY,
  life: 22 * DAY,
  /** How long the keys for an earlier state of the contact stay for reading. */
  former: 8 * DAY,
  /** How long a key is marked before its age erases it. */
  grace: DAY,
  /** Ids of read messages, and runs of read messages that wait for a missing one. */
  read: 256,
  runs: 64,
  /** Tags of opened payloads. */
  seen: 2_048,
  /** Tags of payloads that no key opened, and how long to keep one. */
  unread: 4_096,
  kept: 23 * DAY,
  /** Tags in one report; seconds between two reports; reports in a day. */
  tags: 64,
  pause: 3_600,
  reports: 8,
  /** A message that was sent again this often, to a contact who was silent this long, goes to the bundle. */
  resends: 3,
  silent: 3 * DAY,
  /** How often a reported message is encrypted anew. */
  renewals: 3,
})

/** The name and age of a key: the time and id of the message that gave it, and its index in the header `keys`. */
export interface Place {
  readonly time: number
  readonly id: string
  readonly index: number
}

/** Orders keys by age, in the same way on both sides. */
export function compareAge(one: Place, other: Place): number {
  return one.time - other.time || (one.id < other.id ? -1 : one.id > other.id ? 1 : one.index - other.index)
}

/** A key that the user gave to the contact. */
export interface Given {
  readonly place: Place
  /** The secret of `hybridKey`, 32 bytes. */
  readonly seed: Uint8Array
  /**
   * `open`: not used yet. `used`: a message used it, and the next one may use it again. `former`: for a state that the
   * contact has lost; only messages on their way can use it.
   */
  readonly use: 'open' | 'used' | 'former'
  /** When a `former` key dies. */
  readonly until?: number
  /** When its time was found to be up (R7). */
  readonly mark?: number
}

/** A key that the contact gave to the user. */
export interface Held {
  readonly place: Place
  /** `age1pq1…`, or `age1…` from a contact with an older age. Empty if it must not be used again. */
  readonly recipient: string
  readonly mark?: number
}

/** An unproven beginning, which the user may accept. */
export interface Doubt {
  readonly time: number
  readonly id: string
  readonly keys: readonly string[]
  readonly address: readonly Mailbox[]
}

/** Messages that were read, each the predecessor of the next, without the one before the first. */
export interface Run {
  /** The id of the last message. */
  readonly id: string
  /** The id of the missing message. */
  readonly after: string
  /** When the first of them was read. */
  readonly since: number
  /** The newest key of ours among those that opened them. */
  readonly place?: Place
}

export interface Unread {
  readonly time: number
  readonly reported: boolean
}

/** Everything that the user remembers for forward secrecy with one contact. */
export interface Ring {
  /** Oldest first. */
  readonly given: readonly Given[]
  /** Oldest first. */
  readonly held: readonly Held[]
  /** The key of the contact that the user used most recently. Without a recipient it must not be used again, nor older ones. */
  readonly last?: Held
  /** How many keys of ours the contact holds, as its latest message says. */
  readonly left?: { readonly count: number; readonly time: number }
  /** Whether the contact knows this state: it has used a key of it. */
  readonly known: boolean
  /** When the last message of the contact was opened, by the user's clock. */
  readonly heard?: number
  /** The time of the contact's latest message to a key of ours. */
  readonly usedAt?: number
  /** The time of the message with which the contact last began anew. */
  readonly anewAt?: number
  readonly doubt?: Doubt
  readonly address?: { readonly time: number; readonly mailboxes: readonly Mailbox[] }
  /** Ids of messages that were read with all before them, the latest last. */
  readonly read: readonly string[]
  readonly runs: readonly Run[]
  /** By the tag of an opened payload: the id of its message, the latest last. */
  readonly seen: ReadonlyMap<string, string>
  /** Tags of payloads that no key opened. */
  readonly unread: ReadonlyMap<string, Unread>
  /** When reports were sent in the last day, and when the next one is due. */
  readonly reports: readonly number[]
  readonly reportAt?: number
  /** Whether nothing of the contact was opened since the last report. */
  readonly unanswered: boolean
}

/** The ring of a new contact, and of a user who has lost the state. */
export const EMPTY: Ring = Object.freeze({
  given: [],
  held: [],
  known: false,
  read: [],
  runs: [],
  seen: new Map<string, string>(),
  unread: new Map(),
  reports: [],
  unanswered: false,
})

/** Returns the seeds of all keys that `next` lacks: overwrite them once `next` is written. */
export function findErased(ring: Ring, next: Ring): Uint8Array[] {
  const kept = new Set(next.given.map(({ seed }) => seed))
  return ring.given.filter(({ seed }) => !kept.has(seed)).map(({ seed }) => seed)
}

/** Returns the object without the property. */
export function without<T extends object, Name extends keyof T>(object: T, name: Name): Omit<T, Name> {
  const { [name]: _, ...others } = object
  return others
}

/** Returns the map with the entry last, and with at most `most` entries. */
export function keep<T>(map: ReadonlyMap<string, T>, key: string, value: T, most: number): Map<string, T> {
  const next = new Map(map)
  next.delete(key)
  next.set(key, value)
  while (next.size > most) next.delete(next.keys().next().value!)
  return next
}
