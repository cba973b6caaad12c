/**
 * Connects to a relay: dials its address, then has a {@link RelayClient} introduce itself.
 */
import { isOnion } from '../../onion/address.ts'
import { type ConnectCode, ConnectError, isOnionDomain, parseTarget, type Target } from '../../transport/address.ts'
import type { Identity } from '../format/identity.ts'
import { ClaimClient } from './claim-client.ts'
import { RelayClient } from './client.ts'
import { Connection } from './connection.ts'
import { dial, FRAMING } from './dial.ts'
import { EarlyStream } from './early-stream.ts'
import { RelayError } from './error.ts'
import type { Token } from './proof.ts'

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
  /** The token of an earlier connection ({@link RelayClient.token}). The client logs in anew if the relay does not know it. */
  readonly token?: Token
  /** Subscribe together with the login, for a later {@link RelayClient.subscribe}. */
  readonly subscribe?: boolean
  /**
   * Called before the relay is reached. A message that is sent here leaves behind the login without waiting for its end,
   * or at once under `token`. If the relay is not reached, requests fail with an error that has `mayHaveArrived`: a message
   * then counts as under way, and the same ciphertext must be sent again.
   */
  readonly early?: (client: RelayClient) => void
  /**
   * The relay announces that it is moving to this onion address (docs/protocol.md, NOTICE). Anyone with the keys of the
   * old address can announce that, so ask the user before following it.
   */
  readonly onMoved?: (name: string) => void
  /**
   * The relay names its run, in each TOKEN. If it is not the one that the relay named before, the relay lost all messages
   * that it held.
   */
  readonly onRun?: (run: string) => void
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
  const { relay, identity, isolation, signal, timeout = 60_000 } = options
  const target = parseTarget(relay)
  checkIsolation(isolation)
  signal?.throwIfAborted()
  const stream = new EarlyStream(FRAMING)
  const client = new RelayClient({
    identity,
    sign: options.sign === true || identity.proof === 'sign',
    onMoved: (name) => {
      if (isOnion(name)) options.onMoved?.(name)
    },
    connect: (handlers) => new Connection(stream, { relay: target.name, timeout, isEarly: true, onRun: options.onRun, ...handlers }),
  })
  // The token is a secret. Only an onion address proves who the relay is, and this machine needs no proof.
  const isTokenEarly = target.kind !== 'name' || isOnionDomain(target.host)
  const started = client.start({ ...options, isTokenEarly })
  await reach(dialTarget, options, { target, stream, client, started })
  return client
}

/** Options of {@link connectClaims}. */
export interface ClaimOptions extends Omit<ConnectOptions, 'identity' | 'sign' | 'login' | 'token' | 'subscribe' | 'early'> {
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
  const { relay, isolation, signal, timeout = 60_000 } = options
  const target = parseTarget(relay)
  checkIsolation(isolation)
  signal?.throwIfAborted()
  const stream = new EarlyStream(FRAMING)
  const client = new ClaimClient({
    onMoved: (name) => {
      if (isOnion(name)) options.onMoved?.(name)
    },
    connect: (handlers) => new Connection(stream, { relay: target.name, timeout, isEarly: true, onRun: options.onRun, ...handlers }),
  })
  const started = client.start()
  await reach(dialTarget, options, { target, stream, client, started })
  return client
}

/** A client whose first packets wait in the stream, and the end of its introduction. */
interface Starting<Client> {
  readonly target: Target
  readonly stream: EarlyStream
  readonly client: Client
  readonly started: Promise<void>
}

/** Dials the relay, sends the first packets with the request, and waits until the client has introduced itself. */
async function reach<Client extends RelayClient | ClaimClient>(
  dialTarget: typeof dial,
  options: Omit<ConnectOptions, 'identity' | 'early'> & { readonly early?: (client: Client) => void },
  { target, stream, client, started }: Starting<Client>,
): Promise<void> {
  const { isolation, socks, signal, connectTimeout = 120_000 } = options
  started.catch(() => {})
  try {
    options.early?.(client)
    stream.attach(await dialTarget(target, { isolation, timeout: connectTimeout, socks, signal, early: stream.take() }))
    client.onStanding()
    endWith(signal, client)
    await started
  } catch (error) {
    const reason = error instanceof ConnectError ? refusalOf(error.code, options.early !== undefined) : error
    client.close(reason)
    throw reason
  }
}

/** Without a way to the relay, nothing left. */
function refusalOf(code: ConnectCode, hasEarly: boolean): RelayError {
  return new RelayError(code, { mayHaveArrived: hasEarly && code !== 'proxy-down' && code !== 'onion-needs-tor' })
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
