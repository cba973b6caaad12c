/**
 * The truth about a simulation: everything that happened, seen from outside. It checks the invariants: each violation
 * names the invariant by its number in {@link INVARIANTS}.
 */
import type { DeliveryState } from '../../src/client/delivery/entry.ts'
import type { Received } from '../../src/client/messenger/inbox.ts'
import { RelayError } from '../../src/client/wire/error.ts'
import { EPOCH, type Kernel, type Process } from './kernel.ts'
import type { Connection, NetworkObserver } from './network.ts'
import { usesReal } from './stand-in.ts'
import { Wire } from './wire.ts'

export const INVARIANTS = [
  'no error is left unhandled',
  'a message that a relay accepted is delivered, waits, expired, was wiped, or died with the memory of a relay; its sender learns its end',
  'nothing is shown twice without a mark, and the order of each sender holds, or a mark says so',
  'no receipt comes for a text that was neither shown nor stored',
  'no key material stays longer than the design allows',
  'nothing grows without its documented bound',
  'no client speaks to a relay more often than its back-off allows, and no connection is leaked',
  'the user sees the truth',
] as const

/** The excuse of a text whose writer ended and keeps no outbox. Its receiver can read it, all the same. */
export const NO_OUTBOX = 'its writer ended, and keeps no outbox'

/** A text that a person wrote, or anything else that is shown. */
export interface Text {
  readonly number: number
  /** The device on which it was written. */
  readonly from: string
  readonly to: string
  readonly what: string
  readonly id: string
  /** Process that wrote it. */
  readonly by: Process
  readonly sentAt: number
  /** The same by the clock of its writer. */
  readonly wall: number
  /** Its writer gives it up after so long, ms. */
  readonly within: number
  /** The last state that its writer saw. */
  state: DeliveryState
  error: unknown
  /** The processes of the receiver that showed it. */
  readonly shown: Process[]
  /** The text before from the same run of the writer to the same receiver, which this one names. */
  readonly named: Text | undefined
  /** The same, or the latest one before it that had not failed: only that one can be missing. */
  readonly before: Text | undefined
  /** The devices of the receiver that stored that it came, and when the last one did. */
  readonly doneBy: Set<string>
  doneAt: number
  /** When its writer learned its end. */
  settledAt: number
  /** The outbox on the writer's disk has it. */
  isKept: boolean
  /** It was shown as the text of a stranger. */
  wasStranger: boolean
  /** A fault that explains why its end stays unknown. */
  excuse: string | undefined
}

export class Violation extends Error {
  readonly invariant: number

  constructor(invariant: number, what: string) {
    super(what)
    this.name = 'Violation'
    this.invariant = invariant
  }
}

/**
 * Dials for one connection in ten minutes, above which a back-off is broken: six within the first minute at most, and then
 * one after each 30 to 60 s.
 */
const MOST_DIALS = 26
const DIALS_MS = 600_000
/**
 * Connections of one process to one relay for one purpose: to send to a mailbox, to read that of a key, or to read
 * addresses. There is one, and another that is being closed. As many have no purpose yet.
 */
const MOST_CONNECTIONS = 2

export class Truth implements NetworkObserver {
  readonly #kernel: Kernel
  readonly texts: Text[] = []
  readonly #openTexts = new Map<string, Set<Text>>()
  readonly #byId = new Map<string, Text>()
  /** By writer and receiver: when a text failed last because a relay denied it. */
  readonly #denied = new Map<string, number>()
  /** The last text of each process to each person. */
  readonly #latest = new Map<string, Text>()
  /** Lines of the story, if it is told. */
  story: string[] | undefined
  /** Every byte that passed, every state that was shown, and every write to a disk, if they are kept to compare two runs. */
  record: string[] | undefined
  readonly counts: Record<string, number> = {}
  readonly #dials = new Map<string, number[]>()
  readonly #open = new Map<string, number>()
  /** The last text of each sender that each process showed. */
  readonly #last = new Map<string, number>()
  violation: Violation | undefined
  /** How many people there are. */
  people = 0
  readonly wire: Wire

  constructor(kernel: Kernel) {
    this.#kernel = kernel
    this.wire = new Wire(this, kernel)
  }

