/**
 * The relay's tokens (docs/protocol.md, section 3): JWTs by HS256 alone, under a secret that lives and
 * dies with the process. Knows nothing of revocation, and never says why a token is refused.
 */
import { createHmac, generateKeySync, type KeyObject } from 'node:crypto'
import jsonwebtoken, { type JwtPayload } from 'jsonwebtoken'

/** A token with the longest host name takes about 600; what is longer is refused unread. */
export const MAX_TOKEN_BYTES = 1_024

const SECRET_BYTES = 32

/** Three parts in base64url; an HS256 signature is 32 bytes, whose last character carries four bits: one spelling. */
const FORM = /^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]$/

/** What every token begins with. */
const HEADER = Buffer.from('{"alg":"HS256","typ":"JWT"}').toString('base64url')

/** @returns 256 random bits */
export function createSecret(): KeyObject {
  return generateKeySync('hmac', { length: SECRET_BYTES * 8 })
}

export interface TokenClaims {
  /** Whom the token is good for: the mailbox's blinded id. */
  readonly subject: string
  /** When it ends, in ms since 1970; at that very moment it is no longer good. */
  readonly expires: number
  readonly id: string
}

export class Tokens {
  readonly #secret: KeyObject
  readonly #seconds: number

  /**
   * @param options.secret 256 bits, see {@link createSecret}
   * @param options.seconds how long a token is good, a whole number
   * @throws {TypeError} on a secret of another kind or size, or a duration that is no positive whole number
   */
  constructor(options: { readonly secret: KeyObject; readonly seconds: number }) {
    const { secret, seconds } = options
    if (secret.type !== 'secret' || secret.symmetricKeySize !== SECRET_BYTES) {
      throw new TypeError('a token secret is a secret key of 32 bytes')
    }
    if (!Number.isSafeInteger(seconds) || seconds <= 0) throw new TypeError('seconds must be a positive whole number')
    this.#secret = secret
    this.#seconds = seconds
  }

  /**
   * @param input.audience the relay's name
   * @param input.now ms since 1970
   * @param input.id unique among the tokens that are good at once
   * @throws {RangeError} where the token would be longer than {@link MAX_TOKEN_BYTES}
   */
  issue(input: { readonly subject: string; readonly audience: string; readonly now: number; readonly id: string }): string {
    const iat = Math.floor(input.now / 1000)
    const claims = { sub: input.subject, aud: input.audience, iat, exp: iat + this.#seconds, jti: input.id }
    // RFC 7515, section 5.1. By hand, in a third of the time that jsonwebtoken takes; what comes back it checks.
    const signed = `${HEADER}.${Buffer.from(JSON.stringify(claims)).toString('base64url')}`
    const token = `${signed}.${createHmac('sha256', this.#secret).update(signed).digest('base64url')}`
    if (token.length > MAX_TOKEN_BYTES) throw new RangeError('the token is over its limit')
    return token
  }

  /**
   * @param input.audiences the relay's names; the token is for one of them
   * @param input.now ms since 1970
   * @returns undefined for whatever is wrong with it; never throws
   */
  verify(token: string, input: { readonly audiences: readonly string[]; readonly now: number }): TokenClaims | undefined {
    if (token.length > MAX_TOKEN_BYTES || !FORM.test(token)) return undefined
    let claims: JwtPayload | string
    try {
      claims = jsonwebtoken.verify(token, this.#secret, {
        algorithms: ['HS256'],
        // A 0 would mean "the machine's clock" to jsonwebtoken; a test's time may begin there.
        clockTimestamp: Math.max(1, Math.floor(input.now / 1000)),
      })
    } catch {
      return undefined
    }
    // jsonwebtoken lets a claim be absent, and `aud` be a list; ours are all there, and of one type.
    if (typeof claims === 'string') return undefined
    const { sub, aud, iat, exp, jti } = claims
    if (typeof sub !== 'string' || typeof aud !== 'string' || typeof jti !== 'string') return undefined
    if (!Number.isSafeInteger(iat) || exp === undefined || !Number.isSafeInteger(exp)) return undefined
    if (!input.audiences.includes(aud)) return undefined
    return { subject: sub, expires: exp * 1000, id: jti }
  }
}
