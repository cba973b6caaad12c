/**
 * The side that hands over: listens for a successor, and gives it everything that the relay holds. The relay keeps all of
 * it until the successor confirms that it is the owner; any other end leaves the relay as it was. Erases nothing: the
 * caller does, once `handedOver` resolves. docs/decisions/0009-handover.md gives the order and the reasons.
 */
import type { Server, Socket } from 'node:net'
import type { Log } from '../log.ts'
import type { Estate } from '../relay/relay.ts'
import type { Address } from '../transport/address.ts'
import { createSocketServer, listen } from '../transport/socket.ts'
import { Channel, ChannelError } from './channel.ts'
import { MessageWriter } from './message.ts'
import {
  decodeRecord,
  encodeRecord,
  encodeSpent,
  type Failure,
  type HandoverRecord,
  OLD_VERSION,
  type Refusal,
  type UNPROVEN,
  VERSION,
} from './record.ts'

/** The time for each step of the other side, and for its whole proof. */
export const PATIENCE_MS = 30_000
/** The socket is for the relay's user only. */
const SOCKET_MODE = 0o600
/** Records that the successor has not read yet: a megabyte. */
const WINDOW = 16
/** Sockets at once. Most of them prove nothing. */
const SOCKETS = 8
/** Each reason for a refusal is logged once in this time: other programs decide how often they connect. */
const REFUSAL_LOG_MS = 60_000
/** A relay that is told to stop waits this long for a successor that has just connected. */
const PROOF_MS = 1_000
/** After this time without its doors, a relay that goes on says so. */
const DOORS_MS = 5_000

/** Returns the time for a whole handover of so many bytes, ms: a minute, and a second for each 8 MiB. */
export function wholeMs(bytes: number): number {
  return 60_000 + bytes / 8_192
}

/** The relay's part in a handover. */
export interface Handing {
  /** The bytes that its messages use now. */
  bytes(): number
  /** Ends every connection and accepts no new one; returns everything that there is to hand over. */
  suspend(): Promise<Estate>
  /** Serves as before. */
  resume(): void
  /** Closes the doors, so that the successor can open them. */
  release(): Promise<void>
  /** Opens the doors again: tries until it succeeds or the relay is closed. */
  reopen(): Promise<void>
}

export interface PredecessorOptions {
  readonly address: Address & { readonly kind: 'unix' }
  readonly psk: Uint8Array
  readonly handing: Handing
  readonly log: Log
  /** The defaults are for relays; tests choose shorter times. All in ms. */
  readonly times?: Partial<Times>
}

interface Times {
  readonly patience: number
  readonly doors: number
  whole(bytes: number): number
}

const TIMES: Times = { patience: PATIENCE_MS, doors: DOORS_MS, whole: wholeMs }

export interface Predecessor {
  /** Resolves when a successor is the relay, and this one has nothing left to do but to erase its copy. */
  readonly handedOver: Promise<void>
  /**
   * Lets a handover in progress end, one with a successor that has just connected included, and stops listening. If it
   * fails from now on, the successor keeps the messages that it has.
   */
  close(): Promise<void>
}

/** The operator wiped the messages during the handover. */
class Wiped extends Error {}

