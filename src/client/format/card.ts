/**
 * Cards: a person's name, key and relays, signed by the key (docs/protocol.md, section 11). A card is a text, or a
 * link of one line; both are the same card, each has one spelling but for a link's percent signs. Nothing here
 * decides whom to trust: a good card proves that who has the key wrote it. Pure, also in a browser.
 */
import { base64urlnopad, bech32 } from '@scure/base'
import { parseKeyBlob, type SshKey } from '../../auth/ssh-key.ts'
import { concat } from '../../auth/ssh-wire.ts'
import { CodedError } from '../../protocol/coded-error.ts'
import { DEFAULT_RELAY_PORT, isOnion } from '../../transport/address.ts'
import { decodeText, encodeText, formatKey, formatTime, isName, parseKey, parseTime } from './field.ts'
import type { Identity } from './identity.ts'
import { armor, encodeHeader, isSignedBy, parseHeader, sign, split, versionOf, type Header } from './signed.ts'

export interface Card {
  readonly name: string
  readonly key: SshKey
  /** Where to send to, the preferred first: `….onion` or `localhost`, and `:port` where it is not 3308. */
  readonly relays: readonly string[]
  /** The age recipient that messages are encrypted to, where it is not the key itself. */
  readonly encrypt?: string
  /** When it was made, in seconds since 1970. */
  readonly time: number
  /** The card as text, signature included. */
  readonly text: string
  /** The card as one line, `asfaleia:card/1?…`. */
  readonly link: string
}

const TEXTS = {
  'not-a-card': 'this is no card of asfaleia',
  'unknown-version': 'the card is of a version that this program does not know',
  truncated: 'the card is cut off, or has something after its end',
  malformed: 'the card is not written as a card is',
  'bad-name': 'a name has 1 to 64 characters, none of them invisible, and no space at an end',
  'bad-key': 'the key is not one that can be used here',
  'bad-relay': 'a card has 1 to 8 relays, each once: an onion address or localhost, and a port',
  'bad-recipient': 'a key that cannot decrypt needs an age1… recipient beside it',
  'bad-time': 'the time is not one',
  forged: 'the signature is not one of the key, or something was changed',
} as const

export type CardErrorCode = keyof typeof TEXTS

export class CardError extends CodedError<CardErrorCode> {
  constructor(code: CardErrorCode) {
    super('CardError', code, TEXTS[code])
  }
}

const NAMESPACE = 'asfaleia-card'
const FORM = 'asfaleia-card'
const VERSION = `${FORM}/1`
const LINK = 'asfaleia:card/1?'
/** A name of percent signs alone, eight relays, and a key and a signature of 8,192 bits. */
const CARD_CHARACTERS = 16_384
const HEADER_BYTES = 8_192
const RELAYS = 8

type Facts = Omit<Card, 'text' | 'link'>

/**
 * @param card.relays in any spelling that {@link normalizeRelay} takes
 * @param card.time in seconds since 1970
 * @throws {CardError} `bad-name`, `bad-relay`, `bad-recipient` or `bad-time`, and what the identity throws when it signs
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
 * A card whose signature is good.
 *
 * @param textOrLink exactly: nothing before it and nothing after it
 * @throws {CardError}
 */
export async function parseCard(textOrLink: string): Promise<Card> {
  const { facts, blob } = textOrLink.startsWith('asfaleia:') ? parseLink(textOrLink) : parseText(textOrLink)
  const signed = encodeFacts(checkFacts(facts))
  if (!(await isSignedBy(facts.key, NAMESPACE, { signed, blob }))) throw new CardError('forged')
  return finish(facts, signed, blob)
}

/** As a card has it: in lower case, without the usual port; undefined for what no card may have. */
export function normalizeRelay(relay: string): string | undefined {
  const [, host, port] = /^([a-z0-9.]{1,62})(?::(\d{1,5}))?$/.exec(relay.toLowerCase()) ?? []
  if (host === undefined || (host !== 'localhost' && !(host.length === 62 && isOnion(host)))) return undefined
  const number = Number(port ?? DEFAULT_RELAY_PORT)
  if (number < 1 || number > 65_535) return undefined
  return number === DEFAULT_RELAY_PORT ? host : `${host}:${number}`
}

/** `age1…`: an X25519 recipient of age's, by its checksum. */
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
  // One card, one text: another order, a line that is not known and other line lengths are no other spellings of it.
  if (decodeText(concat(encodeFacts(facts), armor(parts.blob))) !== text) refuse('malformed')
  return { facts, blob: parts.blob }
}

/** @param headers of a text, or a link's fields; their order is looked at by whoever encodes them again */
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

/** What may stand in a link as it is: RFC 3986's unreserved characters, and the colon of times and ports. */
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
  // Whoever passed the link on may have written other characters with percent signs, or in small letters.
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
