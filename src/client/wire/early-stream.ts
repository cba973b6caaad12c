import type { Stream, StreamReceiver } from './stream.ts'

/**
 * A stream that takes packets before the relay is reached. They leave with the way to the relay (docs/protocol.md,
 * section 7); later ones wait until the stream stands.
 */
export class EarlyStream implements Stream {
  readonly framing: Stream['framing']
  #packets: Uint8Array[] = []
  #receiver: StreamReceiver | undefined
  #stream: Stream | undefined
  #isClosed = false

  constructor(framing: Stream['framing']) {
    this.framing = framing
  }

  start(receiver: StreamReceiver): void {
    this.#receiver = receiver
  }

  write(packet: Uint8Array): void {
    if (this.#stream === undefined) this.#packets.push(packet)
    else this.#stream.write(packet)
  }

  /** Returns the packets so far, for the dialler to send. */
  take(): readonly Uint8Array[] {
    const packets = this.#packets
    this.#packets = []
    return packets
  }

  /** The relay is reached, and has the packets that `take` returned. */
  attach(stream: Stream): void {
    if (this.#isClosed) return stream.close()
    this.#stream = stream
    stream.start(this.#receiver!)
    for (const packet of this.take()) stream.write(packet)
  }

  close(): void {
    this.#isClosed = true
    this.#stream?.close()
  }
}
