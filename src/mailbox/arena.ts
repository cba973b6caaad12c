/**
 * The memory that payloads lie in: slabs filled from front to back like a log, so that a payload
 * costs its own length and eight bytes whatever its size. Erasing overwrites at once; a slab that
 * holds nothing more is used again or given back, and sparse slabs are emptied into the current one
 * (log-structured storage with a cleaner, Rosenblum and Ousterhout 1992). Knows nothing of mailboxes.
 */

export const SLAB_BYTES = 1 << 20
/** Owner and length stand before each payload, so that the cleaner can walk a slab. */
const HEADER_BYTES = 8
/** Slabs kept for the next load: allocating large buffers is slow in Node 24 and later (nodejs/node#60423). */
const SPARE_SLABS = 2
/** Slabs that need not be dense, so that a small relay never cleans. */
const FREE_SLABS = 4
const NOBODY = 0xffff_ffff

interface Slab {
  readonly buffer: ArrayBuffer
  readonly bytes: Uint8Array
  /** The same, as what copies without a view. */
  readonly source: Buffer
  readonly words: Uint32Array
  /** Where the next payload goes, and how many of the bytes before it are in use. */
  head: number
  live: number
}

/** Bytes that a payload of `length` takes in the arena. */
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

  /** `moved` is told where an owner's payload lies after the cleaner moved it. */
  constructor(moved: (owner: number, position: number) => void) {
    this.#moved = moved
  }

  /** Bytes in use, headers included. */
  get live(): number {
    return this.#live
  }

  /** Bytes of memory taken, spare slabs included. */
  get reserved(): number {
    return this.#capacity + this.#spare.length * SLAB_BYTES
  }

  /**
   * Copies the payload in and gives its position, a uint32 in units of eight bytes.
   * `owner` is a uint32 of the caller's. @throws RangeError for a payload larger than a slab
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

  /** The payload at a position: a view, good until the next call that changes the arena. */
  read(position: number): Uint8Array {
    const slab = this.#slabs[Math.floor(position / (SLAB_BYTES / 8))]!
    const at = (position % (SLAB_BYTES / 8)) * 8
    const start = at + HEADER_BYTES
    return slab.bytes.subarray(start, start + slab.words[(at >> 2) + 1]!)
  }

  /** Where the payload at a position lies, good until the next call that changes the arena: no view is made. */
  find(position: number, into: { bytes: Buffer; start: number; end: number }): void {
    const slab = this.#slabs[Math.floor(position / (SLAB_BYTES / 8))]!
    const at = (position % (SLAB_BYTES / 8)) * 8
    into.bytes = slab.source
    into.start = at + HEADER_BYTES
    into.end = into.start + slab.words[(at >> 2) + 1]!
  }

  /** Of the payload at a position. */
  length(position: number): number {
    const slab = this.#slabs[Math.floor(position / (SLAB_BYTES / 8))]!
    return slab.words[(position % (SLAB_BYTES / 8)) * 2 + 1]!
  }

  /** Overwrites the payload with zeros and frees its place. */
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
    slab.words[at >> 2] = NOBODY
    slab.live -= need
    this.#live -= need
    if (slab.live > 0) return
    if (number === this.#current) slab.head = 0
    else this.#release(number, slab)
  }

  /** More than half of the memory is holes. */
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
    // Freed now: a relay that has nothing to do collects no garbage.
    else slab.buffer.transfer(0)
  }

  /** Moves what lives in the sparsest slab to the current one. One slab a call bounds the pause. */
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
      if (owner === NOBODY) continue
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
