/**
 * Contact cards (docs/protocol.md, section 11): a person's name, key and relays, signed by that key. A card has two
 * forms, a text and a link of one line, and one spelling of each; only the percent-encoding of a link may vary. A valid
 * card proves that the holder of the key wrote it, and nothing about who that is. Pure; runs in a browser too.
 */
import { base64urlnopad, bech32 } from '@scure/base'
import { isAgreeable } from '../../auth/age-hybrid.ts'
import { parseKeyBlob, type SshKey } from '../../auth/ssh-key.ts'
import { encodeEd25519Signature } from '../../auth/sshsig.ts'
import { concat } from '../../auth/ssh-wire.ts'
import { encodeBase64 } from '../../protocol/base64.ts'
import { CodedError } from '../../protocol/coded-error.ts'
import { isOnion } from '../../onion/address.ts'
import { DEFAULT_RELAY_PORT, parseEndpoint } from '../../transport/address.ts'
import { decodeText, encodeText, formatKey, formatTime, isName, parseKey, parseTime } from './field.ts'
import type { Identity } from './identity.ts'
import { armor, encodeHeader, isSignedBy, parseHeader, sign, split, versionOf, type Header } from './signed.ts'

/** A contact card with a valid signature. */
export interface Card {
  readonly name: string
  readonly key: SshKey
  /** The `ssh-ed25519` key of the mailbox for first messages (section 14). A card of version 1 has none. */
  readonly inbox?: SshKey
  /** Relays to send to, the preferred one first: `….onion` or `localhost`, and `:port` unless it is 3308. */
  readonly relays: readonly string[]
  /** The age recipient (`age1…`) to encrypt to instead of the key. A key that only signs must have one. */
  readonly encrypt?: string
  /** Seconds since 1970 when the card was made. */
  readonly time: number
  /** The card as text, signature included. */
  readonly text: string
  /** The card as one line, `asfaleia:card/2:…` or `asfaleia:card/1?…`. */
  readonly link: string
  /** 2 has a shorter link. 1 is for people whose program does not read 2. */
  readonly version: CardVersion
}

export type CardVersion = 1 | 2

const TEXTS = {
  'not-a-card': 'this is not an Asfaleia card',
  'unknown-version': 'the card has a version that this program does not know',
  truncated: 'the card is cut off, or text follows its end',
  malformed: 'the card is malformed',
  'bad-name': 'a name has 1 to 64 visible characters and no space at its start or end',
  'bad-key': 'the key of the card is malformed, too weak or of an unsupported type',
  'bad-inbox': 'the inbox of the card is no ssh-ed25519 key, or the key of the card itself',
  'bad-relay': 'a card has 1 to 8 different relays, each an onion address or localhost with an optional port',
  'bad-recipient': 'the age1… recipient is malformed, or missing although the key can only sign',
  'bad-time': 'the time of the card is malformed or out of range',
  unverifiable: 'the signature of the card cannot be checked in this browser',
  forged: 'the signature does not match: the card was changed, or another key signed it',
} as const

/** Why a card was refused. */
export type CardErrorCode = keyof typeof TEXTS

/** Thrown for a card that is invalid or cannot be made. */
export class CardError extends CodedError<CardErrorCode> {
  constructor(code: CardErrorCode) {
    super('CardError', code, TEXTS[code])
  }
}

const NAMESPACE = 'asfaleia-card'
const FORM = 'asfaleia-card'
/** How a link of each version begins, and what separates its fields. No shell needs quotes for a link of version 2. */
const LINKS = { 1: ['asfaleia:card/1?', '&'], 2: ['asfaleia:card/2:', ','] } as const
/** How many pieces of a broken link are put together. */
const MOST_PIECES = 64
/** The type of an inbox key, and of the keys that a link of version 2 carries as their points. */
const ED25519 = 'ssh-ed25519'
const POINT_BYTES = 32
const SIGNATURE_BYTES = 64
/** The blob of an ed25519 key before its point: the lengths and the type (RFC 8709). */
const ED25519_START = Uint8Array.of(0, 0, 0, 11, ...encodeText(ED25519), 0, 0, 0, POINT_BYTES)
/** Room for a name of percent escapes alone, eight relays, and a key and a signature of 8,192 bits. */
const CARD_CHARACTERS = 16_384
const HEADER_BYTES = 8_192
const RELAYS = 8

