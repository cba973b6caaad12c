/**
 * The limits of docs/protocol.md, section 6, each with its unit and reason. Sizes are in bytes (a payload's characters
 * are bytes), times in seconds.
 */
export interface Limits {
  /** A line before the connection has proven a key. A certificate of RSA-8192 and an SSHSIG by it still fit. */
  readonly lineBeforeToken: number
  /** The base64 characters of a payload. */
  readonly payload: number
  /** The rest of a SEND's line: token, receiver, separators. */
  readonly lineOverhead: number
  /** Until the first packet: a silent connection takes a place that others need. */
  readonly firstPacketSeconds: number
  /** Until the first TOKEN: a person may have to touch a FIDO key. */
  readonly loginSeconds: number
  /** Without a byte from the peer. Longer than the lifetime of a quiet circuit; clients send PING. */
  readonly idleSeconds: number
  /** For the peer to take one write. No circuit through Tor is that slow, so the reader is gone. */
  readonly writeSeconds: number
  /** Messages in one mailbox, leased ones included. */
  readonly mailboxMessages: number
  /** For which the relay holds a message at most. */
  readonly holdSeconds: number
  /** Messages delivered under SUBSCRIBE and not yet acknowledged. */
  readonly window: number
  /** Messages in a GET's batch. */
  readonly batchMessages: number
  /** Payload bytes in a GET's batch. A single message over it still goes, alone. */
  readonly batchBytes: number
  /** Lifetime of a token. */
  readonly tokenSeconds: number
  /** For which a CHALLENGE may be answered. */
  readonly handleSeconds: number
  /** Unanswered CHALLENGEs of one connection. One more, and the session forgets the oldest. */
  readonly handles: number
  /** Labels of one connection, beside the empty one. A person with 20 contacts reads 21 mailboxes. */
  readonly labels: number
  /** The base64 characters of a bundle. A signed post-quantum recipient has about 3,000. */
  readonly bundle: number
  /** For which the relay holds a bundle at most. */
  readonly bundleSeconds: number
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
  labels: 64,
  bundle: 8_192,
  bundleSeconds: 14 * 24 * 60 * 60,
})

/** The budgets of strangers: keys that are not on the operator's list, if the operator lets them send. */
export const STRANGER_LIMITS = Object.freeze({
  /** Payload bytes that one stranger may send at once, and again within an hour. */
  perSender: 4_194_304,
  /** The part of the connections, and of the memory for messages, that all strangers may have together. */
  share: 1 / 8,
  /** Messages of strangers in one mailbox. */
  mailboxMessages: 32,
})

/**
 * The most that a client holds for one relay, whatever WELCOME promises: an operator may raise the limits above, but a
 * hostile relay must not exhaust a client's memory.
 */
export const CLIENT_CAPS = Object.freeze({
  /** Characters of a payload. */
  payload: 1_048_576,
  /** Messages of a batch, and unacknowledged messages of a subscription. */
  messages: 4_096,
  /** Decoded bytes of a batch, and of the unacknowledged messages of a subscription. */
  bytes: 33_554_432,
  /** Characters of a token; this relay's have about 250. */
  token: 2_048,
  /** Notices on one connection. */
  notices: 64,
})
