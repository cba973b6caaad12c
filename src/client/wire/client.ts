/**
 * The client people write programs with: one connection to one relay, as one key. It logs in when that
 * is needed, keeps the token fresh, and never gives a relay a text that is not its challenge
 * (docs/protocol.md, section 3; the rule itself is in protocol/client-session.ts). Keeps nothing, logs nothing.
 */
import { formatFingerprint, type SshKey } from '../../auth/ssh-key.ts'
import { AUTH_NAMESPACE } from '../../auth/sshsig.ts'
import { encodeBase64 } from '../../protocol/base64.ts'
import type { Answers, ClientSession, Message, RelayLimits } from '../../protocol/client-session.ts'
import type { RequestName } from '../../protocol/packets.ts'
import { ConnectError, isOnion, parseTarget } from '../../transport/address.ts'
import { Connection } from './connection.ts'
import { dial } from './dial.ts'
import { open, seal } from '../format/envelope.ts'
import { RelayError } from './error.ts'
import type { Identity } from '../format/identity.ts'

export interface ConnectOptions {
  /** `HOST[:PORT]` (3308 by default) or `unix:PATH`. Loopback and unix sockets are reached directly, the rest by `socks`. */
  readonly relay: string
  readonly identity: Identity
  /** Tor's SOCKS port, `HOST[:PORT]`; 127.0.0.1:9050 by default. `off` connects directly, as under torsocks. */
  readonly socks?: string
  /**
   * Names the circuits of Tor's that the connection may share, at most 255 printable characters: connections with the
   * same isolation may go over the same circuit. Without one the connection has circuits of its own.
   */
  readonly isolation?: string
  /** Prove the key by a signature even where it could decrypt. */
  readonly sign?: boolean
  /** Log in at once, together with HELLO: that saves the time of one way to the relay and back. */
  readonly login?: boolean
  /** Go on with the token of an earlier connection ({@link RelayClient.token}), if the relay knows it still. */
  readonly token?: Token
  /**
   * The relay says that it is leaving the name dialled for this onion address (docs/protocol.md, NOTICE). Whoever has
   * the keys of the name dialled can say so: it is for a person to decide, and nothing to follow unasked.
   */
  readonly onMoved?: (name: string) => void
  /** Ends the connection, whatever it does. */
  readonly signal?: AbortSignal
  /** Milliseconds that an answer (or the next part of a long one) may take; 60,000 by default. */
  readonly timeout?: number
  /** Milliseconds until the relay must be reached; 120,000 by default, which is what Tor takes at most. */
  readonly connectTimeout?: number
}

/** What a relay gave for a proof of the key. Good on every connection to that relay. */
export interface Token {
  readonly text: string
  /** When to have a new one, in milliseconds of `performance.now()`. */
  readonly renewAt: number
}

export interface RequestOptions {
  /**
   * Gives a request up: it rejects with the signal's reason. What was sent by then is done by the relay all the same, and its
   * answer is thrown away; the connection stays.
   */
  readonly signal?: AbortSignal
}

/** Acknowledgements in one packet: some 64 characters each, well within a line. */
const ACKS = 64
/** Every ACK says whether its token is known, and that of an id which is none does nothing else. */
const NO_ID = '0'
/** A token is renewed when this part of its time is over. */
const RENEW = 0.8

/**
 * Connects, says HELLO with the name dialled, and reads the relay's limits. The login comes with the first
 * request that needs it, or by `login`.
 * @throws {RelayError} when the relay cannot be reached or refuses; its `code` says why
 * @throws {TypeError} for an address that is none
 * @throws the signal's reason when it is aborted
 */
