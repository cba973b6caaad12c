/**
 * One connection to one relay that proves no key: it reads mailboxes by their secrets, each under a label of its own, and
 * sends under a throwaway secret (docs/protocol.md, section 3). Renews claims, writes nothing to disk and logs nothing.
 *
 * The caller decides which mailboxes share a connection: the relay sees that one client reads them. A connection that
 * sends should write to one mailbox only.
 */
import type { Answers, Message } from '../../protocol/answer.ts'
import type { ClientSession } from '../../protocol/client-session.ts'
import { DEFAULT_LIMITS } from '../../protocol/limits.ts'
import type { RequestName } from '../../protocol/packets.ts'
import type { RelayLimits } from '../../protocol/welcome.ts'
import { abortable, type Connection } from './connection.ts'
import { RelayError } from './error.ts'
import type { RequestOptions } from './client.ts'
import { Subscription } from './subscription.ts'
import type { ClaimedMailbox } from './claimed-mailbox.ts'

/** Fraction of a claim's lifetime after which the client renews it. */
const RENEW = 0.8
const SECRET_BYTES = 32
/** The rest of a SEND's line, rounded up: number, label and fingerprint. */
const LINE_BYTES = 64

interface Handlers {
  readonly onMessage: (message: Message, label: string) => void
  readonly onTakenOver: (label: string) => void
  readonly onMoved: (name: string) => void
  readonly onEnd: (error: unknown) => void
}

/** A secret that the relay knows, the label that stands for it, and the messages of its mailbox. */
interface Claim {
  readonly secret: Uint8Array
  label: string
  /** In milliseconds of `performance.now()`; Infinity while the CLAIM is under way. */
  renewAt: number
  /** The CLAIM under way, or the last one. */
  done: Promise<void>
  renewal: Promise<void> | undefined
  isSubscribed: boolean
  readonly queue: Subscription
}

/** Ids in one ACK: within the limit of a line, also before the relay sent a TOKEN. */
const ACKS = 64

export class ClaimClient {
  readonly #connection: Connection
  #limits: RelayLimits
  /** Whether only early data may leave: the connection does not stand yet. */
  #isEarly = true
  /** The throwaway claim that sends, under the empty label. */
  #courier: Claim | undefined
  /** Resolves when a long message, and all before it, left. */
  #held: Promise<void> | undefined
  /** The mailboxes by label. */
  readonly #claims = new Map<string, Claim>()
  /** Labels that were given up, to be used again. */
  readonly #spare: string[] = []
  #labels = 0
  readonly #onEnd: ((error: unknown) => void)[] = []
  #ended: { readonly error: unknown } | undefined

