/**
 * One connection to one relay, as one key. The client logs in when a request needs it, renews its token, and answers
 * only challenges of the dialled relay (docs/protocol.md, section 3; protocol/client-session.ts enforces the rule).
 * Writes nothing to disk and logs nothing.
 */
import { formatFingerprint, type SshKey } from '../../auth/ssh-key.ts'
import { AUTH_NAMESPACE } from '../../auth/sshsig.ts'
import { encodeBase64 } from '../../protocol/base64.ts'
import type { Answers, Message } from '../../protocol/answer.ts'
import type { ClientSession } from '../../protocol/client-session.ts'
import type { RelayLimits } from '../../protocol/welcome.ts'
import type { RequestName } from '../../protocol/packets.ts'
import { open, seal } from '../format/envelope.ts'
import type { Identity } from '../format/identity.ts'
import { abortable, type Connection } from './connection.ts'
import { RelayError } from './error.ts'
import { type Moment, Pulse, PULSE } from './pulse.ts'
import { Subscription } from './subscription.ts'

/** Proof of a login, valid on every connection to the same relay. */
export interface Token {
  readonly text: string
  /** When to log in again, in milliseconds of `performance.now()`. */
  readonly renewAt: number
}

/** Options of a single request. */
export interface RequestOptions {
  /**
   * Abandons the request, which rejects with the signal's reason. The connection stays open. If the request was sent
   * already, the relay still carries it out, and the client discards the answer.
   */
  readonly signal?: AbortSignal
}

/** Ids in one ACK. At about 64 characters each, they are well within the limit of a line. */
const ACKS = 64
/** An id that no message has: an ACK of it only tests the token. */
export const NO_ID = '0'
/** Fraction of a token's lifetime after which the client renews it. */
const RENEW = 0.8

interface Handlers {
  readonly onMessage: (message: Message) => void
  readonly onTakenOver: () => void
  readonly onMoved: (name: string) => void
  readonly onEnd: (error: unknown) => void
}

