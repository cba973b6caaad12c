/**
 * Reads lines of public keys as sshd does (sshd(8), AUTHORIZED_KEYS FILE FORMAT): blanks and tabs before, between and
 * after the fields, options before the key, a comment in any bytes after it, lines that end with CR and LF, and a byte
 * order mark. Works on bytes: a comment need not be UTF-8. Does not look into a key (ssh-key.ts).
 */
import { isTypeName } from './ssh-key.ts'
import { concat } from './ssh-wire.ts'

const [TAB, LF, CR, SPACE, QUOTE, HASH, BACKSLASH] = [0x09, 0x0a, 0x0d, 0x20, 0x22, 0x23, 0x5c]
const BYTE_ORDER_MARK = [0xef, 0xbb, 0xbf]
/** The base64 of the first three bytes of every key: the length of its type's name is below 256. */
const KEY_START = 'AAAA'

/** A line of a file. */
export interface Line {
  /** Counted from 1. */
  readonly number: number
  /** The places of its first byte and of the byte after its line break. */
  readonly start: number
  readonly end: number
  /** Without its line break, blanks around it, and a byte order mark. */
  readonly text: Uint8Array
}

/** The fields of a line that holds a key. */
export interface KeyLine {
  /** The options before the key, one character a byte; '' for a line without options. */
  readonly options: string
  /** `type base64` with one space, as parsePublicKey takes it. Nothing has checked it. */
  readonly key: Uint8Array
  readonly comment: Uint8Array
}

/** Splits a file into its lines. The last one needs no line break. */
export function* splitLines(bytes: Uint8Array): Generator<Line, void> {
  let start = 0
  for (let number = 1; start < bytes.length; number++) {
    const at = bytes.indexOf(LF, start)
    const end = at === -1 ? bytes.length : at + 1
    const mark = start === 0 && BYTE_ORDER_MARK.every((byte, index) => bytes[index] === byte) ? BYTE_ORDER_MARK.length : 0
    yield { number, start, end, text: trim(bytes.subarray(start + mark, at === -1 ? end : at)) }
    start = end
  }
}

/**
 * Splits a line into its fields.
 *
 * @param text as {@link splitLines} gives it
 * @returns `empty` for a line without content and for a comment line, `broken` for any other line without a key
 */
export function parseKeyLine(text: Uint8Array): KeyLine | 'empty' | 'broken' {
  if (text.length === 0 || text[0] === HASH) return 'empty'
  if (isKeyAt(text)) return readKey(text, '')
  const end = endOfOptions(text)
  if (end === undefined) return 'broken'
  return readKey(trim(text.subarray(end)), latin1(text.subarray(0, end)))
}

/** Whether a key begins here, and no options: like sshd, this tries the key first. */
function isKeyAt(text: Uint8Array): boolean {
  const [type, rest] = splitWord(text)
  if (isTypeName(latin1(type))) return true
  // A key of a type that is unknown here. A quote belongs to options.
  return latin1(rest.subarray(0, KEY_START.length)) === KEY_START && !type.includes(QUOTE)
}

function readKey(text: Uint8Array, options: string): KeyLine | 'broken' {
  const [type, rest] = splitWord(text)
  const [base64, comment] = splitWord(rest)
  if (base64.length === 0) return 'broken'
  return { options, key: concat(type, Uint8Array.of(SPACE), base64), comment }
}

/** Finds the first blank outside of quotes. @returns undefined if a quote stays open */
function endOfOptions(text: Uint8Array): number | undefined {
  let isQuoted = false
  for (let at = 0; at < text.length; at++) {
    if (!isQuoted && isBlank(text[at])) return at
    if (text[at] === BACKSLASH && text[at + 1] === QUOTE) at++
    else if (text[at] === QUOTE) isQuoted = !isQuoted
  }
  return isQuoted ? undefined : text.length
}

function splitWord(text: Uint8Array): readonly [word: Uint8Array, rest: Uint8Array] {
  const at = text.findIndex(isBlank)
  return at === -1 ? [text, text.subarray(text.length)] : [text.subarray(0, at), trim(text.subarray(at))]
}

