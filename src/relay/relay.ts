/**
 * The relay: every door's streams end in `accept`, every second in `tick`. Holds the mailboxes, the
 * boot secret and the token secret, all of which live and die with it. Logs nothing.
 */
import { createSecretKey, type KeyObject, randomBytes } from 'node:crypto'
import { createSecret, MAX_TOKEN_BYTES, Tokens } from '../auth/token.ts'
import { type HeldMessage, MemoryMailboxes } from '../mailbox/mailbox.ts'
import type { ErrorCode } from '../protocol/errors.ts'
import type { Limits } from '../protocol/limits.ts'
import { Output, Stock } from '../protocol/output.ts'
import { encodeError } from '../protocol/packets.ts'
import type { Ports } from '../protocol/ports.ts'
import { RelaySession } from '../protocol/relay-session.ts'
import { Admission, type Spent } from './admission.ts'
import { Connection, type Host } from './connection.ts'
import { createCounters, type Counters, type Door, type Snapshot } from './counters.ts'
import { Prover, type RelayProof } from './prover.ts'
import type { ByteStream, Receiver } from './stream.ts'

const TICK_MS = 1_000
/** What a stream that found no place is told to wait. */
const COME_BACK_SECONDS = 10
/** What clients are told when the relay goes down. */
const RESTART_SECONDS = 10
/** What they are told when another relay takes over at once. */
const HANDOVER_SECONDS = 3
/** As many connections as have buffers of answers at a time; where a turn comes to more, it is ended early. */
const TURN_CONNECTIONS = 64
/** For the notice of a restart to reach who reads. */
const LAST_WORDS_MS = 2_000

export interface RelayOptions {
  readonly limits: Limits
  /** Bytes for messages. */
  readonly memory: number
  readonly connections: number
  readonly unproven: number
  readonly perCircuit: number
  readonly perSender: number
  readonly names: readonly string[]
  /** Names that it is reached by still, and is leaving: who says HELLO with one is told the first of `names`. */
  readonly movedFrom?: readonly string[]
  /** Fingerprints (SHA-256 of the blob) of the keys that may log in; undefined: any key. */
  readonly admit?: readonly Uint8Array[] | undefined
  /** The secrets of the relay before, whose messages are restored before anybody is served: it is suspended at first. */
  readonly inherited?: RelaySecrets | undefined
  /** Our own mistake was caught; the connection that met it has ended. */
  readonly onFault: (error: unknown) => void
  /** ms, never going back. Defaults to the wall clock at the start plus the time since. */
  readonly now?: () => number
}

/** 32 bytes each: one blinds mailbox ids, one signs tokens. */
export interface RelaySecrets {
  readonly boot: KeyObject
  readonly token: KeyObject
}

/** All that a suspended relay holds for others, to be handed over (src/handover). */
export interface Estate {
  readonly secrets: RelaySecrets
  readonly messages: number
  held(): Iterator<HeldMessage, void>
  /** Who has sent how much of late. */
  spent(): Iterable<Spent>
  /** Whether it is still what it was: the operator may wipe it meanwhile. */
  intact(): boolean
}

const DISCARD: Receiver = {
  onChunk: (chunk) => void chunk.fill(0),
  flush: () => {},
  onFinish: () => {},
  onEnd: () => {},
}

export class Relay {
  readonly counters: Counters = createCounters()
  readonly #limits: Limits
  readonly #mailboxes: MemoryMailboxes
  readonly #admission: Admission
  #secrets: RelaySecrets
  #prover: Prover
  #tokens: Tokens
  readonly #ports: Ports
  readonly #host: Host
  readonly #connections = new Set<Connection>()
  readonly #now: () => number
  readonly #timer: NodeJS.Timeout
  /** Names that are being left: those that are configured, and those that `addName` was told. */
  readonly #leaving: readonly string[]
  #movedFrom: readonly string[]
  #names: readonly string[]
  /** Fingerprints, and the mailboxes that they make. */
  #admitted: readonly Uint8Array[] | undefined
  #admit: ReadonlySet<string> | undefined
  #awake: Connection[] = []
  readonly #onTurn = (): void => this.#turn()
  #nextOwner = 1
  #onEmpty: (() => void) | undefined
  #state: 'open' | 'suspended' | 'closed'

