/**
 * The running page: an account, its messenger, and the state that the views show. Every action of the user is a method
 * here. Nothing leaves memory but what goes to a relay, and the file that the user saves.
 */
import { fingerprintOf } from '../client/format/field.ts'
import type { Envelope } from '../client/format/message.ts'
import type { FileSource } from '../client/delivery/file.ts'
import type { MessengerEvent } from '../client/messenger/event.ts'
import type { Received } from '../client/messenger/inbox.ts'
import type { Messenger } from '../client/messenger/messenger.ts'
import type { RingEvent } from '../client/ring/receiving.ts'
import { describeClock } from '../wording/refusal.ts'
import type { Account } from './account.ts'
import { describeArrival, factsOf } from './arrival.ts'
import { whyOf } from './check.ts'
import {
  conversationOf,
  initialState,
  type RelayView,
  type State,
  unconfirmedOf,
  unseenOf,
  withArrival,
  withDelivery,
  withNotice,
  withOwn,
  withoutEntry,
  withoutNotice,
  withRelay,
  withSeen,
} from './model.ts'
import { People } from './people.ts'
import { Requests } from './requests.ts'
import { openSession, type SessionOptions } from './session.ts'
import { Tickets } from './tickets.ts'
import { Transfers } from './transfers.ts'

/** What the keys of a contact tell. */
const RINGS: Readonly<Record<RingEvent, (name: string) => string>> = {
  anew: (name) => `${name} began anew, after losing data or opening an older file; unconfirmed messages go out again`,
  unproven: (name) => `a message claims that ${name} began anew, and lacks the proof: another person may have their key`,
  'two-clients': (name) => `two programs write with the key of ${name}`,
}

export class Talk {
  readonly account: Account
  readonly people: People
  readonly #messenger: Messenger
  readonly #listeners = new Set<() => void>()
  readonly #tickets: Tickets
  readonly #requests = new Requests()
  readonly #files: Transfers
  readonly #timers = new Set<ReturnType<typeof setTimeout>>()
  #state: State
  #closed = false
  #told = false

