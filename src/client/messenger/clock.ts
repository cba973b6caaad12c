/** Time and timers. Tests pass a clock that they move themselves. */
export interface Clock {
  /** Milliseconds since 1970. */
  now(): number
  /** Calls `work` once after `milliseconds`. @returns a function that cancels it */
  after(milliseconds: number, work: () => void): () => void
}

/** The longest timer. For a longer time `work` is called early, and must check the time itself. */
const MOST_MS = 2_147_483_647

/** The clock of the system. */
export const systemClock: Clock = Object.freeze({
  now: () => Date.now(),
  after(milliseconds: number, work: () => void) {
    const timer = setTimeout(work, Math.min(Math.max(milliseconds, 0), MOST_MS))
    return () => clearTimeout(timer)
  },
})