/** @throws ListenError of src/transport/socket.ts */
export async function listenForSuccessor(options: PredecessorOptions): Promise<Predecessor> {
  const { address, psk, handing, log } = options
  const times = { ...TIMES, ...options.times }
  const sockets = new Set<Socket>()
  const { promise: handedOver, resolve: onHandedOver } = Promise.withResolvers<void>()
  const logRefusal = createRefusalLog(log)
  let underWay: Promise<void> | undefined
  let isHandedOver = false
  let closing = false
  let closed = false

  /** @returns undefined if the peer proved nothing, and is gone */
  const prove = async (socket: Socket): Promise<{ channel: Channel; take: Take } | undefined> => {
    try {
      const channel = await Channel.accept(socket, { psk, patience: times.patience, whole: times.patience })
      const take = decodeRecord(await channel.receive())
      if (take.kind !== 'take') throw new ChannelError('forged')
      return { channel, take }
    } catch (error) {
      socket.destroy()
      if (!(error instanceof ChannelError)) throw error
      const { problem } = error
      // A process that only checked whether this relay listens is no successor.
      if (problem !== 'silent' && !closed) logRefusal(problem === 'ended' || problem === 'stalled' ? problem : 'proof')
      return undefined
    }
  }
  /** One promise for each connection of which it is not decided whether a handover begins. */
  const undecided = new Set<Promise<void>>()
  const serve = async (socket: Socket): Promise<void> => {
    const { promise, resolve } = Promise.withResolvers<void>()
    undecided.add(promise)
    try {
      const proven = await prove(socket)
      if (proven !== undefined) await decide(proven)
    } finally {
      undecided.delete(promise)
      resolve()
    }
    await underWay
  }
  const decide = async ({ channel, take }: { channel: Channel; take: Take }): Promise<void> => {
    if (closed) return channel.close()
    const refusal = refuse(take)
    if (refusal !== undefined) {
      logRefusal(refusal)
      await channel.send(encodeRecord({ kind: 'refused', reason: refusal })).catch(() => {})
      return channel.close('after sending')
    }
    const handover = new Handover({ channel, version: take.version, handing, log, times, listener, isClosing: () => closing })
    underWay = handover
      .run()
      .then((done) => {
        isHandedOver = done
        if (done) onHandedOver()
      })
      .catch(() => log.event('internal-error', { origin: 'handover' }))
      .finally(() => (underWay = undefined))
  }
  const refuse = (take: Take): Refusal | undefined => {
    if (take.version !== VERSION && take.version !== OLD_VERSION) return 'version'
    if (underWay !== undefined || isHandedOver) return 'busy'
    return take.memory < handing.bytes() ? 'memory' : undefined
  }
  const server: Server = createSocketServer((socket) => {
    if (sockets.size >= SOCKETS) return Channel.turnAway(socket)
    sockets.add(socket)
    socket.on('close', () => sockets.delete(socket))
    serve(socket).catch(() => {
      socket.destroy()
      log.event('internal-error', { origin: 'handover' })
    })
  })
  const listener: Listener = {
    path: address.path,
    stop: () => void server.close(),
    async listen() {
      await listen(server, address, SOCKET_MODE)
    },
  }
  await listener.listen()
  return {
    handedOver,
    async close() {
      closing = true
      if (undecided.size > 0) await within(PROOF_MS, Promise.all(undecided))
      await underWay
      closed = true
      const ended = new Promise<void>((resolve) => (server.listening ? server.close(() => resolve()) : resolve()))
      for (const socket of sockets) socket.destroy()
      await ended
    },
  }
}

type Take = HandoverRecord & { readonly kind: 'take' }

async function within(ms: number, promise: Promise<unknown>): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  await Promise.race([promise, new Promise((resolve) => (timer = setTimeout(resolve, ms)))])
  clearTimeout(timer)
}

function createRefusalLog(log: Log): (reason: (typeof UNPROVEN)[number] | Refusal) => void {
  const logged = new Map<string, number>()
  return (reason) => {
    const now = performance.now()
    if (now - (logged.get(reason) ?? -Infinity) < REFUSAL_LOG_MS) return
    logged.set(reason, now)
    log.event('handover-refused', { reason })
  }
}

/** The path where this relay waits for successors. While it listens there, the messages are its own. */
interface Listener {
  readonly path: string
  stop(): void
  /** @throws ListenError */
  listen(): Promise<void>
}

interface HandoverOptions {
  readonly channel: Channel
  readonly version: number
  readonly handing: Handing
  readonly log: Log
  readonly times: Times
  readonly listener: Listener
  /** Whether this relay has been told to stop. */
  isClosing(): boolean
}

/** One attempt to hand over. */
class Handover {
  readonly #options: HandoverOptions
  #released = false

  constructor(options: HandoverOptions) {
    this.#options = options
  }

