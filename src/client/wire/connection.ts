/**
 * Drives one ClientSession over one stream: the one timer and the promises of the
 * requests are here, and nothing else is. It decides nothing about what a relay sends.
 */
import type { RequestName } from '../../protocol/packets.ts'
import { type Answers, BreachError, ClientSession, type Message, type SessionEvent } from '../../protocol/client-session.ts'
import { fromBreach, RelayError } from './error.ts'
import type { Stream } from './stream.ts'

interface Waiting {
  readonly resolve: (value: never) => void
  readonly reject: (error: unknown) => void
}

export interface ConnectionOptions {
  /** The name dialled. */
  readonly relay: string
  /** Milliseconds that an answer, or the next part of one, may take. */
  readonly timeout: number
  readonly onMessage: (message: Message) => void
  readonly onTakenOver: () => void
  /** The relay says that it is leaving the name dialled, for one that has the form of an onion address. */
  readonly onMoved: (name: string) => void
  /** Called once, whoever ended it; undefined if it was we. */
  readonly onEnd: (error: unknown) => void
}

export class Connection {
  readonly session: ClientSession
  readonly #stream: Stream
  readonly #options: ConnectionOptions
  readonly #waiting: Waiting[] = []
  #timer: ReturnType<typeof setTimeout> | undefined
  /** Set once the connection ended: what requests fail with from then on. */
  #ended: { readonly error: unknown } | undefined
  /** Why the relay is about to end the connection, as it said. */
  #farewell: RelayError | undefined

  constructor(stream: Stream, options: ConnectionOptions) {
    this.session = new ClientSession(options.relay, stream.framing)
    this.#stream = stream
    this.#options = options
    stream.start({
      onChunk: (chunk) => this.#onChunk(chunk),
      onEnd: () => this.end(this.#farewell ?? new RelayError('closed')),
    })
  }

  /**
   * Sends the request that `build` makes and gives its answer.
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
      // Answers come in the order of the requests, so the oldest promise is the oldest request's.
      this.#waiting.push({ resolve, reject })
      this.#stream.write(bytes)
      if (this.#waiting.length === 1) this.#watch()
    })
  }

  /** Ends the connection at once; open requests fail with `error`, or as `closed`. */
  end(error?: unknown): void {
    if (this.#ended !== undefined) return
    this.#ended = { error: error ?? new RelayError('closed') }
    clearTimeout(this.#timer)
    this.session.onEnd()
    this.#stream.close()
    for (const { reject } of this.#waiting.splice(0)) reject(this.#ended.error)
    this.#options.onEnd(error)
  }

  #onChunk(chunk: Uint8Array): void {
    for (const event of this.session.onChunk(chunk)) {
      if (this.#ended !== undefined) return
      this.#onEvent(event)
    }
  }

  #onEvent(event: SessionEvent): void {
    switch (event.kind) {
      case 'answer':
        this.#waiting.shift()!.resolve(event.answer.value as never)
        this.#watch()
        return
      case 'part':
        this.#watch()
        return
      case 'refused': {
        const error = new RelayError(event.code, event)
        // These end the connection: what waits behind it fails for the same reason.
        if (event.code === 'too-large' || event.code === 'timeout' || event.code === 'restarting') this.#farewell = error
        this.#waiting.shift()!.reject(error)
        this.#watch()
        return
      }
      case 'message':
        this.#options.onMessage(event.message)
        return
      case 'notice':
        if (event.code === 'taken-over') this.#options.onTakenOver()
        else this.#farewell = new RelayError('restarting', event)
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

  /** An answer is due, or the next part of one. A drip of bytes is no part. */
  #watch(): void {
    clearTimeout(this.#timer)
    if (this.#waiting.length > 0) this.#timer = setTimeout(() => this.end(new RelayError('no-answer')), this.#options.timeout)
  }

  /** Runs what may find the challenge foreign: then the connection ends before anything else is sent. */
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
