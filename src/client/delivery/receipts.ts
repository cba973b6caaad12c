/**
 * What is to be confirmed to whom, gathered for a short while so that one message confirms many; a machine without
 * I/O, times are milliseconds. What is added twice is said once.
 */

export const RECEIPTS = Object.freeze({
  /** How long they are gathered, ms. */
  pause: 1_000,
  /** So many that are hurried are not gathered any longer. */
  hurried: 8,
  /** Ids in one message (docs/protocol.md, section 10). */
  most: 256,
  /** Ids that wait for all; what is more is left out, and its sender asks again. */
  all: 16_384,
})

export type ReceiptState = 'delivered' | 'read'

export interface Receipt {
  readonly to: string
  readonly state: ReceiptState
  readonly ids: readonly string[]
}

export class Receipts {
  /** By `state to`. */
  readonly #waiting = new Map<string, { readonly since: number; readonly ids: Set<string>; hurried: number }>()
  #count = 0

  get size(): number {
    return this.#count
  }

  /** @param hurry its sender waits for it before it sends more */
  add(to: string, id: string, state: ReceiptState, now: number, hurry = false): void {
    const name = `${state} ${to}`
    const waiting = this.#waiting.get(name) ?? { since: now, ids: new Set<string>(), hurried: 0 }
    this.#waiting.set(name, waiting)
    if (waiting.ids.has(id)) return
    if (this.#count >= RECEIPTS.all) return
    waiting.ids.add(id)
    if (hurry) waiting.hurried++
    this.#count++
  }

  /** What was gathered long enough, or is a message's worth. `all` takes whatever there is. */
  take(now: number, all = false): Receipt[] {
    const taken: Receipt[] = []
    for (const [name, waiting] of this.#waiting) {
      const { since, ids } = waiting
      // Not yet; unless they are from later than now, because the clock was set back.
      if (!all && since + RECEIPTS.pause > now && since <= now && !isFull(waiting)) continue
      this.#waiting.delete(name)
      this.#count -= ids.size
      const [state, to] = name.split(' ', 2) as [ReceiptState, string]
      const each = [...ids]
      for (let start = 0; start < each.length; start += RECEIPTS.most)
        taken.push({ to, state, ids: each.slice(start, start + RECEIPTS.most) })
    }
    return taken
  }

  /** When `take` has something; infinite if there is nothing. */
  due(): number {
    let due = Number.POSITIVE_INFINITY
    for (const waiting of this.#waiting.values()) due = Math.min(due, isFull(waiting) ? waiting.since : waiting.since + RECEIPTS.pause)
    return due
  }
}

function isFull({ ids, hurried }: { readonly ids: ReadonlySet<string>; readonly hurried: number }): boolean {
  return ids.size >= RECEIPTS.most || hurried >= RECEIPTS.hurried
}
