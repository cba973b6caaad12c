/**
 * Groups (docs/protocol.md, section 12): who belongs to one, said and signed by who made it. A group is nothing but
 * its members' cards; a message to it goes to each of them. Pure, also in a browser.
 */
import type { SshKey } from '../../auth/ssh-key.ts'
import { concat } from '../../auth/ssh-wire.ts'
import { CodedError } from '../../protocol/coded-error.ts'
import { type Card, CardError, parseCard } from './card.ts'
import { decodeText, encodeText, fingerprintOf, formatKey, formatTime, isId, isName, parseKey, parseNumber, parseTime } from './field.ts'
import type { Identity } from './identity.ts'
import { roomFor } from './message.ts'
import { armor, encodeHeader, isSignedBy, parseHeader, sign, split, versionOf, type Header } from './signed.ts'

export interface Group {
  readonly id: string
  readonly name: string
  /** Who signed it, a member too. */
  readonly maker: SshKey
  /** From 1; a greater one replaces a smaller one. */
  readonly version: number
  /** Seconds since 1970. */
  readonly time: number
  /** In the maker's order, each key once. */
  readonly members: readonly Card[]
  /** The group card, signature included. */
  readonly text: string
}

const TEXTS = {
  'not-a-group': 'this is no group of asfaleia',
  'unknown-version': 'the group is of a version that this program does not know',
  truncated: 'the group is cut off, or has something after its end',
  malformed: 'the group is not written as a group is',
  'bad-name': 'a name has 1 to 64 characters, none of them invisible, and no space at an end',
  'bad-members': 'a group has 2 to 32 members, each once, and its maker among them',
  'bad-card': "a member's card is not good",
  'too-large': 'so many members do not fit one message',
  forged: 'the signature is not one of the maker, or something was changed',
} as const

export type GroupErrorCode = keyof typeof TEXTS

export class GroupError extends CodedError<GroupErrorCode> {
  /** With `too-large`: how many of the members given, from the first, fit. */
  readonly fit: number | undefined

  constructor(code: GroupErrorCode, fit?: number) {
    super('GroupError', code, TEXTS[code])
    this.fit = fit
  }
}

const NAMESPACE = 'asfaleia-group'
const FORM = 'asfaleia-group'
const VERSION = `${FORM}/1`
const HEADER_BYTES = 65_536
const MEMBERS = { least: 2, most: 32 }
const VERSIONS = 1_000_000_000

type Facts = Omit<Group, 'text'>

/**
 * @param group.members the maker's own card among them
 * @throws {GroupError} `bad-name`, `bad-members` or `too-large`, and what the identity throws when it signs
 * @throws {TypeError} where the id, the version or the time is of another form
 */
export async function makeGroup(identity: Pick<Identity, 'key' | 'sign'>, group: Omit<Facts, 'maker'>): Promise<Group> {
  const facts = checkFacts({ ...group, maker: identity.key })
  if (!isId(facts.id) || !isVersion(facts.version) || parseTime(formatTime(facts.time)) !== facts.time) {
    throw new TypeError('a group has an id, a version and a time')
  }
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
 * A group whose signature, and whose every member's card, is good.
 *
 * @param text exactly: nothing before it and nothing after it
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
  // Before the cards, each of which costs a signature's check.
  if (!(await isSignedBy(maker, NAMESPACE, parts))) throw new GroupError('forged')
  if (links.length < MEMBERS.least || links.length > MEMBERS.most) throw new GroupError('bad-members')
  const members: Card[] = []
  for (const link of links) members.push(await readMember(link))
  const facts = checkFacts({ ...others, maker, members })
  // One group, one text: as with cards.
  if (decodeText(concat(encodeFacts(facts), armor(parts.blob))) !== text) throw new GroupError('malformed')
  return Object.freeze({ ...facts, text })
}

async function readMember(link: string): Promise<Card> {
  try {
    const card = await parseCard(link)
    if (card.link === link) return card
  } catch (error) {
    if (!(error instanceof CardError)) throw error
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

export type GroupChange =
  /** Of another id, or by another maker: never a later version of it, whatever its name is. */
  | { readonly kind: 'other' }
  | { readonly kind: 'same' }
  | { readonly kind: 'older' }
  /** The maker signed two of one version: which of them holds nobody can tell. */
  | { readonly kind: 'conflict' }
  | {
      readonly kind: 'newer'
      readonly joined: readonly Card[]
      readonly left: readonly Card[]
      /** Members whose card is another one now. */
      readonly changed: readonly Card[]
      /** The former name, where it is another one now. */
      readonly renamed?: string
    }

/** What changes with `next` for who has `known`. */
export function compareGroups(known: Group, next: Group): GroupChange {
  const fingerprints = (group: Group): Map<string, Card> => new Map(group.members.map((card) => [fingerprintOf(card.key), card]))
  if (known.id !== next.id || fingerprintOf(known.maker) !== fingerprintOf(next.maker)) return { kind: 'other' }
  if (next.version < known.version) return { kind: 'older' }
  // A text may be signed again without a change.
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