  /** @param options for tests: the connection, the clock and the random numbers */
  constructor(account: Account, options: NonNullable<SessionOptions['change']> = {}) {
    const { name, link } = account.card
    this.account = account
    this.#state = initialState({ name, link, fingerprint: fingerprintOf(account.identity.key), relays: account.relays })
    this.#tickets = new Tickets(() => this.#notice('a message could not be acknowledged; it comes again', 'bad'))
    const change = (work: (state: State) => State): void => this.#update(work)
    this.#files = new Transfers({ account, state: () => this.#state, change })
    this.#messenger = openSession(account, {
      files: this.#files,
      onSecrets: () => this.touch(),
      onMet: (fingerprint) => void account.meet(fingerprint).catch(() => {}),
      change: options,
    })
    this.people = new People({
      account,
      requests: this.#requests,
      change,
      touch: () => this.touch(),
      release: (id) => this.#release(id),
      confirm: (person, ids) => this.#messenger.confirm(person, ids),
    })
    for (const relay of account.relays) this.#update((state) => withRelay(state, { relay, state: 'connecting' }))
    this.people.show()
    if (account.broken.length > 0)
      this.#notice(`${account.broken.length} contacts in your file are damaged; they stay in it as they are`, 'bad')
    void this.#receive()
    void this.#watch()
    this.#messenger.ready.catch((error: unknown) => this.#notice(whyOf(error), 'bad'))
  }

  get state(): State {
    return this.#state
  }

  /** Whether closing the page now loses something, in words; undefined if it does not. */
  get loss(): string | undefined {
    const unconfirmed = unconfirmedOf(this.#state)
    const unseen = this.#state.conversations.reduce((sum, each) => sum + unseenOf(each), 0)
    const parts = [
      this.#state.unsaved ? 'changes that are in no file' : undefined,
      unconfirmed > 0 ? `${unconfirmed} unconfirmed ${unconfirmed === 1 ? 'message' : 'messages'}` : undefined,
      unseen > 0 ? `${unseen} unread ${unseen === 1 ? 'message' : 'messages'}` : undefined,
    ].filter((part) => part !== undefined)
    return parts.length === 0 ? undefined : parts.join(', ')
  }

  /** Calls `listener` after changes of the state, once for several changes in a row. */
  subscribe(listener: () => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** Marks the account as changed since the user saved it last. */
  touch(): void {
    this.#update((state) => ({ ...state, unsaved: true }))
  }

  open(id: string | undefined): void {
    this.#update((state) => ({ ...state, open: id }))
  }

  dismiss(key: number): void {
    this.#update((state) => withoutNotice(state, key))
  }

  /** Sends a text. */
  write(id: string, text: string): void {
    const person = this.account.find(id)
    if (person === undefined || text.trim() === '') return
    const delivery = this.#messenger.send(person, { type: 'text', text }, { hurry: true })
    const { error, state } = delivery
    const why = error === undefined ? undefined : whyOf(error)
    const sent = { id: delivery.id, member: id, to: person.name, state, ...(why !== undefined && { why }) }
    this.#update((before) => withOwn(before, id, { at: Date.now(), text, written: text, deliveries: [sent] }))
  }

  /** Sends the text of a failed message again, as a new message. */
  writeAgain(id: string, key: number): void {
    const entry = conversationOf(this.#state, id)?.entries.find((each) => each.key === key)
    if (entry === undefined) return
    this.#update((state) => withoutEntry(state, id, key))
    this.write(id, entry.written ?? entry.text)
  }

  /** Sends a file. */
  async sendFile(id: string, source: FileSource): Promise<void> {
    const person = this.account.find(id)
    if (person !== undefined) await this.#files.send(person, source, (to, what) => this.#messenger.sendFile(to, what))
  }

  /** Accepts or refuses an offered file. */
  decide(key: number, takes: boolean): void {
    this.#files.decide(key, takes)
  }

  /** Returns a received file for the user to save, and its name. */
  fileOf(id: string, key: number): { readonly name: string; readonly blob: Blob } | undefined {
    return this.#files.fileOf(id, key)
  }

  /** These entries are on the screen: acknowledges them. */
  drawn(id: string, keys: readonly number[]): void {
    const conversation = conversationOf(this.#state, id)
    const seen = (conversation?.entries ?? []).filter((each) => each.unseen && keys.includes(each.key))
    if (seen.length === 0) return
    this.#update((state) => withSeen(state, id, new Set(keys)))
    for (const { key } of seen) {
      const expires = this.#tickets.acknowledge(key)
      if (expires !== undefined) this.#after(expires * 1_000, () => this.#update((state) => withoutEntry(state, id, key)))
    }
    const person = this.account.find(id)
    if (person !== undefined)
      this.#messenger.read(
        person,
        seen.flatMap(({ id, verdict, file }) => (id === undefined || file !== undefined || verdict !== 'genuine' ? [] : [id])),
      )
  }

  /** Tries to reach the relays at once. */
  connect(): void {
    for (const { relay, state } of this.#state.relays) if (state !== 'up') this.#messenger.receiveFrom(relay)
  }

  /** Encrypts the whole account for a file. */
  async save(passphrase: string): Promise<string> {
    return `${await this.account.save(passphrase)}\n`
  }

  /** The user has the file. */
  saved(): void {
    this.#update((state) => ({ ...state, unsaved: false }))
  }

  async close(): Promise<void> {
    this.#closed = true
    for (const timer of this.#timers) clearTimeout(timer)
    this.#files.close()
    await this.#messenger.close()
  }

  async #receive(): Promise<void> {
    for await (const received of this.#messenger.received()) {
      try {
        await this.#onReceived(received)
      } catch {
        this.#notice('a message could not be shown; it comes again', 'bad')
      }
    }
  }

  async #onReceived(received: Received): Promise<void> {
    const { envelope, verdict, from } = received
    const sender = envelope === undefined ? undefined : fingerprintOf(envelope.from)
    const isProven = verdict === 'genuine' || verdict === 'future' || verdict === 'stale'
    if (isProven && sender !== undefined && this.account.isBlocked(sender)) return received.done()
    if (envelope !== undefined && verdict === 'genuine' && from === undefined && (await this.#ask(received, envelope))) return
    const arrival = await describeArrival(received, this.account)
    const key = this.#state.nextKey
    this.#update((state) => withArrival(state, arrival))
    // An edit changes an entry that was seen.
    if (this.#state.nextKey === key) return received.done()
    this.#tickets.hold(key, received)
  }

  /** Keeps the message of a person who introduces themselves as a contact request. @returns whether it is one */
  async #ask(received: Received, envelope: Envelope): Promise<boolean> {
    const request = await this.#requests.take(envelope)
    if (request === 'none') return false
    if (request === 'full') {
      this.#notice('more contact requests came than the page keeps; accept or ignore some')
      await received.done()
    } else if (request !== 'known') {
      this.people.show()
      const key = this.#state.nextKey
      const { content } = envelope
      const text = content.type === 'text' ? content.text : '(sent only their card)'
      const arrival = { ...factsOf(received, envelope), conversation: fingerprintOf(envelope.from), author: request.card.name, text }
      this.#update((state) => withArrival(state, arrival))
      this.#tickets.hold(key, received)
    }
    return true
  }

  async #watch(): Promise<void> {
    for await (const event of this.#messenger.events()) this.#onEvent(event)
  }

  #onEvent(event: MessengerEvent): void {
    switch (event.kind) {
      case 'delivery': {
        const { id, state, error, protection } = event.delivery
        return this.#update((before) => withDelivery(before, id, state, error === undefined ? undefined : whyOf(error), protection))
      }
      case 'relay':
        return this.#onRelay(event)
      case 'taken-over':
        return this.#update((state) => withRelay(state, { relay: event.relay, state: 'taken-over' }))
      case 'forgotten':
        return this.#notice('the relay restarted and lost its messages; the page sends your unconfirmed ones again')
      case 'moved':
        return this.#notice(`the relay says that it moves to ${event.name}; ask its operator before you follow it`)
      case 'clock':
        return this.#notice(describeClock(event, Date.now()), 'bad')
      case 'not-kept':
        return this.#notice('a message could not be recorded; it may come again', 'bad')
      case 'not-said':
        return this.#notice(`${event.to.name} may not learn that their message arrived`, 'bad')
      case 'ring':
        return this.#notice(RINGS[event.event](event.contact.name), event.event === 'anew' ? undefined : 'bad')
      case 'other-bundle':
        return this.#notice('another program with your key, or an older file of yours, receives first messages at the relay')
      case 'file-sent':
        return this.#files.onSent(event.file)
      case 'file-received':
        return this.#files.onReceived(event.offer, event.state, event.bytes)
      case 'duplicate':
    }
  }

  #onRelay({ relay, purpose, state, error, again }: Extract<MessengerEvent, { kind: 'relay' }>): void {
    if (purpose !== 'receive') return
    const view: RelayView = {
      relay,
      state,
      ...(error !== undefined && { why: whyOf(error) }),
      ...(again !== undefined && { again: Date.now() + again }),
    }
    this.#update((before) => withRelay(before, view))
  }

  #notice(text: string, role?: 'bad'): void {
    this.#update((state) => withNotice(state, text, role))
  }

  #after(ms: number, work: () => void): void {
    const timer = setTimeout(
      () => {
        this.#timers.delete(timer)
        work()
      },
      Math.min(ms, 2_147_483_647),
    )
    this.#timers.add(timer)
  }

  #update(change: (state: State) => State): void {
    if (this.#closed) return
    const before = this.#state
    this.#state = change(before)
    if (this.#state === before || this.#told) return
    this.#told = true
    queueMicrotask(() => {
      this.#told = false
      for (const listener of this.#listeners) listener()
    })
  }

  /** Acknowledges everything in a conversation. */
  #release(id: string): void {
    for (const { key } of conversationOf(this.#state, id)?.entries ?? []) this.#tickets.acknowledge(key)
  }
}
