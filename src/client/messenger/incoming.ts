/**
 * The subscription at one relay of one's own: kept up through lost connections, each time over other circuits and after
 * a pause of its own. It is told when the relay forgot what it held, and when somebody else with the same key took the
 * mailbox over; it does not fight for it. A message is acknowledged when whoever got it says so, not before.
 */
import type { Message } from '../../protocol/answer.ts'
import { backoff } from '../delivery/backoff.ts'
import type { ConnectOptions } from '../wire/connect.ts'
import type { RelayClient, Token } from '../wire/client.ts'
import type { Clock } from './clock.ts'
import { RelayError } from '../wire/error.ts'
import { randomIsolation } from './outgoing.ts'

/** A connection that held so long, ms, was a good one: the next pause is short again. */
const HELD_MS = 60_000
/** Where a relay announced more than comes, ms without any are taken for the end: messages expire, and relays lie. */
const QUIET_MS = 10_000

export interface IncomingEvents {
  /** @param more.waiting messages that wait there; @param more.again ms until the next try */
  readonly onState: (state: 'connecting' | 'up' | 'down', more: { error?: unknown; waiting?: number; again?: number }) => void
  /** The next one comes when this resolves. */
  readonly onMessage: (message: Message) => Promise<void>
  /** Nothing more is being acknowledged. */
  readonly onAcked: () => void
  readonly onTakenOver: () => void
  readonly onForgot: (certain: boolean) => void
}

export interface IncomingOptions extends IncomingEvents {
  readonly connect: (options: Pick<ConnectOptions, 'token' | 'login' | 'isolation'>) => Promise<RelayClient>
  readonly clock: Clock
  readonly random: () => number
}

export class Incoming {
  readonly #options: IncomingOptions
  #client: RelayClient | undefined
  #token: Token | undefined
  #closed = false
  #wake: (() => void) | undefined
  #acks: string[] = []
  #acking = 0
  readonly #fetched = Promise.withResolvers<unknown>()
  /** Resolves once what waited at the relay was given; with the error where the relay was not reached, or left before. */
  readonly fetched: Promise<unknown> = this.#fetched.promise

  constructor(options: IncomingOptions) {
    this.#options = options
    void this.#run()
  }

  /** Messages that the relay delivers before any of them is acknowledged. */
  get window(): number {
    return this.#client?.limits.window ?? 0
  }

  /** Whether an ACK is under way. */
  get busy(): boolean {
    return this.#acks.length > 0 || this.#acking > 0
  }

  /** Has the relay erase a message. Where there is no connection now it comes again, and is known then. */
  ack(id: string): void {
    this.#acks.push(id)
    if (this.#acks.length === 1) queueMicrotask(() => this.#flush())
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
    // Not waited for: over Tor that would be a second for each message.
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
          onState('down', { error })
          onTakenOver()
          return
        }
        failures = up && clock.now() - since > HELD_MS ? 1 : failures + 1
        const again = backoff(failures, random(), error instanceof RelayError ? error.seconds : undefined)
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

  /** Ends by an error, or because it was closed. */
  async #receive(onUp: () => void): Promise<void> {
    const { connect, onState, onMessage, onForgot } = this.#options
    const token = this.#token
    const client = await connect({ login: true, isolation: randomIsolation(), ...(token && { token }) })
    if (this.#closed) return client.close()
    this.#client = client
    this.#token = client.token
    if (token !== undefined && client.resumed === false) onForgot(performance.now() < token.renewAt)
    let left = Number.POSITIVE_INFINITY
    let cancelQuiet = (): void => {}
    const countDown = (): void => {
      cancelQuiet()
      if (left <= 0) this.#fetched.resolve(undefined)
      else cancelQuiet = this.#options.clock.after(QUIET_MS, () => this.#fetched.resolve(undefined))
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
