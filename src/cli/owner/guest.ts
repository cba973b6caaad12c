/** A client behind the socket, as the owner sees it. */
import type { Socket } from 'node:net'
import type { FileSource } from '../../client/delivery/file.ts'
import type { MessengerEvent } from '../../client/messenger/event.ts'
import type { Received } from '../../client/messenger/inbox.ts'
import { fingerprintOf, isId } from '../../client/format/field.ts'
import type { Contact } from '../../client/messenger/contact.ts'
import type { FileDelivery, FileOffer, FileReceiver } from '../../client/messenger/transfers.ts'
import type { ContactRequest } from '../profile/requests.ts'
import { Lines } from './lines.ts'
import { type Ask, PROTOCOL, type Tell, type Wishes } from './record.ts'
import type { Reception } from './reception.ts'
import type { Seat, SeatOptions } from './seat.ts'

export const GUEST = Object.freeze({
  /** How long a client may take for its first line, ms. */
  hello: 2_000,
  /** Most files that a client sends at once. */
  files: 64,
})

/** The owner, as far as a guest uses it. */
export interface GuestHost {
  readonly options: {
    readonly version: string
    readonly outbox: boolean
    readonly socks?: string
    readonly receiverFor: (folder: string, onDone: (offer: FileOffer, path: string) => void) => FileReceiver
  }
  /** The command that shows every message; otherwise the one in the owner's process. */
  readonly what: string
  /** For how long each relay holds messages, seconds. */
  readonly holds: ReadonlyMap<string, number>
  seat(options: SeatOptions): Seat
  /** Reads the profile's files again, and tells all clients. */
  refresh(): Promise<void>
  readonly reception: Reception
}

export class Guest {
  readonly #host: GuestHost
  readonly #lines: Lines<Ask, Tell>
  readonly #deadline: NodeJS.Timeout
  readonly isRefused: boolean
  readonly closed: Promise<void>
  #isGreeted = false
  #seat: Seat | undefined
  #messages: AsyncIterator<Received> | undefined
  readonly #held = new Map<number, Received>()
  #count = 0
  /** By the client's number: files that it sends. */
  readonly #files = new Map<number, AbortController>()
  /** The client's numbers of the files, by their ids. */
  readonly #numbers = new Map<string, number>()
  /** By the owner's number: parts of files that it waits for. */
  readonly #parts = new Map<number, { readonly resolve: (bytes: Uint8Array) => void; readonly reject: (error: unknown) => void }>()

