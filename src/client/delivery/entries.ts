/** The unconfirmed messages of an outbox, in the order in which they were added, within their limits. Without I/O or time. */
import { countBytes, type Entry, OUTBOX, type OutboxEntry, relayOf } from './entry.ts'

export class Entries {
  protected readonly all = new Map<string, Entry>()
  #bytes = 0
  /** By relay, not by route: the run in which it accepted what it holds. */
  readonly #runs = new Map<string, string>()
  readonly #relaysOf: (to: string, daily: boolean) => readonly string[] | undefined

  /** @param relaysOf returns a receiver's routes, the preferred one first; those of the inbox if `daily` */
  constructor(relaysOf: (to: string, daily: boolean) => readonly string[] | undefined) {
    this.#relaysOf = relaysOf
  }

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
    const { sent, ...others } = entry
    const isHeld = entry.held.length > 0
    const again = sent?.again ?? leaves
    this.all.set(entry.id, {
      ...others,
      flying: undefined,
      isSecond: false,
      // Without `sent`, a message of an earlier start is sent again: its relay may have lost it.
      wanted: again === Number.POSITIVE_INFINITY,
      held: new Map(sent && entry.held.map((route) => [route, again])),
      state: isHeld ? 'held' : 'waiting',
      copies: sent?.copies ?? (isHeld ? 1 : 0),
      again,
      refused: new Map(),
    })
    sent?.runs.forEach((run, index) => this.#runs.set(relayOf(entry.held[index]!), run))
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
    return entry && this.#stored(entry)
  }

  /** Returns the unconfirmed messages to `to`, oldest first. */
  listTo(to: string): OutboxEntry[] {
    return [...this.all.values()].filter((entry) => entry.to === to).map((entry) => this.#stored(entry))
  }

  /** The message on its way to a relay got its key: it stays on its way. */
  onSealed(id: string, payload: Uint8Array): void {
    const entry = this.all.get(id)
    if (entry === undefined) return
    this.#bytes += payload.length - entry.payload.length
    this.all.set(id, { ...entry, payload })
  }

  /** The message was encrypted anew, and goes out as if it never had, but not to relays that refused it. */
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
      held: new Map(),
      copies: 0,
      again: Number.POSITIVE_INFINITY,
    })
  }

  /** Returns an entry as a store keeps it. */
  #stored(entry: Entry): OutboxEntry {
    const { flying: _flying, isSecond: _isSecond, wanted: _wanted, refused: _refused, held, state, copies, again, ...stored } = entry
    const routes = [...held.keys()]
    const runs = routes.flatMap((route) => this.#runs.get(relayOf(route)) ?? [])
    return {
      ...stored,
      held: state === 'held' && routes.length === 0 ? stored.relays.slice(0, 1) : routes,
      ...(runs.length === routes.length && again < Number.POSITIVE_INFINITY && { sent: { copies, again, runs } }),
    }
  }

  /** Remembers the run of a relay. @returns whether the relay named another one before */
  protected isOther(relay: string, run: string): boolean {
    const before = this.#runs.get(relay)
    // Without its run, a relay gets its messages again after the next start.
    if (this.#runs.size >= OUTBOX.runs) this.#runs.clear()
    this.#runs.set(relay, run)
    return before !== undefined && before !== run
  }

  /** Returns the routes on which relays hold messages. */
  protected holding(): Set<string> {
    const routes = new Set<string>()
    for (const { held } of this.all.values()) for (const route of held.keys()) routes.add(route)
    return routes
  }

  /** Returns the messages to keep in a store, oldest first. */
  entries(): OutboxEntry[] {
    return [...this.all.values()].filter(({ confirm, keep }) => confirm && keep !== false).map((entry) => this.#stored(entry))
  }

  protected relays(entry: Entry): readonly string[] {
    const known = this.#relaysOf(entry.to, entry.daily === true)
    return known === undefined || known.length === 0 ? entry.relays : known
  }

  /** Whether no relay will accept the message, nor the inbox instead of the address. */
  protected isRefused(entry: Entry): boolean {
    return this.relays(entry).every((route) => entry.refused.has(route)) && !this.fallsBack(entry, () => false)
  }

  /**
   * Whether a message to an address must go to an inbox at another relay instead.
   * @param isLost whether a relay that has not refused the message will not take it either
   */
  protected fallsBack(entry: Entry, isLost: (entry: Entry, route: string) => boolean): boolean {
    const { to, daily, confirm, keep, refused } = entry
    if (daily === true || (confirm && keep === false)) return false
    const routes = this.relays(entry)
    if (!routes.every((route) => refused.has(route) || isLost(entry, route))) return false
    const names = routes.map(relayOf)
    return this.#relaysOf(to, true)?.some((route) => !names.includes(relayOf(route))) === true
  }

  /** Returns the routes on which messages are on their way, are held, or will go. */
  used(): ReadonlySet<string> {
    const routes = this.holding()
    for (const entry of this.all.values()) {
      if (entry.flying !== undefined) routes.add(entry.flying)
      for (const route of this.relays(entry)) routes.add(route)
    }
    return routes
  }
}
