/**
 * The rules of docs/protocol.md, section 4: order, lease, return, takeover, expiry, quota and the
 * relay's memory budget. Every call that changes state takes `now` (ms, never going back).
 * Knows no keys (a mailbox's id is blinded), no sockets, no clock; senders are not recorded.
 */
import type { Limits } from '../protocol/limits.ts'
import type { Lease, Mailboxes, MessageId, Put, Stored, Subscriber } from '../protocol/ports.ts'
import { Arena, footprint } from './arena.ts'

/** What a message costs beside its payload: its row in the tables below, rounded up. */
export const MESSAGE_BYTES = 64
/** What a mailbox costs that holds anything: its object, its id and its place in the map. */
export const MAILBOX_BYTES = 512

const NONE = 0xffff_ffff
const FREE = 0
const LEASES = { subscribe: 1, lease: 2, plain: 3 } as const satisfies Record<Lease, number>
/** A reference is the row and how often it was used, so that a stale one is told from a new message. */
const ROWS = 2 ** 26
const GENERATIONS = 2 ** 26

interface Mailbox {
  readonly id: string
  head: number
  tail: number
  /** All messages, and those of them that nobody leases. */
  count: number
  waiting: number
  /** The first row that may be waiting; all before it are leased. */
  first: number
  subscriber: Subscriber | undefined
  /** Rows that the subscriber's connection leases, of whatever kind: its window. */
  window: number
}

/** A message as one relay hands it to the next (src/handover). */
export interface HeldMessage {
  readonly mailbox: string
  readonly id: MessageId
  /** How long it is held still, ms. */
  readonly left: number
  /** Good until the next call. */
  readonly payload: Uint8Array
}

/** Why a message was erased, for the relay's counters. */
export type Erased = 'acked' | 'taken' | 'expired' | 'wiped'