type Facts = Omit<Card, 'text' | 'link'>

/**
 * Makes the card of an identity and signs it.
 *
 * @param card.relays in any spelling that {@link normalizeRelay} accepts
 * @param card.time seconds since 1970
 * @param card.version 2 by default
 * @param card.inbox an `ssh-ed25519` key; a card of version 1 leaves it out
 * @throws {CardError} `bad-name`, `bad-inbox`, `bad-relay`, `bad-recipient` or `bad-time`; also errors of the identity's
 *   `sign`
 */
export async function makeCard(
  identity: Pick<Identity, 'key' | 'sign' | 'recipient'>,
  card: Pick<Card, 'name' | 'inbox' | 'relays' | 'time'> & { readonly version?: CardVersion },
): Promise<Card> {
  const { key, recipient } = identity
  const relays = card.relays.map((relay) => normalizeRelay(relay) ?? refuse('bad-relay'))
  const { version = 2, name, time } = card
  const inbox = version === 1 || card.inbox === undefined ? {} : { inbox: card.inbox }
  const encrypt = recipient === undefined ? {} : { encrypt: recipient }
  const facts = checkFacts({ version, name, key, ...inbox, relays, ...encrypt, time })
  const signed = encodeFacts(facts)
  return finish(facts, signed, split(await sign(identity, NAMESPACE, signed))!.blob)
}

/**
 * Parses a card and verifies its signature.
 *
 * @param textOrLink the card alone, without anything before or after it
 * @throws {CardError}
 */
export async function parseCard(textOrLink: string): Promise<Card> {
  const { facts, blob } = textOrLink.startsWith('asfaleia:') ? parseLink(textOrLink) : parseText(textOrLink)
  const signed = encodeFacts(checkFacts(facts))
  const isGood = await isSignedBy(facts.key, NAMESPACE, { signed, blob })
  if (isGood === undefined) throw new CardError('unverifiable')
  if (!isGood) throw new CardError('forged')
  return finish(facts, signed, blob)
}

/**
 * Finds the link of a card in a text: among words, quoted by `> `, broken over lines or by blanks.
 * @returns the first card whose signature is valid, or undefined if the text contains no link
 * @throws {CardError} the reason why the link is not valid
 */
export async function findCard(text: string): Promise<Card | undefined> {
  const start = text.indexOf('asfaleia:card/')
  if (start === -1) return undefined
  const pieces = text
    .slice(start, start + CARD_CHARACTERS)
    .split(/\s+/)
    .map((piece) => piece.replace(/^>+/, ''))
    .filter((piece) => piece !== '')
    .slice(0, MOST_PIECES)
  let problem: CardError | undefined
  let link = ''
  for (const piece of pieces) {
    link += piece
    try {
      // A link ends with a letter, digit, hyphen or underscore, and not with the full stop or bracket after it.
      // The lookbehind keeps the time of a long run of others linear.
      return await parseCard(link.replace(/(?<![^A-Za-z0-9_-])[^A-Za-z0-9_-]+$/, ''))
    } catch (error) {
      if (!(error instanceof CardError)) throw error
      // The first problem is that of the link by itself.
      problem ??= error
    }
  }
  throw problem!
}

/**
 * Returns a relay's address as cards spell it: in lower case and without the default port.
 * @returns undefined if no card may contain it
 */
export function normalizeRelay(relay: string): string | undefined {
  let endpoint
  try {
    endpoint = parseEndpoint(relay, DEFAULT_RELAY_PORT)
  } catch {
    return undefined
  }
  const { host, port: number } = endpoint
  if (host !== 'localhost' && !(host.length === 62 && isOnion(host))) return undefined
  return number === DEFAULT_RELAY_PORT ? host : `${host}:${number}`
}

/** Returns whether the value is an age X25519 recipient, `age1…`, with a valid checksum. */
export function isRecipient(value: string): boolean {
  if (!/^age1[02-9ac-hj-np-z]{58}$/.test(value)) return false
  try {
    const { bytes } = bech32.decodeToBytes(value)
    return bytes.length === 32 && isAgreeable(bytes)
  } catch {
    return false
  }
}

