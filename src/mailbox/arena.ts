/**
 * The memory of payloads: slabs that fill from front to back like a log, so that a payload of any size costs its own
 * length and eight bytes. Erasing overwrites at once. An empty slab is reused or given back, and a cleaner moves the
 * payloads of sparse slabs into the current one (log-structured storage, Rosenblum and Ousterhout 1992). Knows nothing
 * of mailboxes.
 */

export const SLAB_BYTES = 1 << 20
/** Each payload has a header, its owner and its length, so that the cleaner can walk a slab. */
const HEADER_BYTES = 8
/** Empty slabs kept for reuse: allocating large buffers is slow in Node 24 and later (nodejs/node#60423). */
const SPARE_SLABS = 2
/** Holes of this many slabs are always allowed, so that a small relay never cleans. */
const FREE_SLABS = 4
/** The owner of an erased payload. */
const NO_OWNER = 0xffff_ffff

interface Slab {
  readonly buffer: ArrayBuffer
  readonly bytes: Uint8Array
  /** The same memory. `Buffer.copy` copies a part of it without a view. */
  readonly source: Buffer
  readonly words: Uint32Array
  /** The place of the next payload. */
  head: number
  /** Bytes before `head` that are in use. */
  live: number
}

/** Returns the bytes that a payload of `length` bytes takes in the arena. */
export function footprint(length: number): number {
  return HEADER_BYTES + ((length + 7) & ~7)
}

export class Arena {
  readonly #slabs: (Slab | undefined)[] = []
  readonly #unused: number[] = []
  readonly #spare: Slab[] = []
  readonly #moved: (owner: number, position: number) => void
  #current = -1
  #capacity = 0
  #live = 0

  /** @param moved called with the new position when the cleaner has moved a payload */
  constructor(moved: (owner: number, position: number) => void) {
    this.#moved = moved
  }

  /** Bytes in use, headers included. */
  get live(): number {
    return this.#live
  }

  /** Bytes of memory allocated, spare slabs included. */
  get reserved(): number {
    return this.#capacity + this.#spare.length * SLAB_BYTES
  }

  /**
   * Copies a payload in.
   *
   * @param owner any uint32; `moved` gets it back
   * @returns the payload's position, a uint32 in units of eight bytes
   * @throws {RangeError} if the payload does not fit into a slab
   */
  store(owner: number, payload: Uint8Array): number {
    const need = footprint(payload.length)
    if (need > SLAB_BYTES) throw new RangeError('a payload must fit into a slab')
    if (this.#current === -1 || this.#slabs[this.#current]!.head + need > SLAB_BYTES) this.#open()
    const slab = this.#slabs[this.#current]!
    const at = slab.head
    slab.words[at >> 2] = owner
    slab.words[(at >> 2) + 1] = payload.length
    slab.bytes.set(payload, at + HEADER_BYTES)
    slab.head += need
    slab.live += need
    this.#live += need
    return this.#current * (SLAB_BYTES / 8) + at / 8
  }

  /** Returns a view of the payload at a position, good until the next call that changes the arena. */
  read(position: number): Uint8Array {
    const slab = this.#slabs[Math.floor(position / (SLAB_BYTES / 8))]!
    const at = (position % (SLAB_BYTES / 8)) * 8
    const start = at + HEADER_BYTES
    return slab.bytes.subarray(start, start + slab.words[(at >> 2) + 1]!)
  }

  /** Writes the place of a payload into `into`, good until the next call that changes the arena. Makes no view. */
  find(position: number, into: { bytes: Buffer; start: number; end: number }): void {
    const slab = this.#slabs[Math.floor(position / (SLAB_BYTES / 8))]!
    const at = (position % (SLAB_BYTES / 8)) * 8
    into.bytes = slab.source
    into.start = at + HEADER_BYTES
    into.end = into.start + slab.words[(at >> 2) + 1]!
  }

  /** Returns the length of the payload at a position, in bytes. */
  length(position: number): number {
    const slab = this.#slabs[Math.floor(position / (SLAB_BYTES / 8))]!
    return slab.words[(position % (SLAB_BYTES / 8)) * 2 + 1]!
  }

  /** Overwrites a payload with zeros and frees its place. */
  erase(position: number): void {
    this.#clear(position)
    if (this.#isSparse()) this.#clean()
  }

  #clear(position: number): void {
    const number = Math.floor(position / (SLAB_BYTES / 8))
    const slab = this.#slabs[number]!
    const at = (position % (SLAB_BYTES / 8)) * 8
    const length = slab.words[(at >> 2) + 1]!
    const need = footprint(length)
    slab.bytes.fill(0, at + HEADER_BYTES, at + HEADER_BYTES + length)
    slab.words[at >> 2] = NO_OWNER
    slab.live -= need
    this.#live -= need
    if (slab.live > 0) return
    if (number === this.#current) slab.head = 0
    else this.#release(number, slab)
  }

  /** Whether more than half of the memory is holes. */
  #isSparse(): boolean {
    return this.#capacity > this.#live * 2 + FREE_SLABS * SLAB_BYTES
  }

  #open(): void {
    const slab = this.#spare.pop() ?? createSlab()
    this.#capacity += SLAB_BYTES
    this.#current = this.#unused.pop() ?? this.#slabs.length
    this.#slabs[this.#current] = slab
  }

  #release(number: number, slab: Slab): void {
    this.#slabs[number] = undefined
    this.#unused.push(number)
    this.#capacity -= SLAB_BYTES
    slab.head = 0
    if (this.#spare.length < SPARE_SLABS) this.#spare.push(slab)
    // Frees the memory now: in an idle relay the garbage collector does not run.
    else slab.buffer.transfer(0)
  }

  /** Moves the payloads of the sparsest slab to the current one. One slab a call bounds the pause. */
  #clean(): void {
    let sparsest = -1
    let least = SLAB_BYTES
    for (let number = 0; number < this.#slabs.length; number++) {
      const slab = this.#slabs[number]
      if (slab === undefined || number === this.#current || slab.live >= least) continue
      least = slab.live
      sparsest = number
    }
    const slab = this.#slabs[sparsest]
    if (slab === undefined) return
    const end = slab.head
    for (let at = 0; at < end && slab.live > 0; at += footprint(slab.words[(at >> 2) + 1]!)) {
      const owner = slab.words[at >> 2]!
      if (owner === NO_OWNER) continue
      const position = sparsest * (SLAB_BYTES / 8) + at / 8
      this.#moved(owner, this.store(owner, this.read(position)))
      this.#clear(position)
    }
  }
}

function createSlab(): Slab {
  const buffer = new ArrayBuffer(SLAB_BYTES)
  return { buffer, bytes: new Uint8Array(buffer), source: Buffer.from(buffer), words: new Uint32Array(buffer), head: 0, live: 0 }
}
