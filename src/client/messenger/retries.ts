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
  /** When the connection came up; infinite before. */
  #upAt = Number.POSITIVE_INFINITY
  /** Why the connection before ended. */
  #before: unknown

  constructor(options: RetriesOptions) {
    this.#options = options
  }

  /**
   * Whether a connection ended because another client took the mailbox over. It may have been an earlier connection of this
   * client: the relay can hear late of one that failed for the client. So a young connection that follows a failure is tried
   * again, but once in a row, so that two clients do not fight for a mailbox.
   */
  isTakenOver(error: unknown): boolean {
    return saysTakenOver(error) && (this.#hasHeld || this.#before === undefined || saysTakenOver(this.#before))
  }

  get #hasHeld(): boolean {
    return this.#options.clock.now() - this.#upAt > HELD_MS
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
      this.#upAt = Number.POSITIVE_INFINITY
      onState('connecting', {})
      const error = await receive(() => (this.#upAt = clock.now())).then(
        () => new RelayError('closed'),
        (reason: unknown) => reason,
      )
      if (this.#closed || !onFailed(error)) return
      failures = this.#hasHeld ? 1 : failures + 1
      this.#before = error
      const pause = backoff(failures, random(), error instanceof RelayError ? error.seconds : undefined)
      // A connection that stood for a while ended together with others: they must not come back together.
      const again = pause + (this.#upAt < Number.POSITIVE_INFINITY ? random() * spread : 0)
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

const saysTakenOver = (error: unknown): boolean => error instanceof RelayError && error.code === 'taken-over'
