/** Time, as what runs on its own needs it. A test brings one that it moves itself. */
export interface Clock {
  /** Milliseconds since 1970. */
  now(): number
  /** Calls `work` once, in so many milliseconds, unless what it returns is called before. */
  after(milliseconds: number, work: () => void): () => void
}

/** A timer's longest time; who asks for more is called earlier, and looks again. */
const MOST_MS = 2_147_483_647

export const systemClock: Clock = Object.freeze({
  now: () => Date.now(),
  after(milliseconds: number, work: () => void) {
    const timer = setTimeout(work, Math.min(Math.max(milliseconds, 0), MOST_MS))
    return () => clearTimeout(timer)
  },
})
