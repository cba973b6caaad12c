/**
 * A TCP or unix socket as the relay's byte stream, and the one place where such sockets are
 * listened for: on loopback or a path, nowhere else. Never reads the peer's address.
 */
import { chmodSync, lstatSync, unlinkSync, writeSync } from 'node:fs'
import { connect, createServer, isIP, type Server, Socket } from 'node:net'
import { CodedError } from '../protocol/coded-error.ts'
import type { ByteStream, Receiver } from '../relay/stream.ts'
import type { Address } from './address.ts'

/** For a peer to take our last words and end its side, too. */
const LINGER_MS = 5_000

/** Whether the host is an IP address of this machine's loopback: 127.0.0.0/8 or ::1, spelled plainly. */
export function isLoopback(host: string): boolean {
  return host === '::1' || (isIP(host) === 4 && host.startsWith('127.'))
}

/** Hands the socket's bytes to a receiver, which `accept` gives for the stream. */
export function serveSocket(socket: Socket, circuit: string | undefined, accept: (stream: ByteStream) => Receiver): void {
  let lingering: NodeJS.Timeout | undefined
  const stream: ByteStream = {
    framing: 'line',
    circuit,
    write(bytes, done) {
      const taken = writeNow(socket, bytes)
      if (taken === bytes.length) return true
      socket.write(bytes.subarray(taken), (error) => {
        if (error === null || error === undefined) done()
      })
      return false
    },
    pause: () => void socket.pause(),
    resume: () => void socket.resume(),
    end() {
      if (lingering !== undefined || socket.destroyed) return
      // What the peer still sends is thrown away: closing with unread bytes would make the system
      // reset the connection, and our last words would be lost.
      socket.end()
      socket.resume()
      lingering = setTimeout(() => socket.destroy(), LINGER_MS)
    },
    destroy: () => void socket.destroy(),
  }
  socket.setNoDelay(true)
  // Its reason holds the peer's address; 'close' follows.
  socket.on('error', () => {})
  const receiver = accept(stream)
  const onChunk = (chunk: Buffer): void => {
    if (lingering === undefined) receiver.onChunk(chunk)
    else chunk.fill(0)
  }
  // What lies in the stream already; all, where there is no reading past it.
  socket.on('data', onChunk)
  readPast(socket, onChunk)
  socket.on('end', () => {
    if (lingering === undefined) receiver.onFinish()
  })
  socket.on('close', () => {
    clearTimeout(lingering)
    receiver.onEnd()
  })
}

/**
 * A server whose sockets stay half open: a peer that ends its side still gets its answers.
 * @param onKept called where Node would not have a socket read into our buffer, and may keep what is read
 */
export function createSocketServer(onSocket: (socket: Socket) => void, onKept: () => void = () => {}): Server {
  return createServer({ allowHalfOpen: true, pauseOnConnect: false, noDelay: true }, (socket) => {
    if (!readThrough(socket)) onKept()
    onSocket(socket)
  })
}

/** What every socket is read into, one at a time; all zero between two reads. A long line is in few parts then. */
const READ = Buffer.alloc(131_072)

/** What Node keeps in a socket for `onread`; the names are of lib/net.js, initSocketHandle. */
interface Inside {
  [symbol: symbol]: unknown
  _handle?: { readonly fd?: number; useUserBuffer?(buffer: Buffer): void }
}

function findInside(socket: Socket): { inside: Inside; held: symbol; called: symbol } | undefined {
  const symbols = Object.getOwnPropertySymbols(socket)
  const held = symbols.find(({ description }) => description === 'kBuffer')
  const called = symbols.find(({ description }) => description === 'kBufferCb')
  return held === undefined || called === undefined ? undefined : { inside: socket as unknown as Inside, held, called }
}

/** Whether this Node has what it takes to read into a buffer of ours, as far as can be told without a connection. */
export function readsThrough(): boolean {
  return findInside(new Socket()) !== undefined
}

/**
 * Has the socket read into `READ`, of which the stream gets copies. Left to itself, Node reads into a buffer of
 * its own, gives us copies, and keeps what it read there until something longer is read: payloads among it.
 * Public is `onread` of sockets that connect; for those that were accepted there is only what it is made of inside.
 * @returns false where a Node has it no more: the check `read-buffer` of src/cli/relay/checks.ts
 */
