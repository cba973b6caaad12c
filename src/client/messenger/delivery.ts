/**
 * What became of the messages that one sent, as it is known and no better: each is a value that says how it stands, and
 * resolves as it gets on. Without I/O or time; who sends them says what happened.
 */
import type { Contact } from './contact.ts'
import { RelayError } from '../wire/error.ts'
import type { Content } from '../format/content.ts'
import { type DeliveryState, OUTBOX } from '../delivery/entry.ts'

/** What becomes of a message. */
export interface Delivery {
  readonly id: string
  readonly to: Contact
  /** Not known of what was kept from an earlier run: it is encrypted to its receiver. */
  readonly content: Content | undefined
  readonly state: DeliveryState
  /** The relay that took it, or that refused it last. */
  readonly relay: string | undefined
  /** Why it failed, or why it waits still. */
  readonly error: unknown
  /** Whether a relay took it, ever: what tells an `expired` message that was held from one that never left. */
  readonly held: boolean
  /** Resolves once a relay took it, or it is settled without. */
  readonly accepted: Promise<DeliveryState>
  /** Resolves when nothing more is tried: `delivered`, `expired` or `failed`; as it stands when the messenger closes. */
  readonly settled: Promise<DeliveryState>
}

/** What is known now of one of them. */
export interface DeliveryChange {
  readonly id: string
  readonly state: DeliveryState
  readonly relay?: string | undefined
  readonly error?: unknown
}

/** A delivery, and the hands that change it. */
class Tracked {
  readonly delivery: Delivery
  readonly #state: { state: DeliveryState; relay: string | undefined; error: unknown; held: boolean } = {
    state: 'waiting',
    relay: undefined,
    error: undefined,
    held: false,
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
      accepted: this.#accepted.promise,
      settled: this.#settled.promise,
    })
  }

  get isSettled(): boolean {
    const { state } = this.#state
    return state !== 'waiting' && state !== 'held'
  }

  /** False if that is known already. */
  change({ state, relay, error }: DeliveryChange): boolean {
    const now = this.#state
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

  close(): void {
    this.#accepted.resolve(this.#state.state)
    this.#settled.resolve(this.#state.state)
  }
}

/** All of one messenger's. */
export class Deliveries {
  readonly #open = new Map<string, Tracked>()
  /** What was confirmed, and may be read yet. */
  readonly #confirmed = new Map<string, Tracked>()

  /** @param content undefined for what an earlier run wrote */
  add(id: string, to: Contact, content: Content | undefined): Delivery {
    const tracked = new Tracked(id, to, content)
    this.#open.set(id, tracked)
    return tracked.delivery
  }

  /** @returns the delivery; undefined if it is none of these, or that is known already */
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

  /** What is not settled. */
  list(): Delivery[] {
    return Array.from(this.#open.values(), ({ delivery }) => delivery)
  }

  /** Nothing more becomes of them here. */
  close(): void {
    for (const tracked of this.#open.values()) tracked.close()
  }
}

const codeOf = (error: unknown): unknown => (error instanceof RelayError ? error.code : error)
