/** A client's place at the messenger that the owner of a profile runs: in the owner's own process, or behind the socket. */
import { OUTBOX } from '../../client/delivery/entry.ts'
import type { FileSource } from '../../client/delivery/file.ts'
import type { Content } from '../../client/format/content.ts'
import { Channel } from '../../client/messenger/channel.ts'
import type { Contact, Contacts } from '../../client/messenger/contact.ts'
import type { Delivery } from '../../client/messenger/delivery.ts'
import type { MessengerEvent } from '../../client/messenger/event.ts'
import type { Received } from '../../client/messenger/inbox.ts'
import type { SendOptions } from '../../client/messenger/options.ts'
import type { MessengerPort } from '../../client/messenger/port.ts'
import type { FileDelivery, FileReceiver } from '../../client/messenger/transfers.ts'
import type { ContactRequest } from '../profile/requests.ts'
import type { Desk, Taker } from './desk.ts'
import type { Wishes } from './record.ts'

/** Events to keep for a slow reader. */
const EVENTS = 4_096

/** The owner, as far as a seat uses it. */
export interface SeatHost {
  readonly messenger: MessengerPort
  readonly desk: Desk
  /** Remembers a receiver who may not be in the contact book. */
  introduce(to: Contact): void
  fetched(): Promise<ReadonlyMap<string, unknown>>
  receiveFrom(seat: Seat, relay: string): void
  leaveRelay(seat: Seat, relay: string): void
  /** How the connections to the user's relays stand. */
  relays(): MessengerEvent[]
  leave(seat: Seat): void
  /** Whether the seat is that of the owner's own process. */
  isFirst(seat: Seat): boolean
  /** Whether another client sent the message. */
  isOfAnother(seat: Seat, id: string): boolean
}

export interface SeatOptions extends Wishes {
  readonly what: string
  readonly contacts?: Contacts
  readonly files?: FileReceiver
  readonly releases?: (received: Received) => boolean
  readonly onRequests?: (requests: readonly ContactRequest[]) => void
  /** Called with `leave`. */
  readonly onLeave: () => Promise<void>
}

export class Seat implements MessengerPort, Taker {
  readonly options: SeatOptions
  readonly #host: SeatHost
  /** The unsettled messages of this client, and how to withdraw each. */
  readonly #sent = new Map<string, { readonly delivery: Delivery; readonly withdrawn: AbortController }>()
  /** The messages of this client, also settled ones, which a `read` may follow. */
  readonly #ids = new Set<string>()
  readonly #files = new Set<string>()
  readonly #left = new AbortController()
  readonly #listeners = new Set<Channel<MessengerEvent>>()

  constructor(host: SeatHost, options: SeatOptions) {
    this.#host = host
    this.options = options
  }

  get takes(): Wishes['takes'] {
    return this.options.takes
  }

  get mirrors(): boolean {
    return this.options.mirrors === true
  }

  readonly releases = (received: Received): boolean => this.options.releases?.(received) === true

  get ready(): Promise<void> {
    return this.#host.messenger.ready
  }

  send(to: Contact, content: Content, options: SendOptions = {}): Delivery {
    this.#host.introduce(to)
    const withdrawn = new AbortController()
    const signal = options.signal === undefined ? withdrawn.signal : AbortSignal.any([withdrawn.signal, options.signal])
    const delivery = this.#host.messenger.send(to, content, { ...options, signal })
    this.#sent.set(delivery.id, { delivery, withdrawn })
    this.#ids.add(delivery.id)
    if (this.#ids.size > OUTBOX.entries + OUTBOX.confirmed) this.#ids.delete(this.#ids.keys().next().value!)
    void delivery.settled.then(() => this.#sent.delete(delivery.id))
    return delivery
  }

  async sendFile(to: Contact, source: FileSource, options: { deadline?: number; signal?: AbortSignal } = {}): Promise<FileDelivery> {
    this.#host.introduce(to)
    const signal = options.signal === undefined ? this.#left.signal : AbortSignal.any([this.#left.signal, options.signal])
    const delivery = await this.#host.messenger.sendFile(to, source, { ...options, signal })
    this.#files.add(delivery.file)
    return delivery
  }

  deliveries(): Delivery[] {
    return this.#host.messenger.deliveries().filter(({ id }) => this.#isOurs(id))
  }

  received(): AsyncIterable<Received> {
    return {
      [Symbol.asyncIterator]: () => ({
        next: async () => {
          if (this.#left.signal.aborted) return { value: undefined, done: true }
          const value = await this.#host.desk.next(this)
          return value === undefined ? { value, done: true } : { value, done: false }
        },
      }),
    }
  }

  async fetched(): Promise<ReadonlyMap<string, unknown>> {
    const missed = await this.#host.fetched()
    await this.#host.desk.idle(this)
    return missed
  }

  receiveFrom(relay: string): void {
    this.#host.receiveFrom(this, relay)
  }

  leaveRelay(relay: string): void {
    this.#host.leaveRelay(this, relay)
  }

  /** Also yields how the connections to relays stand now. */
  events(): AsyncIterable<MessengerEvent> {
    const channel: Channel<MessengerEvent> = new Channel(EVENTS, () => this.#listeners.delete(channel))
    this.#listeners.add(channel)
    for (const event of this.#host.relays()) channel.push(event)
    return channel
  }

  /** Passes an event on, unless it is about a message of another client. */
  emit(event: MessengerEvent): void {
    if (event.kind === 'delivery' && !this.#isOurs(event.delivery.id)) return
    if (event.kind === 'file-sent' && !this.#files.has(event.file.file)) return
    if ((event.kind === 'duplicate' || event.kind === 'file-received' || event.kind === 'clock') && this.options.takes === 'none') return
    for (const listener of this.#listeners) listener.push(event)
  }

  read(from: Contact, ids: readonly string[]): void {
    if (this.options.reads) this.#host.messenger.read(from, ids)
  }

  accept(from: Contact): Promise<boolean> {
    return this.#host.messenger.accept(from)
  }

  renewAddress(contact: Contact): Promise<void> {
    return this.#host.messenger.renewAddress(contact)
  }

  forget(contact: Contact): Promise<void> {
    return this.#host.messenger.forget(contact)
  }

  flush(options: { readonly signal?: AbortSignal } = {}): Promise<void> {
    return this.#host.messenger.flush(options)
  }

  /** Whether this client sent the message. */
  has(id: string): boolean {
    return this.#ids.has(id)
  }

  /** Withdraws a message. */
  withdraw(id: string): void {
    this.#sent.get(id)?.withdrawn.abort()
  }

  async close(): Promise<void> {
    if (this.#left.signal.aborted) return
    this.#left.abort()
    for (const listener of this.#listeners) listener.close()
    // The user was told that no relay has them; with the outbox, that they are kept.
    if (!this.options.outbox) for (const { delivery, withdrawn } of this.#sent.values()) if (!delivery.held) withdrawn.abort()
    this.#host.leave(this)
    await this.options.onLeave()
  }

  #isOurs(id: string): boolean {
    return this.#ids.has(id) || (this.#host.isFirst(this) && !this.#host.isOfAnother(this, id))
  }
}
