/**
 * Messages that the page has and that relays still hold, because the user has not seen them: if the page closes, they
 * come again. A relay delivers at most 64 unacknowledged ones, so the oldest are acknowledged before that.
 */
import type { Received } from '../client/messenger/inbox.ts'

const HELD = 32

export class Tickets {
  /** By the key of the entry, the oldest first. */
  readonly #held = new Map<number, Received>()
  readonly #onFailure: () => void

  /** @param onFailure called if a message cannot be acknowledged */
  constructor(onFailure: () => void) {
    this.#onFailure = onFailure
  }

  /** Keeps a message until {@link acknowledge}. */
  hold(key: number, received: Received): void {
    this.#held.set(key, received)
    for (const oldest of [...this.#held.keys()].slice(0, Math.max(0, this.#held.size - HELD))) this.acknowledge(oldest)
  }

  /** @returns after how many seconds the message shall disappear, if its sender asks for that */
  acknowledge(key: number): number | undefined {
    const received = this.#held.get(key)
    this.#held.delete(key)
    received?.done().catch(this.#onFailure)
    return received?.envelope?.expires
  }
}
