/**
 * A message that came, as a person reads it and as JSON. What may be believed of it stands with it: a name is said only
 * where the signature proves it, and whatever a peer wrote is text on lines that begin as no line of ours does.
 */
import { type Card, CardError, parseCard } from '../../client/format/card.ts'
import { fingerprintOf, formatKey, formatTime } from '../../client/format/field.ts'
import { type Group, GroupError, parseGroup } from '../../client/format/group.ts'
import type { Content } from '../../client/format/content.ts'
import type { Envelope, Verdict } from '../../client/format/message.ts'
import type { Received } from '../../client/messenger/reception.ts'
import type { Book } from '../profile/book.ts'
import type { Groups, KnownGroup } from '../profile/groups.ts'
import { sanitize, sanitizeLine } from '../program/show.ts'

/** What is there beside the message: a card or a group that it holds, read, and the group that it belongs to. */
export interface Enclosed {
  readonly card?: Card
  readonly group?: Group
  /** The card or group in it is not good. */
  readonly isBroken?: true
  readonly within?: KnownGroup
}

/** Reads what a message encloses. */
export async function readEnclosed({ envelope }: Received, groups: Groups): Promise<Enclosed> {
  if (envelope === undefined) return {}
  const within = envelope.group === undefined ? undefined : groups.find(envelope.group)
  const about = within === undefined ? {} : { within }
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

/** What is said of a message whose sender or text cannot be had. */
const WITHOUT: Partial<Record<Verdict, string>> = {
  unreadable: 'a message that does not open with this key was dropped',
  'unknown-version': 'a message of a version that this program does not know was dropped',
  truncated: 'a message whose end is missing was dropped',
  malformed: 'a message that is not written as one was dropped',
}

export interface Line {
  /** On standard output. */
  readonly text?: string
  /** On standard error. */
  readonly note?: string
}

/** One message for a person. */
export function formatReceived(received: Received, enclosed: Enclosed, book: Book): Line {
  const note = WITHOUT[received.verdict]
  if (note !== undefined) return { note }
  if (received.text !== undefined) return { text: lines('[unsigned: anybody may have written it]', decode(received.text)) }
  const { envelope } = received
  if (envelope === undefined) return {}
  const marks = marksOf(received, envelope)
  const group = enclosed.within === undefined ? '' : ` in ${sanitizeLine(enclosed.within.name)}`
  return { text: lines(`${senderOf(received, envelope, enclosed, book)}${group}${marks}`, textOf(envelope.content, enclosed)) }
}

/** What comes after the name of the sender, in brackets. */
function marksOf({ verdict, gap, late }: Received, envelope: Envelope): string {
  const marks = [
    verdict === 'future' ? `dated ahead, ${formatTime(envelope.time)}` : undefined,
    verdict === 'stale' ? `old, of ${formatTime(envelope.time)}: it may have come before` : undefined,
    gap ? 'the one before it did not come' : undefined,
    late ? 'late: later ones came before it' : undefined,
  ].filter((mark) => mark !== undefined)
  return marks.map((mark) => ` [${mark}]`).join('')
}

function senderOf({ verdict, from }: Received, envelope: Envelope, { within }: Enclosed, book: Book): string {
  const fingerprint = fingerprintOf(envelope.from)
  // The messenger names nobody where nothing is proven; who it claims to be is known all the same.
  const contact = from ?? book.find(fingerprint)
  const member = within?.group.members.find(({ key }) => fingerprintOf(key) === fingerprint)
  const name = contact?.name ?? (member === undefined ? fingerprint : `${member.name} (${fingerprint}, by the group's card)`)
  const who = sanitizeLine(name)
  switch (verdict) {
    case 'forged':
      return `[forged: it says that it is by ${who}, and is not]`
    case 'readdressed':
      return `[to somebody else: by ${who}, and passed on by nobody knows whom]`
    default:
      return contact === undefined && member === undefined ? `${who} [no contact]` : who
  }
}

function textOf(content: Content, { card, group, isBroken }: Enclosed): string {
  switch (content.type) {
    case 'text':
      return content.text
    case 'edit':
      return `[instead of ${content.of}] ${content.text}`
    case 'remove':
      return `[takes back ${content.of}]`
    case 'card':
      return card === undefined || isBroken
        ? '[a card that is not good]'
        : `[the card of ${card.name}, ${fingerprintOf(card.key)}; to take it up: asfaleia contact add '${card.link}']`
    case 'group':
      return group === undefined || isBroken
        ? '[a group that is not good]'
        : `[the group ${group.name}: ${group.members.map(({ name }) => name).join(', ')}]`
    case 'leave':
      return '[leaves the group]'
    case 'file':
      return `[a file, ${content.name}, ${content.total} bytes; --files FOLDER takes such]`
    case 'receipt':
    case 'have':
      return `[${content.type}]`
    case 'unknown':
      return `[a message of a type that this version does not know: ${content.name}]`
  }
}

/** Whatever stands behind a line break is indented: nobody writes a line that looks like another's. */
function lines(who: string, text: string): string {
  const shown = sanitize(text).replace(/\n$/, '').replaceAll('\n', '\n  ')
  return `${who}: ${shown}\n`
}

function decode(bytes: Uint8Array): string {
  return new TextDecoder('utf-8', { ignoreBOM: true }).decode(bytes)
}

/** One message for a program: every field that it has. */
export function describeReceived(received: Received, enclosed: Enclosed, book: Book): object {
  const { verdict, envelope, text, relay, gap, late } = received
  const common = { verdict, relay, ...(gap && { gap }), ...(late && { late }) }
  if (text !== undefined) return { ...common, ...describeBytes(text) }
  if (envelope === undefined) return common
  const fingerprint = fingerprintOf(envelope.from)
  const name = (received.from ?? book.find(fingerprint))?.name
  return {
    ...common,
    // What is claimed and what is proven must not be one field.
    [verdict === 'forged' ? 'claimed' : 'from']: { ...(name !== undefined && { name }), fingerprint, key: formatKey(envelope.from) },
    to: envelope.to,
    id: envelope.id,
    time: formatTime(envelope.time),
    ...(envelope.after !== undefined && { after: envelope.after }),
    ...(envelope.group !== undefined && {
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
