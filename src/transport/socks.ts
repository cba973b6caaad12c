/**
 * How a client reaches a relay: a unix socket or loopback directly, everything else through a SOCKS5
 * port (RFC 1928, RFC 1929), which is Tor's. Host names are passed on as they are: resolving one here
 * would tell a name server what Tor is there to hide. Knows nothing of packets.
 */
import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { connect, isIPv4, isIPv6, type Socket } from 'node:net'

export const DEFAULT_RELAY_PORT = 3308
export const DEFAULT_SOCKS: Endpoint = Object.freeze({ host: '127.0.0.1', port: 9050 })

export interface Endpoint {
  readonly host: string
  readonly port: number
}

/** Where a relay is, and the name that has to stand in its challenges (docs/protocol.md, section 3). */
export type Target =
  | { readonly kind: 'unix'; readonly path: string; readonly name: 'localhost' }
  | { readonly kind: 'loopback'; readonly host: string; readonly port: number; readonly name: 'localhost' }
  | { readonly kind: 'name'; readonly host: string; readonly port: number; readonly name: string }

/** The way to a target that is neither loopback nor a unix socket. */
export type Route =
  | { readonly kind: 'socks'; readonly proxy: Endpoint | { readonly path: string }; readonly isolation: Isolation }
  /** The system's own connect, for use under torsocks or behind a transparent proxy. */
  | { readonly kind: 'direct' }

/** Tor puts streams with different SOCKS credentials on different circuits. */
export interface Isolation {
  readonly user: string
  readonly password: string
}

/** Random, so that nothing about whoever uses it can be read from it. */
export function createIsolation(): Isolation {
  return { user: randomBytes(16).toString('hex'), password: randomBytes(16).toString('hex') }
}

export type ConnectCode =
  /** Nobody listens at the SOCKS port. */
  | 'proxy-down'
  /** What listens there is no SOCKS5 with user and password, or gave up in the middle. */
  | 'proxy-failed'
  /** Tor found no (valid) descriptor of the onion service. */
  | 'onion-not-found'
  /** Tor found the onion service but no way to it. */
  | 'onion-unreachable'
  /** The onion service wants client authorization that Tor does not have. */
  | 'onion-locked'
  /** Not an onion address at all. */
  | 'onion-malformed'
  /** The host is there and nobody listens at the port. */
  | 'relay-down'
  | 'unreachable'
  | 'connect-timeout'

export class ConnectError extends Error {
  readonly code: ConnectCode

  constructor(code: ConnectCode) {
    super(code)
    this.name = 'ConnectError'
    this.code = code
  }
}

/**
 * Reads `HOST[:PORT]`, `[::1][:PORT]` or `unix:PATH`; the port is 3308 where none is given.
 * @throws {TypeError} with a line of text for people, without what was given.
 */
export function parseTarget(text: string): Target {
  if (text.startsWith('unix:')) {
    const path = text.slice(5)
    if (path === '' || path.includes('\0')) throw new TypeError('unix: wants the path of a socket')
    return { kind: 'unix', path, name: 'localhost' }
  }
  const { host, port } = parseEndpoint(text, DEFAULT_RELAY_PORT)
  if (host === 'localhost' || host === '::1' || (isIPv4(host) && host.startsWith('127.'))) {
    return { kind: 'loopback', host, port, name: 'localhost' }
  }
  if (host.endsWith('.onion') && !isOnion(host)) throw new TypeError('that onion address is mistyped: its checksum is wrong')
  return { kind: 'name', host, port, name: host }
}

/**
 * Reads `HOST[:PORT]`, in lower case, without the brackets of an IPv6 address.
 * @throws {TypeError} with a line of text for people, without what was given.
 */
export function parseEndpoint(text: string, defaultPort: number): Endpoint {
  const match = /^(?:\[(?<six>[0-9a-f:.]{2,45})\]|(?<host>[a-z0-9](?:[a-z0-9._-]{0,252})))(?::(?<port>[0-9]{1,5}))?$/.exec(
    text.toLowerCase(),
  )
  const six = match?.groups?.['six']
  const host = six ?? match?.groups?.['host']
  const port = Number(match?.groups?.['port'] ?? defaultPort)
  if (host === undefined || (six !== undefined && !isIPv6(six)) || port < 1 || port > 65_535) throw new TypeError('an address is HOST[:PORT]')
  return { host, port }
}

