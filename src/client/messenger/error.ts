import { CodedError } from '../../protocol/coded-error.ts'

/** Why a messenger failed, or refused a message. */
export type MessengerErrorCode =
  /** Too many messages, or too many bytes, are unconfirmed. */
  | 'outbox-full'
  /** The messenger is closed. */
  | 'closed'
  /** The contact has no relay. */
  | 'no-relay'
  /** The store of seen messages is damaged. The messenger leaves it untouched and does not start. */
  | 'broken-store'
  /** The store of the user's secrets is damaged. The messenger leaves it untouched and does not start. */
  | 'broken-secrets'
  /** The user has removed the contact. */
  | 'removed'
  /** The relay announced more messages than it delivered, and is silent. */
  | 'undelivered'

/** Thrown by a messenger, and the `error` of a delivery that it refused. */
export class MessengerError extends CodedError<MessengerErrorCode> {
  constructor(code: MessengerErrorCode) {
    super('MessengerError', code)
  }
}
