/** The state of a chat: values that the model changes and the view draws. */
import type { Conversation } from './conversation.ts'
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

export interface State {
  readonly look: Look
  readonly size: Size
  /** The user's own name, safe to show. */
  readonly me: string
  /** Contacts and groups by name, strangers last. */
  readonly conversations: readonly Conversation[]
  readonly open: string | undefined
  /** The selected place in the list of conversations, while the list has the keyboard. */
  readonly picking: number | undefined
  readonly search: Editor | undefined
  readonly overlay: Overlay | undefined
  readonly told: { readonly text: string; readonly role: Role } | undefined
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
    picking: undefined,
    search: undefined,
    overlay: undefined,
    told: undefined,
    relays: [],
    focused: true,
    leaving: false,
    nextKey: 1,
  }
}

/** Returns the editor that the keys change: the search, or the line of the open conversation. */
export function editorOf(state: State): Editor {
  return state.search ?? openConversation(state)?.editor ?? EMPTY
}

export function openConversation(state: State): Conversation | undefined {
  return state.conversations.find(({ id }) => id === state.open)
}

/** Returns the prompt of the editor. */
export function promptOf(state: State): string {
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
