/**
 * The connection on which the user reads all addresses at one relay: each under a label of its own, all subscribed. It
 * reconnects after a failure, over another circuit. If there are more addresses than labels, the others are asked in turns.
 * It proves no key, and acknowledges messages only when told to.
 */
import type { Message } from '../../protocol/answer.ts'
import { DEFAULT_LIMITS } from '../../protocol/limits.ts'
import { SPREAD_MS } from '../delivery/backoff.ts'
import type { ClaimClient } from '../wire/claim-client.ts'
import type { ClaimedMailbox } from '../wire/claimed-mailbox.ts'
import { RelayError } from '../wire/error.ts'
import type { Clock } from './clock.ts'
import { MessengerError } from './error.ts'
import type { Source } from './inbox.ts'
import type { IncomingEvents } from './incoming.ts'
import { randomIsolation } from './outgoing.ts'
import { Retries } from './retries.ts'
import { Box } from './address-box.ts'
import type { Address } from './secrets.ts'

/** Silence, ms, that counts as the end of the waiting messages. */
const QUIET_MS = 10_000
/** How often the addresses without a label are asked, how many at once, and how long their messages keep a label, ms. */
const TURN_MS = 60_000
const TURN = 8
const TURN_HELD_MS = 30_000

export interface AddressEvents extends Omit<IncomingEvents, 'onMessage'> {
  /** Handles a message of an address. The next one of that address is read once this resolves. */
  readonly onMessage: (source: Source, address: Address, message: Message) => Promise<void>
}

export interface AddressOptions extends AddressEvents {
  /** @param early called before the relay is reached; its requests leave early */
  readonly connect: (options: { isolation: string; early: (client: ClaimClient) => void }) => Promise<ClaimClient>
  readonly clock: Clock
  readonly random: () => number
}

export class AddressConnection {
  readonly #options: AddressOptions
  /** By the secret's address: in the order in which they get labels. */
  readonly #boxes = new Map<Address['secret'], Box>()
  #client: ClaimClient | undefined
  #closed = false
  #isRunning = false
  readonly #retries: Retries
  /** Messages that are announced and did not come yet. */
  #left = 0
  #unannounced = 0
  #cancelQuiet: (() => void) | undefined
  #cancelTurn: (() => void) | undefined
  /** The number of the latest request without a subscription, and how many are under way. */
  #turn = 0
  #asking = 0
  readonly #fetched = Promise.withResolvers<unknown>()
  /** As `Incoming.fetched`. */
  readonly fetched: Promise<unknown> = this.#fetched.promise

