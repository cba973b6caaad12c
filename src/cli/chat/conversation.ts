/**
 * Conversations and their entries: values that the model changes and the view draws. All their text is safe to show.
 */
import { type Delivery, type Protection, type Transfer, weakest } from '../../wording/delivery.ts'
import type { Verdict } from '../../wording/verdict.ts'
import { type Editor, EMPTY } from './editor.ts'

export interface Entry {
  /** Unique in this session. */
  readonly key: number
  /** The id of the message, if there is one. A message to a group has one id for each member, in `deliveries`. */
  readonly id?: string
  /** Milliseconds since 1970. */
  readonly at: number
  readonly from: 'me' | 'them' | 'note'
  readonly author: string
  /** The author's key; undefined for notes and unsigned messages. */
  readonly fingerprint?: string
  readonly text: string
  /** The user's own text as they wrote it, for /edit. */
  readonly written?: string
  readonly verdict: Verdict
  readonly deliveries: readonly Delivery[]
  /** What protected a received message. */
  readonly protection?: Protection
  /** A quote of the message that this one replies to. */
  readonly reply?: string
  readonly changed?: 'edited' | 'removed'
  /** An earlier message of the same sender is missing. */
  readonly gap?: true
  /** A later message of the same sender arrived first. */
  readonly late?: true
  /** From an earlier session. */
  readonly earlier?: true
  /** After how many seconds the message disappears once the user has seen it; an own one, once it was sent. */
  readonly expires?: number
  /** When that time began, in seconds of the clock of a `tick`. */
  readonly expiresFrom?: number
  /** A card in the message, for /add. */
  readonly card?: string
  readonly file?: Transfer
  readonly unseen: boolean
  /** Tickets to acknowledge when the entry is drawn. */
  readonly tickets: readonly number[]
}

/** The last row on the screen: an entry, and one of its rows. */
export interface Anchor {
  readonly key: number
  readonly row: number
}

/** The purpose of the line that the user writes. */
export type Compose =
  { readonly kind: 'new' } | { readonly kind: 'reply'; readonly key: number } | { readonly kind: 'edit'; readonly key: number }

export interface Conversation {
  /** The fingerprint of a contact or of a request's sender, `group:` and a group's id, or {@link STRANGERS}. */
  readonly id: string
  readonly kind: 'contact' | 'group' | 'request' | 'strangers'
  readonly name: string
  /** Whether the user compared the safety words. */
  readonly verified: boolean
  /** The names of a group's members. */
  readonly members: readonly string[]
  /** Its messages cause no notification. */
  readonly muted?: true
  /** After how many seconds the user's messages disappear. */
  readonly expires?: number
  /** The user left this group: it can be read only. */
  readonly left?: true
  /** The user has blocked this contact. */
  readonly blocked?: true
  /** The least protection that a line in this conversation has told. */
  readonly toldProtection?: Protection
  readonly entries: readonly Entry[]
  readonly editor: Editor
  readonly compose: Compose
  /** The key of the selected entry. */
  readonly chosen: number | undefined
  /** Undefined at the bottom. */
  readonly scroll: Anchor | undefined
  /** The entry above which the line `new` appears. */
  readonly newFrom: number | undefined
}

export const STRANGERS = 'strangers'
/** Marks a name that looks like another contact's. No name that a user can choose begins with it. */
export const LOOKALIKE = '?'

const QUOTE = 80

export function blank(id: string, kind: Conversation['kind']): Conversation {
  return {
    id,
    kind,
    name: 'strangers',
    verified: false,
    members: [],
    entries: [],
    editor: EMPTY,
    compose: { kind: 'new' },
    chosen: undefined,
    scroll: undefined,
    newFrom: undefined,
  }
}

/** Deselects the message, and cancels a reply or an edit. The text of an edit is dropped. */
export function letGo(conversation: Conversation): Conversation {
  const editor = conversation.compose.kind === 'edit' ? { ...conversation.editor, text: [], cursor: 0 } : conversation.editor
  return { ...conversation, compose: { kind: 'new' }, chosen: undefined, editor }
}

/** Whether the message with that id belongs to the entry. */
export function isOf(entry: Entry, id: string): boolean {
  return id !== '' && (entry.id === id || entry.deliveries.some((each) => each.id === id))
}

/** Whether at least one message of the entry has an id: the messenger has it. */
export function isOut({ deliveries }: Pick<Entry, 'deliveries'>): boolean {
  return deliveries.some(({ id }) => id !== '')
}

/** What protected the latest message either way; in a group, the least of its copies. */
export function protectionOf({ entries }: Pick<Conversation, 'entries'>): Protection | undefined {
  for (const { protection, deliveries } of entries.toReversed()) {
    const found = protection ?? weakest(deliveries.map((each) => each.protection))
    if (found !== undefined) return found
  }
  return undefined
}

export function quote({ text, file }: Entry): string {
  const line = (file === undefined ? text : `file "${file.name}"`).replaceAll('\n', ' ')
  return line.length > QUOTE ? `${line.slice(0, QUOTE).toWellFormed()}…` : line
}

export function unreadOf({ entries }: Pick<Conversation, 'entries'>): number {
  return entries.reduce((sum, { unseen }) => sum + (unseen ? 1 : 0), 0)
}
