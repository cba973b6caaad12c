/**
 * Noise messages over a socket, each after its length in two bytes (section 13 of the framework). Reads one message when
 * the caller asks for it, so a fast peer has to wait. Knows nothing of the records inside, and tells a peer that proves
 * no secret nothing but that this side is busy.
 */
import type { Socket } from 'node:net'
import { type Ciphers, Initiator, MAX_NOISE_BYTES, NoiseError, respond, TAG_BYTES } from './noise.ts'

/** The longest record. */
export const MAX_RECORD_BYTES = MAX_NOISE_BYTES - TAG_BYTES

const PROLOGUE = Buffer.from('asfaleia handover')
/** The length of both messages of the handshake: a key, and the tag of an empty payload. */
const HANDSHAKE_BYTES = 32 + TAG_BYTES
/** The one answer that is not encrypted: a message of one byte in the place of a handshake. */
const BUSY = Buffer.of(0, 1, 0)
/** Waits that one channel may begin after its time is over, each for what the system already has. */
const LATE_WAITS = 16

/**
 * `silent`: the peer left without a word, as a process does that only checks whether a relay listens. `ended`: the stream
 * ended. `stalled`: the peer took too long. `forged`: the maker of these bytes does not know the secret, or violates the
 * protocol. `busy`: the peer has too many connections.
 */
export type ChannelProblem = 'silent' | 'ended' | 'stalled' | 'forged' | 'busy'

export class ChannelError extends Error {
  readonly problem: ChannelProblem

  constructor(problem: ChannelProblem) {
    super(problem)
    this.name = 'ChannelError'
    this.problem = problem
  }
}

export interface ChannelOptions {
  readonly psk: Uint8Array
  /** The time for each step of the peer, ms. */
  readonly patience: number
  /** The time for everything, ms: without it a peer could send a byte now and then for ever. See `limit`. */
  readonly whole?: number
}

export class Channel {
  readonly #frames: Frames
  readonly #ciphers: Ciphers

  private constructor(frames: Frames, ciphers: Ciphers) {
    this.#frames = frames
    this.#ciphers = ciphers
  }

  /** Makes the handshake of the side that connected. @throws ChannelError; the socket is destroyed then */
  static async open(socket: Socket, options: ChannelOptions): Promise<Channel> {
    return Channel.#shake(socket, options, async (frames) => {
      const initiator = new Initiator({ psk: options.psk, prologue: PROLOGUE })
      await frames.write(initiator.write())
      const answer = await frames.read([HANDSHAKE_BYTES, 1])
      if (answer.length === 1) throw new ChannelError('busy')
      return initiator.read(answer)
    })
  }

  /** Makes the handshake of the side that listens. @throws ChannelError; the socket is destroyed then */
  static async accept(socket: Socket, options: ChannelOptions): Promise<Channel> {
    return Channel.#shake(socket, options, async (frames) => {
      const ciphers = respond({ psk: options.psk, prologue: PROLOGUE }, await frames.read([HANDSHAKE_BYTES]))
      await frames.write(ciphers.answer)
      return ciphers
    })
  }

  /** Tells a peer that this side is busy, and ends the connection. */
  static turnAway(socket: Socket): void {
    socket.on('error', () => {})
    socket.end(BUSY, () => socket.destroy())
  }

  static async #shake(socket: Socket, options: ChannelOptions, shake: (frames: Frames) => Promise<Ciphers>): Promise<Channel> {
    const frames = new Frames(socket, options)
    try {
      return new Channel(frames, await shake(frames))
    } catch (error) {
      socket.destroy()
      throw error instanceof NoiseError ? new ChannelError('forged') : error
    }
  }

  /** Replaces the time for everything: `whole` milliseconds from now. */
  limit(whole: number): void {
    this.#frames.limit(whole)
  }

  /** Resolves when the system has taken the record, which stays the caller's. @throws ChannelError */
  async send(record: Uint8Array): Promise<void> {
    await this.#frames.write(this.#ciphers.send.encrypt(record))
  }

  /** Returns the next record, which the caller may overwrite. @throws ChannelError */
  async receive(): Promise<Buffer> {
    try {
      return this.#ciphers.receive.decrypt(await this.#frames.read())
    } catch (error) {
      throw error instanceof NoiseError ? new ChannelError('forged') : error
    }
  }

  /** Whether the peer is still connected and has sent nothing more, as far as the system knows by now. */
  async isQuiet(): Promise<boolean> {
    return this.#frames.isQuiet()
  }

  /** Ends the stream, at once or after the records sent so far, and overwrites the keys. */
  close(how: 'after sending' | 'at once' = 'at once'): void {
    this.#ciphers.send.clear()
    this.#ciphers.receive.clear()
    this.#frames.close(how)
  }
}

