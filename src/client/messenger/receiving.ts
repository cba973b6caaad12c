/**
 * The receiving half of a messenger: subscribes at the user's relays, opens messages, and routes them: receipts to the
 * outbox, parts of files and their answers to the transfers, the rest to the inbox. The connections are in incoming.ts.
 */
import type { Message } from '../../protocol/answer.ts'
import type { SshKey } from '../../auth/ssh-key.ts'
import { fingerprintOf } from '../format/field.ts'
import type { Envelope } from '../format/message.ts'
import type { Contact } from './contact.ts'
import type { Context } from './context.ts'
import { ClockDoubt } from './doubt.ts'
import { type Copy, type Given, Inbox, type Received, type Signed, type Source, type Way } from './inbox.ts'
import { Connections } from './connections.ts'
import { type Origin, Reader } from './reader.ts'
import { SeenTags } from './seen-tags.ts'
import type { IncomingFiles } from './incoming-files.ts'
import type { OutgoingFiles } from './outgoing-files.ts'
import type { Sending } from './sending.ts'

export class Receiving {
  readonly #context: Context
  readonly #sending: Sending
  readonly #outgoingFiles: OutgoingFiles
  readonly #incomingFiles: IncomingFiles
  /** The user's relays, in order. */
  #relays: string[] = []
  readonly #connections: Connections
  readonly #reader: Reader
  readonly #inbox: Inbox = new Inbox((opened, from, copies) => this.#onDone(opened, from, copies))
  readonly #tags: SeenTags
  readonly #doubt = new ClockDoubt()
  #loaded: Promise<void> | undefined
  /** The latest reading of the tags in the store. */
  #reread: Promise<void> | undefined