  constructor(options: RelayOptions) {
    this.#limits = options.limits
    this.#movedFrom = this.#leaving = Object.freeze([...(options.movedFrom ?? [])])
    this.#names = this.#nameAll(options.names)
    this.#now = options.now ?? (() => Math.floor(performance.timeOrigin + performance.now()))
    this.#admission = new Admission(options)
    this.#state = options.inherited === undefined ? 'open' : 'suspended'
    this.#secrets = options.inherited ?? createSecrets()
    this.#prover = new Prover(this.#secrets.boot)
    this.#tokens = new Tokens({ secret: this.#secrets.token, seconds: options.limits.tokenSeconds })
    this.#mailboxes = new MemoryMailboxes({
      limits: options.limits,
      budget: options.memory,
      randomBytes,
      onErased: (reason) => this.counters.erased[reason]++,
    })
    this.admit(options.admit)
    this.#ports = this.#createPorts()
    this.#host = {
      prover: () => this.#prover,
      now: this.#now,
      wake: (connection) => this.#wake(connection),
      onRest: () => {
        if (this.#awake.length >= TURN_CONNECTIONS) this.#turn()
      },
      onProven: (connection) => connection.place.prove(),
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
      names: () => this.#names,
      movedTo: (name) => (this.#movedFrom.includes(name) ? this.#current() : undefined),
      admits: (mailbox) => this.#admit === undefined || this.#admit.has(mailbox),
      receiver: (field) => this.#prover.receiver(field),
      drawChallenge: () => this.#prover.drawChallenge(),
      issueToken: (subject, audience, now) => this.#tokens.issue({ subject, audience, now, id: this.#prover.draw(12) }),
      verifyToken: (token, now) => {
        if (token.length > MAX_TOKEN_BYTES) return undefined
        const text = Buffer.from(token.buffer, token.byteOffset, token.length).toString('latin1')
        const verified = this.#tokens.verify(text, { audiences: this.#names, now })
        return verified && { mailbox: verified.subject, expires: verified.expires }
      },
      count: (what) => {
        if (typeof what === 'object') this.counters.refused[what.refused]++
        else if (what === 'stored' || what === 'delivered') this.counters[what]++
        else this.counters.logins[what]++
      },
    }
  }

  /**
   * Adds a name that the relay is reached by; the first one counts for clients that name none.
   * @param instead a name that it is no longer reached by, and whose place the new one takes
   * @param left names that it is reached by still, and is leaving, beside those that it was made with
   */
  addName(name: string, instead?: string, left: readonly string[] = []): void {
    const gone = [...this.#movedFrom, ...left, name]
    const at = instead === undefined ? -1 : this.#names.indexOf(instead)
    const before = this.#names.slice(0, Math.max(0, at)).filter((each) => !gone.includes(each))
    const after = this.#names.slice(at + 1).filter((each) => !gone.includes(each))
    this.#movedFrom = Object.freeze([...this.#leaving, ...left].filter((each) => each !== name))
    this.#names = this.#nameAll(at === -1 ? [...after, name] : [...before, name, ...after])
  }

  /** The names to keep come first, so that the first of all is one of them as soon as there is one. */
  #nameAll(names: readonly string[]): readonly string[] {
    return Object.freeze([...names, ...this.#movedFrom])
  }

  /** Where people shall go who use a name that is left: an onion address, since `localhost` would lead them home. */
  #current(): string | undefined {
    return this.#names.find((name) => name.endsWith('.onion') && !this.#movedFrom.includes(name))
  }

  /** Takes a new list of admitted keys; tokens of keys that are no longer on it are revoked. */
  admit(fingerprints: readonly Uint8Array[] | undefined): void {
    this.#admitted = fingerprints
    this.#admit = fingerprints && new Set(fingerprints.map((fingerprint) => this.#prover.mailbox(fingerprint)))
  }

  /** Takes a stream of a door over. */
  accept(stream: ByteStream, door: Door): Receiver {
    const now = this.#now()
    if (this.#state !== 'open') {
      this.counters.refused.restarting++
      return turnAway(stream, this.#ports.stock, 'restarting', this.#state === 'suspended' ? HANDOVER_SECONDS : RESTART_SECONDS)
    }
    let connection: Connection | undefined
    const place = this.#admission.enter(stream.circuit, now, () => {
      this.counters.turnedAway['gave-way']++
      connection?.destroy()
    })
    if (typeof place === 'string') {
      this.counters.turnedAway[place]++
      return turnAway(stream, this.#ports.stock, 'rate-limited', COME_BACK_SECONDS)
    }
    this.counters.accepted[door]++
    connection = new Connection({
      owner: this.#nextOwner++,
      host: this.#host,
      stream,
      place,
      session: (subscriber) => new RelaySession<RelayProof>({ ports: this.#ports, rates: place, framing: stream.framing, subscriber, now }),
    })
    this.#connections.add(connection)
    return connection
  }

  /** What is due: expiry, deadlines, circuits to forget. Called every second; exposed for tests. */
  tick(): void {
    const now = this.#now()
    // What is being handed over stays as it is; a message that is due goes with its time used up.
    if (this.#state === 'open') this.#mailboxes.expire(now)
    this.#admission.sweep(now)
    for (const connection of this.#connections) connection.onTick(now)
  }

  snapshot(): Snapshot {
    const { mailboxes, subscribers, messages, bytes, budget } = this.#mailboxes.size
    return {
      counters: this.counters,
      accepting: this.#state === 'open',
      names: this.#names,
      connections: this.#connections.size,
      proven: this.#connections.size - this.#admission.unproven,
      mailboxes,
      subscribers,
      messages,
      messageBytes: bytes,
      messageBudget: budget,
    }
  }

  /**
   * The operator's panic: ends every connection without a word, overwrites every message, and draws new secrets, so
   * that no token of before is good and no mailbox's id of before can be told whose it was. The relay goes on, empty.
   */
  wipe(): void {
    for (const connection of this.#connections) {
      connection.destroy()
      // Not when its stream says so: what is still under way for it must find nobody.
      connection.onEnd()
    }
    this.#mailboxes.eraseAll()
    this.#admission.forget()
    this.#secrets = createSecrets()
    this.#tokens = new Tokens({ secret: this.#secrets.token, seconds: this.#limits.tokenSeconds })
    this.#prover = new Prover(this.#secrets.boot)
    this.admit(this.#admitted)
  }

  /** Tells everybody to come back, ends every connection and takes no new one; leases have returned then. */
  async suspend(): Promise<Estate> {
    this.#state = 'suspended'
    await this.#endConnections(HANDOVER_SECONDS)
    const secrets = this.#secrets
    return {
      secrets,
      messages: this.#mailboxes.size.messages,
      held: () => this.#mailboxes.held(this.#now()),
      spent: () => this.#admission.spent(this.#now()),
      intact: () => this.#secrets === secrets,
    }
  }

  /** Takes connections, after `suspend` or all that was inherited. */
  resume(): void {
    if (this.#state === 'suspended') this.#state = 'open'
  }

  /** Takes over a message that the relay before held. */
  restore(message: HeldMessage): void {
    this.#mailboxes.restore(message, this.#now())
  }

  /** Takes over how much of late a key sent to the relay before. */
  spend(spent: Spent): void {
    this.#admission.spend(spent, this.#now())
  }

  /** Tells everybody, ends every connection, overwrites every message. */
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

  #wake(connection: Connection): void {
    this.#awake.push(connection)
    if (this.#awake.length === 1) setImmediate(this.#onTurn)
  }

  /** The end of a turn of the event loop: whoever was woken in it gathers and writes, one after the other. */
  #turn(): void {
    const awake = this.#awake
    this.#awake = []
    for (const each of awake) each.onTurn()
  }

  #leave(connection: Connection): void {
    connection.place.leave()
    this.#connections.delete(connection)
    if (this.#connections.size === 0) this.#onEmpty?.()
  }
}

function createSecrets(): RelaySecrets {
  return { boot: createSecretKey(randomBytes(32)), token: createSecret() }
}

/** Says why before a packet was read, and holds nothing for the stream. */
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
