/**
 * The messages of all subscriptions that a client has received and not acknowledged. A relay can deliver without end, also
 * the same message again and again, so their count and bytes are bounded by {@link CLIENT_CAPS}.
 *
 * The bound is not the window of WELCOME: messages that expire or are wiped make room in the window, and the client
 * does not learn of it.
 */
import { BreachError } from './breach.ts'
import { CLIENT_CAPS } from './limits.ts'

export class Unacknowledged {
  /** All copies of a message, by its id: the size of each in bytes, and the label of its subscription. */
  readonly #copies = new Map<string, { readonly bytes: number; readonly label: string }[]>()
  #count = 0
  #bytes = 0

  /** Adds a message. @throws {BreachError} `too-much` */
  add(id: string, bytes: number, label: string): void {
    const copies = this.#copies.get(id)
    if (copies === undefined) this.#copies.set(id, [{ bytes, label }])
    else copies.push({ bytes, label })
    this.#count++
    this.#bytes += bytes
    if (this.#count > CLIENT_CAPS.messages || this.#bytes > CLIENT_CAPS.bytes) throw new BreachError('too-much')
  }

  /** Removes one copy of a message; the caller may still hold the others. */
  remove(id: string): void {
    const copies = this.#copies.get(id)
    const copy = copies?.shift()
    if (copy === undefined) return
    this.#count--
    this.#bytes -= copy.bytes
    if (copies?.length === 0) this.#copies.delete(id)
  }

  /** Forgets all messages, or those of one subscription. */
  clear(label?: string): void {
    for (const [id, copies] of this.#copies) {
      const kept = copies.filter((copy) => label !== undefined && copy.label !== label)
      this.#count -= copies.length - kept.length
      for (const copy of copies) if (!kept.includes(copy)) this.#bytes -= copy.bytes
      if (kept.length === 0) this.#copies.delete(id)
      else this.#copies.set(id, kept)
    }
  }
}
