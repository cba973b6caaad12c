/**
 * How a connection proves a key: by a login, or by the token of an earlier connection (docs/protocol.md, section 3).
 * Requests need not wait for the answer to VERIFY: they follow it under the empty label, which then stands for the new
 * proof or for nothing. The first request under an earlier token tests that token.
 */
import { AUTH_NAMESPACE } from '../../auth/sshsig.ts'
import type { Answers } from '../../protocol/answer.ts'
import { encodeBase64 } from '../../protocol/base64.ts'
import type { ClientSession } from '../../protocol/client-session.ts'
import type { RequestName } from '../../protocol/packets.ts'
import { open } from '../format/envelope.ts'
import type { Identity } from '../format/identity.ts'
import type { Connection } from './connection.ts'
import { RelayError } from './error.ts'

/** Proof of a login, valid on every connection to the same relay. */
export interface Token {
  readonly text: string
  /** When to log in again, in milliseconds of `performance.now()`. */
  readonly renewAt: number
}

/** A request that needs a proof. */
export interface Provable<Name extends RequestName> {
  readonly name: Name
  /** Writes the request under the label, or without one under the token. */
  readonly build: (session: ClientSession, label?: string) => Uint8Array
  /** Its line is too long to leave before the relay has accepted a proof. */
  readonly isLong?: boolean
  /** It may leave before the connection stands (docs/protocol.md, section 7). */
  readonly isEarly?: boolean
  readonly signal?: AbortSignal | undefined
}

/** A login under way. */
interface Login {
  /** Resolves with true once its VERIFY has left, or with false if none will. */
  readonly asked: Promise<boolean>
  readonly done: Promise<void>
  /** A request waits until it is done, so later requests wait, too, to keep their order. */
  isAwaited: boolean
}

/** An id that no message has: an ACK of it only tests the token. */
export const NO_ID = '0'
/** Fraction of a token's lifetime after which the client renews it. */
const RENEW = 0.8
/** They take no empty label. */
const NAMED: readonly RequestName[] = ['WIPE', 'PUBLISH']

export class Proof {
  readonly #connection: Connection
  readonly #identity: Identity
  readonly #sign: boolean
  #login: Login | undefined
  #renewAt = 0
  #token: Token | undefined
  /** The token of an earlier connection, until it is tested. */
  #kept: { readonly token: Token; readonly isEarly: boolean } | undefined
  /** Resolves once the test of that token is over. */
  #testing: Promise<void> | undefined
  /** While the connection begins, a failed login ends it, so that requests behind the login fail with the connection. */
  isBeginning = true

  constructor(connection: Connection, identity: Identity, sign: boolean) {
    this.#connection = connection
    this.#identity = identity
    this.#sign = sign
  }

  /** The latest token that the relay accepted. */
  get token(): Token | undefined {
    return this.#token
  }

  /** Whether the next request needs a login. */
  get isStale(): boolean {
    return !this.#connection.session.hasToken || performance.now() >= this.#renewAt
  }

  /** Takes the token of an earlier connection. @param isEarly whether it may leave before the connection stands */
  keep(token: Token, isEarly: boolean): void {
    this.#kept = { token, isEarly }
  }

