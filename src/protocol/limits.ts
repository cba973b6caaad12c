/**
 * The limits of docs/protocol.md, section 6, in one place, each with its unit and reason.
 * Sizes are in bytes (a payload's characters are bytes), times in seconds.
 */
export interface Limits {
  /** A line before the connection proved a key: an RSA-8192 certificate and an SSHSIG still fit. */
  readonly lineBeforeToken: number
  /** A payload's base64 characters. */
  readonly payload: number
  /** What a line may hold beside its payload: token, receiver, separators. */
  readonly lineOverhead: number
  /** Until the first packet: a connection that says nothing holds a slot that others need. */
  readonly firstPacketSeconds: number
  /** Until a TOKEN: a person may have to touch a FIDO key. */
  readonly loginSeconds: number
  /** Without a byte from the peer. Above the lifetime of a quiet circuit; clients send PING. */
  readonly idleSeconds: number
  /** For one write to be taken by a reader that is slow or gone; a circuit through Tor is never that slow. */
  readonly writeSeconds: number
  /** Messages waiting in one mailbox, leased ones included. */
  readonly mailboxMessages: number
  /** How long a message is held at most. */
  readonly holdSeconds: number
  /** Messages delivered under SUBSCRIBE and not yet acknowledged. */
  readonly window: number
  /** Messages in a GET's batch. */
  readonly batchMessages: number
  /** Payload bytes in a GET's batch; a single larger message still goes alone. */
  readonly batchBytes: number
  /** How long a token is good. */
  readonly tokenSeconds: number
  /** How long a CHALLENGE may be answered. */
  readonly handleSeconds: number
  /** Unanswered CHALLENGEs of one connection; of more, the oldest is forgotten. */
  readonly handles: number
}

export const DEFAULT_LIMITS: Limits = Object.freeze({
  lineBeforeToken: 8_192,
  payload: 32_768,
  lineOverhead: 4_096,
  firstPacketSeconds: 30,
  loginSeconds: 120,
  idleSeconds: 15 * 60,
  writeSeconds: 120,
  mailboxMessages: 128,
  holdSeconds: 7 * 24 * 60 * 60,
  window: 64,
  batchMessages: 128,
  batchBytes: 1_048_576,
  tokenSeconds: 60 * 60,
  handleSeconds: 60,
  handles: 16,
})
