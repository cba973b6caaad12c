/**
 * Invites (docs/clients.md): one link that gives a newcomer the key of a closed onion service, and often the card of its
 * operator. No shell needs quotes for it. Its last field detects a link that was cut off. Pure; runs in a browser too.
 */
import { base32nopad } from '@scure/base'
import { sha256 } from '../../auth/crypto.ts'
import { isOnion } from '../../onion/address.ts'
import { CodedError } from '../../protocol/coded-error.ts'
import { encodeText, formatTime, isName, parseTime } from './field.ts'

export interface Invite {
  /** `….onion` */
  readonly relay: string
  /** The private x25519 key for the service, in base32. Anyone who has it can reach the relay. */
  readonly key: string
  /** The operator's name for the newcomer. */
  readonly name: string
  /** When the membership ends, seconds since 1970. */
  readonly until?: number
  /** The link of the operator's card. The caller checks it. */
  readonly card?: string
}

const TEXTS = {
  'not-an-invite': 'this is not an invite to a relay',
  'unknown-version': 'the invite has a version that this program does not know',
  truncated: 'a part of the invite is missing, or it was changed on the way',
  malformed: 'the invite is malformed',
} as const

export type InviteErrorCode = keyof typeof TEXTS

/** Repeats no part of the invite, which contains a private key. */
export class InviteError extends CodedError<InviteErrorCode> {
  constructor(code: InviteErrorCode) {
    super('InviteError', code, TEXTS[code])
  }
}

const START = 'asfaleia:invite/'
const VERSION = '1'
/** Room for a card with a key and a signature of 8,192 bits. */
const CHARACTERS = 32_768
/** 40 bits: a changed link passes with a chance of one in 10^12. */
const CHECK_BYTES = 5
const FIELDS = ['relay', 'key', 'name', 'until', 'card'] as const

export function formatInvite({ relay, key, name, until, card }: Invite): string {
  const values = { relay, key, name, until: until === undefined ? undefined : formatTime(until), card }
  const fields = FIELDS.flatMap((field) => {
    const value = values[field]
    return value === undefined ? [] : [`${field}=${encodeValue(value)}`]
  })
  const link = `${START}${VERSION}:${fields.join(',')}`
  return `${link},check=${checkOf(link)}`
}

/**
 * Parses an invite. Blanks, line breaks and `>` in it do not count: mail programs add them.
 * @throws {InviteError}
 */
export function parseInvite(text: string): Invite {
  const all = text.slice(0, 2 * CHARACTERS).replaceAll(/[\s>]/g, '')
  const at = all.indexOf(START)
  if (at === -1) throw new InviteError('not-an-invite')
  const [, version] = /^([1-9]\d{0,8}):/.exec(all.slice(at + START.length)) ?? []
  if (version === undefined) throw new InviteError('truncated')
  if (version !== VERSION) throw new InviteError('unknown-version')
  const [whole, link, check] = /^(.*?),check=([a-z2-7]{8})/.exec(all.slice(at)) ?? []
  if (whole === undefined || link === undefined || check !== checkOf(link)) throw new InviteError('truncated')
  const invite = readFields(link.slice(`${START}${VERSION}:`.length))
  // An invite has one spelling.
  if (invite === undefined || formatInvite(invite) !== whole) throw new InviteError('malformed')
  return invite
}

function readFields(text: string): Invite | undefined {
  const fields = new Map(text.split(',').map((field) => [field.split('=')[0]!, field.slice(field.indexOf('=') + 1)]))
  const [relay, key, name, until, card] = FIELDS.map((field) => decodeValue(fields.get(field)))
  if (relay === undefined || key === undefined || name === undefined) return undefined
  if (!isOnion(relay) || !isKey(key) || !isName(name)) return undefined
  const time = until === undefined ? undefined : parseTime(until)
  if (until !== undefined && time === undefined) return undefined
  return { relay, key, name, ...(time !== undefined && { until: time }), ...(card !== undefined && { card }) }
}

function isKey(key: string): boolean {
  try {
    return base32nopad.decode(key).length === 32
  } catch {
    return false
  }
}

function checkOf(link: string): string {
  return base32nopad.encode(sha256(encodeText(link)).subarray(0, CHECK_BYTES)).toLowerCase()
}

/** Escapes every byte but letters, digits, and four characters that no shell takes. */
function encodeValue(value: string): string {
  return Array.from(encodeText(value), (byte) => {
    const character = String.fromCharCode(byte)
    return /[A-Za-z0-9._:-]/.test(character) ? character : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`
  }).join('')
}

function decodeValue(value: string | undefined): string | undefined {
  try {
    return value === undefined ? undefined : decodeURIComponent(value)
  } catch {
    return undefined
  }
}