  count(what: string): void {
    this.counts[what] = (this.counts[what] ?? 0) + 1
  }

  /** Notes a size, of which the report shows the greatest. */
  most(what: string, size: number): void {
    const name = `most ${what}`
    this.counts[name] = Math.max(this.counts[name] ?? 0, size)
  }

  note(what: string, bytes?: Uint8Array): void {
    if (this.record === undefined) return
    const line = `${this.#kernel.now - EPOCH} ${what} `
    this.record.push(bytes === undefined ? line : line + Buffer.from(bytes).toString('latin1'))
  }

  /** Adds a line to the story. */
  tell(who: string, what: string): void {
    if (this.record !== undefined) this.note(`${who} ${what}`)
    this.story?.push(`${clockOf(this.#kernel.now)}  ${who.padEnd(8)} ${what}`)
  }

  violate(invariant: number, what: string): void {
    if (this.violation !== undefined) return
    this.tell('TRUTH', `violation of ${invariant} (${INVARIANTS[invariant]}): ${what}`)
    this.violation = new Violation(invariant, what)
    this.#kernel.fail(this.violation)
  }

  onSent(text: Pick<Text, 'number' | 'from' | 'to' | 'what' | 'id' | 'by' | 'within'>): void {
    const pair = `${text.by.pid} ${text.to}`
    const named = this.#latest.get(pair)
    let before = named
    while (before?.state === 'failed') before = before.before
    const whole = {
      ...text,
      sentAt: this.#kernel.now,
      wall: text.by.machine.wall,
      state: 'waiting' as const,
      error: undefined,
      shown: [],
      named,
      before,
      doneBy: new Set<string>(),
      doneAt: 0,
      settledAt: 0,
      isKept: false,
      wasStranger: false,
      excuse: undefined,
    }
    this.texts[text.number] = whole
    this.#latest.set(pair, whole)
    this.#byId.set(text.id, whole)
    const open = this.#openTexts.get(text.from) ?? new Set()
    this.#openTexts.set(text.from, open.add(whole))
    this.count(text.what)
    this.tell(text.from, `writes ${text.what} ${text.number} to ${text.to}`)
  }

  /** Returns the texts of a person whose writer does not know their end. */
  openTexts(from: string): Iterable<Text> {
    return this.#openTexts.get(from) ?? []
  }

  /** Returns when a text failed last because a relay denied it; 0 if none did. */
  deniedAt(from: string, to: string): number {
    return this.#denied.get(`${from} ${to}`) ?? 0
  }

  findText(id: string): Text | undefined {
    return this.#byId.get(id)
  }

  /** The writer sees a state of a text. */
  onState(id: string, state: DeliveryState, error: unknown): void {
    const text = this.#byId.get(id)
    if (text === undefined || (text.state === state && text.error === error)) return
    // The path of a simulated disk differs from run to run.
    const why = state === 'failed' && error instanceof Error ? `: ${error.message.replace(/\/sim\/\S+/, 'a file')}` : ''
    if (text.state !== state) this.tell(text.from, `sees that ${text.what} ${text.number} is ${state}${why}`)
    if ((state === 'delivered' || state === 'read') && text.doneBy.size === 0)
      this.violate(3, `${text.from} sees text ${text.number} as ${state}, and ${text.to} did not get it`)
    if (state === 'failed' && error instanceof RelayError && error.code === 'denied')
      this.#denied.set(`${text.from} ${text.to}`, this.#kernel.now)
    // After a power failure, texts whose end the writer knew may be in the outbox again.
    if (state === 'waiting' || state === 'held') this.#openTexts.get(text.from)?.add(text)
    else {
      this.#openTexts.get(text.from)?.delete(text)
      text.settledAt = this.#kernel.now
    }
    text.state = state
    text.error = error
  }

