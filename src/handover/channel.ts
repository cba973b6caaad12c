/**
 * Noise messages over a socket, each after its length in two bytes (section 13 of the framework). Reads a message only
 * on request, so a fast peer waits; holds one record in each direction. Knows nothing of the content of records. About
 * a peer that does not prove itself, it reports only that.
 */
import type { Socket } from 'node:net'
import { type Ciphers, Initiator, MAX_NOISE_BYTES, NoiseError, respond, TAG_BYTES } from './noise.ts'

/** The longest record, bytes. */
export const MAX_RECORD_BYTES = MAX_NOISE_BYTES - TAG_BYTES

const PROLOGUE = Buffer.from('asfaleia handover')
/** The length of both messages of the handshake: a key, and the tag of an empty payload. */
const HANDSHAKE_BYTES = 32 + TAG_BYTES

/**
 * `silent`: the peer left without sending a byte, as a process does that only checks whether we listen. `ended`: the
 * stream ended later. `stalled`: no byte moved for too long. `forged`: the peer does not know the secret, or broke the
 * protocol.
 */
export type ChannelProblem = 'silent' | 'ended' | 'stalled' | 'forged'

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
  /** The longest time for each step of the peer, ms. */
  readonly patience: number
}

export class Channel {
  readonly #frames: Frames
  readonly #ciphers: Ciphers

  private constructor(frames: Frames, ciphers: Ciphers) {
    this.#frames = frames
    this.#ciphers = ciphers
  }

  /** Makes the handshake of the side that connected. @throws ChannelError, after destroying the socket */
  static async open(socket: Socket, options: ChannelOptions): Promise<Channel> {
    return Channel.#shake(socket, options, async (frames) => {
      const initiator = new Initiator({ psk: options.psk, prologue: PROLOGUE })
      await frames.write(initiator.write())
      return initiator.read(await frames.read(HANDSHAKE_BYTES))
    })
  }

  /** Makes the handshake of the side that listens. @throws ChannelError, after destroying the socket */
  static async accept(socket: Socket, options: ChannelOptions): Promise<Channel> {
    return Channel.#shake(socket, options, async (frames) => {
      const ciphers = respond({ psk: options.psk, prologue: PROLOGUE }, await frames.read(HANDSHAKE_BYTES))
      await frames.write(ciphers.answer)
      return ciphers
    })
  }

  static async #shake(socket: Socket, options: ChannelOptions, shake: (frames: Frames) => Promise<Ciphers>): Promise<Channel> {
    const frames = new Frames(socket, options.patience)
    try {
      return new Channel(frames, await shake(frames))
    } catch (error) {
      socket.destroy()
      throw error instanceof NoiseError ? new ChannelError('forged') : error
    }
  }

  /** Sends a record, which the caller still owns. Resolves when there is room for the next. @throws ChannelError */
  async send(record: Uint8Array): Promise<void> {
    await this.#frames.write(this.#ciphers.send.encrypt(record))
  }

  /** Receives the next record, which the caller must overwrite. @throws ChannelError */
  async receive(): Promise<Buffer> {
    try {
      return this.#ciphers.receive.decrypt(await this.#frames.read())
    } catch (error) {
      throw error instanceof NoiseError ? new ChannelError('forged') : error
    }
  }

  /** Erases the keys, and ends the stream at once or after the records that were sent. */
  close(how: 'after sending' | 'at once' = 'at once'): void {
    this.#ciphers.send.clear()
    this.#ciphers.receive.clear()
    this.#frames.close(how)
  }
}

/** Frames of bytes, each after its length, read from a paused socket. */
class Frames {
  readonly #socket: Socket
  readonly #patience: number
  #heard = false

  constructor(socket: Socket, patience: number) {
    this.#socket = socket
    this.#patience = patience
    // 'close' follows, and is enough.
    socket.on('error', () => {})
    socket.pause()
  }

  /** Reads the next frame. @param expected its length, if only one is right */
  async read(expected?: number): Promise<Buffer> {
    const head = await this.#take(2)
    const length = head.readUInt16BE()
    if (expected !== undefined && length !== expected) throw new ChannelError('forged')
    return this.#take(length)
  }

  async write(frame: Uint8Array): Promise<void> {
    const bytes = Buffer.allocUnsafeSlow(2 + frame.length)
    bytes.writeUInt16BE(frame.length)
    bytes.set(frame, 2)
    if (this.#socket.destroyed || this.#socket.writableEnded) throw this.#gone()
    if (!this.#socket.write(bytes)) await this.#wait('drain')
  }

  close(how: 'after sending' | 'at once'): void {
    if (how === 'at once') return void this.#socket.destroy()
    this.#socket.end(() => this.#socket.destroy())
  }

  async #take(length: number): Promise<Buffer> {
    if (length === 0) return Buffer.alloc(0)
    for (;;) {
      const bytes = this.#socket.read(length) as Buffer | null
      // A shorter read returns the last bytes before the end.
      if (bytes !== null && bytes.length < length) throw new ChannelError('ended')
      if (bytes !== null) {
        this.#heard = true
        return bytes
      }
      if (this.#socket.readableEnded || this.#socket.destroyed) throw this.#gone()
      await this.#wait('readable')
    }
  }

  #gone(): ChannelError {
    return new ChannelError(this.#heard ? 'ended' : 'silent')
  }

  #wait(event: 'readable' | 'drain'): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    const socket = this.#socket
    const onGone = (): void => reject(this.#gone())
    const timer = setTimeout(() => reject(new ChannelError('stalled')), this.#patience)
    socket.on(event, resolve)
    for (const end of ['end', 'close'] as const) socket.on(end, onGone)
    return promise.finally(() => {
      clearTimeout(timer)
      socket.off(event, resolve)
      for (const end of ['end', 'close'] as const) socket.off(end, onGone)
    })
  }
}
