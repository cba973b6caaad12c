/**
 * Limits for strangers: the places for streams, in all, for one circuit, for one key, and for streams that have proven no
 * key, or only claimed (unproven.ts); the rate of logins; the bytes that one key or one circuit may send. Holds circuit
 * numbers (not addresses) and blinded ids of keys (senders.ts). It never learns which message came from whom.
 */
import { STRANGER_LIMITS } from '../protocol/limits.ts'
import type { Proven, Rates } from '../protocol/ports.ts'
import { Bucket } from './bucket.ts'
import { Senders, type Spent } from './senders.ts'
import { type Candidate, Group, Unproven } from './unproven.ts'

/** Logins at once, and per second, for one circuit; for one connection if circuits are unknown. */
const LOGIN_BURST = 256
const LOGINS_PER_SECOND = 8

interface Circuit {
  streams: number
  readonly unproven: Group<StreamPlace>
  /** Created when needed, as `claims`. */
  claimed: Group<StreamPlace> | undefined
  readonly logins: Bucket
  readonly sends: Bucket
  /** The sending limit of all claims together. */
  claims: Bucket | undefined
}

export interface AdmissionLimits {
  readonly connections: number
  readonly unproven: number
  readonly perCircuit: number
  readonly perKey: number
  /** Payload bytes that one key, and one circuit, may send at once, and again within an hour. */
  readonly perSender: number
}

/** Why a stream lost its place: to any newer one, or to a newer one of the same key. */
export type Eviction = 'gave-way' | 'key'

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

/** The streams that have a place, and the rules that they share. */
interface Streams {
  count: number
  readonly senders: Senders
  readonly quotas: Quotas
  readonly unproven: Unproven<StreamPlace>
  /** Those that have only claimed. One of them gives way if all places are taken. */
  readonly claimed: Unproven<StreamPlace>
  /** Those of them of no known circuit. */
  readonly otherClaimed: Group<StreamPlace>
  /** The most streams that have proven keys of strangers only. */
  readonly mostStrangers: number
  /** Those streams, oldest first. */
  readonly strangers: Set<StreamPlace>
  /** The most streams of one key. */
  readonly perKey: number
  /** By the blinded id of the key that they proved first: the streams, oldest first. */
  readonly keys: Map<string, StreamPlace[]>
  readonly onEvicted: (reason: Eviction) => void
}

/** The part of a stream that its place needs: a ByteStream (stream.ts) has it, and so has a visitor of the HTTP door. */
export interface Guest {
  /** The count of bytes of packets that came so far. */
  readonly received: number
  /** Ends the stream at once. */
  destroy(): void
}

class StreamPlace implements Place, Candidate {
  level = 0
  readonly #streams: Streams
  readonly #guest: Guest
  readonly #circuit: Circuit | undefined
  /** The unproven streams of its circuit, if it is one of them. */
  #group: Group<StreamPlace> | undefined
  /** The claimed streams of its circuit, if it is one of them. */
  #claimed: Group<StreamPlace> | undefined
  /** Whether it has proven a key. */
  #hasKey = false
  /** The key that the stream proved first. */
  #key: string | undefined
  /** Whether it has proven the key of a member. */
  #isMember = false
  // Created when needed, if the circuit is unknown.
  #logins: Bucket | undefined
  #claims: Bucket | undefined
  /** It was evicted, and its stream may not have ended yet. */
  #isEvicted = false
  #left = false

  constructor(streams: Streams, guest: Guest, circuit: Circuit | undefined, group: Group<StreamPlace>) {
    this.#streams = streams
    this.#guest = guest
    this.#circuit = circuit
    this.#group = group
    streams.unproven.add(this, group)
  }

  get received(): number {
    return this.#guest.received
  }

  loginWait(now: number): number {
    const logins = this.#circuit?.logins ?? (this.#logins ??= createLogins(now))
    const wait = logins.wait(1, now)
    if (wait === 0) logins.take(1)
    return wait
  }

