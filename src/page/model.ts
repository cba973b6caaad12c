/**
 * What the page shows, as one value, and pure functions from an input to the next value. All texts of other people are
 * made safe to show here, by the rules of the chat (src/wording). Without I/O, time or a browser.
 */
import type { Delivery, DeliveryState, Transfer } from '../wording/delivery.ts'
import { showName } from '../wording/name.ts'
import { compareConversations } from '../wording/order.ts'
import { sanitize, sanitizeLine } from '../wording/show.ts'
import type { Verdict } from '../wording/verdict.ts'

/**
 * What protects a message: `one-time`, a key that is erased once the message was read; `daily`, the key of a day; `key`,
 * the person's key alone, which opens the message for as long as it exists.
 */
export type Protection = 'one-time' | 'daily' | 'key'

/** A file in a conversation. */
export interface FileView extends Omit<Transfer, 'state'> {
  /** `offered`: the user has not decided yet. `ready`: the whole file is in memory, and the user can save it. */
  readonly state: Transfer['state'] | 'offered' | 'ready' | 'saved'
}

export interface Entry {
  /** Unique in this session, and ascending. */
  readonly key: number
  readonly id?: string
  /** Milliseconds since 1970. */
  readonly at: number
  readonly from: 'me' | 'them' | 'note'
  readonly author: string
  readonly fingerprint?: string
  readonly text: string
  /** The user's own text as they wrote it. */
  readonly written?: string
  readonly verdict: Verdict
  readonly deliveries: readonly Delivery[]
  readonly protection?: Protection
  /** A quote of the message that this one replies to. */
  readonly reply?: string
  readonly changed?: 'edited' | 'removed'
  readonly gap?: true
  readonly late?: true
  /** A card in the message, to add. */
  readonly card?: string
  readonly file?: FileView
  /** After how many seconds it disappears once the user has seen it. */
  readonly expires?: number
  /** The user has not seen it yet. */
  readonly unseen: boolean
}

export interface Conversation {
  /** The fingerprint of a person, or {@link STRANGERS}. */
  readonly id: string
  readonly kind: 'contact' | 'request' | 'strangers'
  readonly name: string
  readonly verified: boolean
  /** Whether messages to this person can be sent. */
  readonly blocked: boolean
  /** A contact whose name looks like this one's, and who has another key. */
  readonly twin?: string
  readonly entries: readonly Entry[]
}

export interface RelayView {
  readonly relay: string
  readonly state: 'connecting' | 'up' | 'down' | 'taken-over'
  readonly why?: string
  /** When the next try comes, milliseconds since 1970. */
  readonly again?: number
}

/** A line above the conversation that the user can close. */
export interface Notice {
  readonly key: number
  readonly role: 'info' | 'bad'
  readonly text: string
}

export interface State {
  readonly me: { readonly name: string; readonly link: string; readonly fingerprint: string; readonly relays: readonly string[] }
  /** In the order of the list. */
  readonly conversations: readonly Conversation[]
  readonly open: string | undefined
  readonly relays: readonly RelayView[]
  readonly notices: readonly Notice[]
  /** The saved file, if there is one, lacks a change. */
  readonly unsaved: boolean
  readonly nextKey: number
}

export const STRANGERS = 'strangers'
const QUOTE = 120

/** A person in the list, as the profile has them. */
export interface Party {
  readonly id: string
  readonly kind: 'contact' | 'request'
  readonly name: string
  readonly verified: boolean
  readonly blocked: boolean
  readonly twin?: string
}

/** A received message, with the texts as the sender wrote them. */
export interface Arrival {
  readonly conversation: string
  readonly author: string
  readonly fingerprint?: string
  readonly id?: string
  readonly at: number
  readonly verdict: Verdict
  readonly text: string
  readonly protection?: Protection
  readonly change?: { readonly of: string; readonly to: 'edited' | 'removed' }
  readonly replyTo?: string
  readonly gap?: true
  readonly late?: true
  readonly card?: string
  readonly file?: FileView
  readonly expires?: number
}

