/**
 * What a session asks of the relay around it, and what it asks to be done (session.ts): mailboxes, proofs, limits and
 * counters come as ports, so that it is tested without any of them, and none of them knows a session.
 */
import type { Challenge } from './challenge.ts'
import type { ErrorCode } from './errors.ts'
import type { Limits } from './limits.ts'
import type { Stock } from './output.ts'

/** How a message is leased: by SUBSCRIBE, by `GET …;lease`, or by a plain GET until it was written out. */
export type Lease = 'subscribe' | 'lease' | 'plain'

/** A message id: 64 random bits as two uint32, told as 16 hexadecimal digits. */
export interface MessageId {
  readonly high: number
  readonly low: number
}

/** A message in the mailboxes' memory: its id, and between which bytes its payload lies. */
export interface Stored extends MessageId {
  readonly bytes: Buffer
  readonly start: number
  readonly end: number
}

export type Put = MessageId | { readonly refused: 'mailbox-full' | 'relay-full' }

/** Who reads a mailbox as its messages come. */
export interface Subscriber {
  /** The connection's number, not zero. */
  readonly owner: number
  /** There may be something to take. */
  onWaiting(): void
  /** A newer subscriber has the mailbox. */
  onTakenOver(): void
}

/** What the session asks of the mailboxes (src/mailbox/mailbox.ts); `id` is a mailbox's blinded id. */
export interface Mailboxes {
  put(id: string, payload: Uint8Array, now: number): Put
  /**
   * Leases what waits, in order, bounded in messages (by the length of `into`) and bytes (one message always fits).
   * A message's reference is a plain number, and is told from a later message in the same place.
   * @returns how many references stand in `into`
   */
  take(id: string, owner: number, how: { readonly lease: Lease; readonly bytes: number }, now: number, into: Float64Array): number
  /** Messages that wait, leased ones not among them. */
  waiting(id: string): number
  /** A message while it lives; what is given is one object for all, and good until the next call. */
  read(reference: number): Stored | undefined
  /** Erases a message that a plain GET wrote out. */
  taken(reference: number, owner: number): void
  /** Erases by message id, whoever leases it; gives whether it was there. */
  ack(id: string, high: number, low: number): boolean
  wipe(id: string): number
  /** Gives how many wait. */
  subscribe(id: string, subscriber: Subscriber): number
  /** Ends the owner's subscription and leases there. */
  leave(id: string, owner: number): void
}

/** A challenge as the prover remembers it; opaque here. */
export interface Proof {
  readonly method: 'decrypt' | 'sign'
  readonly mailbox: string
}

export type Challenged<P extends Proof> =
  { readonly proof: P; /** base64 */ readonly challenge: string } | { readonly refused: ErrorCode; readonly detail?: number }

export interface Ports {
  readonly limits: Limits
  /** Where outputs have their buffers from. */
  readonly stock: Stock
  readonly mailboxes: Mailboxes
  /** The names that the relay is reached by; empty while it does not know them. */
  names(): readonly string[]
  /** The name to use instead, where the relay is leaving `name`. */
  movedTo(name: string): string | undefined
  admits(mailbox: string): boolean
  /** Seconds to wait before another login may be tried, 0 if it may be now; counts the try. */
  loginWait(now: number): number
  /** Seconds to wait before the sender may send so many bytes, 0 if it may be now; counts them. */
  sendWait(sender: string, bytes: number, now: number): number
  /** The mailbox of a SEND's receiver. @throws ProtocolError `bad-key` */
  receiver(field: Uint8Array): string
  issueToken(mailbox: string, audience: string, now: number): string
  /** The mailbox of a token and when it expires (ms); undefined for anything but a good one. */
  verifyToken(token: Uint8Array, now: number): { readonly mailbox: string; readonly expires: number } | undefined
  /** A random handle, decimal, and a nonce: 32 random bytes in base64url. */
  drawChallenge(): Pick<Challenge, 'handle' | 'nonce'>
  /** What happened, for the relay's counters. */
  count(what: 'decrypt' | 'sign' | 'stored' | 'delivered' | { readonly refused: ErrorCode }): void
}

export type Effect<P extends Proof = Proof> =
  /** Parse the key, make its challenge, then call `onChallenged`. `key` is good until then. */
  | { readonly kind: 'challenge'; readonly key: Uint8Array; readonly sign: boolean; readonly challenge: Challenge }
  /** Check the answer, then call `onVerified`; alike long with a proof and without. `answer` is good until then. */
  | { readonly kind: 'verify'; readonly proof: P | undefined; readonly answer: Uint8Array }
  /** The first proof succeeded: another regime of limits. */
  | { readonly kind: 'proven' }
  /** Everything was written: end the stream. */
  | { readonly kind: 'end' }
  /** Nothing more can be said: end it at once. */
  | { readonly kind: 'destroy' }
