/**
 * The fields of a client's requests (docs/protocol.md, section 2), and their checks: a mistake of the caller must not
 * reach the relay, which would count it or end the connection.
 */
import { encodeBase64 } from './base64.ts'
import { DEFAULT_LIMITS } from './limits.ts'

/** The form of a label. */
export const LABEL = /^[a-z0-9-]{0,16}$/
const SECRET_BYTES = 32

/** @throws {TypeError} if the label is malformed */
export function checkLabel(label: string): string {
  if (!LABEL.test(label)) throw new TypeError('a label has 0 to 16 characters of a-z, 0-9 and -')
  return label
}

/** Returns a label as the last field of a VERIFY or CLAIM; the empty one needs none. @throws {TypeError} */
export function labelFields(label: string): readonly string[] {
  return checkLabel(label) === '' ? [] : [label]
}

/** Writes a secret. @throws {TypeError} unless it has 32 bytes */
export function encodeSecret(secret: Uint8Array): string {
  if (secret.length !== SECRET_BYTES) throw new TypeError('a secret has 32 bytes')
  return encodeBase64(secret).replaceAll('+', '-').replaceAll('/', '_').replace('=', '')
}

/**
 * Writes a payload or bundle.
 *
 * @throws {TypeError} if it is empty or over the limit, which would close the connection
 */
export function encodeContent(content: Uint8Array, limit: number): string {
  const base64 = encodeBase64(content)
  if (content.length === 0 || base64.length > limit) throw new TypeError('the payload is empty or too large')
  return base64
}

/** @throws {TypeError} if the fields make a line that is too long to leave before the relay sent a TOKEN */
export function checkEarly(fields: readonly string[]): void {
  const length = fields.reduce((sum, field) => sum + field.length + 1, 1)
  if (length > DEFAULT_LIMITS.lineBeforeToken) throw new TypeError('the line must wait for the TOKEN')
}

/** @throws {TypeError} for an empty label, which WIPE and PUBLISH do not take */
export function checkNamed(proof: string): string {
  if (proof === '') throw new TypeError('WIPE and PUBLISH take no empty label')
  return proof
}