/** A connection to a relay, made by `connectRelay`. Requests may overlap; the relay answers them in order. */
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

  /** @internal use `connectRelay` */
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

  /** The limits that the relay announced. */
  get limits(): RelayLimits {
    return this.#limits
  }

  /** Calls `listener` once, when the connection has ended, with the error that ended it; undefined after `close`. */
  onEnd(listener: (error: unknown) => void): void {
    if (this.#ended === undefined) this.#onEnd.push(listener)
    else listener(this.#ended.error)
  }

  /** The latest token, also after the connection ended; undefined before the first login. */
  get token(): Token | undefined {
    return this.#token
  }

  /**
   * Whether the relay still knew the token that was passed to `connectRelay`; undefined without one. A relay forgets a
   * token before its time only if it restarted, and then it also lost all messages that it held.
   */
  get resumed(): boolean | undefined {
    return this.#resumed
  }

  /**
   * Sends HELLO, and logs in or resumes a token. `connectRelay` calls it.
   * @throws {RelayError} `wrong-name` if the relay has another name than the dialled one
   */
  async start({ login = false, token }: { login?: boolean; token?: Token } = {}): Promise<void> {
    const hello = this.#connection.request('HELLO', (session) => session.hello())
    // Sent in the same flight as HELLO, but its challenge is answered only if the name in WELCOME is right.
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

  /**
   * Logs in by proving the key.
   * @throws {RelayError} `hostile-challenge`, without answering, if the relay's text is not a challenge of this relay;
   *   any code of docs/protocol.md, section 5
   */
  login({ signal }: RequestOptions = {}): Promise<void> {
    return abortable(signal, () => this.#share())
  }

  /** Logs in, or joins the login that is under way. */
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
      // The agent may have refused. The challenge stays open, so this connection could not begin another login.
      this.close(error)
      throw error
    }
  }

  /**
   * Encrypts a text to the receiver's key and sends it.
   * @throws {TypeError} if the key can only sign
   * @throws {RelayError}
   */
  async send(receiver: SshKey, text: Uint8Array, options: RequestOptions = {}): Promise<Answers['SEND']> {
    return this.sendSealed(receiver, await seal(receiver, text), options)
  }

  /**
   * Sends an encrypted payload.
   * @param receiver a key, or a fingerprint `SHA256:…`
   * @throws {RelayError} `too-large`, without sending, if the payload exceeds the relay's limit
   * @throws {TypeError} if the fingerprint is malformed
   */
  sendSealed(receiver: SshKey | string, payload: Uint8Array, { signal }: RequestOptions = {}): Promise<Answers['SEND']> {
    if (Math.ceil(payload.length / 3) * 4 > this.#limits.payload) return Promise.reject(new RelayError('too-large'))
    const field = typeof receiver === 'string' ? receiver : formatFingerprint(receiver.fingerprint)
    if (!/^SHA256:[A-Za-z0-9+/]{43}$/.test(field))
      return Promise.reject(new TypeError('the receiver is malformed: expected a key or a fingerprint SHA256:…'))
    return this.#authorized('SEND', (session) => session.send(field, payload), signal)
  }

  /**
   * Fetches the waiting messages, in order. By default they are leased: hidden from other connections until they are
   * acknowledged or this connection ends. With `lease: false` the relay erases messages as it writes them; if the
   * connection breaks or the signal aborts, they are lost.
   */
  get({ lease = true, signal }: { lease?: boolean } & RequestOptions = {}): Promise<Answers['GET']> {
    return this.#authorized('GET', (session) => session.get(lease), signal)
  }

  /** Acknowledges messages, so that the relay erases them. @returns how many of them the relay still had */
  async ack(ids: readonly string[], { signal }: RequestOptions = {}): Promise<number> {
    let erased = 0
    for (let start = 0; start < ids.length; start += ACKS) {
      const answer = await this.#authorized('ACK', (session) => session.ack(ids.slice(start, start + ACKS)), signal)
      erased += answer.erased
    }
    return erased
  }

  /**
   * Yields messages as they arrive, each leased until it is acknowledged. Meanwhile it keeps the connection alive and
   * the token fresh. Leaving the loop closes the connection, which returns unacknowledged messages to the mailbox.
   * Calls `onSubscribed` with the number of waiting messages before it yields the first one. `signal` ends the loop
   * and the connection.
   * @throws {RelayError} `taken-over` if a newer subscriber has the mailbox; otherwise the error that ended the
   *   connection
   * @throws the signal's reason
   */
  async *subscribe({ onSubscribed, signal }: { onSubscribed?: (waiting: number) => void } & RequestOptions = {}): AsyncGenerator<
    Message,
    void
  > {
    signal?.throwIfAborted()
    if (this.#subscription !== undefined) throw new TypeError('this connection is subscribed already')
    const subscription = new Subscription()
    this.#subscription = subscription
    const abort = (): void => this.close(signal?.reason)
    signal?.addEventListener('abort', abort, { once: true })
    try {
      const { waiting } = await this.#authorized('SUBSCRIBE', (session) => session.subscribe())
      onSubscribed?.(waiting)
      const now = (): Moment => ({ steady: performance.now(), wall: Date.now() })
      const pulse = new Pulse(this.#limits.idle * 1_000, Math.random(), now())
      this.#keepalive = setInterval(() => {
        if (pulse.isDue(now(), this.#connection.heardAt)) void this.#refresh()
      }, pulse.tick)
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

  /** Erases the whole mailbox, leased messages too. @returns how many messages it had */
  async wipe({ signal }: RequestOptions = {}): Promise<number> {
    return (await this.#authorized('WIPE', (session) => session.wipe(), signal)).erased
  }

  /** Publishes a bundle, or takes it down if it is undefined. @returns seconds for which the relay holds it at most */
  async publish(bundle: Uint8Array | undefined, { signal }: RequestOptions = {}): Promise<number> {
    return (await this.#authorized('PUBLISH', (session) => session.publish(bundle), signal)).seconds
  }

  /** Returns the bundle of a receiver, a fingerprint `SHA256:…`; undefined if none is published. */
  async fetch(receiver: string, { signal }: RequestOptions = {}): Promise<Uint8Array | undefined> {
    return (await this.#authorized('FETCH', (session) => session.fetch(receiver), signal)).bundle
  }

  /** Waits for a round trip to the relay. */
  async ping({ signal }: RequestOptions = {}): Promise<void> {
    await abortable(signal, () => this.#connection.request('PING', (session) => session.ping()))
  }

  /** Decrypts a message. @returns undefined if this identity cannot open it */
  open(message: Message): Promise<Uint8Array | undefined> {
    return open(this.#identity, message.payload)
  }

  /** Ends the connection at once. Open requests reject with `reason`, or with a `closed` error. */
  close(reason?: unknown): void {
    this.#connection.end(reason)
  }

  [Symbol.dispose](): void {
    this.close()
  }

  /** Makes a request that needs a token. Logs in first if there is no token, or it is about to expire. */
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
    // An abandoned request is not sent.
    signal?.throwIfAborted()
    try {
      return await this.#connection.request(name, build)
    } catch (error) {
      // Retried once: the machine may have slept, or the relay restarted.
      if (!(error instanceof RelayError) || error.code !== 'bad-token') throw error
      await this.#share()
      signal?.throwIfAborted()
      return this.#connection.request(name, build)
    }
  }

  /**
   * Renews the token or pings. Ends the connection if no PONG comes in time. Ignores errors: one that ends the connection
   * also ends the subscription.
   */
  async #refresh(): Promise<void> {
    let patience: ReturnType<typeof setTimeout> | undefined
    try {
      if (performance.now() >= this.#renewAt) await this.login()
      else {
        patience = setTimeout(() => this.close(new RelayError('no-answer')), PULSE.patience)
        await this.ping()
      }
    } catch {
      // Ignored, as said above.
    } finally {
      clearTimeout(patience)
    }
  }
}
