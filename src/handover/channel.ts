/**
 * Noise messages over a socket, each after its length in two bytes (section 13 of the framework). Reads one when
 * it is asked for, so that a fast peer waits; holds one record each way. Knows nothing of what records say, and
 * tells of a peer that does not prove itself nothing but that.
 */
import type { Socket } from 'node:net'
import { type Ciphers, Initiator, MAX_NOISE_BYTES, NoiseError, respond, TAG_BYTES } from './noise.ts'

/** The longest record. */
export const MAX_RECORD_BYTES = MAX_NOISE_BYTES - TAG_BYTES

const PROLOGUE = Buffer.from('asfaleia handover')
/** Of both messages of the handshake: a key, and the tag of an empty payload. */
const HANDSHAKE_BYTES = 32 + TAG_BYTES

/**
 * `silent`: the peer went without a word (as who only looks whether we listen does). `ended`: the stream did.
 * `stalled`: nothing moved for too long. `forged`: what came was not made by who knows the secret.
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
  /** How long each step of the peer's may take, ms. */
  readonly patience: number
}

export class Channel {
  readonly #frames: Frames
  readonly #ciphers: Ciphers

  private constructor(frames: Frames, ciphers: Ciphers) {
    this.#frames = frames
    this.#ciphers = ciphers
  }

  /** The handshake of the side that connected. @throws ChannelError; the socket is destroyed then */
  static async open(socket: Socket, options: ChannelOptions): Promise<Channel> {
    return Channel.#shake(socket, options, async (frames) => {
      const initiator = new Initiator({ psk: options.psk, prologue: PROLOGUE })
      await frames.write(initiator.write())
      return initiator.read(await frames.read(HANDSHAKE_BYTES))
    })
  }

  /** The handshake of the side that listens. @throws ChannelError; the socket is destroyed then */
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

  /** Resolves when there is room for the next. The record stays the caller's. @throws ChannelError */
  async send(record: Uint8Array): Promise<void> {
    await this.#frames.write(this.#ciphers.send.encrypt(record))
  }

  /** The next record, the caller's to overwrite. @throws ChannelError */
  async receive(): Promise<Buffer> {
    try {
      return this.#ciphers.receive.decrypt(await this.#frames.read())
    } catch (error) {
      throw error instanceof NoiseError ? new ChannelError('forged') : error
    }
  }

  /** Ends the stream after what was sent, or at once; the keys are gone. */
  close(how: 'after what was sent' | 'at once' = 'at once'): void {
    this.#ciphers.send.clear()
    this.#ciphers.receive.clear()
    this.#frames.close(how)
  }
}

/** Blocks of bytes after their length, read from a paused socket. */
class Frames {
  readonly #socket: Socket
  readonly #patience: number
  #heard = false

  constructor(socket: Socket, patience: number) {
    this.#socket = socket
    this.#patience = patience
    // Its reason says nothing that 'close' does not.
    socket.on('error', () => {})
    socket.pause()
  }

  /** @param expected its length, where only one can be right */
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

  close(how: 'after what was sent' | 'at once'): void {
    if (how === 'at once') return void this.#socket.destroy()
    this.#socket.end(() => this.#socket.destroy())
  }

  async #take(length: number): Promise<Buffer> {
    if (length === 0) return Buffer.alloc(0)
    for (;;) {
      const bytes = this.#socket.read(length) as Buffer | null
      // What is left at the end is given whatever its length.
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