/** Blocks of bytes after their length, read from a paused socket. */
class Frames {
  readonly #socket: Socket
  readonly #patience: number
  #until: number
  #lateWaits = LATE_WAITS
  #heard = false

  constructor(socket: Socket, { patience, whole = Infinity }: ChannelOptions) {
    this.#socket = socket
    this.#patience = patience
    this.#until = performance.now() + whole
    // The event 'close' follows, and says enough.
    socket.on('error', () => {})
    socket.pause()
  }

  limit(whole: number): void {
    this.#until = performance.now() + whole
  }

  /** @param expected the lengths that are possible, if not all are */
  async read(expected?: readonly number[]): Promise<Buffer> {
    const head = await this.#take(2)
    const length = head.readUInt16BE()
    if (expected?.includes(length) === false) throw new ChannelError('forged')
    return this.#take(length)
  }

  async write(frame: Uint8Array): Promise<void> {
    const bytes = Buffer.allocUnsafeSlow(2 + frame.length)
    bytes.writeUInt16BE(frame.length)
    bytes.set(frame, 2)
    if (this.#socket.destroyed || this.#socket.writableEnded) throw this.#gone()
    await this.#wait((resolve) => {
      this.#socket.write(bytes, (error) => {
        if (error === null || error === undefined) resolve()
      })
    })
  }

  async isQuiet(): Promise<boolean> {
    if (this.#socket.readableLength > 0 || this.#socket.readableEnded || this.#socket.destroyed) return false
    try {
      await this.#waitForBytes(0)
      return false
    } catch (error) {
      return error instanceof ChannelError && error.problem === 'stalled'
    }
  }

  close(how: 'after sending' | 'at once'): void {
    if (how === 'at once') return void this.#socket.destroy()
    this.#socket.end(() => this.#socket.destroy())
  }

  async #take(length: number): Promise<Buffer> {
    if (length === 0) return Buffer.alloc(0)
    for (;;) {
      const bytes = this.#socket.read(length) as Buffer | null
      // At its end, the stream returns whatever bytes are left.
      if (bytes !== null && bytes.length < length) throw new ChannelError('ended')
      if (bytes !== null) {
        this.#heard = true
        return bytes
      }
      if (this.#socket.readableEnded || this.#socket.destroyed) throw this.#gone()
      await this.#waitForBytes(this.#patience)
    }
  }

  #gone(): ChannelError {
    return new ChannelError(this.#heard ? 'ended' : 'silent')
  }

  async #waitForBytes(patience: number): Promise<void> {
    const socket = this.#socket
    // Makes the socket read, if it does not already.
    socket.read(0)
    let onReadable = (): void => {}
    try {
      await this.#wait((resolve) => socket.on('readable', (onReadable = resolve)), patience)
    } finally {
      socket.off('readable', onReadable)
    }
  }

  /** @param begin gets the function to call once the awaited event has happened */
  #wait(begin: (resolve: () => void) => void, patience = this.#patience): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    const socket = this.#socket
    const left = this.#until - performance.now()
    if (left <= 0 && this.#lateWaits-- <= 0) reject(new ChannelError('stalled'))
    const onGone = (): void => reject(this.#gone())
    // If this process was stopped for a while, the timer fires before the event loop has looked at the socket: an answer
    // that came in time may wait there. Between the timer and an immediate, the loop polls once.
    const timer = setTimeout(() => setImmediate(() => reject(new ChannelError('stalled'))), Math.max(0, Math.min(patience, left)))
    begin(resolve)
    for (const end of ['end', 'close'] as const) socket.on(end, onGone)
    return promise.finally(() => {
      clearTimeout(timer)
      for (const end of ['end', 'close'] as const) socket.off(end, onGone)
    })
  }
}
