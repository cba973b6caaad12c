/**
 * The errors of docs/protocol.md, section 5: a closed set of codes, each with its effect on the connection and one
 * fixed line of text. The text is for people; it never contains bytes that a peer sent.
 */
import { CodedError } from './coded-error.ts'

export interface ErrorRow {
  readonly text: string
  /** `stays`, `closes`, or the number of errors of this code after which the connection closes. */
  readonly connection: 'stays' | 'closes' | number
  /** The same number for a connection that has not proved a key, if that differs. */
  readonly unproven?: number
}

export const ERRORS = {
  'wrong-usage': { text: 'fields are missing, too many or malformed', connection: 10 },
  'unknown-packet': { text: 'there is no packet of that number', connection: 10 },
  'too-large': { text: 'the line or its payload is over the limit', connection: 'closes' },
  'bad-key': { text: 'the key does not parse or is too weak', connection: 'stays' },
  'unsupported-key': { text: 'the key is of a type that cannot be used here', connection: 'stays' },
  'auth-failed': { text: 'the answer is wrong, or its handle is unknown or expired', connection: 3 },
  'bad-token': { text: 'the token is missing, forged, expired, revoked or of another relay', connection: 'stays', unproven: 10 },
  denied: { text: 'this relay does not admit that key', connection: 'stays' },
  'mailbox-full': { text: 'the receiver has too many messages waiting', connection: 'stays' },
  'relay-full': { text: 'the relay has no memory left for messages', connection: 'stays' },
  'rate-limited': { text: 'too many requests, try again after the seconds in the next field', connection: 'stays' },
  'not-ready': { text: 'the relay does not know its onion name yet', connection: 'stays' },
  timeout: { text: 'not authenticated in time, or idle too long', connection: 'closes' },
  restarting: { text: 'the relay is going down, try again after the seconds in the next field', connection: 'closes' },
} as const satisfies Record<string, ErrorRow>

export type ErrorCode = keyof typeof ERRORS

export const ERROR_CODES = Object.freeze(Object.keys(ERRORS)) as readonly ErrorCode[]

/** The codes of a NOTICE (packet 98). */
export const NOTICE_CODES = ['taken-over', 'restarting', 'moved'] as const
export type NoticeCode = (typeof NOTICE_CODES)[number]

/**
 * Reports a mistake of the peer. The session answers it with its code, counts it and never logs it. The error has no
 * text of its own, so no byte of the peer can get into it.
 */
export class ProtocolError extends CodedError<ErrorCode> {
  /** The third field of the ERROR, for the codes that have one: seconds to wait. */
  readonly detail: number | undefined

  constructor(code: ErrorCode, detail?: number) {
    super('ProtocolError', code)
    this.detail = detail
  }
}
