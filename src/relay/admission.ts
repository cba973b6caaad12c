/**
 * Who gets a place: how many streams at once, how many of one circuit, how many that proved no key
 * yet, how often a login may be tried, and how much one key or one circuit may have the relay store.
 * Holds circuit numbers (not addresses) and blinded ids of senders while they matter; nothing here
 * says which message came from whom.
 */

/** Tries of a login at once, and how many come back each second, for one circuit (or one connection without). */
const LOGIN_BURST = 256
const LOGINS_PER_SECOND = 8
/** What a sender has used up comes back over an hour. */
const SENDING_SECONDS = 3_600

/** A token bucket (Turner 1986). */
class Bucket {
  readonly #size: number
  readonly #perSecond: number
  #tokens: number
  #at: number

  constructor(size: number, perSecond: number, now: number) {
    this.#size = size
    this.#perSecond = perSecond
    this.#tokens = size
    this.#at = now
  }

  /** Seconds until so many tokens are there; 0 if they are. */
  wait(tokens: number, now: number): number {
    this.#refill(now)
    return this.#tokens >= tokens ? 0 : Math.ceil((tokens - this.#tokens) / this.#perSecond)
  }

  take(tokens: number): void {
    this.#tokens -= tokens
  }

  isFull(now: number): boolean {
    return this.used(now) === 0
  }

  /** Tokens that did not come back yet. */
  used(now: number): number {
    this.#refill(now)
    return this.#size - this.#tokens
  }

  #refill(now: number): void {
    this.#tokens = Math.min(this.#size, this.#tokens + ((now - this.#at) / 1_000) * this.#perSecond)
    this.#at = now
  }
}

interface Circuit {
  streams: number
  readonly logins: Bucket
  readonly sends: Bucket
}

export interface AdmissionLimits {
  readonly connections: number
  readonly unproven: number
  readonly perCircuit: number
  /** Bytes of payload that one key, and one circuit, may send at once; they come back over an hour. */
  readonly perSender: number
}

/** What a key has used up of what it may send. */
export interface Spent {
  /** Its blinded id. */
  readonly sender: string
  readonly bytes: number
}

/** A stream's place. */
export interface Place {
  /** Seconds until a login may be tried, 0 if now; counts the try. */
  loginWait(now: number): number
  /** Seconds until the key, and the circuit, may send so many bytes, 0 if now; counts them. */
  sendWait(sender: string, bytes: number, now: number): number
  /** It proved a key. */
  prove(): void
  /** It ended. */
  leave(): void
}

export class Admission {
  readonly #limits: AdmissionLimits
  readonly #senders = new Map<string, Bucket>()
  readonly #circuits = new Map<string, Circuit>()
  /** What to call where a stream has to give way, in order of arrival. */
  readonly #unproven = new Map<Place, () => void>()
  #streams = 0

  constructor(limits: AdmissionLimits) {
    this.#limits = limits
  }

  /**
   * A place, or why there is none. Where too many prove no key, the oldest of them gives way: a
   * flood that holds its streams open would otherwise keep everybody out until its deadline.
   */
  enter(circuit: string | undefined, now: number, giveWay: () => void): Place | 'connections' | 'circuit' {
    if (this.#streams >= this.#limits.connections) return 'connections'
    const shared = circuit === undefined ? undefined : (this.#circuits.get(circuit) ?? this.#createCircuit(now))
    if (shared !== undefined && shared.streams >= this.#limits.perCircuit) return 'circuit'
    if (circuit !== undefined && shared !== undefined) this.#circuits.set(circuit, shared)
    if (shared !== undefined) shared.streams++
    this.#streams++
    let own: Bucket | undefined
    const place: Place = {
      loginWait: (at) => {
        const logins = shared?.logins ?? (own ??= createLogins(at))
        const wait = logins.wait(1, at)
        if (wait === 0) logins.take(1)
        return wait
      },
      sendWait: (sender, bytes, at) => {
        const own = this.#sender(sender, at)
        const wait = Math.max(own.wait(bytes, at), shared?.sends.wait(bytes, at) ?? 0)
        if (wait > 0) return wait
        own.take(bytes)
        shared?.sends.take(bytes)
        return 0
      },
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

  /** Circuits that are remembered. */
  get circuits(): number {
    return this.#circuits.size
  }

  get unproven(): number {
    return this.#unproven.size
  }

  /** Forgets circuits and senders with nothing to hold against them. */
  sweep(now: number): void {
    for (const [number, { streams, logins, sends }] of this.#circuits) {
      if (streams === 0 && logins.isFull(now) && sends.isFull(now)) this.#circuits.delete(number)
    }
    for (const [sender, bucket] of this.#senders) if (bucket.isFull(now)) this.#senders.delete(sender)
  }

  /** Who has sent, for the relay that comes next. */
  *spent(now: number): Generator<Spent, void> {
    for (const [sender, bucket] of this.#senders) if (!bucket.isFull(now)) yield { sender, bytes: Math.ceil(bucket.used(now)) }
  }

  /** Takes over what was spent at the relay before. */
  spend({ sender, bytes }: Spent, now: number): void {
    this.#sender(sender, now).take(Math.min(bytes, this.#limits.perSender))
  }

  /** Forgets who sent, and every circuit without a stream, whatever there is to hold against them. */
  forget(): void {
    this.#senders.clear()
    for (const [number, { streams }] of this.#circuits) if (streams === 0) this.#circuits.delete(number)
  }

  #createCircuit(now: number): Circuit {
    return { streams: 0, logins: createLogins(now), sends: this.#createSends(now) }
  }

  #createSends(now: number): Bucket {
    const { perSender } = this.#limits
    return new Bucket(perSender, perSender / SENDING_SECONDS, now)
  }

  #sender(sender: string, now: number): Bucket {
    const known = this.#senders.get(sender)
    if (known !== undefined) return known
    const bucket = this.#createSends(now)
    this.#senders.set(sender, bucket)
    return bucket
  }
}

function createLogins(now: number): Bucket {
  return new Bucket(LOGIN_BURST, LOGINS_PER_SECOND, now)
}
