/**
 * Drives one session over one stream: hands it bytes and the time, and does what it says. Decides
 * nothing about the protocol, and knows nothing of where the peer is.
 */
import type { Effect, Session, Subscriber } from '../protocol/session.ts'
import type { Place } from './admission.ts'
import type { Prover, RelayProof } from './prover.ts'
import type { ByteStream, Receiver } from './stream.ts'

/** What a connection asks of its relay. */
export interface Host {
  prover(): Prover
  now(): number
  /** Runs `onTurn` of the connection after the current turn of the event loop. */
  wake(connection: Connection): void
  onProven(connection: Connection): void
  onEnded(connection: Connection): void
  /** Our own mistake: the connection ends, the relay goes on. */
  onFault(error: unknown): void
}

export class Connection implements Receiver, Subscriber {
  readonly owner: number
  readonly place: Place
  readonly #host: Host
  readonly #stream: ByteStream
  readonly #session: Session<RelayProof>
  #flowing = true
  #ended = false
  #awake = false
  #takenOver = false

  constructor(options: {
    owner: number
    host: Host
    stream: ByteStream
    place: Place
    session: (subscriber: Subscriber) => Session<RelayProof>
  }) {
    this.owner = options.owner
    this.place = options.place
    this.#host = options.host
    this.#stream = options.stream
    this.#session = options.session(this)
  }

  get proven(): boolean {
    return this.#session.proven
  }

  onChunk(chunk: Uint8Array): void {
    this.#perform((now) => this.#session.onChunk(chunk, now))
  }

  onFinish(): void {
    this.#perform((now) => this.#session.onFinish(now))
  }

  onEnd(): void {
    if (this.#ended) return
    this.#ended = true
    this.#session.onEnd()
    this.#host.onEnded(this)
  }

  // A sender's turn may wake many readers, and one reader many times: they are served once, after it.
  onWaiting(): void {
    if (this.#awake || this.#ended) return
    this.#awake = true
    this.#host.wake(this)
  }

  onTakenOver(): void {
    this.#takenOver = true
    this.onWaiting()
  }

  /** After the turn in which the connection was woken. */
  onTurn(): void {
    this.#awake = false
    if (this.#takenOver) {
      this.#takenOver = false
      this.#perform((now) => this.#session.onTakenOver(now))
    } else {
      this.#perform((now) => this.#session.onWaiting(now))
    }
  }

  /** Called about once a second. */
  onTick(now: number): void {
    if (now >= this.#session.due) this.#perform(() => this.#session.onTime(now))
  }

  /** The relay goes down. */
  restart(seconds: number): void {
    this.#perform((now) => this.#session.onRestarting(seconds, now))
  }

  destroy(): void {
    this.#stream.destroy()
  }

  #perform(input: (now: number) => Effect<RelayProof>[]): void {
    if (this.#ended) return
    try {
      for (const effect of input(this.#host.now())) this.#do(effect)
      this.#steer()
    } catch (error) {
      this.#host.onFault(error)
      this.#stream.destroy()
    }
  }

  #do(effect: Effect<RelayProof>): void {
    switch (effect.kind) {
      case 'write':
        this.#stream.write(effect.bytes, () => this.#perform((now) => this.#session.onWritten(now)))
        return
      case 'challenge': {
        const { key, sign, challenge } = effect
        this.#settle(this.#host.prover().challenge(key, sign, challenge), (result, now) =>
          this.#session.onChallenged(result, now),
        )
        return
      }
      case 'verify':
        this.#settle(this.#host.prover().verify(effect.proof, effect.answer), (good, now) =>
          this.#session.onVerified(good, now),
        )
        return
      case 'proven':
        this.#host.onProven(this)
        return
      case 'end':
        this.#stream.end()
        return
      case 'destroy':
        this.#stream.destroy()
        return
    }
  }

  #settle<T>(work: Promise<T>, then: (value: T, now: number) => Effect<RelayProof>[]): void {
    work.then(
      (value) => this.#perform((now) => then(value, now)),
      (error: unknown) => {
        this.#host.onFault(error)
        this.#stream.destroy()
      },
    )
  }

  /** Lets chunks come only while the session can take them. */
  #steer(): void {
    const wanted = this.#session.reading
    if (wanted === this.#flowing || this.#ended) return
    this.#flowing = wanted
    if (wanted) this.#stream.resume()
    else this.#stream.pause()
  }
}
