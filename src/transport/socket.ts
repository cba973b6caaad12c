/**
 * A TCP or unix socket as the relay's byte stream, and the one place that listens: on loopback or a path, nowhere else.
 * Never reads the peer's address.
 */
import { chmodSync, lstatSync, unlinkSync, writeSync } from 'node:fs'
import { connect, createServer, isIP, type Server, Socket } from 'node:net'
import { CodedError } from '../protocol/coded-error.ts'
import type { ByteStream, Receiver } from '../relay/stream.ts'
import type { Address } from './address.ts'

/** For the peer to read our last words and to end its side. */
const LINGER_MS = 5_000

/** Returns whether the host is an IP address of loopback: 127.0.0.0/8 or ::1, in their usual spelling. */
export function isLoopback(host: string): boolean {
  return host === '::1' || (isIP(host) === 4 && host.startsWith('127.'))
}

/** Passes the socket's bytes to the receiver that `accept` returns for its stream. */
export function serveSocket(socket: Socket, circuit: string | undefined, accept: (stream: ByteStream) => Receiver): void {
  let lingering: NodeJS.Timeout | undefined
  let received = 0
  const stream: ByteStream = {
    framing: 'line',
    circuit,
    get received() {
      return received
    },
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
    widen: () => readLong(socket),
    end() {
      if (lingering !== undefined || socket.destroyed) return
      // The peer may send more, which is read and discarded. If a socket closes with unread bytes, the system resets
      // the connection, and the peer loses our last words.
      socket.end()
      socket.resume()
      lingering = setTimeout(() => socket.destroy(), LINGER_MS)
    },
    destroy: () => void socket.destroy(),
  }
  socket.setNoDelay(true)
  // The error may hold the peer's address; 'close' follows.
  socket.on('error', () => {})
  const receiver = accept(stream)
  const onChunk = (chunk: Buffer): void => {
    received += chunk.length
    if (lingering === undefined) receiver.onChunk(chunk)
    else chunk.fill(0)
  }
  // Receives the bytes that are in the stream already; all bytes, if this Node cannot read past the stream.
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
 * Creates a server whose sockets stay half open: a peer that ends its side still gets its answers.
 * @param onKept called if Node cannot read a socket into our buffer; its own buffer may keep the bytes
 */
export function createSocketServer(onSocket: (socket: Socket) => void, onKept: () => void = () => {}): Server {
  return createServer({ allowHalfOpen: true, pauseOnConnect: false, noDelay: true }, (socket) => {
    if (!readThrough(socket)) onKept()
    onSocket(socket)
  })
}

/** Sockets are read into this buffer, one at a time; it is all zeros between two reads. Long lines come in few parts. */
const READ = Buffer.alloc(131_072)
/**
 * Strangers are read into this part of it. The session keeps a copy of the bytes that it cannot process yet, which may be
 * a whole read for each of thousands of strangers.
 */
const SHORT = READ.subarray(0, 4_096)
/** The longest chunk of a stream on which `widen` was not called. */
export const SHORT_BYTES = SHORT.length

/** The fields of a socket by which Node implements `onread` (lib/net.js, initSocketHandle). */
interface Inside {
  [symbol: symbol]: unknown
  _handle?: { readonly fd?: number; useUserBuffer?(buffer: Buffer): void }
}

function findInside(socket: Socket): { inside: Inside; held: symbol; called: symbol; next: symbol } | undefined {
  const symbols = Object.getOwnPropertySymbols(socket)
  const [held, called, next] = ['kBuffer', 'kBufferCb', 'kBufferGen'].map((name) => symbols.find(({ description }) => description === name))
  if (held === undefined || called === undefined || next === undefined) return undefined
  return { inside: socket as unknown as Inside, held, called, next }
}

/** Returns whether this Node can read into our buffer, as far as a socket without a connection shows. */
export function readsThrough(): boolean {
  return findInside(new Socket()) !== undefined
}

/**
 * Makes the socket read into `READ`, from which the stream gets copies. By default Node reads into a buffer of its own,
 * passes copies on, and leaves the bytes there, payloads among them, until a longer read overwrites them. Node's public
 * option `onread` is for sockets that connect; for accepted ones this uses its inner parts.
 * @returns false if this Node lacks them: the check `read-buffer` of src/cli/relay/checks.ts
 */
function readThrough(socket: Socket): boolean {
  const found = findInside(socket)
  if (found?.inside._handle?.useUserBuffer === undefined) return false
  const { inside, held, called } = found
  inside[held] = SHORT
  // Returns whether to read on now.
  inside[called] = (length: number): boolean => {
    const chunk = Buffer.allocUnsafeSlow(length)
    READ.copy(chunk, 0, 0, length)
    READ.fill(0, 0, length)
    return socket.push(chunk)
  }
  inside._handle!.useUserBuffer!(SHORT)
  return true
}

/** Makes a socket that reads into `SHORT` read into all of `READ`, from the next read but one on. */
function readLong(socket: Socket): void {
  const found = findInside(socket)
  if (found === undefined || found.inside[found.held] !== SHORT) return
  const { inside, next } = found
  // Node asks for the buffer of the next read after each read, until it gets one.
  inside[next] = (): Buffer => {
    inside[next] = null
    return READ
  }
}

/**
 * Makes a socket that reads into `READ` lend it to `onChunk`, which overwrites it. So there is no copy, no allocation
 * whose size the peer chose, and the stream stays empty. The socket's `pause` and `resume` keep their meaning.
 */
function readPast(socket: Socket, onChunk: (chunk: Buffer) => void): void {
  const found = findInside(socket)
  if (found === undefined || found.inside[found.held] !== SHORT) return
  found.inside[found.called] = (length: number): boolean => {
    onChunk(READ.subarray(0, length))
    return true
  }
}

/**
 * Writes to the system directly: the stream's own code costs more than the system call. The stream must be empty.
 * @returns how many bytes the system took: 0 if it takes none now, or on an error, which the stream reports later
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

/** Listening failed. `code` is the system's (`EADDRINUSE` …) or ours; the rest of its error is dropped. */
export class ListenError extends CodedError<string> {
  readonly address: Address

  constructor(code: string, address: Address) {
    super('ListenError', code)
    this.address = address
  }
}

/**
 * Listens at an address of this machine.
 * @param mode the permissions of a unix socket
 * @returns the address as taken: port 0 became a port
 * @throws ListenError; `NOT_LOCAL` if the address is neither loopback nor a path
 */
export async function listen(server: Server, address: Address, mode = 0o660): Promise<Address> {
  if (address.kind === 'tcp' && !isLoopback(address.host)) throw new ListenError('NOT_LOCAL', address)
  if (address.kind === 'unix') await removeStale(address)
  const umask = address.kind === 'unix' ? process.umask(0o777 & ~mode) : undefined
  try {
    await new Promise<void>((resolve, reject) => {
      server.once('error', (error: NodeJS.ErrnoException) => reject(new ListenError(error.code ?? 'UNKNOWN', address)))
      // Node binds the path before `listen` returns, under the umask set above, so it is never open to others.
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

/** Removes the socket file of a dead process. @throws ListenError if a process listens there, or it is no socket */
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
    // EAGAIN: a process listens, but its queue is full, as that of a stopped process can be.
    probe.on('error', ({ code }: NodeJS.ErrnoException) => resolve(code === 'EAGAIN'))
  })
  if (alive) throw new ListenError('EADDRINUSE', address)
  unlinkSync(address.path)
}