  constructor(options: AddressOptions, addresses: readonly Address[]) {
    this.#options = options
    const { clock, random, onState } = options
    this.#retries = new Retries({
      clock,
      random,
      spread: SPREAD_MS,
      receive: (onUp) => this.#receive(onUp),
      onFailed: (error) => {
        this.#lose()
        this.#fetched.resolve(error)
        return true
      },
      onState,
    })
    this.set(addresses)
    if (addresses.length === 0) this.#fetched.resolve(undefined)
  }

  get busy(): boolean {
    return [...this.#boxes.values()].some(({ busy }) => busy)
  }

  /** Sets the addresses to read. New ones are read at once, and one that is gone is given up. */
  set(addresses: readonly Address[]): void {
    const wanted = new Set(addresses.map(({ secret }) => secret))
    for (const [secret, box] of this.#boxes) {
      if (wanted.has(secret)) continue
      this.#boxes.delete(secret)
      box.mailbox?.leave()
      box.mailbox = undefined
    }
    for (const address of addresses) {
      if (this.#boxes.has(address.secret)) continue
      const box = new Box(address, () => {
        if (!this.busy) this.#options.onAcked()
      })
      this.#boxes.set(address.secret, box)
      this.#read(box)
    }
    if (this.#isRunning || this.#closed || this.#boxes.size === 0) return
    this.#isRunning = true
    void this.#retries.run()
  }

  /** Ends a pause before the next try, and reads again what another client has taken over. */
  hurry(): void {
    for (const box of this.#boxes.values()) {
      if (!box.isOver) continue
      box.isOver = false
      box.mailbox = undefined
      this.#read(box)
    }
    this.#retries.hurry()
  }

  close(): void {
    this.#closed = true
    this.#fetched.resolve(undefined)
    this.#cancelQuiet?.()
    this.#cancelTurn?.()
    this.#retries.close()
    this.#client?.close()
  }

  #lose(): void {
    this.#client = undefined
    this.#cancelQuiet?.()
    this.#cancelTurn?.()
    for (const box of this.#boxes.values()) {
      box.mailbox = undefined
      box.client = undefined
      box.open = 0
      box.asked = 0
    }
  }

  /** Reads until the connection fails. */
  async #receive(onUp: () => void): Promise<never> {
    const { connect, onState } = this.#options
    this.#left = 0
    this.#unannounced = 0
    this.#asking = 0
    const ended = Promise.withResolvers<never>()
    ended.promise.catch(() => {})
    const begin = (client: ClaimClient): void => {
      this.#client = client
      client.onEnd((error) => ended.reject(error ?? new RelayError('closed')))
      for (const box of this.#boxes.values()) if (!box.isOver) this.#read(box)
    }
    const client = await connect({ isolation: randomIsolation(), early: begin })
    if (this.#closed || client.limits.labels === 0) {
      client.close(new RelayError('unknown-packet'))
      return ended.promise
    }
    onUp()
    onState('up', { waiting: this.#left })
    this.#takeTurn(client)
    this.#countDown()
    return ended.promise
  }

  #hasLabel({ limits }: ClaimClient): boolean {
    let used = 0
    for (const { mailbox } of this.#boxes.values()) if (mailbox !== undefined) used++
    // Labels that are left over serve renewals, and the addresses that take turns. The relay tells its limit after the
    // early data.
    return used < (limits.labels || DEFAULT_LIMITS.labels) - 2 * TURN
  }

  /** Reads the address if there is a connection with a label for it. */
  #read(box: Box): void {
    const client = this.#client
    if (client === undefined || !this.#hasLabel(client)) return
    const mailbox = client.open(box.address.secret)
    box.mailbox = mailbox
    box.client = client
    this.#unannounced++
    void this.#follow(client, box, mailbox)
  }

  async #follow(client: ClaimClient, box: Box, mailbox: ClaimedMailbox): Promise<void> {
    const { onMessage, onTakenOver } = this.#options
    let isAnnounced = false
    let left = 0
    const announce = (waiting: number): void => {
      if (isAnnounced) return
      isAnnounced = true
      left = waiting
      this.#unannounced--
      this.#left += waiting
      this.#countDown()
    }
    try {
      for await (const message of mailbox.subscribe({ onSubscribed: announce })) {
        box.open++
        await onMessage(box, box.address, message)
        if (this.#closed) return
        left--
        this.#left--
        if (this.#left >= 0) this.#countDown()
      }
      // The address was given up.
      if (this.#client !== client) return
      this.#left -= Math.max(0, left)
      announce(0)
      this.#countDown()
    } catch (error) {
      if (this.#client !== client || this.#closed) return
      // A refused claim is the same for all.
      if (!this.#retries.isTakenOver(error)) return client.close(error)
      box.isOver = true
      announce(0)
      onTakenOver()
    }
  }

  #countDown(): void {
    this.#cancelQuiet?.()
    if (this.#unannounced > 0 || this.#listWaiting().some(({ asked }) => asked === 0)) return
    if (this.#left <= 0) this.#fetched.resolve(undefined)
    else this.#cancelQuiet = this.#options.clock.after(QUIET_MS, () => this.#fetched.resolve(new MessengerError('undelivered')))
  }

  /** The addresses that have no label, those that were asked longest ago first. */
  #listWaiting(): Box[] {
    const all = [...this.#boxes.values()].filter(({ mailbox, isOver }) => mailbox === undefined && !isOver)
    return all.toSorted((one, other) => one.asked - other.asked)
  }

  /** Asks some of the addresses that have no label, and again later. */
  #takeTurn(client: ClaimClient): void {
    this.#askNext(client, this.#listWaiting())
    this.#cancelTurn?.()
    this.#cancelTurn = this.#options.clock.after(TURN_MS, () => {
      if (this.#client === client) this.#takeTurn(client)
    })
  }

  #askNext(client: ClaimClient, waiting: readonly Box[]): void {
    for (const box of waiting.slice(0, TURN - this.#asking)) {
      this.#asking++
      this.#unannounced++
      box.asked = ++this.#turn
      void this.#ask(client, box)
        .catch((error: unknown) => client.close(error))
        .finally(() => {
          if (this.#client !== client) return
          this.#asking--
          // A new connection asks each of them once, without a pause.
          this.#askNext(
            client,
            this.#listWaiting().filter(({ asked }) => asked === 0),
          )
        })
    }
  }

  async #ask(client: ClaimClient, box: Box): Promise<void> {
    const mailbox = client.open(box.address.secret)
    box.mailbox = mailbox
    box.client = client
    let isAnnounced = false
    for (;;) {
      const { messages } = await mailbox.get({ lease: true })
      if (this.#client !== client) return
      if (!isAnnounced) this.#unannounced--
      isAnnounced = true
      // The address was given up.
      if (box.mailbox !== mailbox) return this.#countDown()
      this.#left += messages.length
      this.#countDown()
      for (const message of messages) {
        box.open++
        await this.#options.onMessage(box, box.address, message)
        if (this.#client !== client) return
        this.#left--
        this.#countDown()
      }
      if (messages.length === 0) break
    }
    await new Promise<void>((resolve) => {
      const cancel = this.#options.clock.after(TURN_HELD_MS, resolve)
      void box.idle().then(() => {
        cancel()
        resolve()
      })
    })
    if (this.#client !== client) return
    box.mailbox = undefined
    mailbox.leave()
  }
}
