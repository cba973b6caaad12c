/**
 * The sending half of a messenger: writes messages and receipts, drives the outbox, and connects to the receivers'
 * relays. The rules are in delivery/outbox.ts and delivery/receipts.ts, the connections in outgoing.ts.
 */
import { type DeliveryState, mailboxOf, type OutboxChange, type OutboxEntry, type OutboxTask, relayOf } from '../delivery/entry.ts'
import { Outbox } from '../delivery/outbox.ts'
import { Receipts, type ReceiptState } from '../delivery/receipts.ts'
import { type Content, isChained } from '../format/content.ts'
import { fingerprintOf, makeId } from '../format/field.ts'
import { RelayError } from '../wire/error.ts'
import type { Contact } from './contact.ts'
import type { Context } from './context.ts'
import { checkRelays, deadlineOf, introduces, leaveAt, storedOf, write } from './drafting.ts'
import { Deliveries, type Delivery, type DeliveryChange } from './delivery.ts'
import { MessengerError } from './error.ts'
import type { SendOptions } from './options.ts'
import type { Sealed } from './sealer.ts'
import { Outgoing } from './outgoing.ts'
import { Renewals } from './renewals.ts'
import { Routes } from './routes.ts'

/** How long to try to send a receipt. If it is lost, the sender repeats its message and gets another one. */
const RECEIPT_MS = 3_600_000

/** Called when the state of a message changes that is part of something larger. */
export type Watcher = (state: DeliveryState, error: unknown) => void

export class Sending {
  readonly #context: Context
  readonly #outbox: Outbox
  readonly #receipts = new Receipts()
  readonly #routes = new Routes((route) => this.#sendTo(route))
  readonly #deliveries = new Deliveries()
  /** By receiver: the last message, which the next one names in `after`; and the writing, one after the other. */
  readonly #writing = new Map<string, { last: string | undefined; tail: Promise<void> }>()
  /** By id of a message that is part of something larger. */
  readonly #watchers = new Map<string, Watcher>()
  readonly renewals: Renewals
  #dirty = false
  #saving: Promise<void> | undefined