  constructor(context: Context, sending: Sending, outgoingFiles: OutgoingFiles, incomingFiles: IncomingFiles) {
    this.#context = context
    this.#sending = sending
    this.#outgoingFiles = outgoingFiles
    this.#incomingFiles = incomingFiles
    this.#tags = new SeenTags(context)
    this.#reader = new Reader(context)
    this.#connections = new Connections(context, {
      load: () => this.load(),
      onUp: (relay) => {
        // If the store cannot be read now, messages are received nevertheless.
        this.#reread = this.#tags.reread().catch(() => {})
        sending.onReached(relay)
      },
      onMessage: (...args) => this.#onMessage(...args),
    })
  }

  /** Loads the tags of seen messages, once. @throws {MessengerError} `broken-store` */
  load(): Promise<void> {
    this.#loaded ??= this.#tags.load()
    return this.#loaded
  }

  /** Starts to receive from the user's relays. */
  start(): void {
    this.#relays = [...this.#context.options.relays]
    this.#connections.set(this.#relays)
  }

  /** Starts to receive from a relay, or tries again at once: after a failure, or after another client has taken the mailbox over. */
  add(relay: string): void {
    if (!this.#relays.includes(relay)) this.#relays.push(relay)
    this.#connections.set(this.#relays)
    this.#connections.hurry(relay)
  }

  /** Stops to receive from a relay. */
  remove(relay: string): void {
    this.#relays = this.#relays.filter((each) => each !== relay)
    this.#connections.set(this.#relays)
  }

  get received(): AsyncIterable<Received> {
    return this.#inbox.received
  }

  /** Whether the user receives from that relay. */
  uses(relay: string): boolean {
    return this.#relays.includes(relay)
  }

  get isUp(): boolean {
    return this.#connections.isUp
  }

  /** Whether an acknowledgement is under way. */
  get isAcking(): boolean {
    return this.#connections.busy
  }

  /** @returns the relays that did not deliver all waiting messages, with the errors */
  async fetched(): Promise<ReadonlyMap<string, unknown>> {
    const missed = await this.#connections.fetched()
    this.#inbox.expire(Number.POSITIVE_INFINITY)
    return missed
  }

  /** Releases messages that waited too long for an earlier one. */
  expire(now: number): void {
    this.#inbox.expire(now)
    this.#connections.tick(now)
  }

  /** Returns when to call `expire` next. */
  due(): number {
    return Math.min(this.#inbox.due(), this.#connections.due())
  }

  /** The addresses in the vault have changed. */
  onAddresses(): void {
    this.#connections.set(this.#relays)
  }

  /** The user says that an unproven beginning of a contact is the contact's. @returns whether there was one */
  async accept(from: Contact): Promise<boolean> {
    const isAccepted = await this.#reader.accept(from)
    if (isAccepted) await this.#sending.renewals.onAnew(fingerprintOf(from.key))
    return isAccepted
  }

  /** The contact gets a new address with the next message. */
  renewAddress(contact: Contact): Promise<void> {
    return this.#reader.renewAddress(fingerprintOf(contact.key))
  }

  /** The user has removed the contact. */
  forget(contact: Contact): Promise<void> {
    return this.#reader.forget(contact)
  }

  close(): void {
    this.#connections.close()
    this.#inbox.close()
  }

  async #onMessage(source: Source, relay: string, origin: Origin, message: Message): Promise<void> {
    const { clock, isClosed, emit } = this.#context
    await this.#reread
    const now = clock.now() / 1_000
    if (await this.#tags.correct(now)) emit({ kind: 'clock', off: 'was-ahead' })

    const read = await this.#reader.open(origin, message.payload, { now, seen: this.#tags.stored }).catch((error: unknown) => {
      // The message is not acknowledged, and comes again with the next connection.
      emit({ kind: 'not-kept', error })
      return undefined
    })
    if (isClosed() || read === undefined) return
    if (read.kind !== 'opened') {
      if (read.kind === 'duplicate') this.#confirmAgain(read.contact, read.id)
      source.ack(message.id)
      this.#context.schedule()
      return
    }

    const { opened, way } = read
    const copy: Copy = { incoming: source, relay, id: message.id, ...(way && { way }) }
    switch (opened.verdict) {
      case 'replayed':
        await this.#onReplayed(copy, opened.envelope)
        return
      case 'genuine':
      case 'future':
      case 'stale':
        // At once: another copy may be done while this one waits, and this one would be shown, too.
        await this.#onSigned(copy, opened)
        if (origin.kind === 'address' && opened.verdict === 'genuine') {
          await this.#reader
            .onAddressUsed(origin.address, fingerprintOf(opened.envelope.from))
            .catch((error: unknown) => emit({ kind: 'not-kept', error }))
        }
        break
      case 'unreadable':
      case 'unsigned':
      case 'unknown-version':
      case 'truncated':
      case 'malformed':
      case 'forged':
      case 'unverifiable':
      case 'readdressed':
        this.#inbox.give(copy, opened)
    }
    await this.#inbox.room()
  }

  /** A message came again: its sender has no receipt. */
  async #onReplayed(copy: Copy, envelope: Envelope): Promise<void> {
    const contact = this.#find(envelope.from)
    if (contact !== undefined) {
      try {
        await this.#settle(envelope, contact, copy.way)
      } catch (error) {
        // The message comes again, until its key can be erased.
        this.#context.emit({ kind: 'not-kept', error })
        return
      }
    }
    this.#onDuplicate(copy.relay, envelope)
    copy.incoming.ack(copy.id)
  }

  #confirmAgain(fingerprint: string, id: string): void {
    const contact = this.#context.options.contacts.find(fingerprint)
    if (contact !== undefined && this.#sendsDelivered) this.#sending.addReceipt(contact, id, 'delivered')
  }

  /** Changes the ring of a contact whose message was read, and does what follows from it. */
  async #settle(envelope: Envelope, from: Contact, way: Way | undefined): Promise<void> {
    const events = await this.#reader.onRead(envelope, from, way)
    const contact = fingerprintOf(from.key)
    const { track } = this.#context
    if (events.includes('anew')) void track(this.#sending.renewals.onAnew(contact))
    else if (envelope.keys !== undefined) void track(this.#sending.renewals.onKeys(contact))
  }

  #onDuplicate(relay: string, { from, id }: Envelope): void {
    // The sender repeats its message because it has no receipt yet.
    this.#confirmAgain(fingerprintOf(from), id)
    this.#context.emit({ kind: 'duplicate', relay, from, id })
    this.#context.schedule()
  }

  async #onSigned(copy: Copy, opened: Signed): Promise<void> {
    const { options, clock, emit, schedule } = this.#context
    const { from, id, after, content } = opened.envelope
    const fingerprint = fingerprintOf(from)
    const contact = this.#find(from)
    const fault = contact && this.#doubt.onMessage(fingerprint, opened.envelope.time, clock.now() / 1_000)
    if (fault !== undefined) emit({ kind: 'clock', ...fault })
    if (contact !== undefined && opened.verdict === 'genuine') options.introducer?.onHeard?.(contact)
    /** Lets the ring know, and then the relay. */
    const finish = async (): Promise<boolean> => {
      try {
        if (contact !== undefined && opened.verdict === 'genuine') await this.#settle(opened.envelope, contact, copy.way)
        copy.incoming.ack(copy.id)
        return true
      } catch (error) {
        emit({ kind: 'not-kept', error })
        return false
      } finally {
        schedule()
      }
    }
    if (content.type === 'receipt') {
      this.#sending.onReceipt(fingerprint, content.ids, content.state)
      await finish()
      return
    }
    if (content.type === 'unreadable') {
      await finish()
      // Any stranger can send one.
      const { time, id } = opened.envelope
      if (contact !== undefined && opened.verdict === 'genuine')
        await this.#sending.renewals
          .onUnreadable(fingerprint, { time, id, tags: content.tags })
          .catch((error: unknown) => emit({ kind: 'not-kept', error }))
      return
    }
    if (content.type === 'have') {
      // Remembered only if it changed something: a replay would have a file sent again, and any stranger can send one.
      if (this.#outgoingFiles.onHave(fingerprint, content.file, content.parts))
        void this.#tags.remember(opened.envelope).catch((error: unknown) => emit({ kind: 'not-kept', error }))
      await finish()
      return
    }
    if (content.type === 'file' && contact !== undefined && options.files !== undefined && options.files.takes?.() !== false) {
      // Not awaited, because the program may ask the user whether to accept the file.
      void this.#incomingFiles.onPart(contact, content).then(async () => {
        if (await finish()) this.#sending.addReceipt(contact, id, 'delivered', true)
        schedule()
      })
      return
    }
    const known = after !== undefined && this.#tags.seen.has(from, after)
    if (!this.#inbox.take(copy, opened, contact, clock.now(), known, this.#tags.remembers))
      emit({ kind: 'duplicate', relay: copy.relay, from, id })
    schedule()
  }

  /** The program has shown or stored a message. */
  async #onDone(opened: Given, from: Contact | undefined, copies: readonly Copy[]): Promise<void> {
    if ('envelope' in opened && !isUnproven(opened.verdict)) {
      const { envelope } = opened
      await this.#tags.remember(envelope)
      if (opened.verdict === 'genuine') {
        if (from === undefined) await this.#reader.onStranger(envelope)
        // A message that was encrypted anew has several copies, each with a tag and perhaps a key of its own.
        else for (const { way } of copies) await this.#settle(envelope, from, way)
      }
      if (from !== undefined && this.#sendsDelivered) this.#sending.addReceipt(from, envelope.id, 'delivered')
    }
    this.#context.schedule()
  }

  #find(key: SshKey): Contact | undefined {
    return this.#context.options.contacts.find(fingerprintOf(key))
  }

  get #sendsDelivered(): boolean {
    return this.#context.options.receipts?.delivered !== false
  }
}

/** Whether the verdict leaves open who sent the message to us: nothing of it is remembered, and nobody gets a receipt. */
function isUnproven(verdict: Given['verdict']): boolean {
  return verdict === 'forged' || verdict === 'unverifiable' || verdict === 'readdressed'
}