function refuse(code: CardErrorCode): never {
  throw new CardError(code)
}

function checkFacts(facts: Facts): Facts {
  const { name, key, inbox, relays, encrypt, time } = facts
  if (!isName(name)) refuse('bad-name')
  if (inbox !== undefined && (inbox.type !== ED25519 || formatKey(inbox) === formatKey(key))) refuse('bad-inbox')
  if (!areCardRelays(relays)) refuse('bad-relay')
  if (encrypt === undefined ? !key.canDecrypt : !isRecipient(encrypt)) refuse('bad-recipient')
  if (!Number.isSafeInteger(time) || Math.abs(time) > 1e11 || parseTime(formatTime(time)) !== time) refuse('bad-time')
  return facts
}

/** Whether a card can have these relays: 1 to 8 different ones, each in its normal form. */
export function areCardRelays(relays: readonly string[]): boolean {
  const isSound = relays.every((relay) => normalizeRelay(relay) === relay)
  return isSound && relays.length >= 1 && relays.length <= RELAYS && new Set(relays).size === relays.length
}

function encodeFacts({ version, name, key, inbox, relays, encrypt, time }: Facts): Uint8Array {
  return encodeHeader(`${FORM}/${version}`, [
    ['name', name],
    ['key', formatKey(key)],
    ...(inbox === undefined ? [] : [['inbox', formatKey(inbox)] satisfies Header]),
    ...relays.map((relay): Header => ['relay', relay]),
    ...(encrypt === undefined ? [] : [['encrypt', encrypt] satisfies Header]),
    ['time', formatTime(time)],
  ])
}

function finish(facts: Facts, signed: Uint8Array, blob: Uint8Array): Card {
  return Object.freeze({ ...facts, text: decodeText(concat(signed, armor(blob)))!, link: formatLink(facts, blob) })
}

interface Unproven {
  readonly facts: Facts
  readonly blob: Uint8Array
}

function parseText(text: string): Unproven {
  if (!text.startsWith(`${FORM}/`)) refuse('not-a-card')
  if (text.length > CARD_CHARACTERS || !text.isWellFormed()) refuse('malformed')
  const bytes = encodeText(text)
  const version = readVersion(versionOf(FORM, bytes))
  const parts = split(bytes)
  if (parts === undefined || parts.rest.length > 0) refuse('truncated')
  const parsed = parts.signed.length > HEADER_BYTES ? undefined : parseHeader(parts.signed)
  if (parsed === undefined || parsed.form !== `${FORM}/${version}`) refuse('malformed')
  const facts = readFacts(version, parsed.headers, parseKey)
  // A card has one text: another order of headers, unknown headers and other line lengths are refused.
  if (decodeText(concat(encodeFacts(facts), armor(parts.blob))) !== text) refuse('malformed')
  checkSignature(facts, parts.blob)
  return { facts, blob: parts.blob }
}

function readVersion(version: string | undefined): CardVersion {
  if (version === '2') return 2
  // A text without a version is malformed; the caller finds out.
  if (version === '1' || version === undefined) return 1
  return refuse('unknown-version')
}

/** @param headers the headers of a text or the fields of a link; the caller checks their order by encoding them */
function readFacts(version: CardVersion, headers: readonly Header[], readKey: (value: string) => SshKey | undefined): Facts {
  const all = (wanted: string): string[] => headers.filter(([name]) => name === wanted).map(([, value]) => value)
  const [name, key, inbox, encrypt, time] = ['name', 'key', 'inbox', 'encrypt', 'time'].map((each) => all(each)[0])
  if (name === undefined || key === undefined || time === undefined) refuse('malformed')
  return {
    version,
    name,
    key: readKey(key) ?? refuse('bad-key'),
    // In version 1 it is an unknown header.
    ...(version === 1 || inbox === undefined ? {} : { inbox: readKey(inbox) ?? refuse('bad-inbox') }),
    relays: all('relay'),
    ...(encrypt === undefined ? {} : { encrypt }),
    time: parseTime(time) ?? refuse('bad-time'),
  }
}