export function initialState(me: State['me']): State {
  return { me, conversations: [], open: undefined, relays: [], notices: [], unsaved: false, nextKey: 1 }
}

export function conversationOf(state: State, id: string | undefined): Conversation | undefined {
  return state.conversations.find((each) => each.id === id)
}

export function unseenOf({ entries }: Conversation): number {
  return entries.reduce((sum, { unseen }) => sum + (unseen ? 1 : 0), 0)
}

/** Returns what protected the last message of a conversation, either way. */
export function protectionOf({ entries }: Conversation): Protection {
  return entries.findLast((each) => each.protection !== undefined)?.protection ?? 'key'
}

/** Counts the messages that the user sent and no one has confirmed. */
export function unconfirmedOf({ conversations }: State): number {
  return conversations.reduce((sum, { entries }) => sum + entries.filter(isUnconfirmed).length, 0)
}

function isUnconfirmed({ deliveries, file, from }: Entry): boolean {
  return deliveries.some(({ state }) => state === 'waiting' || state === 'held') || (from === 'me' && file?.state === 'moving')
}

/** Sets the people. Conversations of people who are not in the list go. */
export function withPeople(state: State, parties: readonly Party[]): State {
  const before = new Map(state.conversations.map((each) => [each.id, each]))
  const people = parties.map(({ id, kind, name, verified, blocked, twin }): Conversation => {
    const shown = showName(name)
    const entries = (before.get(id)?.entries ?? []).map((each) => (each.from === 'them' ? { ...each, author: shown } : each))
    return { id, kind, name: shown, verified, blocked, entries, ...(twin !== undefined && { twin: showName(twin) }) }
  })
  const strangers = before.get(STRANGERS)
  const conversations = [...people, ...(strangers === undefined ? [] : [strangers])].toSorted(compareConversations)
  const isGone = !conversations.some(({ id }) => id === state.open)
  return { ...state, conversations, ...(isGone && { open: undefined }) }
}

/** Adds a message that the user sends. @returns the state, and the entry's key */
export function withOwn(state: State, id: string, own: Pick<Entry, 'at' | 'text' | 'deliveries'> & Pick<Entry, 'written' | 'file'>): State {
  return append(state, id, { ...own, text: sanitize(own.text), from: 'me', author: 'you', verdict: 'genuine', unseen: false })
}

export function withNote(state: State, id: string, at: number, text: string): State {
  return append(state, id, { at, text: sanitize(text), from: 'note', author: '', verdict: 'genuine', deliveries: [], unseen: false })
}

/** Adds a received message, or changes the one that it edits or removes. */
export function withArrival(before: State, arrival: Arrival): State {
  const state = withPlace(before, arrival.conversation)
  const id = conversationOf(state, arrival.conversation)?.id ?? STRANGERS
  const { entries } = conversationOf(state, id)!
  const { change, replyTo, file, card, fingerprint, protection, gap, late, expires } = arrival
  const target = change && entries.find((each) => each.from === 'them' && each.id === change.of && each.fingerprint === fingerprint)
  if (change !== undefined && target !== undefined)
    return changeEntry(state, target.key, (each) => ({
      ...each,
      text: change.to === 'removed' ? '' : sanitize(arrival.text),
      changed: change.to,
      unseen: true,
    }))
  const lost =
    change === undefined
      ? ''
      : change.to === 'removed'
        ? '(removed a message that is not shown here)'
        : '(edited a message that is not shown here) '
  const replied = replyTo === undefined ? undefined : entries.find((each) => isOf(each, replyTo))
  return append(state, id, {
    at: arrival.at,
    from: 'them',
    author: sanitizeLine(arrival.author),
    text: lost + sanitize(arrival.text),
    verdict: arrival.verdict,
    deliveries: [],
    unseen: true,
    ...(arrival.id !== undefined && { id: arrival.id }),
    ...(fingerprint !== undefined && { fingerprint }),
    ...(protection !== undefined && { protection }),
    ...(replyTo !== undefined && { reply: replied === undefined ? '(a message that is not shown here)' : quote(replied) }),
    ...(gap === true && { gap }),
    ...(late === true && { late }),
    ...(card !== undefined && { card }),
    ...(expires !== undefined && { expires }),
    ...(file !== undefined && { file: { ...file, name: sanitizeLine(file.name) } }),
  })
}

