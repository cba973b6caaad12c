/**
 * One connection to one relay, as one key. The client logs in when a request needs it, renews its token, and answers
 * only challenges of the dialled relay (proof.ts; protocol/client-session.ts enforces the rule). Writes nothing to disk
 * and logs nothing.
 */
import { formatFingerprint, type SshKey } from '../../auth/ssh-key.ts'
import type { Answers, Message } from '../../protocol/answer.ts'
import { DEFAULT_LIMITS } from '../../protocol/limits.ts'
import type { RelayLimits } from '../../protocol/welcome.ts'
import type { RequestName } from '../../protocol/packets.ts'
import { open, seal } from '../format/envelope.ts'
import type { Identity } from '../format/identity.ts'
import { abortable, type Connection } from './connection.ts'
import { RelayError } from './error.ts'
import { Proof, type Provable, type Token } from './proof.ts'
import { Subscription } from './subscription.ts'

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
/** The rest of a SEND's line, rounded up: number, label and fingerprint. */
const LINE_BYTES = 64

/** A subscription, and the answer to its SUBSCRIBE. */
interface Opened {
  readonly subscription: Subscription
  readonly answer: Promise<Answers['SUBSCRIBE']>
}

interface StartOptions {
  readonly login?: boolean
  readonly token?: Token
  /** Whether the token may leave before the connection stands. */
  readonly isTokenEarly?: boolean
  readonly subscribe?: boolean
}

interface Handlers {
  readonly onMessage: (message: Message) => void
  readonly onTakenOver: () => void
  readonly onMoved: (name: string) => void
  readonly onEnd: (error: unknown) => void
}

