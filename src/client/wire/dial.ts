/**
 * Dials a relay in Node: a socket, through Tor's SOCKS port unless the relay is local. In a web page `dial.web.ts`
 * replaces this module (package.json, `browser`).
 */
import type { Socket } from 'node:net'
import { parseEndpoint, type Target } from '../../transport/address.ts'
import { connectTarget, createIsolation, DEFAULT_SOCKS, type Route } from '../../transport/socks.ts'
import type { Stream } from './stream.ts'

export interface DialOptions {
  /** Connections with the same isolation may share circuits. Without it the connection gets its own. */
  readonly isolation: string | undefined
  /** `HOST[:PORT]`, or `off` to connect directly. */
  readonly socks: string | undefined
  /** Milliseconds until the relay must be reached. */
  readonly timeout: number
  readonly signal: AbortSignal | undefined
}

/** Connects to a relay. @throws {ConnectError} if the relay cannot be reached; the signal's reason if it is aborted */
export async function dial(target: Target, options: DialOptions): Promise<Stream> {
  const { timeout, signal } = options
  return socketStream(await connectTarget(target, routeOf(options), { timeout, ...(signal && { signal }) }))
}

function routeOf({ socks, isolation }: DialOptions): Route {
  if (socks === 'off') return { kind: 'direct' }
  const proxy = socks === undefined ? DEFAULT_SOCKS : parseEndpoint(socks, DEFAULT_SOCKS.port)
  return { kind: 'socks', proxy, isolation: isolation === undefined ? createIsolation() : { user: isolation, password: isolation } }
}

function socketStream(socket: Socket): Stream {
  return {
    framing: 'line',
    start({ onChunk, onEnd }) {
      socket.on('data', onChunk)
      socket.on('close', onEnd)
    },
    write: (packet) => void socket.write(packet),
    close: () => void socket.destroy(),
  }
}
