/**
 * The relay: every door passes its streams to `accept`, and a timer calls `tick` every second. Holds the mailboxes, the
 * boot secret and the token secret in memory only. Logs nothing.
 *
 * Over 350 lines: the life of a relay (open, suspended, closed, wiped) changes all of its parts in one order, which a reader
 * must see in one place. The parts themselves are in the files beside it.
 */
import { createSecretKey, type KeyObject, randomBytes } from 'node:crypto'
import { createSecret, Tokens } from '../auth/token.ts'
import { type HeldMessage, MemoryMailboxes } from '../mailbox/mailbox.ts'
import type { ErrorCode } from '../protocol/errors.ts'
import { type Limits, STRANGER_LIMITS } from '../protocol/limits.ts'
import { Output, Stock } from '../protocol/output.ts'
import { encodeError } from '../protocol/packets.ts'
import type { Ports } from '../protocol/ports.ts'
import { RelaySession } from '../protocol/relay-session.ts'
import { Admission, type Guest, type Place } from './admission.ts'
import { Clock } from './clock.ts'
import { Connection, type Host } from './connection.ts'
import { createCounters, type Counters, type Door, type Snapshot } from './counters.ts'
import { Names } from './names.ts'
import { PageRate } from './page-rate.ts'
import { Prover, type RelayProof } from './prover.ts'
import { type Member, Roster, type Strangers } from './roster.ts'
import type { Spent } from './senders.ts'
import type { ByteStream, Receiver } from './stream.ts'
import { Traffic } from './traffic.ts'

const TICK_MS = 1_000
/** Garbage is collected this long after the last connection ended, if the relay is idle then. */
const IDLE_MS = 2_000
/** The same if the relay is not idle: at most one collection in this time. */
const BUSY_MS = 8_000
/** If it is never idle, all garbage is collected this often: memory would grow for hours otherwise. */
const ALL_MS = 300_000
/** The wait in the ERROR to a stream that found no place. */
const COME_BACK_SECONDS = 10
/** The wait in the notice to clients when the relay goes down. */
const RESTART_SECONDS = 10
/** The same when another relay takes over at once. */
const HANDOVER_SECONDS = 3
/** Connections that may hold output buffers at a time. If more are woken in a turn, their output is written early. */
const TURN_CONNECTIONS = 64
/**
 * Connections that go on in a turn of those that have used up theirs. All others are read from and written to between two
 * such turns, so they wait for these few only, however many there are.
 */
const GOING_ON = 8
/** Time for the notice of a restart to reach the clients that read. */
const LAST_WORDS_MS = 2_000

export interface RelayOptions {
  readonly limits: Limits
  /** Bytes for messages. */
  readonly memory: number
  readonly connections: number
  readonly unproven: number
  readonly perCircuit: number
  readonly perKey: number
  readonly perSender: number
  readonly names: readonly string[]
  /**
   * Names that the relay still has, but is leaving. A HELLO with one of them is answered with the name to use instead.
   */
  readonly movedFrom?: readonly string[]
  /** The keys that may log in; undefined admits every key. */
  readonly admit?: readonly Member[] | undefined
  /** Whether other keys may send to them; `off` by default. */
  readonly strangers?: Strangers
  /**
   * Secrets of the relay before, if this one takes over from it. The relay is then suspended at first: its messages
   * must be restored before it serves a connection.
   */
  readonly inherited?: RelaySecrets | undefined
  /**
   * Collects garbage, so that V8 overwrites the keys and tokens of connections that ended: of young objects in some ms, or
   * of all in some ten.
   */
  readonly collect?: ((what: 'young' | 'all') => void) | undefined
  /** Reports a bug. Its connection has ended. */
  readonly onFault: (error: unknown) => void
  /** ms, never going back. The default is the time of src/relay/clock.ts. */
  readonly now?: () => number
}

/** 32 bytes each. `boot` blinds mailbox ids, `token` signs tokens. */
export interface RelaySecrets {
  readonly boot: KeyObject
  readonly token: KeyObject
}

