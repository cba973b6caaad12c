import type { Message } from '../../protocol/answer.ts'

/** A queue of messages from a connection to the loop that reads them. The session limits its length. */
export class Subscription {
  readonly #queue: Message[] = []
  #wake: (() => void) | undefined
  #end: { readonly error: unknown } | undefined

  push(message: Message): void {
    this.#queue.push(message)
    this.#wake?.()
  }

  /** Ends the queue and drops its messages. They come again, because they can no longer be acknowledged. */
  end(error: unknown): void {
    this.#end ??= { error }
    this.#queue.length = 0
    this.#wake?.()
  }

  /** Waits for the next message. @returns undefined after an end without an error */
  async next(): Promise<Message | undefined> {
    for (;;) {
      if (this.#end !== undefined) {
        if (this.#end.error === undefined) return undefined
        throw this.#end.error
      }
      const message = this.#queue.shift()
      if (message !== undefined) return message
      await new Promise<void>((resolve) => (this.#wake = resolve))
    }
  }
}
