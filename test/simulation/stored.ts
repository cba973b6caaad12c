/** A message that a relay accepted. */
export interface Stored {
  /** The id of its text. */
  readonly text: string
  /** The fingerprint of the mailbox. */
  readonly mailbox: string
  readonly at: number
}

/** The messages that one relay accepted and did not erase, oldest first, as far as an observer knows. */
export class Shelf {
  /** By id of the message. */
  readonly messages = new Map<string, Stored>()
  /** By text: how many of the messages have it. */
  readonly #texts = new Map<string, number>()

  add(message: string, stored: Stored): void {
    this.delete(message)
    this.messages.set(message, stored)
    this.#texts.set(stored.text, (this.#texts.get(stored.text) ?? 0) + 1)
  }

  delete(message: string): void {
    const text = this.messages.get(message)?.text
    if (text === undefined) return
    this.messages.delete(message)
    const left = this.#texts.get(text)! - 1
    if (left > 0) this.#texts.set(text, left)
    else this.#texts.delete(text)
  }

  /** Forgets the messages from before a time. */
  expire(time: number): void {
    for (const [message, { at }] of this.messages) {
      if (at >= time) return
      this.delete(message)
    }
  }

  holds(text: string): boolean {
    return this.#texts.has(text)
  }
}