  sendWait(sender: Proven, bytes: number, now: number): number {
    const { mailbox, isClaim } = sender
    const { quotas, senders } = this.#streams
    // A new claim costs nothing, so it must not be a new limit: all of them count as one sender.
    const own = isClaim ? this.#claimsBucket(mailbox, now) : senders.bucketOf(mailbox, now)
    // The operator knows a key with a quota of its own, so the limit of its circuit does not matter.
    const hasOwn = !isClaim && quotas.perSender(mailbox) !== undefined && !quotas.isStranger(mailbox)
    const shared = hasOwn ? undefined : this.#circuit?.sends
    const wait = Math.max(senders.wait(own, bytes, now), shared?.wait(bytes, now) ?? 0)
    if (wait > 0) return wait
    own.take(bytes)
    shared?.take(bytes)
    return 0
  }

  #claimsBucket(mailbox: string, now: number): Bucket {
    const { quotas, senders } = this.#streams
    const known = this.#circuit === undefined ? this.#claims : this.#circuit.claims
    if (known !== undefined) return known
    const claims = senders.create(now, quotas.perSender(mailbox))
    if (this.#circuit === undefined) this.#claims = claims
    else this.#circuit.claims = claims
    return claims
  }

  memoryShare({ mailbox, isClaim }: Proven, receiver: string): number {
    const { senders } = this.#streams
    const own = isClaim ? 0 : senders.share(mailbox)
    return own === 1 ? 1 : Math.max(own, senders.share(receiver))
  }

