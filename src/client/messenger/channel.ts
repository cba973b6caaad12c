/** A queue that a `for await` loop reads. If it is full, it drops its oldest value. */
export class Channel<T> implements AsyncIterable<T> {
  readonly #queue: T[] = []
  readonly #most: number
  readonly #waiting: ((result: IteratorResult<T, undefined>) => void)[] = []
  /** Waiting calls of `until`. */
  readonly #patient: { readonly most: number; readonly resolve: () => void }[] = []
  readonly #onLeave: (() => void) | undefined
  #closed = false

  /**
   * @param most most values to keep
   * @param onLeave called when the loop is left
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

  /** Ends the queue. Values in it can still be read. */
  close(): void {
    this.#closed = true
    for (const waiting of this.#waiting.splice(0)) waiting({ value: undefined, done: true })
    for (const { resolve } of this.#patient.splice(0)) resolve()
  }

  /** Resolves once at most `most` values wait, or the queue is closed. */
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
