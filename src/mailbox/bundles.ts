/**
 * The bundles of mailboxes (docs/protocol.md, section 4): at most one for each, held for a fixed time after its last
 * PUBLISH. A bundle counts in steps, so that one of about the same length always finds room in its predecessor's place.
 * Knows neither keys nor the clock.
 */
import type { Limits } from '../protocol/limits.ts'
import type { MessageId } from '../protocol/ports.ts'

/** The budget's cost of a bundle beside its bytes: its object, its id and its place in the map. */
export const BUNDLE_BYTES = 512
/** Bundles count in multiples of this. A signed post-quantum recipient has about 3,000 characters. */
const STEP_BYTES = 4_096
/** The part of the budget that all bundles may take together. */
const SHARE = 1 / 8

interface Bundle {
  /** In memory of its own. */
  readonly bytes: Buffer
  /** ms */
  readonly expires: number
}

/** A bundle as one relay hands it to the next: like a message, with an id of zeros. */
export interface HeldBundle {
  readonly mailbox: string
  readonly id: MessageId
  /** The rest of the time for which a relay holds it, in ms. */
  readonly left: number
  readonly payload: Uint8Array
}

const NO_ID = Object.freeze({ high: 0, low: 0 })

export class Bundles {
  readonly #limits: Limits
  readonly #budget: number
  /** By the mailbox's blinded id, in the order of expiry. */
  readonly #bundles = new Map<string, Bundle>()
  #bytes = 0

  /** @param budget of all messages and bundles, bytes */
  constructor(limits: Limits, budget: number) {
    this.#limits = limits
    this.#budget = budget
  }

  get count(): number {
    return this.#bundles.size
  }

  /** Bytes of the budget that all bundles take. */
  get bytes(): number {
    return this.#bytes
  }

  /**
   * Copies a bundle in, and overwrites the one before.
   *
   * @param free bytes of the budget
   * @returns false if there is no room; then the one before stays
   */
  publish(id: string, bundle: Uint8Array, now: number, free: number): boolean {
    return this.#store(id, bundle, now + this.#limits.bundleSeconds * 1_000, free)
  }

  /** As {@link publish}, for a bundle of another relay. They come in the order of expiry. */
  restore({ mailbox, payload, left }: HeldBundle, now: number, free: number): boolean {
    return this.#store(mailbox, payload, now + Math.min(left, this.#limits.bundleSeconds * 1_000), free)
  }

  /** Returns a bundle, good until the next change. */
  find(id: string): Buffer | undefined {
    return this.#bundles.get(id)?.bytes
  }

  /** Overwrites a bundle, if there is one. */
  erase(id: string): void {
    const bundle = this.#bundles.get(id)
    if (bundle === undefined) return
    this.#bytes -= costOf(bundle.bytes)
    bundle.bytes.fill(0)
    this.#bundles.delete(id)
  }

  eraseExcept(keep: (id: string) => boolean): void {
    for (const id of this.#bundles.keys()) if (!keep(id)) this.erase(id)
  }

  /** Overwrites the bundles that have expired. */
  expire(now: number): void {
    for (const [id, { expires }] of this.#bundles) {
      if (expires > now) return
      this.erase(id)
    }
  }

  /** Gives all bundles in the order of expiry, for a relay that serves no connection meanwhile. */
  *held(now: number): Generator<HeldBundle, void, void> {
    for (const [mailbox, { bytes, expires }] of this.#bundles) yield { mailbox, id: NO_ID, left: expires - now, payload: bytes }
  }

  #store(id: string, bytes: Uint8Array, expires: number, free: number): boolean {
    const former = this.#bundles.get(id)?.bytes
    const growth = costOf(bytes) - (former === undefined ? 0 : costOf(former))
    if (growth > 0 && (growth > free || this.#bytes + growth > this.#budget * SHARE)) return false
    this.erase(id)
    const copy = Buffer.from(new ArrayBuffer(bytes.length))
    copy.set(bytes)
    this.#bundles.set(id, { bytes: copy, expires })
    this.#bytes += costOf(bytes)
    return true
  }
}

function costOf({ length }: { readonly length: number }): number {
  return BUNDLE_BYTES + Math.ceil(length / STEP_BYTES) * STEP_BYTES
}
