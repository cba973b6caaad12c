/**
 * Collects receipts for a short while, so that one message confirms many, as a machine without I/O. Times are
 * milliseconds. An id that is added twice is sent once.
 */

export const RECEIPTS = Object.freeze({
  /** How long to collect at most, ms. Each pause is a random part of it: a relay would know a receipt by a fixed one. */
  pause: 2_000,
  /** This many urgent receipts are sent without waiting longer. */
  hurried: 8,
  /** Most ids in one message (docs/protocol.md, section 10). */
  most: 256,
  /** Most waiting ids. Further ones are dropped; their senders repeat their messages and get a receipt then. */
  all: 16_384,
})

export type ReceiptState = 'delivered' | 'read'

/** A receipt to send: `to` is a fingerprint. */
export interface Receipt {
  readonly to: string
  readonly state: ReceiptState
  readonly ids: readonly string[]
}

export class Receipts {
  /** By `state receiver`. */
  readonly #waiting = new Map<string, { readonly since: number; readonly until: number; readonly ids: Set<string>; hurried: number }>()
  #count = 0

  get size(): number {
    return this.#count
  }

  /**
   * Adds a receipt.
   * @param random in [0, 1)
   * @param hurry the sender waits for it before it sends more
   */
  add(to: string, id: string, state: ReceiptState, now: number, random: number, hurry = false): void {
    const name = `${state} ${to}`
    const waiting = this.#waiting.get(name) ?? { since: now, until: now + random * RECEIPTS.pause, ids: new Set<string>(), hurried: 0 }
    this.#waiting.set(name, waiting)
    if (waiting.ids.has(id)) return
    if (this.#count >= RECEIPTS.all) return
    waiting.ids.add(id)
    if (hurry) waiting.hurried++
    this.#count++
  }

  /** Takes the receipts that waited long enough or fill a message; with `all`, every one. */
  take(now: number, all = false): Receipt[] {
    const taken: Receipt[] = []
    for (const [name, waiting] of this.#waiting) {
      const { since, until, ids } = waiting
      // Too early, unless `since` is in the future because the clock was set back.
      if (!all && until > now && since <= now && !isFull(waiting)) continue
      this.#waiting.delete(name)
      this.#count -= ids.size
      const [state, to] = name.split(' ', 2) as [ReceiptState, string]
      const each = [...ids]
      for (let start = 0; start < each.length; start += RECEIPTS.most)
        taken.push({ to, state, ids: each.slice(start, start + RECEIPTS.most) })
    }
    return taken
  }

  /** Drops the receipts for a receiver. */
  forget(to: string): void {
    for (const state of ['delivered', 'read'] as const) {
      this.#count -= this.#waiting.get(`${state} ${to}`)?.ids.size ?? 0
      this.#waiting.delete(`${state} ${to}`)
    }
  }

  /** Returns when `take` has a receipt; infinite if none waits. */
  due(): number {
    let due = Number.POSITIVE_INFINITY
    for (const waiting of this.#waiting.values()) due = Math.min(due, isFull(waiting) ? waiting.since : waiting.until)
    return due
  }
}

function isFull({ ids, hurried }: { readonly ids: ReadonlySet<string>; readonly hurried: number }): boolean {
  return ids.size >= RECEIPTS.most || hurried >= RECEIPTS.hurried
}
