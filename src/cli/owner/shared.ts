/**
 * A messenger that the commands of a profile share. The first command owns it; the others use it through the owner's
 * socket. If the owner ends, one of them takes over: it sends again what is unsettled, under the same ids, and a message
 * that it has shown already is acknowledged instead of shown again.
 */
import type { FileSource, FileState } from '../../client/delivery/file.ts'
import type { Content } from '../../client/format/content.ts'
import { fingerprintOf, makeId } from '../../client/format/field.ts'
import { Channel } from '../../client/messenger/channel.ts'
import type { Contact } from '../../client/messenger/contact.ts'
import { Deliveries, type Delivery } from '../../client/messenger/delivery.ts'
import { MessengerError } from '../../client/messenger/error.ts'
import type { MessengerEvent } from '../../client/messenger/event.ts'
import type { Received } from '../../client/messenger/inbox.ts'
import type { SendOptions } from '../../client/messenger/options.ts'
import type { MessengerPort } from '../../client/messenger/port.ts'
import type { FileDelivery } from '../../client/messenger/transfers.ts'
import { deliveryOf, isFinal } from './link.ts'
import type { FileFacts } from './record.ts'

const EVENTS = 4_096

/** A messenger to use until it is lost. */
export interface Attachment {
  readonly port: MessengerPort
  /** Resolves once the owner is gone; never if this process is the owner. */
  readonly lost: Promise<void>
}

interface Sent {
  readonly to: Contact
  readonly content: Content
  readonly options: SendOptions
}

interface SentFile {
  readonly to: Contact
  readonly source: FileSource
  readonly options: Omit<SendOptions, 'group' | 'id'>
  inner: FileDelivery
  readonly file: string
  readonly delivery: FileDelivery
  readonly settle: (state: FileState) => void
}

/** A message that the program has and has not finished. */
interface Held {
  received: Received
  /** The program has finished it, and the owner was gone. */
  isDone: boolean
}

export class Shared implements MessengerPort {
  readonly #attach: () => Promise<Attachment>
  readonly #deliveries = new Deliveries()
  readonly #sent = new Map<string, Sent>()
  readonly #files = new Set<SentFile>()
  readonly #held = new Map<string, Held>()
  readonly #listeners = new Set<Channel<MessengerEvent>>()
  readonly #extra = new Set<string>()
  readonly #failure = Promise.withResolvers<never>()
  #current: Attachment
  #next: PromiseWithResolvers<Attachment> = Promise.withResolvers()
  #closed = false

  /**
   * @param first the first attachment
   * @param attach attaches anew after the owner is gone
   */
  constructor(first: Attachment, attach: () => Promise<Attachment>) {
    this.#attach = attach
    this.#current = first
    this.#failure.promise.catch(() => {})
    void this.#run()
  }

  get ready(): Promise<void> {
    return this.#current.port.ready
  }

