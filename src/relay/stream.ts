/**
 * What every door hands to `relay.accept`: a byte stream, deliberately narrow, so that the relay
 * cannot know (or log) where a peer comes from. TCP, unix sockets and WebSocket all end in it.
 */
export interface ByteStream {
  /**
   * `line`: packets are cut by LF, however the chunks fall.
   * `message`: each chunk handed to the receiver is one packet (WebSocket).
   */
  readonly framing: 'line' | 'message'
  /** The onion service's circuit number where it is exported; streams of one circuit share it. */
  readonly circuit: string | undefined
  /**
   * Sends whole packets, each ended by LF. One write at a time: `done` is called once, when the
   * bytes were handed to the system, or never if the stream ends first. The caller owns `bytes`
   * and overwrites them after `done`, or after `onEnd`.
   */
  write(bytes: Uint8Array, done: () => void): void
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
  /** Bytes that a packet may have now; a door that gathers packets itself need not wait for the end of a longer one. */
  readonly packetLimit: number
  /** The chunk is lent: the receiver overwrites it before it returns, and keeps no view of it. */
  onChunk(chunk: Uint8Array): void
  /** The peer sends no more; it still gets its answers (`printf … | nc`). */
  onFinish(): void
  /** Called once, whoever ended the stream. Nothing is called after it. */
  onEnd(): void
}

/** The one call in which every transport ends. */
export type Accept = (stream: ByteStream) => Receiver
