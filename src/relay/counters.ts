/**
 * What the relay counts, as plain numbers: a closed set, nothing that could name a user. The
 * operator's page reads them at scrape time; the relay only adds.
 */
import { ERROR_CODES, type ErrorCode } from '../protocol/errors.ts'

export const DOORS = ['tcp', 'unix', 'http'] as const
export type Door = (typeof DOORS)[number]

export interface Counters {
  /** Streams accepted since the start, by door. */
  readonly accepted: Record<Door, number>
  /** Streams turned away before a packet was read, by reason. */
  readonly turnedAway: Record<'connections' | 'circuit' | 'proxy-header' | 'gave-way', number>
  /** Errors answered, by code. */
  readonly refused: Record<ErrorCode, number>
  /** Keys proven, by proof. */
  readonly logins: Record<'decrypt' | 'sign', number>
  /** Messages stored (SENT). */
  stored: number
  /** Messages written out to a receiver; one that returned and went out again counts again. */
  delivered: number
  /** Messages erased, by reason. */
  readonly erased: Record<'acked' | 'taken' | 'expired' | 'wiped', number>
}

export function createCounters(): Counters {
  return {
    accepted: { tcp: 0, unix: 0, http: 0 },
    turnedAway: { connections: 0, circuit: 0, 'proxy-header': 0, 'gave-way': 0 },
    refused: Object.fromEntries(ERROR_CODES.map((code) => [code, 0])) as Record<ErrorCode, number>,
    logins: { decrypt: 0, sign: 0 },
    stored: 0,
    delivered: 0,
    erased: { acked: 0, taken: 0, expired: 0, wiped: 0 },
  }
}

/** A moment of the relay, for the operator: gauges beside the counters. */
export interface Snapshot {
  readonly counters: Counters
  /** Whether doors are open and new streams are taken. */
  readonly accepting: boolean
  /** The names that the relay is reached by: its own, never a user's. */
  readonly names: readonly string[]
  readonly connections: number
  /** Connections that proved a key. */
  readonly proven: number
  readonly mailboxes: number
  readonly subscribers: number
  readonly messages: number
  /** Bytes that messages take of the budget, their overhead included. */
  readonly messageBytes: number
  readonly messageBudget: number
}