  /** Tests the token of the earlier connection, unless a request has done so. @throws {RelayError} */
  async settle(): Promise<void> {
    while (this.#kept !== undefined) {
      const { token } = this.#kept
      await (this.#testing ?? this.#hold(() => this.#testByAck(token)))
    }
  }

  /** Logs in, or joins the login that is under way. @throws {RelayError} as `RelayClient.login` */
  login(): Promise<void> {
    return this.#share().done
  }

  /**
   * Makes a request, and logs in first if there is no token or it is about to expire. Requests leave in the order of the
   * calls.
   * @throws {RelayError}
   */
  async request<Name extends RequestName>(asked: Provable<Name>): Promise<Answers[Name]> {
    while (this.#testing !== undefined) await this.#testing
    if (this.#kept === undefined) return this.#ask(asked)
    const { token, isEarly } = this.#kept
    const { answer } = await this.#hold(async () => {
      const mayTest = asked.isLong !== true && (!this.#connection.isEarly || (isEarly && asked.isEarly === true))
      const first = mayTest ? await this.#test(token, () => this.#write(asked, token)) : await this.#testByAck(token)
      // Those that wait leave behind it, but need not wait for its answer.
      return { answer: first ?? this.#ask(asked) }
    })
    return answer
  }

  /** Has requests wait for `work`, which tests the token. */
  async #hold<T>(work: () => Promise<T>): Promise<T> {
    const over = Promise.withResolvers<void>()
    this.#testing = over.promise
    try {
      return await work()
    } finally {
      this.#testing = undefined
      over.resolve()
    }
  }

  /** @returns undefined if the request did not test the token, or the relay does not know it */
  async #test<T>(token: Token, request: () => Promise<T>): Promise<T | undefined> {
    try {
      const answer = await request()
      this.#kept = undefined
      this.#renewAt = token.renewAt
      this.#token = token
      return answer
    } catch (error) {
      this.#connection.session.resume(undefined)
      // Another refusal does not tell whether the relay knows the token.
      if (!isBadToken(error)) throw error
      this.#kept = undefined
      return undefined
    }
  }

  async #testByAck(token: Token): Promise<undefined> {
    await this.#connection.standing
    await this.#test(token, () => this.#write({ name: 'ACK', build: (session) => session.ack([NO_ID]) }, token))
  }

  /** Sends a request, under the token of the earlier connection if there is one. */
  async #write<Name extends RequestName>({ name, build, signal }: Provable<Name>, token?: Token, label?: string): Promise<Answers[Name]> {
    // An abandoned request is not sent.
    signal?.throwIfAborted()
    return this.#connection.request(name, (session) => {
      if (token !== undefined) session.resume(token.text)
      return build(session, label)
    })
  }

  async #ask<Name extends RequestName>(asked: Provable<Name>): Promise<Answers[Name]> {
    try {
      return await (this.isStale ? this.#askBehind(this.#share(), asked) : this.#write(asked))
    } catch (error) {
      // Retried once: the machine may have slept, or the relay restarted.
      if (!isBadToken(error)) throw error
      await this.login()
      return this.#write(asked)
    }
  }

  /** Makes a request as soon as the VERIFY of the login has left, or after the login if it must wait. */
  async #askBehind<Name extends RequestName>(login: Login, asked: Provable<Name>): Promise<Answers[Name]> {
    const { name, isLong = false } = asked
    const hasLeft = await login.asked
    // A relay without labels is of an earlier version.
    if (!hasLeft || login.isAwaited || isLong || NAMED.includes(name) || this.#connection.session.limits.labels === 0) {
      login.isAwaited = true
      await login.done
      return this.#write(asked)
    }
    const answer = this.#write(asked, undefined, '')
    answer.catch(() => {})
    // The relay answers in order, so a refused proof is known before the request behind it.
    await login.done
    return answer
  }

  #share(): Login {
    if (this.#login !== undefined) return this.#login
    const asked = Promise.withResolvers<boolean>()
    const done = this.#prove(() => asked.resolve(true))
      .catch((error: unknown) => {
        if (this.isBeginning) this.#connection.end(error)
        throw error
      })
      .finally(() => {
        this.#login = undefined
        asked.resolve(false)
      })
    done.catch(() => {})
    this.#login = { asked: asked.promise, done, isAwaited: false }
    return this.#login
  }

  /** @param onAsked called when the VERIFY has left */
  async #prove(onAsked: () => void): Promise<void> {
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
    const verified = this.#connection.request('VERIFY', (session) => session.verify(answer))
    onAsked()
    const { seconds } = await verified
    this.#renewAt = performance.now() + seconds * 1_000 * RENEW
    this.#token = { text: this.#connection.session.token!, renewAt: this.#renewAt }
  }

  async #signChallenge(challenge: string): Promise<string> {
    try {
      return encodeBase64(await this.#identity.sign(AUTH_NAMESPACE, new TextEncoder().encode(challenge)))
    } catch (error) {
      // The agent may have refused. The challenge stays open, so this connection could not begin another login.
      this.#connection.end(error)
      throw error
    }
  }
}

function isBadToken(error: unknown): boolean {
  return error instanceof RelayError && error.code === 'bad-token'
}
