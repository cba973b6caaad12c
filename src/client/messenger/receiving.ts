/**
 * The receiving half of a messenger: subscribes at the user's relays, opens messages, and routes them: receipts to the
 * outbox, parts of files and their answers to the transfers, the rest to the inbox. The connections are in incoming.ts.
 */
import type { Message } from '../../protocol/answer.ts'
import type { SshKey } from '../../auth/ssh-key.ts'
import { Seen } from '../delivery/seen.ts'
import { fingerprintOf } from '../format/field.ts'
import { type Envelope, openMessage } from '../format/message.ts'
import type { Contact } from './contact.ts'
import type { Context } from './context.ts'
import { ClockDoubt } from './doubt.ts'
import { MessengerError } from './error.ts'
import { type Copy, type Given, Inbox, type Received, type Signed } from './inbox.ts'
import { Incoming } from './incoming.ts'
import type { IncomingFiles } from './incoming-files.ts'
import type { OutgoingFiles } from './outgoing-files.ts'
import type { Sending } from './sending.ts'

export class Receiving {
  readonly #context: Context
  readonly #sending: Sending
  readonly #outgoingFiles: OutgoingFiles
  readonly #incomingFiles: IncomingFiles
  readonly #incoming = new Map<string, Incoming>()
  readonly #inbox: Inbox = new Inbox((opened, from) => this.#onDone(opened, from))
  #seen = new Seen()
  readonly #doubt = new ClockDoubt()
  /** Whether the store lacks tags, because it could not be written. */
  #isBehind = false
  /** Whether there was an earlier run whose tags are there, even if there are none. */
  #remembers = false
  #loaded: Promise<void> | undefined
  /** The latest {@link #rereadSeen}. */
  #reread: Promise<void> | undefined

  constructor(context: Context, sending: Sending, outgoingFiles: OutgoingFiles, incomingFiles: IncomingFiles) {
    this.#context = context
    this.#sending = sending
    this.#outgoingFiles = outgoingFiles
    this.#incomingFiles = incomingFiles
  }

  /** Loads the tags of seen messages, once. @throws {MessengerError} `broken-store` */
  load(): Promise<void> {
    this.#loaded ??= this.#load()
    return this.#loaded
  }

