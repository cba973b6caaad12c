/** Every SEND that clients wrote: how often and when each text was sent, and how many messages a relay may hold. */
import type { Kernel, Process } from './kernel.ts'

/** How often a process sent a text, and when it did so last. */
export interface Sent {
  readonly by: Process
  readonly count: number
  readonly at: number
  /** The same by the clock of the process. */
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
    const before = this.#texts.get(text)
    this.#texts.set(text, { by, at, wall: by.machine.wall, relay, count: before?.by === by ? before.count + 1 : 1 })
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
