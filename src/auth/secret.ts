/**
 * The secret of a CLAIM (docs/protocol.md, section 3): 32 random bytes in base64url, whose hash is the fingerprint of
 * its mailbox. The bytes of a secret never become a string, and never lie in V8's own heap.
 */
import { createHash } from 'node:crypto'

const SECRET_BYTES = 32
const SECRET_DIGITS = 43

/** The value of each character of base64url, and -1 for every other byte. */
const DIGITS = new Int8Array(256).fill(-1)
for (const [value, digit] of Buffer.from('ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_').entries())
  DIGITS[digit] = value

/** The bytes of the secret at hand; overwritten once they are hashed. Too large for V8 to keep it in its own heap. */
const scratch = Buffer.from(new ArrayBuffer(SECRET_BYTES))

/**
 * Returns the fingerprint of a secret: SHA-256 of its 32 bytes. Returns undefined if the field is not 43 characters of
 * canonical base64url.
 */
export function fingerprintOfSecret(field: Uint8Array): Buffer | undefined {
  if (field.length !== SECRET_DIGITS) return undefined
  let bits = 0
  let count = 0
  let at = 0
  // Negative as soon as one character was wrong.
  let wrong = 0
  for (let n = 0; n < SECRET_DIGITS; n++) {
    const digit = DIGITS[field[n]!]!
    wrong |= digit
    bits = ((bits << 6) | (digit & 63)) & 0xfff
    count += 6
    if (count < 8) continue
    count -= 8
    scratch[at++] = bits >> count
  }
  // The last character has two bits more than the secret.
  const isCanonical = wrong >= 0 && (bits & 0b11) === 0
  const fingerprint = isCanonical ? createHash('sha256').update(scratch).digest() : undefined
  scratch.fill(0)
  return fingerprint
}
