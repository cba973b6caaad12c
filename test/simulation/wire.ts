/**
 * Reads the packets between clients and relays as an observer who sees the texts, which the stand-in for cryptography
 * leaves readable. It checks the rules that no endpoint alone can see: the order of deliveries, leases and the window, and
 * that a client acknowledges a message only after it was stored.
 */
import { DEFAULT_LIMITS } from '../../src/protocol/limits.ts'
import { PACKETS } from '../../src/protocol/packets.ts'
import type { Kernel, Process } from './kernel.ts'
import type { Connection } from './network.ts'
import type { Truth } from './truth.ts'

/** The start of a payload in base64: the header of the age file, and the header of the message with its id. */
const HEAD = 720
const LF = 0x0a

interface Seen {
  /** Incomplete lines, from the client and from the relay. */
  toRelay: Buffer | undefined
  toClient: Buffer | undefined
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
  /** By address of a relay and id of a text: when SENDs of it left. */
  readonly #sent = new Map<string, number[]>()
  #count = 0

  constructor(truth: Truth, kernel: Kernel) {
    this.#truth = truth
    this.#kernel = kernel
  }

  onBytes(connection: Connection, direction: 'to relay' | 'to client', bytes: Uint8Array): void {
    const seen = this.#of(connection)
    const isRequest = direction === 'to relay'
    const before = isRequest ? seen.toRelay : seen.toClient
    const all = before === undefined ? Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length) : Buffer.concat([before, bytes])
    let start = 0
    for (let end = all.indexOf(LF); end !== -1; end = all.indexOf(LF, start)) {
      this.#onLine(connection, seen, isRequest, all.subarray(start, end))
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
    seen.given.clear()
  }

  #of(connection: Connection): Seen {
    let seen = this.#seen.get(connection)
    if (seen === undefined) {
      seen = {
        toRelay: undefined,
        toClient: undefined,
        given: new Map(),
        ever: new Set(),
        subscribedAt: -1,
        last: new Map(),
        isGone: false,
      }
      this.#seen.set(connection, seen)
    }
    return seen
  }

  #onLine(connection: Connection, seen: Seen, isRequest: boolean, line: Buffer): void {
    const end = line.indexOf(0x3b)
    const number = Number(line.toString('latin1', 0, end === -1 ? line.length : end))
    if (isRequest) {
      if (number === PACKETS.SEND.no) this.#onSend(connection, line)
      else if (number === PACKETS.ACK.no) this.#onAck(connection, seen, line)
    } else if (number === PACKETS.MESSAGE.no) this.#onMessage(connection, seen, line)
    else if (number === PACKETS.SUBSCRIBED.no) seen.subscribedAt = this.#count++
  }

  #onSend(connection: Connection, line: Buffer): void {
    const id = textIn(line, line.lastIndexOf(0x3b) + 1)
    if (id === undefined) return
    const name = `${connection.server.machine.name} ${id}`
    const times = this.#sent.get(name)
    if (times === undefined) this.#sent.set(name, [this.#count++])
    else times.push(this.#count++)
  }

  #onMessage(connection: Connection, seen: Seen, line: Buffer): void {
    const at = line.indexOf(0x3b, 3)
    const message = line.toString('latin1', 3, at)
    const text = textIn(line, at + 1)
    const { client, server } = connection
    const relay = server.name
    if (seen.ever.has(message)) this.#truth.violate(1, `${relay} gives ${client.name} a message twice on one connection`)
    seen.ever.add(message)
    seen.given.set(message, text)
    if (seen.given.size > DEFAULT_LIMITS.window) this.#truth.violate(5, `${relay} gives ${client.name} ${seen.given.size} messages at once`)
    let leases = this.#leases.get(server)
    if (leases === undefined) this.#leases.set(server, (leases = new Map()))
    const other = leases.get(message)
    const holder = other === undefined ? undefined : this.#of(other)
    if (holder?.given.has(message) === true && holder !== seen && !holder.isGone && holder.subscribedAt > seen.subscribedAt)
      this.#truth.violate(1, `${relay} gives ${client.name} a message that another connection has`)
    leases.set(message, connection)
    const from = text === undefined ? undefined : this.#truth.findText(text)?.from
    if (from !== undefined) this.#checkOrder(connection, seen, from, text!)
  }

  /** Copies of a text may arrive at any of their places. */
  #checkOrder(connection: Connection, seen: Seen, from: string, text: string): void {
    const last = seen.last.get(from) ?? -1
    const place = (this.#sent.get(`${connection.server.machine.name} ${text}`) ?? []).find((time) => time > last)
    if (place === undefined) {
      const { number } = this.#truth.findText(text)!
      return this.#truth.violate(2, `${connection.server.name} gives ${connection.client.name} text ${number} after a later one`)
    }
    seen.last.set(from, place)
  }

  #onAck(connection: Connection, seen: Seen, line: Buffer): void {
    const device = connection.client.machine.name
    const acked = line.toString('latin1').split(';').slice(2)
    for (const message of acked) {
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

/** Finds the id of the message in a payload. */
function textIn(line: Buffer, at: number): string | undefined {
  const head = Buffer.from(line.toString('latin1', at, Math.min(line.length, at + HEAD)), 'base64')
  const start = head.indexOf('\nid: ')
  return start === -1 ? undefined : head.toString('latin1', start + 5, start + 27)
}