  constructor(host: GuestHost, socket: Socket, isFull: boolean) {
    this.#host = host
    this.isRefused = isFull
    this.#lines = new Lines(socket, (record) => this.#take(record))
    this.closed = this.#lines.closed
    this.#deadline = setTimeout(() => this.#lines.destroy(), GUEST.hello)
    if (isFull) {
      this.#lines.send({ kind: 'full' })
      this.#lines.end()
    }
    void this.closed.then(async () => {
      clearTimeout(this.#deadline)
      for (const { reject } of this.#parts.values()) reject(new Error('the client has left'))
      await this.#seat?.close()
    })
  }

  tellHolds(relay: string, seconds: number): void {
    if (this.#seat !== undefined) this.#lines.send({ kind: 'holds', relay, seconds })
  }

  tellRequests(requests: readonly ContactRequest[]): void {
    if (this.#seat !== undefined && this.#seat.takes !== 'none') this.#lines.send({ kind: 'requests', requests })
  }

  tellChanged(): void {
    if (this.#seat !== undefined) this.#lines.send({ kind: 'changed' })
  }

  destroy(): void {
    this.#lines.destroy()
  }

  /** @throws {TypeError} if the record is malformed; the connection ends then */
  #take(ask: Ask): void {
    if (this.isRefused) return
    if (!this.#isGreeted) return this.#greet(ask)
    // Visitors without a seat may do these.
    switch (ask.kind) {
      case 'refresh':
        return this.#answer(ask.n, () => this.#host.refresh())
      case 'requests':
        return this.#answer(ask.n, () => this.#host.reception.list())
      case 'ignore':
        return this.#answer(ask.n, () => this.#host.reception.ignore(String(ask.fingerprint)))
    }
    const seat = this.#seat
    if (seat === undefined) throw new TypeError('the client has no seat')
    switch (ask.kind) {
      case 'send': {
        const { id, to, content, group, expires, deadline, spread, toKey } = ask
        if (!isId(id)) throw new TypeError('a malformed id')
        const delivery = seat.send(needContact(to), content, {
          id,
          hurry: true,
          ...(typeof group === 'string' && { group }),
          ...(typeof expires === 'number' && { expires }),
          ...(typeof deadline === 'number' && { deadline }),
          ...(spread === true && { spread }),
          ...(toKey === true && { toKey }),
        })
        // It may have gone on before, under an earlier owner or another client.
        if (delivery.state !== 'waiting') this.#tellDelivery(delivery)
        return
      }
      case 'withdraw':
        return seat.withdraw(ask.id)
      case 'send-file':
        return void this.#sendFile(seat, ask)
      case 'withdraw-file':
        return this.#files.get(ask.n)?.abort()
      case 'part': {
        const part = this.#parts.get(ask.n)
        this.#parts.delete(ask.n)
        if (ask.bytes instanceof Uint8Array) part?.resolve(ask.bytes)
        else part?.reject(ask.error)
        return
      }
      case 'next':
        return void this.#next(seat)
      case 'done': {
        const received = this.#held.get(ask.message)
        return this.#answer(ask.n, async () => {
          await received?.done()
          this.#held.delete(ask.message)
        })
      }
      case 'read':
        return seat.read(needContact(ask.from), needTexts(ask.ids))
      case 'accept':
        return this.#answer(ask.n, () => seat.accept(needContact(ask.contact)))
      case 'renew':
        return this.#answer(ask.n, () => seat.renewAddress(needContact(ask.contact)))
      case 'forget':
        return this.#answer(ask.n, () => seat.forget(needContact(ask.contact)))
      case 'receive':
        return seat.receiveFrom(ask.relay)
      case 'leave':
        return seat.leaveRelay(ask.relay)
      case 'fetched':
        return this.#answer(ask.n, async () => [...(await seat.fetched())])
      case 'shown':
        return this.#answer(ask.n, () => this.#host.reception.markShown(needTexts(ask.ids)))
      case 'flush':
        return this.#answer(ask.n, () => {
          const left = new AbortController()
          void this.closed.then(() => left.abort())
          return seat.flush({ signal: left.signal })
        })
      case 'hello':
        throw new TypeError('a second hello')
    }
  }

  #greet(ask: Ask): void {
    if (ask.kind !== 'hello') throw new TypeError('the first line is no hello')
    clearTimeout(this.#deadline)
    this.#isGreeted = true
    const { options, what } = this.#host
    const { version, outbox, socks } = options
    const hello = {
      kind: 'hello',
      protocol: PROTOCOL,
      version,
      what,
      pid: process.pid,
      outbox,
      ...(socks !== undefined && { socks }),
    } as const
    this.#lines.send(hello)
    // The client reads the version, and says it to the user.
    if (ask.protocol !== PROTOCOL) return this.#lines.end()
    this.#lines.trust()
    if (ask.wishes === undefined) return
    const wishes = needWishes(ask.wishes)
    const { folder } = wishes
    const seat = this.#host.seat({
      ...wishes,
      what: String(ask.what),
      ...(folder !== undefined && {
        files: options.receiverFor(folder, (offer, path) => void this.#lines.send({ kind: 'arrived', offer, path })),
      }),
      onLeave: async () => {},
    })
    this.#seat = seat
    this.#messages = seat.received()[Symbol.asyncIterator]()
    for (const [relay, seconds] of this.#host.holds) this.tellHolds(relay, seconds)
    if (wishes.takes !== 'none')
      void this.#host.reception
        .begin()
        .then(() => this.#host.reception.list())
        .then((requests) => requests.length > 0 && this.tellRequests(requests))
        .catch(() => {})
    void this.#follow(seat.events())
  }

  async #follow(events: AsyncIterable<MessengerEvent>): Promise<void> {
    for await (const event of events) {
      if (event.kind === 'delivery') this.#tellDelivery(event.delivery)
      else if (event.kind === 'file-sent') this.#tellFile(event.file)
      else this.#lines.send({ kind: 'event', event })
    }
  }

  #tellDelivery({ id, state, relay, error, protection, relays }: Extract<MessengerEvent, { kind: 'delivery' }>['delivery']): void {
    this.#lines.send({ kind: 'delivery', id, state, relay, error, protection, relays })
  }