  constructor(context: Context) {
    this.#context = context
    this.#outbox = new Outbox(
      (to, daily) => {
        const contact = context.options.contacts.find(to)
        return contact && this.#routesOf(contact, daily)
      },
      () => context.options.secrecy !== undefined && context.options.secrecy.copies !== 1,
    )
    this.renewals = new Renewals(context, this.#outbox, {
      protect: (...args) => this.#protect(...args),
      save: () => this.#save(),
      post: (...args) => this.post(...args),
    })
  }

  /** Takes over the messages that an earlier run left in the store. */
  async load(): Promise<void> {
    const { outbox, contacts } = this.#context.options
    for (const entry of (await outbox?.load()) ?? []) {
      const contact = contacts.find(entry.to)
      // The ring tells where the message goes.
      if (contact !== undefined) await this.#context.rings?.load(entry.to)
      if (!this.#outbox.add(entry) || contact === undefined) continue
      this.#deliveries.add(entry.id, contact, undefined)
      if (entry.held.length > 0) this.#deliveries.change({ id: entry.id, state: 'held' })
    }
    this.#outbox.onStart(this.#context.clock.now())
  }

  send(to: Contact, content: Content, options: SendOptions): Delivery {
    const known = options.id === undefined ? undefined : this.#deliveries.find(options.id)
    if (known !== undefined) return known
    const delivery = this.#deliveries.add(options.id ?? makeId(), to, content)
    if (this.#context.isClosed()) {
      this.#deliveries.change({ id: delivery.id, state: 'failed', error: new MessengerError('closed') })
      return delivery
    }
    const fingerprint = fingerprintOf(to.key)
    const writing = this.#writing.get(fingerprint) ?? { last: undefined, tail: Promise.resolve() }
    this.#writing.set(fingerprint, writing)
    const before = writing.tail
    writing.tail = this.#context.track(before.then(() => this.#write(delivery, content, writing, options)))
    return delivery
  }

  deliveries(): Delivery[] {
    return this.#deliveries.list()
  }

  async #write(
    { id, to, settled }: Delivery,
    content: Content,
    writing: { last: string | undefined },
    { deadline, expires, group, hurry, signal, spread, toKey }: SendOptions,
  ): Promise<void> {
    const { options, clock, ready, isClosed, schedule } = this.#context
    const fingerprint = fingerprintOf(to.key)
    const ordered = isChained(content)
    try {
      await ready()
      const now = clock.now()
      const after = ordered ? (writing.last ?? this.#outbox.last(fingerprint)) : undefined
      signal?.throwIfAborted()
      if (isClosed()) throw new MessengerError('closed')
      checkRelays(to)
      const sealed = await write(
        this.#context,
        to,
        introduces(content, group) ? options.introducer?.cardFor(to, (await this.#context.sealer?.mayLackInbox(to)) === true) : undefined,
        {
          id,
          time: Math.floor(now / 1_000),
          content,
          ...(after !== undefined && { after }),
          ...(group !== undefined && { group }),
          ...(expires !== undefined && { expires }),
        },
        toKey === true ? 'key' : undefined,
      )
      this.#protect(to, id, sealed)
      const stored = { ...storedOf(sealed, this.#routesOf(to, sealed.daily)), id, to: fingerprint, time: now, held: [] }
      const entry: OutboxEntry = { ...stored, deadline: deadlineOf(now, deadline), confirm: true }
      if (!this.#outbox.add(entry, leaveAt(this.#context, now, spread))) throw new MessengerError('outbox-full')
      if (ordered) writing.last = id
      if (hurry === true) this.#apply(this.#outbox.hurry(id, now))
      const withdraw = (): void => {
        if (!this.#outbox.remove(id)) return
        this.#change({ id, state: 'failed', error: signal?.reason })
      }
      if (signal?.aborted === true) withdraw()
      signal?.addEventListener('abort', withdraw, { once: true })
      // A signal that is shared by many messages must not collect their listeners.
      void settled.then(() => signal?.removeEventListener('abort', withdraw))
      this.#save()
      schedule()
    } catch (error) {
      this.#change({ id, state: 'failed', error })
    }
  }

  /**
   * Writes a receipt, or a part of something larger. No later message refers to it, and no store keeps it.
   * @param deadline ms since 1970
   * @param onChange called when the message's state changes; without it, the message needs no receipt
   * @param way `daily`: to the bundle in any case
   * @returns the id of the message
   */
  post(to: Contact, content: Content, deadline: number, onChange?: Watcher, way?: 'daily'): string {
    const { clock, emit, track } = this.#context
    const id = makeId()
    if (onChange !== undefined) this.#watchers.set(id, onChange)
    void track(
      (async () => {
        const now = clock.now()
        try {
          const sealed = await write(this.#context, to, undefined, { id, time: Math.floor(now / 1_000), content }, way)
          // It may have been withdrawn meanwhile.
          if (onChange !== undefined && !this.#watchers.has(id)) return
          const entry = {
            id,
            to: fingerprintOf(to.key),
            ...storedOf(sealed, this.#routesOf(to, sealed.daily)),
            time: now,
            deadline,
            confirm: onChange !== undefined,
            keep: false,
            held: [],
          } as const
          if (!this.#outbox.add(entry)) throw new MessengerError('outbox-full')
        } catch (error) {
          // The key may not be able to sign just now. A sender that misses its receipt repeats its message.
          if (onChange === undefined) emit({ kind: 'not-said', to, error })
          else this.#change({ id, state: 'failed', error })
        }
      })(),
    )
    return id
  }

  /** Withdraws a message of {@link post}. */
  withdraw(id: string): void {
    this.#outbox.remove(id)
    this.#watchers.delete(id)
  }

  /** Adds a receipt for a contact's message. @param hurry the sender waits for it before it sends more */
  addReceipt(to: Contact, id: string, state: ReceiptState, hurry = false): void {
    const { clock, random } = this.#context
    if (to.receipts !== false) this.#receipts.add(fingerprintOf(to.key), id, state, clock.now(), random(), hurry)
  }

  /** Sends the receipts that are due; with `all`, every one. */
  sendReceipts(all: boolean): void {
    const now = this.#context.clock.now()
    for (const { to, state, ids } of this.#receipts.take(now, all)) {
      const contact = this.#context.options.contacts.find(to)
      if (contact !== undefined && contact.relays.length > 0) this.post(contact, { type: 'receipt', state, ids }, now + RECEIPT_MS)
    }
  }

  /** The user has removed the contact: withdraws everything that is on its way there. */
  forget(contact: string): void {
    const error = new MessengerError('removed')
    for (const { id } of this.#outbox.listTo(contact)) if (this.#outbox.remove(id)) this.#change({ id, state: 'failed', error })
    this.#receipts.forget(contact)
    this.#writing.delete(contact)
    this.#save()
  }

  /** Gives up messages whose deadline has passed. */
  expire(now: number): void {
    this.#apply(this.#outbox.expire(now))
  }

  /** Hands the messages that are due to the connections. @param isOnline whether a relay of the user can be reached */
  pump(now: number, isOnline: boolean): void {
    this.renewals.fallBack(now, isOnline)
    for (const task of this.#outbox.take(now)) {
      if (task.kind === 'look') this.#routes.on(task.relay).look()
      else if (this.renewals.isGivenUp(task)) void this.#context.track(this.#giveUp(task))
      else this.#sendOn(task)
    }
    this.#routes.sweep(() => this.#outbox.used())
  }

  #sendOn({ relay, id, to, payload }: Extract<OutboxTask, { kind: 'send' }>): void {
    this.#routes.on(relay).send(id, mailboxOf(relay) ?? to, payload)
  }

  /** Encrypts the message anew, to the bundle; if that is not possible now, it goes out as it is. */
  async #giveUp(task: Extract<OutboxTask, { kind: 'send' }>): Promise<void> {
    if (!(await this.renewals.renew(task.id, 'daily')) && !this.#context.isClosed()) this.#sendOn(task)
  }

  #protect(to: Contact, id: string, { protection, daily }: Pick<Sealed, 'protection' | 'daily'>): void {
    this.#deliveries.protect(id, protection, [...new Set(this.#routesOf(to, daily).map(relayOf))])
  }

  #routesOf(to: Contact, daily: boolean): readonly string[] {
    return this.#context.sealer?.routesOf(to, daily) ?? to.relays
  }

  /** Returns when to call `sendReceipts`, `expire` and `pump` next. */
  due(now: number): number {
    return Math.min(this.#outbox.due(now), this.#receipts.due())
  }

  /** Whether every message is settled or held by a relay, every receipt is sent, and the store is up to date. */
  get isQuiet(): boolean {
    return !this.#outbox.busy && this.#receipts.size === 0 && this.#saving === undefined
  }

  /** A contact confirmed messages. @param from the contact's fingerprint */
  onReceipt(from: string, ids: readonly string[], state: ReceiptState): void {
    this.#apply(this.#outbox.onReceipt(from, ids, state))
  }

  /** A relay that the user receives from can be reached. */
  onReached(relay: string): void {
    this.#outbox.onReached(relay, this.#context.clock.now())
  }

  /** A relay named its run. @param isOwn whether the user receives from it @returns whether it lost its messages */
  onRun(relay: string, run: string, isOwn: boolean): boolean {
    const { clock, random } = this.#context
    return this.#outbox.onRun(relay, run, isOwn ? random() : undefined, clock.now())
  }

  close(): void {
    this.#routes.close()
    this.#deliveries.close()
  }

  /** Resolves once the store is up to date. */
  async saved(): Promise<void> {
    await this.#saving
  }

  #sendTo(relay: string): Outgoing {
    const { clock, random, connectCourier, emit, schedule } = this.#context
    const outbox = this.#outbox
    const applied =
      <T extends unknown[]>(work: (now: number, ...args: T) => OutboxChange[] | OutboxChange | undefined | void) =>
      (...args: T): void => {
        this.#apply([work(clock.now(), ...args) ?? []].flat())
        schedule()
      }
    return new Outgoing({
      clock,
      connect: (options) => connectCourier(relay, options),
      seal: (id, fetch) => this.renewals.sealLate(id, (inbox) => fetch(mailboxOf(relay) ?? outbox.find(id)?.to ?? inbox)),
      onState: (state, error) => {
        if (state === 'up') {
          outbox.onUp(relay, clock.now())
          schedule()
        }
        emit({ kind: 'relay', relay: relayOf(relay), purpose: 'send', state, ...(error !== undefined && { error }) })
      },
      onSent: applied((now, id: string, seconds: number) => {
        const change = outbox.onSent(id, relay, seconds, now)
        // The store learns of a further copy, too.
        if (change === undefined && this.#deliveries.find(id) !== undefined) this.#save()
        return change
      }),
      onRefused: applied((now, id: string, code, seconds: number | undefined) => outbox.onRefused(id, relay, code, seconds, random(), now)),
      onLost: applied((now, code, seconds: number | undefined) => outbox.onLost(relay, code, seconds, random(), now)),
      onIdle: applied((now) => outbox.onIdle(relay, random(), now)),
    })
  }

  #apply(changes: readonly OutboxChange[]): void {
    for (const { id, state, relay: route, code, seconds } of changes)
      this.#change({ id, state, relay: route && relayOf(route), error: code && new RelayError(code, { seconds }) })
    // A message that waits on, as it did before a relay failed, is stored already.
    if (changes.some(({ state, code }) => code === undefined || state === 'failed')) this.#save()
  }

  #change(change: DeliveryChange): void {
    const { id, state, error } = change
    const watcher = this.#watchers.get(id)
    if (watcher !== undefined) {
      if (state !== 'waiting' && state !== 'held') this.#watchers.delete(id)
      return watcher(state, error)
    }
    const delivery = this.#deliveries.change(change)
    if (delivery !== undefined) this.#context.emit({ kind: 'delivery', delivery })
  }

  /** Saves the outbox, once for all changes during the previous save. */
  #save(): void {
    const { options, emit, schedule } = this.#context
    const store = options.outbox
    if (store === undefined) return
    this.#dirty = true
    this.#saving ??= (async () => {
      while (this.#dirty) {
        this.#dirty = false
        await store.save(this.#outbox.entries())
      }
    })()
      .catch((error: unknown) => emit({ kind: 'not-kept', error }))
      .finally(() => {
        this.#saving = undefined
        if (this.#dirty) this.#save()
        schedule()
      })
  }
}
