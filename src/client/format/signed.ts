/**
 * Signed texts, the common form of messages, cards and groups (docs/protocol.md, section 10): bytes that end in LF,
 * followed by an SSHSIG of them in ssh-keygen's armor. `ssh-keygen -Y sign` and `cat` make one; `head`, `tail` and
 * `ssh-keygen -Y verify` check one. The meaning of the bytes is defined elsewhere. Pure; runs in a browser too.
 */
import { MissingCryptoError } from '../../auth/missing-crypto.ts'
import { verifySignature } from '../../auth/sshsig.ts'
import type { SshKey } from '../../auth/ssh-key.ts'
import { concat, decodeBase64 } from '../../auth/ssh-wire.ts'
import { encodeBase64 } from '../../protocol/base64.ts'
import { decodeText, encodeText } from './field.ts'
import type { Identity } from './identity.ts'

/** The purpose of a signature. A signature for one namespace does not verify in another. */
export type Namespace = 'asfaleia-message' | 'asfaleia-card' | 'asfaleia-group' | 'asfaleia-begin' | 'asfaleia-bundle'

/** A signed text, split at its signature. */
export interface Signed {
  /** The signed bytes, up to and including the LF before the armor. A view. */
  readonly signed: Uint8Array
  /** The decoded SSHSIG. */
  readonly blob: Uint8Array
  /** The bytes after the armor: empty, or padding. A view. */
  readonly rest: Uint8Array
}

const BEGIN = '-----BEGIN SSH SIGNATURE-----\n'
const END = '-----END SSH SIGNATURE-----\n'
/** The line length of ssh-keygen. */
const COLUMNS = 70
/** Most characters of an armor. An RSA key of 8,192 bits and its signature take 2,905. */
const ARMOR_CHARACTERS = 4_096
const ARMOR = /^(?:[A-Za-z0-9+/=]{1,76}\n)+$/

/** Decodes each byte to one character, so that indexes in the text are indexes in the bytes. */
const latin1 = new TextDecoder('latin1')

/** Encodes an SSHSIG as ssh-keygen does, with lines of 70 characters. */
export function armor(blob: Uint8Array): Uint8Array {
  const lines = encodeBase64(blob).match(new RegExp(`.{1,${COLUMNS}}`, 'g')) ?? []
  return encodeText(`${BEGIN}${lines.join('\n')}\n${END}`)
}

/**
 * Signs bytes and appends the armored signature.
 * @param signed must end in LF
 * @returns `signed` followed by the armor
 * @throws errors of {@link Identity.sign}
 * @throws {TypeError} if the signature contains another key than the identity's, or a certificate
 */
export async function sign(identity: Pick<Identity, 'key' | 'sign'>, namespace: Namespace, signed: Uint8Array): Promise<Uint8Array> {
  const blob = await identity.sign(namespace, signed)
  if (!holdsKey(blob, identity.key)) throw new TypeError('the signature contains another key than the identity')
  return concat(signed, armor(blob))
}

/** Splits bytes at their last signature. @returns undefined if the bytes have no complete signature */
export function split(bytes: Uint8Array): Signed | undefined {
  const text = latin1.decode(bytes)
  const before = text.lastIndexOf(`\n${BEGIN}`) + 1
  if (before === 0) return undefined
  const start = before + BEGIN.length
  const end = text.indexOf(END, start)
  if (end === -1 || end - start > ARMOR_CHARACTERS) return undefined
  const lines = text.slice(start, end)
  if (!ARMOR.test(lines)) return undefined
  try {
    const blob = decodeBase64(lines.replaceAll('\n', ''))
    return { signed: bytes.subarray(0, before), blob, rest: bytes.subarray(end + END.length) }
  } catch {
    return undefined
  }
}

/**
 * Returns whether the signature is valid, by this key and for this namespace. A certificate in place of the key is
 * refused, because a reader who knows only the key could not verify it with ssh-keygen.
 * @returns undefined if this browser cannot check it; never in Node
 */
export async function isSignedBy(
  key: SshKey,
  namespace: Namespace,
  { signed, blob }: Pick<Signed, 'signed' | 'blob'>,
): Promise<boolean | undefined> {
  try {
    return holdsKey(blob, key) && (await verifySignature({ blob, key, namespace, message: signed }))
  } catch (error) {
    if (error instanceof MissingCryptoError) return undefined
    throw error
  }
}

/** PROTOCOL.sshsig: the magic `SSHSIG`, a version of four bytes, then the key with its length before it. */
function holdsKey(blob: Uint8Array, { blob: key }: SshKey): boolean {
  const start = 6 + 4 + 4
  return blob.length > start + key.length && key.every((byte, n) => blob[start + n] === byte)
}

/** A line of a header. */
export type Header = readonly [name: string, value: string]

const HEADERS = 64
const LINE = /^([a-z-]{1,32}): (\P{Cc}+)$/u

/**
 * Parses a header: its first line (`form`), then `name: value` lines. Each line ends in LF.
 * @returns undefined if a line is malformed, or more than 64 lines follow the first
 */
export function parseHeader(bytes: Uint8Array): { form: string; headers: readonly Header[] } | undefined {
  const text = decodeText(bytes)
  if (text === undefined || !text.endsWith('\n')) return undefined
  const [form, ...lines] = text.slice(0, -1).split('\n')
  if (lines.length > HEADERS) return undefined
  const headers = lines.map((line) => LINE.exec(line)).filter((match) => match !== null)
  return headers.length < lines.length ? undefined : { form: form!, headers: headers.map(([, name, value]) => [name!, value!]) }
}

/** Writes a header. @param form the first line: the kind of text and its version */
export function encodeHeader(form: string, headers: readonly Header[]): Uint8Array {
  return encodeText(`${form}\n${headers.map(([name, value]) => `${name}: ${value}\n`).join('')}`)
}

/** Returns the headers as a map. @returns undefined if a name occurs twice */
export function byName(headers: readonly Header[]): ReadonlyMap<string, string> | undefined {
  const map = new Map(headers)
  return map.size === headers.length ? map : undefined
}

/** Returns the version of a text whose first line is `form/version`. @returns undefined for any other first line */
export function versionOf(form: string, bytes: Uint8Array): string | undefined {
  const line = latin1.decode(bytes.subarray(0, form.length + 12)).split('\n', 1)[0]!
  return line.startsWith(`${form}/`) && /^[1-9]\d{0,8}$/.test(line.slice(form.length + 1)) ? line.slice(form.length + 1) : undefined
}