function readThrough(socket: Socket): boolean {
  const found = findInside(socket)
  if (found?.inside._handle?.useUserBuffer === undefined) return false
  const { inside, held, called } = found
  inside[held] = READ
  // Gives whether more is wanted now.
  inside[called] = (length: number): boolean => {
    const chunk = Buffer.allocUnsafeSlow(length)
    READ.copy(chunk, 0, 0, length)
    READ.fill(0, 0, length)
    return socket.push(chunk)
  }
  inside._handle!.useUserBuffer!(READ)
  return true
}

/**
 * Has a socket that reads into `READ` lend it to `onChunk`, which overwrites it: no copy, nothing allocated by the
 * length of what comes, and the stream between them stays empty. `pause` and `resume` of the socket mean what they did.
 */
function readPast(socket: Socket, onChunk: (chunk: Buffer) => void): void {
  const found = findInside(socket)
  if (found === undefined || found.inside[found.held] !== READ) return
  found.inside[found.called] = (length: number): boolean => {
    onChunk(READ.subarray(0, length))
    return true
  }
}

/**
 * Hands bytes to the system without the stream, whose way is longer than the system's own; the stream must be empty.
 * @returns how many it took: none where it takes none now, or where the stream has to say what is wrong
 */
function writeNow(socket: Socket, bytes: Uint8Array): number {
  const fd = (socket as unknown as Inside)._handle?.fd ?? -1
  if (fd < 0 || socket.connecting || socket.writableLength > 0 || socket.writableEnded) return 0
  try {
    return writeSync(fd, bytes)
  } catch {
    return 0
  }
}

/** A listener that could not be had; `code` is the system's (`EADDRINUSE` …), and nothing else of it is kept. */
export class ListenError extends CodedError<string> {
  readonly address: Address

  constructor(code: string, address: Address) {
    super('ListenError', code)
    this.address = address
  }
}

/**
 * Listens, and gives the address that was taken (port 0 becomes a port).
 * @throws ListenError; `NOT_LOCAL` for an address that is not this machine's own
 */
export async function listen(server: Server, address: Address, mode = 0o660): Promise<Address> {
  if (address.kind === 'tcp' && !isLoopback(address.host)) throw new ListenError('NOT_LOCAL', address)
  if (address.kind === 'unix') await removeStale(address)
  const umask = address.kind === 'unix' ? process.umask(0o777 & ~mode) : undefined
  try {
    await new Promise<void>((resolve, reject) => {
      server.once('error', (error: NodeJS.ErrnoException) => reject(new ListenError(error.code ?? 'UNKNOWN', address)))
      // The path is bound before `listen` returns, under the umask set above: never open to others.
      if (address.kind === 'unix') server.listen({ path: address.path }, resolve)
      else server.listen({ host: address.host, port: address.port }, resolve)
      if (umask !== undefined) process.umask(umask)
    })
  } finally {
    if (umask !== undefined) process.umask(umask)
  }
  if (address.kind === 'unix') {
    chmodSync(address.path, mode)
    return address
  }
  const taken = server.address()
  if (taken === null || typeof taken === 'string' || !isLoopback(taken.address)) {
    server.close()
    throw new ListenError('NOT_LOCAL', address)
  }
  return { kind: 'tcp', host: taken.address, port: taken.port }
}

/** Removes a socket file that a dead process left; one that somebody listens on is in use. */
async function removeStale(address: Address & { kind: 'unix' }): Promise<void> {
  const there = lstatSync(address.path, { throwIfNoEntry: false })
  if (there === undefined) return
  if (!there.isSocket()) throw new ListenError('EEXIST', address)
  const alive = await new Promise<boolean>((resolve) => {
    const probe = connect({ path: address.path })
    probe.on('connect', () => {
      probe.destroy()
      resolve(true)
    })
    probe.on('error', () => resolve(false))
  })
  if (alive) throw new ListenError('EADDRINUSE', address)
  unlinkSync(address.path)
}
