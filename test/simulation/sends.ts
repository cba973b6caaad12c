/** Every SEND that clients wrote: how often and when each text was sent, and how many messages a relay may hold. */
import type { Kernel, Process } from './kernel.ts'

/** How often a text was sent, and when last. */
export interface Sent {
  readonly count: number
  readonly at: number
  /** The same by the clock of its writer. */
  readonly wall: number
  /** The name of the relay. */
  readonly relay: string
}

export class Sends {
  readonly #kernel: Kernel
  /** By id of a text. */
  readonly #texts = new Map<string, Sent>()
  /** By relay: the times of all SENDs that are not too old, in order. */
  readonly #times = new Map<string, number[]>()

  constructor(kernel: Kernel) {
    this.#kernel = kernel
  }

  /** @param text undefined for anything that is no text, as a receipt */
  onSend(by: Process, relay: string, text: string | undefined): void {
    const at = this.#kernel.now
    const times = this.#times.get(relay)
    if (times === undefined) this.#times.set(relay, [at])
    else times.push(at)
    if (text === undefined) return
    this.#texts.set(text, { at, wall: by.machine.wall, relay, count: (this.#texts.get(text)?.count ?? 0) + 1 })
  }

  of(text: string): Sent | undefined {
    return this.#texts.get(text)
  }

  /** Returns how many messages were sent to a relay since then, and forgets those from before. */
  countSince(relay: string, since: number): number {
    const times = this.#times.get(relay) ?? []
    const first = times.findIndex((at) => at >= since)
    times.splice(0, first === -1 ? times.length : first)
    return times.length
  }
}