/** Everything that a suspended relay hands over to the next (src/handover). */
export interface Estate {
  readonly secrets: RelaySecrets
  readonly messages: number
  readonly bundles: number
  held(): Iterator<HeldMessage, void>
  heldBundles(): Iterator<HeldMessage, void>
  /** The used sending limits. */
  spent(): Iterable<Spent>
  /** Whether the relay still has this content: the operator may wipe it meanwhile. */
  intact(): boolean
}

const DISCARD: Receiver = {
  onChunk: (chunk) => void chunk.fill(0),
  onFinish: () => {},
  onTooLarge: () => {},
  onIdleFrames: () => {},
  onEnd: () => {},
}

export class Relay {
  readonly counters: Counters = createCounters()
  readonly #limits: Limits
  readonly #mailboxes: MemoryMailboxes
  readonly #admission: Admission
  readonly #pages: PageRate
  #secrets: RelaySecrets
  #prover: Prover
  #tokens: Tokens
  readonly #ports: Ports
  /** The ports of connections whose door knows by which name they came, by that name. */
  readonly #portsByName = new Map<string, Ports>()
  readonly #host: Host
  readonly #connections = new Set<Connection>()
  readonly #traffic = new Traffic<Connection>(() => this.counters.turnedAway['gave-way']++)
  readonly #clock = new Clock()
  readonly #now: () => number
  /** The wall clock, for the dates at which keys expire. */
  readonly #wall: () => number
  readonly #timer: NodeJS.Timeout
  readonly #names: Names
  /** The operator's list, and the roster made of it. */
  #members: readonly Member[] | undefined
  readonly #strangers: Strangers
  #roster: Roster
  /** Connections woken in this turn of the event loop. */
  #awake: Connection[] = []
  /** Connections that have used up their turn, the next one first. */
  readonly #resting: Connection[] = []
  #scheduled = false
  readonly #onTurn = (): void => {
    this.#scheduled = false
    this.#serve()
    this.#letGoOn()
  }
  #nextOwner = 1
  readonly #collect: RelayOptions['collect']
  /** When the first and the last connection ended whose garbage is not collected yet. */
  #ended: { readonly first: number; readonly last: number } | undefined
  /** When all garbage was collected last, or connections began to end. */
  #collectedAt: number | undefined
  /** Whether a chunk came since the last tick. */
  #isBusy = false
  #onEmpty: (() => void) | undefined
  #state: 'open' | 'suspended' | 'closed'

  constructor(options: RelayOptions) {
    this.#limits = options.limits
    this.#collect = options.collect
    this.#names = new Names(options.names, options.movedFrom ?? [])
    this.#now = options.now ?? (() => this.#clock.now())
    this.#wall = options.now ?? Date.now
    this.#pages = new PageRate(this.#now())
    this.#admission = new Admission(options, {
      usedMemory: () => this.#mailboxes.used,
      quotas: {
        isStranger: (key) => this.#roster.isStranger(key),
        perSender: (key) =>
          this.#roster.isStranger(key) ? Math.min(STRANGER_LIMITS.perSender, options.perSender) : this.#roster.of(key)?.perSender,
      },
      onEvicted: (reason) => this.counters.turnedAway[reason]++,
    })
    this.#state = options.inherited === undefined ? 'open' : 'suspended'
    this.#secrets = options.inherited ?? createSecrets()
    this.#prover = this.#createProver()
    this.#tokens = new Tokens({ secret: this.#secrets.token, seconds: options.limits.tokenSeconds })
    this.#members = options.admit
    this.#strangers = options.strangers ?? 'off'
    this.#roster = this.#createRoster()
    this.#mailboxes = new MemoryMailboxes({
      limits: options.limits,
      budget: options.memory,
      randomBytes,
      onErased: (reason) => this.counters.erased[reason]++,
    })
    this.#ports = this.#createPorts()
    this.#host = {
      prover: () => this.#prover,
      now: this.#now,
      wake: (connection) => {
        this.#awake.push(connection)
        this.#schedule()
      },
      rest: (connection) => {
        this.#resting.push(connection)
        this.#schedule()
      },
      onRest: () => {
        this.#isBusy = true
        if (this.#awake.length >= TURN_CONNECTIONS) this.#serve()
      },
      onProven: (connection) => connection.place.prove(),
      onHeld: (connection, bytes, gotOn) => this.#traffic.hold(connection, bytes, gotOn),
      onEnded: (connection) => this.#leave(connection),
      onFault: options.onFault,
    }
    this.#timer = setInterval(() => this.tick(), TICK_MS)
    this.#timer.unref()
  }

  #createPorts(): Ports {
    return {
      limits: this.#limits,
      stock: new Stock(),
      mailboxes: this.#mailboxes,
      names: () => this.#names.all,
      movedTo: (name) => this.#names.movedTo(name),
      admits: (mailbox) => this.#roster.admits(mailbox),
      sends: (mailbox) => this.#roster.sends(mailbox),
      receives: (mailbox) => this.#roster.receives(mailbox),
      isStranger: (mailbox) => this.#roster.isStranger(mailbox),
      places: (mailbox) => this.#roster.of(mailbox)?.places ?? this.#limits.mailboxMessages,
      receiver: (field) => this.#prover.receiver(field),
      claim: (secret) => this.#prover.claim(secret),
      drawChallenge: () => this.#prover.drawChallenge(),
      issueToken: ({ mailbox, isClaim }, audience, now) =>
        this.#tokens.issue({ subject: mailbox, isClaim, audience, now, id: `${this.#tokens.run}${this.#prover.draw(6)}` }),
      verifyToken: (token, now) => {
        const verified = this.#tokens.verify(token, { audiences: this.#names.all, now })
        return verified && { mailbox: verified.subject, expires: verified.expires, isClaim: verified.isClaim }
      },
      count: (what) => {
        if (typeof what === 'object') this.counters.refused[what.refused]++
        else if (what === 'decrypt' || what === 'sign' || what === 'claim') this.counters.logins[what]++
        else this.counters[what]++
      },
    }
  }

  /**
   * Returns the ports of a connection. One that came by one of the relay's names learns of no other.
   *
   * @param dialled the relay's name by which it came, or `localhost`, if the door knows it
   */
  #portsOf(dialled: string | undefined): Ports {
    if (dialled === undefined) return this.#ports
    let ports = this.#portsByName.get(dialled)
    if (ports === undefined) {
      ports = { ...this.#ports, names: () => this.#names.all.filter((name) => name === dialled) }
      this.#portsByName.set(dialled, ports)
    }
    return ports
  }

  /**
   * Adds a name. The first name of all counts for clients that send none.
   *
   * @param instead a name that the relay no longer has; the new one takes its place
   * @param left names that the relay is leaving, beside the configured ones
   */
  addName(name: string, instead?: string, left: readonly string[] = []): void {
    this.#names.add(name, instead, left)
  }

  /**
   * Replaces the list of admitted keys. If a key is no longer on it, its tokens become invalid, its connections end with
   * `denied`, and its mailbox is erased.
   */
  admit(members: readonly Member[] | undefined): void {
    this.#members = members
    // A relay that hands over must not change its messages: the next one reads the list itself.
    if (this.#state !== 'suspended') this.#enrol()
  }

  /** Makes the roster of the list, and ends the rights that it no longer grants. */
  #enrol(): void {
    const roster = this.#createRoster()
    this.#roster = roster
    for (const connection of this.#connections) connection.onAdmission()
    this.#mailboxes.eraseExcept((mailbox) => roster.receives(mailbox))
  }

  #createRoster(): Roster {
    return new Roster(this.#members, this.#strangers, (fingerprint) => this.#prover.mailbox(fingerprint), this.#wall())
  }

  #createProver(): Prover {
    return new Prover(this.#secrets.boot, (mailbox) => this.#roster.of(mailbox)?.mustVerify === true)
  }

  /**
   * Gives a visitor of the HTTP door a place, before the door reads a request. The door calls `leave` when the visitor's
   * socket is closed, and passes the place to `accept` if the visitor asks for a WebSocket.
   *
   * @returns undefined if there is no place
   */
  enter(circuit: string | undefined, guest: Guest): Place | undefined {
    const place = this.#admission.enter(circuit, this.#now(), guest)
    if (typeof place !== 'string') return place
    this.counters.turnedAway[place]++
    return undefined
  }

  /** Returns the seconds until a circuit may have the web page. Counts an answer if it is 0. */
  pageWait(circuit: string | undefined): number {
    return this.#pages.wait(circuit, this.#now())
  }

  /**
   * Takes a stream from a door, and returns its receiver.
   *
   * @param visit the stream's place, if it has one
   */
  accept(stream: ByteStream, door: Door, visit?: Place): Receiver {
    if (this.#state !== 'open') {
      this.counters.refused.restarting++
      return turnAway(stream, this.#ports.stock, 'restarting', this.#state === 'suspended' ? HANDOVER_SECONDS : RESTART_SECONDS)
    }
    const place = visit ?? this.enter(stream.circuit, stream)
    if (place === undefined) return turnAway(stream, this.#ports.stock, 'rate-limited', COME_BACK_SECONDS)
    this.counters.accepted[door]++
    const now = this.#now()
    const connection = new Connection({
      owner: this.#nextOwner++,
      host: this.#host,
      stream,
      place,
      session: (reader) =>
        new RelaySession<RelayProof>({ ports: this.#portsOf(stream.dialled), rates: place, framing: stream.framing, reader, now }),
    })
    this.#connections.add(connection)
    return connection
  }

  /**
   * Expires messages and deadlines, and forgets unused circuits. The timer calls it every second; tests call it too.
   */
  tick(): void {
    this.#clock.look()
    const now = this.#now()
    // A relay that hands over must not change its messages; the next relay expires those that are due.
    if (this.#state === 'open') this.#mailboxes.expire(now)
    // A relay that hands over erases nothing; the next one has the same list.
    if (this.#state === 'open' && this.#wall() >= this.#roster.until) this.#enrol()
    this.#admission.sweep(now)
    this.#pages.sweep(now)
    for (const connection of this.#connections) connection.onTick(now)
    this.#collectGarbage(now)
  }

  #collectGarbage(now: number): void {
    const wasBusy = this.#isBusy
    this.#isBusy = false
    if (this.#ended === undefined) return
    const { first, last } = this.#ended
    const isIdle = !wasBusy && now - last >= IDLE_MS
    if (!isIdle && now - first < BUSY_MS) return
    this.#ended = undefined
    const isAll = isIdle || now - (this.#collectedAt ??= first) >= ALL_MS
    if (isAll) this.#collectedAt = now
    this.#collect?.(isAll ? 'all' : 'young')
  }

  /** The relay's names, those first that it keeps. */
  get names(): readonly string[] {
    return this.#names.all
  }

  /** Bytes that a relay needs to take over everything. */
  get heldBytes(): number {
    return this.#mailboxes.heldBytes
  }

  snapshot(): Snapshot {
    const { mailboxes, subscribers, messages, bundles, bytes, budget } = this.#mailboxes.size
    return {
      counters: this.counters,
      accepting: this.#state === 'open',
      names: this.#names.all,
      connections: this.#admission.streams,
      proven: this.#admission.streams - this.#admission.unproven,
      mailboxes,
      subscribers,
      messages,
      bundles,
      messageBytes: bytes,
      messageBudget: budget,
    }
  }

  /**
   * Wipes the relay in a panic of its operator: ends every connection without a packet, overwrites every message and
   * draws new secrets. Old tokens become invalid, and an old mailbox id can no longer be traced to a key. The relay
   * goes on, empty.
   */
  wipe(): void {
    for (const connection of this.#connections) {
      connection.destroy()
      // Not when its stream ends, which is later: a proof still under way must not find the connection.
      connection.onEnd()
    }
    this.#mailboxes.eraseAll()
    this.#admission.forget()
    this.#pages.forget()
    this.#secrets = createSecrets()
    this.#tokens = new Tokens({ secret: this.#secrets.token, seconds: this.#limits.tokenSeconds })
    this.#prover = this.#createProver()
    this.#enrol()
  }

  /** Notifies all clients, ends every connection, and accepts no new one. All leases have returned when it resolves. */
  async suspend(): Promise<Estate> {
    this.#state = 'suspended'
    await this.#endConnections(HANDOVER_SECONDS)
    const secrets = this.#secrets
    return {
      secrets,
      messages: this.#mailboxes.size.messages,
      bundles: this.#mailboxes.size.bundles,
      held: () => this.#mailboxes.held(this.#now()),
      heldBundles: () => this.#mailboxes.heldBundles(this.#now()),
      spent: () => this.#admission.spent(this.#now()),
      intact: () => this.#secrets === secrets,
    }
  }

  /** Accepts connections again after `suspend`, or after the inheritance is restored. */
  resume(): void {
    if (this.#state !== 'suspended') return
    this.#state = 'open'
    this.#enrol()
  }

  /** Takes over a message of the relay before. Returns false if there is no memory for it. */
  restore(message: HeldMessage): boolean {
    if (!this.#roster.receives(message.mailbox)) return true
    return this.#mailboxes.restore(message, this.#now())
  }

  /** Takes over a bundle of the relay before. Without memory for it, its owner publishes it at the next login. */
  restoreBundle(bundle: HeldMessage): void {
    if (this.#roster.receives(bundle.mailbox)) this.#mailboxes.restoreBundle(bundle, this.#now())
  }

  /** Takes over a used sending limit of the relay before. */
  spend(spent: Spent): void {
    this.#admission.spend(spent, this.#now())
  }

  /** Notifies all clients, ends every connection and overwrites every message. */
  async close(): Promise<void> {
    this.#state = 'closed'
    await this.#endConnections(RESTART_SECONDS)
    clearInterval(this.#timer)
    this.#mailboxes.eraseAll()
  }

  async #endConnections(comeBackSeconds: number): Promise<void> {
    if (this.#connections.size === 0) return
    const ended = new Promise<void>((resolve) => (this.#onEmpty = resolve))
    for (const connection of this.#connections) connection.restart(comeBackSeconds)
    const patience = setTimeout(() => {
      for (const connection of this.#connections) connection.destroy()
    }, LAST_WORDS_MS)
    await ended
    clearTimeout(patience)
  }

  #schedule(): void {
    if (!this.#scheduled) setImmediate(this.#onTurn)
    this.#scheduled = true
  }

  /** Ends a turn of the event loop: each connection that was woken in it gathers and writes. */
  #serve(): void {
    const awake = this.#awake
    this.#awake = []
    for (const each of awake) each.onTurn()
  }

  /** Gives a turn to some of the connections that have used up theirs, in the order in which they did. */
  #letGoOn(): void {
    for (const each of this.#resting.splice(0, GOING_ON)) each.goOn()
    if (this.#resting.length > 0) this.#schedule()
  }

  #leave(connection: Connection): void {
    connection.place.leave()
    this.#connections.delete(connection)
    const now = this.#now()
    this.#ended = { first: this.#ended?.first ?? now, last: now }
    if (this.#connections.size === 0) this.#onEmpty?.()
  }
}

function createSecrets(): RelaySecrets {
  return { boot: createSecretKey(randomBytes(32)), token: createSecret() }
}

/** Refuses a stream before reading a packet: writes one ERROR, and keeps nothing for the stream. */
function turnAway(stream: ByteStream, stock: Stock, code: ErrorCode, seconds: number): Receiver {
  const output = new Output(stock, stream.framing)
  output.packet(encodeError(code, seconds))
  const end = (): void => {
    output.written()
    stream.end()
  }
  if (stream.write(output.take(), end)) end()
  return DISCARD
}