  /** @internal use `connectClaims` */
  constructor(options: { onMoved: (name: string) => void; connect: (handlers: Handlers) => Connection }) {
    this.#connection = options.connect({
      onMessage: (message, label) => this.#claims.get(label)?.queue.push(message),
      onTakenOver: (label) => this.#claims.get(label)?.queue.end(new RelayError('taken-over')),
      onMoved: options.onMoved,
      onEnd: (error) => {
        this.#ended = { error }
        this.#courier?.secret.fill(0)
        for (const { secret, queue } of this.#claims.values()) {
          secret.fill(0)
          queue.end(error)
        }
        for (const listener of this.#onEnd.splice(0)) listener(error)
      },
    })
    this.#limits = this.#connection.session.limits
  }

  /** The limits that the relay announced. `labels` mailboxes fit on this connection, and none if it is 0. */
  get limits(): RelayLimits {
    return this.#limits
  }

  /** As `RelayClient.onEnd`. */
  onEnd(listener: (error: unknown) => void): void {
    if (this.#ended === undefined) this.#onEnd.push(listener)
    else listener(this.#ended.error)
  }

  /**
   * @internal Sends HELLO, and keeps the connection alive and the claims fresh after its answer.
   * @throws {RelayError} `wrong-name` if the relay has another name than the dialled one
   */
  async start(): Promise<void> {
    try {
      this.#limits = (await this.#connection.request('HELLO', (session) => session.hello())).limits
    } catch (error) {
      throw error instanceof RelayError && error.code === 'wrong-usage' ? new RelayError('wrong-name') : error
    }
    this.#connection.keepAlive(async () => {
      for (const claim of this.#claims.values()) if (performance.now() >= claim.renewAt) await this.#renew(claim)
      return true
    })
    // A refusal matters only to requests.
    await this.#courier?.done.catch(() => {})
  }

  /** Shows a throwaway secret before there is a message for it. If called early, the relay has answered once the client is connected. */
  prove(): void {
    this.#sender()
  }

  /** @internal The connection stands: everything may leave now. */
  onStanding(): void {
    this.#isEarly = false
    this.#connection.begin()
  }

  /**
   * Shows a secret, and returns its mailbox at once. If the relay refuses the secret, the requests of the mailbox fail.
   *
   * @param secret 32 random bytes, for this name of this relay only; copied
   */
  open(secret: Uint8Array): ClaimedMailbox {
    const label = this.#spare.pop() ?? `${this.#labels++}`
    const claim = this.#claim(secret, label)
    this.#claims.set(label, claim)
    return {
      claimed: claim.done,
      get: ({ lease = true, signal } = {}) => {
        if (!lease) this.#mustStand()
        return this.#request('GET', claim, (session) => session.get(lease, claim.label), signal)
      },
      ack: async (ids, { signal } = {}) => {
        this.#mustStand()
        let erased = 0
        for (let start = 0; start < ids.length; start += ACKS) {
          const some = ids.slice(start, start + ACKS)
          erased += (await this.#request('ACK', claim, (session) => session.ack(some, claim.label), signal)).erased
        }
        return erased
      },
      subscribe: (options) => this.#subscribe(claim, options),
      publish: async (bundle, { signal } = {}) => {
        this.#mustStand()
        return (await this.#request('PUBLISH', claim, (session) => session.publish(bundle, claim.label), signal)).seconds
      },
      wipe: async ({ signal } = {}) => {
        this.#mustStand()
        return (await this.#request('WIPE', claim, (session) => session.wipe(claim.label), signal)).erased
      },
      leave: () => {
        const { label } = claim
        if (this.#claims.get(label) !== claim) return
        this.#claims.delete(label)
        claim.queue.end(undefined)
        claim.secret.fill(0)
        const spare = (): unknown => this.#spare.push(label)
        if (!claim.isSubscribed) return void spare()
        // A CLAIM of its label ends a subscription. Until the answer, messages of it come under the label.
        const other = crypto.getRandomValues(new Uint8Array(SECRET_BYTES))
        void this.#connection.request('CLAIM', (session) => session.claim(other, label)).then(spare, () => {})
      },
    }
  }

  /**
   * Sends an encrypted payload under a throwaway secret.
   * @param receiver a fingerprint `SHA256:…`
   * @throws {RelayError} `too-large`, without sending, if the payload exceeds the relay's limit
   */
  async sendSealed(receiver: string, payload: Uint8Array, { signal }: RequestOptions = {}): Promise<Answers['SEND']> {
    const length = Math.ceil(payload.length / 3) * 4
    if (length > this.#limits.payload) throw new RelayError('too-large')
    const sender = this.#sender()
    // The relay takes a long line only once it has sent the TOKEN. Messages behind it wait, too, to keep their order.
    if (length + LINE_BYTES > DEFAULT_LIMITS.lineBeforeToken) this.#held = sender.done
    if (this.#held !== undefined) await this.#held
    return this.#request('SEND', sender, (session) => session.send(receiver, payload, ''), signal)
  }

  /** Returns the bundle of a receiver, asked for under a throwaway secret; undefined if none is published. */
  async fetch(receiver: string, { signal }: RequestOptions = {}): Promise<Uint8Array | undefined> {
    return (await this.#request('FETCH', this.#sender(), (session) => session.fetch(receiver, ''), signal)).bundle
  }

  /** Ends the connection at once. Open requests reject with `reason`, or with a `closed` error. */
  close(reason?: unknown): void {
    this.#connection.end(reason)
  }

  [Symbol.dispose](): void {
    this.close()
  }

  #mustStand(): void {
    if (this.#isEarly) throw new TypeError('this request must wait until the connection stands')
  }

  #sender(): Claim {
    this.#courier ??= this.#claim(crypto.getRandomValues(new Uint8Array(SECRET_BYTES)), '')
    return this.#courier
  }

  #claim(secret: Uint8Array, label: string): Claim {
    const claim: Claim = {
      secret: Uint8Array.from(secret),
      label,
      renewAt: Infinity,
      done: Promise.resolve(),
      renewal: undefined,
      isSubscribed: false,
      queue: new Subscription(),
    }
    this.#show(claim)
    return claim
  }

  /** Sends the CLAIM. The requests behind it fail with its error, so it may go unawaited. */
  #show(claim: Claim): void {
    claim.renewAt = Infinity
    claim.done = this.#connection
      .request('CLAIM', (session) => session.claim(claim.secret, claim.label))
      .then(({ seconds }) => {
        claim.renewAt = performance.now() + seconds * 1_000 * RENEW
        if (claim === this.#courier) this.#held = undefined
      })
    claim.done.catch(() => {})
  }

  async *#subscribe(
    claim: Claim,
    { onSubscribed, signal }: { onSubscribed?: (waiting: number) => void } & RequestOptions = {},
  ): AsyncGenerator<Message, void> {
    claim.isSubscribed = true
    const { waiting } = await this.#request('SUBSCRIBE', claim, (session) => session.subscribe(claim.label), signal)
    onSubscribed?.(waiting)
    for (;;) {
      const message = await abortable(signal, () => claim.queue.next())
      if (message === undefined) return
      yield message
    }
  }

  /** Makes a request under a claim, and renews the claim if its time is over. */
  #request<Name extends RequestName>(
    name: Name,
    claim: Claim,
    build: (session: ClientSession) => Uint8Array,
    signal: AbortSignal | undefined,
  ): Promise<Answers[Name]> {
    return abortable(signal, async () => {
      if (performance.now() >= claim.renewAt) await this.#renew(claim)
      const answer = this.#connection.request(name, build)
      answer.catch(() => {})
      // The relay answers in order, so a refused CLAIM is known before the request behind it.
      await claim.done
      try {
        return await answer
      } catch (error) {
        // Retried once: the machine may have slept.
        if (!(error instanceof RelayError) || error.code !== 'bad-token') throw error
        await this.#renew(claim)
        return this.#connection.request(name, build)
      }
    })
  }

  #renew(claim: Claim): Promise<void> {
    claim.renewal ??= this.#showAgain(claim).finally(() => (claim.renewal = undefined))
    return claim.renewal
  }

  /**
   * Shows a secret again. A subscribed mailbox moves to a spare label: a CLAIM of its own label would end the
   * subscription, and everything that it leased would come again.
   */
  async #showAgain(claim: Claim): Promise<void> {
    const former = claim.label
    if (claim.isSubscribed && (this.#spare.length > 0 || this.#labels < this.#limits.labels)) {
      claim.label = this.#spare.pop() ?? `${this.#labels++}`
      this.#claims.set(claim.label, claim)
    }
    this.#show(claim)
    if (claim.isSubscribed) await this.#connection.request('SUBSCRIBE', (session) => session.subscribe(claim.label))
    await claim.done
    if (claim.label === former) return
    this.#claims.delete(former)
    this.#spare.push(former)
  }
}
