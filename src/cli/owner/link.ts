/** A client's way to the messenger of its profile's owner, over the socket. */
import type { FileSource, FileState } from '../../client/delivery/file.ts'
import type { Content } from '../../client/format/content.ts'
import { fingerprintOf, makeId } from '../../client/format/field.ts'
import { Channel } from '../../client/messenger/channel.ts'
import type { Contact, Contacts } from '../../client/messenger/contact.ts'
import { Deliveries, type Delivery } from '../../client/messenger/delivery.ts'
import { MessengerError } from '../../client/messenger/error.ts'
import type { MessengerEvent } from '../../client/messenger/event.ts'
import type { Received } from '../../client/messenger/inbox.ts'
import type { SendOptions } from '../../client/messenger/options.ts'
import type { MessengerPort } from '../../client/messenger/port.ts'
import type { FileDelivery, FileOffer } from '../../client/messenger/transfers.ts'
import type { ContactRequest } from '../profile/requests.ts'
import type { Greeted } from './greeting.ts'
import type { Lines } from './lines.ts'
import type { Ask, FileFacts, Tell } from './record.ts'

const EVENTS = 4_096

/** The owner's part in what a client hears beside its own messages. */
export interface LinkListener {
  readonly onHolds: (relay: string, seconds: number) => void
  readonly onArrived: (offer: FileOffer, path: string) => void
  readonly onChanged: () => void
  readonly onRequests: (requests: readonly ContactRequest[]) => void
}

interface SentFile {
  facts: FileFacts
  readonly delivery: FileDelivery
  readonly settle: (state: FileState) => void
}

export class Link implements MessengerPort {
  readonly ready = Promise.resolve()
  readonly owner: Greeted['owner']
  /** Resolves once the owner is gone. */
  readonly lost: Promise<void>
  readonly #lines: Lines<Tell, Ask>
  readonly #contacts: Contacts
  readonly #listener: LinkListener
  readonly #deliveries = new Deliveries()
  readonly #listeners = new Set<Channel<MessengerEvent>>()
  readonly #received = new Channel<Received>()
  #isWaiting = false
  #isLost = false
  readonly #answers = new Map<number, { readonly resolve: (value: unknown) => void; readonly reject: (error: unknown) => void }>()
  readonly #sources = new Map<number, FileSource>()
  readonly #files = new Map<number, SentFile>()
  #count = 0

  constructor({ lines, owner, listen }: Greeted, contacts: Contacts, listener: LinkListener) {
    this.owner = owner
    this.#lines = lines
    this.#contacts = contacts
    this.#listener = listener
    this.lost = lines.closed.then(() => this.#onLost())
    listen((tell) => this.#take(tell))
  }

  send(to: Contact, content: Content, { id = makeId(), group, expires, deadline, spread, toKey, signal }: SendOptions = {}): Delivery {
    const delivery = this.#deliveries.add(id, to, content)
    if (signal?.aborted === true) {
      this.#change({ id, state: 'failed', error: signal.reason })
      return delivery
    }
    const isSent = this.#lines.send({
      kind: 'send',
      id,
      to,
      content,
      ...(group !== undefined && { group }),
      ...(expires !== undefined && { expires }),
      ...(deadline !== undefined && { deadline }),
      ...(spread !== undefined && { spread }),
      ...(toKey !== undefined && { toKey }),
    })
    if (!isSent) this.#change({ id, state: 'failed', error: new TypeError('the message is too large') })
    const withdraw = (): void => void this.#lines.send({ kind: 'withdraw', id })
    signal?.addEventListener('abort', withdraw, { once: true })
    void delivery.settled.then(() => signal?.removeEventListener('abort', withdraw))
    return delivery
  }

