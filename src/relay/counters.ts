/**
 * The relay's counters: a closed set of plain numbers, none of which can identify a user. The relay only adds to them;
 * the operator's listener reads them at each scrape.
 */
import { ERROR_CODES, type ErrorCode } from '../protocol/errors.ts'

export const DOORS = ['tcp', 'unix', 'http'] as const
export type Door = (typeof DOORS)[number]

export interface Counters {
  /** Accepted streams, by door. */
  readonly accepted: Record<Door, number>
  /** Streams turned away before the relay read a packet, or ended to make room for others, by reason. */
  readonly turnedAway: Record<'connections' | 'circuit' | 'proxy-header' | 'gave-way' | 'key', number>
  /** ERROR packets, by code. */
  readonly refused: Record<ErrorCode, number>
  /** Proven keys, by method of proof, and claims. */
  readonly logins: Record<'decrypt' | 'sign' | 'claim', number>
  /** Stored messages (SENT). */
  stored: number
  /** Deliveries of messages. A message that returns and is delivered again counts again. */
  delivered: number
  /** Answers to PUBLISH and to FETCH. */
  published: number
  fetched: number
  /** Erased messages, by reason. */
  readonly erased: Record<'acked' | 'taken' | 'expired' | 'wiped', number>
}

export function createCounters(): Counters {
  return {
    accepted: { tcp: 0, unix: 0, http: 0 },
    turnedAway: { connections: 0, circuit: 0, 'proxy-header': 0, 'gave-way': 0, key: 0 },
    refused: Object.fromEntries(ERROR_CODES.map((code) => [code, 0])) as Record<ErrorCode, number>,
    logins: { decrypt: 0, sign: 0, claim: 0 },
    stored: 0,
    delivered: 0,
    published: 0,
    fetched: 0,
    erased: { acked: 0, taken: 0, expired: 0, wiped: 0 },
  }
}

/** The state of the relay at one moment, for the operator: gauges, and the counters. */
export interface Snapshot {
  readonly counters: Counters
  /** Whether the relay accepts new streams. */
  readonly accepting: boolean
  /** The relay's own names. */
  readonly names: readonly string[]
  readonly connections: number
  /** Connections that have proven a key, or claimed. */
  readonly proven: number
  readonly mailboxes: number
  readonly subscribers: number
  readonly messages: number
  readonly bundles: number
  /** Bytes of the budget that messages, bundles and readers take, their overhead included. */
  readonly messageBytes: number
  readonly messageBudget: number
}
