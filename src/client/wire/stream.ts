/**
 * Carries packets between a client and a relay. Deliberately narrow, so that a socket in Node, a WebSocket in a page
 * and a relay in the same process (in tests) all fit.
 */
export interface Stream {
  /** `line`: packets end in LF, and chunks may split them anywhere. `message`: each chunk is one packet. */
  readonly framing: 'line' | 'message'
  /** Starts delivery. Called once, before anything else. */
  start(receiver: StreamReceiver): void
  /** Sends one packet, which ends in LF. Does nothing after the end. */
  write(packet: Uint8Array): void
  /** Ends the stream at once. */
  close(): void
}

export interface StreamReceiver {
  /** The receiver owns the chunk from now on and may overwrite it. */
  onChunk(chunk: Uint8Array): void
  /** Called once, whichever side ended the stream. No call follows it. */
  onEnd(): void
}
