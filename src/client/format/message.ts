/**
 * Messages (docs/protocol.md, section 10), the plaintext of a payload's age file: a text header, a body, the sender's
 * signature over both and over the receiver, then padding to one of three sizes. Opening a message gives it exactly
 * one verdict and discards nothing. Pure, with the time as an argument; runs in a browser too.
 */
import type { SshKey } from '../../auth/ssh-key.ts'
import { concat } from '../../auth/ssh-wire.ts'
import { CodedError } from '../../protocol/coded-error.ts'
import { type Answer, ANSWER, decodeAnswer, encodeAnswer } from './answer.ts'
import { type Content, decodeContent, encodeContent } from './content.ts'
import { open, sealFor } from './envelope.ts'
import { encodeText, fingerprintOf, formatKey, formatTime, isFingerprint, isId, parseKey, parseNumber, parseTime } from './field.ts'
import type { Identity } from './identity.ts'
import { byName, encodeHeader, isSignedBy, parseHeader, sign, split, versionOf, type Header } from './signed.ts'

/** The receiver of a message. */
export interface Correspondent {
  readonly key: SshKey
  /** The age recipient (`age1…`) to encrypt to instead of the key, if the receiver's card has one. */
  readonly recipient?: string
}

/** A message with its headers. */
export interface Envelope extends Answer {
  readonly id: string
  /** The sender. Not proven if the verdict is `forged`. */
  readonly from: SshKey
  /** The receiver's fingerprint, `SHA256:…`. */
  readonly to: string
  /** Seconds since 1970. */
  readonly time: number
  /** The id of the previous message from this sender to this receiver. */
  readonly after?: string
  /** The id of the group that the message was sent to. */
  readonly group?: string
  /** How many seconds after it was read the message shall disappear, from 5 s to 90 days: a request to the receiver. */
  readonly expires?: number
  /** A card's link, in a message to a person who may not have it. `introductionOf` checks whose it is. */
  readonly card?: string
  readonly content: Content
}

/**
 * The first verdict of {@link Opened} that applies. A program may act on `genuine` messages, and on `future` and
 * `stale` ones if it marks them as such; the others must not change anything.
 */
export type Verdict = Opened['verdict']

/** A payload after decryption, with its verdict. */
export type Opened =
  /** The payload is not an age file that this identity opens. */
  | { readonly verdict: 'unreadable' }
  /** The text is not an Asfaleia message: a person may have encrypted it with age alone. */
  | { readonly verdict: 'unsigned'; readonly text: Uint8Array }
  /** A later version; cut off or continued after its signature; against the rules of section 10. */
  | { readonly verdict: 'unknown-version' | 'truncated' | 'malformed' }
  | {
      readonly verdict:
        /** The signature is wrong, or another key than the sender's made it. */
        | 'forged'
        /** This browser cannot check the signature of this type of key: the message may be genuine or forged. */
        | 'unverifiable'
        /** The message is addressed to another key, and a third party passed it on. */
        | 'readdressed'
        /** The message came before. */
        | 'replayed'
        /** The message is dated more than 10 minutes ahead. */
        | 'future'
        /** The message is more than 14 days old: too old to know whether it came before. */
        | 'stale'
        | 'genuine'
      readonly envelope: Envelope
    }

/** Tells which messages came before. */
export interface SeenBefore {
  has(from: Pick<SshKey, 'fingerprint'>, id: string): boolean
  /** Seconds since 1970. It no longer knows about messages from before this time. */
  readonly since?: number
}

/** Why a message cannot be made. */
export type MessageErrorCode = 'too-large' | 'no-recipient'

const TEXTS = {
  'too-large': 'the content is too large for one message',
  'no-recipient': 'this key can only sign, so messages cannot be encrypted to it; use the card of its owner',
} as const satisfies Record<MessageErrorCode, string>

/** Thrown for a message that cannot be made. */
export class MessageError extends CodedError<MessageErrorCode> {
  constructor(code: MessageErrorCode) {
    super('MessageError', code, TEXTS[code])
  }
}

const NAMESPACE = 'asfaleia-message'
const FORM = 'asfaleia-message'
const VERSION = `${FORM}/1`

/**
 * Sizes of the padded plaintext, in bytes. Encrypted to any key, the largest becomes an age file of at most 24,576
 * bytes, which is 32,768 characters of base64: the largest payload that relays accept by default.
 */
export const PADDED_BYTES = [4_096, 8_192, 22_528] as const

/** Seconds that a message may be ahead of the receiver's clock, and that it may be old. */
export const FUTURE = 600
export const STALE = 14 * 86_400

