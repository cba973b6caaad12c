/**
 * Two-way messaging over relays that may fail, forget or lie. `connectRelay` is one connection; a messenger serves a
 * user. It sends through the receivers' relays and receives from the user's own. It repeats a message until the
 * receiver confirms it, for as long as the process lives, or longer with an outbox store. It delivers each message to
 * the program once, and each sender's messages in order. It reports a message as delivered only if the receiver said
 * so.
 *
 * This file is the public surface and the timer. sending.ts and receiving.ts drive the machines of ../delivery and the
 * connections. A messenger writes nothing to disk itself and logs nothing.
 */
import { parseTarget } from '../../transport/address.ts'
import { isOver } from '../delivery/backoff.ts'
import type { FileSource } from '../delivery/file.ts'
import type { Content } from '../format/content.ts'
import { fingerprintOf } from '../format/field.ts'
import { createDialler } from './dialler.ts'
import { createProtection } from './protection.ts'
import { Channel } from './channel.ts'
import { systemClock } from './clock.ts'
import type { Contact } from './contact.ts'
import type { Context } from './context.ts'
import type { Delivery } from './delivery.ts'
import { MessengerError } from './error.ts'
import type { MessengerEvent } from './event.ts'
import type { Received } from './inbox.ts'
import { IncomingFiles } from './incoming-files.ts'
import type { MessengerOptions, SendOptions } from './options.ts'
import { OutgoingFiles } from './outgoing-files.ts'
import { Receiving } from './receiving.ts'
import { checkRelays, deadlineOf } from './drafting.ts'
import { tick } from './secrets.ts'
import { Sending } from './sending.ts'
import type { MessengerPort } from './port.ts'
import type { FileDelivery, TransferPort } from './transfers.ts'

/** Events to keep for a slow reader. */
const EVENTS = 4_096
/** The pause after a store of rings failed, ms. */
const AGAIN_MS = 60_000

/**
 * Opens a messenger, which starts to receive at once.
 * @throws {TypeError} if an address is malformed
 * @throws the signal's reason if it is aborted
 */
export function openMessenger(options: MessengerOptions): Messenger {
  return new Messenger(options)
}

/** Sends and receives messages for a user. Made by {@link openMessenger}. */
export class Messenger implements MessengerPort {
  readonly #context: Context
  readonly #sending: Sending
  readonly #receiving: Receiving
  readonly #outgoingFiles: OutgoingFiles
  readonly #incomingFiles: IncomingFiles
  readonly #listeners = new Set<Channel<MessengerEvent>>()
  /** Wakes each call of `flush`. */
  readonly #quiet = new Set<() => void>()
  /** Resolves once the stores are loaded; nothing is sent or received before. If it rejects, nothing ever is. */
  readonly ready: Promise<void>
  #busy = 0
  #cancelTimer: (() => void) | undefined
  #timerAt = Number.POSITIVE_INFINITY
  #closed = false
  #isTicking = false
  /** After a failure of the store: when to look at the rings again. */
  #ringsAgain = 0

