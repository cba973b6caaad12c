/** How often strangers may have the web page: a request for it has 300 bytes, and its answer a hundred thousand. */
import { Bucket } from './bucket.ts'

/** The answers at once over one circuit, and per second. */
const BURST = 8
const PER_SECOND = 1 / 60
/** The same for all connections of no known circuit together. */
const SHARED_BURST = 64
const SHARED_PER_SECOND = 1

export class PageRate {
  readonly #shared: Bucket
  /** The circuits whose limit is not full. */
  readonly #circuits = new Map<string, Bucket>()

  constructor(now: number) {
    this.#shared = new Bucket(SHARED_BURST, SHARED_PER_SECOND, now)
  }

  /** Returns the seconds until the circuit may have the web page. Counts an answer if it is 0. */
  wait(circuit: string | undefined, now: number): number {
    const bucket = circuit === undefined ? this.#shared : (this.#circuits.get(circuit) ?? new Bucket(BURST, PER_SECOND, now))
    if (circuit !== undefined) this.#circuits.set(circuit, bucket)
    const wait = bucket.wait(1, now)
    if (wait === 0) bucket.take(1)
    return wait
  }

  /** The count of circuits in memory. */
  get circuits(): number {
    return this.#circuits.size
  }

  /** Forgets circuits whose limit is full again. */
  sweep(now: number): void {
    for (const [number, bucket] of this.#circuits) if (bucket.isFull(now)) this.#circuits.delete(number)
  }

  /** Forgets all circuits. */
  forget(): void {
    this.#circuits.clear()
  }
}
