/**
 * What carries a client's packets to a relay and back, deliberately narrow: a socket in Node, a WebSocket in a page,
 * a relay of the same process in a test.
 */
export interface Stream {
  /** `line`: packets are cut by LF, however the chunks fall. `message`: each chunk is one packet. */
  readonly framing: 'line' | 'message'
  /** Called once, before anything else: nothing is given out until then. */
  start(receiver: StreamReceiver): void
  /** Sends one packet, ended by LF. After the end it does nothing. */
  write(packet: Uint8Array): void
  /** Ends the stream at once. */
  close(): void
}

export interface StreamReceiver {
  /** The receiver owns the chunk from here on, and may overwrite it. */
  onChunk(chunk: Uint8Array): void
  /** Called once, whoever ended the stream. Nothing is called after it. */
  onEnd(): void
}
