/**
 * What can go wrong between a client and a relay, as one closed set of codes. An error's text is its
 * code: nothing that a relay sent is in it.
 */
import { CodedError } from '../../protocol/coded-error.ts'
import type { BreachReason, RefusalCode } from '../../protocol/client-session.ts'
import type { ConnectCode } from '../../transport/address.ts'

export type RelayErrorCode =
  /** The relay refused (docs/protocol.md, section 5). */
  | RefusalCode
  /** The relay could not be reached. */
  | ConnectCode
  /** The connection ended without a word. */
  | 'closed'
  /** The relay did not answer in time. */
  | 'no-answer'
  /** The relay is not reached by the name dialled. */
  | 'wrong-name'
  /** A newer subscriber has the mailbox. */
  | 'taken-over'
  /** The relay asked for an answer that would be of use to read our mail or to log in elsewhere as us. */
  | 'hostile-challenge'
  /** The relay does not speak the protocol. `reason` says where it left it. */
  | 'broken-relay'

export class RelayError extends CodedError<RelayErrorCode> {
  /** When to come back, where the relay said so. */
  readonly seconds: number | undefined
  readonly reason: BreachReason | undefined

  constructor(code: RelayErrorCode, more: { seconds?: number | undefined; reason?: BreachReason } = {}) {
    super('RelayError', code, more.reason === undefined ? code : `${code}: ${more.reason}`)
    this.seconds = more.seconds
    this.reason = more.reason
  }
}

export function fromBreach(reason: BreachReason): RelayError {
  return new RelayError(reason === 'foreign-challenge' ? 'hostile-challenge' : 'broken-relay', { reason })
}
