/**
 * Values from one who makes them to one who takes them by `for await`. Bounded: of more than it holds, the oldest
 * is dropped.
 */
export class Channel<T> implements AsyncIterable<T> {
  readonly #queue: T[] = []
  readonly #most: number
  readonly #waiting: ((result: IteratorResult<T, undefined>) => void)[] = []
  /** Who waits until there is less. */
  readonly #patient: { readonly most: number; readonly resolve: () => void }[] = []
  readonly #onLeave: (() => void) | undefined
  #closed = false

  /**
   * @param most values that wait
   * @param onLeave called when whoever takes them leaves its loop
   */
  constructor(most = Number.POSITIVE_INFINITY, onLeave?: () => void) {
    this.#most = most
    this.#onLeave = onLeave
  }

  push(value: T): void {
    if (this.#closed) return
    const waiting = this.#waiting.shift()
    if (waiting !== undefined) return waiting({ value, done: false })
    this.#queue.push(value)
    if (this.#queue.length > this.#most) this.#queue.shift()
  }

  /** What is there can be taken still. */
  close(): void {
    this.#closed = true
    for (const waiting of this.#waiting.splice(0)) waiting({ value: undefined, done: true })
    for (const { resolve } of this.#patient.splice(0)) resolve()
  }

  /** Resolves when at most so many values wait, or it is closed. */
  async until(most: number): Promise<void> {
    if (this.#queue.length > most && !this.#closed) await new Promise<void>((resolve) => this.#patient.push({ most, resolve }))
  }

  next(): Promise<IteratorResult<T, undefined>> {
    const value = this.#queue.shift()
    for (let at = this.#patient.length - 1; at >= 0; at--)
      if (this.#queue.length <= this.#patient[at]!.most) this.#patient.splice(at, 1)[0]!.resolve()
    if (value !== undefined) return Promise.resolve({ value, done: false })
    if (this.#closed) return Promise.resolve({ value: undefined, done: true })
    return new Promise((resolve) => this.#waiting.push(resolve))
  }

  [Symbol.asyncIterator](): AsyncIterator<T, undefined> {
    return {
      next: () => this.next(),
      return: async () => {
        this.#onLeave?.()
        return { value: undefined, done: true }
      },
    }
  }
}
