/** Unix sockets between the processes of a simulation, behind `node:net`. A handover between two relays goes over them. */
import fs from 'node:fs'
import { EventEmitter } from 'node:events'
import { syncBuiltinESMExports } from 'node:module'
import net from 'node:net'
import { Duplex } from 'node:stream'
import type { Kernel, Process } from './kernel.ts'

let kernel: Kernel | undefined
/** By path: who listens there. */
const listeners = new Map<string, LocalServer>()

/** Begins a simulation without any socket, or ends one. */
export function connectAll(system: Kernel | undefined): void {
  kernel = system
  listeners.clear()
}

/** The longest delay of a chunk, ms, and that between two processes of which one is busy. */
const DELAY_MS = 1
const BUSY_MS = 400

class LocalSocket extends Duplex {
  readonly #process: Process
  readonly #delay: number
  peer: LocalSocket | undefined

  constructor(process: Process, delay: number) {
    super({ allowHalfOpen: true })
    this.#process = process
    this.#delay = delay
    // What it wrote before arrives first.
    process.onDeath(() => this.#end())
  }

  /** Runs `work` in a turn of this socket's process. */
  later(work: () => void): void {
    kernel?.at(kernel.now + kernel.random.next(), this.#process, work)
  }

  get isAlive(): boolean {
    return this.#process.isAlive && !this.destroyed
  }

  override _read(): void {}

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error) => void): void {
    const { peer } = this
    const copy = Buffer.from(chunk)
    if (peer?.isAlive !== true) return done(Object.assign(new Error('EPIPE'), { code: 'EPIPE' }))
    this.#pass(peer, () => peer.push(copy))
    this.later(() => done())
  }

  override _final(done: () => void): void {
    this.#end()
    done()
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.#end()
    done(error)
  }

  #end(): void {
    const { peer } = this
    if (peer !== undefined) this.#pass(peer, () => peer.push(null))
  }

  #at = 0

  /** Keeps the order of everything that passes to the peer. */
  #pass(peer: LocalSocket, work: () => void): void {
    if (kernel === undefined) return
    this.#at = Math.max(this.#at, kernel.now + this.#delay * kernel.random.next())
    kernel.at(this.#at, peer.#process, () => {
      if (peer.isAlive && !peer.readableEnded) work()
    })
  }
}

class LocalServer extends EventEmitter {
  readonly process: Process
  #path: string | undefined

  constructor(onSocket: (socket: LocalSocket) => void) {
    super()
    this.process = kernel!.current!
    this.on('connection', onSocket)
    this.process.onDeath(() => this.#leave())
  }

  get listening(): boolean {
    return this.#path !== undefined
  }

  listen({ path }: { path: string }, done: () => void): this {
    kernel!.at(kernel!.now, this.process, () => {
      if (listeners.has(path)) return this.emit('error', Object.assign(new Error('EADDRINUSE'), { code: 'EADDRINUSE' }))
      listeners.set(path, this)
      this.#path = path
      done()
      return true
    })
    return this
  }

  close(done?: () => void): this {
    this.#leave()
    if (done !== undefined) kernel!.at(kernel!.now, this.process, done)
    return this
  }

  #leave(): void {
    if (this.#path !== undefined && listeners.get(this.#path) === this) listeners.delete(this.#path)
    this.#path = undefined
  }
}

function connect({ path }: { path: string }): LocalSocket {
  const system = kernel!
  const delay = system.random.chance(0.4) ? BUSY_MS : DELAY_MS
  const socket = new LocalSocket(system.current!, delay)
  socket.later(() => {
    const server = listeners.get(path)
    if (server === undefined) {
      socket.emit('error', Object.assign(new Error('ECONNREFUSED'), { code: 'ECONNREFUSED' }))
      socket.destroy()
      return
    }
    const other = new LocalSocket(server.process, delay)
    socket.peer = other
    other.peer = socket
    other.later(() => server.emit('connection', other))
    socket.emit('connect')
  })
  return socket
}

export function installLocalNet(): void {
  const { lstatSync, chmodSync } = fs
  Object.assign(net, {
    connect,
    createServer: (_options: object, onSocket: (socket: LocalSocket) => void) => new LocalServer(onSocket),
  })
  Object.assign(fs, {
    lstatSync: (path: string, options: never) => (kernel === undefined ? lstatSync(path, options) : undefined),
    chmodSync: (path: string, mode: number) => (kernel === undefined ? chmodSync(path, mode) : undefined),
  })
  syncBuiltinESMExports()
}
