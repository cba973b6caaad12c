/**
 * Packets on their way out, gathered so that the answers of one turn leave in one write.
 * The buffer handed out by `take` is the taker's to overwrite once it was written.
 */

const FIRST_BYTES = 512

export class Output {
  #buffer: Buffer | undefined
  #length = 0

  get length(): number {
    return this.#length
  }

  /** Appends a packet of ASCII fields, its LF included. */
  packet(fields: string): void {
    const room = this.#reserve(fields.length + 1)
    this.#length += room.write(fields, this.#length, 'latin1')
    room[this.#length++] = 0x0a
  }

  /** Appends a packet whose last field are bytes that never become a string. */
  packetWith(fields: string, last: Uint8Array): void {
    const room = this.#reserve(fields.length + 1 + last.length + 1)
    this.#length += room.write(fields, this.#length, 'latin1')
    room[this.#length++] = 0x3b
    room.set(last, this.#length)
    this.#length += last.length
    room[this.#length++] = 0x0a
  }

  /** All that was gathered. */
  take(): Uint8Array {
    const taken = this.#buffer!.subarray(0, this.#length)
    this.#buffer = undefined
    this.#length = 0
    return taken
  }

  /** Overwrites and forgets what was gathered. */
  clear(): void {
    this.#buffer?.fill(0)
    this.#buffer = undefined
    this.#length = 0
  }

  #reserve(bytes: number): Buffer {
    const need = this.#length + bytes
    const buffer = this.#buffer
    if (buffer !== undefined && buffer.length >= need) return buffer
    // Not from Node's shared pool: what is left of a payload must be ours alone to overwrite.
    const grown = Buffer.allocUnsafeSlow(Math.max(need, FIRST_BYTES, this.#length * 2))
    if (buffer !== undefined) {
      grown.set(buffer.subarray(0, this.#length))
      buffer.fill(0)
    }
    this.#buffer = grown
    return grown
  }
}
