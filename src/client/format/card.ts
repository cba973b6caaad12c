/**
 * Contact cards (docs/protocol.md, section 11): a person's name, key and relays, signed by that key. A card has two
 * forms, a text and a link of one line, and one spelling of each; only the percent-encoding of a link may vary. A valid
 * card proves that the holder of the key wrote it, and nothing about who that is. Pure; runs in a browser too.
 */
import { base64urlnopad, bech32 } from '@scure/base'
import { parseKeyBlob, type SshKey } from '../../auth/ssh-key.ts'
import { concat } from '../../auth/ssh-wire.ts'
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
  /** Relays to send to, the preferred one first: `….onion` or `localhost`, and `:port` unless it is 3308. */
  readonly relays: readonly string[]
  /** The age recipient (`age1…`) to encrypt to instead of the key. A key that only signs must have one. */
  readonly encrypt?: string
  /** Seconds since 1970 when the card was made. */
  readonly time: number
  /** The card as text, signature included. */
  readonly text: string
  /** The card as one line, `asfaleia:card/1?…`. */
  readonly link: string
}

const TEXTS = {
  'not-a-card': 'this is not an Asfaleia card',
  'unknown-version': 'the card has a version that this program does not know',
  truncated: 'the card is cut off, or text follows its end',
  malformed: 'the card is malformed',
  'bad-name': 'a name has 1 to 64 visible characters and no space at its start or end',
  'bad-key': 'the key of the card is malformed, too weak or of an unsupported type',
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
const VERSION = `${FORM}/1`
const LINK = 'asfaleia:card/1?'
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
 * @throws {CardError} `bad-name`, `bad-relay`, `bad-recipient` or `bad-time`; also errors of the identity's `sign`
 */
export async function makeCard(
  identity: Pick<Identity, 'key' | 'sign' | 'recipient'>,
  card: { readonly name: string; readonly relays: readonly string[]; readonly time: number },
): Promise<Card> {
  const { key, recipient } = identity
  const relays = card.relays.map((relay) => normalizeRelay(relay) ?? refuse('bad-relay'))
  const encrypt = recipient === undefined ? {} : { encrypt: recipient }
  const facts = checkFacts({ name: card.name, key, relays, ...encrypt, time: card.time })
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
    return bech32.decodeToBytes(value).bytes.length === 32
  } catch {
    return false
  }
}

function refuse(code: CardErrorCode): never {
  throw new CardError(code)
}

function checkFacts(facts: Facts): Facts {
  const { name, key, relays, encrypt, time } = facts
  if (!isName(name)) refuse('bad-name')
  const sound = relays.every((relay) => normalizeRelay(relay) === relay)
  if (!sound || relays.length < 1 || relays.length > RELAYS || new Set(relays).size < relays.length) refuse('bad-relay')
  if (encrypt === undefined ? !key.canDecrypt : !isRecipient(encrypt)) refuse('bad-recipient')
  if (!Number.isSafeInteger(time) || Math.abs(time) > 1e11 || parseTime(formatTime(time)) !== time) refuse('bad-time')
  return facts
}

function encodeFacts({ name, key, relays, encrypt, time }: Facts): Uint8Array {
  return encodeHeader(VERSION, [
    ['name', name],
    ['key', formatKey(key)],
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
  const version = versionOf(FORM, bytes)
  if (version !== undefined && version !== '1') refuse('unknown-version')
  const parts = split(bytes)
  if (parts === undefined || parts.rest.length > 0) refuse('truncated')
  const parsed = parts.signed.length > HEADER_BYTES ? undefined : parseHeader(parts.signed)
  if (parsed === undefined || parsed.form !== VERSION) refuse('malformed')
  const facts = readFacts(parsed.headers, parseKey)
  // A card has one text: another order of headers, unknown headers and other line lengths are refused.
  if (decodeText(concat(encodeFacts(facts), armor(parts.blob))) !== text) refuse('malformed')
  return { facts, blob: parts.blob }
}

/** @param headers the headers of a text or the fields of a link; the caller checks their order by encoding them */
function readFacts(headers: readonly Header[], readKey: (value: string) => SshKey | undefined): Facts {
  const all = (wanted: string): string[] => headers.filter(([name]) => name === wanted).map(([, value]) => value)
  const [name, key, encrypt, time] = ['name', 'key', 'encrypt', 'time'].map((each) => all(each)[0])
  if (name === undefined || key === undefined || time === undefined) refuse('malformed')
  return {
    name,
    key: readKey(key) ?? refuse('bad-key'),
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

function listFields({ name, key, relays, encrypt, time }: Facts, blob: Uint8Array): Header[] {
  return [
    ['name', name],
    ['key', base64urlnopad.encode(key.blob)],
    ...relays.map((relay): Header => ['relay', relay]),
    ...(encrypt === undefined ? [] : [['encrypt', encrypt] satisfies Header]),
    ['time', formatTime(time)],
    ['sig', base64urlnopad.encode(blob)],
  ]
}

function formatLink(facts: Facts, blob: Uint8Array): string {
  return (
    LINK +
    listFields(facts, blob)
      .map(([field, value]) => `${field}=${encodeField(value)}`)
      .join('&')
  )
}

function parseLink(link: string): Unproven {
  const [, version] = /^asfaleia:card\/([1-9]\d{0,8})\?/.exec(link) ?? refuse('not-a-card')
  if (version !== '1') refuse('unknown-version')
  if (link.length > CARD_CHARACTERS) refuse('malformed')
  const fields = link.slice(LINK.length).split('&').map(parseField)
  const blob = decodeBlob(fields.find(([name]) => name === 'sig')?.[1] ?? '') ?? refuse('truncated')
  const facts = readFacts(fields, readKeyBlob)
  // A program on the way may have escaped more characters, or in lower case, so the unescaped fields are compared.
  const known = listFields(facts, blob)
  const same = known.length === fields.length && known.every(([name, value], n) => name === fields[n]![0] && value === fields[n]![1])
  if (!same) refuse('malformed')
  return { facts, blob }
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
    return blob === undefined ? undefined : parseKeyBlob(blob)
  } catch {
    return undefined
  }
}
