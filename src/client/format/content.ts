/**
 * The content of a message (docs/protocol.md, section 10): its type, the headers of that type, and its body.
 * message.ts puts the envelope and the signature around it. Pure; runs in a browser too.
 */
import { decodeText, encodeText, isFileName, isId, parseNumber } from './field.ts'
import type { Header } from './signed.ts'

/** An inclusive range of a file's parts, counted from 1. */
export type PartRange = readonly [first: number, last: number]

/** The content of a message, by type. Each `of`, `replyTo`, `file` and receipt id is an id of 22 characters. */
export type Content =
  | { readonly type: 'text'; readonly text: string; readonly replyTo?: string }
  | { readonly type: 'receipt'; readonly state: 'delivered' | 'read'; readonly ids: readonly string[] }
  | FilePart
  /** The receiver reports its progress: the parts it has, `done` once the whole file matches its hash, or `refused`. */
  | { readonly type: 'have'; readonly file: string; readonly parts: readonly PartRange[] | 'done' | 'refused' }
  | { readonly type: 'edit'; readonly of: string; readonly text: string }
  | { readonly type: 'remove'; readonly of: string }
  /** The text of a card, not validated. */
  | { readonly type: 'card'; readonly card: string }
  /** The text of a group, not validated. The envelope's `group` is its id. */
  | { readonly type: 'group'; readonly card: string }
  | { readonly type: 'leave' }
  /** Messages that the receiver has no key for, by tag: the sender encrypts them anew. */
  | { readonly type: 'unreadable'; readonly tags: readonly string[] }
  /** A type of a later version. Programs show that they do not know it. */
  | { readonly type: 'unknown'; readonly name: string; readonly body: Uint8Array }

/** A part of a file, or an offer to send one. */
export interface FilePart {
  readonly type: 'file'
  readonly file: string
  /** Safe to use in a folder: {@link isFileName}. */
  readonly name: string
  /** Size of the whole file, in bytes. */
  readonly total: number
  /** SHA-256 of the whole file, 64 hexadecimal digits. */
  readonly hash: string
  /** 1 to {@link countParts}; 0 for an offer, which carries no bytes. */
  readonly part: number
  readonly bytes: Uint8Array
}

/** Bytes of a part. With the header and the signature of any key, a part fits the largest message. */
export const PART_BYTES = 16_384
/** Most parts of a file, which limits a file to 1 GiB. */
export const PARTS = 65_536
/** Most ids in one receipt. */
export const RECEIPT_IDS = 256
/** Most ranges in one `have`, which may leave parts out. */
export const HAVE_RANGES = 1_024

/** Most tags in one report of unreadable messages. */
export const UNREADABLE_TAGS = 64

const NOTHING = new Uint8Array(0)

/** Whether later messages name such a message in `after`. Its sender repeats it until the receiver confirms it. */
export const isChained = ({ type }: Content): boolean => !['file', 'have', 'receipt', 'unreadable'].includes(type)

/** Returns how many parts a file of `total` bytes has; an empty file has one. */
export const countParts = (total: number): number => Math.max(1, Math.ceil(total / PART_BYTES))

/** Returns the headers that the content's type has, and the body. */
export function encodeContent(content: Content): { headers: Header[]; body: Uint8Array } {
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
    case 'unreadable':
      return { headers: [], body: encodeText(content.tags.join('\n')) }
    case 'unknown':
      return { headers: [], body: content.body }
  }
}

const formatRange = ([first, last]: PartRange): string => (first === last ? String(first) : `${first}-${last}`)

/**
 * Reads the content of a message from its headers and body.
 * @returns undefined if a header of the type is missing or malformed, or the body does not fit the type
 */
export function decodeContent(header: ReadonlyMap<string, string>, body: Uint8Array): Content | undefined {
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
    case 'unreadable': {
      const tags = decodeIds(decodeText(body), UNREADABLE_TAGS)
      return tags === undefined || new Set(tags).size < tags.length ? undefined : { type, tags }
    }
  }
  return /^[a-z][a-z0-9-]{0,31}$/.test(type) ? { type: 'unknown', name: type, body: body.slice() } : undefined
}

function decodeReceipt(header: ReadonlyMap<string, string>, body: string | undefined): Content | undefined {
  const state = header.get('state')
  if (state !== 'delivered' && state !== 'read') return undefined
  const ids = decodeIds(body, RECEIPT_IDS)
  return ids === undefined ? undefined : { type: 'receipt', state, ids }
}

/** Reads 1 to `most` ids, one a line. Tags have the form of ids. */
function decodeIds(body: string | undefined, most: number): readonly string[] | undefined {
  // An id and its LF are 23 characters.
  if (body === undefined || body.length > 23 * most) return undefined
  const ids = body.split('\n')
  return ids.every(isId) ? ids : undefined
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
    // Ranges ascend with a gap between them, so that a set of parts has one spelling.
    if (first === undefined || last === undefined || more.length > 0 || first <= before + 1) return undefined
    if (formatRange([first, last]) !== text) return undefined
    parts.push([first, last])
    before = last
  }
  return { type: 'have', file, parts }
}
