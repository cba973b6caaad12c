/**
 * Connects to a relay: dials its address, then has a {@link RelayClient} introduce itself.
 */
import { isOnion } from '../../onion/address.ts'
import { type ConnectCode, ConnectError, parseTarget } from '../../transport/address.ts'
import type { Identity } from '../format/identity.ts'
import { ClaimClient } from './claim-client.ts'
import { RelayClient, type Token } from './client.ts'
import { Connection } from './connection.ts'
import { dial, FRAMING } from './dial.ts'
import { EarlyStream } from './early-stream.ts'
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
  checkIsolation(options.isolation)
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
  endWith(signal, client)
  try {
    await client.start(options)
    return client
  } catch (error) {
    client.close()
    throw error
  }
}

/** Options of {@link connectClaims}. */
export interface ClaimOptions extends Omit<ConnectOptions, 'identity' | 'sign' | 'login'> {
  /**
   * Called before the relay is reached. Its requests leave with the first packets, without waiting for an answer
   * (docs/protocol.md, section 7): `open`, `send`, `fetch`, `subscribe` and a leased `get`. If the relay is not reached,
   * they fail with an error that has `mayHaveArrived`: a message then counts as under way, and the same ciphertext must be
   * sent again.
   */
  readonly early?: (client: ClaimClient) => void
}

/**
 * Connects to a relay without proving a key, sends HELLO with the dialled name and reads the relay's limits.
 * @throws as {@link connectRelay}
 */
export async function connectClaims(options: ClaimOptions): Promise<ClaimClient> {
  return connectClaimsThrough(dial, options)
}

/** As {@link connectClaims}, over a stream that `dialTarget` opens. */
export async function connectClaimsThrough(dialTarget: typeof dial, options: ClaimOptions): Promise<ClaimClient> {
  const target = parseTarget(options.relay)
  checkIsolation(options.isolation)
  const { signal, timeout = 60_000, connectTimeout = 120_000 } = options
  signal?.throwIfAborted()
  const stream = new EarlyStream(FRAMING)
  const client = new ClaimClient({
    onMoved: (name) => {
      if (isOnion(name)) options.onMoved?.(name)
    },
    connect: (handlers) => new Connection(stream, { relay: target.name, timeout, isEarly: true, ...handlers }),
  })
  const started = client.start()
  started.catch(() => {})
  try {
    options.early?.(client)
    const route = { isolation: options.isolation, timeout: connectTimeout, socks: options.socks, signal, early: stream.take() }
    stream.attach(await dialTarget(target, route))
    client.onStanding()
    endWith(signal, client)
    const resumed = options.token === undefined ? undefined : client.resume(options.token)
    resumed?.catch(() => {})
    await started
    await resumed
    return client
  } catch (error) {
    const reason = error instanceof ConnectError ? refusalOf(error.code, options) : error
    client.close(reason)
    throw reason
  }
}

/** Without a way to the relay, nothing left. */
function refusalOf(code: ConnectCode, { early }: ClaimOptions): RelayError {
  return new RelayError(code, { mayHaveArrived: early !== undefined && code !== 'proxy-down' && code !== 'onion-needs-tor' })
}

function checkIsolation(isolation: string | undefined): void {
  if (isolation !== undefined && !/^[!-~]{1,255}$/.test(isolation))
    throw new TypeError('the isolation must be 1 to 255 printable characters')
}

/** Has the signal end the connection. */
function endWith(signal: AbortSignal | undefined, client: RelayClient | ClaimClient): void {
  if (signal === undefined) return
  const abort = (): void => client.close(signal.reason)
  if (signal.aborted) abort()
  signal.addEventListener('abort', abort, { once: true })
  client.onEnd(() => signal.removeEventListener('abort', abort))
}
