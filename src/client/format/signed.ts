/**
 * Signed texts, the one form of messages, cards and groups (docs/protocol.md, section 10): bytes that end in LF,
 * then an SSHSIG of them in ssh-keygen's armor, so that `head`, `tail` and `ssh-keygen -Y verify` take one apart and
 * `ssh-keygen -Y sign` and `cat` make one. What the bytes say is for others. Pure, also in a browser.
 */
import { verifySignature } from '../../auth/sshsig.ts'
import type { SshKey } from '../../auth/ssh-key.ts'
import { concat, decodeBase64 } from '../../auth/ssh-wire.ts'
import { encodeBase64 } from '../../protocol/base64.ts'
import { decodeText, encodeText } from './field.ts'
import type { Identity } from './identity.ts'

/** What a signature is for: one made for anything else is none. */
export type Namespace = 'asfaleia-message' | 'asfaleia-card' | 'asfaleia-group'

export interface Signed {
  /** What the signature is over, up to and with the LF before its armor. A view. */
  readonly signed: Uint8Array
  /** The SSHSIG's blob. */
  readonly blob: Uint8Array
  /** What comes after the armor: nothing, or padding. A view. */
  readonly rest: Uint8Array
}

const BEGIN = '-----BEGIN SSH SIGNATURE-----\n'
const END = '-----END SSH SIGNATURE-----\n'
/** As ssh-keygen breaks lines. */
const COLUMNS = 70
/** An RSA key of 8,192 bits and its signature take 2,905. */
const ARMOR_CHARACTERS = 4_096
const ARMOR = /^(?:[A-Za-z0-9+/=]{1,76}\n)+$/

/** One character a byte: positions in the text are positions in the bytes. */
const latin1 = new TextDecoder('latin1')

export function armor(blob: Uint8Array): Uint8Array {
  const lines = encodeBase64(blob).match(new RegExp(`.{1,${COLUMNS}}`, 'g')) ?? []
  return encodeText(`${BEGIN}${lines.join('\n')}\n${END}`)
}

/**
 * @param signed ends in LF
 * @returns it, and the identity's signature of it
 * @throws what {@link Identity.sign} throws
 * @throws {TypeError} where the signature has another key in it than the identity's, a certificate among others
 */
export async function sign(identity: Pick<Identity, 'key' | 'sign'>, namespace: Namespace, signed: Uint8Array): Promise<Uint8Array> {
  const blob = await identity.sign(namespace, signed)
  if (!holdsKey(blob, identity.key)) throw new TypeError('the signature has another key in it')
  return concat(signed, armor(blob))
}

/** Takes the last signature of the bytes; undefined where there is no whole one. */
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
 * Whether the signature is good, by this key, and in this namespace. A certificate in place of the key is not good
 * here: who checks with ssh-keygen, and knows the key alone, could not tell that it is.
 */
export async function isSignedBy(key: SshKey, namespace: Namespace, { signed, blob }: Pick<Signed, 'signed' | 'blob'>): Promise<boolean> {
  return holdsKey(blob, key) && (await verifySignature({ blob, key, namespace, message: signed }))
}

/** PROTOCOL.sshsig: the magic `SSHSIG`, a version of four bytes, then the key as a string. */
function holdsKey(blob: Uint8Array, { blob: key }: SshKey): boolean {
  const start = 6 + 4 + 4
  return blob.length > start + key.length && key.every((byte, n) => blob[start + n] === byte)
}

/** A header's line. */
export type Header = readonly [name: string, value: string]

const HEADERS = 64
const LINE = /^([a-z-]{1,32}): (\P{Cc}+)$/u

/**
 * Reads a header after its first line: `name: value` lines, each ended by LF.
 *
 * @param bytes the header from its beginning
 * @returns undefined where any line is of another form, or there are more than 64
 */
export function parseHeader(bytes: Uint8Array): { form: string; headers: readonly Header[] } | undefined {
  const text = decodeText(bytes)
  if (text === undefined || !text.endsWith('\n')) return undefined
  const [form, ...lines] = text.slice(0, -1).split('\n')
  if (lines.length > HEADERS) return undefined
  const headers = lines.map((line) => LINE.exec(line)).filter((match) => match !== null)
  return headers.length < lines.length ? undefined : { form: form!, headers: headers.map(([, name, value]) => [name!, value!]) }
}

/** @param form the first line: what it is, and its version */
export function encodeHeader(form: string, headers: readonly Header[]): Uint8Array {
  return encodeText(`${form}\n${headers.map(([name, value]) => `${name}: ${value}\n`).join('')}`)
}

/** Each header once. @returns undefined where one comes twice */
export function byName(headers: readonly Header[]): ReadonlyMap<string, string> | undefined {
  const map = new Map(headers)
  return map.size === headers.length ? map : undefined
}

/** The version of a text that begins with `form/`; undefined where its first line is of another form. */
export function versionOf(form: string, bytes: Uint8Array): string | undefined {
  const line = latin1.decode(bytes.subarray(0, form.length + 12)).split('\n', 1)[0]!
  return line.startsWith(`${form}/`) && /^[1-9]\d{0,8}$/.test(line.slice(form.length + 1)) ? line.slice(form.length + 1) : undefined
}
