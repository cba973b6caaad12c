/**
 * The owner of a profile: runs its only messenger, and serves the other commands of the profile over a unix socket.
 * It checks no password: the folder lets only the same user in, who can read the profile's key anyway.
 */
import type { Server, Socket } from 'node:net'
import { fingerprintOf } from '../../client/format/field.ts'
import type { Contact } from '../../client/messenger/contact.ts'
import { MessengerError } from '../../client/messenger/error.ts'
import type { MessengerEvent } from '../../client/messenger/event.ts'
import { type Messenger, openMessenger } from '../../client/messenger/messenger.ts'
import type { MessengerOptions } from '../../client/messenger/options.ts'
import type { FileReceiver, FileOffer } from '../../client/messenger/transfers.ts'
import { Desk } from './desk.ts'
import { Guest, type GuestHost } from './guest.ts'
import { Reception, type ReceptionOptions } from './reception.ts'
import { Seat, type SeatHost, type SeatOptions } from './seat.ts'

export const HOST = Object.freeze({
  /** Most clients at once. */
  clients: 32,
  /** Most receivers outside the contact book whose relays the owner remembers. */
  receivers: 1_024,
})

export interface HostOptions {
  /** Without `relays`, `contacts` and `files`. */
  readonly messenger: Omit<MessengerOptions, 'relays' | 'contacts' | 'files' | 'receipts'>
  readonly receipts: { readonly delivered: boolean }
  /** Finds contacts. @param members whether to look among the members of groups, too */
  readonly find: (fingerprint: string, members: boolean) => Contact | undefined
  /** Makes a receiver for a client's folder. @param onDone called when a file is complete */
  readonly receiverFor: (folder: string, onDone: (offer: FileOffer, path: string) => void) => FileReceiver
  /** Stores and finds strangers. */
  readonly reception: Pick<ReceptionOptions, 'open' | 'find' | 'isGuest' | 'isBlocked' | 'isGroup' | 'onGenuine'>
  /** Reads the contacts, groups, blocked people and settings again. */
  readonly refresh: () => Promise<void>
  readonly version: string
  readonly outbox: boolean
  readonly socks?: string
}

export class Host implements SeatHost, GuestHost {
  readonly options: HostOptions
  readonly messenger: Messenger
  readonly desk: Desk
  readonly reception: Reception
  /** The client in this process. */
  readonly first: Seat
  readonly #seats = new Set<Seat>()
  readonly #guests = new Set<Guest>()
  /** The clients that receive from each relay. */
  readonly #users = new Map<string, Set<Seat>>()
  /** The last event about receiving from each relay. */
  readonly #states = new Map<string, Extract<MessengerEvent, { kind: 'relay' }>>()
  readonly #receivers = new Map<string, Contact>()
  /** For how long each relay holds messages, seconds. */
  readonly holds = new Map<string, number>()
  #server: Server | undefined