  #tellFile(delivery: FileDelivery): void {
    const n = this.#numbers.get(delivery.file)
    const { file, name, total, confirmed, state, error } = delivery
    if (n !== undefined) this.#lines.send({ kind: 'file', n, file: { file, name, total, confirmed, state, error } })
  }

  async #next(seat: Seat): Promise<void> {
    const next = await this.#messages?.next()
    if (next === undefined || next.done === true) return
    const { done: _, ...received } = next.value
    const message = ++this.#count
    this.#held.set(message, next.value)
    // A message that fits no line waits until this client has left.
    if (!this.#lines.send({ kind: 'message', message, received })) return this.#next(seat)
  }

  async #sendFile(seat: Seat, { n, to, name, size, deadline }: Extract<Ask, { kind: 'send-file' }>): Promise<void> {
    const withdrawn = new AbortController()
    try {
      if (this.#files.size >= GUEST.files || this.#files.has(n)) throw new TypeError('too many files at once')
      this.#files.set(n, withdrawn)
      const source: FileSource = {
        name: String(name),
        size: Number(size),
        read: (offset, length) =>
          new Promise((resolve, reject) => {
            const part = ++this.#count
            this.#parts.set(part, { resolve, reject })
            this.#lines.send({ kind: 'part', n: part, sending: n, offset, length })
          }),
      }
      const { signal } = withdrawn
      const file = await seat.sendFile(needContact(to), source, { signal, ...(typeof deadline === 'number' && { deadline }) })
      this.#numbers.set(file.file, n)
      this.#tellFile(file)
      this.#lines.send({ kind: 'answer', n })
      await file.settled
      this.#tellFile(file)
      this.#numbers.delete(file.file)
    } catch (error) {
      this.#lines.send({ kind: 'answer', n, error })
    } finally {
      this.#files.delete(n)
    }
  }

  #answer(n: number, work: () => Promise<unknown>): void {
    void (async () => {
      try {
        this.#lines.send({ kind: 'answer', n, value: await work() })
      } catch (error) {
        this.#lines.send({ kind: 'answer', n, error })
      }
    })()
  }
}

function needTexts(value: unknown): string[] {
  if (!Array.isArray(value) || !value.every((each) => typeof each === 'string')) throw new TypeError('texts are missing')
  return value
}

/** @throws {TypeError} */
function needContact(contact: Contact): Contact {
  // Throws if it is no key.
  fingerprintOf(contact.key)
  needTexts(contact.relays)
  if (typeof contact.name !== 'string') throw new TypeError('a contact has no name')
  return contact
}

/** @throws {TypeError} */
function needWishes({ relays, takes, mirrors, members, outbox, reads, folder }: Wishes): Wishes {
  if (takes !== 'all' && takes !== 'rest' && takes !== 'none') throw new TypeError('a malformed wish')
  return {
    relays: needTexts(relays),
    takes,
    mirrors: mirrors === true,
    members: members === true,
    outbox: outbox === true,
    reads: reads === true,
    ...(typeof folder === 'string' && { folder }),
  }
}
