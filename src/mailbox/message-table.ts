/**
 * The table of stored messages. A message is a row of typed arrays and not an object, so that a million messages cost
 * the garbage collector nothing. Rows are linked into lists by mailbox.ts; payloads lie in arena.ts.
 */
import type { MessageId } from '../protocol/ports.ts'

/** No row: the end of a list. */
export const NONE = 0xffff_ffff
/** The lease of a message that waits. */
export const FREE = 0

/** A reference holds a row and its generation, so that it never finds a later message in the same row. */
const ROWS = 2 ** 26
const GENERATIONS = 2 ** 26
const FIRST_ROWS = 1_024
/** Random bytes for message ids, drawn many at a time: each draw costs some microseconds. */
const RANDOM_BYTES = 4_096

interface Rows {
  /** Neighbours in the mailbox. */
  readonly next: Uint32Array
  readonly previous: Uint32Array
  /** Neighbours in the order of arrival, over all mailboxes. */
  readonly newer: Uint32Array
  readonly older: Uint32Array
  /** In the arena. */
  readonly position: Uint32Array
  readonly idHigh: Uint32Array
  readonly idLow: Uint32Array
  /** The connection that leases the message. */
  readonly owner: Uint32Array
  /** How often the row was used before. */
  readonly generation: Uint32Array
  readonly lease: Uint8Array
  /** 1 if a stranger sent the message. */
  readonly stranger: Uint8Array
  /** ms */
  readonly expires: Float64Array
}

export class MessageTable<Box> {
  /** Replaced when the table grows, so no caller may keep it over {@link allocate}. */
  rows = createRows(FIRST_ROWS)
  /** The mailbox of each row. */
  readonly boxes: (Box | undefined)[] = []
  readonly #randomBytes: (size: number) => Uint8Array
  #random: DataView = new DataView(new ArrayBuffer(0))
  #randomAt = 0
  /** The first of the rows that were freed, linked by `next`. */
  #freed = NONE
  /** Rows used so far, freed ones included. */
  #used = 0

  constructor(randomBytes: (size: number) => Uint8Array) {
    this.#randomBytes = randomBytes
  }

  /** Returns a row for a message of `box`. The caller sets all its values. */
  allocate(box: Box): number {
    let row = this.#freed
    if (row === NONE) {
      if (this.#used === this.rows.next.length) this.rows = growRows(this.rows)
      row = this.#used++
    } else {
      this.#freed = this.rows.next[row]!
    }
    this.boxes[row] = box
    return row
  }

  /** Frees a row: overwrites its id, and makes all references to it invalid. */
  free(row: number): void {
    const { rows } = this
    rows.generation[row] = (rows.generation[row]! + 1) % GENERATIONS
    rows.lease[row] = FREE
    rows.owner[row] = 0
    rows.idHigh[row] = 0
    rows.idLow[row] = 0
    this.boxes[row] = undefined
    rows.next[row] = this.#freed
    this.#freed = row
  }

  /** Returns a row's reference, an integer below 2^52. */
  reference(row: number): number {
    return this.rows.generation[row]! * ROWS + row
  }

  /** Returns the row of a reference, or undefined if its message is erased. */
  find(reference: number): number | undefined {
    const row = reference % ROWS
    const live = this.boxes[row] !== undefined && this.rows.generation[row] === Math.floor(reference / ROWS)
    return live ? row : undefined
  }

  /** Draws 64 random bits as a row's message id. A counter would tell sender and receiver how busy the relay is. */
  drawId(row: number): void {
    if (this.#randomAt === this.#random.byteLength) {
      const { buffer, byteOffset, byteLength } = this.#randomBytes(RANDOM_BYTES)
      this.#random = new DataView(buffer, byteOffset, byteLength)
      this.#randomAt = 0
    }
    this.rows.idHigh[row] = this.#random.getUint32(this.#randomAt)
    this.rows.idLow[row] = this.#random.getUint32(this.#randomAt + 4)
    this.#randomAt += 8
  }

  setId(row: number, { high, low }: MessageId): void {
    this.rows.idHigh[row] = high
    this.rows.idLow[row] = low
  }

  id(row: number): MessageId {
    return { high: this.rows.idHigh[row]!, low: this.rows.idLow[row]! }
  }
}

function createRows(length: number): Rows {
  return {
    next: new Uint32Array(length),
    previous: new Uint32Array(length),
    newer: new Uint32Array(length),
    older: new Uint32Array(length),
    position: new Uint32Array(length),
    idHigh: new Uint32Array(length),
    idLow: new Uint32Array(length),
    owner: new Uint32Array(length),
    generation: new Uint32Array(length),
    lease: new Uint8Array(length),
    stranger: new Uint8Array(length),
    expires: new Float64Array(length),
  }
}

function growRows(rows: Rows): Rows {
  const grown = createRows(rows.next.length * 2)
  for (const name of Object.keys(rows) as (keyof Rows)[]) grown[name].set(rows[name])
  return grown
}
