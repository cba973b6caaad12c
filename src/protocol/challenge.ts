/**
 * The challenge of docs/protocol.md, section 3: one line of text, `asfaleia/1 auth <relay> <handle> <nonce>`.
 * The relay builds it, the client answers only what parses as it. Pure text; no cryptography here.
 */

export const VERSION = 'asfaleia/1'

/** What a challenge says. `relay` is the name dialled, `handle` decimal, `nonce` 32 bytes in base64url. */
export interface Challenge {
  readonly relay: string
  readonly handle: string
  readonly nonce: string
}

// A handle is a decimal number without leading zeros; 43 base64url characters hold 32 bytes, and
// the last of them carries four bits, so that a nonce has one spelling.
const FORM = /^asfaleia\/1 auth ([a-z0-9.-]{1,255}) (0|[1-9][0-9]{0,19}) ([A-Za-z0-9_-]{42}[AEIMQUYcgkosw048])$/

export function buildChallenge(challenge: Challenge): string {
  return `${VERSION} auth ${challenge.relay} ${challenge.handle} ${challenge.nonce}`
}

/** The challenge that `text` is, to the byte; undefined for anything else, which a client must never return. */
export function parseChallenge(text: string): Challenge | undefined {
  const match = FORM.exec(text)
  if (match === null) return undefined
  const [, relay, handle, nonce] = match
  return { relay: relay!, handle: handle!, nonce: nonce! }
}