/** Bounds of `expires`, in seconds: 5 seconds and 90 days. */
export const EXPIRES = { least: 5, most: 90 * 86_400 } as const

const HEADER_BYTES = 8_192
/** Most bytes of a payload to decrypt. Relays may be configured to accept larger payloads than by default. */
export const OPENED_BYTES = 1_048_576
const LF = 0x0a

/** Characters of a recipient `age1pq1…`. */
const KEY_CHARACTERS = 1_959
/** `left`, `begin` and the spaces between keys. */
const ANSWER_CHARACTERS = 128

/**
 * Returns how many one-time keys fit a message besides its content and its other headers: 0 to 3. A receiver's mailbox
 * has larger messages for each of them.
 */
export function countRoom(key: SshKey, message: Omit<Envelope, 'from' | 'to' | 'keys' | 'left' | 'begin'>): number {
  const to = `SHA256:${'A'.repeat(43)}`
  const { header, body } = encodeParts(key, { ...message, to })
  const others = header.length + ANSWER_CHARACTERS
  const room = Math.min(HEADER_BYTES, PADDED_BYTES[2] - body.length - countArmor(key) - 2) - others
  return Math.max(0, Math.min(ANSWER.keys, Math.floor(room / KEY_CHARACTERS)))
}

/** Returns the most bytes of this key's armored signature. */
function countArmor({ material, blob, type }: SshKey): number {
  // SSHSIG: magic, version, key, namespace, reserved, hash, and a signature with at most 26 bytes around its numbers.
  const numbers = material.kind === 'rsa' ? material.modulus.length : material.kind === 'ecdsa' ? material.point.length + 10 : 64
  const signature = 6 + 4 + (4 + blob.length) + (4 + NAMESPACE.length) + 4 + 10 + (4 + 4 + Math.max(type.length, 12) + 4 + numbers + 5)
  const digits = 4 * Math.ceil(signature / 3)
  return 58 + digits + Math.ceil(digits / 70)
}

/** Returns how many bytes of body always fit a message that this key signs, whatever its headers. */
export function roomFor(key: SshKey): number {
  const others = 1_024
  return PADDED_BYTES[2] - countArmor(key) - formatKey(key).length - others
}

/**
 * Signs a message, pads it and encrypts it to its receiver.
 *
 * @param message.most most bytes of an age file that the relay accepts
 * @returns an age file
 * @throws {MessageError} `too-large` if no size fits; `no-recipient` if the receiver's key only signs and there is no
 *   `recipient`
 * @throws {TypeError} if a receiver would reject the message: an id, a name or a number is malformed
 */
export async function encodeMessage(
  identity: Pick<Identity, 'key' | 'sign'>,
  message: Omit<Envelope, 'from' | 'to'> & { readonly to: Correspondent; readonly most?: number },
): Promise<Uint8Array> {
  const { to, most = Infinity } = message
  const padded = await writeMessage(identity, { ...message, to: fingerprintOf(to.key) })
  if (to.recipient === undefined && !to.key.canDecrypt) throw new MessageError('no-recipient')
  const payload = await sealFor(to, padded)
  if (payload.length > most) throw new MessageError('too-large')
  return payload
}

/**
 * Signs a message and pads it. The text can be encrypted several times (`sealTo` of envelope.ts).
 *
 * @throws {MessageError} `too-large` if no size fits
 * @throws {TypeError} if a receiver would reject the message
 */
export async function writeMessage(identity: Pick<Identity, 'key' | 'sign'>, message: Omit<Envelope, 'from'>): Promise<Uint8Array> {
  const { header, body } = encodeParts(identity.key, message)
  const signed = concat(header, Uint8Array.of(LF), body, Uint8Array.of(LF))
  if (parseSigned(signed) === undefined) throw new TypeError('the message is malformed: check its ids, names and numbers')
  const text = await sign(identity, NAMESPACE, signed)
  const size = PADDED_BYTES.find((each) => each >= text.length)
  if (size === undefined) throw new MessageError('too-large')
  const padded = new Uint8Array(size).fill(LF)
  padded.set(text)
  return padded
}

function encodeParts(key: SshKey, message: Omit<Envelope, 'from'>): { header: Uint8Array; body: Uint8Array } {
  const { headers, body } = encodeContent(message.content)
  const optional = (name: string, value: string | undefined): Header[] => (value === undefined ? [] : [[name, value]])
  const header = encodeHeader(VERSION, [
    ['type', message.content.type === 'unknown' ? message.content.name : message.content.type],
    ['from', formatKey(key)],
    ['to', message.to],
    ['id', message.id],
    ['time', formatTime(message.time)],
    ...optional('after', message.after),
    ...optional('group', message.group),
    ...optional('expires', message.expires === undefined ? undefined : String(message.expires)),
    ...optional('card', message.card),
    ...headers,
    ...encodeAnswer(message),
  ])
  return { header, body }
}

