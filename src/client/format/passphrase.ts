/**
 * Bytes encrypted by a passphrase: a JWE in its compact form (RFC 7516) with PBES2-HS512+A256KW (RFC 7518, section 4.8) and
 * A256GCM. That is PBKDF2 with HMAC-SHA-512, AES key wrap, and AES-GCM over the content and its header, so any change is
 * noticed. WebCrypto has all three, so a page opens it, too. Section 15 of docs/protocol.md.
 */
import { base64urlnopad } from '@scure/base'
import { CodedError } from '../../protocol/coded-error.ts'
import { decodeText, encodeText } from './field.ts'

const ALGORITHM = 'PBES2-HS512+A256KW'
const ENCRYPTION = 'A256GCM'
/** Iterations that we use, and the most that we do for a file of others: some seconds of work. */
export const ITERATIONS = { made: 600_000, most: 10_000_000 } as const
const SALT_BYTES = 16
const NONCE_BYTES = 12
const TAG_BYTES = 16
const WRAPPED_BYTES = 40
/** The most characters of a header that is read. */
const HEADER_CHARACTERS = 1_024

export type PassphraseProblem = 'malformed' | 'other-kind' | 'newer-version' | 'iterations' | 'wrong-passphrase' | 'damaged'

const TEXTS = {
  malformed: 'it is not a file that a passphrase encrypts, or a part of it is missing',
  'other-kind': 'it holds something else',
  'newer-version': 'a newer version of asfaleia made it',
  iterations: `its key derivation has too few or too many iterations: expected ${ITERATIONS.made} to ${ITERATIONS.most}`,
  'wrong-passphrase': 'the passphrase is wrong, or the beginning of the file is damaged',
  damaged: 'it is damaged: a byte was changed, or the end is missing',
} as const satisfies Record<PassphraseProblem, string>

export class PassphraseError extends CodedError<PassphraseProblem> {
  constructor(code: PassphraseProblem) {
    super('PassphraseError', code, TEXTS[code])
  }
}

/**
 * Encrypts bytes by a passphrase. Takes some tenths of a second.
 * @param type the form of the bytes, such as `asfaleia-profile/1`
 * @returns one line of ASCII
 */
export async function sealByPassphrase(bytes: Uint8Array, passphrase: string, type: string): Promise<string> {
  const salt = crypto.getRandomValues(new Uint8Array(SALT_BYTES))
  const header = base64urlnopad.encode(
    encodeText(JSON.stringify({ alg: ALGORITHM, enc: ENCRYPTION, p2s: base64urlnopad.encode(salt), p2c: ITERATIONS.made, typ: type })),
  )
  const wrapping = await deriveKey(passphrase, salt, ITERATIONS.made)
  const key = await crypto.subtle.generateKey({ name: 'AES-GCM', length: 256 }, true, ['encrypt'])
  const wrapped = new Uint8Array(await crypto.subtle.wrapKey('raw', key, wrapping, 'AES-KW'))
  const iv = crypto.getRandomValues(new Uint8Array(NONCE_BYTES))
  const sealed = new Uint8Array(
    await crypto.subtle.encrypt({ name: 'AES-GCM', iv, additionalData: own(encodeText(header)) }, key, own(bytes)),
  )
  const parts = [wrapped, iv, sealed.subarray(0, -TAG_BYTES), sealed.subarray(-TAG_BYTES)]
  return [header, ...parts.map((part) => base64urlnopad.encode(part))].join('.')
}

/** Decrypts the result of {@link sealByPassphrase}. @throws {PassphraseError} */
export async function openByPassphrase(text: string, passphrase: string, type: string): Promise<Uint8Array> {
  const [header = '', wrapped = '', iv = '', content = '', tag = '', ...more] = text.trim().split('.')
  if (more.length > 0 || header.length > HEADER_CHARACTERS) throw new PassphraseError('malformed')
  const { salt, iterations } = readHeader(header, type)
  const parts = {
    wrapped: decode(wrapped, WRAPPED_BYTES),
    iv: decode(iv, NONCE_BYTES),
    content: decode(content),
    tag: decode(tag, TAG_BYTES),
  }
  const wrapping = await deriveKey(passphrase, salt, iterations)
  let key: CryptoKey
  try {
    key = await crypto.subtle.unwrapKey('raw', parts.wrapped, wrapping, 'AES-KW', 'AES-GCM', false, ['decrypt'])
  } catch {
    throw new PassphraseError('wrong-passphrase')
  }
  const sealed = new Uint8Array(parts.content.length + TAG_BYTES)
  sealed.set(parts.content)
  sealed.set(parts.tag, parts.content.length)
  try {
    const algorithm = { name: 'AES-GCM', iv: parts.iv, additionalData: own(encodeText(header)) }
    return new Uint8Array(await crypto.subtle.decrypt(algorithm, key, sealed))
  } catch {
    throw new PassphraseError('damaged')
  }
}

function readHeader(header: string, type: string): { readonly salt: Uint8Array<ArrayBuffer>; readonly iterations: number } {
  let fields: Readonly<Record<string, unknown>> | null
  try {
    fields = JSON.parse(decodeText(decode(header)) ?? '') as Readonly<Record<string, unknown>> | null
  } catch {
    throw new PassphraseError('malformed')
  }
  if (typeof fields !== 'object' || fields === null) throw new PassphraseError('malformed')
  const { alg, enc, p2s, p2c, typ, ...more } = fields
  if (typ !== type) {
    const form = type.replace(/\d+$/, '')
    throw new PassphraseError(
      typeof typ === 'string' && typ.startsWith(form) && /^\d+$/.test(typ.slice(form.length)) ? 'newer-version' : 'other-kind',
    )
  }
  if (alg !== ALGORITHM || enc !== ENCRYPTION || typeof p2s !== 'string' || Object.keys(more).length > 0)
    throw new PassphraseError('malformed')
  if (typeof p2c !== 'number' || !Number.isInteger(p2c) || p2c < ITERATIONS.made || p2c > ITERATIONS.most)
    throw new PassphraseError('iterations')
  return { salt: decode(p2s, SALT_BYTES), iterations: p2c }
}

/** RFC 7518, section 4.8.1.1: the salt of PBKDF2 is the name of the algorithm, a zero byte, and the salt of the header. */
async function deriveKey(passphrase: string, salt: Uint8Array, iterations: number): Promise<CryptoKey> {
  const secret = await crypto.subtle.importKey('raw', own(encodeText(passphrase)), 'PBKDF2', false, ['deriveKey'])
  const name = encodeText(`${ALGORITHM}\0`)
  const whole = new Uint8Array(name.length + salt.length)
  whole.set(name)
  whole.set(salt, name.length)
  const algorithm = { name: 'PBKDF2', hash: 'SHA-512', salt: whole, iterations }
  return crypto.subtle.deriveKey(algorithm, secret, { name: 'AES-KW', length: 256 }, false, ['wrapKey', 'unwrapKey'])
}

/** @throws {PassphraseError} */
function decode(text: string, length?: number): Uint8Array<ArrayBuffer> {
  let bytes: Uint8Array
  try {
    bytes = base64urlnopad.decode(text)
  } catch {
    throw new PassphraseError('malformed')
  }
  if (length !== undefined && bytes.length !== length) throw new PassphraseError('malformed')
  return own(bytes)
}

/** Copies bytes: the types of WebCrypto require memory that no other thread shares. */
function own(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  return new Uint8Array(bytes)
}
