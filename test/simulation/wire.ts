/**
 * Reads the packets between clients and relays as an observer who sees the texts, which the stand-in for cryptography
 * leaves readable. It checks the rules that no endpoint alone can see: the order of deliveries, leases, the window, that a
 * client has a message erased only after it was stored, and that what a relay accepted reaches a receiver who is there.
 */
import { sha256 } from '../../src/auth/crypto.ts'
import { formatFingerprint } from '../../src/auth/ssh-key.ts'
import { FUTURE, STALE } from '../../src/client/format/message.ts'
import { DEFAULT_LIMITS } from '../../src/protocol/limits.ts'
import { PACKETS } from '../../src/protocol/packets.ts'
import type { Kernel, Process } from './kernel.ts'
import type { Connection } from './network.ts'
import { Sends } from './sends.ts'
import { HYBRID_START, seedOf } from './stand-in.ts'
import { Shelf } from './stored.ts'
import { NO_OUTBOX, type Text, type Truth } from './truth.ts'

/** The start of a payload in base64: the header of the age file, and the header of the message with its id. */
const HEAD = 2_800
const LF = 0x0a
const SEMICOLON = 0x3b
const ZERO = 0x30
/** How a payload for a one-time key or a recipient of the day begins. */
const HYBRID = Buffer.from(HYBRID_START).subarray(0, 27).toString('base64')
/** A relay that is asleep or late may give a message a little longer. */
export const LATE_MS = 900_000
/** A message may expire a little earlier, too: its time passes from one relay to the next. */
const SOON_OVER_MS = 60_000
/** Packets that no request asks for. */
const UNASKED: readonly number[] = [PACKETS.MESSAGE.no, PACKETS.DELIVERY.no, PACKETS.NOTICE.no]

/**
 * What an answer will be about: the text and the mailbox of a SEND, the messages of an ACK, the mailbox of a SUBSCRIBE, and
 * for a VERIFY the key.
 */
type Asked =
  | { readonly text: string | undefined; readonly mailbox: string }
  | { readonly acked: readonly string[] }
  | { readonly box: Box }
  | { readonly isKey: true }

/** A mailbox that is read on a connection. */
interface Box {
  /** Its fingerprint, if the client showed its secret. */
  readonly mailbox: string
  /** By the relay's id: the messages that the client holds. */
  readonly given: Map<string, Given>
  /** Every message id that the relay ever wrote here. */
  readonly ever: Set<string>
  subscribedAt: number
  /** By sender and connection that sent: the place of the last message that came so. */
  readonly last: Map<string, Map<Seen, number>>
}

interface Given {
  /** The id of the text. */
  readonly text: string | undefined
  /** The seed of the key that opens it, if that is no key that lasts. */
  readonly seed: Buffer | undefined
  /** Whether the reader must erase a one-time key once the message was read (R2). */
  readonly erasesKey: boolean
}

/** What happened on a connection. */
interface Seen {
  /** Incomplete lines, from the client and from the relay. */
  toRelay: Buffer | undefined
  toClient: Buffer | undefined
  /** Requests without an answer. */
  readonly asked: (Asked | undefined)[]
  /** By label: the mailboxes that are read here. That of a key has the empty one. */
  readonly boxes: Map<string, Box>
  /** The mailbox to which the client sends. */
  to: string | undefined
  /** The fingerprint of the key that the client proved. */
  key: string | undefined
  /** When the relay learned that it has ended: the place of the next message in the order of arrival. */
  goneAt: number
  /** The same for the last write of the relay. */
  wroteAt: number
}

