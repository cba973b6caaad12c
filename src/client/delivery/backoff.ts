/** How long to wait before another try, without a clock: full jitter, so that clients do not come back together. */

const FIRST_MS = 1_000
const MOST_MS = 60_000

/**
 * @param failures in a row, at least 1
 * @param random in [0, 1)
 * @param seconds what the relay asked for; waited at least, up to an hour
 * @returns milliseconds
 */
export function backoff(failures: number, random: number, seconds = 0): number {
  const most = Math.min(MOST_MS, FIRST_MS * 2 ** Math.min(failures - 1, 10))
  return Math.min(seconds, 3_600) * 1_000 + most / 2 + (random * most) / 2
}