  onProven({ mailbox, isClaim }: Proven, now: number): void {
    const { senders, quotas, strangers, mostStrangers } = this.#streams
    // A throwaway claim that only sends is not worth remembering: one that reads is (`onReading`).
    if (!isClaim) senders.onKey(mailbox, now)
    if (this.#isEvicted || this.#left) return
    if (!quotas.isStranger(mailbox)) {
      this.#isMember = true
      strangers.delete(this)
    } else if (!this.#isMember && !strangers.has(this)) {
      if (strangers.size >= mostStrangers) strangers.values().next().value?.evict('gave-way')
      strangers.add(this)
    }
    this.prove()
    if (!isClaim) {
      this.#hasKey = true
      this.#leaveClaimed()
    } else if (!this.#hasKey && this.#claimed === undefined) {
      this.#claimed = this.#circuit === undefined ? this.#streams.otherClaimed : (this.#circuit.claimed ??= new Group())
      this.#streams.claimed.add(this, this.#claimed)
    }
    if (this.#key === undefined) this.#takePlaceOf(mailbox)
  }

  onReading(mailbox: string, now: number): void {
    this.#streams.senders.onKey(mailbox, now)
  }

  /** Stops counting the stream among those that have only claimed. */
  #leaveClaimed(): void {
    if (this.#claimed !== undefined) this.#streams.claimed.delete(this, this.#claimed)
    this.#claimed = undefined
  }

  prove(): void {
    if (this.#group !== undefined) this.#streams.unproven.delete(this, this.#group)
    this.#group = undefined
  }

  leave(): void {
    if (this.#left) return
    this.#left = true
    this.#release()
    this.#streams.count--
    if (this.#circuit !== undefined) this.#circuit.streams--
  }

  /** Ends the stream for another one. Its place is free once it leaves. */
  evict(reason: Eviction): void {
    this.#isEvicted = true
    this.#release()
    this.#streams.onEvicted(reason)
    this.#guest.destroy()
  }

  /** Takes one of the places of the key that the stream proved first. If there are too many, the oldest one goes. */
  #takePlaceOf(key: string): void {
    const { keys, perKey } = this.#streams
    this.#key = key
    const places = keys.get(key)
    if (places === undefined) keys.set(key, [this])
    else if (places.push(this) > perKey) places[0]!.evict('key')
  }

  /** Stops counting the stream among those that are unproven, have only claimed, of strangers, or of its key. */
  #release(): void {
    this.prove()
    this.#leaveClaimed()
    const { strangers, keys } = this.#streams
    strangers.delete(this)
    const places = this.#key === undefined ? undefined : keys.get(this.#key)
    const at = places?.indexOf(this) ?? -1
    if (at !== -1) places!.splice(at, 1)
    if (places?.length === 0) keys.delete(this.#key!)
  }
}

export class Admission {
  readonly #limits: AdmissionLimits
  readonly #senders: Senders
  readonly #circuits = new Map<string, Circuit>()
  /** The unproven streams of no known circuit. */
  readonly #others = new Group<StreamPlace>()
  readonly #streams: Streams

  /**
   * @param around.usedMemory returns the used part of the memory budget, from 0 to 1
   * @param around.onEvicted called for each stream that loses its place
   */
  constructor(
    limits: AdmissionLimits,
    around: { readonly usedMemory?: () => number; readonly quotas?: Quotas; readonly onEvicted?: (reason: Eviction) => void } = {},
  ) {
    const { usedMemory = () => 0, quotas = NO_QUOTAS, onEvicted = () => {} } = around
    this.#limits = limits
    this.#senders = new Senders(limits.perSender, usedMemory, (sender) => quotas.perSender(sender))
    const mostStrangers = Math.max(1, Math.floor(limits.connections * STRANGER_LIMITS.share))
    this.#streams = {
      count: 0,
      senders: this.#senders,
      quotas,
      unproven: new Unproven(),
      claimed: new Unproven(),
      otherClaimed: new Group(),
      mostStrangers,
      strangers: new Set(),
      perKey: limits.perKey,
      keys: new Map(),
      onEvicted,
    }
  }

  /**
   * Gives a stream its place, or returns the limit that forbids it. If too many streams have proven no key, one of them
   * gives way: otherwise a flood of silent streams would keep everyone out until its deadline. If all places are taken,
   * one of those gives way that have only claimed, since a claim costs nothing.
   */
  enter(circuit: string | undefined, now: number, guest: Guest): Place | 'connections' | 'circuit' {
    const shared = circuit === undefined ? undefined : (this.#circuits.get(circuit) ?? this.#createCircuit(now))
    if (shared !== undefined && shared.streams >= this.#limits.perCircuit) return 'circuit'
    if (this.#streams.count >= this.#limits.connections) {
      const next = this.#streams.claimed.findNext()
      if (next === undefined) return 'connections'
      next.evict('gave-way')
    }
    if (circuit !== undefined && shared !== undefined) this.#circuits.set(circuit, shared)
    if (shared !== undefined) shared.streams++
    this.#streams.count++
    const { unproven } = this.#streams
    if (unproven.count >= this.#limits.unproven) unproven.findNext()?.evict('gave-way')
    return new StreamPlace(this.#streams, guest, shared, shared?.unproven ?? this.#others)
  }

  get streams(): number {
    return this.#streams.count
  }

  /** The count of circuits in memory. */
  get circuits(): number {
    return this.#circuits.size
  }

  /** The count of keys that have a stream. */
  get keys(): number {
    return this.#streams.keys.size
  }

  get unproven(): number {
    return this.#streams.unproven.count
  }

  /** Forgets circuits and senders whose limits are unused. */
  sweep(now: number): void {
    for (const [number, { streams, logins, sends, claims }] of this.#circuits) {
      if (streams === 0 && logins.isFull(now) && sends.isFull(now) && claims?.isFull(now) !== false) this.#circuits.delete(number)
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
    return {
      streams: 0,
      unproven: new Group(),
      claimed: undefined,
      logins: createLogins(now),
      sends: this.#senders.create(now),
      claims: undefined,
    }
  }
}

function createLogins(now: number): Bucket {
  return new Bucket(LOGIN_BURST, LOGINS_PER_SECOND, now)
}