  /** @internal use {@link openMessenger} */
  constructor(options: MessengerOptions) {
    const { clock = systemClock, random = Math.random, files, relays, signal } = options
    const emit = (event: MessengerEvent): void => this.#emit(event)
    const schedule = (): void => this.#schedule()
    this.#context = {
      options,
      clock,
      random,
      emit,
      schedule,
      ready: () => this.ready,
      isClosed: () => this.#closed,
      track: (work) => this.#track(work),
      ...createDialler(options, {
        onMoved: (relay, name) => emit({ kind: 'moved', relay, name }),
        onRun: (relay, run) => this.#onRun(relay, run),
      }),
      ...createProtection(options, clock, () => this.#receiving.onAddresses()),
      onAcked: () => {
        if (this.#quiet.size > 0) this.#schedule()
      },
    }
    const sending = new Sending(this.#context)
    this.#sending = sending
    const port: TransferPort = {
      now: () => clock.now(),
      random,
      post: (...args) => sending.post(...args),
      withdraw: (id) => sending.withdraw(id),
      emit,
      schedule,
    }
    this.#outgoingFiles = new OutgoingFiles(port)
    this.#incomingFiles = new IncomingFiles(port, files)
    this.#receiving = new Receiving(this.#context, sending, this.#outgoingFiles, this.#incomingFiles)
    signal?.throwIfAborted()
    for (const relay of relays) parseTarget(relay)
    signal?.addEventListener('abort', () => void this.close(), { once: true })
    this.ready = this.#load()
    this.ready.catch(() => {})
    this.#receiving.start()
  }

  /** Sends a message to a contact, after all earlier ones to the same contact. */
  send(to: Contact, content: Content, options: SendOptions = {}): Delivery {
    return this.#sending.send(to, content, options)
  }

  /**
   * Sends a file in parts. Resolves once the file's hash is computed and sending begins. The receiver reports which
   * parts it has, so a later attempt continues an interrupted one.
   * @throws {TypeError} if the file exceeds 1 GiB or becomes shorter
   * @throws errors of `source`; the signal's reason
   */
  async sendFile(to: Contact, source: FileSource, { deadline, signal }: Omit<SendOptions, 'group' | 'id'> = {}): Promise<FileDelivery> {
    if (this.#closed) throw new MessengerError('closed')
    checkRelays(to)
    await this.ready
    return this.#outgoingFiles.send(to, source, deadlineOf(this.#context.clock.now(), deadline), signal)
  }

  /** Returns the unsettled messages of this run and of earlier ones. */
  deliveries(): Delivery[] {
    return this.#sending.deliveries()
  }

  /**
   * Yields messages as they arrive, each sender's in order. A message is acknowledged when the program calls its
   * `done`. If several loops run, each message goes to one of them.
   */
  received(): AsyncIterable<Received> {
    return this.#receiving.received
  }

  /**
   * Resolves once the messages that waited at the user's relays are in {@link received}, for programs that look once
   * and exit. Also releases messages that were held back for an earlier one. Does not wait for relays that cannot be
   * reached.
   * @returns the relays that did not deliver all waiting messages, with the errors
   */
  fetched(): Promise<ReadonlyMap<string, unknown>> {
    return this.#receiving.fetched()
  }

  /**
   * Starts to receive from a relay of the user, or tries again at once: after a failure, or after another program has
   * taken the mailbox over.
   * @throws {TypeError} if the address is malformed
   */
  receiveFrom(relay: string): void {
    parseTarget(relay)
    if (!this.#closed) this.#receiving.add(relay)
  }

  /** Stops to receive from a relay. Messages without `done` stay there. */
  leaveRelay(relay: string): void {
    this.#receiving.remove(relay)
  }

  /** Yields events from now on. A loop that falls 4,096 events behind misses the oldest ones. */
  events(): AsyncIterable<MessengerEvent> {
    const channel: Channel<MessengerEvent> = new Channel(EVENTS, () => this.#listeners.delete(channel))
    if (this.#closed) channel.close()
    else this.#listeners.add(channel)
    return channel
  }

  /** Sends `read` receipts for messages of a contact, if the options allow them. */
  read(from: Contact, ids: readonly string[]): void {
    if (this.#context.options.receipts?.read !== true) return
    for (const id of ids) this.#sending.addReceipt(from, id, 'read')
    this.#schedule()
  }

  /** The user says that an unproven beginning of a contact is the contact's. @returns whether there was one */
  async accept(from: Contact): Promise<boolean> {
    await this.ready
    return this.#receiving.accept(from)
  }

  /** The contact gets a new address with the next message. The old one is read for 22 days more. */
  async renewAddress(contact: Contact): Promise<void> {
    await this.ready
    return this.#receiving.renewAddress(contact)
  }

  /**
   * The user has removed the contact: gives up the addresses that the contact writes to, erases the one-time keys, and
   * withdraws what is not confirmed.
   */
  async forget(contact: Contact): Promise<void> {
    await this.ready
    this.#sending.forget(fingerprintOf(contact.key))
    return this.#receiving.forget(contact)
  }

  /** Sends `delivered` receipts for messages that are done, because their sender was no contact at the time. */
  confirm(from: Contact, ids: readonly string[]): void {
    if (this.#context.options.receipts?.delivered === false) return
    for (const id of ids) this.#sending.addReceipt(from, id, 'delivered')
    this.#schedule()
  }

  /**
   * Resolves once there is nothing to do: each message is settled or held by a relay, receipts and acknowledgements are
   * sent, and the stores are written. A relay that cannot be reached delays it without limit, so pass a signal.
   * @throws the signal's reason
   */
  async flush({ signal }: { readonly signal?: AbortSignal } = {}): Promise<void> {
    for (;;) {
      signal?.throwIfAborted()
      this.#sending.sendReceipts(true)
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

  /** Ends everything at once. Messages without `done` come again, and the outbox store keeps unconfirmed ones. */
  async close(): Promise<void> {
    if (!this.#closed) {
      this.#closed = true
      this.#cancelTimer?.()
      this.#receiving.close()
      this.#sending.close()
      for (const listener of this.#listeners) listener.close()
      this.#outgoingFiles.close()
      this.#incomingFiles.close()
      for (const wake of this.#quiet) wake()
    }
    await this.#sending.saved()
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  async #load(): Promise<void> {
    // A messenger that only sends does not need them.
    if (this.#context.options.relays.length > 0) await this.#receiving.load()
    const { vault, rings } = this.#context
    await vault?.load()
    // A messenger that only sends loads the rings of those to whom it sends. All others age when messages are received.
    if (this.#context.options.relays.length > 0) for (const { contact } of vault?.state.addresses ?? []) await rings!.load(contact)
    await this.#sending.load()
    this.#receiving.onAddresses()
    this.#schedule()
  }

  /** Does all due work, and sets the timer for the next time. */
  #pump(): void {
    if (this.#closed) return
    const now = this.#context.clock.now()
    this.#sending.sendReceipts(false)
    this.#sending.expire(now)
    this.#receiving.expire(now)
    this.#tickRings(now)
    this.#outgoingFiles.pump()
    this.#sending.pump(now, this.#receiving.isUp)
    const due = Math.min(this.#sending.due(now), this.#receiving.due(), this.#outgoingFiles.due(), this.#ringsDue(now))
    this.#timerAt = Number.POSITIVE_INFINITY
    this.#cancelTimer?.()
    this.#cancelTimer = undefined
    if (due < Number.POSITIVE_INFINITY) this.#wakeAt(due)
    for (const wake of this.#quiet) if (this.#isQuiet()) wake()
  }

  /** Lets one-time keys age, and sends reports that are due. */
  #tickRings(now: number): void {
    const { rings, vault, sealer } = this.#context
    if (rings === undefined || now < this.#ringsDue(now)) return
    this.#isTicking = true
    const work = async (): Promise<void> => {
      await vault?.change((state) => tick(state, Math.floor(now / 1_000)))
      await sealer?.leave()
      await rings.tick(now)
      await this.#sending.renewals.report(now)
    }
    void this.#track(
      work()
        .catch((error: unknown) => {
          this.#ringsAgain = now + AGAIN_MS
          this.#emit({ kind: 'not-kept', error })
        })
        .finally(() => (this.#isTicking = false)),
    )
  }

  #ringsDue(now: number): number {
    const { rings } = this.#context
    if (rings === undefined || this.#isTicking) return Number.POSITIVE_INFINITY
    const due = Math.min(rings.due(now), rings.reportDue())
    return isOver(this.#ringsAgain, now, AGAIN_MS) ? due : Math.max(due, this.#ringsAgain)
  }

  /** Has `#pump` called soon, once for all calls until then. */
  #schedule(): void {
    this.#wakeAt(0)
  }

  #wakeAt(time: number): void {
    if (this.#closed || time >= this.#timerAt) return
    const { clock } = this.#context
    this.#timerAt = time
    this.#cancelTimer?.()
    this.#cancelTimer = clock.after(Math.max(0, time - clock.now()), () => this.#pump())
  }

  #onRun(relay: string, run: string): void {
    if (!this.#sending.onRun(relay, run, this.#receiving.uses(relay))) return
    this.#emit({ kind: 'forgotten', relay })
    this.#schedule()
  }

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
    return this.#busy === 0 && !this.#incomingFiles.isWriting && this.#sending.isQuiet && !this.#receiving.isAcking
  }
}
