/**
 * Reads the packets between clients and relays as an observer who sees the texts, which the stand-in for cryptography
 * leaves readable. It checks the rules that no endpoint alone can see: the order of deliveries, leases, the window, that a
 * client has a message erased only after it was stored, and that what a relay accepted reaches a receiver who is there.
 */
import { DEFAULT_LIMITS } from '../../src/protocol/limits.ts'
import { PACKETS } from '../../src/protocol/packets.ts'
import type { Kernel, Process } from './kernel.ts'
import type { Connection } from './network.ts'
import { Sends } from './sends.ts'
import { Shelf } from './stored.ts'
import type { Truth } from './truth.ts'

/** The start of a payload in base64: the header of the age file, and the header of the message with its id. */
const HEAD = 720
const LF = 0x0a
const SEMICOLON = 0x3b
const ZERO = 0x30
/** A relay that is asleep or late may give a message a little longer. */
export const LATE_MS = 900_000
/** A message may expire a little earlier, too: its time passes from one relay to the next. */
const SOON_OVER_MS = 60_000
/** Packets that no request asks for. */
const UNASKED: readonly number[] = [PACKETS.MESSAGE.no, PACKETS.DELIVERY.no, PACKETS.NOTICE.no]

/** What happened on a connection. */
interface Seen {
  /** Incomplete lines, from the client and from the relay. */
  toRelay: Buffer | undefined
  toClient: Buffer | undefined
  /** Requests without an answer: the text of a SEND, the messages of an ACK. */
  readonly asked: (string | readonly string[] | undefined)[]
  /** By the relay's id: the messages that the client holds, with the id of the text. */
  readonly given: Map<string, string | undefined>
  /** Every message id that the relay ever wrote here. */
  readonly ever: Set<string>
  subscribedAt: number
  /** The place of the last message in the order of arrival, by sender. */
  readonly last: Map<string, number>
  isGone: boolean
}

export class Wire {
  readonly #truth: Truth
  readonly #kernel: Kernel
  readonly #seen = new WeakMap<Connection, Seen>()
  /** By process of a relay: the connection that has each message. */
  readonly #leases = new WeakMap<Process, Map<string, Connection>>()
  /** By process of a relay: the connections that subscribed, and of which it does not know that they have ended. */
  readonly #readers = new WeakMap<Process, Set<Connection>>()
  /** By relay and id of a text: its places in the order of arrival. */
  readonly #places = new Map<string, number[]>()
  /** By relay and id of a message. */
  readonly #stored = new Map<string, Shelf>()
  readonly #acked = new Set<string>()
  /** By relay and id of a message: when the relay accepted it. */
  readonly #accepted = new Map<string, number>()
  readonly sends: Sends
  /** By relay: for how long it holds a message, ms. */
  readonly holds = new Map<string, number>()
  #count = 0

  constructor(truth: Truth, kernel: Kernel) {
    this.#truth = truth
    this.#kernel = kernel
    this.sends = new Sends(kernel)
  }

