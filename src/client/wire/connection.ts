/**
 * Drives a ClientSession over a stream. Holds only the timer and the promises of open requests; the session interprets
 * the relay's packets.
 */
import type { RequestName } from '../../protocol/packets.ts'
import type { Answers, Message } from '../../protocol/answer.ts'
import { BreachError } from '../../protocol/breach.ts'
import { ClientSession, type SessionEvent } from '../../protocol/client-session.ts'
import { fromBreach, RelayError } from './error.ts'
import { type Moment, Pulse, PULSE } from './pulse.ts'
import type { Stream } from './stream.ts'

interface Waiting {
  readonly resolve: (value: never) => void
  readonly reject: (error: unknown) => void
}

export interface ConnectionOptions {
  /** The dialled name. */
  readonly relay: string
  /** Milliseconds to wait for an answer, or for the next part of one. */
  readonly timeout: number
  /** The relay is not reached yet: no request runs out of time before `begin`. */
  readonly isEarly?: boolean
  /** @param label of the subscription; empty for the unlabelled one */
  readonly onMessage: (message: Message, label: string) => void
  readonly onTakenOver: (label: string) => void
  /** The relay announces that it moves to `name`, which has the form of an onion address (checksum unchecked). */
  readonly onMoved: (name: string) => void
  /** The relay named its run, in a TOKEN. */
  readonly onRun?: ((run: string) => void) | undefined
  /** Called once, when the connection has ended; `error` is undefined after a call of `end` without one. */
  readonly onEnd: (error: unknown) => void
}

export class Connection {
  readonly session: ClientSession
  readonly #stream: Stream
  readonly #options: ConnectionOptions
  readonly #waiting: Waiting[] = []
  /** When the last bytes of the relay came, by `performance.now`. */
  heardAt = performance.now()
  #timer: ReturnType<typeof setTimeout> | undefined
  #pulse: ReturnType<typeof setInterval> | undefined
  /** The error of all later requests, set once the connection has ended. */
  #ended: { readonly error: unknown } | undefined
  readonly #standing = Promise.withResolvers<void>()
  /** Resolves once the relay is reached, or the connection has ended. */
  readonly standing: Promise<void> = this.#standing.promise
  #isEarly: boolean
  /** The relay's announced reason for ending the connection soon. */
  #farewell: RelayError | undefined

