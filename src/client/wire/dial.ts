/**
 * Dials a relay in Node: a socket, through Tor's SOCKS port unless the relay is local. In a web page `dial.web.ts`
 * replaces this module (package.json, `browser`).
 */
import { readFileSync } from 'node:fs'
import type { Socket } from 'node:net'
import { parseEndpoint, type Target } from '../../transport/address.ts'
import { connectTarget, createIsolation, DEFAULT_SOCKS, type Route } from '../../transport/socks.ts'
import type { Stream } from './stream.ts'

export interface DialOptions {
  /** Connections with the same isolation may share circuits. Without it the connection gets its own. */
  readonly isolation: string | undefined
  /** `HOST[:PORT]`, `off`, `torsocks` or `transparent`: see `ConnectOptions`. */
  readonly socks: string | undefined
  /** Milliseconds until the relay must be reached. */
  readonly timeout: number
  readonly signal: AbortSignal | undefined
  /** Packets that leave as soon as they can, before it is known whether the relay is reached. */
  readonly early?: readonly Uint8Array[]
}

/** How the streams of this module carry packets. */
export const FRAMING = 'line'

/** Connects to a relay. @throws {ConnectError} if the relay cannot be reached; the signal's reason if it is aborted */
export async function dial(target: Target, options: DialOptions): Promise<Stream> {
  const { timeout, signal, early } = options
  return socketStream(await connectTarget(target, routeOf(options), { timeout, ...(signal && { signal }), ...(early && { early }) }))
}

/** Returns whether `socks` leads through a SOCKS port: the default one, or the one whose address it gives. */
export function usesProxy(socks: string | undefined): boolean {
  return socks !== 'off' && socks !== 'torsocks' && socks !== 'transparent'
}

/**
 * Chooses the route of a connection; no other code does. The system's resolver gets an onion address only if torsocks
 * answers in its place, or if the user chose a transparent proxy.
 */
function routeOf({ socks, isolation }: DialOptions): Route {
  if (socks === 'transparent') return { kind: 'transparent' }
  if (socks === 'torsocks' || socks === 'off') {
    if (isTorsocksLoaded()) return { kind: 'transparent' }
    if (socks === 'torsocks') throw new TypeError('torsocks is not loaded in this process')
    return { kind: 'direct' }
  }
  const proxy = socks === undefined ? DEFAULT_SOCKS : parseEndpoint(socks, DEFAULT_SOCKS.port)
  return { kind: 'socks', proxy, isolation: isolation === undefined ? createIsolation() : { user: isolation, password: isolation } }
}

function socketStream(socket: Socket): Stream {
  return {
    framing: FRAMING,
    start({ onChunk, onEnd }) {
      socket.on('data', onChunk)
      socket.on('close', onEnd)
    },
    write: (packet) => void socket.write(packet),
    close: () => void socket.destroy(),
  }
}

/**
 * Returns whether torsocks is loaded in this process and replaces the system's connect and resolver. Checks the mapped
 * libraries and not LD_PRELOAD, because the loader skips a library that it cannot load. Always false outside Linux.
 */
export function isTorsocksLoaded(): boolean {
  try {
    return /\/libtorsocks\.so[.0-9]*$/m.test(readFileSync('/proc/self/maps', 'latin1'))
  } catch {
    return false
  }
}
