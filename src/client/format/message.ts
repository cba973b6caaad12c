/**
 * Messages (docs/protocol.md, section 10): what the age file of a payload says. A text header, a body, the sender's
 * signature over both and over whom it is for, then padding to one of a few sizes. Every message that comes has
 * one verdict, and none is thrown away for its verdict here. Pure, also in a browser; the time is an argument.
 */
import type { SshKey } from '../../auth/ssh-key.ts'
import { concat } from '../../auth/ssh-wire.ts'
import { CodedError } from '../../protocol/coded-error.ts'
import { open, sealFor } from './envelope.ts'
import {
  decodeText,
  encodeText,
  fingerprintOf,
  formatKey,
  formatTime,
  isFileName,
  isFingerprint,
  isId,
  parseKey,
  parseNumber,
  parseTime,
} from './field.ts'
import type { Identity } from './identity.ts'
import { byName, encodeHeader, isSignedBy, parseHeader, sign, split, versionOf, type Header } from './signed.ts'

/** What a message can be encrypted and addressed to. */
export interface Correspondent {
  readonly key: SshKey
  /** Of the card, where it has one: an age recipient instead of the key. */
  readonly recipient?: string
}

/** From the first to the last of them, counted from 1. */
export type PartRange = readonly [first: number, last: number]

export type Content =
  | { readonly type: 'text'; readonly text: string; readonly replyTo?: string }
  | { readonly type: 'receipt'; readonly state: 'delivered' | 'read'; readonly ids: readonly string[] }
  | FilePart
  /** What the receiver of a file has of it: `done` when it is whole and its hash is right, `refused` when it is not wanted. */
  | { readonly type: 'have'; readonly file: string; readonly parts: readonly PartRange[] | 'done' | 'refused' }
  | { readonly type: 'edit'; readonly of: string; readonly text: string }
  | { readonly type: 'remove'; readonly of: string }
  /** A card's text, not looked at. */
  | { readonly type: 'card'; readonly card: string }
  /** A group card's text, not looked at; the envelope names the group. */
  | { readonly type: 'group'; readonly card: string }
  | { readonly type: 'leave' }
  /** Of a later version: to be shown as such. */
  | { readonly type: 'unknown'; readonly name: string; readonly body: Uint8Array }

export interface FilePart {
  readonly type: 'file'
  readonly file: string
  /** A safe one: {@link isFileName}. */
  readonly name: string
  /** Bytes of the whole file. */
  readonly total: number
  /** SHA-256 of the whole file, 64 hexadecimal digits. */
  readonly hash: string
  /** From 1 to {@link countParts}; 0 is an offer, without bytes. */
  readonly part: number
  readonly bytes: Uint8Array
}

export interface Envelope {
  readonly id: string
  /** Proven only where the verdict is not `forged`. */
  readonly from: SshKey
  /** A fingerprint, `SHA256:…`. */
  readonly to: string
  /** Seconds since 1970. */
  readonly time: number
  /** The message that the sender sent to the receiver before. */
  readonly after?: string
  readonly group?: string
  readonly content: Content
}

/** From the first that applies. Only `genuine`, and marked as such `future` and `stale`, may change anything. */
export type Verdict = Opened['verdict']

export type Opened =
  /** No age file that this identity opens. */
  | { readonly verdict: 'unreadable' }
  /** What somebody sent with age alone. */
  | { readonly verdict: 'unsigned'; readonly text: Uint8Array }
  /** Of a version that is not known here; cut off; not written as a message is. */
  | { readonly verdict: 'unknown-version' | 'truncated' | 'malformed' }
  | {
      readonly verdict:
        /** The signature is not good, or not by the sender that is named. */
        | 'forged'
        /** To another key: somebody passed it on. */
        | 'readdressed'
        /** It came before. */
        | 'replayed'
        /** From more than 10 minutes ahead. */
        | 'future'
        /** From more than 14 days ago: too old to tell whether it came before. */
        | 'stale'
        | 'genuine'
      readonly envelope: Envelope
    }

/** Which messages came before. */
export interface SeenBefore {
  has(from: Pick<SshKey, 'fingerprint'>, id: string): boolean
  /** Of messages from before this time, in seconds, it cannot tell any more. */
  readonly since?: number
}

export type MessageErrorCode = 'too-large' | 'no-recipient'

const TEXTS = {
  'too-large': 'that is too much for one message',
  'no-recipient': 'nothing can be encrypted to that key: it takes the card of its owner',
} as const satisfies Record<MessageErrorCode, string>

export class MessageError extends CodedError<MessageErrorCode> {
  constructor(code: MessageErrorCode) {
    super('MessageError', code, TEXTS[code])
  }
}

const NAMESPACE = 'asfaleia-message'
const FORM = 'asfaleia-message'
const VERSION = `${FORM}/1`

/**
 * The sizes of what is encrypted, in bytes. The largest, to any key, is an age file of at most 24,576 bytes: 32,768
 * characters of base64, the payload that relays take by default.
 */