  /** A device shows a text. @param owner the person whose device it is */
  onShown(device: string, owner: string, process: Process, id: string, received: Received): void {
    const text = this.#byId.get(id)
    const { verdict, from, gap, late } = received
    const marks = [verdict === 'genuine' ? '' : verdict, gap ? 'gap' : '', late ? 'late' : '', from === undefined ? 'stranger' : '']
    const said = marks.filter((mark) => mark !== '').join(', ')
    if (text === undefined || text.to !== owner) return this.violate(2, `${device} sees a text that was not sent to them`)
    const { number } = text
    this.tell(device, `sees ${text.what} ${number} of ${text.from}${said === '' ? '' : ` (${said})`}`)
    this.count('shown')
    for (const mark of marks) if (mark !== '') this.count(`shown: ${mark}`)
    const isMarked = marks.slice(0, 3).some((mark) => mark !== '')
    if (text.shown.includes(process)) this.violate(2, `${device} sees text ${number} twice`)
    if (text.doneBy.has(device) && !isMarked) this.violate(2, `${device} sees text ${number} again, and had stored it`)
    if (from !== undefined) this.#checkOrder(text, device, process, isMarked)
    const { before } = text
    const isMissing = before !== undefined && before.shown.length === 0 && before.state !== 'failed' && !before.wasStranger
    if (from !== undefined && !isMarked && isMissing && !text.wasStranger && text.shown.length === 0)
      this.violate(2, `${device} sees text ${number} of ${text.from}, and nothing says that text ${before.number} is missing`)
    text.shown.push(process)
    if (from === undefined) text.wasStranger = true
  }

  #checkOrder(text: Text, device: string, process: Process, isMarked: boolean): void {
    const { number } = text
    const pair = `${text.from} ${process.pid}`
    const last = this.#last.get(pair) ?? -1
    // A text that was shown and not stored before a crash is shown again.
    // A writer who keeps no outbox forgets which text came before: its next one cannot name it.
    // The clock of the writer may have been wrong.
    const isKnown = (text.excuse === undefined || this.texts[last]?.by === text.by) && text.wall <= (this.texts[last]?.wall ?? 0)
    if (number < last && !isMarked && isKnown && text.shown.length === 0)
      this.violate(2, `${device} sees text ${number} of ${text.from} after text ${last}, without a mark`)
    this.#last.set(pair, Math.max(last, number))
  }

  /** The device has stored that it came; a receipt may follow. */
  onDone(device: string, id: string): void {
    const text = this.#byId.get(id)
    text?.doneBy.add(device)
    if (text !== undefined) text.doneAt = this.#kernel.now
    this.count('done')
  }

  onDial(client: Process, relay: string): void {
    this.count('dials')
    const name = `${client.pid} ${relay}`
    const { now } = this.#kernel
    const dials = (this.#dials.get(name) ?? []).filter((time) => time > now - DIALS_MS)
    dials.push(now)
    this.#dials.set(name, dials)
    this.most('dials of one relay in ten minutes', dials.length)
    // Two connections read, one at the inbox and one at addresses. Two send to each other person: to an inbox, and to an address.
    if (dials.length > MOST_DIALS * 2 * this.people)
      this.violate(6, `${client.name} dialled one relay ${dials.length} times in ten minutes`)
  }

  onDialled(client: Process, relay: string, isUp: boolean): void {
    if (this.record !== undefined) this.note(`${client.name} dialled ${relay} ${isUp}`)
    if (isUp) this.count('connections')
  }

  checkConnections(connections: Iterable<Connection>): void {
    this.#open.clear()
    if (usesReal()) return
    for (const connection of connections) {
      const { client, relay } = connection
      const purpose = this.wire.purposeOf(connection)
      if (purpose === undefined) continue
      const name = `${client.pid} ${relay} ${purpose}`
      const count = (this.#open.get(name) ?? 0) + 1
      this.#open.set(name, count)
      if (count > MOST_CONNECTIONS) this.violate(6, `${client.name} has ${count} connections to one relay: each ${purpose}`)
    }
  }

  onBytes(connection: Connection, direction: 'to relay' | 'to client', bytes: Uint8Array): void {
    if (this.record !== undefined) this.note(`${connection.number} ${direction}`, bytes)
    if (!usesReal()) this.wire.onBytes(connection, direction, bytes)
  }

  onGone(connection: Connection): void {
    this.wire.onGone(connection)
  }
}

/** Returns a time as `day 2 03:04:05.678`. */
export function clockOf(now: number): string {
  const time = new Date(now - EPOCH)
  const day = Math.floor((now - EPOCH) / 86_400_000)
  return `day ${day} ${time.toISOString().slice(11, 23)}`
}
