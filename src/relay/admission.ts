/**
 * Who gets a place: how many streams at once, how many of one circuit, how many that proved no key
 * yet, and how often a login may be tried. Holds circuit numbers (not addresses) while they matter.
 */

/** Tries of a login at once, and how many come back each second, for one circuit (or one connection without). */
const LOGIN_BURST = 60
const LOGINS_PER_SECOND = 1

/** A token bucket (Turner 1986): `wait` seconds until one is there; takes it if it is. */
class Bucket {
  #tokens = LOGIN_BURST
  #at: number

  constructor(now: number) {
    this.#at = now
  }

  wait(now: number): number {
    this.#refill(now)
    if (this.#tokens < 1) return Math.ceil((1 - this.#tokens) / LOGINS_PER_SECOND)
    this.#tokens -= 1
    return 0
  }

  isFull(now: number): boolean {
    this.#refill(now)
    return this.#tokens === LOGIN_BURST
  }

  #refill(now: number): void {
    this.#tokens = Math.min(LOGIN_BURST, this.#tokens + ((now - this.#at) / 1_000) * LOGINS_PER_SECOND)
    this.#at = now
  }
}

interface Circuit {
  streams: number
  readonly logins: Bucket
}

/** A stream's place. */
export interface Place {
  /** Seconds until a login may be tried, 0 if now; counts the try. */
  loginWait(now: number): number
  /** It proved a key. */
  prove(): void
  /** It ended. */
  leave(): void
}

export class Admission {
  readonly #limits: { readonly connections: number; readonly unproven: number; readonly perCircuit: number }
  readonly #circuits = new Map<string, Circuit>()
  /** What to call where a stream has to give way, in order of arrival. */
  readonly #unproven = new Map<Place, () => void>()
  #streams = 0

  constructor(limits: { connections: number; unproven: number; perCircuit: number }) {
    this.#limits = limits
  }

  /**
   * A place, or why there is none. Where too many prove no key, the oldest of them gives way: a
   * flood that holds its streams open would otherwise keep everybody out until its deadline.
   */
  enter(circuit: string | undefined, now: number, giveWay: () => void): Place | 'connections' | 'circuit' {
    if (this.#streams >= this.#limits.connections) return 'connections'
    const shared = circuit === undefined ? undefined : (this.#circuits.get(circuit) ?? { streams: 0, logins: new Bucket(now) })
    if (shared !== undefined && shared.streams >= this.#limits.perCircuit) return 'circuit'
    if (circuit !== undefined && shared !== undefined) this.#circuits.set(circuit, shared)
    if (shared !== undefined) shared.streams++
    this.#streams++
    let own: Bucket | undefined
    const place: Place = {
      loginWait: (at) => (shared?.logins ?? (own ??= new Bucket(at))).wait(at),
      prove: () => this.#unproven.delete(place),
      leave: () => {
        this.#unproven.delete(place)
        this.#streams--
        if (shared !== undefined) shared.streams--
      },
    }
    if (this.#unproven.size >= this.#limits.unproven) {
      const [oldest] = this.#unproven
      if (oldest !== undefined) {
        this.#unproven.delete(oldest[0])
        oldest[1]()
      }
    }
    this.#unproven.set(place, giveWay)
    return place
  }

  get streams(): number {
    return this.#streams
  }

  get unproven(): number {
    return this.#unproven.size
  }

  /** Forgets circuits that have no stream and no login to hold against them. */
  sweep(now: number): void {
    for (const [number, circuit] of this.#circuits) {
      if (circuit.streams === 0 && circuit.logins.isFull(now)) this.#circuits.delete(number)
    }
  }
}
