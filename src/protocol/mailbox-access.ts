/**
 * How one connection uses mailboxes (docs/protocol.md, section 4): SEND, GET, ACK, SUBSCRIBE, WIPE, PUBLISH, FETCH, and
 * the delivery of messages. Owns the batch under way, and remembers the mailboxes in which the connection may have
 * leases; Subscriptions owns the subscriptions, Receivers the keys of receivers. Writes packets to the session's output.
 * Does not look at tokens: the session found the mailbox. Has no I/O, like the session.
 */
import { ProtocolError } from './errors.ts'
import { type Output, OUTPUT_BYTES } from './output.ts'
import { encodeNotice, type Fields, PACKETS, type RequestName } from './packets.ts'
import type { Lease, Ports, Proven, Rates, Reader, UncheckedKey } from './ports.ts'
import { Receivers } from './receivers.ts'
import { Subscriptions } from './subscriptions.ts'
import type { Turn } from './turn.ts'

const MESSAGE_ID_DIGITS = 16
/**
 * The least that a SEND counts for: the payload of the smallest message of section 10, 4,096 bytes padded and encrypted.
 * Otherwise one key could close hundreds of mailboxes with messages of a few characters.
 */
const LEAST_CHARGE = 5_744

/** Mailboxes in which one connection may have leases beside those of its subscriptions. */
const JOINED = 16

const DELIVERY = { lease: 'subscribe', bytes: OUTPUT_BYTES } as const
/** Messages that a subscription takes at a time. One array for all connections: a delivery is over when the call is. */
const delivery = new Float64Array(16)

/** A GET whose MESSAGES is answered and whose messages are not all gathered. */
interface Batch {
  readonly references: Float64Array
  readonly plain: boolean
  /** The next reference. */
  at: number
}

export class MailboxAccess {
  readonly #ports: Ports
  readonly #rates: Rates
  readonly #output: Output
  readonly #reader: Reader
  readonly #turn: Turn
  // Created when needed: most of thousands of idle connections send nothing, and those that send read nothing.
  #receivers: Receivers | undefined
  #subscriptions: Subscriptions | undefined
  /** The second field of SENT. */
  readonly #holdSeconds: string
  #batch: Batch | undefined
  /** Messages of a plain GET that are gathered, and those that are being written. Erased once written. */
  #gathered: number[] | undefined
  #inFlight: number[] | undefined
  /** Mailboxes in which the connection may have leases, those of its subscriptions included. */
  #joined: Set<string> | undefined

  constructor(ports: Ports, rates: Rates, output: Output, turn: Turn, reader: Reader) {
    this.#ports = ports
    this.#rates = rates
    this.#holdSeconds = `${ports.limits.holdSeconds}`
    this.#output = output
    this.#reader = reader
    this.#turn = turn
  }

  /** Whether a batch is under way: nothing else may be written before it is complete. */
  get hasBatch(): boolean {
    return this.#batch !== undefined
  }

  /** Whether messages of a plain GET are not erased yet: a later request must not count them. */
  get isErasing(): boolean {
    return this.#gathered !== undefined || this.#inFlight !== undefined
  }

  /** Whether a receiver's key is being checked. */
  get isChecking(): boolean {
    return this.#receivers?.isChecking === true
  }

  /** The check of a receiver's key is over. */
  onReceiver(isSound: boolean): void {
    this.#receivers?.onChecked(isSound)
  }

  /**
   * Stores a message, and answers SENT.
   *
   * @returns the receiver's key, if it must be checked first. Then nothing is stored: the same packet must come again
   *   after `onReceiver`.
   * @throws {ProtocolError} for each reason of sections 4 and 5 to refuse a SEND
   */
  onSend(request: Fields<RequestName>, sender: Proven, now: number): UncheckedKey | undefined {
    const length = request.length(2)
    if (length > this.#ports.limits.payload) throw new ProtocolError('too-large')
    if (!request.isBase64(2)) throw new ProtocolError('wrong-usage')
    const mailbox = this.#findReceiver(request)
    if (typeof mailbox !== 'string') return mailbox
    if (!this.#ports.sends(sender.mailbox) || !this.#ports.receives(mailbox)) throw new ProtocolError('denied')
    this.#charge(sender, length, now)
    const put = this.#ports.mailboxes.put(mailbox, request.field(2), now, {
      share: this.#rates.memoryShare(sender, mailbox),
      places: this.#ports.places(mailbox),
      isStranger: this.#ports.isStranger(sender.mailbox),
    })
    if ('refused' in put) throw new ProtocolError(put.refused)
    this.#ports.count('stored')
    this.#output.packetWithId(PACKETS.SENT.no, put.high, put.low, this.#holdSeconds)
    this.#onChange(mailbox)
    return undefined
  }

