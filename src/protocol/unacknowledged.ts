/**
 * The messages of a subscription that a client has received and not acknowledged. A relay can deliver without end, also
 * the same message again and again, so their count and bytes are bounded by {@link CLIENT_CAPS}.
 *
 * The bound is not the window of WELCOME: messages that expire or are wiped make room in the window, and the client
 * does not learn of it.
 */
import { BreachError } from './breach.ts'
import { CLIENT_CAPS } from './limits.ts'

export class Unacknowledged {
  /** The sizes of all copies of a message, in bytes, by its id. */
  readonly #sizes = new Map<string, number[]>()
  #count = 0
  #bytes = 0

  /** Adds a message. @throws {BreachError} `too-much` */
  add(id: string, bytes: number): void {
    const copies = this.#sizes.get(id)
    if (copies === undefined) this.#sizes.set(id, [bytes])
    else copies.push(bytes)
    this.#count++
    this.#bytes += bytes
    if (this.#count > CLIENT_CAPS.messages || this.#bytes > CLIENT_CAPS.bytes) throw new BreachError('too-much')
  }

  /** Removes one copy of a message; the caller may still hold the others. */
  remove(id: string): void {
    const copies = this.#sizes.get(id)
    const bytes = copies?.shift()
    if (bytes === undefined) return
    this.#count--
    this.#bytes -= bytes
    if (copies?.length === 0) this.#sizes.delete(id)
  }

  /** Forgets all messages. */
  clear(): void {
    this.#sizes.clear()
    this.#count = this.#bytes = 0
  }
}