/** A place in the order of arrival, and the connection that sent. */
interface Place {
  readonly at: number
  readonly by: Seen
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
  readonly #places = new Map<string, Place[]>()
  /** By relay and id of a message. */
  readonly #stored = new Map<string, Shelf>()
  readonly #acked = new Set<string>()
  /** By relay and id of a message: those that a client of any connection acknowledged, perhaps without an answer yet. */
  readonly #acking = new Set<string>()
  /** By relay and id of a message: when the relay accepted it. */
  readonly #accepted = new Map<string, number>()
  /** By device and relay: when the relay denied the device something last. */
  readonly #denied = new Map<string, number>()
  readonly sends: Sends
  /** The fingerprints of keys that receivers are named by. */
  readonly #fingerprints = new Map<string, string>()
  /** By token: the mailbox of the key that got it. */
  readonly #tokens = new Map<string, string>()
  /** Whether a device tries no key with that seed on the messages of a mailbox. */
  isClosed: ((device: string, seed: Buffer, mailbox: string, relay: string) => boolean) | undefined
  /** A device had a message erased, to a one-time key that it must have erased before. */
  onErased: ((device: string, seed: Buffer) => void) | undefined
  /** A device sends a text under encryption to a key that lasts. */
  onLasting: ((process: Process, text: Text) => void) | undefined
  /** Whether the disk of a device says that it read a text. */
  isRead: ((device: string, text: Text) => boolean) | undefined
  /** Whether a device has no key of a copy any more, and a relay has another copy of the text. @param message the id of the copy */
  isLeft: ((device: string, seed: Buffer, text: string, message: string) => boolean) | undefined
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
    if (!isRequest) seen.wroteAt = this.#count
    const rest = start === all.length ? undefined : Buffer.from(all.subarray(start))
    if (isRequest) seen.toRelay = rest
    else seen.toClient = rest
  }

  /** The relay knows that the connection has ended: its leases return. */
  onGone(connection: Connection): void {
    const seen = this.#seen.get(connection)
    if (seen === undefined) return
    seen.goneAt = this.#count
    this.#readers.get(connection.server)?.delete(connection)
    for (const { given } of seen.boxes.values()) given.clear()
    // The relay may have erased them without an answer.
    for (const asked of seen.asked) if (asked !== undefined && 'acked' in asked) this.#erase(connection, asked.acked)
  }

  /** The messages that a relay accepted and that nobody had erased, by id. @param since when it lost all earlier ones */
  storedAt(relay: string, since: number): Shelf {
    const shelf = this.#shelf(relay)
    shelf.expire(Math.max(since, this.#kernel.now - this.holds.get(relay)!))
    return shelf
  }

  /** Returns when a relay denied a device something last; 0 if it never did. */
  deniedAt(device: string, relay: string): number {
    return this.#denied.get(`${device} ${relay}`) ?? 0
  }

  #shelf(relay: string): Shelf {
    let shelf = this.#stored.get(relay)
    if (shelf === undefined) this.#stored.set(relay, (shelf = new Shelf()))
    return shelf
  }

  /** Whether the client has got a message on a connection. */
  hasGiven(connection: Connection, message: string): boolean {
    for (const { ever } of this.#seen.get(connection)?.boxes.values() ?? []) if (ever.has(message)) return true
    return false
  }

  /** Returns the fingerprint of the key that the client proved on a connection, if the relay has not ended it. */
  keyOf(connection: Connection): string | undefined {
    const seen = this.#seen.get(connection)
    return seen?.goneAt === Infinity ? seen.key : undefined
  }

  /** What a connection is for: to read the mailbox of a key, or addresses, or to send. Undefined until it shows. */
  purposeOf(connection: Connection): string | undefined {
    const { to, boxes } = this.#of(connection)
    const box = boxes.get('')
    if (to !== undefined) return `${box === undefined ? 'sends' : 'sends as a key'} to ${to}`
    if (box !== undefined) return box.subscribedAt === -1 ? undefined : `reads ${box.mailbox}`
    return boxes.size === 0 ? undefined : 'reads addresses'
  }

  #of(connection: Connection): Seen {
    let seen = this.#seen.get(connection)
    if (seen === undefined) {
      seen = {
        toRelay: undefined,
        toClient: undefined,
        asked: [],
        boxes: new Map(),
        to: undefined,
        key: undefined,
        goneAt: Infinity,
        wroteAt: 0,
      }
      this.#seen.set(connection, seen)
    }
    return seen
  }

  /** Returns the fingerprint of a mailbox. @param receiver the same, or a key */
  #nameOf(receiver: string): string {
    if (receiver.startsWith('SHA256:')) return receiver
    let name = this.#fingerprints.get(receiver)
    if (name === undefined) {
      const blob = Buffer.from(receiver.split(' ')[1] ?? '', 'base64')
      this.#fingerprints.set(receiver, (name = formatFingerprint(sha256(blob))))
    }
    return name
  }

  #onRequest(connection: Connection, seen: Seen, line: Buffer): void {
    const number = numberOf(line)
    switch (number) {
      case PACKETS.SEND.no: {
        const at = line.lastIndexOf(0x3b)
        const text = textIn(line, at + 1)
        const mailbox = this.#nameOf(line.toString('latin1', line.indexOf(0x3b, 2) + 1, at))
        seen.to ??= mailbox
        seen.asked.push({ text, mailbox })
        this.sends.onSend(connection.client, connection.server.machine.name, text)
        const written = text === undefined ? undefined : this.#truth.findText(text)
        if (written !== undefined && line.toString('latin1', at + 1, at + 1 + HYBRID.length) !== HYBRID)
          this.onLasting?.(connection.client, written)
        // The receiver may get it before the sender has the answer.
        const name = `${connection.server.machine.name} ${mailbox} ${text}`
        const places = this.#places.get(name)
        const place = { at: this.#count++, by: seen }
        if (places === undefined) this.#places.set(name, [place])
        else places.push(place)
        return
      }
      case PACKETS.ACK.no: {
        const acked = line.toString('latin1').split(';').slice(2)
        seen.asked.push({ acked })
        return this.#onAck(connection, seen, acked)
      }
      case PACKETS.AUTH.no: {
        const [, key = ''] = line.toString('latin1').split(';')
        seen.asked.push(undefined)
        // A later login with the same key renews its token.
        if (!seen.boxes.has('')) seen.boxes.set('', makeBox(this.#nameOf(key)))
        return
      }
      case PACKETS.VERIFY.no:
        seen.asked.push({ isKey: true })
        return
      case PACKETS.CLAIM.no: {
        const [, secret = '', label = ''] = line.toString('latin1').split(';')
        seen.asked.push(undefined)
        if (label === '') return
        const mailbox = formatFingerprint(sha256(Buffer.from(secret, 'base64url')))
        const same = [...seen.boxes.values()].find((box) => box.mailbox === mailbox)
        // Under a second label the claim is renewed, and its subscription moves. Otherwise all leases return.
        seen.boxes.set(label, same !== undefined && seen.boxes.get(label) !== same ? same : makeBox(mailbox))
        return
      }
      case PACKETS.SUBSCRIBE.no: {
        const [, label = ''] = line.toString('latin1').split(';')
        seen.asked.push({ box: this.#boxOf(seen, label) })
        return
      }
      default:
        seen.asked.push(undefined)
    }
  }

  /** Returns what is read under a label, or by a token. */
  #boxOf(seen: Seen, label: string): Box {
    const name = label.includes('.') ? '' : label
    let box = seen.boxes.get(name)
    // It logged in by the token of an earlier connection.
    if (box === undefined) seen.boxes.set(name, (box = makeBox(this.#tokens.get(label) ?? '')))
    return box
  }

  #onPacket(connection: Connection, seen: Seen, line: Buffer): void {
    const number = numberOf(line)
    if (number === PACKETS.MESSAGE.no) this.#onMessage(connection, seen, this.#boxOf(seen, ''), line, 3)
    if (number === PACKETS.DELIVERY.no) {
      const at = line.indexOf(SEMICOLON, 3)
      this.#onMessage(connection, seen, this.#boxOf(seen, line.toString('latin1', 3, at)), line, at + 1)
    }
    if (number === PACKETS.TOKEN.no && seen.boxes.has(''))
      this.#tokens.set(line.toString('latin1', 3, line.indexOf(SEMICOLON, 3)), seen.boxes.get('')!.mailbox)
    if (UNASKED.includes(number)) return
    const relay = connection.server.machine.name
    if (number === PACKETS.ERROR.no && line.toString('latin1').split(';')[1] === 'denied')
      this.#denied.set(`${connection.client.machine.name} ${relay}`, this.#kernel.now)
    const asked = seen.asked.shift()
    if (asked === undefined) return
    if (number === PACKETS.TOKEN.no && 'isKey' in asked) seen.key = seen.boxes.get('')?.mailbox
    else if (number === PACKETS.SUBSCRIBED.no && 'box' in asked) {
      // A client may log in by the token of an earlier connection.
      if (asked.box === seen.boxes.get('') && asked.box.mailbox !== '') seen.key = asked.box.mailbox
      asked.box.subscribedAt = this.#count++
      this.#checkTaken(connection, asked.box, Number(line.toString('latin1', 3)))
    } else if (number === PACKETS.SENT.no && 'text' in asked && asked.text !== undefined) {
      const message = line.toString('latin1', 3, line.indexOf(SEMICOLON, 3))
      this.#shelf(relay).add(message, { text: asked.text, mailbox: asked.mailbox, at: this.#kernel.now })
      this.#accepted.set(`${relay} ${message}`, this.#kernel.now)
    } else if (number === PACKETS.ACKED.no && 'acked' in asked) {
      this.#erase(connection, asked.acked)
      for (const message of asked.acked) this.#acked.add(`${relay} ${message}`)
    }
  }

  /** What an older connection of the same device has waits for the newer one. */
  #checkTaken(connection: Connection, { mailbox }: Box, waiting: number): void {
    const { client, server } = connection
    const readers = this.#readers.get(server) ?? new Set()
    this.#readers.set(server, readers)
    let had = 0
    for (const older of readers) {
      if (older === connection || older.client.machine !== client.machine) continue
      const box = [...this.#of(older).boxes.values()].find((each) => each.mailbox === mailbox)
      for (const message of box?.given.keys() ?? [])
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

  /** @param start where the id begins */
  #onMessage(connection: Connection, seen: Seen, box: Box, line: Buffer, start: number): void {
    const at = line.indexOf(SEMICOLON, start)
    const message = line.toString('latin1', start, at)
    const text = textIn(line, at + 1)
    const { client, server } = connection
    const relay = server.machine.name
    const told = `${relay} gives ${client.name} a message`
    if (box.ever.has(message)) this.#truth.violate(1, `${told} twice on one connection`)
    if (this.#acked.has(`${relay} ${message}`)) this.#truth.violate(1, `${told} that was acknowledged`)
    const acceptedAt = this.#accepted.get(`${relay} ${message}`)
    if (acceptedAt !== undefined && acceptedAt < this.#kernel.now - this.holds.get(relay)! - LATE_MS)
      this.#truth.violate(1, `${told} that has expired`)
    box.ever.add(message)
    const seed = seedOf(Buffer.from(line.toString('latin1', at + 1, at + 121), 'base64'))
    box.given.set(message, { text, seed, erasesKey: seed !== undefined && mustErase(line, at + 1, client.machine.wall) })
    if (box.given.size > DEFAULT_LIMITS.window) {
      // A message that expires, or that another device acknowledged, makes room in the window, and its reader does not learn it.
      const since = this.#kernel.now - this.holds.get(relay)! + SOON_OVER_MS
      const isHeld = (name: string): boolean => (this.#accepted.get(name) ?? 0) > since && !this.#acking.has(name)
      const count = [...box.given.keys()].filter((each) => isHeld(`${relay} ${each}`)).length
      if (count > DEFAULT_LIMITS.window) this.#truth.violate(5, `${told}, the ${count}th at once`)
    }
    let leases = this.#leases.get(server)
    if (leases === undefined) this.#leases.set(server, (leases = new Map()))
    const other = leases.get(message)
    const holder = other === undefined ? undefined : this.#of(other)
    let hasWaited = false
    if (holder !== undefined && holder !== seen && holder.goneAt === Infinity)
      for (const { given, subscribedAt } of holder.boxes.values()) {
        if (!given.has(message) || subscribedAt <= box.subscribedAt) continue
        // It may have waited in the relay's output since before, behind a write that the network did not take.
        if (seen.wroteAt > subscribedAt) this.#truth.violate(1, `${told} that another connection has`)
        else hasWaited = true
      }
    if (!hasWaited) leases.set(message, connection)
    const from = text === undefined ? undefined : this.#truth.findText(text)?.from
    if (from !== undefined) this.#checkOrder(connection, box, from, text!)
  }

  /**
   * Copies of a text may arrive at any of their places. A relay that sleeps finds several connections of one sender, which
   * gave each of them up, and reads all of them in turns: then only the order of each connection holds.
   */
  #checkOrder(connection: Connection, box: Box, from: string, text: string): void {
    const { server, client } = connection
    if (box.mailbox === '') return
    const last = box.last.get(from) ?? new Map<Seen, number>()
    const isFree = ({ at, by }: Place): boolean => [...last].every(([other, given]) => at > given || (other !== by && by.goneAt > given))
    const places = this.#places.get(`${server.machine.name} ${box.mailbox} ${text}`)
    const place = places?.find(isFree)
    if (place === undefined) {
      const { number } = this.#truth.findText(text)!
      return this.#truth.violate(2, `${server.name} gives ${client.name} text ${number} after a later one`)
    }
    box.last.set(from, last.set(place.by, place.at))
  }

  #onAck(connection: Connection, seen: Seen, messages: readonly string[]): void {
    const device = connection.client.machine.name
    for (const message of messages) {
      this.#acking.add(`${connection.server.machine.name} ${message}`)
      const box = [...seen.boxes.values()].find(({ given }) => given.has(message))
      const { text: id, seed, erasesKey } = box?.given.get(message) ?? {}
      box?.given.delete(message)
      // An earlier version of the writer sent it to the mailbox of a key. The reader cannot read it there.
      if (seed !== undefined && this.isClosed?.(device, seed, box!.mailbox, connection.relay) === true) continue
      if (seed !== undefined && erasesKey === true) this.onErased?.(device, seed)
      const text = id === undefined ? undefined : this.#truth.findText(id)
      if (text === undefined || text.doneBy.has(device)) continue
      // The client may learn in this very turn that it is stored; or it is storing a copy, too.
      this.#kernel.at(this.#kernel.now, undefined, () => {
        // If its writer forgot it or gave it up, later texts do not name it, and make the receiver erase its key (R2).
        const isExcused = text.excuse !== undefined && text.excuse !== NO_OUTBOX
        const isGivenUp = seed !== undefined && (text.state === 'expired' || text.state === 'failed')
        // If it was encrypted anew, the key of the first copies may be gone before a later one is stored.
        const isOther = seed !== undefined && this.isLeft?.(device, seed, text.id, message) === true
        if (!text.doneBy.has(device) && !isExcused && !isGivenUp && !isOther && this.isRead?.(device, text) !== true)
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

const makeBox = (mailbox: string): Box => ({ mailbox, given: new Map(), ever: new Set(), subscribedAt: -1, last: new Map() })

/**
 * Whether the reader of a payload must erase its one-time key once the message was read (R2): the message says that other
 * keys are left. @param wall the receiver's clock: a message that is not genuine changes no ring
 */
function mustErase(line: Buffer, at: number, wall: number): boolean {
  const payload = Buffer.from(line.toString('latin1', at), 'base64')
  const header = payload.subarray(0, payload.indexOf('\n\n', payload.indexOf('\nid: '))).toString('latin1')
  const left = /\nleft: (\d+)/.exec(header)?.[1]
  const time = Date.parse(/\ntime: (\S+)/.exec(header)?.[1] ?? '')
  const isGenuine = time <= wall + (FUTURE - 60) * 1_000 && time >= wall - (STALE - 60) * 1_000
  return isGenuine && Number(left ?? '0') > 0
}

/** Finds the id of the message in a payload. */
function textIn(line: Buffer, at: number): string | undefined {
  const head = Buffer.from(line.toString('latin1', at, Math.min(line.length, at + HEAD)), 'base64')
  const start = head.indexOf('\nid: ')
  return start === -1 ? undefined : head.toString('latin1', start + 5, start + 27)
}