  onBytes(connection: Connection, direction: 'to relay' | 'to client', bytes: Uint8Array): void {
    const seen = this.#of(connection)
    const isRequest = direction === 'to relay'
    const before = isRequest ? seen.toRelay : seen.toClient
    const all = before === undefined ? Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length) : Buffer.concat([before, bytes])
    let start = 0
    for (let end = all.indexOf(LF); end !== -1; end = all.indexOf(LF, start)) {
      const line = all.subarray(start, end)
      if (isRequest) this.#onRequest(connection, seen, line)
      else this.#onPacket(connection, seen, line)
      start = end + 1
    }
    const rest = start === all.length ? undefined : Buffer.from(all.subarray(start))
    if (isRequest) seen.toRelay = rest
    else seen.toClient = rest
  }

  /** The relay knows that the connection has ended: its leases return. */
  onGone(connection: Connection): void {
    const seen = this.#seen.get(connection)
    if (seen === undefined) return
    seen.isGone = true
    this.#readers.get(connection.server)?.delete(connection)
    seen.given.clear()
    // The relay may have erased them without an answer.
    for (const asked of seen.asked) if (typeof asked === 'object') this.#erase(connection, asked)
  }

  /** The messages that a relay accepted and that nobody had erased, by id. @param since when it lost all earlier ones */
  storedAt(relay: string, since: number): Shelf {
    const shelf = this.#shelf(relay)
    shelf.expire(Math.max(since, this.#kernel.now - this.holds.get(relay)!))
    return shelf
  }

  #shelf(relay: string): Shelf {
    let shelf = this.#stored.get(relay)
    if (shelf === undefined) this.#stored.set(relay, (shelf = new Shelf()))
    return shelf
  }

  /** Whether the client has got a message on a connection. */
  hasGiven(connection: Connection, message: string): boolean {
    return this.#seen.get(connection)?.ever.has(message) === true
  }

  #of(connection: Connection): Seen {
    let seen = this.#seen.get(connection)
    if (seen === undefined) {
      const [given, ever, last] = [new Map<string, string | undefined>(), new Set<string>(), new Map<string, number>()]
      seen = { toRelay: undefined, toClient: undefined, asked: [], given, ever, subscribedAt: -1, last, isGone: false }
      this.#seen.set(connection, seen)
    }
    return seen
  }

  #onRequest(connection: Connection, seen: Seen, line: Buffer): void {
    const number = numberOf(line)
    if (number === PACKETS.SEND.no) {
      const text = textIn(line, line.lastIndexOf(0x3b) + 1)
      seen.asked.push(text)
      this.sends.onSend(connection.client, connection.server.machine.name, text)
      // The receiver may get it before the sender has the answer.
      const name = `${connection.server.machine.name} ${text}`
      const places = this.#places.get(name)
      if (places === undefined) this.#places.set(name, [this.#count++])
      else places.push(this.#count++)
    } else if (number === PACKETS.ACK.no) {
      const messages = line.toString('latin1').split(';').slice(2)
      seen.asked.push(messages)
      this.#onAck(connection, seen, messages)
    } else seen.asked.push(undefined)
  }

  #onPacket(connection: Connection, seen: Seen, line: Buffer): void {
    const number = numberOf(line)
    if (number === PACKETS.MESSAGE.no) this.#onMessage(connection, seen, line)
    if (UNASKED.includes(number)) return
    const asked = seen.asked.shift()
    const relay = connection.server.machine.name
    if (number === PACKETS.SUBSCRIBED.no) {
      seen.subscribedAt = this.#count++
      this.#checkTaken(connection, Number(line.toString('latin1', 3)))
    }
    if (number === PACKETS.SENT.no && typeof asked === 'string') {
      const message = line.toString('latin1', 3, line.indexOf(0x3b, 3))
      this.#shelf(relay).add(message, { text: asked, at: this.#kernel.now })
      this.#accepted.set(`${relay} ${message}`, this.#kernel.now)
    } else if (number === PACKETS.ACKED.no && typeof asked === 'object') {
      this.#erase(connection, asked)
      for (const message of asked) this.#acked.add(`${relay} ${message}`)
    }
  }

  /** What an older connection of the same device has waits for the newer one. */
  #checkTaken(connection: Connection, waiting: number): void {
    const { client, server } = connection
    const readers = this.#readers.get(server) ?? new Set()
    this.#readers.set(server, readers)
    let had = 0
    for (const older of readers) {
      if (older === connection || older.client.machine !== client.machine) continue
      for (const message of this.#of(older).given.keys())
        if (this.#leases.get(server)?.get(message) === older && this.#shelf(server.machine.name).messages.has(message)) had++
    }
    readers.add(connection)
    if (had > 0) this.#truth.count('taken from an older connection')
    if (waiting < had)
      this.#truth.violate(1, `${server.name} says that ${waiting} messages wait for ${client.name}, and an older connection has ${had}`)
  }

  #erase(connection: Connection, messages: readonly string[]): void {
    const shelf = this.#shelf(connection.server.machine.name)
    for (const message of messages) shelf.delete(message)
  }

  #onMessage(connection: Connection, seen: Seen, line: Buffer): void {
    const at = line.indexOf(0x3b, 3)
    const message = line.toString('latin1', 3, at)
    const text = textIn(line, at + 1)
    const { client, server } = connection
    const relay = server.machine.name
    const told = `${relay} gives ${client.name} a message`
    if (seen.ever.has(message)) this.#truth.violate(1, `${told} twice on one connection`)
    if (this.#acked.has(`${relay} ${message}`)) this.#truth.violate(1, `${told} that was acknowledged`)
    const acceptedAt = this.#accepted.get(`${relay} ${message}`)
    if (acceptedAt !== undefined && acceptedAt < this.#kernel.now - this.holds.get(relay)! - LATE_MS)
      this.#truth.violate(1, `${told} that has expired`)
    seen.ever.add(message)
    seen.given.set(message, text)
    if (seen.given.size > DEFAULT_LIMITS.window) {
      // A message that expires makes room in the window, and its reader does not learn it.
      const since = this.#kernel.now - this.holds.get(relay)! + SOON_OVER_MS
      const count = [...seen.given.keys()].filter((each) => (this.#accepted.get(`${relay} ${each}`) ?? 0) > since).length
      if (count > DEFAULT_LIMITS.window) this.#truth.violate(5, `${told}, the ${count}th at once`)
    }
    let leases = this.#leases.get(server)
    if (leases === undefined) this.#leases.set(server, (leases = new Map()))
    const other = leases.get(message)
    const holder = other === undefined ? undefined : this.#of(other)
    if (holder?.given.has(message) === true && holder !== seen && !holder.isGone && holder.subscribedAt > seen.subscribedAt)
      this.#truth.violate(1, `${told} that another connection has`)
    leases.set(message, connection)
    const from = text === undefined ? undefined : this.#truth.findText(text)?.from
    if (from !== undefined) this.#checkOrder(connection, seen, from, text!)
  }

  /** Copies of a text may arrive at any of their places. */
  #checkOrder(connection: Connection, seen: Seen, from: string, text: string): void {
    const { server, client } = connection
    const last = seen.last.get(from) ?? -1
    const places = this.#places.get(`${server.machine.name} ${text}`)
    const place = places?.find((each) => each > last)
    if (place === undefined) {
      const { number } = this.#truth.findText(text)!
      return this.#truth.violate(2, `${server.name} gives ${client.name} text ${number} after a later one`)
    }
    seen.last.set(from, place)
  }

  #onAck(connection: Connection, seen: Seen, messages: readonly string[]): void {
    const device = connection.client.machine.name
    for (const message of messages) {
      const id = seen.given.get(message)
      seen.given.delete(message)
      const text = id === undefined ? undefined : this.#truth.findText(id)
      if (text === undefined || text.doneBy.has(device)) continue
      // The client may learn in this very turn that it is stored.
      this.#kernel.at(this.#kernel.now, undefined, () => {
        if (!text.doneBy.has(device))
          this.#truth.violate(1, `${device} has text ${text.number} erased at ${connection.server.name}, and did not store it`)
      })
    }
  }
}

function numberOf(line: Buffer): number {
  let number = 0
  for (const byte of line) {
    if (byte === SEMICOLON) break
    number = 10 * number + byte - ZERO
  }
  return number
}

/** Finds the id of the message in a payload. */
function textIn(line: Buffer, at: number): string | undefined {
  const head = Buffer.from(line.toString('latin1', at, Math.min(line.length, at + HEAD)), 'base64')
  const start = head.indexOf('\nid: ')
  return start === -1 ? undefined : head.toString('latin1', start + 5, start + 27)
}
