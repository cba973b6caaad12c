/**
 * The subscription at one of the user's relays. It reconnects after a failure, over another circuit and after a pause.
 * It reports when the relay lost its messages, and stops when another program with the same key takes the mailbox over.
 * It acknowledges messages only when told to.
 */
import type { Message } from '../../protocol/answer.ts'
import { backoff } from '../delivery/backoff.ts'
import type { RelayClient } from '../wire/client.ts'
import type { Clock } from './clock.ts'
import type { Renewal } from './context.ts'
import { RelayError } from '../wire/error.ts'
import type { Token } from '../wire/proof.ts'
import { MessengerError } from './error.ts'
import { randomIsolation } from './outgoing.ts'

/** After a connection that lasted so long, ms, the next pause is short again. */
const HELD_MS = 60_000
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
  /** The relay lost its messages; not `certain` if the token may also have expired. */
  readonly onForgot: (certain: boolean) => void
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
  #wake: (() => void) | undefined
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
    void this.#run()
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
    this.#wake?.()
  }

  close(): void {
    this.#closed = true
    this.#fetched.resolve(undefined)
    this.#wake?.()
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

  async #run(): Promise<void> {
    const { clock, random, onState, onTakenOver } = this.#options
    let failures = 0
    while (!this.#closed) {
      const since = clock.now()
      let up = false
      try {
        onState('connecting', {})
        await this.#receive(() => (up = true))
        if (this.#closed) return
        throw new RelayError('closed')
      } catch (error) {
        this.#client = undefined
        if (this.#closed) return
        this.#fetched.resolve(error)
        if (error instanceof RelayError && error.code === 'taken-over') {
          this.#isOver = true
          onState('down', { error })
          onTakenOver()
          return
        }
        failures = up && clock.now() - since > HELD_MS ? 1 : failures + 1
        const pause = backoff(failures, random(), error instanceof RelayError ? error.seconds : undefined)
        const again = pause + (up ? random() * (this.#options.spread ?? 0) : 0)
        onState('down', { error, again })
        await new Promise<void>((resolve) => {
          const cancel = clock.after(again, resolve)
          this.#wake = () => {
            cancel()
            resolve()
          }
        })
      }
    }
  }

  /** Receives until the connection fails or `close` is called. */
  async #receive(onUp: () => void): Promise<void> {
    const { connect, onState, onMessage, onForgot } = this.#options
    const token = this.#token
    const client = await connect({ login: true, subscribe: true, isolation: randomIsolation(), ...(token && { token }) })
    if (this.#closed) return client.close()
    this.#client = client
    this.#token = client.token
    if (token !== undefined && client.resumed === false) onForgot(performance.now() < token.renewAt)
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