  constructor(stream: Stream, options: ConnectionOptions) {
    this.session = new ClientSession(options.relay, stream.framing)
    this.#stream = stream
    this.#options = options
    this.#isEarly = options.isEarly === true
    if (!this.#isEarly) this.#standing.resolve()
    stream.start({
      onChunk: (chunk) => this.#onChunk(chunk),
      onEnd: () => this.end(this.#farewell ?? new RelayError('closed')),
    })
  }

  /**
   * Sends the request that `build` returns, and waits for its answer.
   * @throws {RelayError}
   */
  request<Name extends RequestName>(_name: Name, build: (session: ClientSession) => Uint8Array): Promise<Answers[Name]> {
    if (this.#ended !== undefined) return Promise.reject(this.#ended.error)
    let bytes: Uint8Array
    try {
      bytes = build(this.session)
    } catch (error) {
      return Promise.reject(error)
    }
    return new Promise<Answers[Name]>((resolve, reject) => {
      // The relay answers in order, so an answer belongs to the oldest promise.
      this.#waiting.push({ resolve, reject })
      this.#stream.write(bytes)
      if (this.#waiting.length === 1) this.#watch()
    })
  }

  /**
   * Pings in time from now on, and ends the connection if no PONG comes in time.
   * @param renew renews proofs that are about to end, and returns whether a PING is due all the same
   */
  keepAlive(renew: () => Promise<boolean>): void {
    if (this.#ended !== undefined) return
    const now = (): Moment => ({ steady: performance.now(), wall: Date.now() })
    const pulse = new Pulse(this.session.limits.idle * 1_000, Math.random(), now())
    this.#pulse = setInterval(() => {
      if (pulse.isDue(now(), this.heardAt)) void this.#refresh(renew)
    }, pulse.tick)
  }

  /** Ignores errors: one that ends the connection also ends the subscriptions. */
  async #refresh(renew: () => Promise<boolean>): Promise<void> {
    let patience: ReturnType<typeof setTimeout> | undefined
    try {
      if (!(await renew())) return
      patience = setTimeout(() => this.end(new RelayError('no-answer')), PULSE.patience)
      await this.ping()
    } catch {
      // Ignored, as said above.
    } finally {
      clearTimeout(patience)
    }
  }

  async ping(): Promise<void> {
    await this.request('PING', (session) => session.ping())
  }

  /** Ends the connection at once. Open requests reject with `error`, or with a `closed` error. */
  end(error?: unknown): void {
    if (this.#ended !== undefined) return
    this.#ended = { error: error ?? new RelayError('closed') }
    clearTimeout(this.#timer)
    clearInterval(this.#pulse)
    this.session.onEnd()
    this.#stream.close()
    for (const { reject } of this.#waiting.splice(0)) reject(this.#ended.error)
    this.#standing.resolve()
    this.#options.onEnd(error)
  }

  #onChunk(chunk: Uint8Array): void {
    this.heardAt = performance.now()
    for (const event of this.session.onChunk(chunk)) {
      if (this.#ended !== undefined) return
      this.#onEvent(event)
    }
  }

  #onEvent(event: SessionEvent): void {
    switch (event.kind) {
      case 'answer': {
        const { name, value } = event.answer
        if ((name === 'VERIFY' || name === 'CLAIM') && value.run !== undefined) this.#options.onRun?.(value.run)
        this.#waiting.shift()!.resolve(value as never)
        this.#watch()
        return
      }
      case 'part':
        this.#watch()
        return
      case 'refused': {
        const error = new RelayError(event.code, event)
        // These codes end the connection, so later requests fail for the same reason.
        if (event.code === 'too-large' || event.code === 'timeout' || event.code === 'restarting') this.#farewell = error
        this.#waiting.shift()!.reject(error)
        this.#watch()
        return
      }
      case 'message':
        this.#options.onMessage(event.message, event.label)
        return
      case 'taken-over':
        this.#options.onTakenOver(event.label)
        return
      case 'notice':
        this.#farewell = new RelayError('restarting', event)
        return
      case 'moved':
        this.#options.onMoved(event.name)
        return
      case 'farewell':
        this.end(new RelayError(event.code, event))
        return
      case 'broken':
        this.end(fromBreach(event.reason))
        return
    }
  }

  /** Whether the relay is not reached yet. */
  get isEarly(): boolean {
    return this.#isEarly
  }

  /** The relay is reached. */
  begin(): void {
    this.#isEarly = false
    this.#standing.resolve()
    this.#watch()
  }

  /** Restarts the timer of the oldest request. Only a whole part of an answer restarts it, not single bytes. */
  #watch(): void {
    clearTimeout(this.#timer)
    if (this.#waiting.length > 0 && !this.#isEarly && this.#ended === undefined)
      this.#timer = setTimeout(() => this.end(new RelayError('no-answer')), this.#options.timeout)
  }

  /** Runs a check of the session. If the check finds a breach, ends the connection before anything else is sent. */
  check<T>(work: (session: ClientSession) => T): T {
    if (this.#ended !== undefined) throw this.#ended.error
    try {
      return work(this.session)
    } catch (error) {
      if (!(error instanceof BreachError)) throw error
      const refused = fromBreach(error.reason)
      this.end(refused)
      throw refused
    }
  }
}

/** Settles as `work` does, or rejects with the signal's reason if that comes first; then the result is discarded. */
export function abortable<T>(signal: AbortSignal | undefined, work: () => Promise<T>): Promise<T> {
  if (signal === undefined) return work()
  if (signal.aborted) return Promise.reject(signal.reason)
  return new Promise((resolve, reject) => {
    const abort = (): void => reject(signal.reason)
    signal.addEventListener('abort', abort, { once: true })
    void work()
      .then(resolve, reject)
      .finally(() => signal.removeEventListener('abort', abort))
  })
}
