/**
 * The interface between a door (TCP, unix socket, WebSocket) and the relay: a byte stream. It is narrow on purpose, so
 * that the relay cannot learn, or log, the address of a peer.
 */
import type { Framing } from '../protocol/output.ts'

export interface ByteStream {
  /**
   * The framing of the packets that the relay writes: `line` for an LF after each, `message` for a WebSocket frame
   * each. The receiver gets lines in both cases, cut into chunks anywhere.
   */
  readonly framing: Framing
  /** The onion service's circuit number, if tor exports it. Streams of one circuit share it. */
  readonly circuit: string | undefined
  /** The relay's name by which the peer came, if the door can tell: over HTTP, Host states it. */
  readonly dialled?: string | undefined
  /** The count of bytes of packets that came so far. */
  readonly received: number
  /**
   * Sends whole packets, one write at a time. The caller owns `bytes`, and may overwrite them once they are taken, or
   * after `onEnd`.
   *
   * @returns true if the system took all bytes at once; otherwise the stream calls `done` once it has taken them, or
   *   never, if it ends first
   */
  write(bytes: Uint8Array, done: () => void): boolean
  /** Stops the chunks. A few may still come. */
  pause(): void
  /** Lets chunks come again. */
  resume(): void
  /** The peer is a stranger no more: chunks may be longer from now on. */
  widen(): void
  /** Ends the stream once all written bytes are sent, and destroys it if the peer does not end its side. */
  end(): void
  /** Ends the stream at once. */
  destroy(): void
}

/** The relay's side of an accepted stream. The door calls it. */
export interface Receiver {
  /** Lends a chunk: the receiver overwrites it before the call returns, and keeps no view of it. */
  onChunk(chunk: Uint8Array): void
  /** The peer sends no more. It still gets its answers (`printf … | nc`), and then the receiver ends the stream. */
  onFinish(): void
  /** The peer announces a packet over every limit: the receiver refuses it after its answers to everything before. */
  onTooLarge(): void
  /** The door read so many frames for the peer that completed no packet. */
  onIdleFrames(count: number): void
  /** The stream has ended, on either side. The door calls this once, and nothing after it. */
  onEnd(): void
}
