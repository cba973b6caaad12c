/**
 * The connection for sending on one route: to one mailbox at one relay, under a throwaway secret, or as the user's own key
 * to all mailboxes there. It connects when there is a message to send, sends without waiting for
 * answers, reuses the relay's token, and closes when idle. It stores no message: after a failure it reports the loss,
 * and the outbox decides when to try again.
 */
import type { Token } from '../wire/proof.ts'
import type { Clock } from './clock.ts'
import { RelayError, type RelayErrorCode } from '../wire/error.ts'

/** How long a connection may be idle, ms. */
const IDLE_MS = 60_000

/** A client of a relay that sends: `RelayClient` or `ClaimClient`. */
export interface Courier {
  /** Of a key's login. A claim needs none. */
  readonly token?: Token | undefined
  sendSealed(receiver: string, payload: Uint8Array): Promise<{ readonly seconds: number }>
  fetch(receiver: string): Promise<Uint8Array | undefined>
  onEnd(listener: (error: unknown) => void): void
  close(reason?: unknown): void
}

/** What a connection needs besides its relay. */
export interface CourierOptions {
  readonly isolation: string
  readonly token?: Token
  /** Called before the relay is reached, if what is sent then may leave early. */
  readonly early?: (client: Courier) => void
}

export interface OutgoingEvents {
  readonly onState: (state: 'connecting' | 'up' | 'down', error?: unknown) => void
  /** The relay accepted a message. @param seconds how long the relay holds it at most */
  readonly onSent: (id: string, seconds: number) => void
  readonly onRefused: (id: string, code: RelayErrorCode, seconds: number | undefined) => void
  /** The connection failed, so every message under way must be sent again. */
  readonly onLost: (code: RelayErrorCode, seconds: number | undefined) => void
  /** The connection was closed because it was idle. */
  readonly onIdle: () => void
}

export interface OutgoingOptions extends OutgoingEvents {
  readonly connect: (options: CourierOptions) => Promise<Courier>
  readonly clock: Clock
  /**
   * Finds the key for a message that has none, and encrypts it.
   * @throws {RelayError} `no-bundle` or `old-bundle`
   */
  readonly seal: (id: string, fetch: (inbox: string) => Promise<Uint8Array | undefined>) => Promise<Uint8Array>
}

export class Outgoing {
  readonly #options: OutgoingOptions
  #client: Courier | undefined
  #connecting = false
  /** Resolves once the relay has named its run, or the connection failed. Never rejects. */
  #connected: Promise<void> | undefined
  #closed = false
  #queue: (readonly [id: string, to: string, payload: Uint8Array])[] = []
  /** Sent before the relay is reached. */
  #early: (readonly [id: string, to: string, payload: Uint8Array])[] = []
  #flying = 0
  #token: Token | undefined
  #isolation = randomIsolation()
  #cancelIdle: (() => void) | undefined
  /** The last message that is being encrypted: later ones wait for it, to keep their order. */
  #sealing: Promise<unknown> | undefined

  constructor(options: OutgoingOptions) {
    this.#options = options
  }

  /** Sends a message after all earlier ones. */
  send(id: string, to: string, payload: Uint8Array): void {
    if (this.#client === undefined) {
      this.#queue.push([id, to, payload])
      this.look()
    } else {
      if (this.#connecting) this.#early.push([id, to, payload])
      this.#send(this.#client, id, to, payload)
    }
  }

  /** Whether there is no connection, and no message for one. */
  get isIdle(): boolean {
    return this.#client === undefined && !this.#connecting && this.#queue.length === 0
  }

  /** Connects unless it is connected: the relay then names its run. */
  look(): void {
    if (this.#client === undefined && !this.#connecting && !this.#closed) this.#connected = this.#connect()
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
      let first: Courier | undefined
      const early = (client: Courier): void => {
        first = client
        this.#early = [...this.#queue]
        this.#begin(client)
      }
      const client = await this.#options.connect({ isolation: this.#isolation, early, ...(token && { token }) })
      this.#connecting = false
      if (this.#closed) return client.close()
      this.#token = client.token
      this.#options.onState('up')
      // A relay without claims gets everything again, from another client.
      if (first !== undefined && first !== client) this.#queue.unshift(...this.#early)
      this.#early = []
      this.#begin(client)
      this.#rest(client)
    } catch (error) {
      this.#connecting = false
      this.#client = undefined
      this.#lose(error)
    }
  }

  /** From here on, messages go to this client. */
  #begin(client: Courier): void {
    if (this.#client !== client) {
      this.#client = client
      client.onEnd((error) => this.#onEnd(client, error))
    }
    for (const [id, to, payload] of this.#queue.splice(0)) this.#send(client, id, to, payload)
  }

  #send(client: Courier, id: string, to: string, payload: Uint8Array): void {
    this.#cancelIdle?.()
    this.#flying++
    this.#post(client, id, to, payload)
      // The relay answers early messages first. If it forgot those of earlier connections, it still has these.
      .finally(() => this.#connected)
      .then(
        ({ seconds }) => {
          if (this.#client === client) this.#options.onSent(id, seconds)
        },
        (error: unknown) => {
          // An error that ends the connection is reported once, by the end.
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

  async #post(client: Courier, id: string, to: string, payload: Uint8Array): Promise<{ readonly seconds: number }> {
    const before = this.#sealing
    if (payload.length > 0 && before === undefined) return client.sendSealed(to, payload)
    const sealed = (async () => {
      await before?.catch(() => {})
      return payload.length > 0 ? payload : this.#options.seal(id, (inbox) => client.fetch(inbox))
    })()
    this.#sealing = sealed
    try {
      return await client.sendSealed(to, await sealed)
    } finally {
      if (this.#sealing === sealed) this.#sealing = undefined
    }
  }

  #rest(client: Courier): void {
    this.#cancelIdle?.()
    if (this.#flying > 0 || this.#client !== client || this.#connecting) return
    this.#cancelIdle = this.#options.clock.after(IDLE_MS, () => {
      this.#token = client.token
      this.#client = undefined
      client.close()
      this.#options.onState('down')
      this.#options.onIdle()
    })
  }

  #onEnd(client: Courier, error: unknown): void {
    if (this.#client !== client) return
    this.#client = undefined
    this.#cancelIdle?.()
    // The call that connects learns of it, too.
    if (this.#connecting) return
    this.#token = client.token
    this.#lose(error)
  }

  #lose(error: unknown): void {
    this.#queue = []
    this.#early = []
    // The circuit may have failed, so the next connection gets another one.
    this.#isolation = randomIsolation()
    if (this.#closed) return
    const told = error instanceof RelayError ? error : new RelayError('closed')
    this.#options.onState('down', error)
    this.#options.onLost(told.code, told.seconds)
  }
}

/** Makes a random isolation, so that a connection gets its own circuits. */
export function randomIsolation(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, '0')).join('')
}
