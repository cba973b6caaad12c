/**
 * What every door hands to `relay.accept`: a byte stream, deliberately narrow, so that the relay
 * cannot know (or log) where a peer comes from. TCP, unix sockets and WebSocket all end in it.
 */
import type { Framing } from '../protocol/output.ts'

export interface ByteStream {
  /**
   * Of the packets that are written: `line`, each ended by LF; `message`, each a frame (WebSocket). What the receiver
   * is handed is lines either way, however the chunks fall.
   */
  readonly framing: Framing
  /** The onion service's circuit number where it is exported; streams of one circuit share it. */
  readonly circuit: string | undefined
  /**
   * Sends whole packets. One write at a time.
   * @returns true where the system took all of them at once. Otherwise `done` is called once, when it has, or
   * never if the stream ends first. The caller owns `bytes`, and overwrites them then, or after `onEnd`.
   */
  write(bytes: Uint8Array, done: () => void): boolean
  /** Stops and restarts the receiver's chunks. A few may still come after `pause`. */
  pause(): void
  resume(): void
  /** Ends the stream after what was written has gone out; destroys it if the peer does not follow. */
  end(): void
  /** Ends the stream at once. */
  destroy(): void
}

/** The relay's side of an accepted stream; the door calls it. */
export interface Receiver {
  /** The chunk is lent: the receiver overwrites it before it returns, and keeps no view of it. */
  onChunk(chunk: Uint8Array): void
  /** Writes now what would be written at the end of the turn: the stream is about to end. */
  flush(): void
  /** The peer sends no more; it still gets its answers (`printf … | nc`). */
  onFinish(): void
  /** Called once, whoever ended the stream. Nothing is called after it. */
  onEnd(): void
}

/** The one call in which every transport ends. */
export type Accept = (stream: ByteStream) => Receiver
