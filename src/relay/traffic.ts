/**
 * The memory of everything that is on its way: bytes that were read and wait for their turn, incomplete lines, and output
 * that peers have not taken. One budget for all connections: a connection may hold a line and some output, but ten
 * thousand of them may not each hold as much.
 */

/** The budget: enough for 500 peers that do not read, each with a large buffer of output. */
export const TRAFFIC_BYTES = 48 * 2 ** 20

interface Holder {
  giveWay(): void
}

export class Traffic<H extends Holder> {
  readonly #budget: number
  readonly #onGaveWay: () => void
  #bytes = 0
  /** The bytes of each holder; first the one that has made no progress for the longest time. */
  readonly #holders = new Map<H, number>()

  /** @param onGaveWay called for each holder that is ended */
  constructor(onGaveWay: () => void, budget = TRAFFIC_BYTES) {
    this.#budget = budget
    this.#onGaveWay = onGaveWay
  }

  get bytes(): number {
    return this.#bytes
  }

  /**
   * Updates the bytes of one connection. If all together hold too much, ends the connections that have made no progress
   * for the longest time: their peers do not read, or never complete their line.
   *
   * @param gotOn whether it completed a packet or a write
   */
  hold(holder: H, bytes: number, gotOn: boolean): void {
    this.#bytes += bytes - (this.#holders.get(holder) ?? 0)
    if (bytes === 0 || gotOn) this.#holders.delete(holder)
    if (bytes > 0) this.#holders.set(holder, bytes)
    if (this.#bytes <= this.#budget) return
    for (const other of this.#holders.keys()) {
      if (this.#bytes <= this.#budget) return
      if (other === holder) continue
      this.#onGaveWay()
      other.giveWay()
    }
  }
}
