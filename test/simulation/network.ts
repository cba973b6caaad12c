/**
 * The simulated network between clients and relays: dialling, and byte streams that are slow, cut, half open or passed
 * in one direction only. A stream keeps the order of its bytes and nothing else; chunks have any size.
 */
import type { Stream, StreamReceiver } from '../../src/client/wire/stream.ts'
import type { ByteStream, Receiver } from '../../src/relay/stream.ts'
import { ConnectError } from '../../src/transport/address.ts'
import type { Kernel, Process } from './kernel.ts'

/** The faults of the network, each for the way between one client's machine and one relay. */
export const NETWORK_FAULTS = [
  'not-found',
  'refused',
  'slow-dial',
  'cut',
  'half-open',
  'no-answers',
  'no-requests',
  'slow',
  'crumbs',
] as const
export type NetworkFault = (typeof NETWORK_FAULTS)[number]

/** Bytes under way in one direction, above which the relay's writes wait. */
const BUFFER = 65_536
/** Most bytes of one chunk before and after `widen`. */
const SHORT = 4_096
const LONG = 131_072
/** Crumbs of a few bytes for so many chunks of a stream; more would only cost time. */
const CRUMBS = 400

/** After this time, tor ends a stream that its client has given up. */
const LOST_MS = 10_000
/** For how long trouble that is over is remembered. */
const REMEMBERED_MS = 3_600_000

interface Weather {
  readonly fault: NetworkFault
  until: number
}

const NO_WEATHER: readonly Weather[] = []

interface Listener {
  readonly process: Process
  readonly accept: (stream: ByteStream) => Receiver
}

/** What the network reports to the record of the truth. */
export interface NetworkObserver {
  onDial(client: Process, relay: string): void
  onDialled(client: Process, relay: string, isUp: boolean): void
  onBytes(connection: Connection, direction: 'to relay' | 'to client', bytes: Uint8Array): void
  /** The relay learned that a connection has ended. */
  onGone(connection: Connection): void
}

export class Network {
  readonly kernel: Kernel
  readonly observer: NetworkObserver
  /** A perfect network: no latency beyond a millisecond, whole chunks, nothing lost. */
  isPerfect = false
  /** The connections whose client has not closed them, and those whose relay has not. */
  readonly connections = new Set<Connection>()
  readonly served = new Set<Connection>()
  nextNumber = 1
  /** Processes whose death ends connections. */
  readonly #watched = new WeakSet<Process>()
  readonly #listeners = new Map<string, Listener>()
  /** By machine and relay. */
  readonly #weather = new Map<string, Map<string, Weather[]>>()

  constructor(kernel: Kernel, observer: NetworkObserver) {
    this.kernel = kernel
    this.observer = observer
  }

