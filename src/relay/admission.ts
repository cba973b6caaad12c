/**
 * Limits for strangers: the places for streams, in all, for one circuit and for streams that have proven no key; the
 * rate of logins; the bytes that one key or one circuit may send. Holds circuit numbers (not addresses) and blinded ids
 * of keys (senders.ts). It never learns which message came from whom.
 */
import { STRANGER_LIMITS } from '../protocol/limits.ts'
import type { Rates } from '../protocol/ports.ts'
import { Bucket } from './bucket.ts'
import { Senders, type Spent } from './senders.ts'

/** Logins at once, and per second, for one circuit; for one connection if circuits are unknown. */
const LOGIN_BURST = 256
const LOGINS_PER_SECOND = 8

interface Circuit {
  streams: number
  readonly logins: Bucket
  readonly sends: Bucket
}

export interface AdmissionLimits {
  readonly connections: number
  readonly unproven: number
  readonly perCircuit: number
  /** Payload bytes that one key, and one circuit, may send at once, and again within an hour. */
  readonly perSender: number
}

/** A stream's place. Its rates count against the circuit, if it is known. */
export interface Place extends Rates {
  /** The stream has proven a key, so it is no longer one of the strangers. */
  prove(): void
  /** The stream has ended. Further calls do nothing. */
  leave(): void
}

/** The rights of keys that limits depend on. */
export interface Quotas {
  isStranger(key: string): boolean
  /** Returns the key's own value of `perSender`, if it has one. */
  perSender(key: string): number | undefined
}

const NO_QUOTAS: Quotas = { isStranger: () => false, perSender: () => undefined }

/** The streams that have a place. */
interface Streams {
  count: number
  /** The most streams that have proven keys of strangers only. */
  readonly mostStrangers: number
  /** Those streams, oldest first, each with the call that ends it. */
  readonly strangers: Map<Place, () => void>
  /** Those that have proven no key, oldest first, each with the call that ends it. */
  readonly unproven: Map<Place, () => void>
}

class StreamPlace implements Place {
  readonly #streams: Streams
  readonly #senders: Senders
  readonly #quotas: Quotas
  readonly #circuit: Circuit | undefined
  readonly #giveWay: () => void
  /** Whether it has proven the key of a member. */
  #isMember = false
  /** Created when needed, if the circuit is unknown. */
  #logins: Bucket | undefined
  #left = false

  constructor(streams: Streams, senders: Senders, quotas: Quotas, circuit: Circuit | undefined, giveWay: () => void) {
    this.#streams = streams
    this.#senders = senders
    this.#quotas = quotas
    this.#circuit = circuit
    this.#giveWay = giveWay
  }

  loginWait(now: number): number {
    const logins = this.#circuit?.logins ?? (this.#logins ??= createLogins(now))
    const wait = logins.wait(1, now)
    if (wait === 0) logins.take(1)
    return wait
  }

