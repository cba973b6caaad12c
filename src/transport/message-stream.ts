/**
 * A WebSocket as the relay's stream, over the stream of its socket: frames in, lines to the receiver, frames out. The
 * reader of frames is frames.ts; this machine adds RFC 6455's control frames: pongs, the close, and the wait for the
 * peer's close.
 */
import type { ByteStream, Receiver } from '../relay/stream.ts'
import { encodeClose, encodePong, FrameReader, type FrameReceiver, NORMAL, TOO_BIG } from './frames.ts'

/** For a peer to answer our close frame. */
const LINGER_MS = 5_000

/** The socket takes one write at a time, so the frames of this class (pongs, a close) go between the relay's writes. */
export class MessageStream implements ByteStream, Receiver, FrameReceiver {
  readonly framing = 'message'
  readonly dialled: string
  readonly #stream: ByteStream
  readonly #receiver: Receiver
  readonly #frames: FrameReader
  readonly #longest: number
  /**
   * `refused`: input is discarded, and the session still sends its last words. `closing`: our close frame is sent, or
   * about to be.
   */
  #state: 'open' | 'refused' | 'closing' = 'open'
  #writing = false
  /** The relay's write that waits while a frame of this class is being written. */
  #next: Uint8Array | undefined
  #onNext: (() => void) | undefined
  /** Answers the newest ping only (RFC 6455, section 5.5.3), so a peer that pings and does not read costs no memory. */
  #pong: Uint8Array | undefined
  #close: Uint8Array | undefined
  /** The peer's close frame has come, or can no longer come. */
  #peerClosed = false
  #lingering: NodeJS.Timeout | undefined

  constructor(options: {
    readonly stream: ByteStream
    readonly longest: number
    readonly dialled: string
    readonly accept: (stream: ByteStream) => Receiver
  }) {
    const { stream, longest, dialled, accept } = options
    this.#stream = stream
    this.#longest = longest
    this.dialled = dialled
    this.#frames = new FrameReader(longest, this)
    this.#receiver = accept(this)
  }

  get circuit(): string | undefined {
    return this.#stream.circuit
  }

  write(bytes: Uint8Array, done: () => void): boolean {
    if (this.#state === 'closing') return false
    if (!this.#writing) return this.#send(bytes, done)
    this.#next = bytes
    this.#onNext = done
    return false
  }

  pause(): void {
    if (this.#state !== 'closing') this.#stream.pause()
  }

  resume(): void {
    this.#stream.resume()
  }

  end(): void {
    this.#sendClose(this.#state === 'refused' ? TOO_BIG : NORMAL)
  }

  destroy(): void {
    this.#stream.destroy()
  }

  onChunk(chunk: Uint8Array): void {
    this.#frames.read(chunk)
    if (this.#pong !== undefined) this.#writeNext()
  }

  onFinish(): void {
    this.#peerClosed = true
    if (this.#state !== 'closing') this.#receiver.onFinish()
    this.#writeNext()
  }

  onEnd(): void {
    clearTimeout(this.#lingering)
    this.#frames.clear()
    this.#pong?.fill(0)
    this.#next = undefined
    this.#receiver.onEnd()
  }

  onLines(chunk: Uint8Array): void {
    if (this.#state === 'open') this.#receiver.onChunk(chunk)
    else chunk.fill(0)
  }

  onPing(payload: Uint8Array): void {
    this.#pong?.fill(0)
    this.#pong = this.#state === 'closing' ? undefined : encodePong(payload)
    payload.fill(0)
  }

  flush(): void {
    if (this.#state === 'open') this.#receiver.flush()
  }

  onClose(code: number | undefined): void {
    // The peer gets the answers to its earlier packets first.
    this.flush()
    this.#peerClosed = true
    this.#sendClose(code)
  }

  onRefused(code: number): void {
    this.flush()
    this.#peerClosed = true
    if (code !== TOO_BIG || this.#state !== 'open') return this.#sendClose(code)
    // The session refuses a line of this length, whatever is in it, and ends the stream.
    this.#state = 'refused'
    this.#receiver.onChunk(new Uint8Array(this.#longest + 2))
  }

  #send(bytes: Uint8Array, done?: () => void): boolean {
    this.#writing = !this.#stream.write(bytes, () => {
      this.#writing = false
      this.#writeNext()
      done?.()
    })
    return !this.#writing
  }

  #sendClose(code: number | undefined): void {
    if (this.#state !== 'closing') {
      this.#state = 'closing'
      this.#next = undefined
      this.#close = encodeClose(code)
      // To read the peer's close frame.
      this.#stream.resume()
    }
    this.#writeNext()
  }

  /** Writes the waiting frames one by one; after the close frame, ends the stream or waits for the peer's close. */
  #writeNext(): void {
    while (!this.#writing) {
      const pong = this.#pong
      const next = this.#close ?? this.#next
      if (pong !== undefined) {
        const done = (): void => void pong.fill(0)
        this.#pong = undefined
        if (this.#send(pong, done)) done()
      } else if (next !== undefined) {
        const done = this.#close === undefined ? this.#onNext : undefined
        this.#close = this.#next = this.#onNext = undefined
        if (this.#send(next, done)) done?.()
      } else {
        if (this.#state !== 'closing') return
        if (this.#peerClosed) this.#stream.end()
        else this.#lingering ??= setTimeout(() => this.#stream.destroy(), LINGER_MS)
        return
      }
    }
  }
}
