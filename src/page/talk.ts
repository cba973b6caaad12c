/**
 * The running page: an account, its messenger, and the state that the views show. Every action of the user is a method
 * here. Nothing leaves memory but what goes to a relay, and the file that the user saves.
 */
import { type Card, CardError, parseCard } from '../client/format/card.ts'
import { decodeText, fingerprintOf } from '../client/format/field.ts'
import { introductionOf } from '../client/format/introduction.ts'
import type { Envelope } from '../client/format/message.ts'
import { safetyWords } from '../client/format/safety.ts'
import type { FileSource } from '../client/delivery/file.ts'
import type { Contact } from '../client/messenger/contact.ts'
import type { MessengerEvent } from '../client/messenger/event.ts'
import type { Received } from '../client/messenger/inbox.ts'
import type { Messenger } from '../client/messenger/messenger.ts'
import type { FileOffer, FileReceiver } from '../client/messenger/transfers.ts'
import { describeContent } from '../wording/content.ts'
import { DAMAGED, fileFailure, NOT_RECEIVED } from '../wording/delivery.ts'
import { formatBytes } from '../wording/figures.ts'
import { describeClock, describeFault } from '../wording/refusal.ts'
import { Account, AccountError, type Person } from './account.ts'
import { MemoryFile, MOST_BYTES } from './files.ts'
import { type Link, readLink } from './link.ts'
import {
  type Arrival,
  conversationOf,
  initialState,
  type Party,
  type RelayView,
  type State,
  STRANGERS,
  unconfirmedOf,
  unseenOf,
  withArrival,
  withDelivery,
  withFile,
  withNote,
  withNotice,
  withOwn,
  withoutEntry,
  withoutNotice,
  withPeople,
  withRelay,
  withSeen,
} from './model.ts'
import { openSession, protectionOf, type SessionOptions } from './session.ts'

/**
 * Messages that the page has and that relays still hold, because the user has not seen them. A relay delivers at most 64
 * unacknowledged ones.
 */
const HELD = 32
/** Most people with a contact request, and most messages of each. */
const REQUESTS = { people: 64, messages: 16 } as const

interface Request {
  readonly card: Card
  readonly ids: readonly string[]
}

export class Talk {
  readonly account: Account
  readonly #messenger: Messenger
  readonly #listeners = new Set<() => void>()
  /** Messages to acknowledge, by the key of their entry, the oldest first. */
  readonly #tickets = new Map<number, Received>()
  readonly #requests = new Map<string, Request>()
  /** Offered files, by the key of their entry. */
  readonly #offers = new Map<number, (sink: MemoryFile | undefined) => void>()
  readonly #files = new Map<number, MemoryFile>()
  /** The entry of each file that is sent or received, by sender and id. */
  readonly #transfers = new Map<string, number>()
  readonly #timers = new Set<ReturnType<typeof setTimeout>>()
  #state: State
  #closed = false
  #told = false

