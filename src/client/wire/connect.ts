/**
 * Connects to a relay: dials its address, then has a {@link RelayClient} introduce itself.
 */
import { isOnion } from '../../onion/address.ts'
import { ConnectError, parseTarget } from '../../transport/address.ts'
import type { Identity } from '../format/identity.ts'
import { RelayClient, type Token } from './client.ts'
import { Connection } from './connection.ts'
import { dial } from './dial.ts'
import { RelayError } from './error.ts'

/** Options of {@link connectRelay}. */
export interface ConnectOptions {
  /** `HOST[:PORT]` (port 3308 by default) or `unix:PATH`. Loopback and unix sockets bypass `socks`. */
  readonly relay: string
  readonly identity: Identity
  /**
   * Tor's SOCKS port, `HOST[:PORT]`; 127.0.0.1:9050 by default. With the other values the system resolves and connects:
   * `off` refuses onion addresses (`onion-needs-tor`) unless torsocks is loaded; `torsocks` throws a TypeError unless
   * torsocks is loaded; `transparent` accepts onion addresses too, for systems whose traffic a transparent proxy sends
   * through Tor.
   */
  readonly socks?: string
  /**
   * Names a group of connections that may share Tor circuits; 1 to 255 printable characters. Without it the connection
   * gets its own circuits.
   */
  readonly isolation?: string
  /** Log in by a signature, even if the key can decrypt. */
  readonly sign?: boolean
  /** Log in together with HELLO, which saves a round trip. */
  readonly login?: boolean
  /** The token of an earlier connection ({@link RelayClient.token}) to reuse, if the relay still knows it. */
  readonly token?: Token
  /**
   * The relay announces that it is moving to this onion address (docs/protocol.md, NOTICE). Anyone with the keys of the
   * old address can announce that, so ask the user before following it.
   */
  readonly onMoved?: (name: string) => void
  /** Ends the connection, also while it connects. */
  readonly signal?: AbortSignal
  /** Milliseconds to wait for an answer, or for the next part of a long one; 60,000 by default. */
  readonly timeout?: number
  /** Milliseconds to wait until the relay is reached; 120,000 by default, the most that Tor takes. */
  readonly connectTimeout?: number
}

/**
 * Connects to a relay, sends HELLO with the dialled name and reads the relay's limits. Logs in at once with `login`,
 * otherwise when the first request needs it.
 * @throws {RelayError} if the relay cannot be reached or refuses; `code` gives the reason
 * @throws {TypeError} if the address or the isolation is malformed
 * @throws the signal's reason if it is aborted
 */
export async function connectRelay(options: ConnectOptions): Promise<RelayClient> {
  return connectThrough(dial, options)
}

/** As {@link connectRelay}, over a stream that `dialTarget` opens: a simulation has a network of its own. */
export async function connectThrough(dialTarget: typeof dial, options: ConnectOptions): Promise<RelayClient> {
  const target = parseTarget(options.relay)
  if (options.isolation !== undefined && !/^[!-~]{1,255}$/.test(options.isolation))
    throw new TypeError('the isolation must be 1 to 255 printable characters')
  const { signal, timeout = 60_000, connectTimeout = 120_000 } = options
  const route = { isolation: options.isolation, timeout: connectTimeout, socks: options.socks, signal }
  const stream = await dialTarget(target, route).catch((error) => {
    throw error instanceof ConnectError ? new RelayError(error.code) : error
  })
  const client = new RelayClient({
    identity: options.identity,
    sign: options.sign === true || options.identity.proof === 'sign',
    onMoved: (name) => {
      if (isOnion(name)) options.onMoved?.(name)
    },
    connect: (handlers) => new Connection(stream, { relay: target.name, timeout, ...handlers }),
  })
  if (signal !== undefined) {
    const abort = (): void => client.close(signal.reason)
    if (signal.aborted) abort()
    signal.addEventListener('abort', abort, { once: true })
    client.onEnd(() => signal.removeEventListener('abort', abort))
  }
  try {
    await client.start(options)
    return client
  } catch (error) {
    client.close()
    throw error
  }
}
