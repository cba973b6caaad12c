/** Pauses between two tries, without a clock. Full jitter keeps clients from coming back at the same time. */

const FIRST_MS = 1_000
const MOST_MS = 60_000
const FIRST_MAILBOX_MS = 15_000
const MOST_MAILBOX_MS = 600_000

/**
 * The most by which a reconnect is put off if no user waits for it, and a message to one of several people, ms: relays
 * could join mailboxes by the time.
 */
export const SPREAD_MS = 20_000

/**
 * Returns the pause before the next try.
 * @param failures failures in a row, at least 1
 * @param random in [0, 1)
 * @param seconds the least pause, as the relay asked for; at most an hour counts
 * @returns milliseconds
 */
export function backoff(failures: number, random: number, seconds = 0): number {
  const most = Math.min(MOST_MS, FIRST_MS * 2 ** Math.min(failures - 1, 10))
  return Math.min(seconds, 3_600) * 1_000 + most / 2 + (random * most) / 2
}

/**
 * Returns whether a pause is over, in milliseconds. A time further ahead than the longest pause counts as over too,
 * because then the clock was set back.
 * @param most the longest pause
 */
export function isOver(time: number, now: number, most: number): boolean {
  return time <= now || (time < Number.POSITIVE_INFINITY && time > now + most)
}

/**
 * Returns the pause before a mailbox that is full, or has no good bundle, is tried again, in ms.
 * @param random in [0, 1)
 */
export function mailboxPause(failures: number, random: number): number {
  return Math.min(MOST_MAILBOX_MS, FIRST_MAILBOX_MS * 2 ** (failures - 1)) * (0.75 + random / 4)
}
