/**
 * Two-way messaging over relays that may fail, forget or lie: what `connectRelay` is for one connection, this is for
 * a person. Messages leave by the receivers' relays and come by one's own; what was accepted is not lost while this
 * process lives (or its outbox is kept), what comes twice is given once, and each sender's messages come in order. What
 * became of a message is said as it is known, and no better.
 *
 * The rules are in outbox.ts, order.ts and receipts.ts, the connections in outgoing.ts and incoming.ts, what came in
 * reception.ts; here they are put together. It keeps nothing on disk itself and logs nothing.
 */
import type { SshKey } from '../../auth/ssh-key.ts'
import { CodedError } from '../../protocol/coded-error.ts'
import type { Message } from '../../protocol/answer.ts'
import { parseTarget } from '../../transport/address.ts'
import { Channel } from './channel.ts'
import { type ConnectOptions, connectRelay } from '../wire/connect.ts'
import { type Clock, systemClock } from './clock.ts'
import type { Contact, Contacts } from './contact.ts'
import { Deliveries, type Delivery, type DeliveryChange } from './delivery.ts'
import type { Identity } from '../format/identity.ts'
import { Incoming } from './incoming.ts'
import { RelayError } from '../wire/error.ts'
import { fingerprintOf, makeId } from '../format/field.ts'
import type { Content } from '../format/content.ts'
import { encodeMessage, type Envelope, openMessage } from '../format/message.ts'
import type { OutboxChange, OutboxEntry, DeliveryState } from '../delivery/entry.ts'
import { Outbox } from '../delivery/outbox.ts'
import { Outgoing } from './outgoing.ts'
import { Receipts, type ReceiptState } from '../delivery/receipts.ts'
import { type Copy, type Given, type Received, Reception, type Signed } from './reception.ts'
import { Seen, type SeenStore } from '../delivery/seen.ts'
import type { FileSource } from '../delivery/file.ts'
import { type FileDelivery, type FileEvent, type FileReceiver, Transfers } from './transfers.ts'

/** Keeps what is unconfirmed from one run to the next. It holds whom one writes to: keep it encrypted. */
export interface OutboxStore {
  load(): Promise<readonly OutboxEntry[]>
  /** All of it, in place of what was kept before. One call at a time. */
  save(entries: readonly OutboxEntry[]): Promise<void>
}

export interface MessengerOptions {
  readonly identity: Identity
  /** One's own, messages are received from; with none, messages are only sent, and nothing is ever confirmed. */
  readonly relays: readonly string[]
  /** Asked whenever it matters. Only contacts are told that messages came. */
  readonly contacts: Contacts
  /** As of {@link ConnectOptions}. */
  readonly socks?: string
  readonly sign?: boolean
  readonly timeout?: number
  readonly connectTimeout?: number
  /** What contacts are told: that a message was shown or stored (yes by default), that it was read (no). */
  readonly receipts?: { readonly delivered?: boolean; readonly read?: boolean }
  /** What is unconfirmed, and which messages came: in memory by default. */
  readonly outbox?: OutboxStore
  readonly seen?: SeenStore
  /** Where files go that contacts send. Without it what comes of a file is given as any message. */
  readonly files?: FileReceiver
  /** Closes the messenger. */
  readonly signal?: AbortSignal
  /** For tests: the way to a relay, time, and numbers in [0, 1). */
  readonly connect?: typeof connectRelay
  readonly clock?: Clock
  readonly random?: () => number
}

export interface SendOptions {
  /** Seconds until the message is given up; 7 days by default, at most 13. */
  readonly deadline?: number
  readonly group?: string
  /** Takes the message back, if the receiver has not confirmed it: it goes out no more. */
  readonly signal?: AbortSignal
}

