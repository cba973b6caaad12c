/** The state of a chat: values that the model changes and the view draws. */
import type { Conversation, Entry } from './conversation.ts'
import { type Editor, EMPTY, textOf } from './editor.ts'
import { type Geometry, geometryOf, PROMPT, type Size } from './geometry.ts'
import { type Role, showLine, widthOf } from './text.ts'
import { type Line, type Look, transcript } from './transcript.ts'

export interface RelayState {
  readonly relay: string
  readonly state: 'connecting' | 'up' | 'down'
  readonly why?: string
}

/** A text that covers the chat until the user closes it. */
export interface Overlay {
  readonly title: string
  readonly text: string
  /** The first row on the screen. */
  readonly top: number
}

/** The choice of a conversation in the list. */
export interface Picking {
  /** The selected place among the conversations that match. */
  readonly at: number
  /** A part of the name. */
  readonly filter: Editor
}

export interface State {
  readonly look: Look
  readonly size: Size
  /** The user's own name, safe to show. */
  readonly me: string
  /** Contacts and groups by name, strangers last. */
  readonly conversations: readonly Conversation[]
  readonly open: string | undefined
  /** The line to write in while no conversation is open. */
  readonly line: Editor
  /** The choice of a conversation, while the list has the keyboard. */
  readonly picking: Picking | undefined
  readonly search: Editor | undefined
  readonly overlay: Overlay | undefined
  readonly told: { readonly text: string; readonly role: Role } | undefined
  /** The cards that the user has already. */
  readonly cards: ReadonlySet<string>
  readonly relays: readonly RelayState[]
  readonly receipts: boolean
  /** Whether the terminal has the focus, as far as it reports that. */
  readonly focused: boolean
  /** The user asked to leave, although a message is not at a relay yet. */
  readonly leaving: boolean
  readonly nextKey: number
}

export function initialState(options: {
  readonly me: string
  readonly look: Look
  readonly size: Size
  readonly receipts: boolean
}): State {
  return {
    ...options,
    me: showLine(options.me),
    conversations: [],
    open: undefined,
    line: EMPTY,
    picking: undefined,
    search: undefined,
    overlay: undefined,
    told: undefined,
    cards: new Set(),
    relays: [],
    focused: true,
    leaving: false,
    nextKey: 1,
  }
}

/** Returns the editor that the keys change: a filter, the search, the line of the open conversation, or the line without one. */
export function editorOf(state: State): Editor {
  return state.picking?.filter ?? state.search ?? openConversation(state)?.editor ?? state.line
}

export function openConversation(state: State): Conversation | undefined {
  return state.conversations.find(({ id }) => id === state.open)
}

/** Returns the conversations in the list: while the user chooses one, only those that match. */
export function listed({ conversations, picking }: Pick<State, 'conversations' | 'picking'>): readonly Conversation[] {
  const typed = picking === undefined ? '' : plainName(textOf(picking.filter).trim())
  return typed === '' ? conversations : conversations.filter(({ name }) => plainName(name).includes(typed))
}

/** Returns a name without its mark, in any case and composition, for comparison. */
export function plainName(name: string): string {
  return name.replace(/^\?/, '').normalize('NFC').toLowerCase()
}

/** Whether `/add` would do something with the entry. */
export function isAddable({ cards }: Pick<State, 'cards'>, { card }: Pick<Entry, 'card'>): boolean {
  return card !== undefined && !cards.has(card)
}

/** Returns the prompt of the editor. */
export function promptOf(state: State): string {
  if (state.picking !== undefined) return 'open: '
  if (state.search !== undefined) return 'search: '
  const open = openConversation(state)
  switch (open?.compose.kind) {
    case 'reply':
      return `reply${PROMPT}`
    case 'edit':
      return `edit${PROMPT}`
    case 'new':
    case undefined:
      return PROMPT
  }
}

export function geometry(state: State): Geometry {
  return geometryOf(state.size, editorOf(state), widthOf(promptOf(state)))
}

export function linesOf(state: State, conversation: Conversation, columns: number): Line[] {
  const query = state.search === undefined ? '' : textOf(state.search)
  return transcript(conversation, columns, state.look, { chosen: conversation.chosen, query })
}
