/**
 * Shows a received message to people, and as JSON. The line says how far it can be trusted: it names a sender without
 * a remark only if the signature proves it. A peer's text cannot imitate the line of another sender, because its own
 * lines are indented.
 */
import { type Card, CardError, parseCard } from '../../client/format/card.ts'
import { fingerprintOf, formatKey, formatTime } from '../../client/format/field.ts'
import { type Group, GroupError, parseGroup } from '../../client/format/group.ts'
import type { SshKey } from '../../auth/ssh-key.ts'
import type { Content } from '../../client/format/content.ts'
import type { Envelope, Verdict } from '../../client/format/message.ts'
import type { Received } from '../../client/messenger/inbox.ts'
import type { Book } from '../profile/book.ts'
import type { Groups } from '../profile/groups.ts'
import { type Place, placeOf } from './place.ts'
import { showName } from '../../wording/name.ts'
import { sanitize } from '../program/show.ts'

/** The parsed card or group in a message, and the group that the message belongs to. */
export interface Enclosed extends Place {
  readonly card?: Card
  readonly group?: Group
  /** The card or group in it is invalid. */
  readonly isBroken?: true
}

/** Parses the card or group in a message. @param me the user's own key */
export async function readEnclosed(received: Received, groups: Groups, me: SshKey): Promise<Enclosed> {
  const { envelope } = received
  if (envelope === undefined) return {}
  const about = placeOf(received, groups, me)
  const { content } = envelope
  try {
    if (content.type === 'card') return { ...about, card: await parseCard(content.card) }
    if (content.type === 'group') return { ...about, group: await parseGroup(content.card) }
    return about
  } catch (error) {
    if (error instanceof CardError || error instanceof GroupError) return { ...about, isBroken: true }
    throw error
  }
}

/** Notes about messages that have no sender or no text to show. */
const DROPPED: Partial<Record<Verdict, string>> = {
  unreadable: 'dropped a message that this key cannot decrypt',
  'unknown-version': 'dropped a message of a version that this program does not know',
  truncated: 'dropped a message that was cut off',
  malformed: 'dropped a malformed message',
}

export interface Line {
  /** For standard output. */
  readonly text?: string
  /** For standard error. */
  readonly note?: string
}

/** Formats the local time of a message: of today without the date. @param seconds since 1970 */
export function whenOf(seconds: number, now = Date.now()): string {
  const at = new Date(seconds * 1_000)
  const digits = (number: number): string => String(number).padStart(2, '0')
  const time = `${digits(at.getHours())}:${digits(at.getMinutes())}`
  const isToday = at.toDateString() === new Date(now).toDateString()
  return isToday ? time : `${at.getFullYear()}-${digits(at.getMonth() + 1)}-${digits(at.getDate())} ${time}`
}

/**
 * Formats a message for people.
 * @param isDated whether to show the time behind the sender's name
 */
export function formatReceived(received: Received, enclosed: Enclosed, book: Book, isDated = false): Line {
  const note = DROPPED[received.verdict]
  if (note !== undefined) return { note }
  if (received.text !== undefined) return { text: lines('[unsigned: anyone may have written this]', decode(received.text)) }
  const { envelope } = received
  if (envelope === undefined) return {}
  const marks = marksOf(received, envelope, enclosed)
  const group = enclosed.within === undefined ? '' : ` in ${showName(enclosed.within.name, 'group')}`
  const when = isDated ? ` ${whenOf(envelope.time)}` : ''
  return { text: lines(`${senderOf(received, envelope, enclosed, book)}${group}${when}${marks}`, textOf(envelope.content, enclosed, book)) }
}

/** Formats the remarks after the sender's name, in brackets. */
function marksOf({ verdict, gap, late }: Received, envelope: Envelope, { remark }: Enclosed): string {
  const marks = [
    remark,
    verdict === 'future' ? `dated in the future, ${formatTime(envelope.time)}: their clock or yours is wrong` : undefined,
    verdict === 'stale' ? `old, from ${formatTime(envelope.time)}: it may be a replay` : undefined,
    gap ? 'the message before it is missing' : undefined,
    late ? 'late: newer messages came before it' : undefined,
  ].filter((mark) => mark !== undefined)
  return marks.map((mark) => ` [${mark}]`).join('')
}

function senderOf({ verdict, from }: Received, envelope: Envelope, { within }: Enclosed, book: Book): string {
  const fingerprint = fingerprintOf(envelope.from)
  // The messenger gives no `from` unless the signature proves it; the line below shows the claim as a claim.
  const contact = from ?? book.find(fingerprint)
  const member = within?.group.members.find(({ key }) => fingerprintOf(key) === fingerprint)
  const who =
    contact !== undefined
      ? book.show(contact.name, fingerprint)
      : member === undefined
        ? fingerprint
        : `${book.show(member.name, fingerprint)} (${fingerprint}, by the group's card)`
  switch (verdict) {
    case 'forged':
      return `[forged: it claims to be from ${who}, but is not]`
    case 'unverifiable':
      return `[it claims to be from ${who}; its signature cannot be checked here]`
    case 'readdressed':
      return `[written by ${who} to someone else, and passed on by a stranger]`
    default:
      return contact === undefined && member === undefined ? `${who} [not a contact]` : who
  }
}