export type MessengerEvent =
  | FileEvent
  /** A message's state changed, or why it waits. */
  | { readonly kind: 'delivery'; readonly delivery: Delivery }
  | {
      readonly kind: 'relay'
      readonly relay: string
      readonly purpose: 'receive' | 'send'
      readonly state: 'connecting' | 'up' | 'down'
      /** Why it is down; none where there was nothing to do. */
      readonly error?: unknown
      /** Messages that wait there. */
      readonly waiting?: number
      /** Milliseconds until the next try. */
      readonly again?: number
    }
  /** Somebody with the same key receives from that relay now; this messenger does no more. */
  | { readonly kind: 'taken-over'; readonly relay: string }
  /** The relay lost what it held. What is unconfirmed is sent again. */
  | { readonly kind: 'forgotten'; readonly relay: string }
  /** The relay says that it is leaving its name for this one: for a person to decide. */
  | { readonly kind: 'moved'; readonly relay: string; readonly name: string }
  /** The outbox could not be kept: it is in memory all the same, and kept with the next change. */
  | { readonly kind: 'not-kept'; readonly error: unknown }
  /** A receipt could not be written: the key does not sign just now. */
  | { readonly kind: 'not-said'; readonly to: Contact; readonly error: unknown }
  /** A message came again, and was dropped. */
  | { readonly kind: 'duplicate'; readonly relay: string; readonly from: SshKey; readonly id: string }

export type MessengerErrorCode =
  /** Too many messages, or too large ones, are unconfirmed. */
  | 'outbox-full'
  | 'closed'
  /** The contact has no relay. */
  | 'no-relay'
  /** What was kept of the messages that came is not what this wrote. It is left as it is. */
  | 'broken-store'

export class MessengerError extends CodedError<MessengerErrorCode> {
  constructor(code: MessengerErrorCode) {
    super('MessengerError', code)
  }
}

const DEADLINE_SECONDS = 7 * 86_400
/** A receiver takes no message that is older than 14 days. */
const MOST_DEADLINE_SECONDS = 13 * 86_400
/** Receipts are tried so long: who misses them asks again. */
const RECEIPT_MS = 3_600_000
/** Events that a slow reader can be behind. */
const EVENTS = 4_096

/** @throws {MessengerError} `no-relay` @throws {TypeError} for an address that is none */
function checkRelays({ relays }: Contact): void {
  if (relays.length === 0) throw new MessengerError('no-relay')
  for (const relay of relays) parseTarget(relay)
}

/**
 * Starts to receive at once.
 * @throws {TypeError} for an address that is none; the signal's reason if it is aborted
 */
export function openMessenger(options: MessengerOptions): Messenger {
  return new Messenger(options)
}

/** Made by {@link openMessenger}. */
export class Messenger {
  readonly #options: MessengerOptions
  readonly #clock: Clock
  readonly #random: () => number
  #seen = new Seen()
  #reread: Promise<void> | undefined
  readonly #outbox: Outbox
  readonly #receipts = new Receipts()
  readonly #reception: Reception = new Reception((opened, from) => this.#onDone(opened, from))
  readonly #outgoing = new Map<string, Outgoing>()
  readonly #incoming = new Map<string, Incoming>()
  readonly #deliveries = new Deliveries()
  /** The last message to each contact, which the next one comes after; and the writing of it. */
  readonly #writing = new Map<string, { last: string | undefined; tail: Promise<void> }>()
  readonly #transfers: Transfers
  /** Of what is sent for something larger: who is told what becomes of it. */
  readonly #watchers = new Map<string, (state: DeliveryState, error: unknown) => void>()
  readonly #listeners = new Set<Channel<MessengerEvent>>()
  readonly #quiet = new Set<() => void>()
  /** Resolves when what was kept is read. Until then nothing is sent or received, and never if it rejects. */
  readonly ready: Promise<void>
  #busy = 0
  #cancelTimer: (() => void) | undefined
  #timerAt = Number.POSITIVE_INFINITY
  #closed = false
  #dirty = false
  #saving: Promise<void> | undefined

