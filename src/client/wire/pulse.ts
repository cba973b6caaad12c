/**
 * Decides when a subscription sends PING: a connection through Tor can die without a sign, and a machine that was asleep
 * may have lost it. Without timers or a clock; times are milliseconds.
 */

export const PULSE = Object.freeze({
  /** Silence of the relay before a PING: between these, so that clients do not act at the same time. */
  quiet: Object.freeze([45_000, 75_000] as const),
  /** How long to wait for PONG before the connection counts as dead. */
  patience: 15_000,
  /** How often to look. */
  tick: 5_000,
  /** The clock jumped, or the machine slept, if the wall clock and the timers differ by more than this. */
  jump: 5_000,
})

/** The time, by two clocks. */
export interface Moment {
  /** By a clock that only moves forward, and may stand still while the machine sleeps. */
  readonly steady: number
  /** By the wall clock. */
  readonly wall: number
}

export class Pulse {
  readonly #quiet: number
  readonly #idle: number
  #last: Moment
  /** When the last PING was sent. */
  #sent: number

  /**
   * @param idle after this time without a packet from the client, the relay ends the connection
   * @param random in [0, 1)
   */
  constructor(idle: number, random: number, now: Moment) {
    const [least, most] = PULSE.quiet
    this.#quiet = least + random * (most - least)
    // Three times within the limit.
    this.#idle = (Math.min(Math.max(idle, 600), 10_800_000) / 3) * (0.9 + random / 10)
    this.#last = now
    this.#sent = now.steady
  }

  /** How often to ask `isDue`. */
  get tick(): number {
    return Math.min(PULSE.tick, this.#idle)
  }

  /** Whether to send PING now. @param heard when the relay's last bytes came, by the steady clock */
  isDue(now: Moment, heard: number): boolean {
    const steady = now.steady - this.#last.steady
    const wall = now.wall - this.#last.wall
    this.#last = now
    const hasJumped = Math.abs(wall - steady) > PULSE.jump || steady > this.tick + PULSE.jump
    const isDue = hasJumped || now.steady - Math.max(heard, this.#sent) >= this.#quiet || now.steady - this.#sent >= this.#idle
    if (isDue) this.#sent = now.steady
    return isDue
  }
}