  constructor(options: HostOptions, first: Omit<SeatOptions, 'onLeave'>) {
    this.options = options
    for (const relay of first.relays) this.#users.set(relay, new Set())
    this.messenger = openMessenger({
      ...options.messenger,
      relays: first.relays,
      contacts: { find: (fingerprint) => this.#find(fingerprint) },
      files: {
        takes: () => [...this.#seats].some((seat) => seat.options.files !== undefined),
        open: (offer) => this.#openFile(offer),
      },
      // Each client sends `read` receipts only if its settings say so.
      receipts: {
        get delivered() {
          return options.receipts.delivered
        },
        read: true,
      },
    })
    this.reception = new Reception({
      ...options.reception,
      onChange: (requests) => {
        this.first.options.onRequests?.(requests)
        for (const guest of this.#guests) guest.tellRequests(requests)
      },
      onFailure: (error) => this.#tell({ kind: 'not-kept', error }),
      confirm: (contact, ids) => this.messenger.confirm(contact, ids),
      now: Date.now,
    })
    this.desk = new Desk(() => this.reception.screen(this.messenger.received()))
    // Its `close` ends the waiting of this process at once, as that of a messenger does.
    this.first = new Seat(this, { ...first, onLeave: () => this.messenger.close() })
    this.#seats.add(this.first)
    for (const users of this.#users.values()) users.add(this.first)
    void this.#follow(this.messenger.events())
    if (first.takes !== 'none') void this.reception.begin().catch((error: unknown) => this.#tell({ kind: 'not-kept', error }))
  }

  /** Serves clients that connect to the server. */
  serve(server: Server): void {
    this.#server = server
    server.on('connection', (socket: Socket) => {
      const guest = new Guest(this, socket, this.#guests.size >= HOST.clients)
      if (guest.isRefused) return
      this.#guests.add(guest)
      void guest.closed.then(() => this.#guests.delete(guest))
    })
  }

  seat(options: SeatOptions): Seat {
    const seat = new Seat(this, options)
    this.#seats.add(seat)
    for (const relay of options.relays) this.receiveFrom(seat, relay)
    return seat
  }

  leave(seat: Seat): void {
    this.#seats.delete(seat)
    this.desk.leave(seat)
    for (const relay of this.#users.keys()) this.leaveRelay(seat, relay)
  }

  receiveFrom(seat: Seat, relay: string): void {
    this.messenger.receiveFrom(relay)
    const users = this.#users.get(relay) ?? new Set()
    this.#users.set(relay, users.add(seat))
  }

  leaveRelay(seat: Seat, relay: string): void {
    const users = this.#users.get(relay)
    if (users?.delete(seat) !== true || users.size > 0) return
    this.#users.delete(relay)
    this.#states.delete(relay)
    this.messenger.leaveRelay(relay)
  }

  /** Remembers a receiver who may not be in the contact book. */
  introduce(to: Contact): void {
    const fingerprint = fingerprintOf(to.key)
    this.#receivers.delete(fingerprint)
    this.#receivers.set(fingerprint, to)
    if (this.#receivers.size > HOST.receivers) this.#receivers.delete(this.#receivers.keys().next().value!)
  }

  isFirst(seat: Seat): boolean {
    return seat === this.first
  }

  isOfAnother(seat: Seat, id: string): boolean {
    return [...this.#seats].some((each) => each !== seat && each.has(id))
  }

  /** How the connections to the user's relays stand. */
  relays(): MessengerEvent[] {
    return [...this.#states.values()]
  }

  /** As `Messenger.fetched`, but a relay that failed once and is up now counts as fetched. */
  async fetched(): Promise<ReadonlyMap<string, unknown>> {
    const missed = await this.messenger.fetched()
    // The desk takes the messages that the messenger has delivered.
    await this.reception.idle()
    const isMissed = ([relay, error]: [string, unknown]): boolean =>
      this.#states.get(relay)?.state !== 'up' || (error instanceof MessengerError && error.code === 'undelivered')
    return new Map([...missed].filter(isMissed))
  }

  /** The command that shows every message; otherwise the one in this process. */
  get what(): string {
    return ([...this.#seats].find(({ takes }) => takes === 'all') ?? this.first).options.what
  }

  /** Reads the profile's files again, and tells all clients. */
  async refresh(): Promise<void> {
    await this.options.refresh()
    await this.#settle()
    this.#change()
  }

  /** The profile's files have changed, and were read again. */
  onChanged(): void {
    void this.#settle()
    this.#change()
  }

  onHolds(relay: string, seconds: number): void {
    this.holds.set(relay, seconds)
    for (const guest of this.#guests) guest.tellHolds(relay, seconds)
  }

  /** Stops to serve; clients that remain take over. @param release called before the clients learn of it */
  async close(release: () => Promise<void>): Promise<void> {
    this.#server?.close()
    this.desk.close()
    await this.messenger.close()
    await release()
    for (const guest of this.#guests) guest.destroy()
  }

  /** Requests end when their senders become contacts or are blocked, if a client is there that shows requests. */
  async #settle(): Promise<void> {
    if (![...this.#seats].some(({ takes }) => takes !== 'none')) return
    await this.reception.settle().catch((error: unknown) => this.#tell({ kind: 'not-kept', error }))
  }

  #change(): void {
    for (const guest of this.#guests) guest.tellChanged()
  }

  async #follow(events: AsyncIterable<MessengerEvent>): Promise<void> {
    for await (const event of events) {
      if (event.kind === 'relay' && event.purpose === 'receive' && this.#users.has(event.relay)) this.#states.set(event.relay, event)
      if (event.kind === 'duplicate' && this.#isQuiet(fingerprintOf(event.from))) continue
      this.#tell(event)
    }
  }

  #tell(event: MessengerEvent): void {
    for (const seat of this.#seats) seat.emit(event)
  }

  /** Whether a repeated message of this person is not worth a remark. */
  #isQuiet(fingerprint: string): boolean {
    return this.options.reception.isBlocked(fingerprint) || this.reception.has(fingerprint)
  }

  #find(fingerprint: string): Contact | undefined {
    // Blocked people get no receipts, and cannot send files.
    if (this.options.reception.isBlocked(fingerprint)) return undefined
    for (const { options } of this.#seats) {
      const contact = options.contacts?.find(fingerprint)
      if (contact !== undefined) return contact
    }
    const members = [...this.#seats].some(({ options }) => options.members)
    return this.options.find(fingerprint, members)
  }

  async #openFile(offer: FileOffer): ReturnType<FileReceiver['open']> {
    for (const { options } of this.#seats) {
      const sink = await options.files?.open(offer)
      if (sink !== undefined) return sink
    }
    return undefined
  }
}