  /** @internal use {@link openMessenger} */
  constructor(options: MessengerOptions) {
    this.#options = options
    this.#clock = options.clock ?? systemClock
    this.#random = options.random ?? Math.random
    this.#outbox = new Outbox((to) => options.contacts.find(to)?.relays)
    this.#transfers = new Transfers(
      {
        now: () => this.#clock.now(),
        random: this.#random,
        post: (...args) => this.#post(...args),
        remove: (id) => {
          this.#outbox.remove(id)
          this.#watchers.delete(id)
        },
        emit: (event) => this.#emit(event),
        schedule: () => this.#schedule(),
      },
      options.files,
    )
    const { signal } = options
    signal?.throwIfAborted()
    for (const relay of options.relays) parseTarget(relay)
    signal?.addEventListener('abort', () => void this.close(), { once: true })
    this.ready = this.#load()
    this.ready.catch(() => {})
    for (const relay of new Set(options.relays)) this.#incoming.set(relay, this.#receiveFrom(relay))
  }

  /** Writes to somebody. It leaves after what was written to the same contact before. */
  send(to: Contact, content: Content, options: SendOptions = {}): Delivery {
    const delivery = this.#deliveries.add(makeId(), to, content)
    if (this.#closed) {
      this.#deliveries.change({ id: delivery.id, state: 'failed', error: new MessengerError('closed') })
      return delivery
    }
    const fingerprint = fingerprintOf(to.key)
    const writing = this.#writing.get(fingerprint) ?? { last: undefined, tail: Promise.resolve() }
    this.#writing.set(fingerprint, writing)
    const before = writing.tail
    writing.tail = this.#track(before.then(() => this.#write(delivery, content, writing, options)))
    return delivery
  }

  /**
   * Sends a file in parts, once its hash is known. The receiver says what it has, so that an attempt after an
   * interruption goes on where the former one ended.
   * @throws {TypeError} for one over 1 GiB, or one that becomes shorter; what `source` throws; the signal's reason
   */
  async sendFile(
    to: Contact,
    source: FileSource,
    { deadline = DEADLINE_SECONDS, signal }: Omit<SendOptions, 'group'> = {},
  ): Promise<FileDelivery> {
    if (this.#closed) throw new MessengerError('closed')
    checkRelays(to)
    await this.ready
    return this.#transfers.send(to, source, this.#clock.now() + Math.min(deadline, MOST_DEADLINE_SECONDS) * 1_000, signal)
  }

  /** What was sent, by this process or one before, and is not settled. */
  deliveries(): Delivery[] {
    return this.#deliveries.list()
  }

  /**
   * Messages as they come, each sender's in order. What is taken from here is acknowledged when its `done` is called. Two
   * loops share what comes.
   */
  received(): AsyncIterable<Received> {
    return this.#reception.received
  }

  /**
   * Resolves when what waited at one's own relays was given: for who looks once and leaves. What was held back for a
   * message before it is given then as well, and a relay that was not reached is not waited for.
   * @returns the relays of which not all came, with why
   */
  async fetched(): Promise<ReadonlyMap<string, unknown>> {
    const fetched = await Promise.all([...this.#incoming].map(async ([relay, incoming]) => [relay, await incoming.fetched] as const))
    this.#reception.expire(Number.POSITIVE_INFINITY)
    return new Map(fetched.filter(([, error]) => error !== undefined))
  }

  /** What happens, from now on. A loop that is 4,096 events behind misses the oldest. */
  events(): AsyncIterable<MessengerEvent> {
    const channel: Channel<MessengerEvent> = new Channel(EVENTS, () => this.#listeners.delete(channel))
    if (this.#closed) channel.close()
    else this.#listeners.add(channel)
    return channel
  }

  /** Tells a contact that its messages were read, where that is switched on. */
  read(from: Contact, ids: readonly string[]): void {
    if (this.#options.receipts?.read !== true) return
    for (const id of ids) this.#receipt(from, id, 'read')
    this.#schedule()
  }

  /**
   * Resolves when nothing is under way: every message is with a relay or settled, receipts and acknowledgements are out,
   * and what is kept is kept. A relay that cannot be reached holds this up: bring a signal.
   * @throws the signal's reason
   */
  async flush({ signal }: { readonly signal?: AbortSignal } = {}): Promise<void> {
    for (;;) {
      signal?.throwIfAborted()
      this.#sendReceipts(true)
      this.#pump()
      if (this.#closed || this.#isQuiet()) return
      await new Promise<void>((resolve) => {
        const wake = (): void => {
          this.#quiet.delete(wake)
          signal?.removeEventListener('abort', wake)
          resolve()
        }
        this.#quiet.add(wake)
        signal?.addEventListener('abort', wake)
      })
    }
  }

  /** Ends everything at once. What is not done comes again, what is unconfirmed stays in the outbox's store. */
  async close(): Promise<void> {
    if (!this.#closed) {
      this.#closed = true
      this.#cancelTimer?.()
      for (const incoming of this.#incoming.values()) incoming.close()
      for (const outgoing of this.#outgoing.values()) outgoing.close()
      this.#reception.close()
      for (const listener of this.#listeners) listener.close()
      this.#deliveries.close()
      this.#transfers.close()
      for (const wake of this.#quiet) wake()
    }
    await this.#saving
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  // Sending

  async #load(): Promise<void> {
    await this.#loadSeen()
    const entries = (await this.#options.outbox?.load()) ?? []
    for (const entry of entries) {
      const contact = this.#options.contacts.find(entry.to)
      if (!this.#outbox.add(entry) || contact === undefined) continue
      this.#deliveries.add(entry.id, contact, undefined)
      if (entry.held.length > 0) this.#deliveries.change({ id: entry.id, state: 'held' })
    }
    this.#schedule()
  }

  async #loadSeen(): Promise<void> {
    const store = this.#options.seen
    const text = await store?.load()
    const seen = text === undefined ? new Seen() : Seen.decode(text, this.#clock.now() / 1_000)
    if (seen === undefined) throw new MessengerError('broken-store')
    this.#seen = seen
    // What is forgotten, and a line that was not written to its end, go now.
    const all = seen.encode()
    if (text === undefined || text.length !== all.length) await store?.replace(all)
  }

  /** Another program with the same store had the mailbox until now: what it was given, and did not get acknowledged, comes here. */
  async #rereadSeen(): Promise<void> {
    const now = this.#clock.now() / 1_000
    const text = await this.#options.seen?.load()
    const seen = text === undefined ? undefined : Seen.decode(text, now)
    if (seen !== undefined) this.#seen.merge(seen, now)
  }

  async #write(
    { id, to, settled }: Delivery,
    content: Content,
    writing: { last: string | undefined },
    { deadline, group, signal }: SendOptions,
  ): Promise<void> {
    const fingerprint = fingerprintOf(to.key)
    const ordered = content.type !== 'file' && content.type !== 'have'
    try {
      await this.ready
      const now = this.#clock.now()
      const after = ordered ? (writing.last ?? this.#outbox.last(fingerprint)) : undefined
      signal?.throwIfAborted()
      if (this.#closed) throw new MessengerError('closed')
      checkRelays(to)
      const payload = await encodeMessage(this.#options.identity, {
        to,
        id,
        time: Math.floor(now / 1_000),
        content,
        ...(after !== undefined && { after }),
        ...(group !== undefined && { group }),
      })
      const seconds = Math.min(deadline ?? DEADLINE_SECONDS, MOST_DEADLINE_SECONDS)
      const entry: OutboxEntry = {
        id,
        to: fingerprint,
        relays: to.relays,
        payload,
        time: now,
        deadline: now + seconds * 1_000,
        confirm: true,
        held: [],
      }
      if (!this.#outbox.add(entry)) throw new MessengerError('outbox-full')
      if (ordered) writing.last = id
      const takeBack = (): void => {
        if (!this.#outbox.remove(id)) return
        this.#change({ id, state: 'failed', error: signal?.reason })
      }
      if (signal?.aborted === true) takeBack()
      signal?.addEventListener('abort', takeBack, { once: true })
      // Who has one signal for all that it sends has not to carry all that it sent.
      void settled.then(() => signal?.removeEventListener('abort', takeBack))
      this.#save()
      this.#schedule()
    } catch (error) {
      this.#change({ id, state: 'failed', error })
    }
  }

  /** Does what is due, and comes back when more is. */
  #pump(): void {
    if (this.#closed) return
    const now = this.#clock.now()
    this.#sendReceipts(false)
    this.#apply(this.#outbox.expire(now))
    this.#reception.expire(now)
    this.#transfers.pump()
    for (const task of this.#outbox.take(now)) {
      const outgoing = this.#outgoing.get(task.relay) ?? this.#sendTo(task.relay)
      this.#outgoing.set(task.relay, outgoing)
      if (task.kind === 'send') outgoing.send(task.id, task.to, task.payload)
      else outgoing.look()
    }
    const due = Math.min(this.#outbox.due(now), this.#reception.due(), this.#receipts.due(), this.#transfers.due())
    this.#timerAt = Number.POSITIVE_INFINITY
    this.#cancelTimer?.()
    this.#cancelTimer = undefined
    if (due < Number.POSITIVE_INFINITY) this.#wakeAt(due)
    for (const wake of this.#quiet) if (this.#isQuiet()) wake()
  }

  /** Has `#pump` called soon: once, for all that happens until then. */
  #schedule(): void {
    this.#wakeAt(0)
  }

  #wakeAt(time: number): void {
    if (this.#closed || time >= this.#timerAt) return
    this.#timerAt = time
    this.#cancelTimer?.()
    this.#cancelTimer = this.#clock.after(Math.max(0, time - this.#clock.now()), () => this.#pump())
  }

  #sendTo(relay: string): Outgoing {
    const outbox = this.#outbox
    const told =
      <T extends unknown[]>(work: (now: number, ...args: T) => OutboxChange[] | OutboxChange | undefined | void) =>
      (...args: T): void => {
        const changes = work(this.#clock.now(), ...args)
        this.#apply(Array.isArray(changes) ? changes : changes ? [changes] : [])
        this.#schedule()
      }
    return new Outgoing({
      clock: this.#clock,
      connect: (options) => this.#connect(relay, options),
      onState: (state, error) => {
        if (state === 'up') {
          outbox.onUp(relay)
          this.#schedule()
        }
        this.#emit({ kind: 'relay', relay, purpose: 'send', state, ...(error !== undefined && { error }) })
      },
      onSent: told((now, id: string, seconds: number) => outbox.onSent(id, relay, seconds, now)),
      onRefused: told((now, id: string, code, seconds: number | undefined) =>
        outbox.onRefused(id, relay, code, seconds, this.#random(), now),
      ),
      onLost: told((now, code, seconds: number | undefined) => outbox.onLost(relay, code, seconds, this.#random(), now)),
      onForgot: (certain) => this.#onForgot(relay, certain),
      onIdle: told((now) => outbox.onIdle(relay, this.#random(), now)),
    })
  }

  #onForgot(relay: string, certain: boolean): void {
    this.#outbox.onForgot(relay)
    if (this.#incoming.has(relay)) this.#outbox.onReceiptsLost(this.#random(), this.#clock.now())
    if (certain) this.#emit({ kind: 'forgotten', relay })
    this.#schedule()
  }

  #connect(relay: string, more: Pick<ConnectOptions, 'token' | 'login' | 'isolation'>): ReturnType<typeof connectRelay> {
    const { identity, socks, sign, timeout, connectTimeout, signal, connect = connectRelay } = this.#options
    return connect({
      relay,
      identity,
      onMoved: (name) => this.#emit({ kind: 'moved', relay, name }),
      ...more,
      ...(socks !== undefined && { socks }),
      ...(sign !== undefined && { sign }),
      ...(timeout !== undefined && { timeout }),
      ...(connectTimeout !== undefined && { connectTimeout }),
      ...(signal !== undefined && { signal }),
    })
  }

  #apply(changes: readonly OutboxChange[]): void {
    for (const { id, state, relay, code } of changes)
      this.#change({ id, state, relay, error: code === undefined ? undefined : new RelayError(code) })
    if (changes.length > 0) this.#save()
  }

  #change(change: DeliveryChange): void {
    const { id, state, error } = change
    const watcher = this.#watchers.get(id)
    if (watcher !== undefined) {
      if (state !== 'waiting' && state !== 'held') this.#watchers.delete(id)
      return watcher(state, error)
    }
    const delivery = this.#deliveries.change(change)
    if (delivery !== undefined) this.#emit({ kind: 'delivery', delivery })
  }

  #save(): void {
    const store = this.#options.outbox
    if (store === undefined) return
    this.#dirty = true
    this.#saving ??= (async () => {
      while (this.#dirty) {
        this.#dirty = false
        await store.save(this.#outbox.entries())
      }
    })()
      .catch((error: unknown) => this.#emit({ kind: 'not-kept', error }))
      .finally(() => {
        this.#saving = undefined
        this.#schedule()
      })
  }

  // Receipts

  #receipt(to: Contact, id: string, state: ReceiptState, hurry = false): void {
    if (to.receipts !== false) this.#receipts.add(fingerprintOf(to.key), id, state, this.#clock.now(), hurry)
  }

  #sendReceipts(all: boolean): void {
    const now = this.#clock.now()
    for (const { to, state, ids } of this.#receipts.take(now, all)) {
      const contact = this.#options.contacts.find(to)
      if (contact !== undefined && contact.relays.length > 0) this.#post(contact, { type: 'receipt', state, ids }, now + RECEIPT_MS)
    }
  }

  /** Writes what is no message of its own: nothing comes after it, it is not kept, and confirmed only if somebody is told. */
  #post(to: Contact, content: Content, deadline: number, onChange?: (state: DeliveryState, error: unknown) => void): string {
    const id = makeId()
    if (onChange !== undefined) this.#watchers.set(id, onChange)
    void this.#track(
      (async () => {
        const now = this.#clock.now()
        try {
          const payload = await encodeMessage(this.#options.identity, { to, id, time: Math.floor(now / 1_000), content })
          // It may have been taken back.
          if (onChange !== undefined && !this.#watchers.has(id)) return
          const entry = {
            id,
            to: fingerprintOf(to.key),
            relays: to.relays,
            payload,
            time: now,
            deadline,
            confirm: onChange !== undefined,
            keep: false,
            held: [],
          } as const
          if (!this.#outbox.add(entry)) throw new MessengerError('outbox-full')
        } catch (error) {
          // The key cannot sign just now. Whoever misses what it would have said asks again.
          if (onChange === undefined) this.#emit({ kind: 'not-said', to, error })
          else this.#change({ id, state: 'failed', error })
        }
      })(),
    )
    return id
  }

  // Receiving

  #receiveFrom(relay: string): Incoming {
    const incoming: Incoming = new Incoming({
      clock: this.#clock,
      random: this.#random,
      connect: async (options) => {
        await this.ready
        return this.#connect(relay, options)
      },
      onState: (state, more) => {
        if (state === 'up') {
          // A store that cannot be read just now is no reason to do without what comes.
          this.#reread = this.#rereadSeen().catch(() => {})
          this.#outbox.onReached(relay)
          this.#schedule()
        }
        this.#emit({ kind: 'relay', relay, purpose: 'receive', state, ...more })
      },
      onMessage: (message) => this.#onMessage(incoming, relay, message),
      onAcked: () => {
        if (this.#quiet.size > 0) this.#schedule()
      },
      onTakenOver: () => this.#emit({ kind: 'taken-over', relay }),
      onForgot: (certain) => this.#onForgot(relay, certain),
    })
    return incoming
  }

  async #onMessage(incoming: Incoming, relay: string, message: Message): Promise<void> {
    await this.#reread
    const opened = await openMessage(this.#options.identity, message.payload, { now: this.#clock.now() / 1_000, seen: this.#seen })
    if (this.#closed) return
    const copy: Copy = { incoming, relay, id: message.id }
    switch (opened.verdict) {
      case 'replayed':
        this.#onDuplicate(relay, opened.envelope)
        incoming.ack(message.id)
        return
      case 'genuine':
      case 'future':
      case 'stale':
        this.#onGenuine(copy, opened)
        break
      case 'unreadable':
      case 'unsigned':
      case 'unknown-version':
      case 'truncated':
      case 'malformed':
      case 'forged':
      case 'readdressed':
        this.#reception.give(copy, opened)
    }
    await this.#reception.room()
  }

  #onDuplicate(relay: string, { from, id }: Envelope): void {
    // Its sender does not know yet that it came.
    const contact = this.#find(from)
    if (contact !== undefined && this.#options.receipts?.delivered !== false) this.#receipt(contact, id, 'delivered')
    this.#emit({ kind: 'duplicate', relay, from, id })
    this.#schedule()
  }

  #onGenuine(copy: Copy, opened: Signed): void {
    const { from, id, after, content } = opened.envelope
    const fingerprint = fingerprintOf(from)
    const contact = this.#find(from)
    if (content.type === 'receipt') {
      this.#apply(this.#outbox.onReceipt(fingerprint, content.ids, content.state))
      copy.incoming.ack(copy.id)
      this.#schedule()
      return
    }
    if (content.type === 'have') {
      // One that came again later would have a file sent again. Of others nothing is kept: anybody can send them.
      if (this.#transfers.onHave(fingerprint, content.file, content.parts))
        void this.#remember(opened.envelope).catch((error: unknown) => this.#emit({ kind: 'not-kept', error }))
      copy.incoming.ack(copy.id)
      return
    }
    if (content.type === 'file' && contact !== undefined && this.#options.files !== undefined) {
      // Not waited for: whether a file is wanted may be asked of a person.
      void this.#transfers.onPart(contact, content).then(() => {
        this.#receipt(contact, id, 'delivered', true)
        copy.incoming.ack(copy.id)
        this.#schedule()
      })
      return
    }
    const known = after !== undefined && this.#seen.has(from, after)
    if (!this.#reception.take(copy, opened, contact, this.#clock.now(), known))
      this.#emit({ kind: 'duplicate', relay: copy.relay, from, id })
    this.#schedule()
  }

  async #onDone(opened: Given, from: Contact | undefined): Promise<void> {
    if ('envelope' in opened && opened.verdict !== 'forged' && opened.verdict !== 'readdressed') {
      const { envelope } = opened
      await this.#remember(envelope)
      if (from !== undefined && this.#options.receipts?.delivered !== false) this.#receipt(from, envelope.id, 'delivered')
    }
    this.#schedule()
  }

  async #remember(envelope: Envelope): Promise<void> {
    const line = this.#seen.add(envelope, this.#clock.now() / 1_000)
    await this.#options.seen?.append(line)
  }

  #find(key: SshKey): Contact | undefined {
    return this.#options.contacts.find(fingerprintOf(key))
  }

  // All

  #emit(event: MessengerEvent): void {
    for (const listener of this.#listeners) listener.push(event)
  }

  async #track(work: Promise<void>): Promise<void> {
    this.#busy++
    try {
      await work
    } finally {
      this.#busy--
      this.#schedule()
    }
  }

  #isQuiet(): boolean {
    const acking = [...this.#incoming.values()].some(({ busy }) => busy)
    return (
      this.#busy === 0 &&
      !this.#transfers.isWriting &&
      !this.#outbox.busy &&
      this.#receipts.size === 0 &&
      !acking &&
      this.#saving === undefined
    )
  }
}
