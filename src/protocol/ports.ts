/**
 * The interface between a relay's session (relay-session.ts) and the relay around it. Mailboxes, proofs, limits and
 * counters come in as ports, and effects go out: a test can run a session without a relay, and no part of a relay knows
 * a session.
 */
import type { Challenge } from './challenge.ts'
import type { ErrorCode } from './errors.ts'
import type { Limits } from './limits.ts'
import type { Stock } from './output.ts'

/** How a message is leased: by SUBSCRIBE, by `GET …;lease`, or by a plain GET until its bytes are written. */
export type Lease = 'subscribe' | 'lease' | 'plain'

/** A message id: 64 random bits as two uint32. On the wire it has 16 hexadecimal digits. */
export interface MessageId {
  readonly high: number
  readonly low: number
}

/** A stored message: its id, and its payload as the bytes from `start` to `end`. */
export interface Stored extends MessageId {
  readonly bytes: Buffer
  readonly start: number
  readonly end: number
}

export type Put = MessageId | { readonly refused: 'mailbox-full' | 'relay-full' }

/** What a message may fill. */
export interface Terms {
  /** The part of the memory budget, from 0 to 1. */
  readonly share?: number
  /** The messages in its mailbox. */
  readonly places?: number
  /** The message counts against the budgets of strangers, too. */
  readonly isStranger?: boolean
}

/** A proof that stands on this connection: its mailbox, and until when its token is good. */
export interface Proven {
  readonly mailbox: string
  /** ms */
  readonly expires: number
  /** Whether a secret was shown, and no key proved. */
  readonly isClaim: boolean
}

/** A subscription of a connection to a mailbox. */
export interface Subscriber {
  /** The connection's number, not zero. */
  readonly owner: number
  /** Tells it that there may be a message to take. */
  onWaiting(): void
  /** Tells it that a newer subscriber of another connection has the mailbox. */
  onTakenOver(): void
}

/** The connection of a session, as the session's subscriptions see it. */
export interface Reader {
  /** The connection's number, not zero. */
  readonly owner: number
  /** Has the session's `onNews` called at the end of this turn of the event loop. */
  wake(): void
}

/** The mailboxes (src/mailbox/mailbox.ts). `id` is a mailbox's blinded id, `now` is in ms. */
export interface Mailboxes {
  /**
   * Stores a message.
   *
   * @param terms by default those of a message without special terms: all memory, and the usual size of a mailbox
   */
  put(id: string, payload: Uint8Array, now: number, terms?: Terms): Put
  /**
   * Leases waiting messages, in order, to `owner`. The length of `into` bounds their count, and `how.bytes` the sum of
   * their payloads; one message always fits. Writes references into `into`: numbers, each different from the reference
   * of a later message in the same place.
   *
   * @returns the count of references
   */
  take(id: string, owner: number, how: { readonly lease: Lease; readonly bytes: number }, now: number, into: Float64Array): number
  /** Counts the messages that wait, leased ones left out. */
  waiting(id: string): number
  /**
   * Finds a message by its reference. Returns the same object each time, good until the next call, or undefined if the
   * message is erased.
   */
  read(reference: number): Stored | undefined
  /** Erases a message of a plain GET, because its bytes are written. */
  taken(reference: number, owner: number): void
  /** Erases a message by its id, even if another connection leases it. Returns false if the id is unknown. */
  ack(id: string, high: number, low: number): boolean
  /** Erases all messages of a mailbox. Returns their count. */
  wipe(id: string): number
  /**
   * Subscribes to a mailbox, in place of the subscriber before. Returns the count of waiting messages, or undefined if
   * readers take too much memory for another empty mailbox.
   */
  subscribe(id: string, subscriber: Subscriber): number | undefined
  /** Ends the owner's subscription and leases in a mailbox. */
  leave(id: string, owner: number): void
  /** Counts the memory of one more label. Returns false if readers take too much memory for it. */
  addLabel(): boolean
  /** Labels are gone. */
  dropLabels(count: number): void
  /** Publishes a bundle, in place of the one before. @returns false if there is no memory for it */
  publish(id: string, bundle: Uint8Array, now: number, share: number): boolean
  /** Takes the bundle down. */
  unpublish(id: string): void
  /** Finds a bundle, good until the next call. */
  bundle(id: string, now: number): Buffer | undefined
}