  /** A relay takes streams at an address, in place of the process that did before. */
  listen(address: string, process: Process, accept: (stream: ByteStream) => Receiver): void {
    const listener = { process, accept }
    this.#listeners.set(address, listener)
    process.onDeath(() => {
      if (this.#listeners.get(address) === listener) this.#listeners.delete(address)
    })
  }

  /** The relay takes no more streams at an address. */
  deafen(address: string, process: Process): void {
    if (this.#listeners.get(address)?.process === process) this.#listeners.delete(address)
  }

  /** Takes a new connection. */
  add(connection: Connection, server: Process): void {
    this.connections.add(connection)
    this.served.add(connection)
    for (const process of [connection.client, server]) {
      if (this.#watched.has(process)) continue
      this.#watched.add(process)
      process.onDeath(() => {
        for (const each of new Set([...this.connections, ...this.served])) each.onDeath(process)
      })
    }
  }

  /** Begins a fault. It also strikes the streams that are open. */
  trouble(client: string, relay: string, fault: NetworkFault, milliseconds: number): void {
    const { now } = this.kernel
    const weather = this.#weather.get(client) ?? new Map<string, Weather[]>()
    const recent = this.#between(client, relay).filter(({ until }) => until > now - REMEMBERED_MS)
    this.#weather.set(client, weather.set(relay, [...recent, { fault, until: now + milliseconds }]))
    for (const each of this.connections) if (each.client.machine.name === client && each.relay === relay) each.strike(fault)
  }

  /** All faults of the network end. Connections that lost bytes stay broken. */
  calm(): void {
    const { now } = this.kernel
    for (const weather of this.#weather.values())
      for (const between of weather.values()) for (const each of between) each.until = Math.min(each.until, now)
    for (const each of this.connections) each.calm()
  }

  /** When the last trouble between a machine and a relay ends or ended; 0 if there was none. */
  troubleUntil(client: string, relay: string): number {
    let last = 0
    for (const { until } of this.#between(client, relay)) last = Math.max(last, until)
    return last
  }

  /** Whether a relay takes streams at an address. */
  hears(relay: string): boolean {
    return this.#listeners.has(relay)
  }

  hasTrouble(client: string, relay: string, fault: NetworkFault): boolean {
    return this.#between(client, relay).some((each) => each.fault === fault && each.until > this.kernel.now)
  }

  #between(client: string, relay: string): readonly Weather[] {
    return this.#weather.get(client)?.get(relay) ?? NO_WEATHER
  }

  /** One-way delay, ms. */
  latency(client: string, relay: string): number {
    if (this.isPerfect) return 1
    const { random } = this.kernel
    const usual = 40 + 400 * random.next() ** 3
    return this.hasTrouble(client, relay, 'slow') ? usual + 20_000 * random.next() ** 2 : usual
  }

  /**
   * Dials a relay for the current process.
   * @param early leaves with the request: a relay that is reached too late gets it all the same
   * @throws ConnectError
   */
  async dial(relay: string, timeout: number, early: readonly Uint8Array[]): Promise<Stream> {
    const { kernel } = this
    const client = kernel.current!
    this.observer.onDial(client, relay)
    const machine = client.machine.name
    const up = (isUp: boolean): void => this.observer.onDialled(client, relay, isUp)
    let delay = this.isPerfect ? 2 : 300 + 3_000 * kernel.random.next() ** 2
    if (this.hasTrouble(machine, relay, 'slow-dial')) delay = 20_000 + 200_000 * kernel.random.next()
    const isLate = delay > timeout
    await this.#pause(client, Math.min(delay, timeout))
    const problem = isLate
      ? 'connect-timeout'
      : this.hasTrouble(machine, relay, 'not-found')
        ? 'onion-not-found'
        : this.hasTrouble(machine, relay, 'refused')
          ? 'onion-relay-down'
          : undefined
    const listener = this.#listeners.get(relay)
    if (problem !== undefined || listener === undefined) {
      up(false)
      if (isLate && listener !== undefined) {
        const lost = new Connection(this, client, relay, listener)
        lost.strike('no-answers')
        for (const packet of early) lost.stream.write(packet)
        kernel.at(kernel.now + LOST_MS, client, () => lost.stream.close())
      }
      throw new ConnectError(problem ?? 'onion-relay-down')
    }
    up(true)
    const connection = new Connection(this, client, relay, listener)
    for (const fault of ['cut', 'half-open', 'no-answers', 'no-requests', 'slow', 'crumbs'] as const)
      if (this.hasTrouble(machine, relay, fault)) connection.strike(fault)
    for (const packet of early) connection.stream.write(packet)
    return connection.stream
  }

  #pause(process: Process, milliseconds: number): Promise<void> {
    return new Promise((resolve) => this.kernel.at(this.kernel.now + milliseconds, process, resolve))
  }
}

/** One direction of a connection. */
class Pipe {
  /** Bytes on the way. */
  flying = 0
  /** The other side gets nothing any more, and this side does not learn it. */
  isSilent = false
  /** The bytes that still pass before the connection is cut. */
  left = Number.POSITIVE_INFINITY
  crumbs = 0
  /** No chunk arrives before this time, so that the order stays. */
  #at = 0
  readonly #connection: Connection
  readonly #deliver: (chunk: Buffer) => void

  constructor(connection: Connection, deliver: (chunk: Buffer) => void) {
    this.#connection = connection
    this.#deliver = deliver
  }

  send(bytes: Uint8Array, to: Process): void {
    const { network, client, relay } = this.#connection
    const { kernel } = network
    this.flying += bytes.length
    const passing = Math.min(bytes.length, this.left)
    this.left -= passing
    const copy = Buffer.from(bytes.subarray(0, passing))
    for (let at = 0; at < copy.length && !this.isSilent;) {
      const chunk = copy.subarray(at, (at += this.#size(copy.length - at)))
      this.#at = Math.max(this.#at, kernel.now + network.latency(client.machine.name, relay))
      kernel.at(this.#at, to, () => {
        if (this.isSilent) return
        this.flying -= chunk.length
        this.#deliver(chunk)
      })
    }
    if (passing < bytes.length) this.after(undefined, () => this.#connection.cut())
  }

  /** Runs `work` behind all bytes that are on the way. */
  after(process: Process | undefined, work: () => void): void {
    const { network, client, relay } = this.#connection
    this.#at = Math.max(this.#at, network.kernel.now + network.latency(client.machine.name, relay))
    network.kernel.at(this.#at, process, work)
  }

  #size(length: number): number {
    const { network } = this.#connection
    const { random } = network.kernel
    if (network.isPerfect) return length
    if (this.crumbs > 0) {
      this.crumbs--
      return random.between(1, 7)
    }
    return random.chance(0.8) ? length : random.between(1, length)
  }
}

export class Connection {
  readonly number: number
  readonly network: Network
  readonly client: Process
  readonly relay: string
  /** The process of the relay. */
  readonly server: Process
  readonly stream: Stream
  readonly #toRelay: Pipe
  readonly #toClient: Pipe
  readonly #receiver: Receiver
  #clientReceiver: StreamReceiver | undefined
  /** When its bytes ran out, or it broke at once. */
  #cutAt: number | undefined
  #clientGone = false
  #relayGone = false
  #relayEnding = false
  #isFinished = false
  #isPaused = false
  #long = false
  #received = 0
  readonly #unread: Buffer[] = []
  /** A write of the relay that the system has not taken. */
  #untaken: (() => void) | undefined

  constructor(network: Network, client: Process, relay: string, listener: Listener) {
    this.number = network.nextNumber++
    this.network = network
    this.client = client
    this.relay = relay
    this.server = listener.process
    this.#toRelay = new Pipe(this, (chunk) => this.#onRequest(chunk))
    this.#toClient = new Pipe(this, (chunk) => this.#onAnswer(chunk))
    network.add(this, this.server)
    this.stream = {
      framing: 'line',
      start: (receiver) => (this.#clientReceiver = receiver),
      write: (packet) => {
        if (this.#clientGone) return
        network.observer.onBytes(this, 'to relay', packet)
        this.#toRelay.send(packet, this.server)
      },
      close: () => this.#closeClient(true),
    }
    const received = (): number => this.#received
    const byteStream: ByteStream = {
      framing: 'line',
      // Tor names the circuit of a stream if the operator has it do so.
      circuit: this.number % 2 === 0 ? `${this.number}` : undefined,
      get received() {
        return received()
      },
      write: (bytes, done) => this.#writeAnswer(bytes, done),
      pause: () => (this.#isPaused = true),
      resume: () => this.#resume(),
      widen: () => (this.#long = true),
      end: () => this.#endRelay(),
      destroy: () => this.#destroyRelay(),
    }
    // The relay learns of the stream in a turn of its own.
    let receiver: Receiver | undefined
    const early: ((receiver: Receiver) => void)[] = []
    const pass = (work: (receiver: Receiver) => void): void => void (receiver === undefined ? early.push(work) : work(receiver))
    this.#receiver = {
      onChunk: (chunk) => pass((each) => each.onChunk(chunk)),
      onFinish: () => pass((each) => each.onFinish()),
      onTooLarge: () => pass((each) => each.onTooLarge()),
      onIdleFrames: (frames) => pass((each) => each.onIdleFrames(frames)),
      onEnd: () => pass((each) => each.onEnd()),
    }
    network.kernel.at(network.kernel.now, this.server, () => {
      receiver = listener.accept(byteStream)
      for (const work of early.splice(0)) work(receiver)
    })
  }

  /** Whether it passes nothing any more. */
  get isDead(): boolean {
    return this.#clientGone || this.#toClient.isSilent || this.#toRelay.isSilent
  }

  /** Whether it broke so short a time ago that its client may not know it. */
  get isFreshlyCut(): boolean {
    return this.#cutAt !== undefined && this.network.kernel.now - this.#cutAt <= CUT_MS
  }

  /** A fault of the network begins. */
  strike(fault: NetworkFault): void {
    const { random } = this.network.kernel
    switch (fault) {
      case 'cut':
        this.#toRelay.left = random.between(0, 2_000) * random.between(0, 10)
        this.#toClient.left = random.between(0, 2_000) * random.between(0, 10)
        if (random.chance(0.3)) this.cut()
        return
      case 'half-open':
        this.#toRelay.isSilent = this.#toClient.isSilent = true
        return
      case 'no-answers':
        this.#toClient.isSilent = true
        return
      case 'no-requests':
        this.#toRelay.isSilent = true
        return
      case 'crumbs':
        this.#toRelay.crumbs = this.#toClient.crumbs = CRUMBS
        return
      case 'not-found':
      case 'refused':
      case 'slow-dial':
      case 'slow':
    }
  }

  /** Nothing more is cut. */
  calm(): void {
    for (const pipe of [this.#toRelay, this.#toClient]) if (!pipe.isSilent) pipe.left = Number.POSITIVE_INFINITY
  }

  /** Both sides learn at different times that it is over. Bytes on the way are lost. */
  cut(): void {
    const { kernel } = this.network
    this.#toRelay.isSilent = this.#toClient.isSilent = true
    this.#cutAt ??= kernel.now
    const later = (): number => kernel.now + CUT_MS * kernel.random.next()
    kernel.at(later(), this.client, () => this.#endClient())
    kernel.at(later(), this.server, () => this.#goneRelay())
  }

  #onRequest(chunk: Buffer): void {
    if (this.#relayGone || this.#isFinished) return
    this.#unread.push(chunk)
    this.#read()
  }

  #read(): void {
    while (!this.#isPaused && !this.#relayGone && this.#unread.length > 0) {
      const chunk = this.#unread.shift()!
      const most = this.#long ? LONG : SHORT
      if (chunk.length > most) this.#unread.unshift(chunk.subarray(most))
      const part = chunk.subarray(0, most)
      this.#received += part.length
      // A relay that ends the stream reads and discards.
      if (!this.#relayEnding) this.#receiver.onChunk(part)
    }
    if (this.#isFinished && this.#unread.length === 0 && !this.#relayGone && !this.#relayEnding && !this.#isPaused)
      this.#receiver.onFinish()
  }

  #resume(): void {
    if (!this.#isPaused) return
    this.#isPaused = false
    this.network.kernel.at(this.network.kernel.now, this.server, () => this.#read())
  }

  #writeAnswer(bytes: Uint8Array, done: () => void): boolean {
    if (this.#relayGone) return false
    const { kernel, observer } = this.network
    observer.onBytes(this, 'to client', bytes)
    this.#toClient.send(bytes, this.client)
    if (this.#toClient.flying <= BUFFER && (this.network.isPerfect || kernel.random.chance(0.9))) return true
    this.#untaken = done
    if (this.#toClient.flying <= BUFFER) kernel.at(kernel.now + 50 * kernel.random.next(), this.server, () => this.#take())
    return false
  }

  #take(): void {
    const done = this.#untaken
    this.#untaken = undefined
    if (!this.#relayGone) done?.()
  }

  #onAnswer(chunk: Buffer): void {
    if (this.#untaken !== undefined && this.#toClient.flying <= BUFFER)
      this.network.kernel.at(this.network.kernel.now, this.server, () => this.#take())
    if (!this.#clientGone) this.#clientReceiver?.onChunk(chunk)
  }

  /** The client closes its socket. */
  #closeClient(tells: boolean): void {
    if (this.#clientGone) return
    const { kernel } = this.network
    this.#clientGone = true
    this.network.connections.delete(this)
    if (tells) kernel.at(kernel.now, this.client, () => this.#clientReceiver?.onEnd())
    this.#tellRelay(kernel.random.chance(0.5))
  }

  /** The client learns that the stream has ended. */
  #endClient(): void {
    if (this.#clientGone) return
    this.#clientGone = true
    this.network.connections.delete(this)
    this.#clientReceiver?.onEnd()
    this.#tellRelay(true)
  }

  #tellRelay(finishes: boolean): void {
    if (this.#toRelay.isSilent) return
    this.#toRelay.after(this.server, () => {
      if (this.#relayGone) return
      if (this.#toRelay.isSilent) return
      if (!finishes) return this.#goneRelay()
      this.#isFinished = true
      this.#read()
      this.#toRelay.after(this.server, () => this.#goneRelay())
    })
  }

  /** The relay learns that the stream has ended. */
  #goneRelay(): void {
    if (this.#relayGone) return
    this.#relayGone = true
    this.network.served.delete(this)
    this.network.observer.onGone(this)
    this.#receiver.onEnd()
  }

  #endRelay(): void {
    if (this.#relayEnding || this.#relayGone) return
    this.network.observer.onGone(this)
    const { kernel } = this.network
    this.#relayEnding = true
    if (!this.#toClient.isSilent) this.#toClient.after(this.client, () => this.#toClient.isSilent || this.#endClient())
    kernel.at(kernel.now + LINGER_MS, this.server, () => this.#goneRelay())
  }

  #destroyRelay(): void {
    if (this.#relayGone) return
    this.network.observer.onGone(this)
    const { kernel } = this.network
    kernel.at(kernel.now, this.server, () => this.#goneRelay())
    if (!this.#toClient.isSilent) this.#toClient.after(this.client, () => this.#endClient())
  }

  /** One of its two processes was killed: the system of that side closes the stream. */
  onDeath(process: Process): void {
    if (process === this.client && !this.#clientGone) {
      this.#clientGone = true
      this.network.connections.delete(this)
      this.#tellRelay(false)
    }
    if (process === this.server && !this.#relayGone) {
      this.#relayGone = true
      this.network.served.delete(this)
      this.network.observer.onGone(this)
      if (!this.#clientGone && !this.#toClient.isSilent) this.#toClient.after(this.client, () => this.#endClient())
    }
  }
}

/** Within this time, both sides learn that a connection broke. */
const CUT_MS = 2_000
/** As in src/transport/socket.ts. */
const LINGER_MS = 5_000
