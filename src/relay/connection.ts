/**
 * Drives one session over one stream: passes bytes and the time to it, and performs its effects. Decides nothing about
 * the protocol, and does not know where the peer is.
 */
import type { Effect, Reader } from '../protocol/ports.ts'
import type { RelaySession } from '../protocol/relay-session.ts'
import type { Place } from './admission.ts'
import type { Prover, RelayProof } from './prover.ts'
import type { ByteStream, Receiver } from './stream.ts'

/** The relay, as its connections see it. */
export interface Host {
  prover(): Prover
  now(): number
  /** Runs `onTurn` of the connection at the end of the current turn of the event loop. */
  wake(connection: Connection): void
  /** Runs `goOn` of the connection in a later turn, after those that rest already. */
  rest(connection: Connection): void
  /** A chunk is processed, and no connection is in the middle of a call. */
  onRest(): void
  onProven(connection: Connection): void
  /** The connection holds so many bytes of buffers, and got on or did not. */
  onHeld(connection: Connection, bytes: number, gotOn: boolean): void
  onEnded(connection: Connection): void
  /** Reports a bug. The connection ends, the relay goes on. */
  onFault(error: unknown): void
}

type Input = (session: RelaySession<RelayProof>, now: number, chunk: Uint8Array) => readonly Effect<RelayProof>[]

const NOTHING = new Uint8Array(0)
// Frequent inputs need no closure: while the garbage collector removes short-lived ones, all connections wait.
const onChunk: Input = (session, now, chunk) => session.onChunk(chunk, now)
const onWritten: Input = (session, now) => session.onWritten(now)
const onWriting: Input = (session, now) => session.onWriting(now)
const onNews: Input = (session, now) => session.onNews(now)
const onTurn: Input = (session, now) => session.onTurn(now)

export class Connection implements Receiver, Reader {
  readonly owner: number
  readonly place: Place
  readonly #host: Host
  readonly #stream: ByteStream
  readonly #session: RelaySession<RelayProof>
  /** Whether the stream lets chunks come. */
  #flowing = true
  #ended = false
  /** Whether `onTurn` will be called at the end of this turn. */
  #awake = false
  /** Whether `goOn` will be called. */
  #resting = false
  /** The session's `held` and `progress`, as the host knows them. */
  #held = 0
  #progress = 0
  /** Whether its mailboxes had news in this turn. */
  #hasNews = false
  readonly #onWritten = (): void => {
    this.#perform(onWritten)
    this.#flush()
    this.#account()
  }

  constructor(options: {
    owner: number
    host: Host
    stream: ByteStream
    place: Place
    session: (reader: Reader) => RelaySession<RelayProof>
  }) {
    this.owner = options.owner
    this.place = options.place
    this.#host = options.host
    this.#stream = options.stream
    this.#session = options.session(this)
  }

  onChunk(chunk: Uint8Array): void {
    this.#perform(onChunk, chunk)
    this.#host.onRest()
  }

  onFinish(): void {
    this.#perform((session, now) => session.onFinish(now))
  }

  onIdleFrames(count: number): void {
    this.#perform((session) => session.onIdleFrames(count))
  }

  onTooLarge(): void {
    this.#perform((session, now) => session.onTooLarge(now))
  }

  onEnd(): void {
    if (this.#ended) return
    this.#ended = true
    this.#session.onEnd()
    this.#account()
    this.#host.onEnded(this)
  }

  // One turn of a sender may wake many readers, and one reader many times. Each is served once, after the turn.
  wake(): void {
    this.#hasNews = true
    this.#wake()
  }

  #wake(): void {
    if (this.#awake || this.#ended) return
    this.#awake = true
    this.#host.wake(this)
  }

  #rest(): void {
    if (this.#resting || this.#ended) return
    this.#resting = true
    this.#host.rest(this)
  }

  /** Gathers the messages that came in this turn, and writes all output: the turn of the event loop is over. */
  onTurn(): void {
    this.#awake = false
    if (!this.#session.isResting) this.#session.beginTurn()
    if (this.#hasNews) this.#perform(onNews)
    this.#hasNews = false
    this.#flush()
    this.#account()
  }

  /** Lets the session go on, which had used up its turn. */
  goOn(): void {
    this.#resting = false
    this.#perform(onTurn)
    this.#flush()
    this.#account()
  }

  /** Writes the session's output. */
  #flush(): void {
    while (!this.#ended) {
      const bytes = this.#session.flush(this.#host.now())
      if (bytes === undefined) return
      this.#perform(this.#stream.write(bytes, this.#onWritten) ? onWritten : onWriting)
    }
  }

  /** About a second has passed. */
  onTick(now: number): void {
    if (now >= this.#session.due) this.#perform((session) => session.onTime(now))
  }

  /** The list of admitted keys has changed. */
  onAdmission(): void {
    this.#perform((session, now) => session.onAdmission(now))
  }

  /** The relay goes down. */
  restart(seconds: number): void {
    this.#perform((session, now) => session.onRestarting(seconds, now))
  }

  destroy(): void {
    this.#stream.destroy()
  }

  /** Ends at once, and gives back all buffers now, not when the stream's end is known. */
  giveWay(): void {
    this.#stream.destroy()
    this.onEnd()
  }

  #perform(input: Input, chunk: Uint8Array = NOTHING): void {
    if (this.#ended) return
    try {
      const effects = input(this.#session, this.#host.now(), chunk)
      if (effects.length > 0) for (const effect of effects) this.#do(effect)
      this.#steer()
      if (this.#session.hasOutput) this.#wake()
      // Otherwise the turn's end does: its output is usually gone by then.
      if (!this.#awake) this.#account()
      if (this.#session.isResting) this.#rest()
    } catch (error) {
      this.#host.onFault(error)
      this.#stream.destroy()
    }
  }

  #account(): void {
    const { held, progress } = this.#session
    if (held === this.#held && (held === 0 || progress === this.#progress)) return
    const gotOn = progress !== this.#progress
    this.#held = held
    this.#progress = progress
    this.#host.onHeld(this, held, gotOn)
  }

  #do(effect: Effect<RelayProof>): void {
    switch (effect.kind) {
      case 'challenge': {
        const { key, sign, challenge } = effect
        this.#settle(this.#host.prover().challenge(key, sign, challenge), (result) => (session, now) => session.onChallenged(result, now))
        return
      }
      case 'verify':
        this.#settle(this.#host.prover().verify(effect.proof, effect.answer), (good) => (session, now) => session.onVerified(good, now))
        return
      case 'receiver':
        this.#settle(this.#host.prover().check(effect.key), (outcome) => (session, now) => session.onReceiver(outcome, now))
        return
      case 'proven':
        this.#stream.widen()
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

  #settle<T>(work: Promise<T>, inputOf: (value: T) => Input): void {
    work.then(
      (value) => this.#perform(inputOf(value)),
      (error: unknown) => {
        this.#host.onFault(error)
        this.#stream.destroy()
      },
    )
  }

  /** Lets chunks come only while the session takes them. */
  #steer(): void {
    const wanted = this.#session.reading
    if (wanted === this.#flowing || this.#ended) return
    this.#flowing = wanted
    if (wanted) this.#stream.resume()
    else this.#stream.pause()
  }
}