  async #load(): Promise<void> {
    const { options, clock } = this.#context
    const store = options.seen
    const text = await store?.load()
    const seen = text === undefined ? new Seen() : Seen.decode(text, clock.now() / 1_000)
    if (seen === undefined) throw new MessengerError('broken-store')
    this.#seen = seen
    this.#remembers = text !== undefined
    // Expired tags and an incomplete last line are dropped now.
    const all = seen.encode()
    if (text === undefined || text.length !== all.length) await this.#replace()
  }

  /** Writes all tags. If the store fails, messages can be received, but a message that has a sender cannot be done. */
  async #replace(): Promise<void> {
    try {
      await this.#context.options.seen?.replace(this.#seen.encode())
      this.#isBehind = false
    } catch {
      // The next message that is done says why.
      this.#isBehind = true
    }
  }

  /** Starts to receive from the user's relays. */
  start(): void {
    for (const relay of this.#context.options.relays) this.add(relay)
  }

  /** Starts to receive from a relay, or tries again at once: after a failure, or after another client has taken the mailbox over. */
  add(relay: string): void {
    const before = this.#incoming.get(relay)
    if (before !== undefined && !before.isOver) return before.hurry()
    before?.close()
    this.#incoming.set(relay, this.#receiveFrom(relay))
  }

  /** Stops to receive from a relay. */
  remove(relay: string): void {
    this.#incoming.get(relay)?.close()
    this.#incoming.delete(relay)
  }

  get received(): AsyncIterable<Received> {
    return this.#inbox.received
  }

  /** Whether the user receives from that relay. */
  uses(relay: string): boolean {
    return this.#incoming.has(relay)
  }

  /** Whether an acknowledgement is under way. */
  get isAcking(): boolean {
    return [...this.#incoming.values()].some(({ busy }) => busy)
  }

  /** @returns the relays that did not deliver all waiting messages, with the errors */
  async fetched(): Promise<ReadonlyMap<string, unknown>> {
    const fetched = await Promise.all([...this.#incoming].map(async ([relay, incoming]) => [relay, await incoming.fetched] as const))
    this.#inbox.expire(Number.POSITIVE_INFINITY)
    return new Map(fetched.filter(([, error]) => error !== undefined))
  }

  /** Releases messages that waited too long for an earlier one. */
  expire(now: number): void {
    this.#inbox.expire(now)
  }

  /** Returns when to call `expire` next. */
  due(): number {
    return this.#inbox.due()
  }

  close(): void {
    for (const incoming of this.#incoming.values()) incoming.close()
    this.#inbox.close()
  }

  /**
   * Merges the tags in the store. Another program with the same store may have had the mailbox until now. The relay
   * delivers again the messages that the other program received and did not acknowledge.
   */
  async #rereadSeen(): Promise<void> {
    const { options, clock } = this.#context
    const now = clock.now() / 1_000
    const text = await options.seen?.load()
    const seen = text === undefined ? undefined : Seen.decode(text, now)
    if (seen !== undefined) this.#seen.merge(seen, now)
  }

  #receiveFrom(relay: string): Incoming {
    const { clock, random, ready, connect, emit, schedule, onForgot, onAcked } = this.#context
    const incoming: Incoming = new Incoming({
      clock,
      random,
      connect: async (options) => {
        await ready()
        await this.load()
        return connect(relay, options)
      },
      onState: (state, more) => {
        if (state === 'up') {
          // If the store cannot be read now, messages are received nevertheless.
          this.#reread = this.#rereadSeen().catch(() => {})
          this.#sending.onReached(relay)
          schedule()
        }
        emit({ kind: 'relay', relay, purpose: 'receive', state, ...more })
      },
      onMessage: (message) => this.#onMessage(incoming, relay, message),
      onAcked,
      onTakenOver: () => emit({ kind: 'taken-over', relay }),
      onForgot: (certain) => onForgot(relay, certain),
    })
    return incoming
  }

  async #onMessage(incoming: Incoming, relay: string, message: Message): Promise<void> {
    const { options, clock, isClosed, emit } = this.#context
    await this.#reread
    const now = clock.now() / 1_000
    if (this.#seen.correct(now)) {
      emit({ kind: 'clock', off: 'was-ahead' })
      await this.#replace()
    }
    const opened = await openMessage(options.identity, message.payload, { now, seen: this.#seen })
    if (isClosed()) return
    const copy: Copy = { incoming, relay, id: message.id }
    switch (opened.verdict) {
      case 'replayed':
        this.#onDuplicate(relay, opened.envelope)
        incoming.ack(message.id)
        return
      case 'genuine':
      case 'future':
      case 'stale':
        this.#onSigned(copy, opened)
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

  #onDuplicate(relay: string, { from, id }: Envelope): void {
    // The sender repeats its message because it has no receipt yet.
    const contact = this.#find(from)
    if (contact !== undefined && this.#sendsDelivered) this.#sending.addReceipt(contact, id, 'delivered')
    this.#context.emit({ kind: 'duplicate', relay, from, id })
    this.#context.schedule()
  }

  #onSigned(copy: Copy, opened: Signed): void {
    const { options, clock, emit, schedule } = this.#context
    const { from, id, after, content } = opened.envelope
    const fingerprint = fingerprintOf(from)
    const contact = this.#find(from)
    const fault = contact && this.#doubt.onMessage(fingerprint, opened.envelope.time, clock.now() / 1_000)
    if (fault !== undefined) emit({ kind: 'clock', ...fault })
    if (contact !== undefined && opened.verdict === 'genuine') options.introducer?.onHeard?.(contact)
    if (content.type === 'receipt') {
      this.#sending.onReceipt(fingerprint, content.ids, content.state)
      copy.incoming.ack(copy.id)
      schedule()
      return
    }
    if (content.type === 'have') {
      // Remembered only if it changed something: a replay would have a file sent again, and any stranger can send one.
      if (this.#outgoingFiles.onHave(fingerprint, content.file, content.parts))
        void this.#remember(opened.envelope).catch((error: unknown) => emit({ kind: 'not-kept', error }))
      copy.incoming.ack(copy.id)
      return
    }
    if (content.type === 'file' && contact !== undefined && options.files !== undefined && options.files.takes?.() !== false) {
      // Not awaited, because the program may ask the user whether to accept the file.
      void this.#incomingFiles.onPart(contact, content).then(() => {
        this.#sending.addReceipt(contact, id, 'delivered', true)
        copy.incoming.ack(copy.id)
        schedule()
      })
      return
    }
    const known = after !== undefined && this.#seen.has(from, after)
    if (!this.#inbox.take(copy, opened, contact, clock.now(), known, this.#remembers))
      emit({ kind: 'duplicate', relay: copy.relay, from, id })
    schedule()
  }

  /** The program has shown or stored a message. */
  async #onDone(opened: Given, from: Contact | undefined): Promise<void> {
    if ('envelope' in opened && !isUnproven(opened.verdict)) {
      const { envelope } = opened
      await this.#remember(envelope)
      if (from !== undefined && this.#sendsDelivered) this.#sending.addReceipt(from, envelope.id, 'delivered')
    }
    this.#context.schedule()
  }

  async #remember(envelope: Envelope): Promise<void> {
    const { options, clock } = this.#context
    const line = this.#seen.add(envelope, clock.now() / 1_000)
    try {
      if (!this.#isBehind) return await options.seen?.append(line)
      await options.seen?.replace(this.#seen.encode())
      this.#isBehind = false
    } catch (error) {
      this.#isBehind = true
      throw error
    }
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
