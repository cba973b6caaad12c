/**
 * The values in the headers of messages, cards and groups (docs/protocol.md, sections 10 to 12). Each value has one
 * spelling: `formatX` writes it, and `parseX` returns undefined for any other. Pure; runs in a browser too.
 */
import { base64urlnopad } from '@scure/base'
import { randomBytes } from '../../auth/crypto.ts'
import { formatFingerprint, parsePublicKey, type SshKey } from '../../auth/ssh-key.ts'
import { encodeBase64 } from '../../protocol/base64.ts'
import { hides, replaceHidden } from './visible.ts'

const encoder = new TextEncoder()

export const encodeText = (text: string): Uint8Array => encoder.encode(text)

/** Decodes UTF-8 and keeps a byte order mark. @returns undefined if the bytes are not UTF-8 */
export function decodeText(bytes: Uint8Array): string | undefined {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch {
    return undefined
  }
}

/** Makes an id: 16 random bytes as 22 characters of base64url. */
export function makeId(): string {
  return base64urlnopad.encode(randomBytes(16))
}

/** Returns whether the value is an id. The last character holds only two bits. */
export const isId = (value: string): boolean => /^[A-Za-z0-9_-]{21}[AQgw]$/.test(value)

/** Writes a time as `2026-11-26T23:00:00Z`. @param time seconds since 1970 */
export function formatTime(time: number): string {
  return new Date(time * 1_000).toISOString().replace('.000Z', 'Z')
}

/** Parses `2026-11-26T23:00:00Z`. @returns seconds since 1970 */
export function parseTime(value: string): number | undefined {
  if (!/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/.test(value)) return undefined
  const time = Date.parse(value) / 1_000
  return Number.isNaN(time) || formatTime(time) !== value ? undefined : time
}

/** Writes a key as `type base64`, without a comment. */
export function formatKey(key: SshKey): string {
  return `${key.type} ${encodeBase64(key.blob)}`
}

/** The last 64 parsed keys, by line. Each message repeats its sender's key, and checking a key's point is slow. */
const parsed = new Map<string, SshKey>()
const PARSED = 64

/** Parses a plain key (not a certificate) as {@link formatKey} writes it. The same line may return the same object. */
export function parseKey(value: string): SshKey | undefined {
  const known = parsed.get(value)
  if (known !== undefined) return known
  try {
    const key = parsePublicKey(value)
    if (formatKey(key) !== value) return undefined
    parsed.set(value, key)
    if (parsed.size > PARSED) parsed.delete(parsed.keys().next().value!)
    return key
  } catch {
    return undefined
  }
}

/** Returns whether the value is a fingerprint, `SHA256:…`. The 43rd character holds only four bits. */
export const isFingerprint = (value: string): boolean => /^SHA256:[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]$/.test(value)

/** By the bytes of a fingerprint, which never change: its text. A client asks for the same ones for each message. */
const fingerprints = new WeakMap<Uint8Array, string>()

/** Returns `SHA256:…`, as `ssh-keygen -l` prints it. */
export function fingerprintOf({ fingerprint }: Pick<SshKey, 'fingerprint'>): string {
  const known = fingerprints.get(fingerprint)
  if (known !== undefined) return known
  const text = formatFingerprint(fingerprint)
  fingerprints.set(fingerprint, text)
  return text
}

/** Parses a decimal number from `least` to `most` without leading zeros. */
export function parseNumber(value: string, least: number, most: number): number | undefined {
  if (!/^(?:0|[1-9]\d{0,14})$/.test(value)) return undefined
  const number = Number(value)
  return number < least || number > most ? undefined : number
}

/** Any space but U+0020. */
const ODD_SPACE = /[\p{Zs}--\x20]/v

/** Most characters of the name of a person or a group. */
export const NAME_CHARACTERS = 64

/** Returns whether the value is the name of a person or group: 1 to 64 visible characters, NFC, no space at an end. */
export function isName(value: string): boolean {
  if (value === '' || value.length > 2 * NAME_CHARACTERS || [...value].length > NAME_CHARACTERS) return false
  return !hides(value) && !ODD_SPACE.test(value) && value.trim() === value && value.normalize('NFC') === value
}

/** Most bytes of a file name, in UTF-8. */
export const FILE_NAME_BYTES = 255
/** Characters with a meaning in paths, in shells or on Windows. */
const FILE_MARKS = /[\/\\<>:"\|?*]/v
/** Device names of Windows, which also match with an extension (`nul.txt`). */
const DEVICE = /^(?:con|prn|aux|nul|conin\$|conout\$|clock\$|com[0-9¹²³]|lpt[0-9¹²³]) *(?:\.|$)/i

/** Returns whether a file of this name can be created on any system and its name hides nothing. */
export function isFileName(value: string): boolean {
  if (value === '' || encodeText(value).length > FILE_NAME_BYTES || value.normalize('NFC') !== value) return false
  return !hides(value) && !FILE_MARKS.test(value) && !DEVICE.test(value) && !/^[.\-~\s]|[.\s]$/.test(value)
}

/** Makes a valid file name from the last part of a path, with as few changes as possible; `file` if nothing remains. */
export function makeFileName(path: string): string {
  const last =
    path
      .toWellFormed()
      .split(/[/\\]/)
      .findLast((part) => part !== '') ?? ''
  const clean = replaceHidden(last.normalize('NFC'), () => '_').replaceAll(new RegExp(FILE_MARKS, 'gv'), '_')
  const begun = clean.replace(/^[.\-~\s]+/, '').replace(/(?<![.\s])[.\s]+$/, '')
  const name = shorten(DEVICE.test(begun) ? `_${begun}` : begun)
  return isFileName(name) ? name : 'file'
}

/** Shortens a name to 255 bytes and keeps an extension of up to 10 letters and digits. */
function shorten(name: string): string {
  if (encodeText(name).length <= FILE_NAME_BYTES) return name
  const [ending = ''] = /\.[A-Za-z0-9]{1,10}$/.exec(name) ?? []
  let room = FILE_NAME_BYTES - ending.length
  let kept = ''
  for (const character of name.slice(0, name.length - ending.length)) {
    room -= encodeText(character).length
    if (room < 0) break
    kept += character
  }
  return kept.replace(/[.\s]+$/, '') + ending
}