function textOf(content: Content, { card, group, isBroken }: Enclosed, book: Book): string {
  const show = ({ name, key }: Card): string => book.show(name, fingerprintOf(key))
  switch (content.type) {
    case 'text':
      return content.text
    case 'edit':
      return `[replaces ${content.of}] ${content.text}`
    case 'remove':
      return `[removes ${content.of}]`
    case 'card':
      return card === undefined || isBroken
        ? '[an invalid card]'
        : `[the card of ${show(card)}, ${fingerprintOf(card.key)}; to add it: asfaleia contact add '${card.link}']`
    case 'group':
      return group === undefined || isBroken
        ? '[an invalid group]'
        : `[the group ${showName(group.name, 'group')}: ${group.members.map(show).join(', ')}]`
    case 'leave':
      return '[left the group]'
    case 'file':
      return `[a file, ${content.name}, ${content.total} bytes; to receive files, use --files FOLDER]`
    case 'receipt':
    case 'have':
    case 'unreadable':
      return `[${content.type}]`
    case 'unknown':
      return `[a message of a type that this version does not know: ${content.name}]`
  }
}

/** Indents all lines but the first, so that a text cannot contain a line that looks like another message. */
function lines(who: string, text: string): string {
  const shown = sanitize(text).replace(/\n$/, '').replaceAll('\n', '\n  ')
  return `${who}: ${shown}\n`
}

function decode(bytes: Uint8Array): string {
  return new TextDecoder('utf-8', { ignoreBOM: true }).decode(bytes)
}

/** Describes a message as JSON, with every field that it has. */
export function describeReceived(received: Received, enclosed: Enclosed, book: Book): object {
  const { verdict, envelope, text, relay, gap, late } = received
  const common = { verdict, relay, ...(gap && { gap }), ...(late && { late }) }
  if (text !== undefined) return { ...common, ...describeBytes(text) }
  if (envelope === undefined) return common
  const fingerprint = fingerprintOf(envelope.from)
  const name = (received.from ?? book.find(fingerprint))?.name
  return {
    ...common,
    // A claimed and a proven sender must not share a field.
    [verdict === 'forged' || verdict === 'unverifiable' ? 'claimed' : 'from']: {
      ...(name !== undefined && { name }),
      fingerprint,
      key: formatKey(envelope.from),
    },
    to: envelope.to,
    id: envelope.id,
    time: formatTime(envelope.time),
    ...(envelope.after !== undefined && { after: envelope.after }),
    ...(envelope.expires !== undefined && { expires: envelope.expires }),
    ...(envelope.group !== undefined && {
      // Without a name: the sender is not in a group of that id, or you are not.
      group: { id: envelope.group, ...(enclosed.within !== undefined && { name: enclosed.within.name }) },
    }),
    ...describeContent(envelope.content, enclosed),
  }
}

function describeContent(content: Content, { card, group, isBroken }: Enclosed): object {
  const { type } = content
  switch (content.type) {
    case 'text':
      return { type, text: content.text, ...(content.replyTo !== undefined && { replyTo: content.replyTo }) }
    case 'edit':
      return { type, of: content.of, text: content.text }
    case 'remove':
      return { type, of: content.of }
    case 'card':
      return {
        type,
        ...(isBroken ? { broken: true } : { name: card?.name, fingerprint: card && fingerprintOf(card.key), link: card?.link }),
      }
    case 'group':
      return {
        type,
        ...(isBroken
          ? { broken: true }
          : {
              name: group?.name,
              version: group?.version,
              members: group?.members.map((each) => ({ name: each.name, fingerprint: fingerprintOf(each.key) })),
            }),
      }
    case 'leave':
      return { type }
    case 'file':
      return {
        type,
        file: content.file,
        name: content.name,
        total: content.total,
        hash: content.hash,
        part: content.part,
        base64: Buffer.from(content.bytes).toString('base64'),
      }
    case 'receipt':
      return { type, state: content.state, ids: content.ids }
    case 'have':
      return { type, file: content.file, parts: content.parts }
    case 'unreadable':
      return { type, tags: content.tags }
    case 'unknown':
      return { type: content.name, unknown: true, ...describeBytes(content.body) }
  }
}

function describeBytes(bytes: Uint8Array): object {
  try {
    return { text: new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes) }
  } catch {
    return { base64: Buffer.from(bytes).toString('base64') }
  }
}
