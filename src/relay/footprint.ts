/**
 * The most memory that a relay occupies, part by part: the table in docs/architecture.md, "Memory". The check
 * `memory-limit` compares the sum with the limit of the process, and a test compares it with those of the appliance and
 * the systemd unit.
 */
import { STOCK_BYTES } from '../protocol/output.ts'
import { MOST_KEYS } from './senders.ts'
import { TRAFFIC_BYTES } from './traffic.ts'

const MIB = 2 ** 20
/** An idle connection; 7,070 bytes were measured for a WebSocket (docs/performance.md). */
const CONNECTION_BYTES = 8_192
/**
 * The most that a connection remembers: 16 open challenges (7 KB), 4 tokens and 4 receivers (5 KB), 32 checked receivers
 * and 16 mailboxes (3 KB); 14 KB were measured.
 */
const REMEMBERED_BYTES = 16_384
/** A key that has sent, with its limits: 271 bytes were measured. A mailbox that only was read has 175. */
const KEY_BYTES = 288
/** The program without messages and connections: 90 MiB were measured. */
const PROGRAM_BYTES = 96 * MIB

/** The web page, raw and compressed: 140 KiB compressed at most. The relay offers no larger one. */
export const PAGE_BYTES = MIB

/** The parts, in bytes. */
export interface Footprint {
  readonly messages: number
  readonly connections: number
  readonly traffic: number
  readonly keys: number
  readonly page: number
  readonly program: number
}

/** @param settings.memory the budget for messages, bytes */
export function estimateFootprint({ memory, connections }: { readonly memory: number; readonly connections: number }): Footprint {
  return {
    // src/mailbox/arena.ts: half of the memory may be holes, and seven slabs beside.
    messages: 2 * memory + 7 * MIB,
    connections: connections * (CONNECTION_BYTES + REMEMBERED_BYTES),
    traffic: TRAFFIC_BYTES + STOCK_BYTES,
    // Seniors and newcomers.
    keys: 2 * MOST_KEYS * KEY_BYTES,
    page: PAGE_BYTES,
    program: PROGRAM_BYTES,
  }
}

/** Returns the sum of all parts. */
export function estimateMemory(settings: { readonly memory: number; readonly connections: number }): number {
  return Object.values(estimateFootprint(settings)).reduce((sum, bytes) => sum + bytes, 0)
}
