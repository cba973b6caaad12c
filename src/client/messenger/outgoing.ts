/**
 * The connection by which messages leave for one relay. It connects when there is something to send, sends without
 * waiting for answers, keeps the relay's token from one connection to the next, and ends what is idle. It keeps no
 * message: what it could not bring over it gives back, and the outbox says when to try again.
 */
import type { ConnectOptions } from '../wire/connect.ts'
import type { RelayClient, Token } from '../wire/client.ts'
import type { Clock } from './clock.ts'
import { RelayError, type RelayErrorCode } from '../wire/error.ts'

/** A connection without anything to do ends after, ms. */
const IDLE_MS = 60_000

export interface OutgoingEvents {
  readonly onState: (state: 'connecting' | 'up' | 'down', error?: unknown) => void
  readonly onSent: (id: string, seconds: number) => void
  readonly onRefused: (id: string, code: RelayErrorCode, seconds: number | undefined) => void
  /** All that was under way is to be sent again. */
  readonly onLost: (code: RelayErrorCode, seconds: number | undefined) => void
  /** What the relay held is gone; not `certain` where it is only not known any more. */
  readonly onForgot: (certain: boolean) => void
  readonly onIdle: () => void
}

export interface OutgoingOptions extends OutgoingEvents {
  readonly connect: (options: Pick<ConnectOptions, 'token' | 'login' | 'isolation'>) => Promise<RelayClient>
  readonly clock: Clock
}

export class Outgoing {
  readonly #options: OutgoingOptions
  #client: RelayClient | undefined
  #connecting = false
  #closed = false
  #queue: (readonly [id: string, to: string, payload: Uint8Array])[] = []
  #flying = 0
  #token: Token | undefined
  #isolation = randomIsolation()
  #cancelIdle: (() => void) | undefined

  constructor(options: OutgoingOptions) {
    this.#options = options
  }

  /** Sent after all that was given before it. */
  send(id: string, to: string, payload: Uint8Array): void {
    if (this.#client === undefined) {
      this.#queue.push([id, to, payload])
      this.look()
    } else {
      this.#send(this.#client, id, to, payload)
    }
  }

  /** Connects, if it is not connected. */
  look(): void {
    if (this.#client === undefined && !this.#connecting && !this.#closed) void this.#connect()
  }

  close(): void {
    this.#closed = true
    this.#cancelIdle?.()
    this.#client?.close()
  }

  async #connect(): Promise<void> {
    this.#connecting = true
    this.#options.onState('connecting')
    const token = this.#token
    try {
      const client = await this.#options.connect({ login: true, isolation: this.#isolation, ...(token && { token }) })
      this.#connecting = false
      if (this.#closed) return client.close()
      // Where the token ended by its time nobody knows, and a copy too many does no harm.
      if (token !== undefined && client.resumed === false) this.#options.onForgot(performance.now() < token.renewAt)
      this.#token = client.token
      this.#client = client
      client.onEnd((error) => this.#onEnd(client, error))
      this.#options.onState('up')
      for (const [id, to, payload] of this.#queue.splice(0)) this.#send(client, id, to, payload)
      this.#rest(client)
    } catch (error) {
      this.#connecting = false
      this.#lose(error)
    }
  }

  #send(client: RelayClient, id: string, to: string, payload: Uint8Array): void {
    this.#cancelIdle?.()
    this.#flying++
    client
      .sendSealed(to, payload)
      .then(
        ({ seconds }) => {
          if (this.#client === client) this.#options.onSent(id, seconds)
        },
        (error: unknown) => {
          // What ends the connection is told once, by its end.
          if (this.#client !== client) return
          if (error instanceof RelayError && error.code !== 'closed') this.#options.onRefused(id, error.code, error.seconds)
          else if (!(error instanceof RelayError)) client.close(error)
        },
      )
      .finally(() => {
        this.#flying--
        this.#rest(client)
      })
  }

  #rest(client: RelayClient): void {
    this.#cancelIdle?.()
    if (this.#flying > 0 || this.#client !== client) return
    this.#cancelIdle = this.#options.clock.after(IDLE_MS, () => {
      this.#token = client.token
      this.#client = undefined
      client.close()
      this.#options.onState('down')
      this.#options.onIdle()
    })
  }

  #onEnd(client: RelayClient, error: unknown): void {
    if (this.#client !== client) return
    this.#client = undefined
    this.#token = client.token
    this.#cancelIdle?.()
    this.#lose(error)
  }

  #lose(error: unknown): void {
    this.#queue = []
    // Other circuits, for it may have been the circuit.
    this.#isolation = randomIsolation()
    if (this.#closed) return
    const told = error instanceof RelayError ? error : new RelayError('closed')
    this.#options.onState('down', error)
    this.#options.onLost(told.code, told.seconds)
  }
}

/** Nothing can be read from it but that it is another one. */
export function randomIsolation(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, '0')).join('')
}
