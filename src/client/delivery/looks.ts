/**
 * When to look at relays that hold messages while there is no connection to them: they may restart and forget. A look
 * is a connection with a proof: the relay's answer names its run. Pure; times are in ms.
 */
import { isOver } from './backoff.ts'
import { OUTBOX } from './entry.ts'

export class Looks {
  /** Relays that accepted messages and lost their connection since. The outbox looks before it sends there. */
  readonly #doubted = new Set<string>()
  /** By relay: when to look, infinite while a look is under way, and the pause that led to it. */
  readonly #looks = new Map<string, { at: number; pause: number }>()

  /** Relays that held messages when the program started, until a look at them succeeded or failed. */
  readonly #first = new Set<string>()

  get isFirst(): boolean {
    return this.#first.size > 0
  }

  /** The program starts: looks at the relays that hold messages of an earlier start. */
  onStart(relays: Iterable<string>, now: number): void {
    for (const relay of relays) {
      this.onLost(relay, now)
      this.#first.add(relay)
    }
  }

  isDoubted(relay: string): boolean {
    return this.#doubted.has(relay)
  }

  /** Plans a look at a doubted relay for now, because a message is to be sent there. */
  hurry(relay: string, now: number): void {
    const look = this.#looks.get(relay)
    if (look === undefined) this.#looks.set(relay, { at: now, pause: OUTBOX.look[0] })
    else if (look.at < Number.POSITIVE_INFINITY) look.at = now
  }

  /** A message goes to the relay, which is as good as a look. */
  cancel(relay: string): void {
    this.#looks.delete(relay)
  }

  /** Returns the relays to look at now. They count as under way from here on. */
  take(now: number, isDown: (relay: string) => boolean): string[] {
    const relays: string[] = []
    for (const [relay, look] of this.#looks) {
      if (!isOver(look.at, now, OUTBOX.look[1]) || isDown(relay)) continue
      look.at = Number.POSITIVE_INFINITY
      if (this.#doubted.has(relay)) relays.push(relay)
      else this.#looks.delete(relay)
    }
    return relays
  }

  /** Returns when `take` has a relay next; infinite without one. */
  due(downUntil: (relay: string) => number): number {
    let due = Number.POSITIVE_INFINITY
    for (const [relay, { at }] of this.#looks) due = Math.min(due, Math.max(at, downUntil(relay)))
    return due
  }

  /**
   * The connection broke, or could not be made, while the relay held messages: look as soon as it can be reached.
   * @returns whether it was the first look after a start
   */
  onLost(relay: string, now: number): boolean {
    this.#doubted.add(relay)
    this.#looks.set(relay, { at: now, pause: OUTBOX.look[0] })
    return this.#first.delete(relay)
  }

  /** A connection for sending is up. If the relay forgot its messages, `Outbox.onRun` came before. */
  onUp(relay: string): void {
    this.#first.delete(relay)
    this.#doubted.delete(relay)
  }

  /** The client ended an idle connection to a relay that holds messages. @param random in [0, 1) */
  onIdle(relay: string, random: number, now: number): void {
    this.#doubted.add(relay)
    const pause = Math.min((this.#looks.get(relay)?.pause ?? OUTBOX.look[0] / 2) * 2, OUTBOX.look[1])
    this.#looks.set(relay, { at: now + pause * (0.75 + random / 4), pause })
  }

  /** Forgets relays that hold no message any more. @param holding returns those that hold one */
  expire(holding: () => ReadonlySet<string>): void {
    if (this.#doubted.size === 0) return
    const relays = holding()
    for (const relay of this.#doubted)
      if (!relays.has(relay)) {
        this.#first.delete(relay)
        this.#doubted.delete(relay)
        this.#looks.delete(relay)
      }
  }
}
