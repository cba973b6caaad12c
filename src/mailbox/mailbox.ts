/**
 * The rules of docs/protocol.md, section 4: order, lease, return, takeover, expiry, quota and the relay's memory
 * budget. Every call that changes state takes `now` (ms, never going back). Knows no keys (a mailbox's id is blinded),
 * no sockets, no clock, and no senders.
 *
 * Over 350 lines: each rule keeps the counts of a mailbox and of all mailboxes true, so they are read together. The rows
 * are in message-table.ts, the bytes in arena.ts.
 */
import { type Limits, STRANGER_LIMITS } from '../protocol/limits.ts'
import type { Lease, Mailboxes, MessageId, Put, Stored, Subscriber, Terms } from '../protocol/ports.ts'
import { Arena, footprint } from './arena.ts'
import { Bundles, type HeldBundle } from './bundles.ts'
import { FREE, MessageTable, NONE } from './message-table.ts'

/** The budget's cost of a message beside its payload: its row in the table, rounded up. */
export const MESSAGE_BYTES = 64
/** The budget's cost of a mailbox: its object, its id and its place in the map. */
export const MAILBOX_BYTES = 512
/** The budget's cost of a label, with the subscription that it may have. */
export const LABEL_BYTES = 704
/**
 * The part of the budget that readers may take: labels, and mailboxes that are subscribed and empty. Otherwise 8,192
 * connections with 64 empty subscriptions each would leave no room for messages.
 */
const READERS_SHARE = 1 / 4

const LEASES = { subscribe: 1, lease: 2, plain: 3 } as const satisfies Record<Lease, number>

/** Exists while it has messages or a subscriber. */
interface Mailbox {
  readonly id: string
  /** The oldest and the newest row. */
  head: number
  tail: number
  /** All messages. */
  count: number
  /** Messages of strangers. */
  strangers: number
  /** Messages that no connection leases. */
  waiting: number
  /** The first row that may wait: all rows before it are leased. */
  first: number
  subscriber: Subscriber | undefined
  /** Messages that the subscriber's connection leases, of whatever kind: the used part of its window. */
  window: number
}

/** A message as one relay hands it to the next (src/handover). */
export interface HeldMessage {
  readonly mailbox: string
  readonly id: MessageId
  /** The rest of the time for which a relay holds it, in ms. */
  readonly left: number
  /** Good until the next call. */
  readonly payload: Uint8Array
}

/** What the budget counts for a message, with a mailbox of its own or without. */
function costOf(payload: Uint8Array, newMailbox: boolean): number {
  return footprint(payload.length) + MESSAGE_BYTES + (newMailbox ? MAILBOX_BYTES : 0)
}

/** Why a message was erased, for the relay's counters. */
export type Erased = 'acked' | 'taken' | 'expired' | 'wiped'

