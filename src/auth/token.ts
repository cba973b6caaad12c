/**
 * The relay's tokens (docs/protocol.md, section 3): JWTs signed with HS256 only, under a secret that the relay never
 * writes to a disk. Knows nothing of revocation, and never says why it refuses a token.
 */
import { createHmac, generateKeySync, type KeyObject, timingSafeEqual } from 'node:crypto'
import jsonwebtoken, { type JwtPayload } from 'jsonwebtoken'
import { asBuffer } from './key-object.ts'

/** A token with the longest host name has about 600 characters; a longer one than this is refused before parsing. */
export const MAX_TOKEN_BYTES = 1_024

const SECRET_BYTES = 32
/** No token begins with these, so neither the shift nor the run is part of any signature. */
const SHIFT_LABEL = 'asfaleia/1 token times'
const RUN_LABEL = 'asfaleia/1 run'
/** 8 characters. */
const RUN_BYTES = 6

const CLAIM = Object.freeze({ claim: true })
const DOT = 0x2e
/** The base64url of an HS256 signature. */
const SIGNATURE_BYTES = 43
/** The right signature of the token that is being checked; overwritten after that. */
const expected = Buffer.alloc(SIGNATURE_BYTES)

/** Draws a secret of 256 random bits. */
export function createSecret(): KeyObject {
  return generateKeySync('hmac', { length: SECRET_BYTES * 8 })
}

export interface TokenClaims {
  /** The blinded id of the mailbox that the token gives access to. */
  readonly subject: string
  /** The first millisecond (since 1970) at which the token is no longer good. */
  readonly expires: number
  readonly id: string
  /** Whether the token stands for a claim, and not for a key. */
  readonly isClaim: boolean
}

export class Tokens {
  readonly #secret: KeyObject
  readonly #seconds: number
  /**
   * Seconds between the relay's time and the times in its tokens. It follows from the secret, so a relay that takes
   * over the secret computes the same, and a client cannot: tokens reveal neither the relay's clock nor its start.
   */
  readonly #shift: number
  /** Stands for the secret, 8 characters: a client sees by it whether the relay lost its memory since an earlier token. */
  readonly run: string

  /**
   * @param options.secret 256 bits, see {@link createSecret}
   * @param options.seconds the lifetime of a token, a whole number
   * @throws {TypeError} if the secret has another kind or size, or the lifetime is not a positive whole number
   */
  constructor(options: { readonly secret: KeyObject; readonly seconds: number }) {
    const { secret, seconds } = options
    if (secret.type !== 'secret' || secret.symmetricKeySize !== SECRET_BYTES) {
      throw new TypeError('a token secret must be a secret key of 32 bytes')
    }
    if (!Number.isSafeInteger(seconds) || seconds <= 0) throw new TypeError('seconds must be a positive whole number')
    this.#secret = secret
    this.#seconds = seconds
    // Never 0: a test's time may begin at 0, and jsonwebtoken takes 0 for "use the machine's clock".
    this.#shift = 1 + createHmac('sha256', secret).update(SHIFT_LABEL).digest().readUInt32BE()
    this.run = createHmac('sha256', secret).update(RUN_LABEL).digest().subarray(0, RUN_BYTES).toString('base64url')
  }

  /**
   * Signs a new token.
   *
   * @param input.audience the relay's name
   * @param input.now ms since 1970
   * @param input.id begins with the {@link run}; unique among the tokens that are good at the same time
   * @throws {RangeError} if the token would be longer than {@link MAX_TOKEN_BYTES}
   */
  issue(input: {
    readonly subject: string
    readonly audience: string
    readonly now: number
    readonly id: string
    readonly isClaim?: boolean
  }): string {
    const seconds = this.#secondsAt(input.now)
    const claims = {
      // First, so that a client finds the run without a parser.
      jti: input.id,
      sub: input.subject,
      aud: input.audience,
      iat: seconds,
      exp: seconds + this.#seconds,
      ...(input.isClaim === true ? CLAIM : {}),
    }
    const token = jsonwebtoken.sign(claims, this.#secret, { algorithm: 'HS256' })
    if (token.length > MAX_TOKEN_BYTES) throw new RangeError('the token is longer than its limit')
    return token
  }

  /**
   * Returns the claims of a good token, and undefined for any other bytes. Never throws. Checks the signature over the
   * bytes first: a stranger can send any number of forged tokens, so these must be cheap to refuse, and neither become a
   * string nor reach a parser.
   *
   * @param input.audiences the relay's names; the token must be for one of them
   * @param input.now ms since 1970
   */
  verify(token: Uint8Array, input: { readonly audiences: readonly string[]; readonly now: number }): TokenClaims | undefined {
    if (!this.#isSigned(token)) return undefined
    const text = asBuffer(token).toString('latin1')
    let claims: JwtPayload | string
    try {
      claims = jsonwebtoken.verify(text, this.#secret, {
        algorithms: ['HS256'],
        clockTimestamp: this.#secondsAt(input.now),
      })
    } catch {
      return undefined
    }
    // jsonwebtoken accepts tokens without some of the claims, and an `aud` that is a list; `issue` makes neither.
    if (typeof claims === 'string') return undefined
    const { sub, aud, iat, exp, jti, claim } = claims
    if (typeof sub !== 'string' || typeof aud !== 'string' || typeof jti !== 'string') return undefined
    if (!Number.isSafeInteger(iat) || exp === undefined || !Number.isSafeInteger(exp)) return undefined
    if (!input.audiences.includes(aud)) return undefined
    return { subject: sub, expires: (exp - this.#shift) * 1000, id: jti, isClaim: claim === true }
  }

  /** Returns a time as tokens state it. */
  #secondsAt(ms: number): number {
    return Math.floor(ms / 1000) + this.#shift
  }

  /**
   * Checks the length and the signature. The signature is compared in base64url, in which the right one has only one
   * spelling.
   */
  #isSigned(token: Uint8Array): boolean {
    const signature = token.length - SIGNATURE_BYTES
    if (signature < 1 || token.length > MAX_TOKEN_BYTES || token[signature - 1] !== DOT) return false
    const mac = createHmac('sha256', this.#secret)
      .update(token.subarray(0, signature - 1))
      .digest('base64url')
    expected.write(mac, 'latin1')
    const isSame = timingSafeEqual(expected, token.subarray(signature))
    expected.fill(0)
    return isSame
  }
}