export const PADDED_BYTES = [4_096, 8_192, 22_528] as const
/** What a file is cut into: with the header and signature of any key, a part fits the largest size. */
export const PART_BYTES = 16_384
/** Parts of a file, so that one has at most a GiB. */
export const PARTS = 65_536
export const RECEIPT_IDS = 256
/** Ranges of one `have`: which need not say all. */
export const HAVE_RANGES = 1_024

/** Seconds. */
export const FUTURE = 600
export const STALE = 14 * 86_400

const HEADER_BYTES = 8_192
/** Relays may be set to larger payloads than ours by default; beyond this nothing is looked at. */
const OPENED_BYTES = 1_048_576
const LF = 0x0a
const NOTHING = new Uint8Array(0)

/** How many parts a file of that many bytes has: an empty one, too, has one. */
export const countParts = (total: number): number => Math.max(1, Math.ceil(total / PART_BYTES))

/**
 * Bytes of a body that surely fit a message of this key's, whatever headers it has.
 */
export function roomFor(key: SshKey): number {
  // SSHSIG: magic, version, the key, namespace, reserved, hash; the signature has at most 26 bytes around its numbers.
  const { material, blob, type } = key
  const numbers = material.kind === 'rsa' ? material.modulus.length : material.kind === 'ecdsa' ? material.point.length + 10 : 64
  const signature = 6 + 4 + (4 + blob.length) + (4 + NAMESPACE.length) + 4 + 10 + (4 + 4 + Math.max(type.length, 12) + 4 + numbers + 5)
  const digits = 4 * Math.ceil(signature / 3)
  const armored = 58 + digits + Math.ceil(digits / 70)
  const others = 1_024
  return PADDED_BYTES[2] - armored - formatKey(key).length - others
}

/**
 * A message as its age file.
 *
 * @param message.most bytes of an age file that the relay takes
 * @throws {MessageError} `too-large` where it fits no size; `no-recipient` where nothing can be encrypted to the receiver
 * @throws {TypeError} on what no receiver would take: an id, a name or numbers of another form
 */
export async function encodeMessage(
  identity: Pick<Identity, 'key' | 'sign'>,
  message: Omit<Envelope, 'from' | 'to'> & { readonly to: Correspondent; readonly most?: number },
): Promise<Uint8Array> {
  const { to, most = Infinity } = message
  const { headers, body } = encodeContent(message.content)
  const optional = (name: string, value: string | undefined): Header[] => (value === undefined ? [] : [[name, value]])
  const header = encodeHeader(VERSION, [
    ['type', message.content.type === 'unknown' ? message.content.name : message.content.type],
    ['from', formatKey(identity.key)],
    ['to', fingerprintOf(to.key)],
    ['id', message.id],
    ['time', formatTime(message.time)],
    ...optional('after', message.after),
    ...optional('group', message.group),
    ...headers,
  ])
  const signed = concat(header, Uint8Array.of(LF), body, Uint8Array.of(LF))
  if (parseSigned(signed) === undefined) throw new TypeError('no receiver takes a message like that')
  const text = await sign(identity, NAMESPACE, signed)
  const size = PADDED_BYTES.find((each) => each >= text.length)
  if (size === undefined) throw new MessageError('too-large')
  const padded = new Uint8Array(size).fill(LF)
  padded.set(text)
  if (to.recipient === undefined && !to.key.canDecrypt) throw new MessageError('no-recipient')
  const payload = await sealFor(to, padded)
  if (payload.length > most) throw new MessageError('too-large')
  return payload
}

/**
 * Opens a payload and judges what is in it. Marks nothing as seen: that is for whoever showed or stored it. The time
 * is in seconds since 1970.
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

/** As {@link openMessage}, of what was decrypted. @param receiver whose it should be */
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
  if (!(await isSignedBy(from, NAMESPACE, parts))) return { verdict: 'forged', envelope }
  if (to !== fingerprintOf(receiver)) return { verdict: 'readdressed', envelope }
  if (seen?.has(from, id) === true) return { verdict: 'replayed', envelope }
  if (time > now + FUTURE) return { verdict: 'future', envelope }
  if (time < Math.max(now - STALE, seen?.since ?? -Infinity)) return { verdict: 'stale', envelope }
  return { verdict: 'genuine', envelope }
}

/** Where the empty line begins. */
function findBody(signed: Uint8Array): number | undefined {
  const most = Math.min(signed.length - 1, HEADER_BYTES)
  for (let at = 0; at < most; at++) if (signed[at] === LF && signed[at + 1] === LF) return at + 1
  return undefined
}

/** @returns undefined where anything in it is not as it has to be */
function parseSigned(signed: Uint8Array): Envelope | undefined {
  const at = findBody(signed)
  // The body's own line end comes after the empty line.
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
  const content = decodeContent(header, signed.subarray(at + 1, -1))
  if (content === undefined) return undefined
  return {
    id,
    from,
    to,
    time,
    ...(after === undefined ? {} : { after }),
    ...(group === undefined ? {} : { group }),
    content,
  }
}

