/**
 * The rings of the contacts, as a messenger uses them: each is read once, and changes of one ring happen one after the
 * other. A change holds once the store has it; if the store fails, the ring stays as it was.
 */
import { onTick } from '../ring/ageing.ts'
import { EMPTY, type Ring } from '../ring/state.ts'
import type { RingStore } from './options.ts'

/** How often to look for keys whose time is up, ms. */
const TICK_MS = 3_600_000

/** A step from one ring to the next, and what it gives. */
export interface Step<T> {
  readonly ring: Ring
  readonly erased?: readonly Uint8Array[]
  readonly value: T
}

export class Rings {
  readonly #store: RingStore
  readonly #rings = new Map<string, Ring>()
  readonly #loading = new Map<string, Promise<Ring>>()
  /** By contact: the changes under way. */
  readonly #tails = new Map<string, Promise<unknown>>()
  #tickAt = 0
  /** Whether all rings of the store are loaded. */
  #isWhole = false

  constructor(store: RingStore) {
    this.#store = store
  }

  /** Returns the ring as far as it is loaded. */
  peek(contact: string): Ring | undefined {
    return this.#rings.get(contact)
  }

  /** Returns the ring. @throws errors of the store */
  load(contact: string): Promise<Ring> {
    const known = this.#rings.get(contact)
    if (known !== undefined) return Promise.resolve(known)
    // A second copy of the seeds would stay in memory: only those of the ring in use are overwritten.
    let loading = this.#loading.get(contact)
    if (loading === undefined) {
      loading = this.#read(contact).finally(() => this.#loading.delete(contact))
      this.#loading.set(contact, loading)
    }
    return loading
  }

  async #read(contact: string): Promise<Ring> {
    const ring = (await this.#store.load(contact)) ?? EMPTY
    this.#rings.set(contact, ring)
    return ring
  }

  /**
   * Changes a ring, after all changes of it that were asked for before. Seeds that the next ring lacks are overwritten once
   * it is stored.
   * @param step returns undefined if nothing changes
   * @throws errors of the step and of the store: the ring stays as it was
   */
  change<T>(contact: string, step: (ring: Ring) => Promise<Step<T> | undefined> | Step<T> | undefined): Promise<T | undefined> {
    return this.#after(contact, async () => {
      const ring = await this.load(contact)
      const taken = await step(ring)
      if (taken === undefined) return undefined
      if (taken.ring !== ring) {
        await this.#store.save(contact, taken.ring)
        this.#rings.set(contact, taken.ring)
      }
      for (const seed of taken.erased ?? []) seed.fill(0)
      return taken.value
    })
  }

  /**
   * Erases a ring, after all changes of it that were asked for before.
   * @throws errors of the store: the ring stays as it was
   */
  remove(contact: string): Promise<void> {
    return this.#after(contact, async () => {
      // A read that is under way would put the ring back into memory.
      const ring = await this.load(contact).catch(() => undefined)
      await this.#store.remove(contact)
      this.#rings.delete(contact)
      for (const { seed } of ring?.given ?? []) seed.fill(0)
    })
  }

  #after<T>(contact: string, step: () => Promise<T>): Promise<T> {
    const work = (this.#tails.get(contact) ?? Promise.resolve()).then(step)
    const tail = work.catch(() => {})
    this.#tails.set(contact, tail)
    void tail.then(() => {
      if (this.#tails.get(contact) === tail) this.#tails.delete(contact)
    })
    return work
  }

  /** Loads all rings. @throws errors of the store, after it loaded those that it could */
  async loadAll(): Promise<void> {
    if (this.#isWhole) return
    const errors: unknown[] = []
    for (const contact of await this.#store.list()) await this.load(contact).catch((error: unknown) => errors.push(error))
    if (errors.length > 0) throw errors[0]
    this.#isWhole = true
  }

  /** The rings that are loaded, by contact. */
  all(): Iterable<[contact: string, ring: Ring]> {
    return this.#rings
  }

  /** When to call `tick`, in ms. */
  due(now: number): number {
    // A clock that was set back must not delay it.
    return this.#rings.size === 0 ? Number.POSITIVE_INFINITY : Math.min(this.#tickAt, now + TICK_MS)
  }

  /** Lets the keys of all loaded rings age (R3 and R7), if it is time. @param now ms */
  async tick(now: number): Promise<void> {
    if (now < this.#tickAt && this.#tickAt <= now + TICK_MS) return
    this.#tickAt = now + TICK_MS
    for (const contact of Array.from(this.#rings.keys())) {
      await this.change(contact, (ring) => {
        const { ring: next, erased } = onTick(ring, Math.floor(now / 1_000))
        return shapeOf(ring) === shapeOf(next) ? undefined : { ring: next, erased, value: undefined }
      })
    }
  }

  /** When the earliest report of a ring is due, in ms. */
  reportDue(): number {
    let due = Number.POSITIVE_INFINITY
    for (const { reportAt } of this.#rings.values()) if (reportAt !== undefined) due = Math.min(due, reportAt * 1_000)
    return due
  }

  /** The contacts whose report is due. @param now ms */
  reporting(now: number): string[] {
    return [...this.#rings].filter(([, { reportAt }]) => reportAt !== undefined && reportAt * 1_000 <= now).map(([contact]) => contact)
  }
}

/** Returns everything of a ring that ageing can change: which keys have marks, and how much is left. */
function shapeOf({ given, held, last, runs, unread, reportAt }: Ring): string {
  const marks = [given, held, [last]].map((keys) => keys.map((key) => key && (key.mark ?? 0)))
  return JSON.stringify([marks, runs.length, unread.size, reportAt])
}
