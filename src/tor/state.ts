/**
 * Tor's own state: how far its start (bootstrap) is, read from the control port. The result is a number and a word of a
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
  const percent = / PROGRESS=(\d{1,3})(?: |$)/.exec(phase)?.[1]
  const tag = / TAG=([a-z_]{1,40})(?: |$)/.exec(phase)?.[1]
  return {
    reachable: true,
    bootstrap: percent === undefined || Number(percent) > 100 ? undefined : Number(percent),
    summary: TOR_SUMMARIES.find((each) => each === tag) ?? 'other',
  }
}
