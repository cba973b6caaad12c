/**
 * The challenge of docs/protocol.md, section 3: one line of text, `asfaleia/1 auth <relay> <handle> <nonce>`.
 * The relay builds it; the client answers only a text that parses as one. No cryptography here.
 */

export const VERSION = 'asfaleia/1'

export interface Challenge {
  /** The relay's name, as the client dialled it. */
  readonly relay: string
  /** Decimal, without leading zeros. */
  readonly handle: string
  /** 32 bytes in base64url. */
  readonly nonce: string
}

// 43 base64url characters hold 32 bytes, and the last of them carries only four bits: with these 16 last characters a
// nonce has one spelling.
const FORM = /^asfaleia\/1 auth ([a-z0-9.-]{1,255}) (0|[1-9][0-9]{0,19}) ([A-Za-z0-9_-]{42}[AEIMQUYcgkosw048])$/

/** Writes a challenge as its line of text, without a line end. */
export function buildChallenge(challenge: Challenge): string {
  return `${VERSION} auth ${challenge.relay} ${challenge.handle} ${challenge.nonce}`
}

/** Parses a challenge strictly. Returns undefined for any other text, which a client must never return to a relay. */
export function parseChallenge(text: string): Challenge | undefined {
  const match = FORM.exec(text)
  if (match === null) return undefined
  const [, relay, handle, nonce] = match
  return { relay: relay!, handle: handle!, nonce: nonce! }
}
