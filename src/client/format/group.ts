/**
 * Groups (docs/protocol.md, section 12): a list of the members' cards, signed by the maker of the group. A message to a
 * group goes to each member separately. Pure; runs in a browser too.
 */
import { base64urlnopad } from '@scure/base'
import { randomBytes, sha256 } from '../../auth/crypto.ts'
import type { SshKey } from '../../auth/ssh-key.ts'
import { concat } from '../../auth/ssh-wire.ts'
import { CodedError } from '../../protocol/coded-error.ts'
import { type Card, CardError, parseCard } from './card.ts'
import { decodeText, encodeText, fingerprintOf, formatKey, formatTime, isId, isName, parseKey, parseNumber, parseTime } from './field.ts'
import type { Identity } from './identity.ts'
import { roomFor } from './message.ts'
import { armor, encodeHeader, isSignedBy, parseHeader, sign, split, versionOf, type Header } from './signed.ts'

/** A group with valid signatures: its own, and those of its members' cards. */
export interface Group {
  readonly id: string
  readonly name: string
  /** The member who made and signed the group. */
  readonly maker: SshKey
  /** Counted from 1. A greater version replaces a smaller one. */
  readonly version: number
  /** Seconds since 1970 when the maker signed this version. */
  readonly time: number
  /** In the maker's order. Each key occurs once. */
  readonly members: readonly Card[]
  /** The group as text, signature included. */
  readonly text: string
}

const TEXTS = {
  'not-a-group': 'this is not an Asfaleia group',
  'unknown-version': 'the group has a version that this program does not know',
  truncated: 'the group is cut off, or text follows its end',
  malformed: 'the group is malformed',
  'bad-name': 'a name has 1 to 64 visible characters and no space at its start or end',
  'bad-members': 'a group has 2 to 32 different members, and its maker is one of them',
  'bad-card': 'the card of a member is invalid',
  'bad-id': 'the id of the group belongs to another maker',
  'too-large': 'a group of so many members does not fit one message',
  unverifiable: 'a signature of the group cannot be checked in this browser',
  forged: 'the signature does not match: the group was changed, or another key than the maker signed it',
} as const

/** Why a group was refused. */
export type GroupErrorCode = keyof typeof TEXTS

/** Thrown for a group that is invalid or cannot be made. */
export class GroupError extends CodedError<GroupErrorCode> {
  /** How many of the given members, from the first, fit. Only with `too-large`. */
  readonly fit: number | undefined

  constructor(code: GroupErrorCode, fit?: number) {
    super('GroupError', code, TEXTS[code])
    this.fit = fit
  }
}

/** The first 3 bytes of an id that is bound to a maker: an id in base64url begins with `asfa`. */
const BOUND = base64urlnopad.decode('asfa')
const NONCE_BYTES = 4

/** Makes the id of a new group. It is bound to the maker's key, so no one else can make a group with this id. */
export function makeGroupId(maker: SshKey): string {
  return bind(concat(BOUND, randomBytes(NONCE_BYTES)), maker)
}

function bind(seed: Uint8Array, { blob }: SshKey): string {
  const hash = sha256(concat(encodeText('asfaleia-group-id\n'), seed, blob))
  return base64urlnopad.encode(concat(seed, hash.subarray(0, 16 - seed.length)))
}

/** Returns whether the id is bound to a key. Those that older versions made are not. */
export const isBound = (id: string): boolean => id.startsWith('asfa')

function mayUse(maker: SshKey, id: string): boolean {
  return !isBound(id) || bind(base64urlnopad.decode(id).subarray(0, BOUND.length + NONCE_BYTES), maker) === id
}

/** Returns whether both are versions of one group. A group is known by its id and its maker. */
export function isSameGroup(one: Pick<Group, 'id' | 'maker'>, other: Pick<Group, 'id' | 'maker'>): boolean {
  return one.id === other.id && fingerprintOf(one.maker) === fingerprintOf(other.maker)
}

const NAMESPACE = 'asfaleia-group'
const FORM = 'asfaleia-group'
const VERSION = `${FORM}/1`
const HEADER_BYTES = 65_536
const MEMBERS = { least: 2, most: 32 }
const VERSIONS = 1_000_000_000

type Facts = Omit<Group, 'text'>

/**
 * Makes a group and signs it.
 *
 * @param group.id from {@link makeGroupId}
 * @param group.members include the maker's card
 * @throws {GroupError} `bad-name`, `bad-id`, `bad-members` or `too-large`; also errors of the identity's `sign`
 * @throws {TypeError} if the id, the version or the time is malformed
 */
export async function makeGroup(identity: Pick<Identity, 'key' | 'sign'>, group: Omit<Facts, 'maker'>): Promise<Group> {
  const facts = checkFacts({ ...group, maker: identity.key })
  if (!isId(facts.id) || !isVersion(facts.version) || parseTime(formatTime(facts.time)) !== facts.time) {
    throw new TypeError('the id, version or time of the group is malformed')
  }
  if (!mayUse(facts.maker, facts.id)) throw new GroupError('bad-id')
  const signed = encodeFacts(facts)
  const text = await sign(identity, NAMESPACE, signed)
  const room = roomFor(identity.key)
  if (text.length > room) throw new GroupError('too-large', countFitting(facts, room - (text.length - signed.length)))
  return Object.freeze({ ...facts, text: decodeText(text)! })
}