export class MemoryMailboxes implements Mailboxes {
  readonly #limits: Limits
  readonly #budget: number
  readonly #onErased: (reason: Erased) => void
  readonly #mailboxes = new Map<string, Mailbox>()
  readonly #arena = new Arena((row, position) => {
    this.#table.rows.position[row] = position
  })
  readonly #table: MessageTable<Mailbox>
  readonly #bundles: Bundles
  #messages = 0
  #subscribers = 0
  /** Mailboxes without a message, which exist for their subscribers. */
  #empty = 0
  #labels = 0
  /** The memory that messages of strangers take. */
  #strangerBytes = 0
  /** The ends of the list of all messages in order of arrival, which is also the order of expiry. */
  #oldest = NONE
  #newest = NONE
  /** The one object that `read` returns. */
  readonly #stored = { high: 0, low: 0, bytes: Buffer.alloc(0), start: 0, end: 0 }

  /**
   * @param options.budget bytes for all messages, with {@link MESSAGE_BYTES} and {@link MAILBOX_BYTES} counted
   * @param options.randomBytes for message ids
   */
  constructor(options: { limits: Limits; budget: number; randomBytes: (size: number) => Uint8Array; onErased?: (reason: Erased) => void }) {
    this.#limits = options.limits
    this.#budget = options.budget
    this.#table = new MessageTable(options.randomBytes)
    this.#bundles = new Bundles(options.limits, options.budget)
    this.#onErased = options.onErased ?? (() => {})
  }

  get size(): { mailboxes: number; subscribers: number; messages: number; bundles: number; bytes: number; budget: number } {
    return {
      mailboxes: this.#mailboxes.size,
      subscribers: this.#subscribers,
      messages: this.#messages,
      bundles: this.#bundles.count,
      bytes: this.#bytes(),
      budget: this.#budget,
    }
  }

  /** Bytes that another relay needs to take over all messages and bundles: the readers do not come with them. */
  get heldBytes(): number {
    return this.#bytes() - this.#readerBytes
  }

  /** The used part of the memory budget, from 0 to 1; a little more if readers came when it was full of messages. */
  get used(): number {
    return this.#bytes() / this.#budget
  }

  #bytes(): number {
    return (
      this.#arena.live +
      this.#messages * MESSAGE_BYTES +
      this.#mailboxes.size * MAILBOX_BYTES +
      this.#labels * LABEL_BYTES +
      this.#bundles.bytes
    )
  }

  get #readerBytes(): number {
    return this.#empty * MAILBOX_BYTES + this.#labels * LABEL_BYTES
  }

  /** Whether readers may take so many bytes more. */
  #hasRoomForReaders(bytes: number): boolean {
    return this.#readerBytes + bytes <= this.#budget * READERS_SHARE
  }

  addLabel(): boolean {
    if (!this.#hasRoomForReaders(LABEL_BYTES)) return false
    this.#labels++
    return true
  }

  dropLabels(count: number): void {
    this.#labels -= count
  }

  publish(id: string, bundle: Uint8Array, now: number, share: number): boolean {
    this.#bundles.expire(now)
    return this.#bundles.publish(id, bundle, now, this.#budget * share - this.#bytes())
  }

  unpublish(id: string): void {
    this.#bundles.erase(id)
  }

  bundle(id: string, now: number): Buffer | undefined {
    this.#bundles.expire(now)
    return this.#bundles.find(id)
  }

  /** Gives all bundles, as `held` gives the messages. */
  heldBundles(now: number): Generator<HeldBundle, void, void> {
    return this.#bundles.held(now)
  }

  /** Takes over a bundle that another relay held. Returns false if the budget has no room for it. */
  restoreBundle(bundle: HeldBundle, now: number): boolean {
    return this.#bundles.restore(bundle, now, this.#budget - this.#bytes())
  }

  /** When the next message expires, in ms; undefined if there is no message. */
  get nextExpiry(): number | undefined {
    return this.#oldest === NONE ? undefined : this.#table.rows.expires[this.#oldest]!
  }

  /** Erases every message and bundle that has expired. */
  expire(now: number): void {
    this.#bundles.expire(now)
    this.#expireMessages(now)
  }

  #expireMessages(now: number): void {
    while (this.#oldest !== NONE && this.#table.rows.expires[this.#oldest]! <= now) this.#erase(this.#oldest, 'expired')
  }

  put(id: string, payload: Uint8Array, now: number, terms: Terms = {}): Put {
    const { share = 1, places = this.#limits.mailboxMessages, isStranger = false } = terms
    this.#expireMessages(now)
    let mailbox = this.#mailboxes.get(id)
    const count = mailbox?.count ?? 0
    const strangers = mailbox?.strangers ?? 0
    if (count >= places || (isStranger && strangers >= STRANGER_LIMITS.mailboxMessages)) return { refused: 'mailbox-full' }
    const size = costOf(payload, false)
    if (this.#bytes() + costOf(payload, mailbox === undefined) > this.#budget * share) return { refused: 'relay-full' }
    if (isStranger && this.#strangerBytes + size > this.#budget * STRANGER_LIMITS.share) return { refused: 'relay-full' }
    mailbox ??= this.#open(id)
    const row = this.#append(mailbox, payload, now + this.#limits.holdSeconds * 1_000)
    this.#table.drawId(row)
    if (isStranger) {
      this.#table.rows.stranger[row] = 1
      mailbox.strangers++
      this.#strangerBytes += size
    }
    mailbox.subscriber?.onWaiting()
    return this.#table.id(row)
  }

  /**
   * Gives all messages in order of arrival, leased ones included, for a relay that serves no connection meanwhile. Ends
   * early if the last given message is erased before the caller asks for the next.
   */
  *held(now: number): Generator<HeldMessage, void, void> {
    for (let row = this.#oldest; row !== NONE; row = this.#table.rows.newer[row]!) {
      const reference = this.#table.reference(row)
      const payload = this.#arena.read(this.#table.rows.position[row]!)
      const left = this.#table.rows.expires[row]! - now
      yield { mailbox: this.#table.boxes[row]!.id, id: this.#table.id(row), left, payload }
      if (this.#table.find(reference) === undefined) return
    }
  }

  /**
   * Takes over a message that another relay held, behind all messages that are here. The quota does not apply, since a
   * relay accepted it before. It is held no longer than a new message would be.
   * @returns false if the budget has no room for it
   */
  restore(message: HeldMessage, now: number): boolean {
    const known = this.#mailboxes.get(message.mailbox)
    if (this.#bytes() + costOf(message.payload, known === undefined) > this.#budget) return false
    const mailbox = known ?? this.#open(message.mailbox)
    // Messages come in the order of arrival, so `left` ascends. `expire` relies on that: it looks only at the oldest.
    const left = Math.min(message.left, this.#limits.holdSeconds * 1_000)
    const row = this.#append(mailbox, message.payload, now + left)
    this.#table.setId(row, message.id)
    mailbox.subscriber?.onWaiting()
    return true
  }

  /** Stores a message at the end of its mailbox. The caller sets its id. */
  #append(mailbox: Mailbox, payload: Uint8Array, expires: number): number {
    const row = this.#table.allocate(mailbox)
    const { rows } = this.#table
    rows.position[row] = this.#arena.store(row, payload)
    rows.lease[row] = FREE
    rows.stranger[row] = 0
    rows.expires[row] = expires
    rows.next[row] = NONE
    rows.previous[row] = mailbox.tail
    if (mailbox.tail === NONE) mailbox.head = row
    else rows.next[mailbox.tail] = row
    mailbox.tail = row
    if (mailbox.first === NONE) mailbox.first = row
    rows.newer[row] = NONE
    rows.older[row] = this.#newest
    if (this.#newest === NONE) this.#oldest = row
    else rows.newer[this.#newest] = row
    this.#newest = row
    if (mailbox.count++ === 0) this.#empty--
    mailbox.waiting++
    this.#messages++
    return row
  }

  waiting(id: string): number {
    return this.#mailboxes.get(id)?.waiting ?? 0
  }

  take(id: string, owner: number, how: { readonly lease: Lease; readonly bytes: number }, now: number, into: Float64Array): number {
    this.#expireMessages(now)
    const mailbox = this.#mailboxes.get(id)
    if (mailbox === undefined) return 0
    const { rows } = this.#table
    let most = into.length
    let count = 0
    if (how.lease === 'subscribe') most = Math.min(most, this.#limits.window - mailbox.window)
    let bytes = 0
    let row = mailbox.first
    for (; row !== NONE && count < most; row = rows.next[row]!) {
      if (rows.lease[row] !== FREE) continue
      bytes += this.#arena.length(rows.position[row]!)
      if (bytes > how.bytes && count > 0) break
      rows.lease[row] = LEASES[how.lease]
      rows.owner[row] = owner
      mailbox.waiting--
      if (mailbox.subscriber?.owner === owner) mailbox.window++
      into[count++] = this.#table.reference(row)
    }
    mailbox.first = row
    return count
  }

  read(reference: number): Stored | undefined {
    const row = this.#table.find(reference)
    if (row === undefined) return undefined
    const stored = this.#stored
    const { rows } = this.#table
    stored.high = rows.idHigh[row]!
    stored.low = rows.idLow[row]!
    this.#arena.find(rows.position[row]!, stored)
    return stored
  }

  taken(reference: number, owner: number): void {
    const row = this.#table.find(reference)
    const { rows } = this.#table
    if (row === undefined || rows.lease[row] === FREE || rows.owner[row] !== owner) return
    this.#erase(row, 'taken')
  }

  ack(id: string, high: number, low: number): boolean {
    const mailbox = this.#mailboxes.get(id)
    if (mailbox === undefined) return false
    const { next, idHigh, idLow } = this.#table.rows
    // Clients acknowledge messages in about the order of their arrival, so the search is short from the oldest on.
    for (let row = mailbox.head; row !== NONE; row = next[row]!) {
      if (idLow[row] !== low || idHigh[row] !== high) continue
      this.#erase(row, 'acked')
      return true
    }
    return false
  }

  wipe(id: string): number {
    this.#bundles.erase(id)
    const mailbox = this.#mailboxes.get(id)
    if (mailbox === undefined) return 0
    const erased = mailbox.count
    while (mailbox.head !== NONE) this.#erase(mailbox.head, 'wiped')
    return erased
  }

  subscribe(id: string, subscriber: Subscriber): number | undefined {
    const known = this.#mailboxes.get(id)
    if (known === undefined && !this.#hasRoomForReaders(MAILBOX_BYTES)) return undefined
    const mailbox = known ?? this.#open(id)
    const older = mailbox.subscriber
    if (older !== undefined && older.owner !== subscriber.owner) {
      // A reader that lost its circuit looks alive for a while, so the newer one gets its messages at once.
      this.#return(mailbox, older.owner, LEASES.subscribe)
      older.onTakenOver()
    }
    if (older === undefined) this.#subscribers++
    mailbox.subscriber = subscriber
    mailbox.window = 0
    const { rows } = this.#table
    for (let row = mailbox.head; row !== NONE; row = rows.next[row]!) {
      if (rows.lease[row] !== FREE && rows.owner[row] === subscriber.owner) mailbox.window++
    }
    return mailbox.waiting
  }

  leave(id: string, owner: number): void {
    const mailbox = this.#mailboxes.get(id)
    if (mailbox === undefined) return
    if (mailbox.subscriber?.owner === owner) {
      mailbox.subscriber = undefined
      mailbox.window = 0
      this.#subscribers--
    }
    this.#return(mailbox, owner)
    this.#closeIfEmpty(mailbox)
  }

  /** Overwrites the messages and bundles of all mailboxes but those to keep. */
  eraseExcept(keep: (id: string) => boolean): void {
    for (const id of this.#mailboxes.keys()) if (!keep(id)) this.wipe(id)
    this.#bundles.eraseExcept(keep)
  }

  /** Overwrites every message and bundle, because the relay stops or its operator wipes it. */
  eraseAll(): void {
    this.#bundles.eraseExcept(() => false)
    while (this.#oldest !== NONE) this.#erase(this.#oldest, 'wiped')
  }

  #open(id: string): Mailbox {
    const mailbox: Mailbox = {
      id,
      head: NONE,
      tail: NONE,
      count: 0,
      strangers: 0,
      waiting: 0,
      first: NONE,
      subscriber: undefined,
      window: 0,
    }
    this.#mailboxes.set(id, mailbox)
    this.#empty++
    return mailbox
  }

  #closeIfEmpty(mailbox: Mailbox): void {
    if (mailbox.count > 0 || mailbox.subscriber !== undefined) return
    if (this.#mailboxes.delete(mailbox.id)) this.#empty--
  }

  /** Ends an owner's leases, all or those of one kind. The messages wait again, at their old places in the order. */
  #return(mailbox: Mailbox, owner: number, kind?: number): void {
    const { rows } = this.#table
    let returned = 0
    for (let row = mailbox.head; row !== NONE; row = rows.next[row]!) {
      const lease = rows.lease[row]!
      if (lease === FREE || rows.owner[row] !== owner || (kind !== undefined && lease !== kind)) continue
      rows.lease[row] = FREE
      returned++
    }
    if (returned === 0) return
    mailbox.waiting += returned
    mailbox.first = mailbox.head
    mailbox.subscriber?.onWaiting()
  }

  #erase(row: number, reason: Erased): void {
    const { rows } = this.#table
    const mailbox = this.#table.boxes[row]!
    const next = rows.next[row]!
    const previous = rows.previous[row]!
    if (previous === NONE) mailbox.head = next
    else rows.next[previous] = next
    if (next === NONE) mailbox.tail = previous
    else rows.previous[next] = previous
    if (mailbox.first === row) mailbox.first = next
    const newer = rows.newer[row]!
    const older = rows.older[row]!
    if (older === NONE) this.#oldest = newer
    else rows.newer[older] = newer
    if (newer === NONE) this.#newest = older
    else rows.older[newer] = older
    if (--mailbox.count === 0) this.#empty++
    if (rows.stranger[row] === 1) {
      mailbox.strangers--
      this.#strangerBytes -= footprint(this.#arena.length(rows.position[row]!)) + MESSAGE_BYTES
    }
    if (rows.lease[row] === FREE) {
      mailbox.waiting--
    } else if (mailbox.subscriber !== undefined && mailbox.subscriber.owner === rows.owner[row]) {
      mailbox.window--
      if (mailbox.waiting > 0) mailbox.subscriber.onWaiting()
    }
    this.#arena.erase(rows.position[row]!)
    this.#table.free(row)
    this.#stored.high = this.#stored.low = 0
    this.#messages--
    this.#closeIfEmpty(mailbox)
    this.#onErased(reason)
  }
}