  send(to: Contact, content: Content, options: SendOptions = {}): Delivery {
    const id = options.id ?? makeId()
    const delivery = this.#deliveries.add(id, to, content)
    const sent = { to, content, options: { ...options, id } }
    this.#sent.set(id, sent)
    void delivery.settled.then(() => this.#sent.delete(id))
    if (this.#closed) this.#deliveries.change({ id, state: 'failed', error: new MessengerError('closed') })
    else this.#dispatch(sent)
    return delivery
  }

  async sendFile(to: Contact, source: FileSource, options: Omit<SendOptions, 'group' | 'id'> = {}): Promise<FileDelivery> {
    const inner = await this.#persist((port) => port.sendFile(to, source, options))
    const { promise: settled, resolve: settle } = Promise.withResolvers<FileState>()
    const sent: SentFile = {
      to,
      source,
      options,
      inner,
      file: inner.file,
      delivery: deliveryOf((): FileFacts => ({ ...factsOf(sent.inner), file: sent.file }), to, settled),
      settle,
    }
    this.#files.add(sent)
    this.#watchFile(sent)
    return sent.delivery
  }

  deliveries(): Delivery[] {
    return [...this.#current.port.deliveries().filter(({ id }) => !this.#sent.has(id)), ...this.#deliveries.list()]
  }

  received(): AsyncIterable<Received> {
    let from: Attachment | undefined
    let messages: AsyncIterator<Received> | undefined
    return {
      [Symbol.asyncIterator]: () => ({
        next: async () => {
          for (;;) {
            if (this.#closed) return { value: undefined, done: true }
            if (from !== this.#current || messages === undefined) {
              from = this.#current
              messages = from.port.received()[Symbol.asyncIterator]()
            }
            const result = await messages.next()
            if (result.done === true) {
              if (this.#closed) return { value: undefined, done: true }
              if (from === this.#current) await this.#await()
              continue
            }
            const received = this.#hold(result.value)
            if (received !== undefined) return { value: received, done: false }
          }
        },
      }),
    }
  }

  fetched(): Promise<ReadonlyMap<string, unknown>> {
    return this.#persist((port) => port.fetched())
  }

  receiveFrom(relay: string): void {
    this.#extra.add(relay)
    this.#current.port.receiveFrom(relay)
  }

  leaveRelay(relay: string): void {
    this.#extra.delete(relay)
    this.#current.port.leaveRelay(relay)
  }

  events(): AsyncIterable<MessengerEvent> {
    const channel: Channel<MessengerEvent> = new Channel(EVENTS, () => this.#listeners.delete(channel))
    if (this.#closed) channel.close()
    else this.#listeners.add(channel)
    return channel
  }

  read(from: Contact, ids: readonly string[]): void {
    this.#current.port.read(from, ids)
  }

  accept(from: Contact): Promise<boolean> {
    return this.#persist((port) => port.accept(from))
  }

  renewAddress(contact: Contact): Promise<void> {
    return this.#persist((port) => port.renewAddress(contact))
  }

  forget(contact: Contact): Promise<void> {
    return this.#persist((port) => port.forget(contact))
  }

  flush(options: { readonly signal?: AbortSignal } = {}): Promise<void> {
    return this.#persist((port) => port.flush(options), options.signal)
  }

  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    this.#failure.reject(new MessengerError('closed'))
    await this.#current.port.close()
    this.#deliveries.close()
    for (const { settle, inner } of this.#files) settle(inner.state)
    for (const listener of this.#listeners) listener.close()
  }

  async #run(): Promise<void> {
    try {
      for (;;) {
        const { port, lost } = this.#current
        void this.#follow(port.events())
        await lost
        if (this.#closed) return
        const next = await this.#attach()
        if (this.#closed) return void (await next.port.close())
        this.#current = next
        for (const relay of this.#extra) next.port.receiveFrom(relay)
        const waiting = this.#next
        this.#next = Promise.withResolvers()
        waiting.resolve(next)
        for (const sent of this.#sent.values()) this.#dispatch(sent)
        for (const sent of this.#files) void this.#resume(sent)
      }
    } catch (error) {
      this.#failure.reject(error)
      for (const id of this.#sent.keys()) this.#change({ id, state: 'failed', error })
      for (const { settle } of this.#files) settle('failed')
    }
  }

  /** Resolves with the next attachment. @throws if there is none, or the messenger is closed */
  #await(): Promise<Attachment> {
    return Promise.race([this.#next.promise, this.#failure.promise])
  }

  /** Does it again with the next owner if the owner goes meanwhile. */
  async #persist<T>(work: (port: MessengerPort) => Promise<T>, signal?: AbortSignal): Promise<T> {
    for (;;) {
      const current = this.#current
      try {
        return await work(current.port)
      } catch (error) {
        signal?.throwIfAborted()
        if (!isClosing(error) || this.#closed) throw error
        if (current === this.#current) await this.#await()
      }
    }
  }

  #dispatch({ to, content, options }: Sent): void {
    const { id, state, relay, error, protection, relays } = this.#current.port.send(to, content, options)
    if (state !== 'waiting') this.#change({ id, state, relay, error, protection, relays })
  }

  async #follow(events: AsyncIterable<MessengerEvent>): Promise<void> {
    for await (const event of events) {
      if (event.kind === 'delivery' && this.#deliveries.has(event.delivery.id)) {
        const { id, state, relay, error, protection, relays } = event.delivery
        this.#change({ id, state, relay, error, protection, relays })
      } else if (event.kind === 'file-sent') {
        const sent = [...this.#files].find(({ inner }) => inner === event.file)
        if (sent !== undefined) this.#emit({ kind: 'file-sent', file: sent.delivery })
      } else this.#emit(event)
    }
  }

  #change(change: Parameters<Deliveries['change']>[0]): void {
    // The owner is going, and the next one gets the message.
    if (isClosing(change.error) && !this.#closed) return
    const delivery = this.#deliveries.change(change)
    if (delivery !== undefined) this.#emit({ kind: 'delivery', delivery })
  }

  #emit(event: MessengerEvent): void {
    for (const listener of this.#listeners) listener.push(event)
  }

  #watchFile(sent: SentFile): void {
    const { inner } = sent
    void inner.settled.then((state) => {
      // The owner is gone: the file goes on with the next one.
      if (sent.inner !== inner || (!isFinal(state) && !this.#closed)) return
      this.#files.delete(sent)
      sent.settle(state)
    })
  }

  async #resume(sent: SentFile): Promise<void> {
    try {
      sent.inner = await this.#persist((port) => port.sendFile(sent.to, sent.source, sent.options))
      this.#watchFile(sent)
    } catch {
      this.#files.delete(sent)
      sent.settle('failed')
    }
  }

  /** Keeps a message until it is done. @returns undefined if the program has it already */
  #hold(received: Received): Received | undefined {
    const { envelope, relay } = received
    // Only an id tells whether a message has come before.
    if (envelope === undefined) return received
    const name = `${fingerprintOf(envelope.from)} ${envelope.id} ${isProven(received) ? '' : relay}`
    const before = this.#held.get(name)
    if (before !== undefined) {
      before.received = received
      if (before.isDone) void this.#finish(name, before).catch(() => {})
      return undefined
    }
    const held: Held = { received, isDone: false }
    this.#held.set(name, held)
    return { ...received, done: () => this.#finish(name, held) }
  }

  async #finish(name: string, held: Held): Promise<void> {
    held.isDone = true
    try {
      await held.received.done()
      this.#held.delete(name)
    } catch (error) {
      // The relay delivers it to the next owner, which acknowledges it then.
      if (isClosing(error)) return
      held.isDone = false
      throw error
    }
  }
}

function isClosing(error: unknown): boolean {
  return error instanceof MessengerError && error.code === 'closed'
}

function isProven({ verdict }: Received): boolean {
  return verdict === 'genuine' || verdict === 'future' || verdict === 'stale'
}

function factsOf({ file, name, total, confirmed, state, error }: FileDelivery): FileFacts {
  return { file, name, total, confirmed, state, error }
}
