/**
 * How one connection uses mailboxes (docs/protocol.md, section 4): SEND, GET, ACK, SUBSCRIBE, WIPE, and the delivery of
 * messages. Owns the batch under way and the subscription, and remembers the mailboxes in which the connection may have
 * leases. Writes packets to the session's output. Does not look at tokens: the session found the mailbox. Has no I/O,
 * like the session.
 */
import { ProtocolError } from './errors.ts'
import { type Output, OUTPUT_BYTES } from './output.ts'
import { encodeNotice, type Fields, PACKETS, type RequestName } from './packets.ts'
import type { Lease, Named, Ports, Rates, Subscriber, UncheckedKey } from './ports.ts'
import { Recent } from './recent.ts'
import type { Turn } from './turn.ts'

const MESSAGE_ID_DIGITS = 16
/**
 * The least that a SEND counts for: the payload of the smallest message of section 10, 4,096 bytes padded and encrypted.
 * Otherwise one key could close hundreds of mailboxes with messages of a few characters.
 */
const LEAST_CHARGE = 5_744

/** Mailboxes in which one connection may have leases. A client has one key, and so one mailbox. */
const JOINED = 16
/** Receivers of one connection whose keys need no further check. A group has at most 32 members. */
const CHECKED = 32
/** The longest receiver that is remembered byte by byte: an RSA-3072 key and a comment fit. */
const RECEIVER_BYTES = 600

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

interface Subscription {
  readonly mailbox: string
  /** Whether there may be a message to take. */
  hasWaiting: boolean
}

export class MailboxAccess {
  readonly #ports: Ports
  readonly #rates: Rates
  readonly #output: Output
  readonly #turn: Turn
  readonly #subscriber: Subscriber
  /** Mailboxes of receivers. */
  readonly #receivers = new Recent<string>()
  /**
   * Mailboxes of receivers whose keys were checked on this connection, and only on this: whether a check is needed
   * must not depend on whose keys others named. Created when needed.
   */
  #checked: Set<string> | undefined
  /** The mailbox of the key that is being checked. */
  #checking: string | undefined
  /** The second field of SENT. */
  readonly #holdSeconds: string
  #batch: Batch | undefined
  /** Messages of a plain GET that are gathered, and those that are being written. Erased once written. */
  #gathered: number[] | undefined
  #inFlight: number[] | undefined
  #subscription: Subscription | undefined
  /** Whether the session owes the peer the notice that it lost its subscription. */
  #takenOver = false
  /** Mailboxes in which the connection may have leases. */
  #joined: Set<string> | undefined

  constructor(ports: Ports, rates: Rates, output: Output, turn: Turn, subscriber: Subscriber) {
    this.#ports = ports
    this.#rates = rates
    this.#holdSeconds = `${ports.limits.holdSeconds}`
    this.#output = output
    this.#turn = turn
    this.#subscriber = subscriber
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
    return this.#checking !== undefined
  }