  /** @param change for tests: the connection, the clock and the random numbers */
  constructor(account: Account, change: NonNullable<SessionOptions['change']> = {}) {
    const { name, link } = account.card
    this.account = account
    this.#state = initialState({ name, link, fingerprint: fingerprintOf(account.identity.key), relays: account.relays })
    const files: FileReceiver = { open: (offer) => this.#onOffer(offer) }
    this.#messenger = openSession(account, {
      files,
      onMet: (fingerprint) => void account.meet(fingerprint).catch(() => {}),
      change,
    })
    for (const relay of account.relays) this.#update((state) => withRelay(state, { relay, state: 'connecting' }))
    this.#showPeople()
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
    this.#update((before) => withOwn(before, id, { at: Date.now(), text, deliveries: [sent] }))
  }

  /** Sends the text of a failed message again, as a new message. */
  writeAgain(id: string, key: number): void {
    const entry = conversationOf(this.#state, id)?.entries.find((each) => each.key === key)
    if (entry === undefined) return
    this.#update((state) => withoutEntry(state, id, key))
    this.write(id, entry.text)
  }

  /** Sends a file. */
  async sendFile(id: string, source: FileSource): Promise<void> {
    const person = this.account.find(id)
    if (person === undefined) return
    const key = this.#state.nextKey
    const file = { name: source.name, total: source.size, moved: 0, state: 'moving' } as const
    this.#update((state) => withOwn(state, id, { at: Date.now(), text: '', deliveries: [], file }))
    try {
      const delivery = await this.#messenger.sendFile(person, source)
      this.#transfers.set(` ${delivery.file}`, key)
      this.#onFileSent(delivery)
    } catch (error) {
      this.#update((state) => withFile(state, key, { state: 'failed', note: fileFailure('failed', person.name, whyOf(error)) }))
    }
  }

  /** Accepts or refuses an offered file. */
  decide(key: number, takes: boolean): void {
    const answer = this.#offers.get(key)
    this.#offers.delete(key)
    if (answer === undefined) return
    const file = takes ? new MemoryFile() : undefined
    if (file !== undefined) this.#files.set(key, file)
    this.#update((state) => withFile(state, key, takes ? { state: 'moving' } : { state: 'failed', note: 'you refused it' }))
    answer(file)
  }

  /** Returns a received file for the user to save, and its name. */
  fileOf(id: string, key: number): { readonly name: string; readonly blob: Blob } | undefined {
    const name = conversationOf(this.#state, id)?.entries.find((each) => each.key === key)?.file?.name
    const file = this.#files.get(key)
    if (name === undefined || file === undefined) return undefined
    this.#update((state) => withFile(state, key, { state: 'saved' }))
    return { name, blob: file.blob() }
  }

  /** Adds the person of a link. @returns their conversation, and what the user should know @throws {AccountError} */
  async addLink(text: string, name?: string): Promise<{ readonly id: string | undefined; readonly link: Link }> {
    const link = await readLink(text, Date.now() / 1_000)
    const { card } = link
    if (card === undefined) return { id: undefined, link }
    const fingerprint = fingerprintOf(card.key)
    if (this.account.find(fingerprint) === undefined && this.#requests.has(fingerprint)) await this.accept(fingerprint, name)
    else await this.#add(card, name)
    return { id: fingerprint, link }
  }

  /** Adds the person whose card is in a message. @throws {AccountError} */
  async addCard(text: string): Promise<string> {
    try {
      return (await this.#add(await parseCard(text))).fingerprint
    } catch (error) {
      throw error instanceof CardError ? new AccountError(error.message) : error
    }
  }

  /** Makes the sender of a request a contact. @throws {AccountError} */
  async accept(id: string, name?: string): Promise<void> {
    const request = this.#requests.get(id)
    if (request === undefined) return
    const person = await this.#add(request.card, name)
    this.#requests.delete(id)
    this.#release(id)
    this.#messenger.confirm(person, request.ids)
    this.#showPeople()
  }

  ignore(id: string): void {
    this.#requests.delete(id)
    this.#release(id)
    this.#showPeople()
  }

  /** Drops everything that this person writes from now on. */
  block(id: string): void {
    this.account.block(id, this.account.find(id)?.name ?? this.#requests.get(id)?.card.name ?? 'a stranger')
    this.#requests.delete(id)
    this.#release(id)
    this.touch()
    this.#showPeople()
  }

  unblock(id: string): void {
    this.account.unblock(id)
    this.touch()
    this.#showPeople()
  }

  /** @throws {AccountError} */
  async rename(id: string, name: string): Promise<void> {
    await this.account.rename(id, name)
    this.touch()
    this.#showPeople()
  }

  remove(id: string): void {
    this.#release(id)
    this.account.remove(id)
    this.touch()
    this.#showPeople()
  }

  /** Computes the safety words with a person. */
  words(id: string): Promise<string[]> {
    const key = this.account.find(id)?.key ?? this.#requests.get(id)?.card.key
    return key === undefined ? Promise.resolve([]) : safetyWords(this.account.identity.key, key)
  }

  /** The user compared the safety words, and they are equal. */
  async verify(id: string): Promise<void> {
    await this.account.verify(id)
    this.touch()
    this.#showPeople()
  }

  /** These entries are on the screen: acknowledges them. */
  drawn(id: string, keys: readonly number[]): void {
    const conversation = conversationOf(this.#state, id)
    const seen = (conversation?.entries ?? []).filter((each) => each.unseen && keys.includes(each.key))
    if (seen.length === 0) return
    this.#update((state) => withSeen(state, id, new Set(keys)))
    for (const { key } of seen) {
      const expires = this.#tickets.get(key)?.envelope?.expires
      this.#acknowledge(key)
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
    for (const answer of this.#offers.values()) answer(undefined)
    this.#files.clear()
    await this.#messenger.close()
  }

  async #add(card: Card, name?: string): Promise<Person> {
    const person = await this.account.add(card, name)
    this.touch()
    this.#showPeople()
    return person
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
    const arrival = await this.#describe(received)
    const key = this.#state.nextKey
    this.#update((state) => withArrival(state, arrival))
    // An edit changes an entry that was seen.
    if (this.#state.nextKey === key) return received.done()
    this.#hold(key, received)
  }

  /** Keeps the message of a person who introduces themselves as a contact request. @returns whether it is one */
  async #ask(received: Received, envelope: Envelope): Promise<boolean> {
    const { type } = envelope.content
    if ((type !== 'text' && type !== 'card') || envelope.group !== undefined) return false
    const card = await introductionOf(envelope)
    if (card === undefined) return false
    const id = fingerprintOf(card.key)
    const before = this.#requests.get(id)
    if (before?.ids.includes(envelope.id) === true) return true
    const isFull = before === undefined ? this.#requests.size >= REQUESTS.people : before.ids.length >= REQUESTS.messages
    if (isFull) {
      this.#notice('more contact requests came than the page keeps; accept or ignore some')
      await received.done()
      return true
    }
    const newest = before === undefined || card.time > before.card.time ? card : before.card
    this.#requests.set(id, { card: newest, ids: [...(before?.ids ?? []), envelope.id] })
    this.#showPeople()
    const key = this.#state.nextKey
    const text = envelope.content.type === 'text' ? envelope.content.text : '(sent only their card)'
    this.#update((state) => withArrival(state, { ...factsOf(received, envelope), conversation: id, author: card.name, text }))
    this.#hold(key, received)
    return true
  }

  async #describe(received: Received): Promise<Arrival> {
    const { envelope, from, text: bare, verdict } = received
    if (envelope === undefined) {
      const text = bare === undefined ? '' : (decodeText(bare) ?? '(bytes that are not text)')
      return { conversation: STRANGERS, author: 'unknown', at: Date.now(), verdict, text }
    }
    const facts = factsOf(received, envelope)
    const isStored = (card: Card): boolean => this.account.find(fingerprintOf(card.key))?.card?.text === card.text
    const { text, card } = await describeContent(envelope.content, 'you can add it', isStored)
    const remark = envelope.group === undefined ? '' : '(to a group; this page shows no groups) '
    const isClaim = verdict === 'forged' || verdict === 'unverifiable'
    if (from === undefined || isClaim || verdict === 'readdressed') {
      const fingerprint = fingerprintOf(envelope.from)
      const named = this.account.find(fingerprint)
      const who = named === undefined ? fingerprint : `${named.name}, ${fingerprint}`
      const origin = isClaim ? `claims to be from ${who}\n` : verdict === 'readdressed' ? `from ${who}\n` : ''
      const author = isClaim ? verdict : `stranger ${fingerprint.slice(7, 12)}`
      return { ...facts, conversation: STRANGERS, author, text: origin + remark + text, ...(card !== undefined && !isClaim && { card }) }
    }
    const { content } = envelope
    const message = { ...facts, conversation: fingerprintOf(from.key), author: from.name }
    // A message that may be a replay, or is dated in the future, changes nothing: it appears as a text.
    if (verdict === 'genuine' && content.type === 'edit')
      return { ...message, text: remark + content.text, change: { of: content.of, to: 'edited' } }
    if (verdict === 'genuine' && content.type === 'remove') return { ...message, text: '', change: { of: content.of, to: 'removed' } }
    return {
      ...message,
      text: remark + text,
      ...(content.type === 'text' && content.replyTo !== undefined && { replyTo: content.replyTo }),
      ...(card !== undefined && { card }),
    }
  }

  /** Acknowledges the message once the user sees it, or once too many wait for that. */
  #hold(key: number, received: Received): void {
    this.#tickets.set(key, received)
    for (const oldest of [...this.#tickets.keys()].slice(0, Math.max(0, this.#tickets.size - HELD))) this.#acknowledge(oldest)
  }

  #acknowledge(key: number): void {
    const received = this.#tickets.get(key)
    this.#tickets.delete(key)
    received?.done().catch(() => this.#notice('a message could not be acknowledged; it comes again', 'bad'))
  }

  /** Acknowledges everything in a conversation. */
  #release(id: string): void {
    for (const { key } of conversationOf(this.#state, id)?.entries ?? []) this.#acknowledge(key)
  }

  async #watch(): Promise<void> {
    for await (const event of this.#messenger.events()) this.#onEvent(event)
  }

  #onEvent(event: MessengerEvent): void {
    switch (event.kind) {
      case 'delivery': {
        const { id, state, error } = event.delivery
        return this.#update((before) => withDelivery(before, id, state, error === undefined ? undefined : whyOf(error)))
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
      case 'file-sent':
        return this.#onFileSent(event.file)
      case 'file-received':
        return this.#onFileReceived(event.offer, event.state, event.bytes)
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

  /** Asks the user whether to take a file. */
  #onOffer(offer: FileOffer): Promise<MemoryFile | undefined> {
    const { from, file, name, total } = offer
    const id = fingerprintOf(from.key)
    if (this.account.isBlocked(id)) return Promise.resolve(undefined)
    const key = this.#state.nextKey
    const view = { name, total, moved: 0 }
    const arrival = { conversation: id, author: from.name, fingerprint: id, at: Date.now(), verdict: 'genuine', text: '' } as const
    if (total > MOST_BYTES) {
      const note = `refused: it is larger than ${formatBytes(MOST_BYTES)}, the most that this page takes`
      this.#update((state) => withArrival(state, { ...arrival, file: { ...view, state: 'failed', note } }))
      return Promise.resolve(undefined)
    }
    this.#update((state) => withArrival(state, { ...arrival, file: { ...view, state: 'offered' } }))
    this.#transfers.set(`${id} ${file}`, key)
    return new Promise((resolve) => this.#offers.set(key, resolve))
  }

  #onFileReceived({ from, file }: FileOffer, state: Extract<MessengerEvent, { kind: 'file-received' }>['state'], bytes: number): void {
    const key = this.#transfers.get(`${fingerprintOf(from.key)} ${file}`)
    if (key === undefined) return
    switch (state) {
      case 'receiving':
        return this.#update((before) => withFile(before, key, { moved: bytes }))
      case 'done':
        return this.#update((before) => withFile(before, key, { state: 'ready', moved: bytes }))
      case 'refused':
        return
      case 'damaged':
      case 'failed':
        this.#files.delete(key)
        return this.#update((before) => withFile(before, key, { state: 'failed', note: state === 'damaged' ? DAMAGED : NOT_RECEIVED }))
    }
  }

  #onFileSent({ file, to, confirmed, state, error }: Extract<MessengerEvent, { kind: 'file-sent' }>['file']): void {
    const key = this.#transfers.get(` ${file}`)
    if (key === undefined) return
    const isOver = state === 'refused' || state === 'expired' || state === 'failed'
    const note = isOver ? fileFailure(state, to.name, error === undefined ? undefined : whyOf(error)) : undefined
    const shown = isOver ? 'failed' : state === 'done' ? 'done' : 'moving'
    this.#update((before) => withFile(before, key, { state: shown, moved: confirmed, ...(note !== undefined && { note }) }))
  }

  #showPeople(): void {
    const contacts = this.account.people().map((person): Party => this.#partyOf(person, person.fingerprint, 'contact'))
    const requests = [...this.#requests]
      .filter(([id]) => this.account.find(id) === undefined)
      .map(([id, { card }]) => this.#partyOf(card, id, 'request'))
    this.#update((state) => withPeople(state, [...contacts, ...requests]))
  }

  #partyOf({ name }: Pick<Contact, 'name'>, id: string, kind: Party['kind']): Party {
    const twin = kind === 'request' ? this.account.like(name, id)?.name : undefined
    const verified = this.account.find(id)?.verified !== undefined
    return { id, kind, name, verified, blocked: this.account.isBlocked(id), ...(twin !== undefined && { twin }) }
  }

  /** Tells the user about something in a conversation. */
  note(id: string, text: string): void {
    this.#update((state) => withNote(state, id, Date.now(), text))
  }

  #notice(text: string, role?: 'bad'): void {
    this.#update((state) => withNotice(state, text, role))
  }

  #after(ms: number, work: () => void): void {
    const timer = setTimeout(() => {
      this.#timers.delete(timer)
      work()
    }, Math.min(ms, 2_147_483_647))
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
}

type Facts = Pick<Arrival, 'at' | 'verdict' | 'fingerprint' | 'id' | 'protection' | 'gap' | 'late'>

function factsOf(received: Received, { time, from, id }: Envelope): Facts {
  const { verdict, gap, late } = received
  const facts = { at: time * 1_000, verdict, fingerprint: fingerprintOf(from), id, protection: protectionOf(received) }
  return { ...facts, ...(gap === true && { gap }), ...(late === true && { late }) }
}

/** Says in words why something failed. */
export function whyOf(error: unknown): string {
  return describeFault(error) ?? (error instanceof AccountError ? error.message : 'an error that this page does not know')
}