  /** @returns whether the successor is the relay now; if not, this relay goes on, and holds every message */
  async run(): Promise<boolean> {
    const { channel, log, listener } = this.#options
    log.event('handover-started')
    try {
      await this.#attempt()
    } catch (error) {
      await this.#goOn(reasonOf(error))
      return false
    }
    log.event('handed-over')
    // In this order: as long as a process listens at the path, the successor would conclude that this relay goes on.
    listener.stop()
    channel.close('after sending')
    return true
  }

  /** @throws unless the successor owns the messages at the end */
  async #attempt(): Promise<void> {
    const { channel, handing, times } = this.#options
    const estate = await handing.suspend()
    const bytes = handing.bytes()
    channel.limit(times.whole(bytes))
    await this.#giveAll(estate, bytes)
    this.#released = true
    await handing.release()
    this.#checkIntact(estate)
    await this.#send({ kind: 'released' })
    await this.#expect('opened')
    this.#checkIntact(estate)
    await this.#send({ kind: 'done' })
    await this.#expect('owned')
    // If this process was stopped in between, the successor may have ended long ago.
    if (!(await channel.isQuiet())) throw new ChannelError('ended')
    this.#checkIntact(estate)
  }

  async #goOn(reason: Failure): Promise<void> {
    const { channel, handing, log, times, listener, isClosing } = this.#options
    log.event('handover-failed', { reason })
    // A relay that has been told to stop does not go on. To a successor that finds no process at the path it is dead, so
    // the successor keeps its copy. Messages that the operator wiped must not survive in this way.
    if (isClosing() && reason !== 'wiped') listener.stop()
    // Not awaited: a stopped successor reads nothing.
    else channel.send(encodeRecord({ kind: 'abort' })).catch(() => {})
    channel.close('after sending')
    handing.resume()
    if (!this.#released || isClosing()) return
    const waiting = setTimeout(() => log.event('doors-awaited'), times.doors)
    try {
      await handing.reopen()
    } catch {
      if (!isClosing()) log.event('internal-error', { origin: 'handover' })
    } finally {
      clearTimeout(waiting)
    }
  }

  async #giveAll(estate: Estate, bytes: number): Promise<void> {
    const { channel, version } = this.#options
    const spent = [...estate.spent()]
    const boot = estate.secrets.boot.export()
    const token = estate.secrets.token.export()
    const hasBundles = version !== OLD_VERSION
    const size = { bytes, senders: spent.length, ...(hasBundles ? { bundles: estate.bundles } : {}) }
    const secrets = encodeRecord({ kind: 'give', boot, token, messages: estate.messages, size })
    try {
      await channel.send(secrets)
    } finally {
      for (const secret of [boot, token, secrets]) secret.fill(0)
    }
    let unread = 0
    const give = async (part: Uint8Array): Promise<void> => {
      this.#checkIntact(estate)
      await channel.send(part)
      if (++unread < WINDOW) return
      await this.#expect('read')
      unread--
    }
    for (const part of encodeSpent(spent)) await give(part)
    const writer = new MessageWriter(estate.held())
    for (const part of writer.records('messages')) await give(part)
    if (hasBundles) for (const part of new MessageWriter(estate.heldBundles()).records('bundles')) await give(part)
    this.#checkIntact(estate)
    await this.#send({ kind: 'end', messages: writer.count })
    for (; unread > 0; unread--) await this.#expect('read')
    await this.#expect('held')
    this.#checkIntact(estate)
  }

  #checkIntact(estate: Estate): void {
    if (!estate.intact()) throw new Wiped()
  }

  async #send(record: HandoverRecord): Promise<void> {
    await this.#options.channel.send(encodeRecord(record))
  }

  async #expect(kind: HandoverRecord['kind']): Promise<void> {
    if (decodeRecord(await this.#options.channel.receive()).kind !== kind) throw new ChannelError('forged')
  }
}

function reasonOf(error: unknown): Failure {
  if (error instanceof Wiped) return 'wiped'
  return error instanceof ChannelError && error.problem !== 'busy' ? error.problem : 'fault'
}
