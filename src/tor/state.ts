/**
 * Tor's own state: how far its start (bootstrap) is, read from the control port or from the report of another program. The
 * result is a number and a word of a
 * closed set, and nothing else of tor's reply.
 */
import type { Address } from '../transport/address.ts'
import { type Ask, authenticate, converse, getInfo } from './control.ts'

/** Tor's tags of bootstrap phases (control-spec.txt, BOOTSTRAP), and our own two words for a failed question. */
export const TOR_SUMMARIES = [
  'starting',
  'conn_pt',
  'conn_done_pt',
  'conn_proxy',
  'conn_done_proxy',
  'conn',
  'conn_done',
  'handshake',
  'handshake_done',
  'onehop_create',
  'requesting_status',
  'loading_status',
  'loading_keys',
  'requesting_descriptors',
  'loading_descriptors',
  'enough_dirinfo',
  'ap_conn_pt',
  'ap_conn_done_pt',
  'ap_conn_proxy',
  'ap_conn_done_proxy',
  'ap_conn',
  'ap_conn_done',
  'ap_handshake',
  'ap_handshake_done',
  'circuit_create',
  'done',
  'unreachable',
  'unauthorized',
  'other',
] as const
export type TorSummary = (typeof TOR_SUMMARIES)[number]

export interface TorState {
  /** Tor answered, and let us in. */
  readonly reachable: boolean
  /** Percent; undefined if tor was not reachable or did not state it. */
  readonly bootstrap: number | undefined
  /** Tor's tag of the phase. `unreachable`: no answer in time. `unauthorized`: tor did not let us in. */
  readonly summary: TorSummary
  /** Seconds since the report of another program; absent if tor itself was asked. */
  readonly ageSeconds?: number
}

const UNREACHABLE: TorState = Object.freeze({ reachable: false, bootstrap: undefined, summary: 'unreachable' })
const UNAUTHORIZED: TorState = Object.freeze({ reachable: false, bootstrap: undefined, summary: 'unauthorized' })

const DEFAULT_TIMEOUT_MS = 2_000

/** Reads the state. Never rejects: `unreachable` and `unauthorized` are states, too. */
export async function readTorState(address: Address, options: { readonly timeoutMs?: number } = {}): Promise<TorState> {
  return (await converse(address, options.timeoutMs ?? DEFAULT_TIMEOUT_MS, askTor)) ?? UNREACHABLE
}

async function askTor(ask: Ask): Promise<TorState> {
  if (!(await authenticate(ask))) return UNAUTHORIZED
  const phase = (await getInfo(ask, 'status/bootstrap-phase')) ?? ''
  return describePhase(/ PROGRESS=(\d{1,3})(?: |$)/.exec(phase)?.[1], / TAG=([a-z_]{1,40})(?: |$)/.exec(phase)?.[1])
}

function describePhase(percent: string | undefined, tag: string | undefined): TorState {
  return {
    reachable: true,
    bootstrap: percent === undefined || Number(percent) > 100 ? undefined : Number(percent),
    summary: TOR_SUMMARIES.find((each) => each === tag) ?? 'other',
  }
}

/** The program that reports renews its file every two seconds (deploy/tor/entry.c). */
const STALE_SECONDS = 10

/**
 * Reads the report of a program that can ask tor: `PERCENT TAG`, or `silent`. An old report means that the program has
 * ended or hangs, and tor with it.
 */
export function parseTorReport({ text, ageSeconds }: { readonly text: string; readonly ageSeconds: number }): TorState {
  const [, percent, tag] = /^(\d{1,3}) ([a-z_]{1,40})\n$/.exec(text) ?? []
  const age = { ageSeconds: Math.floor(ageSeconds) }
  return percent === undefined || ageSeconds > STALE_SECONDS ? { ...UNREACHABLE, ...age } : { ...describePhase(percent, tag), ...age }
}
