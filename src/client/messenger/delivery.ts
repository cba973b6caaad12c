/**
 * Deliveries: the states of sent messages, as a program sees them. Each delivery shows the current state and has
 * promises for later ones. Without I/O or time.
 */
import type { Contact } from './contact.ts'
import { RelayError } from '../wire/error.ts'
import type { Content } from '../format/content.ts'
import { type DeliveryState, OUTBOX } from '../delivery/entry.ts'
import type { Protection } from './sealer.ts'

/** A message that was sent. Its properties change while it is under way. */
export interface Delivery {
  readonly id: string
  readonly to: Contact
  /** Undefined for messages of an earlier run, because only their receiver can decrypt them. */
  readonly content: Content | undefined
  readonly state: DeliveryState
  /** The relay that accepted the message, or that refused it last. */
  readonly relay: string | undefined
  /** Why it failed, or why it still waits. */
  readonly error: unknown
  /** What protects it; undefined until it is encrypted, and for messages of an earlier run. */
  readonly protection: Protection | undefined
  /** The relays that it can go to. */
  readonly relays: readonly string[]
  /** Whether a relay ever accepted it. Distinguishes an `expired` message that was held from one that never left. */
  readonly held: boolean
  /** Resolves once a relay accepted it, or once it is settled. */
  readonly accepted: Promise<DeliveryState>
  /** Resolves with the final state (`delivered`, `expired`, `failed`), or the current one if the messenger closes. */
  readonly settled: Promise<DeliveryState>
}

/** The new state of a delivery. */
export interface DeliveryChange {
  readonly id: string
  readonly state: DeliveryState
  readonly relay?: string | undefined
  readonly error?: unknown
  readonly protection?: Protection | undefined
  readonly relays?: readonly string[] | undefined
}

/** A delivery, and the only way to change it. */
class Tracked {
  readonly delivery: Delivery
  readonly #state: {
    state: DeliveryState
    relay: string | undefined
    error: unknown
    held: boolean
    protection: Protection | undefined
    relays: readonly string[] | undefined
  } = {
    state: 'waiting',
    relay: undefined,
    error: undefined,
    held: false,
    protection: undefined,
    relays: undefined,
  }
  readonly #accepted = Promise.withResolvers<DeliveryState>()
  readonly #settled = Promise.withResolvers<DeliveryState>()

  constructor(id: string, to: Contact, content: Content | undefined) {
    const now = this.#state
    this.delivery = Object.freeze({
      id,
      to,
      content,
      get state() {
        return now.state
      },
      get relay() {
        return now.relay
      },
      get error() {
        return now.error
      },
      get held() {
        return now.held
      },
      get protection() {
        return now.protection
      },
      get relays() {
        return now.relays ?? to.relays
      },
      accepted: this.#accepted.promise,
      settled: this.#settled.promise,
    })
  }

  get isSettled(): boolean {
    const { state } = this.#state
    return state !== 'waiting' && state !== 'held'
  }

  /** Changes the state. @returns false if the change brings nothing new */
  change({ state, relay, error, protection, relays }: DeliveryChange): boolean {
    const now = this.#state
    now.protection = protection ?? now.protection
    now.relays = relays ?? now.relays
    if (now.state === 'read' || (this.isSettled && state !== 'read')) return false
    if (now.state === state && now.relay === relay && codeOf(now.error) === codeOf(error)) return false
    now.state = state
    now.relay = relay ?? now.relay
    now.error = error
    now.held ||= state === 'held' || state === 'delivered' || state === 'read'
    if (state !== 'waiting') this.#accepted.resolve(state)
    if (this.isSettled) this.#settled.resolve(state)
    return true
  }

  protect(protection: Protection, relays: readonly string[]): void {
    this.#state.protection = protection
    this.#state.relays = relays
  }

  close(): void {
    this.#accepted.resolve(this.#state.state)
    this.#settled.resolve(this.#state.state)
  }
}

/** The deliveries of a messenger. */
export class Deliveries {
  readonly #open = new Map<string, Tracked>()
  /** Delivered messages that a `read` receipt may still follow. */
  readonly #confirmed = new Map<string, Tracked>()

  /** Adds a delivery. @param content undefined for a message of an earlier run */
  add(id: string, to: Contact, content: Content | undefined): Delivery {
    const tracked = new Tracked(id, to, content)
    this.#open.set(id, tracked)
    return tracked.delivery
  }

  /** Changes a delivery. @returns the delivery; undefined if it is unknown, or the change brings nothing new */
  change(change: DeliveryChange): Delivery | undefined {
    const { id, state } = change
    const tracked = this.#open.get(id) ?? this.#confirmed.get(id)
    if (tracked === undefined || !tracked.change(change)) return undefined
    if (tracked.isSettled) {
      this.#open.delete(id)
      this.#confirmed.delete(id)
      if (state === 'delivered') this.#confirmed.set(id, tracked)
      if (this.#confirmed.size > OUTBOX.confirmed) this.#confirmed.delete(this.#confirmed.keys().next().value!)
    }
    return tracked.delivery
  }

  /** The message was encrypted, for one of these relays. */
  protect(id: string, protection: Protection, relays: readonly string[]): void {
    this.#open.get(id)?.protect(protection, relays)
  }

  /** Whether the delivery is unsettled, or a `read` receipt may follow. */
  has(id: string): boolean {
    return this.#open.has(id) || this.#confirmed.has(id)
  }

  /** Finds an unsettled delivery. */
  find(id: string): Delivery | undefined {
    return this.#open.get(id)?.delivery
  }

  /** Returns the unsettled deliveries. */
  list(): Delivery[] {
    return Array.from(this.#open.values(), ({ delivery }) => delivery)
  }

  /** Resolves all promises with the current states. */
  close(): void {
    for (const tracked of this.#open.values()) tracked.close()
  }
}

const codeOf = (error: unknown): unknown => (error instanceof RelayError ? error.code : error)
