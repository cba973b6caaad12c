/**
 * The relay's time. It never goes back, and it counts the time for which the machine was suspended: the timers of Node
 * stand still meanwhile, but a message must not be held, nor a token be good, for longer because of it.
 */
import { uptime } from 'node:os'

/** The two clocks differ by this at most unless the machine was suspended: some systems give whole seconds. */
const TOLERANCE_MS = 2_000

export interface ClockSources {
  /** ms since some moment; stands still while the machine is suspended. */
  monotonic(): number
  /** ms since some moment; runs on while the machine is suspended. */
  boot(): number
}

const SYSTEM: ClockSources = { monotonic: () => performance.now(), boot: () => uptime() * 1_000 }

export class Clock {
  readonly #sources: ClockSources
  /** The sum of this and the monotonic clock is the time. */
  #ahead: number
  /** The difference of the two clocks, as the last suspension left it. */
  #apart: number

  /** @param start ms since 1970; the default is the wall clock when this process began */
  constructor(sources: ClockSources = SYSTEM, start = performance.timeOrigin) {
    this.#sources = sources
    this.#ahead = start
    this.#apart = sources.boot() - sources.monotonic()
  }

  /** Returns ms since 1970, as the wall clock was at the start. */
  now(): number {
    return Math.floor(this.#ahead + this.#sources.monotonic())
  }

  /** Finds out whether the machine was suspended. Must be called about every second. */
  look(): void {
    const apart = this.#sources.boot() - this.#sources.monotonic()
    if (apart <= this.#apart + TOLERANCE_MS) return
    this.#ahead += apart - this.#apart
    this.#apart = apart
  }
}