  async sendFile(to: Contact, source: FileSource, { deadline, signal }: Omit<SendOptions, 'group' | 'id'> = {}): Promise<FileDelivery> {
    signal?.throwIfAborted()
    const n = ++this.#count
    const withdraw = (): void => void this.#lines.send({ kind: 'withdraw-file', n })
    signal?.addEventListener('abort', withdraw, { once: true })
    this.#sources.set(n, source)
    const { promise: settled, resolve: settle } = Promise.withResolvers<FileState>()
    const first: FileFacts = { file: '', name: source.name, total: source.size, confirmed: 0, state: 'offered' }
    const sent: SentFile = { facts: first, settle, delivery: deliveryOf(() => sent.facts, to, settled) }
    this.#files.set(n, sent)
    const { name, size } = source
    try {
      await this.#ask(n, { kind: 'send-file', n, to, name, size, ...(deadline !== undefined && { deadline }) })
    } catch (error) {
      this.#forgetFile(n)
      signal?.removeEventListener('abort', withdraw)
      signal?.throwIfAborted()
      throw error
    }
    void settled.then(() => {
      this.#forgetFile(n)
      signal?.removeEventListener('abort', withdraw)
    })
    return sent.delivery
  }

  deliveries(): Delivery[] {
    return this.#deliveries.list()
  }

