/**
 * The subscription at one of the user's relays. It reconnects after a failure, over another circuit and after a pause.
 * It stops when another program with the same key takes the mailbox over.
 * It acknowledges messages only when told to.
 */
import type { Message } from '../../protocol/answer.ts'
import type { RelayClient } from '../wire/client.ts'
import type { Clock } from './clock.ts'
import type { Renewal } from './context.ts'
import type { Token } from '../wire/proof.ts'
import { MessengerError } from './error.ts'
import { randomIsolation } from './outgoing.ts'
import { Retries } from './retries.ts'

/**
 * Silence, in ms, that counts as the end of the waiting messages. Fewer may come than the relay announced: messages
 * expire, and relays lie.
 */
const QUIET_MS = 10_000

export interface IncomingEvents {
  /** @param more `waiting`: number of messages at the relay; `again`: ms until the next try */
  readonly onState: (state: 'connecting' | 'up' | 'down', more: { error?: unknown; waiting?: number; again?: number }) => void
  /** Handles a message. The next one is read once this resolves. */
  readonly onMessage: (message: Message) => Promise<void>
  /** No acknowledgement is under way any more. */
  readonly onAcked: () => void
  readonly onTakenOver: () => void
}

export interface IncomingOptions extends IncomingEvents {
  readonly connect: (options: Renewal) => Promise<RelayClient>
  readonly clock: Clock
  readonly random: () => number
  /** The most by which a reconnect is put off, ms, so that the relay cannot match connections by it. */
  readonly spread?: number
}

export class Incoming {
  readonly #options: IncomingOptions
  #client: RelayClient | undefined
  #token: Token | undefined
  #closed = false
  #isOver = false
  readonly #retries: Retries
  #acks: string[] = []
  #acking = 0
  readonly #fetched = Promise.withResolvers<unknown>()
  /**
   * Resolves once the messages that waited at the relay are handled; with an error if the connection failed, or if the
   * relay is silent for so long that no more seem to come.
   */
  readonly fetched: Promise<unknown> = this.#fetched.promise

  constructor(options: IncomingOptions) {
    this.#options = options
    const { clock, random, spread = 0, onState } = options
    this.#retries = new Retries({
      clock,
      random,
      spread,
      receive: (onUp) => this.#receive(onUp),
      onFailed: (error) => this.#onFailed(error),
      onState,
    })
    void this.#retries.run()
  }

  /** How many unacknowledged messages the relay delivers at most. */
  get window(): number {
    return this.#client?.limits.window ?? 0
  }

  /** Whether an ACK is under way. */
  get busy(): boolean {
    return this.#acks.length > 0 || this.#acking > 0
  }

  /** Whether it ended, because another client has taken the mailbox over. */
  get isOver(): boolean {
    return this.#isOver
  }

  /** Acknowledges a message. Without a connection nothing is sent; the message comes again and is a replay then. */
  ack(id: string): void {
    this.#acks.push(id)
    if (this.#acks.length === 1) queueMicrotask(() => this.#flush())
  }

  /** Ends a pause before the next try. */
  hurry(): void {
    this.#retries.hurry()
  }

  close(): void {
    this.#closed = true
    this.#fetched.resolve(undefined)
    this.#retries.close()
    this.#client?.close()
  }

  #flush(): void {
    const ids = this.#acks
    this.#acks = []
    const client = this.#client
    if (client === undefined) return this.#options.onAcked()
    this.#acking++
    // Not awaited: over Tor each message would take a second.
    void client
      .ack(ids)
      .catch((error: unknown) => client.close(error))
      .finally(() => {
        this.#acking--
        if (!this.busy) this.#options.onAcked()
      })
  }

  /** @returns whether to connect again */
  #onFailed(error: unknown): boolean {
    const { onState, onTakenOver } = this.#options
    this.#client = undefined
    this.#fetched.resolve(error)
    if (!this.#retries.isTakenOver(error)) return true
    this.#isOver = true
    onState('down', { error })
    onTakenOver()
    return false
  }

  /** Receives until the connection fails or `close` is called. */
  async #receive(onUp: () => void): Promise<void> {
    const { connect, onState, onMessage } = this.#options
    const token = this.#token
    const client = await connect({ login: true, subscribe: true, isolation: randomIsolation(), ...(token && { token }) })
    if (this.#closed) return client.close()
    this.#client = client
    this.#token = client.token
    let left = Number.POSITIVE_INFINITY
    let cancelQuiet = (): void => {}
    const countDown = (): void => {
      cancelQuiet()
      if (left <= 0) this.#fetched.resolve(undefined)
      else cancelQuiet = this.#options.clock.after(QUIET_MS, () => this.#fetched.resolve(new MessengerError('undelivered')))
    }
    const messages = client.subscribe({
      onSubscribed: (waiting) => {
        left = waiting
        onUp()
        onState('up', { waiting })
        countDown()
      },
    })
    try {
      for await (const message of messages) {
        await onMessage(message)
        if (this.#closed) return
        left--
        if (left >= 0) countDown()
      }
    } finally {
      cancelQuiet()
      this.#token = client.token
    }
  }
}
