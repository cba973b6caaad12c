/**
 * The relay: every door's streams end in `accept`, every second in `tick`. Holds the mailboxes, the
 * boot secret and the token secret, all of which live and die with it. Logs nothing.
 */
import { createSecretKey, randomBytes } from 'node:crypto'
import { createSecret, MAX_TOKEN_BYTES, Tokens } from '../auth/token.ts'
import { MemoryMailboxes } from '../mailbox/mailbox.ts'
import { ERRORS } from '../protocol/errors.ts'
import type { Limits } from '../protocol/limits.ts'
import { Stock } from '../protocol/output.ts'
import { PACKETS } from '../protocol/packets.ts'
import { type Ports, Session } from '../protocol/session.ts'
import { Admission } from './admission.ts'
import { Connection, type Host } from './connection.ts'
import { createCounters, type Counters, type Door, type Snapshot } from './counters.ts'
import { Prover, type RelayProof } from './prover.ts'
import type { ByteStream, Receiver } from './stream.ts'

const TICK_MS = 1_000
/** What a stream that found no place is told to wait. */
const COME_BACK_SECONDS = 10
/** What clients are told when the relay goes down. */
const RESTART_SECONDS = 10
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
  /** Our own mistake was caught; the connection that met it has ended. */
  readonly onFault: (error: unknown) => void
  /** ms, never going back. Defaults to the wall clock at the start plus the time since. */
  readonly now?: () => number
}

const DISCARD: Receiver = {
  onChunk: (chunk) => void chunk.fill(0),
  onFinish: () => {},
  onEnd: () => {},
}

export class Relay {
  readonly counters: Counters = createCounters()
  readonly #limits: Limits
  readonly #mailboxes: MemoryMailboxes
  readonly #admission: Admission
  #prover = createProver()
  #tokens: Tokens
  readonly #ports: Omit<Ports, 'loginWait' | 'sendWait'>
  readonly #host: Host
  readonly #connections = new Set<Connection>()
  readonly #now: () => number
  readonly #timer: NodeJS.Timeout
  readonly #movedFrom: readonly string[]
  #names: readonly string[]
  /** Fingerprints, and the mailboxes that they make. */
  #admitted: readonly Uint8Array[] | undefined
  #admit: ReadonlySet<string> | undefined
  #awake: Connection[] = []
  #nextOwner = 1
  #closing: (() => void) | undefined
  #accepting = true

  constructor(options: RelayOptions) {
    this.#limits = options.limits
    this.#movedFrom = Object.freeze([...(options.movedFrom ?? [])])
    this.#names = this.#nameAll(options.names)
    this.#now = options.now ?? (() => Math.floor(performance.timeOrigin + performance.now()))
    this.#admission = new Admission(options)
    this.#tokens = createTokens(options.limits)
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
      onProven: (connection) => connection.place.prove(),
      onEnded: (connection) => this.#leave(connection),
      onFault: options.onFault,
    }
    this.#timer = setInterval(() => this.tick(), TICK_MS)
    this.#timer.unref()
  }

  #createPorts(): Omit<Ports, 'loginWait' | 'sendWait'> {
    return {
      limits: this.#limits,
      stock: new Stock(),
      mailboxes: this.#mailboxes,
      names: () => this.#names,
      movedTo: (name) => (this.#movedFrom.includes(name) ? this.#current() : undefined),
      admits: (mailbox) => this.#admit === undefined || this.#admit.has(mailbox),
      receiver: (field) => this.#prover.receiver(field),
      drawChallenge: () => this.#prover.drawChallenge(),
      issueToken: (subject, audience, now) =>
        this.#tokens.issue({ subject, audience, now, id: randomBytes(12).toString('base64url') }),
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
   */
  addName(name: string, instead?: string): void {
    const kept = this.#names.filter((each) => !this.#movedFrom.includes(each) && each !== name)
    const at = instead === undefined ? -1 : kept.indexOf(instead)
    this.#names = this.#nameAll(at === -1 ? [...kept, name] : kept.with(at, name))
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
    let connection: Connection | undefined
    const place = this.#accepting
      ? this.#admission.enter(stream.circuit, now, () => {
          this.counters.turnedAway['gave-way']++
          connection?.destroy()
        })
      : 'connections'
    if (typeof place === 'string') {
      this.counters.turnedAway[place]++
      return turnAway(stream)
    }
    this.counters.accepted[door]++
    const ports: Ports = { ...this.#ports, loginWait: place.loginWait, sendWait: place.sendWait }
    connection = new Connection({
      owner: this.#nextOwner++,
      host: this.#host,
      stream,
      place,
      session: (subscriber) => new Session<RelayProof>(ports, stream.framing, subscriber, now),
    })
    this.#connections.add(connection)
    return connection
  }

  /** What is due: expiry, deadlines, circuits to forget. Called every second; exposed for tests. */
  tick(): void {
    const now = this.#now()
    this.#mailboxes.expire(now)
    this.#admission.sweep(now)
    for (const connection of this.#connections) connection.onTick(now)
  }

  snapshot(): Snapshot {
    const { mailboxes, subscribers, messages, bytes, budget } = this.#mailboxes.size
    return {
      counters: this.counters,
      accepting: this.#accepting,
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
    this.#tokens = createTokens(this.#limits)
    this.#prover = createProver()
    this.admit(this.#admitted)
  }

  /** Tells everybody, ends every connection, overwrites every message. */
  async close(): Promise<void> {
    this.#accepting = false
    const ended = new Promise<void>((resolve) => (this.#closing = resolve))
    for (const connection of this.#connections) connection.restart(RESTART_SECONDS)
    if (this.#connections.size === 0) this.#closing!()
    const patience = setTimeout(() => {
      for (const connection of this.#connections) connection.destroy()
    }, LAST_WORDS_MS)
    await ended
    clearTimeout(patience)
    clearInterval(this.#timer)
    this.#mailboxes.eraseAll()
  }

  #wake(connection: Connection): void {
    this.#awake.push(connection)
    if (this.#awake.length > 1) return
    queueMicrotask(() => {
      const awake = this.#awake
      this.#awake = []
      for (const each of awake) each.onTurn()
    })
  }

  #leave(connection: Connection): void {
    connection.place.leave()
    this.#connections.delete(connection)
    if (this.#connections.size === 0) this.#closing?.()
  }
}

function createProver(): Prover {
  return new Prover(createSecretKey(randomBytes(32)))
}

function createTokens({ tokenSeconds }: Limits): Tokens {
  return new Tokens({ secret: createSecret(), seconds: tokenSeconds })
}

/** Says why before a packet was read, and holds nothing for the stream. */
function turnAway(stream: ByteStream): Receiver {
  const { text } = ERRORS['rate-limited']
  const line = `${PACKETS.ERROR.no};rate-limited;${text};${COME_BACK_SECONDS}\n`
  stream.write(Buffer.from(line, 'latin1'), () => stream.end())
  return DISCARD
}