/**
 * Decrypts a payload and returns the message with its verdict. Does not mark the message as seen; the caller does so
 * once the message is shown or stored. `now` is in seconds since 1970; without `seen`, no message is `replayed`.
 */
export async function openMessage(
  identity: Pick<Identity, 'key' | 'opens'>,
  payload: Uint8Array,
  { now, seen }: { readonly now: number; readonly seen?: SeenBefore },
): Promise<Opened> {
  const text = payload.length > OPENED_BYTES ? undefined : await open(identity, payload)
  return text === undefined ? { verdict: 'unreadable' } : judge(identity.key, text, { now, ...(seen === undefined ? {} : { seen }) })
}

const START = encodeText(`${FORM}/`)

/** Does the same as {@link openMessage} for a text that is decrypted already. @param receiver the key that opened it */
export async function judge(
  receiver: Pick<SshKey, 'fingerprint'>,
  text: Uint8Array,
  { now, seen }: { readonly now: number; readonly seen?: SeenBefore },
): Promise<Opened> {
  if (!START.every((byte, n) => text[n] === byte)) return { verdict: 'unsigned', text }
  const version = versionOf(FORM, text)
  if (version !== undefined && version !== '1') return { verdict: 'unknown-version' }
  const parts = split(text)
  if (parts === undefined || !parts.rest.every((byte) => byte === LF)) return { verdict: 'truncated' }
  const envelope = parseSigned(parts.signed)
  if (envelope === undefined) return { verdict: 'malformed' }
  const { from, to, id, time } = envelope
  const isGood = await isSignedBy(from, NAMESPACE, parts)
  if (isGood === undefined) return { verdict: 'unverifiable', envelope }
  if (!isGood) return { verdict: 'forged', envelope }
  if (to !== fingerprintOf(receiver)) return { verdict: 'readdressed', envelope }
  if (seen?.has(from, id) === true) return { verdict: 'replayed', envelope }
  if (time > now + FUTURE) return { verdict: 'future', envelope }
  if (time < Math.max(now - STALE, seen?.since ?? -Infinity)) return { verdict: 'stale', envelope }
  return { verdict: 'genuine', envelope }
}

/** Returns the index of the empty line's LF. */
function findBody(signed: Uint8Array): number | undefined {
  const most = Math.min(signed.length - 1, HEADER_BYTES)
  for (let at = 0; at < most; at++) if (signed[at] === LF && signed[at + 1] === LF) return at + 1
  return undefined
}

/** Parses a message up to its signature. @returns undefined if any part is malformed */
function parseSigned(signed: Uint8Array): Envelope | undefined {
  const at = findBody(signed)
  // The LF that ends the body comes after the empty line.
  if (at === undefined || at + 1 >= signed.length || signed.at(-1) !== LF) return undefined
  const parsed = parseHeader(signed.subarray(0, at))
  if (parsed === undefined || parsed.form !== VERSION) return undefined
  const header = byName(parsed.headers)
  if (header === undefined) return undefined
  const from = parseKey(header.get('from') ?? '')
  const to = header.get('to') ?? ''
  const id = header.get('id') ?? ''
  const time = parseTime(header.get('time') ?? '')
  if (from === undefined || !isFingerprint(to) || !isId(id) || time === undefined) return undefined
  const after = header.get('after')
  const group = header.get('group')
  if ((after !== undefined && !isId(after)) || (group !== undefined && !isId(group))) return undefined
  const lifetime = header.get('expires')
  const expires = lifetime === undefined ? undefined : parseNumber(lifetime, EXPIRES.least, EXPIRES.most)
  if (lifetime !== undefined && expires === undefined) return undefined
  const content = decodeContent(header, signed.subarray(at + 1, -1))
  const answer = decodeAnswer(header, fingerprintOf(from))
  if (content === undefined || answer === undefined) return undefined
  const card = header.get('card')
  return {
    id,
    from,
    to,
    time,
    ...(after === undefined ? {} : { after }),
    ...(group === undefined ? {} : { group }),
    ...(expires === undefined ? {} : { expires }),
    ...(card === undefined ? {} : { card }),
    ...answer,
    content,
  }
}
