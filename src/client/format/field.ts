/**
 * The values that stand in the headers of messages, cards and groups (docs/protocol.md, sections 10 to 12). Each has
 * one spelling: `parseX` gives undefined for any other, and `formatX` writes it. Pure, also in a browser.
 */
import { base64urlnopad } from '@scure/base'
import { randomBytes } from '../../auth/crypto.ts'
import { formatFingerprint, parsePublicKey, type SshKey } from '../../auth/ssh-key.ts'
import { encodeBase64 } from '../../protocol/base64.ts'

const encoder = new TextEncoder()

export const encodeText = (text: string): Uint8Array => encoder.encode(text)

/** @returns undefined where it is not UTF-8; a byte order mark stays */
export function decodeText(bytes: Uint8Array): string | undefined {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch {
    return undefined
  }
}

/** 16 random bytes as 22 characters of base64url. */
export function makeId(): string {
  return base64urlnopad.encode(randomBytes(16))
}

/** The last character holds two bits. */
export const isId = (value: string): boolean => /^[A-Za-z0-9_-]{21}[AQgw]$/.test(value)

/** @param time seconds since 1970 */
export function formatTime(time: number): string {
  return new Date(time * 1_000).toISOString().replace('.000Z', 'Z')
}

/** `2026-11-26T23:00:00Z`. @returns seconds since 1970 */
export function parseTime(value: string): number | undefined {
  if (!/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/.test(value)) return undefined
  const time = Date.parse(value) / 1_000
  return Number.isNaN(time) || formatTime(time) !== value ? undefined : time
}

/** `type base64`, without a comment. */
export function formatKey(key: SshKey): string {
  return `${key.type} ${encodeBase64(key.blob)}`
}

/** Keys that were parsed last, by line: a sender's stands in each of its messages, and its point is checked once. */
const parsed = new Map<string, SshKey>()
const PARSED = 64

/** A plain key, no certificate, as {@link formatKey} writes it. Of the same line it may be the same object. */
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

/** `SHA256:…`: the 43rd digit holds four bits. */
export const isFingerprint = (value: string): boolean => /^SHA256:[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]$/.test(value)

export const fingerprintOf = (key: Pick<SshKey, 'fingerprint'>): string => formatFingerprint(key.fingerprint)

/** A decimal number from `least` to `most` without leading zeros. */
export function parseNumber(value: string, least: number, most: number): number | undefined {
  if (!/^(?:0|[1-9]\d{0,14})$/.test(value)) return undefined
  const number = Number(value)
  return number < least || number > most ? undefined : number
}

/** Controls, format characters (bidi overrides, zero-width), separators of lines, and whatever a font shows as nothing. */
const INVISIBLE = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}]/v
/** Any space but the usual one. */
const ODD_SPACE = /[\p{Zs}--\x20]/v

/** Most characters of a person's or a group's name. */
export const NAME_CHARACTERS = 64

/** Whether it is a name of a person or a group: 1 to 64 characters, NFC, nothing invisible, no space at an end. */
export function isName(value: string): boolean {
  if (value === '' || value.length > 2 * NAME_CHARACTERS || [...value].length > NAME_CHARACTERS) return false
  return !INVISIBLE.test(value) && !ODD_SPACE.test(value) && value.trim() === value && value.normalize('NFC') === value
}

/** Most bytes of a file's name. */
export const FILE_NAME_BYTES = 255
/** What a path, a shell or Windows reads as something else than a name. */
const FILE_MARKS = /[\/\\<>:"\|?*]/v
/** Windows' devices, which a name with an ending means as well. */
const DEVICE = /^(?:con|prn|aux|nul|conin\$|conout\$|clock\$|com[0-9¹²³]|lpt[0-9¹²³]) *(?:\.|$)/i

/** Whether a file of this name can be written into a folder on any system, and is only what it looks like. */
export function isFileName(value: string): boolean {
  if (value === '' || encodeText(value).length > FILE_NAME_BYTES || value.normalize('NFC') !== value) return false
  return !INVISIBLE.test(value) && !FILE_MARKS.test(value) && !DEVICE.test(value) && !/^[.\-~\s]|[.\s]$/.test(value)
}

/** A name of that form, as near as can be to the last part of a path that one has; `file` where nothing is left. */
export function makeFileName(path: string): string {
  const last =
    path
      .toWellFormed()
      .split(/[/\\]/)
      .findLast((part) => part !== '') ?? ''
  const clean = [...last.normalize('NFC')].map((each) => (INVISIBLE.test(each) || FILE_MARKS.test(each) ? '_' : each)).join('')
  const begun = clean.replace(/^[.\-~\s]+/, '').replace(/[.\s]+$/, '')
  const name = shorten(DEVICE.test(begun) ? `_${begun}` : begun)
  return isFileName(name) ? name : 'file'
}

/** Leaves the name's ending, where it has a usual one. */
function shorten(name: string): string {
  if (encodeText(name).length <= FILE_NAME_BYTES) return name
  const [ending = ''] = /\.[A-Za-z0-9]{1,10}$/.exec(name) ?? []
  const kept = Array.from(name.slice(0, name.length - ending.length))
  while (encodeText(kept.join('') + ending).length > FILE_NAME_BYTES) kept.pop()
  return kept.join('').replace(/[.\s]+$/, '') + ending
}
