/** Connects to receive, and again after each failure: after a pause, which is longer after several failures in a row. */
import { backoff } from '../delivery/backoff.ts'
import { RelayError } from '../wire/error.ts'
import type { Clock } from './clock.ts'

/** After a connection that lasted so long, ms, the next pause is short again. */
const HELD_MS = 60_000

export interface RetriesOptions {
  readonly clock: Clock
  readonly random: () => number
  /** The most by which a reconnect is put off, ms, so that the relay cannot match connections by it. */
  readonly spread: number
  /** Receives until the connection fails. @param onUp call it once the connection is up */
  readonly receive: (onUp: () => void) => Promise<void>
  /** @returns whether to connect again */
  readonly onFailed: (error: unknown) => boolean
  /** @param more `again`: ms until the next try */
  readonly onState: (state: 'connecting' | 'down', more: { error?: unknown; again?: number }) => void
}

export class Retries {
  readonly #options: RetriesOptions
  #closed = false
  #wake: (() => void) | undefined

  constructor(options: RetriesOptions) {
    this.#options = options
  }

  /** Ends a pause before the next try. */
  hurry(): void {
    this.#wake?.()
  }

  /** Ends the tries. The caller closes the connection. */
  close(): void {
    this.#closed = true
    this.#wake?.()
  }

  async run(): Promise<void> {
    const { clock, random, spread, receive, onFailed, onState } = this.#options
    let failures = 0
    while (!this.#closed) {
      const since = clock.now()
      let up = false
      onState('connecting', {})
      const error = await receive(() => (up = true)).then(
        () => new RelayError('closed'),
        (reason: unknown) => reason,
      )
      if (this.#closed || !onFailed(error)) return
      failures = up && clock.now() - since > HELD_MS ? 1 : failures + 1
      const pause = backoff(failures, random(), error instanceof RelayError ? error.seconds : undefined)
      // A connection that stood for a while ended together with others: they must not come back together.
      const again = pause + (up ? random() * spread : 0)
      onState('down', { error, again })
      await new Promise<void>((resolve) => {
        const cancel = clock.after(again, resolve)
        this.#wake = () => {
          cancel()
          resolve()
        }
      })
    }
  }
}