/** Makes the conversation of strangers if the message belongs to no other one. */
function withPlace(state: State, id: string): State {
  if (conversationOf(state, id) !== undefined || conversationOf(state, STRANGERS) !== undefined) return state
  const strangers: Conversation = { id: STRANGERS, kind: 'strangers', name: 'Strangers', verified: false, blocked: false, entries: [] }
  return { ...state, conversations: [...state.conversations, strangers] }
}

export function withDelivery(state: State, id: string, to: DeliveryState, why: string | undefined, protection?: Protection): State {
  const entry = state.conversations
    .flatMap(({ entries }) => entries)
    .findLast(({ deliveries }) => deliveries.some((each) => each.id === id))
  if (entry === undefined) return state
  return changeEntry(state, entry.key, (each) => ({
    ...each,
    ...(protection !== undefined && { protection }),
    deliveries: each.deliveries.map((delivery) => {
      if (delivery.id !== id) return delivery
      const { why: _, ...rest } = delivery
      return { ...rest, state: to, ...(why !== undefined && { why: sanitizeLine(why) }) }
    }),
  }))
}

export function withFile(state: State, key: number, change: Partial<FileView>): State {
  return changeEntry(state, key, (each) => (each.file === undefined ? each : { ...each, file: { ...each.file, ...change } }))
}

export function withRelay(state: State, relay: RelayView): State {
  const isKnown = state.relays.some((each) => each.relay === relay.relay)
  return { ...state, relays: isKnown ? state.relays.map((each) => (each.relay === relay.relay ? relay : each)) : [...state.relays, relay] }
}

export function withNotice(state: State, text: string, role: Notice['role'] = 'info'): State {
  const shown = sanitizeLine(text)
  const others = state.notices.filter((each) => each.text !== shown).slice(-4)
  return { ...state, notices: [...others, { key: state.nextKey, role, text: shown }], nextKey: state.nextKey + 1 }
}

export function withoutNotice(state: State, key: number): State {
  return { ...state, notices: state.notices.filter((each) => each.key !== key) }
}

/** Marks entries as seen. */
export function withSeen(state: State, id: string, keys: ReadonlySet<number>): State {
  return changeConversation(state, id, (each) => ({
    ...each,
    entries: each.entries.map((entry) => (entry.unseen && keys.has(entry.key) ? { ...entry, unseen: false } : entry)),
  }))
}

export function withoutEntry(state: State, id: string, key: number): State {
  return changeConversation(state, id, (each) => ({ ...each, entries: each.entries.filter((entry) => entry.key !== key) }))
}

export function changeEntry(state: State, key: number, change: (entry: Entry) => Entry): State {
  const holder = state.conversations.find(({ entries }) => entries.some((each) => each.key === key))
  if (holder === undefined) return state
  return changeConversation(state, holder.id, (each) => ({
    ...each,
    entries: each.entries.map((entry) => (entry.key === key ? change(entry) : entry)),
  }))
}

function changeConversation(state: State, id: string, change: (conversation: Conversation) => Conversation): State {
  return { ...state, conversations: state.conversations.map((each) => (each.id === id ? change(each) : each)) }
}

function append(state: State, id: string, entry: Omit<Entry, 'key'>): State {
  const changed = changeConversation(state, id, (each) => ({ ...each, entries: [...each.entries, { ...entry, key: state.nextKey }] }))
  return { ...changed, nextKey: state.nextKey + 1 }
}

function isOf(entry: Entry, id: string): boolean {
  return entry.id === id || entry.deliveries.some((each) => each.id === id)
}

function quote({ text, file }: Entry): string {
  const line = (file === undefined ? text : `file "${file.name}"`).replaceAll('\n', ' ')
  return line.length > QUOTE ? `${line.slice(0, QUOTE).toWellFormed()}…` : line
}