  /** The check is over. */
  onReceiver(isSound: boolean): void {
    const mailbox = this.#checking
    this.#checking = undefined
    if (mailbox === undefined || !isSound) return
    const checked = (this.#checked ??= new Set())
    checked.add(mailbox)
    if (checked.size <= CHECKED) return
    const [oldest] = checked
    checked.delete(oldest!)
  }

  /**
   * Stores a message, and answers SENT.
   *
   * @param sender the mailbox of the sender's key
   * @returns the receiver's key, if it must be checked first. Then nothing is stored: the same packet must come again
   *   after `onReceiver`.
   * @throws {ProtocolError} for each reason of sections 4 and 5 to refuse a SEND
   */
  onSend(request: Fields<RequestName>, sender: string, now: number): UncheckedKey | undefined {
    const length = request.length(2)
    if (length > this.#ports.limits.payload) throw new ProtocolError('too-large')
    if (!request.isBase64(2)) throw new ProtocolError('wrong-usage')
    let mailbox = this.#receivers.find(request, 1)
    if (mailbox === undefined) {
      const named = this.#findReceiver(request.field(1))
      mailbox = named.mailbox
      if (named.unchecked !== undefined) {
        this.#checking = mailbox
        return named.unchecked
      }
    }
    if (!this.#ports.sends(sender) || !this.#ports.receives(mailbox)) throw new ProtocolError('denied')
    const wait = this.#rates.sendWait(sender, Math.max(length, LEAST_CHARGE), now)
    if (wait > 0) throw new ProtocolError('rate-limited', wait)
    const put = this.#ports.mailboxes.put(mailbox, request.field(2), now, {
      share: this.#rates.memoryShare(sender),
      places: this.#ports.places(mailbox),
      isStranger: this.#ports.isStranger(sender),
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
    this.#join(mailbox)
    const references = new Float64Array(Math.min(limits.batchMessages, mailboxes.waiting(mailbox)))
    const count = mailboxes.take(mailbox, this.#subscriber.owner, { lease, bytes: limits.batchBytes }, now, references)
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

  /** Answers SUBSCRIBED. A connection has one subscription: another mailbox ends the one before, with its leases. */
  onSubscribe(mailbox: string): void {
    const before = this.#subscription?.mailbox
    if (before !== undefined && before !== mailbox) {
      this.#ports.mailboxes.leave(before, this.#subscriber.owner)
      this.#joined?.delete(before)
    }
    this.#join(mailbox)
    const waiting = this.#ports.mailboxes.subscribe(mailbox, this.#subscriber)
    this.#subscription = { mailbox, hasWaiting: waiting > 0 }
    this.#output.packet(`${PACKETS.SUBSCRIBED.no};${waiting}`)
  }

  /** A mailbox called the subscriber: there may be messages. */
  onWaiting(): void {
    if (this.#subscription !== undefined) this.#subscription.hasWaiting = true
  }

  /** A mailbox called the subscriber: a newer one has taken over. */
  onTakenOver(): void {
    this.#subscription = undefined
    this.#takenOver = true
  }

  /**
   * Writes the next packets to the output, if there is anything to write.
   *
   * @returns `broken` if a message of the batch is gone, so that the count in MESSAGES became wrong
   */
  gather(now: number): 'some' | 'none' | 'broken' {
    if (this.#batch !== undefined) return this.#gatherBatch(this.#batch)
    if (this.#takenOver) {
      this.#takenOver = false
      this.#output.packet(encodeNotice('taken-over'))
      return 'some'
    }
    const subscription = this.#subscription
    if (subscription === undefined || !subscription.hasWaiting) return 'none'
    const count = this.#ports.mailboxes.take(subscription.mailbox, this.#subscriber.owner, DELIVERY, now, delivery)
    // Nothing waits, or the window is full: the mailbox calls when that changes.
    if (count === 0) subscription.hasWaiting = false
    for (let n = 0; n < count; n++) this.#gatherMessage(delivery[n]!)
    return 'some'
  }

  /** The output is being written. */
  onWriting(): void {
    this.#inFlight = this.#gathered
    this.#gathered = undefined
  }

  /** The output is written: erases the messages of a plain GET in it. */
  onWritten(): void {
    if (this.#inFlight !== undefined) for (const reference of this.#inFlight) this.#ports.mailboxes.taken(reference, this.#subscriber.owner)
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

  /** Ends the subscription, returns all leases and forgets the receivers. */
  leave(): void {
    if (this.#joined !== undefined) for (const mailbox of this.#joined) this.#ports.mailboxes.leave(mailbox, this.#subscriber.owner)
    this.#joined = undefined
    this.#batch = undefined
    this.#subscription = undefined
    this.#gathered = undefined
    this.#inFlight = undefined
    this.#receivers.clear()
    this.#checked = undefined
  }

  /** A request of this connection changed a mailbox: its own subscription is served before the next request. */
  #onChange(mailbox: string): void {
    if (this.#subscription?.mailbox === mailbox) this.#subscription.hasWaiting = true
  }

  /** Finds the mailbox of a SEND's receiver. @throws {ProtocolError} `bad-key`, `unsupported-key` */
  #findReceiver(field: Uint8Array): Named {
    this.#turn.onReceiver()
    const named = this.#ports.receiver(field)
    const { mailbox, unchecked } = named
    if (unchecked !== undefined && this.#checked?.has(mailbox) !== true) return named
    unchecked?.erase()
    if (field.length <= RECEIVER_BYTES) this.#receivers.add(field, mailbox)
    return { mailbox }
  }

  /** Notes that the connection may have leases in a mailbox. Beyond {@link JOINED}, those of the oldest one return. */
  #join(mailbox: string): void {
    const joined = (this.#joined ??= new Set())
    // The newest is the last.
    joined.delete(mailbox)
    joined.add(mailbox)
    if (joined.size <= JOINED) return
    for (const oldest of joined) {
      if (oldest === this.#subscription?.mailbox) continue
      joined.delete(oldest)
      this.#ports.mailboxes.leave(oldest, this.#subscriber.owner)
      return
    }
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

  #gatherMessage(reference: number): boolean {
    const message = this.#ports.mailboxes.read(reference)
    if (message === undefined) return false
    this.#output.packetWithBytes(PACKETS.MESSAGE.no, message.high, message.low, message.bytes, message.start, message.end)
    this.#ports.count('delivered')
    return true
  }
}