/** The part of a challenge that the prover keeps until the answer comes. Opaque to the session. */
export interface Proof {
  readonly method: 'decrypt' | 'sign'
  readonly mailbox: string
}

export type Challenged<P extends Proof> =
  { readonly proof: P; /** base64 */ readonly challenge: string } | { readonly refused: ErrorCode; readonly detail?: number }

/** A key of good form whose point may be off its curve. Its owner erases it. */
export interface UncheckedKey {
  isSound(): boolean
  erase(): void
}

/** A receiver as a SEND or FETCH names it: its mailbox, and its key, if that must be checked before the mailbox is used. */
export interface Named {
  readonly mailbox: string
  readonly unchecked?: UncheckedKey
}

/** The services that all connections of a relay share. */
export interface Ports {
  readonly limits: Limits
  /** Buffers for outputs. */
  readonly stock: Stock
  readonly mailboxes: Mailboxes
  /** Returns the relay's names; none while it does not know them. */
  names(): readonly string[]
  /** Returns the name to use instead of `name`, if the relay is leaving that one. */
  movedTo(name: string): string | undefined
  /** Whether the relay admits the key of a mailbox: the key may log in. */
  admits(mailbox: string): boolean
  /** Whether the key may send. */
  sends(mailbox: string): boolean
  /** Whether the key has a mailbox. */
  receives(mailbox: string): boolean
  /** Whether the key is not on the operator's list, and may only send. */
  isStranger(mailbox: string): boolean
  /** Returns the most messages in the mailbox. */
  places(mailbox: string): number
  /**
   * Finds the mailbox of a receiver.
   *
   * @throws {ProtocolError} `bad-key`, `unsupported-key`
   */
  receiver(field: Uint8Array): Named
  /** Returns the mailbox of a secret; undefined if the field has not the form of a secret. */
  claim(secret: Uint8Array): string | undefined
  issueToken(proven: Omit<Proven, 'expires'>, audience: string, now: number): string
  /** Returns the proof behind a good token, and undefined for any other field. */
  verifyToken(token: Uint8Array, now: number): Proven | undefined
  /** Draws a random handle (decimal) and nonce (32 bytes in base64url). */
  drawChallenge(): Pick<Challenge, 'handle' | 'nonce'>
  /** Counts an event, for the operator. */
  count(what: 'decrypt' | 'sign' | 'claim' | 'stored' | 'delivered' | 'published' | 'fetched' | { readonly refused: ErrorCode }): void
}

/** The rate limits of one connection. */
export interface Rates {
  /** Returns the seconds until one step of a login, AUTH, VERIFY or CLAIM, may be tried; 0 allows it now, and counts it. */
  loginWait(now: number): number
  /** Returns the seconds until the sender may send `bytes` bytes; 0 allows it now, and counts them. */
  sendWait(sender: Proven, bytes: number, now: number): number
  /** Returns the part of the memory budget, from 0 to 1, that a message of this sender to this mailbox may fill up to. */
  memoryShare(sender: Proven, receiver: string): number
  /** A key or secret was proven, or its token used for the first time on this connection. */
  onProven(proven: Proven, now: number): void
  /** The connection reads a mailbox. */
  onReading(mailbox: string, now: number): void
}

export type Effect<P extends Proof = Proof> =
  /** Parse the key and make its challenge, then call `onChallenged`. `key` is good until then. */
  | { readonly kind: 'challenge'; readonly key: Uint8Array; readonly sign: boolean; readonly challenge: Challenge }
  /**
   * Check the answer, then call `onVerified`. `answer` is good until then. Without a proof the check costs the same, and
   * uses no key from the answer.
   */
  | { readonly kind: 'verify'; readonly proof: P | undefined; readonly answer: Uint8Array }
  /** Check and erase the key of a receiver, then call `onReceiver`. */
  | { readonly kind: 'receiver'; readonly key: UncheckedKey }
  /** The connection has its first proof: it is a stranger no more. */
  | { readonly kind: 'proven' }
  /** Everything is written: end the stream. */
  | { readonly kind: 'end' }
  /** The peer takes nothing more: end the stream at once. */
  | { readonly kind: 'destroy' }