/** A content's own headers, and its body. */
function encodeContent(content: Content): { headers: Header[]; body: Uint8Array } {
  switch (content.type) {
    case 'text':
      return { headers: content.replyTo === undefined ? [] : [['reply-to', content.replyTo]], body: encodeText(content.text) }
    case 'receipt':
      return { headers: [['state', content.state]], body: encodeText(content.ids.join('\n')) }
    case 'file': {
      const { file, name, total, hash, part } = content
      const headers: Header[] = [
        ['file', file],
        ['name', name],
        ['total', String(total)],
        ['hash', hash],
        ['part', `${part}/${countParts(total)}`],
      ]
      return { headers, body: content.bytes }
    }
    case 'have': {
      const { file, parts } = content
      const body = typeof parts === 'string' ? parts : parts.map(formatRange).join(' ')
      return { headers: [['file', file]], body: encodeText(body) }
    }
    case 'edit':
      return { headers: [['of', content.of]], body: encodeText(content.text) }
    case 'remove':
      return { headers: [['of', content.of]], body: NOTHING }
    case 'card':
    case 'group':
      return { headers: [], body: encodeText(content.card) }
    case 'leave':
      return { headers: [], body: NOTHING }
    case 'unknown':
      return { headers: [], body: content.body }
  }
}

const formatRange = ([first, last]: PartRange): string => (first === last ? String(first) : `${first}-${last}`)

/** @returns undefined where a header of the type is missing or wrong, or the body is not what the type has */
function decodeContent(header: ReadonlyMap<string, string>, body: Uint8Array): Content | undefined {
  const type = header.get('type') ?? ''
  switch (type) {
    case 'text': {
      const text = decodeText(body)
      const replyTo = header.get('reply-to')
      if (text === undefined || (replyTo !== undefined && !isId(replyTo))) return undefined
      return { type, text, ...(replyTo === undefined ? {} : { replyTo }) }
    }
    case 'receipt':
      return decodeReceipt(header, decodeText(body))
    case 'file':
      return decodeFile(header, body)
    case 'have':
      return decodeHave(header, decodeText(body))
    case 'edit': {
      const of = header.get('of') ?? ''
      const text = decodeText(body)
      return isId(of) && text !== undefined ? { type, of, text } : undefined
    }
    case 'remove': {
      const of = header.get('of') ?? ''
      return isId(of) && body.length === 0 ? { type, of } : undefined
    }
    case 'card': {
      const card = decodeText(body)
      return card === undefined ? undefined : { type, card }
    }
    case 'group': {
      const card = decodeText(body)
      return card === undefined || !header.has('group') ? undefined : { type, card }
    }
    case 'leave':
      return body.length === 0 && header.has('group') ? { type } : undefined
  }
  return /^[a-z][a-z0-9-]{0,31}$/.test(type) ? { type: 'unknown', name: type, body: body.slice() } : undefined
}

function decodeReceipt(header: ReadonlyMap<string, string>, body: string | undefined): Content | undefined {
  const state = header.get('state')
  // An id and its line end have 23 characters.
  if (body === undefined || body.length > 23 * RECEIPT_IDS || (state !== 'delivered' && state !== 'read')) return undefined
  const ids = body.split('\n')
  return ids.every(isId) ? { type: 'receipt', state, ids } : undefined
}

function decodeFile(header: ReadonlyMap<string, string>, bytes: Uint8Array): FilePart | undefined {
  const field = (name: string): string => header.get(name) ?? ''
  const [file, name, hash] = [field('file'), field('name'), field('hash')]
  const total = parseNumber(field('total'), 0, PARTS * PART_BYTES)
  if (!isId(file) || !isFileName(name) || !/^[0-9a-f]{64}$/.test(hash) || total === undefined) return undefined
  const [number = '', of = '', ...more] = field('part').split('/')
  const count = countParts(total)
  const part = parseNumber(number, 0, count)
  if (part === undefined || parseNumber(of, count, count) === undefined || more.length > 0) return undefined
  const length = part === 0 ? 0 : part < count ? PART_BYTES : total - (count - 1) * PART_BYTES
  return bytes.length === length ? { type: 'file', file, name, total, hash, part, bytes: bytes.slice() } : undefined
}

function decodeHave(header: ReadonlyMap<string, string>, body: string | undefined): Content | undefined {
  const file = header.get('file') ?? ''
  if (!isId(file) || body === undefined) return undefined
  if (body === 'done' || body === 'refused') return { type: 'have', file, parts: body }
  const texts = body === '' ? [] : body.split(' ', HAVE_RANGES + 1)
  if (texts.length > HAVE_RANGES) return undefined
  const parts: PartRange[] = []
  let before = -1
  for (const text of texts) {
    const [one = '', other = one, ...more] = text.split('-')
    const first = parseNumber(one, 1, PARTS)
    const last = parseNumber(other, first ?? 1, PARTS)
    // Ascending, with a gap between two: the same parts have one spelling.
    if (first === undefined || last === undefined || more.length > 0 || first <= before + 1) return undefined
    if (formatRange([first, last]) !== text) return undefined
    parts.push([first, last])
    before = last
  }
  return { type: 'have', file, parts }
}
