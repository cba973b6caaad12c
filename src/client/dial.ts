/**
 * The way to a relay in Node: a socket, through Tor's SOCKS port where it has to be. In a page `dial.web.ts` stands
 * in its place (package.json, `browser`).
 */
import type { Socket } from 'node:net'
import { parseEndpoint, type Target } from '../transport/address.ts'
import { connectTarget, createIsolation, DEFAULT_SOCKS, type Isolation, type Route } from '../transport/socks.ts'
import type { Identity } from './identity.ts'
import type { Stream } from './stream.ts'

export interface DialOptions {
  readonly identity: Identity
  /** `HOST[:PORT]`, or `off`. */
  readonly socks: string | undefined
  /** Milliseconds. */
  readonly timeout: number
  readonly signal: AbortSignal | undefined
}

/** By identity and relay: the credentials that keep one identity's circuits apart from another's. */
const isolations = new WeakMap<Identity, Map<string, Isolation>>()

/** @throws {ConnectError} when the relay cannot be reached; the signal's reason when it is aborted */
export async function dial(target: Target, options: DialOptions): Promise<Stream> {
  const { timeout, signal } = options
  return socketStream(await connectTarget(target, routeOf(options, target), { timeout, ...(signal && { signal }) }))
}

function routeOf({ socks, identity }: DialOptions, target: Target): Route {
  if (socks === 'off') return { kind: 'direct' }
  const proxy = socks === undefined ? DEFAULT_SOCKS : parseEndpoint(socks, DEFAULT_SOCKS.port)
  const relays = isolations.get(identity) ?? new Map<string, Isolation>()
  isolations.set(identity, relays)
  const isolation = relays.get(target.name) ?? createIsolation()
  relays.set(target.name, isolation)
  return { kind: 'socks', proxy, isolation }
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
