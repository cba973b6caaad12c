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
  received = 0
  readonly #stream: ByteStream
  readonly #receiver: Receiver
  readonly #frames: FrameReader
  /**
   * `finishing`: the peer's input is over, and the receiver still answers its earlier packets. `closing`: our close frame is
   * sent, or about to be.
   */
  #state: 'open' | 'finishing' | 'closing' = 'open'
  /** The code of our close frame. */
  #code: number | undefined = NORMAL
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

  widen(): void {
    this.#stream.widen()
  }

  end(): void {
    this.#sendClose()
  }

  destroy(): void {
    this.#stream.destroy()
  }

  onChunk(chunk: Uint8Array): void {
    const idle = this.#frames.read(chunk)
    if (idle > 0) this.#receiver.onIdleFrames(idle)
    if (this.#pong !== undefined) this.#writeNext()
  }

  onFinish(): void {
    if (this.#state === 'open') this.#finish(NORMAL)
    else this.#writeNext()
  }

  /** Not called, as is `onIdleFrames`: the socket's stream has no frames. */
  onTooLarge(): void {}

  onIdleFrames(): void {}

  onEnd(): void {
    clearTimeout(this.#lingering)
    this.#frames.clear()
    this.#pong?.fill(0)
    this.#next = undefined
    this.#receiver.onEnd()
  }

  onLines(chunk: Uint8Array): void {
    this.received += chunk.length
    if (this.#state === 'open') this.#receiver.onChunk(chunk)
    else chunk.fill(0)
  }

  onPing(payload: Uint8Array): void {
    if (this.#state !== 'closing') this.#pong = encodePong(payload, this.#pong)
  }

  onClose(code: number | undefined): void {
    this.#finish(code)
  }

  onRefused(code: number): void {
    this.#finish(code)
  }

  /** The input is over. The receiver answers all earlier packets, and then ends this stream. */
  #finish(code: number | undefined): void {
    this.#peerClosed = true
    if (this.#state === 'closing') return this.#writeNext()
    this.#state = 'finishing'
    this.#code = code
    if (code === TOO_BIG) this.#receiver.onTooLarge()
    else this.#receiver.onFinish()
  }

  #send(bytes: Uint8Array, done?: () => void): boolean {
    this.#writing = !this.#stream.write(bytes, () => {
      this.#writing = false
      this.#writeNext()
      done?.()
    })
    return !this.#writing
  }

  #sendClose(): void {
    if (this.#state !== 'closing') {
      this.#state = 'closing'
      this.#next = undefined
      this.#close = encodeClose(this.#code)
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
