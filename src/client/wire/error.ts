/**
 * All failures between a client and a relay, as a closed set of codes. The message of an error is its code; it never
 * contains bytes of the relay.
 */
import { CodedError } from '../../protocol/coded-error.ts'
import type { BreachReason } from '../../protocol/breach.ts'
import type { RefusalCode } from '../../protocol/client-session.ts'
import type { ConnectCode } from '../../transport/address.ts'

/** Why a relay was not reached, refused, or was given up. */
export type RelayErrorCode =
  /** The relay refused (docs/protocol.md, section 5). */
  | RefusalCode
  /** The relay could not be reached. */
  | ConnectCode
  /** The connection ended without a reason. */
  | 'closed'
  /** The relay did not answer in time. */
  | 'no-answer'
  /** The relay has another name than the dialled one. */
  | 'wrong-name'
  /** The relay has no bundle of the receiver's inbox, and the sender has no other key to encrypt to. */
  | 'no-bundle'
  /** The relay's bundle of the receiver's inbox is too old, or dated in the future; `seconds` is its age. */
  | 'old-bundle'
  /** A newer subscriber has the mailbox. */
  | 'taken-over'
  /** The relay's challenge may be a message to the user, or another relay's challenge. The client did not answer. */
  | 'hostile-challenge'
  /** The relay broke the protocol; `reason` says how. */
  | 'broken-relay'

/** Thrown if a connection or a request fails. */
export class RelayError extends CodedError<RelayErrorCode> {
  /** Seconds to wait before trying again, if the relay gave them; with `old-bundle`, the age of the bundle. */
  readonly seconds: number | undefined
  /** With `broken-relay` and `hostile-challenge`. */
  readonly reason: BreachReason | undefined
  /**
   * The relay was not reached, and early data left all the same: the relay may have got it. A message counts as under way.
   */
  readonly mayHaveArrived: boolean

  constructor(code: RelayErrorCode, more: { seconds?: number | undefined; reason?: BreachReason; mayHaveArrived?: boolean } = {}) {
    super('RelayError', code, more.reason === undefined ? code : `${code}: ${more.reason}`)
    this.seconds = more.seconds
    this.reason = more.reason
    this.mayHaveArrived = more.mayHaveArrived === true
  }
}

/** Returns the error for a relay that broke the protocol. */
export function fromBreach(reason: BreachReason): RelayError {
  return new RelayError(reason === 'foreign-challenge' ? 'hostile-challenge' : 'broken-relay', { reason })
}