/** Whether it is an onion address: rend-spec-v3, ONIONADDRESS: key, checksum and version 3 in base32; subdomains are allowed. */
export function isOnion(host: string): boolean {
  const label = host.split('.').at(-2) ?? ''
  if (!/^[a-z2-7]{56}$/.test(label)) return false
  let bits = ''
  for (const letter of label) bits += 'abcdefghijklmnopqrstuvwxyz234567'.indexOf(letter).toString(2).padStart(5, '0')
  const bytes = Uint8Array.from(bits.match(/.{8}/g) ?? [], (byte) => Number.parseInt(byte, 2))
  const checksum = createHash('sha3-256').update('.onion checksum').update(bytes.subarray(0, 32)).update(Uint8Array.of(3)).digest()
  return bytes[34] === 3 && bytes[32] === checksum[0] && bytes[33] === checksum[1]
}

/**
 * Connects within `timeout` milliseconds. The socket does not flow yet, and its errors end in 'close'.
 * @throws {ConnectError} when the relay cannot be reached; the signal's reason when it is aborted.
 */
export async function connectTarget(target: Target, route: Route, options: { timeout: number; signal?: AbortSignal }): Promise<Socket> {
  options.signal?.throwIfAborted()
  const deadline = AbortSignal.timeout(options.timeout)
  const signal = options.signal === undefined ? deadline : AbortSignal.any([options.signal, deadline])
  try {
    switch (target.kind) {
      case 'unix':
        return await open({ path: target.path }, signal)
      case 'loopback':
        return await open({ host: target.host, port: target.port }, signal)
      case 'name':
        switch (route.kind) {
          case 'direct':
            return await open({ host: target.host, port: target.port }, signal)
          case 'socks':
            return await openSocks(target, route, signal)
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
  // 'close' follows, and tells whoever has it by then.
  socket.on('error', () => {})
  try {
    await once(socket, 'connect', { signal })
    return socket
  } catch (error) {
    socket.destroy()
    throw new ConnectError((error as NodeJS.ErrnoException).code === 'ECONNREFUSED' ? 'relay-down' : 'unreachable')
  }
}

async function openSocks(target: Endpoint, route: Route & { kind: 'socks' }, signal: AbortSignal): Promise<Socket> {
  const socket = await open(route.proxy, signal).catch(() => {
    throw new ConnectError('proxy-down')
  })
  const reader = new Reader(socket, signal)
  try {
    const { user, password } = route.isolation
    // Only user and password are offered: a proxy that would not isolate is not used.
    socket.write(Uint8Array.of(5, 1, 2))
    const method = await reader.read(2)
    if (method[0] !== 5 || method[1] !== 2) throw new ConnectError('proxy-failed')
    socket.write(Buffer.concat([Uint8Array.of(1), counted(user), counted(password)]))
    const welcome = await reader.read(2)
    if (welcome[1] !== 0) throw new ConnectError('proxy-failed')
    const port = Uint8Array.of(target.port >> 8, target.port & 0xff)
    socket.write(Buffer.concat([Uint8Array.of(5, 1, 0, 3), counted(target.host), port]))
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
    case 5:
      return 'relay-down'
    case 6:
      return 'connect-timeout'
    // Without ExtendedErrors Tor answers 4 for an onion service that it could not find.
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
 * Reads a socket by counted bytes; what follows them stays in it. The listeners stay on between reads: each new
 * listener of 'readable' is told of the bytes that are there at once, also where they are too few to read.
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

  /** @throws {ConnectError} `proxy-failed` if they do not come */
  async read(length: number): Promise<Uint8Array> {
    for (;;) {
      const bytes = this.#socket.read(length) as Buffer | null
      if (bytes?.length === length) return bytes
      // A short read is what was left before the end.
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
