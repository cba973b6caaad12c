/**
 * The last few fields that a connection used, each with the value computed from it. A client sends the same token and
 * often the same receiver again, and comparing bytes is much cheaper than verifying or hashing them.
 */
import { copyBytes } from './line.ts'
import type { Fields, RequestName } from './packets.ts'

/** Entries of one connection. */
const MOST = 4

interface Entry<Value> {
  readonly bytes: DataView
  readonly value: Value
}

export class Recent<Value> {
  /** Created when needed: thousands of idle connections never have an entry. */
  #entries: Entry<Value>[] | undefined

  /** Returns the value of a field with the same bytes. */
  find(request: Fields<RequestName>, n: number): Value | undefined {
    if (this.#entries !== undefined) for (const { bytes, value } of this.#entries) if (request.isSame(n, bytes)) return value
    return undefined
  }

  /** Copies the bytes and keeps the value. Forgets the oldest entry if there are too many. */
  add(bytes: Uint8Array, value: Value): void {
    this.#entries ??= []
    this.#entries.push({ bytes: new DataView(copyBytes(bytes).buffer), value })
    if (this.#entries.length > MOST) overwrite(this.#entries.shift()!.bytes)
  }

  /** Whether `test` holds for all values. */
  every(test: (value: Value) => boolean): boolean {
    return this.#entries === undefined || this.#entries.every(({ value }) => test(value))
  }

  /** Overwrites and forgets everything. */
  clear(): void {
    for (const { bytes } of this.#entries ?? []) overwrite(bytes)
    this.#entries = undefined
  }
}

function overwrite({ buffer }: DataView): void {
  new Uint8Array(buffer).fill(0)
}