/** All characters but those that a link has unescaped: RFC 3986's unreserved ones, and the colon of times and ports. */
const RESERVED = /[^A-Za-z0-9\-._~:]/gu

function encodeField(value: string): string {
  const escape = (byte: number): string => `%${byte.toString(16).toUpperCase().padStart(2, '0')}`
  return value.replace(RESERVED, (character) => Array.from(encodeText(character), escape).join(''))
}

function listFields({ version, name, key, inbox, relays, encrypt, time }: Facts, blob: Uint8Array): Header[] {
  const isShort = version === 2 && key.type === ED25519
  return [
    ['name', name],
    ['key', base64urlnopad.encode(isShort ? key.blob.subarray(-POINT_BYTES) : key.blob)],
    ...(inbox === undefined ? [] : [['inbox', base64urlnopad.encode(inbox.blob.subarray(-POINT_BYTES))] satisfies Header]),
    ...relays.map((relay): Header => ['relay', relay]),
    ...(encrypt === undefined ? [] : [['encrypt', encrypt] satisfies Header]),
    ['time', formatTime(time)],
    ['sig', base64urlnopad.encode(isShort ? blob.subarray(-SIGNATURE_BYTES) : blob)],
  ]
}

function formatLink(facts: Facts, blob: Uint8Array): string {
  const [start, separator] = LINKS[facts.version]
  return (
    start +
    listFields(facts, blob)
      .map(([field, value]) => `${field}=${encodeField(value)}`)
      .join(separator)
  )
}

function parseLink(link: string): Unproven {
  const [all, digits] = /^asfaleia:card\/([1-9]\d{0,8})[?:]/.exec(link) ?? refuse('not-a-card')
  const version = readVersion(digits)
  const [start, separator] = LINKS[version]
  if (link.length > CARD_CHARACTERS || all !== start) refuse('malformed')
  const fields = link.slice(start.length).split(separator).map(parseField)
  const bytes = decodeBlob(fields.find(([name]) => name === 'sig')?.[1] ?? '') ?? refuse('truncated')
  const facts = readFacts(version, fields, readKeyBlob)
  const isShort = version === 2 && facts.key.type === ED25519
  if (isShort && bytes.length < SIGNATURE_BYTES) refuse('truncated')
  const blob = isShort && bytes.length === SIGNATURE_BYTES ? encodeEd25519Signature(facts.key, NAMESPACE, bytes) : bytes
  checkSignature(facts, blob)
  // A program on the way may have escaped more characters, or in lower case, so the unescaped fields are compared.
  const known = listFields(facts, blob)
  const same = known.length === fields.length && known.every(([name, value], n) => name === fields[n]![0] && value === fields[n]![1])
  if (!same) refuse('malformed')
  return { facts, blob }
}

/**
 * A link of version 2 has only the 64 bytes of an ed25519 signature, so any other SSHSIG around them is refused: with
 * SHA-256, for example.
 */
function checkSignature({ version, key }: Facts, blob: Uint8Array): void {
  if (version === 1 || key.type !== ED25519) return
  const rebuilt = encodeEd25519Signature(key, NAMESPACE, blob.subarray(-SIGNATURE_BYTES))
  if (rebuilt.length !== blob.length || !rebuilt.every((byte, n) => byte === blob[n])) refuse('malformed')
}

function parseField(field: string): Header {
  const at = field.indexOf('=')
  if (at === -1) refuse('malformed')
  try {
    return [field.slice(0, at), decodeURIComponent(field.slice(at + 1))]
  } catch {
    return refuse('malformed')
  }
}

function decodeBlob(value: string): Uint8Array | undefined {
  try {
    return value === '' ? undefined : base64urlnopad.decode(value)
  } catch {
    return undefined
  }
}

function readKeyBlob(value: string): SshKey | undefined {
  const blob = decodeBlob(value)
  try {
    if (blob?.length === POINT_BYTES) return parseKey(`${ED25519} ${encodeBase64(concat(ED25519_START, blob))}`)
    return blob === undefined ? undefined : parseKeyBlob(blob)
  } catch {
    return undefined
  }
}