function countFitting(facts: Facts, room: number): number {
  const { members } = facts
  let fit = members.length
  while (fit > 0 && encodeFacts({ ...facts, members: members.slice(0, fit) }).length > room) fit--
  return fit
}

/**
 * Parses a group and verifies its signature and the card of each member.
 *
 * @param text the group alone, without anything before or after it
 * @throws {GroupError}
 */
export async function parseGroup(text: string): Promise<Group> {
  if (!text.startsWith(`${FORM}/`)) throw new GroupError('not-a-group')
  if (text.length > 2 * HEADER_BYTES || !text.isWellFormed()) throw new GroupError('malformed')
  const bytes = encodeText(text)
  const version = versionOf(FORM, bytes)
  if (version !== undefined && version !== '1') throw new GroupError('unknown-version')
  const parts = split(bytes)
  if (parts === undefined || parts.rest.length > 0) throw new GroupError('truncated')
  const parsed = parts.signed.length > HEADER_BYTES ? undefined : parseHeader(parts.signed)
  if (parsed === undefined || parsed.form !== VERSION) throw new GroupError('malformed')
  const { maker, links, ...others } = readHeaders(parsed.headers)
  if (!mayUse(maker, others.id)) throw new GroupError('bad-id')
  // Checked before the cards, because each card costs another signature check.
  const isGood = await isSignedBy(maker, NAMESPACE, parts)
  if (isGood === undefined) throw new GroupError('unverifiable')
  if (!isGood) throw new GroupError('forged')
  if (links.length < MEMBERS.least || links.length > MEMBERS.most) throw new GroupError('bad-members')
  const members: Card[] = []
  for (const link of links) members.push(await readMember(link))
  const facts = checkFacts({ ...others, maker, members })
  // A group has one text, as a card has.
  if (decodeText(concat(encodeFacts(facts), armor(parts.blob))) !== text) throw new GroupError('malformed')
  return Object.freeze({ ...facts, text })
}

async function readMember(link: string): Promise<Card> {
  try {
    const card = await parseCard(link)
    if (card.link === link) return card
  } catch (error) {
    if (!(error instanceof CardError)) throw error
    if (error.code === 'unverifiable') throw new GroupError('unverifiable')
  }
  throw new GroupError('bad-card')
}

function readHeaders(headers: readonly Header[]): Omit<Facts, 'members'> & { links: string[] } {
  const single = (wanted: string): string => headers.find(([name]) => name === wanted)?.[1] ?? ''
  const maker = parseKey(single('maker'))
  const version = parseNumber(single('version'), 1, VERSIONS)
  const time = parseTime(single('time'))
  const id = single('id')
  if (maker === undefined || version === undefined || time === undefined || !isId(id)) throw new GroupError('malformed')
  const links = headers.filter(([name]) => name === 'member').map(([, link]) => link)
  return { id, name: single('name'), maker, version, time, links }
}

const isVersion = (version: number): boolean => parseNumber(String(version), 1, VERSIONS) !== undefined

function checkFacts(facts: Facts): Facts {
  const { name, maker, members } = facts
  if (!isName(name)) throw new GroupError('bad-name')
  const keys = new Set(members.map(({ key }) => fingerprintOf(key)))
  const counted = members.length >= MEMBERS.least && members.length <= MEMBERS.most
  if (!counted || keys.size < members.length || !keys.has(fingerprintOf(maker))) throw new GroupError('bad-members')
  return facts
}

function encodeFacts({ id, name, maker, version, time, members }: Facts): Uint8Array {
  return encodeHeader(VERSION, [
    ['id', id],
    ['name', name],
    ['maker', formatKey(maker)],
    ['version', String(version)],
    ['time', formatTime(time)],
    ...members.map(({ link }): Header => ['member', link]),
  ])
}

/** How one group relates to another, from {@link compareGroups}. */
export type GroupChange =
  /** Another id or another maker: not a version of this group, even if the name is the same. */
  | { readonly kind: 'other' }
  | { readonly kind: 'same' }
  | { readonly kind: 'older' }
  /** The maker signed two different texts with the same version. Neither replaces the other. */
  | { readonly kind: 'conflict' }
  | {
      readonly kind: 'newer'
      readonly joined: readonly Card[]
      readonly left: readonly Card[]
      /** Members whose card changed. */
      readonly changed: readonly Card[]
      /** The former name, if the name changed. */
      readonly renamed?: string
    }

/** Returns what changes if `next` replaces `known`. */
export function compareGroups(known: Group, next: Group): GroupChange {
  const fingerprints = (group: Group): Map<string, Card> => new Map(group.members.map((card) => [fingerprintOf(card.key), card]))
  if (!isSameGroup(known, next)) return { kind: 'other' }
  if (next.version < known.version) return { kind: 'older' }
  // The maker may sign the same facts again, which gives another text.
  if (next.version === known.version) return { kind: sameFacts(known, next) ? 'same' : 'conflict' }
  const [before, now] = [fingerprints(known), fingerprints(next)]
  return {
    kind: 'newer',
    joined: next.members.filter(({ key }) => !before.has(fingerprintOf(key))),
    left: known.members.filter(({ key }) => !now.has(fingerprintOf(key))),
    changed: next.members.filter((card) => (before.get(fingerprintOf(card.key))?.link ?? card.link) !== card.link),
    ...(known.name === next.name ? {} : { renamed: known.name }),
  }
}

function sameFacts(one: Group, other: Group): boolean {
  return decodeText(encodeFacts(one)) === decodeText(encodeFacts(other))
}
