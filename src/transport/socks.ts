/**
 * How a client reaches a relay: a unix socket or loopback directly, every other host through Tor's SOCKS5 port (RFC 1928,
 * RFC 1929). Host names go to Tor unresolved, because a lookup would show a name server the destination. Knows nothing of
 * packets.
 */
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { type ConnectCode, ConnectError, type Endpoint, isOnionDomain, type Target } from './address.ts'

export const DEFAULT_SOCKS: Endpoint = Object.freeze({ host: '127.0.0.1', port: 9050 })

/** The way to a target that is neither loopback nor a unix socket. */
export type Route =
  | { readonly kind: 'socks'; readonly proxy: Endpoint | { readonly path: string }; readonly isolation: Isolation }
  /** The system resolves and connects. Onion addresses are refused. */
  | { readonly kind: 'direct' }
  /** The system resolves and connects, through Tor as the user states: by torsocks, or by a transparent proxy. */
  | { readonly kind: 'transparent' }

/** Tor puts streams with different SOCKS credentials on different circuits. */
export interface Isolation {
  readonly user: string
  readonly password: string
}

/** Draws random credentials, which reveal nothing about the user. */
export function createIsolation(): Isolation {
  return { user: randomBytes(16).toString('hex'), password: randomBytes(16).toString('hex') }
}

/**
 * Connects within `timeout` milliseconds. The socket does not flow yet, and its errors end in 'close'.
 *
 * @param options.early bytes for the target, which leave as soon as they can: behind the request to the SOCKS port, before
 *   its answer. The target may get them even if the connection fails.
 * @throws {ConnectError} if the relay cannot be reached, or the signal's reason if it is aborted
 */
export async function connectTarget(
  target: Target,
  route: Route,
  options: { timeout: number; signal?: AbortSignal; early?: readonly Uint8Array[] },
): Promise<Socket> {
  const { early = [] } = options
  options.signal?.throwIfAborted()
  const deadline = AbortSignal.timeout(options.timeout)
  const signal = options.signal === undefined ? deadline : AbortSignal.any([options.signal, deadline])
  try {
    switch (target.kind) {
      case 'unix':
        return send(await open({ path: target.path }, signal), early)
      case 'loopback':
        return send(await open({ host: target.host, port: target.port }, signal), early)
      case 'name':
        switch (route.kind) {
          case 'direct':
            if (isOnionDomain(target.host)) throw new ConnectError('onion-needs-tor')
            return send(await open({ host: target.host, port: target.port }, signal), early)
          case 'transparent':
            return send(await open({ host: target.host, port: target.port }, signal), early)
          case 'socks':
            return await openSocks(target, route, signal, early)
        }
    }
  } catch (error) {
    options.signal?.throwIfAborted()
    if (deadline.aborted) throw new ConnectError('connect-timeout')
    throw error
  }
}

async function open(to: { path: string } | Endpoint, signal: AbortSignal): Promise<Socket> {
  const socket = connect({ ...to, noDelay: true })
  // 'close' follows, and reaches the socket's owner at that time.
  socket.on('error', () => {})
  try {
    await once(socket, 'connect', { signal })
    return socket
  } catch (error) {
    socket.destroy()
    throw new ConnectError((error as NodeJS.ErrnoException).code === 'ECONNREFUSED' ? 'relay-down' : 'unreachable')
  }
}

function send(socket: Socket, early: readonly Uint8Array[]): Socket {
  if (early.length > 0) socket.write(Buffer.concat(early))
  return socket
}

async function openSocks(
  target: Endpoint,
  route: Route & { kind: 'socks' },
  signal: AbortSignal,
  early: readonly Uint8Array[],
): Promise<Socket> {
  const socket = await open(route.proxy, signal).catch(() => {
    throw new ConnectError('proxy-down')
  })
  const reader = new Reader(socket, signal)
  try {
    const { user, password } = route.isolation
    // The client offers no other method than user and password, because only these isolate circuits.
    socket.write(Uint8Array.of(5, 1, 2))
    const method = await reader.read(2)
    if (method[0] !== 5 || method[1] !== 2) throw new ConnectError('proxy-failed')
    socket.write(Buffer.concat([Uint8Array.of(1), counted(user), counted(password)]))
    const welcome = await reader.read(2)
    if (welcome[1] !== 0) throw new ConnectError('proxy-failed')
    const port = Uint8Array.of(target.port >> 8, target.port & 0xff)
    // Early data only from here on: before these answers, tor could still refuse the credentials that isolate circuits.
    socket.write(Buffer.concat([Uint8Array.of(5, 1, 0, 3), counted(target.host), port, ...early]))
    const reply = await reader.read(4)
    if (reply[0] !== 5) throw new ConnectError('proxy-failed')
    if (reply[1] !== 0) throw new ConnectError(replyCode(reply[1], target.host))
    const length = { 1: 4, 4: 16 }[reply[3] ?? 0]
    await reader.read((length ?? (await reader.read(1))[0] ?? 0) + 2)
    return socket
  } catch (error) {
    socket.destroy()
    throw error
  } finally {
    reader.release()
  }
}

/** RFC 1928 section 6, and Tor's extended codes (socks-extensions, `ExtendedErrors`). */
function replyCode(code: number | undefined, host: string): ConnectCode {
  switch (code) {
    case 0xf0:
    case 0xf1:
      return 'onion-not-found'
    case 0xf2:
    case 0xf3:
    case 0xf7:
      return 'onion-unreachable'
    case 0xf4:
    case 0xf5:
      return 'onion-locked'
    case 0xf6:
      return 'onion-malformed'
    // Tor's onion service ends the stream without a reason if its backend does not answer; clients then reply 1.
    case 1:
      return host.endsWith('.onion') ? 'onion-relay-down' : 'unreachable'
    case 5:
      return host.endsWith('.onion') ? 'onion-relay-down' : 'relay-down'
    case 6:
      return 'connect-timeout'
    // Without ExtendedErrors Tor answers 4 if it could not find an onion service.
    case 4:
      return host.endsWith('.onion') ? 'onion-not-found' : 'unreachable'
  }
  return 'unreachable'
}

function counted(text: string): Buffer {
  const bytes = Buffer.from(text)
  return Buffer.concat([Uint8Array.of(bytes.length), bytes])
}

/**
 * Reads a socket by counted bytes; later bytes stay in it. The listeners stay between reads, because Node calls each new
 * listener of 'readable' at once if any bytes are there, even too few to read.
 */
class Reader {
  readonly #socket: Socket
  readonly #signal: AbortSignal
  readonly #wake = (): void => this.#resolve()
  #resolve: () => void = () => {}

  constructor(socket: Socket, signal: AbortSignal) {
    this.#socket = socket
    this.#signal = signal
    for (const event of ['readable', 'error', 'close']) socket.on(event, this.#wake)
    signal.addEventListener('abort', this.#wake)
  }

  /** @throws {ConnectError} `proxy-failed` if the stream ends first */
  async read(length: number): Promise<Uint8Array> {
    for (;;) {
      const bytes = this.#socket.read(length) as Buffer | null
      if (bytes?.length === length) return bytes
      // A short read returns the last bytes before the end.
      if (bytes !== null || this.#socket.readableEnded || this.#socket.destroyed || this.#signal.aborted) {
        throw new ConnectError('proxy-failed')
      }
      await new Promise<void>((resolve) => (this.#resolve = resolve))
    }
  }

  release(): void {
    for (const event of ['readable', 'error', 'close']) this.#socket.off(event, this.#wake)
    this.#signal.removeEventListener('abort', this.#wake)
  }
}
