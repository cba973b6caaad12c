/**
 * The way to a relay in Node: a socket, through Tor's SOCKS port where it has to be. In a page `dial.web.ts` stands
 * in its place (package.json, `browser`).
 */
import type { Socket } from 'node:net'
import { parseEndpoint, type Target } from '../../transport/address.ts'
import { connectTarget, createIsolation, DEFAULT_SOCKS, type Route } from '../../transport/socks.ts'
import type { Stream } from './stream.ts'

export interface DialOptions {
  /** Connections with the same share circuits; without one the connection has circuits of its own. */
  readonly isolation: string | undefined
  /** `HOST[:PORT]`, or `off`. */
  readonly socks: string | undefined
  /** Milliseconds. */
  readonly timeout: number
  readonly signal: AbortSignal | undefined
}

/** @throws {ConnectError} when the relay cannot be reached; the signal's reason when it is aborted */
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