  /** Answers GET with MESSAGES. The messages follow by `gather`. */
  onGet(mailbox: string, lease: Exclude<Lease, 'subscribe'>, now: number): void {
    const { mailboxes, limits } = this.#ports
    this.#rates.onReading(mailbox, now)
    this.#join(mailbox)
    const references = new Float64Array(Math.min(limits.batchMessages, mailboxes.waiting(mailbox)))
    const count = mailboxes.take(mailbox, this.#reader.owner, { lease, bytes: limits.batchBytes }, now, references)
    this.#output.packet(`${PACKETS.MESSAGES.no};${count};${mailboxes.waiting(mailbox)}`)
    if (count > 0) this.#batch = { references: references.subarray(0, count), plain: lease === 'plain', at: 0 }
  }

  /** Erases the messages that an ACK names, and answers ACKED. */
  onAck(request: Fields<RequestName>, mailbox: string): void {
    let erased = 0
    for (let n = 1; n < request.count; n++) {
      if (request.length(n) !== MESSAGE_ID_DIGITS) continue
      if (this.#ports.mailboxes.ack(mailbox, request.hex(n, 0), request.hex(n, MESSAGE_ID_DIGITS / 2))) erased++
    }
    this.#output.packet(`${PACKETS.ACKED.no};${erased}`)
    this.#onChange(mailbox)
  }

  /** Erases a mailbox, and answers WIPED. */
  onWipe(mailbox: string): void {
    this.#output.packet(`${PACKETS.WIPED.no};${this.#ports.mailboxes.wipe(mailbox)}`)
    this.#onChange(mailbox)
  }

  /** Answers SUBSCRIBED. @throws {ProtocolError} `relay-full` */
  onSubscribe(label: string, mailbox: string, now: number): void {
    this.#subscriptions ??= new Subscriptions(this.#ports, this.#reader)
    const { waiting, left } = this.#subscriptions.add(label, mailbox)
    this.#rates.onReading(mailbox, now)
    this.#join(mailbox)
    if (left !== undefined) this.#leave(left)
    this.#output.packet(`${PACKETS.SUBSCRIBED.no};${waiting}`)
  }

  /** A label ends, and the subscription that it has. The unlabelled one goes on. */
  onLabelEnded(label: string): void {
    const left = label === '' ? undefined : this.#subscriptions?.end(label)
    if (left !== undefined) this.#leave(left)
  }

  /**
   * Publishes the bundle of a mailbox, or takes it down, and answers PUBLISHED.
   *
   * @throws {ProtocolError} for each reason of sections 4 and 5 to refuse a PUBLISH
   */
  onPublish(request: Fields<RequestName>, publisher: Proven, now: number): void {
    const { mailboxes, limits } = this.#ports
    const { mailbox } = publisher
    const hasBundle = request.count === 2
    this.#charge(publisher, hasBundle ? request.length(1) : 0, now)
    if (!hasBundle) mailboxes.unpublish(mailbox)
    else if (!mailboxes.publish(mailbox, request.field(1), now, this.#rates.memoryShare(publisher, mailbox)))
      throw new ProtocolError('relay-full')
    this.#ports.count('published')
    this.#output.packet(`${PACKETS.PUBLISHED.no};${hasBundle ? limits.bundleSeconds : 0}`)
  }

  /**
   * Answers FETCH with the receiver's bundle.
   *
   * @returns as `onSend`
   * @throws {ProtocolError} for each reason of sections 4 and 5 to refuse a FETCH
   */
  onFetch(request: Fields<RequestName>, asker: Proven, now: number): UncheckedKey | undefined {
    const mailbox = this.#findReceiver(request)
    if (typeof mailbox !== 'string') return mailbox
    if (this.#ports.isStranger(asker.mailbox) || !this.#ports.receives(mailbox)) throw new ProtocolError('denied')
    const bundle = this.#ports.mailboxes.bundle(mailbox, now)
    this.#charge(asker, bundle?.length ?? 0, now)
    this.#ports.count('fetched')
    this.#output.packetOfBytes(PACKETS.BUNDLE.no, bundle)
    return undefined
  }

  /**
   * Writes the next packets to the output, if there is anything to write.
   *
   * @returns `broken` if a message of the batch is gone, so that the count in MESSAGES became wrong
   */
  gather(now: number): 'some' | 'none' | 'broken' {
    if (this.#batch !== undefined) return this.#gatherBatch(this.#batch)
    const subscriptions = this.#subscriptions
    if (subscriptions === undefined) return 'none'
    const lost = subscriptions.takeLost()
    if (lost !== undefined) {
      this.#output.packet(encodeNotice('taken-over', lost === '' ? undefined : lost))
      return 'some'
    }
    const subscription = subscriptions.next
    if (subscription === undefined) return 'none'
    const count = this.#ports.mailboxes.take(subscription.mailbox, this.#reader.owner, DELIVERY, now, delivery)
    for (let n = 0; n < count; n++) this.#gatherMessage(delivery[n]!, subscription.label)
    subscriptions.onServed(count === 0)
    return 'some'
  }

  /** The output is being written. */
  onWriting(): void {
    this.#inFlight = this.#gathered
    this.#gathered = undefined
  }

  /** The output is written: erases the messages of a plain GET in it. */
  onWritten(): void {
    if (this.#inFlight !== undefined) for (const reference of this.#inFlight) this.#ports.mailboxes.taken(reference, this.#reader.owner)
    this.#inFlight = undefined
  }

  /** Gives the batch up. */
  dropBatch(): void {
    this.#batch = undefined
  }

  /** Mailboxes that the connection reads: those in which it may have leases. */
  get mailboxes(): readonly string[] {
    return [...(this.#joined ?? [])]
  }

  /** Ends the subscriptions, returns all leases and forgets the receivers. */
  leave(): void {
    for (const mailbox of this.mailboxes) this.#ports.mailboxes.leave(mailbox, this.#reader.owner)
    this.#joined = undefined
    this.#batch = undefined
    this.#subscriptions = undefined
    this.#gathered = undefined
    this.#inFlight = undefined
    this.#receivers?.clear()
  }

  /** A request of this connection changed a mailbox: its own subscription is served before the next request. */
  #onChange(mailbox: string): void {
    this.#subscriptions?.mark(mailbox)
  }

  #findReceiver(request: Fields<RequestName>): string | UncheckedKey {
    this.#receivers ??= new Receivers(this.#ports, this.#turn)
    return this.#receivers.find(request)
  }

  /** Counts bytes against the limit of a sender. @throws {ProtocolError} `rate-limited` */
  #charge(sender: Proven, bytes: number, now: number): void {
    const wait = this.#rates.sendWait(sender, Math.max(bytes, LEAST_CHARGE), now)
    if (wait > 0) throw new ProtocolError('rate-limited', wait)
  }

  /** Notes that the connection may have leases in a mailbox. Beyond {@link JOINED}, those of the oldest one return. */
  #join(mailbox: string): void {
    const joined = (this.#joined ??= new Set())
    // The newest is the last.
    joined.delete(mailbox)
    joined.add(mailbox)
    if (joined.size <= JOINED + (this.#subscriptions?.count ?? 0)) return
    for (const oldest of joined) {
      if (this.#subscriptions?.has(oldest) === true) continue
      this.#leave(oldest)
      return
    }
  }

  /** Ends the connection's subscription and leases in a mailbox. */
  #leave(mailbox: string): void {
    this.#joined?.delete(mailbox)
    this.#ports.mailboxes.leave(mailbox, this.#reader.owner)
  }

  #gatherBatch(batch: Batch): 'some' | 'broken' {
    while (!this.#output.isFull) {
      const reference = batch.references[batch.at++]
      if (reference === undefined) {
        this.#batch = undefined
        return 'some'
      }
      // It expired, or another connection erased it, while a slow reader took the messages before it.
      if (!this.#gatherMessage(reference)) return 'broken'
      if (batch.plain) {
        this.#gathered ??= []
        this.#gathered.push(reference)
      }
    }
    return 'some'
  }

  /** @param label of the subscription that the message belongs to */
  #gatherMessage(reference: number, label = ''): boolean {
    const message = this.#ports.mailboxes.read(reference)
    if (message === undefined) return false
    const no = label === '' ? PACKETS.MESSAGE.no : PACKETS.DELIVERY.no
    this.#output.packetWithBytes(no, label, message.high, message.low, message.bytes, message.start, message.end)
    this.#ports.count('delivered')
    return true
  }
}