/** A connection to a relay, made by `connectRelay`. Requests may overlap; the relay answers them in order. */
export class RelayClient {
  readonly #identity: Identity
  readonly #connection: Connection
  readonly #proof: Proof
  #limits: RelayLimits
  #opened: Opened | undefined
  #isSubscribed = false
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
    this.#connection = options.connect({
      onMessage: (message) => this.#opened?.subscription.push(message),
      onTakenOver: () => this.#opened?.subscription.end(new RelayError('taken-over')),
      onMoved: options.onMoved,
      onEnd: (error) => {
        this.#ended = { error }
        this.#opened?.subscription.end(error)
        for (const listener of this.#onEnd.splice(0)) listener(error)
      },
    })
    this.#proof = new Proof(this.#connection, options.identity, options.sign)
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
    return this.#proof.token
  }

  /**
   * @internal Sends HELLO, and logs in or uses a token.
   * @throws {RelayError} `wrong-name` if the relay has another name than the dialled one
   */
  async start({ login = false, token, isTokenEarly = false, subscribe = false }: StartOptions): Promise<void> {
    const hello = this.#connection.request('HELLO', (session) => session.hello())
    // Sent in the same flight as HELLO, but its challenge is answered only if the name in WELCOME is right.
    const behind = login && token === undefined ? this.login() : undefined
    behind?.catch(() => {})
    if (token !== undefined) this.#proof.keep(token, isTokenEarly)
    if (subscribe) this.#open()
    try {
      this.#limits = (await hello).limits
    } catch (error) {
      const reason = error instanceof RelayError && error.code === 'wrong-usage' ? new RelayError('wrong-name') : error
      this.close(reason)
      throw reason
    }
    await behind
    await this.#proof.settle()
    if (login && !this.#connection.session.hasToken) await this.login()
    this.#proof.isBeginning = false
  }

  /** @internal The connection stands: everything may leave now. */
  onStanding(): void {
    this.#connection.begin()
    void this.#proof.settle().catch(() => {})
  }

  /**
   * Logs in by proving the key.
   * @throws {RelayError} `hostile-challenge`, without answering, if the relay's text is not a challenge of this relay;
   *   any code of docs/protocol.md, section 5
   */
  login({ signal }: RequestOptions = {}): Promise<void> {
    return abortable(signal, () => this.#proof.login())
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
    const length = Math.ceil(payload.length / 3) * 4
    if (length > this.#limits.payload) return Promise.reject(new RelayError('too-large'))
    const field = typeof receiver === 'string' ? receiver : formatFingerprint(receiver.fingerprint)
    if (!/^SHA256:[A-Za-z0-9+/]{43}$/.test(field))
      return Promise.reject(new TypeError('the receiver is malformed: expected a key or a fingerprint SHA256:…'))
    const isLong = length + LINE_BYTES > DEFAULT_LIMITS.lineBeforeToken
    return this.#ask({ name: 'SEND', build: (session, label) => session.send(field, payload, label), isEarly: true, isLong, signal })
  }

  /**
   * Fetches the waiting messages, in order. By default they are leased: hidden from other connections until they are
   * acknowledged or this connection ends. With `lease: false` the relay erases messages as it writes them; if the
   * connection breaks or the signal aborts, they are lost.
   */
  get({ lease = true, signal }: { lease?: boolean } & RequestOptions = {}): Promise<Answers['GET']> {
    return this.#ask({ name: 'GET', build: (session, label) => session.get(lease, label), isEarly: lease, signal })
  }

  /** Acknowledges messages, so that the relay erases them. @returns how many of them the relay still had */
  async ack(ids: readonly string[], { signal }: RequestOptions = {}): Promise<number> {
    let erased = 0
    for (let start = 0; start < ids.length; start += ACKS) {
      const some = ids.slice(start, start + ACKS)
      const answer = await this.#ask({ name: 'ACK', build: (session, label) => session.ack(some, label), signal })
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
    if (this.#isSubscribed) throw new TypeError('this connection is subscribed already')
    this.#isSubscribed = true
    const { subscription, answer } = this.#opened ?? this.#open()
    const abort = (): void => this.close(signal?.reason)
    signal?.addEventListener('abort', abort, { once: true })
    try {
      const { waiting } = await answer
      onSubscribed?.(waiting)
      this.#connection.keepAlive(async () => {
        const { isStale } = this.#proof
        if (isStale) await this.login()
        return !isStale
      })
      for (;;) {
        const message = await subscription.next()
        if (message === undefined) return
        yield message
      }
    } finally {
      signal?.removeEventListener('abort', abort)
      this.close()
    }
  }

  /** Erases the whole mailbox, leased messages too. @returns how many messages it had */
  async wipe({ signal }: RequestOptions = {}): Promise<number> {
    return (await this.#ask({ name: 'WIPE', build: (session) => session.wipe(), signal })).erased
  }

  /** Publishes a bundle, or takes it down if it is undefined. @returns seconds for which the relay holds it at most */
  async publish(bundle: Uint8Array | undefined, { signal }: RequestOptions = {}): Promise<number> {
    return (await this.#ask({ name: 'PUBLISH', build: (session) => session.publish(bundle), signal })).seconds
  }

  /** Returns the bundle of a receiver, a fingerprint `SHA256:…`; undefined if none is published. */
  async fetch(receiver: string, { signal }: RequestOptions = {}): Promise<Uint8Array | undefined> {
    return (await this.#ask({ name: 'FETCH', build: (session, label) => session.fetch(receiver, label), isEarly: true, signal })).bundle
  }

  /** Waits for a round trip to the relay. */
  ping({ signal }: RequestOptions = {}): Promise<void> {
    return abortable(signal, () => this.#connection.ping())
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

  /** Sends SUBSCRIBE. Messages wait in the subscription. */
  #open(): Opened {
    const answer = this.#ask({ name: 'SUBSCRIBE', build: (session, label) => session.subscribe(label), isEarly: true })
    answer.catch(() => {})
    this.#opened = { subscription: new Subscription(), answer }
    return this.#opened
  }

  #ask<Name extends RequestName>(asked: Provable<Name>): Promise<Answers[Name]> {
    return abortable(asked.signal, () => this.#proof.request(asked))
  }
}