export class MemoryMailboxes implements Mailboxes {
  readonly #limits: Limits
  readonly #budget: number
  readonly #randomBytes: (size: number) => Uint8Array
  readonly #onErased: (reason: Erased) => void
  readonly #mailboxes = new Map<string, Mailbox>()
  readonly #arena = new Arena((row, position) => {
    this.#rows.position[row] = position
  })
  #rows = createRows(1_024)
  #boxes: (Mailbox | undefined)[] = []
  #unused = NONE
  #used = 0
  #messages = 0
  #subscribers = 0
  /** All messages in order of arrival, which is the order of expiry. */
  #oldest = NONE
  #newest = NONE
  /** Random bytes for message ids, drawn many at a time. */
  #random: DataView = new DataView(new ArrayBuffer(0))
  #randomAt = 0
  readonly #stored = { high: 0, low: 0, bytes: Buffer.alloc(0), start: 0, end: 0 }

  constructor(options: {
    limits: Limits
    /** Bytes for messages, what they cost beside their payload included. */
    budget: number
    randomBytes: (size: number) => Uint8Array
    onErased?: (reason: Erased) => void
  }) {
    this.#limits = options.limits
    this.#budget = options.budget
    this.#randomBytes = options.randomBytes
    this.#onErased = options.onErased ?? (() => {})
  }

  get size(): { mailboxes: number; subscribers: number; messages: number; bytes: number; budget: number } {
    return {
      mailboxes: this.#mailboxes.size,
      subscribers: this.#subscribers,
      messages: this.#messages,
      bytes: this.#bytes(),
      budget: this.#budget,
    }
  }

  #bytes(): number {
    return this.#arena.live + this.#messages * MESSAGE_BYTES + this.#mailboxes.size * MAILBOX_BYTES
  }

  /** When the next message expires, ms; undefined while there is none. */
  get nextExpiry(): number | undefined {
    return this.#oldest === NONE ? undefined : this.#rows.expires[this.#oldest]!
  }

  /** Erases every message whose time is over. */
  expire(now: number): void {
    while (this.#oldest !== NONE && this.#rows.expires[this.#oldest]! <= now) this.#erase(this.#oldest, 'expired')
  }

  put(id: string, payload: Uint8Array, now: number): Put {
    this.expire(now)
    let mailbox = this.#mailboxes.get(id)
    if (mailbox !== undefined && mailbox.count >= this.#limits.mailboxMessages) return { refused: 'mailbox-full' }
    const cost = footprint(payload.length) + MESSAGE_BYTES + (mailbox === undefined ? MAILBOX_BYTES : 0)
    if (this.#bytes() + cost > this.#budget) return { refused: 'relay-full' }
    mailbox ??= this.#open(id)
    const row = this.#append(mailbox, payload, now + this.#limits.holdSeconds * 1_000)
    this.#drawId(row)
    mailbox.subscriber?.onWaiting()
    return this.#idOf(row)
  }

  /**
   * All messages in order of arrival, leased ones too, for a relay that serves nobody meanwhile. Ends
   * early where the message that was given last is erased before the next is asked for.
   */
  *held(now: number): Generator<HeldMessage, void, void> {
    for (let row = this.#oldest; row !== NONE; row = this.#rows.newer[row]!) {
      const generation = this.#rows.generation[row]!
      const payload = this.#arena.read(this.#rows.position[row]!)
      yield { mailbox: this.#boxes[row]!.id, id: this.#idOf(row), left: this.#rows.expires[row]! - now, payload }
      if (this.#rows.generation[row] !== generation) return
    }
  }

  /**
   * Takes a message over that another relay held, behind all that are here. Neither quota nor budget
   * refuses it, since it was accepted already; it is held no longer than a new one would be.
   */
  restore(message: HeldMessage, now: number): void {
    const mailbox = this.#mailboxes.get(message.mailbox) ?? this.#open(message.mailbox)
    // Time left is of the order of arrival, and stays so: expiry looks at the oldest alone.
    const left = Math.min(message.left, this.#limits.holdSeconds * 1_000)
    const row = this.#append(mailbox, message.payload, now + left)
    this.#rows.idHigh[row] = message.id.high
    this.#rows.idLow[row] = message.id.low
    mailbox.subscriber?.onWaiting()
  }

  /** A row for the message at the end of its mailbox; its id is the caller's to set. */
  #append(mailbox: Mailbox, payload: Uint8Array, expires: number): number {
    const row = this.#allocate()
    const rows = this.#rows
    rows.position[row] = this.#arena.store(row, payload)
    rows.lease[row] = FREE
    rows.expires[row] = expires
    this.#boxes[row] = mailbox
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
    mailbox.count++
    mailbox.waiting++
    this.#messages++
    return row
  }

  waiting(id: string): number {
    return this.#mailboxes.get(id)?.waiting ?? 0
  }

  take(id: string, owner: number, how: { readonly lease: Lease; readonly bytes: number }, now: number, into: Float64Array): number {
    this.expire(now)
    const mailbox = this.#mailboxes.get(id)
    if (mailbox === undefined) return 0
    const rows = this.#rows
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
      into[count++] = rows.generation[row]! * ROWS + row
    }
    mailbox.first = row
    return count
  }

  read(reference: number): Stored | undefined {
    const row = this.#find(reference)
    if (row === undefined) return undefined
    const stored = this.#stored
    stored.high = this.#rows.idHigh[row]!
    stored.low = this.#rows.idLow[row]!
    this.#arena.find(this.#rows.position[row]!, stored)
    return stored
  }

  taken(reference: number, owner: number): void {
    const row = this.#find(reference)
    if (row === undefined || this.#rows.lease[row] === FREE || this.#rows.owner[row] !== owner) return
    this.#erase(row, 'taken')
  }

  ack(id: string, high: number, low: number): boolean {
    const mailbox = this.#mailboxes.get(id)
    if (mailbox === undefined) return false
    const { next, idHigh, idLow } = this.#rows
    // Messages are acknowledged in about the order they came, so the first rows are the likely ones.
    for (let row = mailbox.head; row !== NONE; row = next[row]!) {
      if (idLow[row] !== low || idHigh[row] !== high) continue
      this.#erase(row, 'acked')
      return true
    }
    return false
  }

  wipe(id: string): number {
    const mailbox = this.#mailboxes.get(id)
    if (mailbox === undefined) return 0
    const erased = mailbox.count
    while (mailbox.head !== NONE) this.#erase(mailbox.head, 'wiped')
    return erased
  }

  subscribe(id: string, subscriber: Subscriber): number {
    const mailbox = this.#mailboxes.get(id) ?? this.#open(id)
    const older = mailbox.subscriber
    if (older !== undefined && older.owner !== subscriber.owner) {
      // A reader that lost its circuit looks alive for a while: what only its subscription leases
      // goes to the newer one at once.
      this.#return(mailbox, older.owner, LEASES.subscribe)
      older.onTakenOver()
    }
    if (older === undefined) this.#subscribers++
    mailbox.subscriber = subscriber
    mailbox.window = 0
    for (let row = mailbox.head; row !== NONE; row = this.#rows.next[row]!) {
      if (this.#rows.lease[row] !== FREE && this.#rows.owner[row] === subscriber.owner) mailbox.window++
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

  /** Overwrites every message: the relay stops. */
  eraseAll(): void {
    while (this.#oldest !== NONE) this.#erase(this.#oldest, 'wiped')
  }

  #open(id: string): Mailbox {
    const mailbox: Mailbox = {
      id,
      head: NONE,
      tail: NONE,
      count: 0,
      waiting: 0,
      first: NONE,
      subscriber: undefined,
      window: 0,
    }
    this.#mailboxes.set(id, mailbox)
    return mailbox
  }

  #closeIfEmpty(mailbox: Mailbox): void {
    if (mailbox.count === 0 && mailbox.subscriber === undefined) this.#mailboxes.delete(mailbox.id)
  }

  /** What an owner leases (all of it, or of one kind) waits again, at its old place. */
  #return(mailbox: Mailbox, owner: number, kind?: number): void {
    const rows = this.#rows
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
    const rows = this.#rows
    const mailbox = this.#boxes[row]!
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
    mailbox.count--
    if (rows.lease[row] === FREE) {
      mailbox.waiting--
    } else if (mailbox.subscriber !== undefined && mailbox.subscriber.owner === rows.owner[row]) {
      mailbox.window--
      if (mailbox.waiting > 0) mailbox.subscriber.onWaiting()
    }
    this.#arena.erase(rows.position[row]!)
    rows.generation[row] = (rows.generation[row]! + 1) % GENERATIONS
    rows.lease[row] = FREE
    rows.owner[row] = 0
    rows.idHigh[row] = 0
    rows.idLow[row] = 0
    this.#stored.high = this.#stored.low = 0
    this.#boxes[row] = undefined
    rows.next[row] = this.#unused
    this.#unused = row
    this.#messages--
    this.#closeIfEmpty(mailbox)
    this.#onErased(reason)
  }

  /** The row of a reference while its message lives. */
  #find(reference: number): number | undefined {
    const row = reference % ROWS
    const live = this.#boxes[row] !== undefined && this.#rows.generation[row] === Math.floor(reference / ROWS)
    return live ? row : undefined
  }

  #allocate(): number {
    if (this.#unused !== NONE) {
      const row = this.#unused
      this.#unused = this.#rows.next[row]!
      return row
    }
    if (this.#used === this.#rows.next.length) this.#rows = growRows(this.#rows)
    return this.#used++
  }

  /** 64 random bits, told to sender and receiver: a count would tell both how busy the relay is. */
  #drawId(row: number): void {
    if (this.#randomAt === this.#random.byteLength) {
      const { buffer, byteOffset, byteLength } = this.#randomBytes(4_096)
      this.#random = new DataView(buffer, byteOffset, byteLength)
      this.#randomAt = 0
    }
    this.#rows.idHigh[row] = this.#random.getUint32(this.#randomAt)
    this.#rows.idLow[row] = this.#random.getUint32(this.#randomAt + 4)
    this.#randomAt += 8
  }

  #idOf(row: number): MessageId {
    return { high: this.#rows.idHigh[row]!, low: this.#rows.idLow[row]! }
  }
}

/** A message is one index into these; no object per message, so a million of them cost the collector nothing. */
interface Rows {
  readonly next: Uint32Array
  readonly previous: Uint32Array
  readonly newer: Uint32Array
  readonly older: Uint32Array
  readonly position: Uint32Array
  readonly idHigh: Uint32Array
  readonly idLow: Uint32Array
  readonly owner: Uint32Array
  readonly generation: Uint32Array
  readonly lease: Uint8Array
  readonly expires: Float64Array
}

function createRows(length: number): Rows {
  return {
    next: new Uint32Array(length),
    previous: new Uint32Array(length),
    newer: new Uint32Array(length),
    older: new Uint32Array(length),
    position: new Uint32Array(length),
    idHigh: new Uint32Array(length),
    idLow: new Uint32Array(length),
    owner: new Uint32Array(length),
    generation: new Uint32Array(length),
    lease: new Uint8Array(length),
    expires: new Float64Array(length),
  }
}

function growRows(rows: Rows): Rows {
  const grown = createRows(rows.next.length * 2)
  for (const name of Object.keys(rows) as (keyof Rows)[]) grown[name].set(rows[name])
  return grown
}