  sendWait(sender: string, bytes: number, now: number): number {
    // The operator knows a key with a quota of its own, so the limit of its circuit does not matter.
    const hasOwn = !this.#quotas.isStranger(sender) && this.#quotas.perSender(sender) !== undefined
    const shared = hasOwn ? undefined : this.#circuit?.sends
    const wait = Math.max(this.#senders.wait(sender, bytes, now), shared?.wait(bytes, now) ?? 0)
    if (wait > 0) return wait
    this.#senders.take(sender, bytes, now)
    shared?.take(bytes)
    return 0
  }

  memoryShare(sender: string): number {
    return this.#senders.share(sender)
  }

  onKey(sender: string, now: number): void {
    this.#senders.onKey(sender, now)
    const { strangers, mostStrangers } = this.#streams
    if (!this.#quotas.isStranger(sender)) {
      this.#isMember = true
      strangers.delete(this)
    } else if (!this.#isMember && !strangers.has(this)) {
      if (strangers.size >= mostStrangers) endOldest(strangers)
      strangers.set(this, this.#giveWay)
    }
  }

  prove(): void {
    this.#streams.unproven.delete(this)
  }

  leave(): void {
    if (this.#left) return
    this.#left = true
    this.#streams.unproven.delete(this)
    this.#streams.strangers.delete(this)
    this.#streams.count--
    if (this.#circuit !== undefined) this.#circuit.streams--
  }
}

export class Admission {
  readonly #limits: AdmissionLimits
  readonly #senders: Senders
  readonly #circuits = new Map<string, Circuit>()
  readonly #streams: Streams
  readonly #quotas: Quotas

  /** @param usedMemory returns the used part of the memory budget, from 0 to 1 */
  constructor(limits: AdmissionLimits, usedMemory: () => number = () => 0, quotas: Quotas = NO_QUOTAS) {
    this.#limits = limits
    this.#quotas = quotas
    this.#senders = new Senders(limits.perSender, usedMemory, (sender) => quotas.perSender(sender))
    const mostStrangers = Math.max(1, Math.floor(limits.connections * STRANGER_LIMITS.share))
    this.#streams = { count: 0, unproven: new Map(), mostStrangers, strangers: new Map() }
  }

  /**
   * Gives a stream its place, or returns the limit that forbids it. If too many streams have proven no key, the oldest
   * of them gives way: otherwise a flood of silent streams would keep everyone out until its deadline.
   *
   * @param giveWay called when this stream must end for another
   */
  enter(circuit: string | undefined, now: number, giveWay: () => void): Place | 'connections' | 'circuit' {
    if (this.#streams.count >= this.#limits.connections) return 'connections'
    const shared = circuit === undefined ? undefined : (this.#circuits.get(circuit) ?? this.#createCircuit(now))
    if (shared !== undefined && shared.streams >= this.#limits.perCircuit) return 'circuit'
    if (circuit !== undefined && shared !== undefined) this.#circuits.set(circuit, shared)
    if (shared !== undefined) shared.streams++
    this.#streams.count++
    const place = new StreamPlace(this.#streams, this.#senders, this.#quotas, shared, giveWay)
    const { unproven } = this.#streams
    if (unproven.size >= this.#limits.unproven) endOldest(unproven)
    unproven.set(place, giveWay)
    return place
  }

  get streams(): number {
    return this.#streams.count
  }

  /** The count of circuits in memory. */
  get circuits(): number {
    return this.#circuits.size
  }

  get unproven(): number {
    return this.#streams.unproven.size
  }

  /** Forgets circuits and senders whose limits are unused. */
  sweep(now: number): void {
    for (const [number, { streams, logins, sends }] of this.#circuits) {
      if (streams === 0 && logins.isFull(now) && sends.isFull(now)) this.#circuits.delete(number)
    }
    this.#senders.sweep(now)
  }

  /** Gives the used sending limits, for the next relay. */
  spent(now: number): Generator<Spent, void> {
    return this.#senders.spent(now)
  }

  /** Takes over a used sending limit from the relay before. */
  spend(spent: Spent, now: number): void {
    this.#senders.spend(spent, now)
  }

  /** Forgets all senders, and every circuit without a stream, even if their limits are used up. */
  forget(): void {
    this.#senders.clear()
    for (const [number, { streams }] of this.#circuits) if (streams === 0) this.#circuits.delete(number)
  }

  #createCircuit(now: number): Circuit {
    return { streams: 0, logins: createLogins(now), sends: this.#senders.create(now) }
  }
}

/** Ends the oldest of the streams, so that a newer one has its place. */
function endOldest(streams: Map<Place, () => void>): void {
  const [oldest] = streams
  if (oldest === undefined) return
  streams.delete(oldest[0])
  oldest[1]()
}

function createLogins(now: number): Bucket {
  return new Bucket(LOGIN_BURST, LOGINS_PER_SECOND, now)
}