export async function connectRelay(options: ConnectOptions): Promise<RelayClient> {
  const target = parseTarget(options.relay)
  if (options.isolation !== undefined && !/^[!-~]{1,255}$/.test(options.isolation))
    throw new TypeError('an isolation is 1 to 255 printable characters')
  const { signal, timeout = 60_000, connectTimeout = 120_000 } = options
  const stream = await dial(target, { isolation: options.isolation, timeout: connectTimeout, socks: options.socks, signal }).catch(
    (error) => {
      throw error instanceof ConnectError ? new RelayError(error.code) : error
    },
  )
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

interface Handlers {
  readonly onMessage: (message: Message) => void
  readonly onTakenOver: () => void
  readonly onMoved: (name: string) => void
  readonly onEnd: (error: unknown) => void
}

/** Made by {@link connectRelay}. Requests may be made at once; they are answered in their order. */
export class RelayClient {
  readonly #identity: Identity
  readonly #sign: boolean
  readonly #connection: Connection
  #limits: RelayLimits
  #loginUnderWay: Promise<void> | undefined
  #renewAt = 0
  #token: Token | undefined
  #resumed: boolean | undefined
  #subscription: Subscription | undefined
  #keepalive: ReturnType<typeof setInterval> | undefined
  readonly #onEnd: ((error: unknown) => void)[] = []
  #ended: { readonly error: unknown } | undefined

  /** @internal use {@link connectRelay} */
  constructor(options: {
    identity: Identity
    sign: boolean
    onMoved: (name: string) => void
    connect: (handlers: Handlers) => Connection
  }) {
    this.#identity = options.identity
    this.#sign = options.sign
    this.#connection = options.connect({
      onMessage: (message) => this.#subscription?.push(message),
      onTakenOver: () => this.#subscription?.end(new RelayError('taken-over')),
      onMoved: options.onMoved,
      onEnd: (error) => {
        clearInterval(this.#keepalive)
        this.#ended = { error }
        this.#subscription?.end(error)
        for (const listener of this.#onEnd.splice(0)) listener(error)
      },
    })
    this.#limits = this.#connection.session.limits
  }

  /** What the relay said of itself. */
  get limits(): RelayLimits {
    return this.#limits
  }

  /** Calls `listener` once, when the connection has ended, with what ended it; undefined if that was `close`. */
  onEnd(listener: (error: unknown) => void): void {
    if (this.#ended === undefined) this.#onEnd.push(listener)
    else listener(this.#ended.error)
  }

  /** The last token that the relay gave us, also after the end; undefined before the login. */
  get token(): Token | undefined {
    return this.#token
  }

  /**
   * Whether the relay knew the token that was brought along. A token lives as long as the relay's memory: one that is
   * gone before its time means that all the relay held is gone, too. Undefined where none was brought.
   */
  get resumed(): boolean | undefined {
    return this.#resumed
  }

  /** Done by {@link connectRelay}. @throws {RelayError} `wrong-name` if the relay is not reached by the name dialled */
  async start({ login = false, token }: { login?: boolean; token?: Token } = {}): Promise<void> {
    const hello = this.#connection.request('HELLO', (session) => session.hello())
    // What is sent behind HELLO is looked at after it: a relay of another name gets no answer to its challenge.
    const behind = token === undefined ? (login ? this.login() : undefined) : this.#resume(token)
    behind?.catch(() => {})
    try {
      this.#limits = (await hello).limits
    } catch (error) {
      throw error instanceof RelayError && error.code === 'wrong-usage' ? new RelayError('wrong-name') : error
    }
    await behind
    if (login && !this.#connection.session.hasToken) await this.login()
  }

  async #resume(token: Token): Promise<void> {
    try {
      await this.#connection.request('ACK', (session) => {
        session.resume(token.text)
        return session.ack([NO_ID])
      })
      this.#renewAt = token.renewAt
      this.#token = token
      this.#resumed = true
    } catch (error) {
      this.#connection.session.resume(undefined)
      if (!(error instanceof RelayError) || error.code !== 'bad-token') throw error
      this.#resumed = false
    }
  }

  /** Proves the key. @throws {RelayError} `hostile-challenge` before anything was answered, and all of section 5 */
  login({ signal }: RequestOptions = {}): Promise<void> {
    return abortable(signal, () => this.#share())
  }

  /** One login at a time: whoever else wants one waits for it. */
  #share(): Promise<void> {
    this.#loginUnderWay ??= this.#login().finally(() => (this.#loginUnderWay = undefined))
    return this.#loginUnderWay
  }

  async #login(): Promise<void> {
    const { type, blob } = this.#identity.key
    const line = `${type} ${encodeBase64(blob)}`
    const { body } = await this.#connection.request('AUTH', (session) => session.auth(line, this.#sign))
    const text = this.#sign ? body : await open(this.#identity, body)
    let challenge: string
    try {
      challenge = this.#connection.check((session) => (text === undefined ? session.refuseChallenge() : session.checkChallenge(text)))
    } finally {
      text?.fill(0)
    }
    const answer = this.#sign ? await this.#signChallenge(challenge) : challenge
    const { seconds } = await this.#connection.request('VERIFY', (session) => session.verify(answer))
    this.#renewAt = performance.now() + seconds * 1_000 * RENEW
    this.#token = { text: this.#connection.session.token!, renewAt: this.#renewAt }
  }

  async #signChallenge(challenge: string): Promise<string> {
    try {
      return encodeBase64(await this.#identity.sign(AUTH_NAMESPACE, new TextEncoder().encode(challenge)))
    } catch (error) {
      // An agent that refused, for one. The challenge stays open, and no other login could begin on this connection.
      this.close(error)
      throw error
    }
  }

  /** Encrypts a text to the receiver and sends it. */
  async send(receiver: SshKey, text: Uint8Array, options: RequestOptions = {}): Promise<Answers['SEND']> {
    return this.sendSealed(receiver, await seal(receiver, text), options)
  }

  /**
   * Sends what is encrypted already.
   * @param receiver a key, or a fingerprint `SHA256:…`
   * @throws {RelayError} `too-large` before it is sent, if it is over the relay's limit
   */
  sendSealed(receiver: SshKey | string, payload: Uint8Array, { signal }: RequestOptions = {}): Promise<Answers['SEND']> {
    if (Math.ceil(payload.length / 3) * 4 > this.#limits.payload) return Promise.reject(new RelayError('too-large'))
    const field = typeof receiver === 'string' ? receiver : formatFingerprint(receiver.fingerprint)
    if (!/^SHA256:[A-Za-z0-9+/]{43}$/.test(field)) return Promise.reject(new TypeError('a receiver is a key or its fingerprint'))
    return this.#authorized('SEND', (session) => session.send(field, payload), signal)
  }

  /**
   * What waits, in order. Leased by default: hidden from others until it is acknowledged or this connection ends.
   * With `lease: false` the relay erases what it wrote out, and what a cut connection, or a signal, lost is lost.
   */
  get({ lease = true, signal }: { lease?: boolean } & RequestOptions = {}): Promise<Answers['GET']> {
    return this.#authorized('GET', (session) => session.get(lease), signal)
  }

  /** Has the relay erase messages; gives how many it still had. */
  async ack(ids: readonly string[], { signal }: RequestOptions = {}): Promise<number> {
    let erased = 0
    for (let start = 0; start < ids.length; start += ACKS) {
      const answer = await this.#authorized('ACK', (session) => session.ack(ids.slice(start, start + ACKS)), signal)
      erased += answer.erased
    }
    return erased
  }

  /**
   * Messages as they come, each leased until it is acknowledged. Leaving the loop closes the connection, so
   * that what was not acknowledged waits again. Keeps the connection alive and the token fresh meanwhile.
   * `onSubscribed` is told how many messages wait, before the first one comes. `signal` ends the loop, and the connection
   * with it.
   * @throws {RelayError} `taken-over` when a newer subscriber has the mailbox; what ended the connection otherwise
   * @throws the signal's reason
   */
  async *subscribe({ onSubscribed, signal }: { onSubscribed?: (waiting: number) => void } & RequestOptions = {}): AsyncGenerator<
    Message,
    void
  > {
    signal?.throwIfAborted()
    if (this.#subscription !== undefined) throw new TypeError('subscribed already')
    const subscription = new Subscription()
    this.#subscription = subscription
    const abort = (): void => this.close(signal?.reason)
    signal?.addEventListener('abort', abort, { once: true })
    try {
      const { waiting } = await this.#authorized('SUBSCRIBE', (session) => session.subscribe())
      onSubscribed?.(waiting)
      // Three tries within the relay's patience, at no moment that many clients share.
      const pause = Math.min(Math.max(this.#limits.idle / 3, 0.2), 3_600) * (900 + Math.random() * 100)
      this.#keepalive = setInterval(() => void this.#refresh(), pause)
      for (;;) {
        const message = await subscription.next()
        if (message === undefined) return
        yield message
      }
    } finally {
      signal?.removeEventListener('abort', abort)
      clearInterval(this.#keepalive)
      this.close()
    }
  }

  /** Has the relay erase the whole mailbox, leased messages too; gives how many there were. */
  async wipe({ signal }: RequestOptions = {}): Promise<number> {
    return (await this.#authorized('WIPE', (session) => session.wipe(), signal)).erased
  }

  async ping({ signal }: RequestOptions = {}): Promise<void> {
    await abortable(signal, () => this.#connection.request('PING', (session) => session.ping()))
  }

  /** The text of a message; undefined if it is none that this key opens. */
  open(message: Message): Promise<Uint8Array | undefined> {
    return open(this.#identity, message.payload)
  }

  /** Ends the connection at once; what is under way fails with `reason`, or as `closed`. */
  close(reason?: unknown): void {
    this.#connection.end(reason)
  }

  [Symbol.dispose](): void {
    this.close()
  }

  /** A request that wants a token: logs in where there is none, or where it is about to end. */
  #authorized<Name extends RequestName>(
    name: Name,
    build: (session: ClientSession) => Uint8Array,
    signal?: AbortSignal,
  ): Promise<Answers[Name]> {
    return abortable(signal, () => this.#request(name, build, signal))
  }

  async #request<Name extends RequestName>(
    name: Name,
    build: (session: ClientSession) => Uint8Array,
    signal: AbortSignal | undefined,
  ): Promise<Answers[Name]> {
    if (!this.#connection.session.hasToken || performance.now() >= this.#renewAt) await this.#share()
    // Nothing is sent that was given up.
    signal?.throwIfAborted()
    try {
      return await this.#connection.request(name, build)
    } catch (error) {
      // Once: the machine may have slept, or the relay lost its secret.
      if (!(error instanceof RelayError) || error.code !== 'bad-token') throw error
      await this.#share()
      signal?.throwIfAborted()
      return this.#connection.request(name, build)
    }
  }

  /** Whatever fails here has ended the connection, or is tried again; who subscribes hears of the end. */
  async #refresh(): Promise<void> {
    try {
      if (performance.now() >= this.#renewAt) await this.login()
      else await this.ping()
    } catch {
      // See above.
    }
  }
}

/** What `work` gives, unless the signal comes first; then what it gives still is thrown away. */
function abortable<T>(signal: AbortSignal | undefined, work: () => Promise<T>): Promise<T> {
  if (signal === undefined) return work()
  if (signal.aborted) return Promise.reject(signal.reason)
  return new Promise((resolve, reject) => {
    const abort = (): void => reject(signal.reason)
    signal.addEventListener('abort', abort, { once: true })
    void work()
      .then(resolve, reject)
      .finally(() => signal.removeEventListener('abort', abort))
  })
}

/** Messages between the connection and who takes them; the session bounds how many there can be. */
class Subscription {
  readonly #queue: Message[] = []
  #wake: (() => void) | undefined
  #end: { readonly error: unknown } | undefined

  push(message: Message): void {
    this.#queue.push(message)
    this.#wake?.()
  }

  /** What is queued still will come again: it was not acknowledged, and no longer can be. */
  end(error: unknown): void {
    this.#end ??= { error }
    this.#queue.length = 0
    this.#wake?.()
  }

  /** The next message; undefined after an end without an error. */
  async next(): Promise<Message | undefined> {
    for (;;) {
      if (this.#end !== undefined) {
        if (this.#end.error === undefined) return undefined
        throw this.#end.error
      }
      const message = this.#queue.shift()
      if (message !== undefined) return message
      await new Promise<void>((resolve) => (this.#wake = resolve))
    }
  }
}