function trim(text: Uint8Array): Uint8Array {
  let [start, end] = [0, text.length]
  while (start < end && isBlank(text[start])) start++
  while (end > start && (isBlank(text[end - 1]) || text[end - 1] === CR)) end--
  return text.subarray(start, end)
}

function isBlank(byte: number | undefined): boolean {
  return byte === SPACE || byte === TAB
}

function latin1(bytes: Uint8Array): string {
  let text = ''
  for (const byte of bytes) text += String.fromCharCode(byte)
  return text
}

/** An option of a line: its name in lower case, and its value if it has one. */
export interface KeyOption {
  readonly name: string
  readonly value: string | undefined
  /** Whether the value stood in quotes, as sshd demands it. */
  readonly isQuoted: boolean
}

/**
 * Splits options at their commas: `restrict,expiry-time="20270101"`. In a quoted value, `\"` is a quote.
 *
 * @returns undefined if the form is wrong
 */
export function parseKeyOptions(text: string): readonly KeyOption[] | undefined {
  const options: KeyOption[] = []
  let rest = text
  do {
    if (options.length > 0) rest = rest.slice(1)
    const [all, name, quoted, plain] = /^([A-Za-z0-9-]+)(?:="((?:\\"|[^"])*)"|=([^",]*))?(?=,|$)/.exec(rest) ?? []
    if (all === undefined || name === undefined) return undefined
    options.push({ name: name.toLowerCase(), value: quoted?.replaceAll('\\"', '"') ?? plain, isQuoted: quoted !== undefined })
    rest = rest.slice(all.length)
  } while (rest !== '')
  return options
}

/** How an option is written: alone, with a value in quotes, or with a value with or without quotes. */
export type OptionForm = 'alone' | 'quoted' | 'value'

/** The options that sshd knows (sshd(8)), and four that only a relay knows (docs/operations.md). */
export const OPTION_FORMS = Object.freeze({
  restrict: 'alone',
  pty: 'alone',
  'no-pty': 'alone',
  'user-rc': 'alone',
  'no-user-rc': 'alone',
  'port-forwarding': 'alone',
  'no-port-forwarding': 'alone',
  'agent-forwarding': 'alone',
  'no-agent-forwarding': 'alone',
  'x11-forwarding': 'alone',
  'no-x11-forwarding': 'alone',
  'touch-required': 'alone',
  'no-touch-required': 'alone',
  'verify-required': 'alone',
  'cert-authority': 'alone',
  'expiry-time': 'quoted',
  permitopen: 'quoted',
  permitlisten: 'quoted',
  tunnel: 'quoted',
  environment: 'quoted',
  from: 'quoted',
  command: 'quoted',
  principals: 'quoted',
  'send-only': 'alone',
  'receive-only': 'alone',
  'per-sender': 'value',
  mailbox: 'value',
} as const satisfies Record<string, OptionForm>)

export type OptionName = keyof typeof OPTION_FORMS

export interface KnownOption {
  readonly name: OptionName
  /** '' for an option that has none. */
  readonly value: string
}

/** Reads options, of which each must be in {@link OPTION_FORMS} and have its form. @returns the mistake, if there is one */
export function readKeyOptions(text: string): readonly KnownOption[] | 'bad-options' | 'unknown-option' | 'bad-value' {
  if (text === '') return []
  const options = parseKeyOptions(text)
  if (options === undefined) return 'bad-options'
  const known: KnownOption[] = []
  for (const { name, value, isQuoted } of options) {
    if (!isOptionName(name)) return 'unknown-option'
    const form = OPTION_FORMS[name]
    if (form === 'alone' ? value !== undefined : value === undefined || (form === 'quoted' && !isQuoted)) return 'bad-value'
    known.push({ name, value: value ?? '' })
  }
  return known
}

function isOptionName(name: string): name is OptionName {
  return Object.hasOwn(OPTION_FORMS, name)
}