  received(): AsyncIterable<Received> {
    return {
      [Symbol.asyncIterator]: () => ({
        next: () => {
          if (!this.#isWaiting) this.#lines.send({ kind: 'next' })
          this.#isWaiting = true
          return this.#received.next()
        },
      }),
    }
  }

  async fetched(): Promise<ReadonlyMap<string, unknown>> {
    const n = ++this.#count
    const missed = new Map((await this.#ask(n, { kind: 'fetched', n })) as [string, unknown][])
    // A message that came before it wins.
    await new Promise((resolve) => setImmediate(resolve))
    return missed
  }

  receiveFrom(relay: string): void {
    this.#lines.send({ kind: 'receive', relay })
  }

  leaveRelay(relay: string): void {
    this.#lines.send({ kind: 'leave', relay })
  }

  events(): AsyncIterable<MessengerEvent> {
    const channel: Channel<MessengerEvent> = new Channel(EVENTS, () => this.#listeners.delete(channel))
    this.#listeners.add(channel)
    return channel
  }

  read(from: Contact, ids: readonly string[]): void {
    this.#lines.send({ kind: 'read', from, ids })
  }

  async accept(from: Contact): Promise<boolean> {
    const n = ++this.#count
    return (await this.#ask(n, { kind: 'accept', n, contact: from })) as boolean
  }

  async renewAddress(contact: Contact): Promise<void> {
    const n = ++this.#count
    await this.#ask(n, { kind: 'renew', n, contact })
  }

  async forget(contact: Contact): Promise<void> {
    const n = ++this.#count
    await this.#ask(n, { kind: 'forget', n, contact })
  }

  async flush({ signal }: { readonly signal?: AbortSignal } = {}): Promise<void> {
    signal?.throwIfAborted()
    const n = ++this.#count
    const aborted = new Promise<never>((_, reject) =>
      signal?.addEventListener('abort', () => reject(signal.reason as Error), { once: true }),
    )
    await Promise.race([this.#ask(n, { kind: 'flush', n }), aborted])
  }

  async requests(): Promise<readonly ContactRequest[]> {
    const n = ++this.#count
    return (await this.#ask(n, { kind: 'requests', n })) as ContactRequest[]
  }

  async ignore(fingerprint: string): Promise<void> {
    const n = ++this.#count
    await this.#ask(n, { kind: 'ignore', n, fingerprint })
  }

  async markShown(ids: readonly string[]): Promise<void> {
    const n = ++this.#count
    await this.#ask(n, { kind: 'shown', n, ids })
  }

  /** Has the owner read the profile's files again. */
  async refresh(): Promise<void> {
    const n = ++this.#count
    await this.#ask(n, { kind: 'refresh', n })
  }

  async close(): Promise<void> {
    this.#lines.end()
    this.#onLost()
  }

  #onLost(): void {
    this.#isLost = true
    this.#deliveries.close()
    for (const { settle, facts } of this.#files.values()) settle(facts.state)
    for (const { reject } of this.#answers.values()) reject(new MessengerError('closed'))
    this.#answers.clear()
    this.#received.close()
    for (const listener of this.#listeners) listener.close()
  }

  #take(tell: Tell): void {
    switch (tell.kind) {
      case 'event':
        return this.#emit(tell.event)
      case 'holds':
        return this.#listener.onHolds(tell.relay, tell.seconds)
      case 'delivery':
        return this.#change(tell)
      case 'file':
        return this.#onFile(tell.n, tell.file)
      case 'part':
        return void this.#sendPart(tell)
      case 'message': {
        this.#isWaiting = false
        const { from: _, ...received } = tell.received as Received
        const from = isProven(received) ? this.#contacts.find(fingerprintOf(received.envelope.from)) : undefined
        const done = async (): Promise<void> => {
          const n = ++this.#count
          await this.#ask(n, { kind: 'done', n, message: tell.message })
        }
        return this.#received.push({ ...received, ...(from !== undefined && { from }), done } as Received)
      }
      case 'arrived':
        return this.#listener.onArrived(tell.offer, tell.path)
      case 'requests':
        return this.#listener.onRequests(tell.requests)
      case 'changed':
        return this.#listener.onChanged()
      case 'answer': {
        const answer = this.#answers.get(tell.n)
        this.#answers.delete(tell.n)
        return tell.error === undefined ? answer?.resolve(tell.value) : answer?.reject(tell.error)
      }
      case 'hello':
      case 'full':
        return
    }
  }

  #ask(n: number, ask: Ask): Promise<unknown> {
    if (this.#isLost) return Promise.reject(new MessengerError('closed'))
    return new Promise((resolve, reject) => {
      this.#answers.set(n, { resolve, reject })
      this.#lines.send(ask)
    })
  }

  #change(change: Parameters<Deliveries['change']>[0]): void {
    const delivery = this.#deliveries.change(change)
    if (delivery !== undefined) this.#emit({ kind: 'delivery', delivery })
  }

  #onFile(n: number, facts: FileFacts): void {
    const sent = this.#files.get(n)
    if (sent === undefined) return
    sent.facts = facts
    this.#emit({ kind: 'file-sent', file: sent.delivery })
    if (isFinal(facts.state)) sent.settle(facts.state)
  }

  #forgetFile(n: number): void {
    this.#files.delete(n)
    this.#sources.delete(n)
  }

  async #sendPart({ n, sending, offset, length }: Extract<Tell, { kind: 'part' }>): Promise<void> {
    try {
      const bytes = await this.#sources.get(sending)?.read(offset, length)
      this.#lines.send({ kind: 'part', n, ...(bytes !== undefined && { bytes }) })
    } catch (error) {
      this.#lines.send({ kind: 'part', n, error })
    }
  }

  #emit(event: MessengerEvent): void {
    for (const listener of this.#listeners) listener.push(event)
  }
}

/** Whether the transfer has ended. */
export function isFinal(state: FileState): boolean {
  return state !== 'offered' && state !== 'sending'
}

/** Makes a delivery that shows the current facts. */
export function deliveryOf(facts: () => FileFacts, to: Contact, settled: Promise<FileState>): FileDelivery {
  return Object.freeze({
    to,
    settled,
    get file() {
      return facts().file
    },
    get name() {
      return facts().name
    },
    get total() {
      return facts().total
    },
    get confirmed() {
      return facts().confirmed
    },
    get state() {
      return facts().state
    },
    get error() {
      return facts().error
    },
  })
}

/** Whether the signature proves the sender. */
function isProven(received: Omit<Received, 'done'>): received is Extract<Received, { envelope: object }> {
  const { verdict } = received
  return verdict === 'genuine' || verdict === 'future' || verdict === 'stale'
}
