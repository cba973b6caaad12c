/** The unconfirmed messages of an outbox, in the order in which they were added, within their limits. Without I/O or time. */
import { countBytes, type Entry, OUTBOX, type OutboxEntry, storedForm } from './entry.ts'

export class Entries {
  protected readonly all = new Map<string, Entry>()
  #bytes = 0

  get size(): number {
    return this.all.size
  }

  /** Returns the id of the last unconfirmed message to `to`. */
  last(to: string): string | undefined {
    let last: string | undefined
    for (const entry of this.all.values()) if (entry.to === to && entry.confirm && entry.keep !== false) last = entry.id
    return last
  }

  /** Adds a message. @param leaves when to send it, ms; now by default @returns false if there is no room for it, or it is there already */
  add(entry: OutboxEntry, leaves = Number.POSITIVE_INFINITY): boolean {
    if (this.all.has(entry.id) || this.all.size >= OUTBOX.entries || this.#bytes + countBytes(entry) > OUTBOX.bytes) return false
    this.#bytes += countBytes(entry)
    const held = entry.held.length > 0
    this.all.set(entry.id, {
      ...entry,
      flying: undefined,
      isSecond: false,
      // A message of an earlier run is sent again: its relay may have lost it, and the receiver drops a duplicate.
      wanted: leaves === Number.POSITIVE_INFINITY,
      held: new Set(),
      state: held ? 'held' : 'waiting',
      copies: held ? 1 : 0,
      again: leaves,
      refused: new Map(),
    })
    return true
  }

  /** Removes a message in any state. @returns false if it is not there */
  remove(id: string): boolean {
    const entry = this.all.get(id)
    if (entry === undefined) return false
    this.all.delete(id)
    this.#bytes -= countBytes(entry)
    return true
  }

  /** Returns an unconfirmed message. */
  find(id: string): OutboxEntry | undefined {
    const entry = this.all.get(id)
    return entry && storedForm(entry)
  }

  /** Returns the unconfirmed messages to `to`, oldest first. */
  listTo(to: string): OutboxEntry[] {
    return [...this.all.values()].filter((entry) => entry.to === to).map(storedForm)
  }

  /** The message on its way to a relay got its key: it stays on its way. */
  onSealed(id: string, payload: Uint8Array): void {
    const entry = this.all.get(id)
    if (entry === undefined) return
    this.#bytes += payload.length - entry.payload.length
    this.all.set(id, { ...entry, payload })
  }

  /** The message was encrypted anew, and goes out as if it never had. */
  onRenewed(id: string, { payload, daily, renewals }: { payload: Uint8Array; daily: boolean; renewals: number }): void {
    const entry = this.all.get(id)
    if (entry === undefined) return
    this.#bytes += payload.length - entry.payload.length
    const { daily: _, ...others } = entry
    this.all.set(id, {
      ...others,
      payload,
      ...(daily && { daily: true as const }),
      renewals,
      flying: undefined,
      isSecond: false,
      wanted: true,
      held: new Set(),
      copies: 0,
      again: Number.POSITIVE_INFINITY,
      refused: new Map(),
    })
  }

  /** Returns the routes on which relays hold messages. */
  protected holding(): Set<string> {
    const routes = new Set<string>()
    for (const { held } of this.all.values()) for (const route of held) routes.add(route)
    return routes
  }

  /** Returns the messages to keep in a store, oldest first. */
  entries(): OutboxEntry[] {
    return [...this.all.values()].filter(({ confirm, keep }) => confirm && keep !== false).map(storedForm)
  }
}
