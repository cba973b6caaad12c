/**
 * The chat as a machine: what is known, and what a key or a message makes of it. Pure: `update` gives the next state
 * and what is to be done outside (send, acknowledge, leave); clock, terminal, disk and messenger are the session's.
 * Every text of somebody else's becomes one that can be shown here, when it comes in.
 */
import { COMMANDS, type CommandName, complete, parseLine, words } from './command.ts'
import {
  type Compose, type Conversation, type Delivery, type DeliveryState, type Entry, STRANGERS, type Transfer, unreadOf, type Verdict,
} from './conversation.ts'
import { clear, type Edit, edit, type Editor, EMPTY, insert, MOST_TEXT, replace, textOf } from './editor.ts'
import { type Geometry, geometryOf, PROMPT, type Size } from './geometry.ts'
import type { KeyInput } from './keys.ts'
import { type Role, showLine, showText, widthOf, wrap } from './text.ts'
import { anchoredAround, anchoredAtTop, type Line, type Look, matches, scrolled, transcript } from './transcript.ts'

export interface RelayState {
  readonly relay: string
  readonly state: 'connecting' | 'up' | 'down'
  readonly why?: string
}

/** A text over everything else, until it is put away. */
export interface Overlay {
  readonly title: string
  readonly text: string
  /** Rows that were scrolled away. */
  readonly top: number
}

export interface State {
  readonly look: Look
  readonly size: Size
  /** One's own name, as it is shown. */
  readonly me: string
  /** Contacts and groups by name, strangers last. */
  readonly conversations: readonly Conversation[]
  readonly open: string | undefined
  /** The list of conversations has the keys, and which of them is meant. */
  readonly picking: number | undefined
  readonly search: Editor | undefined
  readonly overlay: Overlay | undefined
  readonly told: { readonly text: string; readonly role: Role } | undefined
  readonly relays: readonly RelayState[]
  readonly receipts: boolean
  /** The terminal has the person's eyes, as far as it tells. */
  readonly focused: boolean
  /** They asked to leave although something has not been sent yet. */
  readonly leaving: boolean
  readonly nextKey: number
}

/** A person or a group of the book. */
export interface Party {
  readonly id: string
  readonly kind: 'contact' | 'group'
  readonly name: string
  readonly verified?: boolean
  readonly members?: readonly string[]
  readonly left?: true
}

/** Something that came; texts as their sender wrote them. */
export interface Arrival {
  /** What it is acknowledged by; undefined where there is nothing to be. */
  readonly ticket?: number
  readonly conversation: string
  readonly author: string
  readonly fingerprint?: string
  readonly id?: string
  readonly at: number
  readonly verdict: Verdict
  readonly text: string
  /** It changes an earlier one of the same author. */
  readonly change?: { readonly of: string; readonly to: 'edited' | 'removed' }
  readonly replyTo?: string
  readonly gap?: true
  readonly late?: true
  readonly card?: string
}

/** What an earlier session kept. */
export interface Kept extends Omit<Arrival, 'ticket' | 'gap' | 'late'> {
  readonly mine: boolean
  readonly deliveries: readonly Delivery[]
}

export type Input =
  | KeyInput
  | { readonly kind: 'resize'; readonly size: Size }
  | { readonly kind: 'people'; readonly parties: readonly Party[] }
  | { readonly kind: 'open'; readonly conversation: string }
  | { readonly kind: 'arrival'; readonly arrival: Arrival }
  | { readonly kind: 'earlier'; readonly kept: readonly Kept[] }
  | { readonly kind: 'sent'; readonly key: number; readonly deliveries: readonly Delivery[] }
  | { readonly kind: 'unsent'; readonly key: number; readonly why: string }
  | { readonly kind: 'delivery'; readonly id: string; readonly state: DeliveryState; readonly why?: string }
  | { readonly kind: 'transfer'; readonly key: number; readonly transfer: Transfer }
  /** A file that comes: `id` is the file's. */
  | {
      readonly kind: 'file'; readonly conversation: string; readonly id: string; readonly author: string; readonly fingerprint: string
      readonly transfer: Transfer
    }
  | { readonly kind: 'relay'; readonly relay: RelayState }
  | { readonly kind: 'told'; readonly text: string; readonly role?: Role }
  | { readonly kind: 'note'; readonly conversation: string; readonly text: string }
  | { readonly kind: 'show'; readonly title: string; readonly text: string }
  | { readonly kind: 'receipts'; readonly on: boolean }
  /** These entries' last rows are on the screen (or written, in plain mode). */
  | { readonly kind: 'drawn'; readonly keys: readonly number[] }
  | { readonly kind: 'paths'; readonly line: string; readonly found: readonly string[] }
  /** A whole line, as plain mode reads them. */
  | { readonly kind: 'line'; readonly text: string }

export type Effect =
  | { readonly kind: 'send'; readonly key: number; readonly conversation: string; readonly text: string; readonly replyTo?: string }
  | { readonly kind: 'edit'; readonly conversation: string; readonly of: readonly Delivery[]; readonly text: string }
  | { readonly kind: 'remove'; readonly conversation: string; readonly of: readonly Delivery[] }
  | { readonly kind: 'file'; readonly key: number; readonly conversation: string; readonly path: string }
  | { readonly kind: 'card' }
  | { readonly kind: 'verify'; readonly conversation: string; readonly confirmed: boolean }
  | { readonly kind: 'add'; readonly card: string; readonly name?: string }
  | { readonly kind: 'group'; readonly conversation: string | undefined; readonly words: readonly string[] }
  | { readonly kind: 'receipts'; readonly on: boolean }
  | { readonly kind: 'paths'; readonly line: string; readonly prefix: string }
  /** Shown: acknowledge these. */
  | { readonly kind: 'done'; readonly tickets: readonly number[] }
  /** Read, in a conversation that is open. */
  | { readonly kind: 'read'; readonly messages: readonly { readonly from: string; readonly id: string }[] }
  /** Something came that the person does not see. */
  | { readonly kind: 'attention' }
  | { readonly kind: 'redraw' }
  | { readonly kind: 'suspend' }
  | { readonly kind: 'quit' }

/** A conversation keeps that many entries of a session, the newest. */
const MOST_ENTRIES = 2_000
/** Anybody can fill theirs. */
const MOST_STRANGERS = 200
const QUOTE = 80

export function initialState(options: { readonly me: string; readonly look: Look; readonly size: Size; readonly receipts: boolean }): State {
  return {
    ...options, me: showLine(options.me), conversations: [], open: undefined, picking: undefined, search: undefined, overlay: undefined,
    told: undefined, relays: [], focused: true, leaving: false, nextKey: 1,
  }
}

/** @param now milliseconds since 1970 */
export function update(state: State, input: Input, now: number): { readonly state: State; readonly effects: readonly Effect[] } {
  const step = new Step(state, now)
  step.take(input)
  return { state: step.state, effects: step.effects }
}

/** What the keys write into: the search where there is one, else the open conversation's line. */
export function editorOf(state: State): Editor {
  return state.search ?? openConversation(state)?.editor ?? EMPTY
}

export function openConversation(state: State): Conversation | undefined {
  return state.conversations.find(({ id }) => id === state.open)
}

/** What stands before the line that is written. */
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

const EDITS: Readonly<Record<string, Edit>> = {
  'left': 'left', 'right': 'right', 'ctrl+b': 'left', 'ctrl+left': 'word-left', 'ctrl+right': 'word-right', 'alt+left': 'word-left',
  'alt+right': 'word-right', 'alt+b': 'word-left', 'alt+f': 'word-right', 'home': 'home', 'end': 'end', 'ctrl+a': 'home', 'ctrl+e': 'end',
  'up': 'up', 'down': 'down', 'backspace': 'backspace', 'shift+backspace': 'backspace', 'delete': 'delete', 'ctrl+d': 'delete',
  'ctrl+w': 'word-back', 'alt+backspace': 'word-back', 'ctrl+backspace': 'word-back', 'alt+d': 'word-forward', 'ctrl+delete': 'word-forward',
  'ctrl+u': 'to-home', 'ctrl+k': 'to-end', 'ctrl+y': 'yank', 'ctrl+t': 'transpose', 'ctrl+_': 'undo',
}
const NEW_LINE = new Set(['alt+enter', 'ctrl+j', 'shift+enter', 'ctrl+enter'])

export const KEYS: readonly (readonly [keys: string, about: string])[] = [
  ['Enter', 'send'],
  ['Alt+Enter, Ctrl+J', 'a new line'],
  ['Ctrl+N, Ctrl+P', 'the next, the previous conversation'],
  ['Alt+A', 'the next conversation with something new'],
  ['Alt+1 … Alt+9', 'a conversation by its place'],
  ['Ctrl+O', 'the list of conversations'],
  ['PageUp, PageDown', 'scroll; Ctrl+Home and Ctrl+End to either end'],
  ['Alt+Up, Alt+Down', 'choose a message, for /reply, /edit, /remove and /add; Esc lets go'],
  ['Ctrl+F', 'search what this session saw; Enter for the match before'],
  ['Up, Down', 'lines of the text; beyond them, texts sent before'],
  ['Ctrl+A, E, W, U, K, Y, T, _', 'begin, end, kill a word, to the begin, to the end, put back, swap, undo'],
  ['Tab', 'complete a command, a name, a path'],
  ['Ctrl+L, Ctrl+Z', 'draw again, suspend'],
  ['Ctrl+C, Ctrl+D', 'clear the line; on an empty one, leave'],
]

/** Left and right in two columns, the right one broken into lines of its own; one below the other where there is little room. */
function helpText({ columns }: Size, { plain }: Look): string {
  const wide = columns >= 64
  const indent = wide ? 24 : 6
  const rows = (all: readonly (readonly [string, string])[]): string[] =>
    all.flatMap(([left, right]) => {
      const about = wrap(right, columns - indent).map((row) => ' '.repeat(indent) + row.map(({ text }) => text).join(''))
      const head = `  ${left}`
      return wide && head.length < indent - 1 ? [head.padEnd(indent) + about[0]!.slice(indent), ...about.slice(1)] : [head, ...about]
    })
  const commands = Object.entries(COMMANDS).map(([name, { takes, about }]) => [`/${name} ${takes}`.trim(), about] as const)
  return ['Commands', ...rows(commands), ...(plain === true ? [] : ['', 'Keys', ...rows(KEYS)])].join('\n')
}

class Step {
  state: State
  readonly effects: Effect[] = []
  readonly #now: number

  constructor(state: State, now: number) {
    this.state = state
    this.#now = now
  }

  take(input: Input): void {
    switch (input.kind) {
      case 'key':
        return this.#key(input.chord)
      case 'text':
        return this.#typed(input.text)
      case 'paste':
        return this.#pasted(input.text)
      case 'focus':
        return this.#set({ focused: input.focused })
      case 'mouse':
        return this.#mouse(input)
      case 'resize':
        return this.#set({ size: input.size })
      case 'people':
        return this.#people(input.parties)
      case 'open':
        return this.#open(input.conversation)
      case 'arrival':
        return this.#arrive(input.arrival)
      case 'earlier':
        return this.#earlier(input.kept)
      case 'sent':
        return this.#changeEntry(input.key, (entry) => ({ ...entry, deliveries: input.deliveries, id: input.deliveries[0]?.id ?? '' }))
      case 'unsent':
        return this.#changeEntry(input.key, (entry) => ({
          ...entry, deliveries: [{ id: '', member: '', to: '', state: 'failed', why: showLine(input.why) }],
        }))
      case 'delivery':
        return this.#delivery(input.id, input.state, input.why)
      case 'transfer':
        return this.#changeEntry(input.key, (entry) => ({ ...entry, file: shownTransfer(input.transfer) }))
      case 'file':
        return this.#file(input)
      case 'relay':
        return this.#relay(input.relay)
      case 'told':
        return this.#tell(input.text, input.role)
      case 'note':
        return this.#note(input.conversation, input.text)
      case 'show':
        return this.#set({ overlay: { title: showLine(input.title), text: showText(input.text), top: 0 } })
      case 'receipts':
        return this.#set({ receipts: input.on })
      case 'drawn':
        return this.#drawn(input.keys)
      case 'paths':
        return this.#completed(input.line, input.found)
      case 'line':
        return this.#submit(input.text)
    }
  }

  #set(change: Partial<State>): void {
    this.state = { ...this.state, ...change }
  }

  #tell(text: string, role: Role = 'plain'): void {
    this.#set({ told: { text: showLine(text), role } })
  }

  #change(id: string, change: (conversation: Conversation) => Conversation): void {
    this.#set({ conversations: this.state.conversations.map((each) => (each.id === id ? change(each) : each)) })
  }

  #changeOpen(change: (conversation: Conversation) => Conversation): void {
    if (this.state.open !== undefined) this.#change(this.state.open, change)
  }

  #changeEntry(key: number, change: (entry: Entry) => Entry): void {
    const holder = this.state.conversations.find(({ entries }) => entries.some((each) => each.key === key))
    if (holder === undefined) return
    this.#change(holder.id, (conversation) => ({
      ...conversation,
      entries: conversation.entries.map((each) => (each.key === key ? change(each) : each)),
    }))
  }

  #setEditor(editor: Editor): void {
    if (this.state.search !== undefined) {
      this.#set({ search: editor })
      this.#find(0)
    } else this.#changeOpen((conversation) => ({ ...conversation, editor }))
  }

  // --- keys ---

  #typed(text: string): void {
    this.#set({ told: undefined, leaving: false })
    if (this.state.overlay !== undefined) return text === 'q' ? this.#set({ overlay: undefined }) : undefined
    if (this.state.picking !== undefined) return
    this.#setEditor(insert(editorOf(this.state), text))
  }

  #pasted(text: string): void {
    if (this.state.overlay !== undefined || this.state.picking !== undefined) return
    this.#set({ told: undefined, leaving: false })
    const room = MOST_TEXT - textOf(editorOf(this.state)).length
    // A line break at the end of what was copied is not meant.
    const meant = text.replace(/(?:\r\n?|\n)$/, '')
    this.#setEditor(insert(editorOf(this.state), this.state.search === undefined ? meant : meant.replaceAll(/\s+/g, ' ')))
    if (meant.length > room) this.#tell('that is too long: not all of it is here; /file sends a file', 'bad')
  }

  #key(chord: string): void {
    const { leaving } = this.state
    this.#set({ told: undefined, leaving: false })
    if (chord === 'ctrl+z') return void this.effects.push({ kind: 'suspend' })
    if (chord === 'ctrl+l') return void this.effects.push({ kind: 'redraw' })
    if (this.state.overlay !== undefined) return this.#overlayKey(this.state.overlay, chord)
    if (this.state.picking !== undefined) return this.#pickingKey(this.state.picking, chord)
    if (this.#moveKey(chord)) return
    if (this.state.search !== undefined) return this.#searchKey(this.state.search, chord)
    this.#writeKey(chord, leaving)
  }

  #overlayKey(overlay: Overlay, chord: string): void {
    const page = Math.max(1, this.state.size.rows - 3)
    const by: Readonly<Record<string, number>> = { up: -1, down: 1, pageup: -page, pagedown: page, space: page, home: -1e6, end: 1e6 }
    const move = by[chord]
    if (move !== undefined) {
      const rows = overlay.text.split('\n').length
      this.#set({ overlay: { ...overlay, top: Math.min(Math.max(0, overlay.top + move), Math.max(0, rows - 1)) } })
    } else if (['escape', 'enter', 'ctrl+c', 'ctrl+d', 'f1'].includes(chord)) this.#set({ overlay: undefined })
  }

  #pickingKey(picking: number, chord: string): void {
    const count = this.state.conversations.length
    if (chord === 'up' || chord === 'ctrl+p') this.#set({ picking: (picking - 1 + count) % count })
    else if (chord === 'down' || chord === 'ctrl+n' || chord === 'tab') this.#set({ picking: (picking + 1) % count })
    else if (chord === 'enter') this.#open(this.state.conversations[picking]!.id)
    else if (chord === 'escape' || chord === 'ctrl+o' || chord === 'ctrl+c') this.#set({ picking: undefined })
  }

  /** Keys that mean the same while one writes and while one searches. */
  #moveKey(chord: string): boolean {
    const { conversations, open } = this.state
    const at = conversations.findIndex(({ id }) => id === open)
    const page = Math.max(1, geometry(this.state).pane.rows - 2)
    const place = /^alt\+([1-9])$/.exec(chord)
    if (place !== null) {
      const conversation = conversations[Number(place[1]) - 1]
      if (conversation !== undefined) this.#open(conversation.id)
      return true
    }
    switch (chord) {
      case 'ctrl+n':
      case 'ctrl+p': {
        const count = conversations.length
        const next = conversations[(at + (chord === 'ctrl+n' ? 1 : -1) + count) % Math.max(1, count)]
        if (next !== undefined) this.#open(next.id)
        return true
      }
      case 'alt+a': {
        const next = [...conversations.slice(at + 1), ...conversations.slice(0, Math.max(0, at))].find((each) => unreadOf(each) > 0)
        if (next === undefined) this.#tell('nothing new')
        else this.#open(next.id)
        return true
      }
      case 'ctrl+o':
      case 'f2':
        if (conversations.length > 0) this.#set({ picking: Math.max(0, at) })
        return true
      case 'f1':
        this.#help()
        return true
      case 'pageup':
        this.#scroll(-page)
        return true
      case 'pagedown':
        this.#scroll(page)
        return true
      case 'ctrl+up':
      case 'shift+up':
        this.#scroll(-1)
        return true
      case 'ctrl+down':
      case 'shift+down':
        this.#scroll(1)
        return true
      case 'ctrl+home':
        this.#scroll(-1e9)
        return true
      case 'ctrl+end':
        this.#scroll(1e9)
        return true
      default:
        return false
    }
  }

  #writeKey(chord: string, leaving: boolean): void {
    const editor = editorOf(this.state)
    const open = openConversation(this.state)
    const isEmpty = editor.text.length === 0
    if (NEW_LINE.has(chord)) return this.#setEditor(insert(editor, '\n'))
    switch (chord) {
      case 'enter':
        return this.#submit(textOf(editor))
      case 'tab':
        return this.#complete(textOf(editor))
      case 'ctrl+f':
        return this.#set({ search: EMPTY })
      case 'alt+up':
      case 'alt+down':
        return this.#choose(chord === 'alt+up' ? -1 : 1)
      case 'escape':
        return this.#changeOpen((each) => letGo(each))
      case 'ctrl+c':
        if (isEmpty && (open === undefined || open.compose.kind === 'new')) return this.#quit(leaving)
        return this.#changeOpen((each) => ({ ...letGo(each), editor: clear(each.compose.kind === 'edit' ? { ...each.editor, text: [] } : each.editor) }))
      case 'ctrl+d':
        return isEmpty ? this.#quit(leaving) : this.#setEditor(edit(editor, 'delete', 0))
      default: {
        const what = EDITS[chord]
        if (what !== undefined) this.#setEditor(edit(editor, what, geometry(this.state).editor.columns))
      }
    }
  }

  #searchKey(search: Editor, chord: string): void {
    if (chord === 'escape' || chord === 'ctrl+c') return this.#set({ search: undefined })
    if (chord === 'enter' || chord === 'up' || chord === 'ctrl+f' || chord === 'ctrl+r') return this.#find(-1)
    if (chord === 'down' || chord === 'ctrl+s') return this.#find(1)
    const what = EDITS[chord]
    if (what !== undefined) this.#setEditor(edit(search, what, 1_000))
  }

  #mouse(input: Extract<KeyInput, { kind: 'mouse' }>): void {
    if (this.state.overlay !== undefined) return this.#overlayKey(this.state.overlay, input.action === 'up' ? 'up' : 'down')
    if (input.action === 'up') return this.#scroll(-3)
    if (input.action === 'down') return this.#scroll(3)
    const { list, bar, pane } = geometry(this.state)
    const at = input.row - bar
    const conversation = this.state.conversations[at]
    if (input.column < list && at >= 0 && at < pane.rows && conversation !== undefined) this.#open(conversation.id)
  }

  // --- looking around ---

  #scroll(by: number): void {
    const { pane } = geometry(this.state)
    this.#changeOpen((each) => ({ ...each, scroll: scrolled(linesOf(this.state, each, pane.columns), each.scroll, by, pane.rows) }))
  }

  #open(id: string): void {
    const before = this.state.open
    const conversation = this.state.conversations.find((each) => each.id === id)
    if (conversation === undefined) return
    if (before !== undefined && before !== id) this.#change(before, (each) => ({ ...each, newFrom: undefined, chosen: undefined }))
    this.#set({ open: id, picking: undefined })
    if (before === id) return
    const fresh = conversation.entries.find(({ unseen }) => unseen)?.key
    this.#change(id, (each) => ({ ...each, newFrom: fresh }))
    this.#showUnseen()
    if (this.state.search !== undefined) this.#find(0)
  }

  /** At the bottom, unless something that was not seen yet would be above the screen. */
  #showUnseen(): void {
    const { pane } = geometry(this.state)
    const open = openConversation(this.state)
    const first = open?.entries.find(({ unseen }) => unseen)?.key
    if (open === undefined || first === undefined) return
    this.#changeOpen((each) => ({ ...each, scroll: anchoredAtTop(linesOf(this.state, each, pane.columns), first, pane.rows) }))
  }

  #choose(step: -1 | 1): void {
    this.#changeOpen((each) => {
      const able = each.entries.filter(({ from }) => from !== 'note').map(({ key }) => key)
      const at = each.chosen === undefined ? able.length : able.indexOf(each.chosen)
      return { ...each, chosen: step === 1 && at >= able.length - 1 ? undefined : able[Math.max(0, at + step)] }
    })
    this.#showChosen()
  }

  #showChosen(): void {
    const { pane } = geometry(this.state)
    this.#changeOpen((each) =>
      each.chosen === undefined
        ? each
        : { ...each, scroll: anchoredAround(linesOf(this.state, each, pane.columns), each.chosen, each.scroll, pane.rows) },
    )
  }

  /** The match before (-1), after (1), or the newest up to the one that is shown (0). */
  #find(step: -1 | 0 | 1): void {
    const open = openConversation(this.state)
    const query = this.state.search === undefined ? '' : textOf(this.state.search)
    if (open === undefined || query === '') return
    const found = open.entries.filter((each) => isFound(each, query)).map(({ key }) => key)
    const current = open.chosen ?? Infinity
    const next = step === 1
      ? found.find((key) => key > current)
      : (found.findLast((key) => (step === 0 ? key <= current : key < current)) ?? (step === 0 ? found.at(-1) : undefined))
    const elsewhere = this.state.conversations
      .filter(({ id }) => id !== open.id)
      .map(({ name, entries }) => ({ name, count: entries.filter((each) => isFound(each, query)).length }))
      .filter(({ count }) => count > 0)
      .map(({ name, count }) => `${name} ${count}`)
    const place = next === undefined ? found.indexOf(current) : found.indexOf(next)
    const here = found.length === 0 ? 'not here' : `${found.length - place} of ${found.length}`
    this.#tell(elsewhere.length === 0 ? here : `${here}; elsewhere: ${elsewhere.join(', ')}`, found.length === 0 ? 'warn' : 'plain')
    if (next === undefined) return
    this.#changeOpen((each) => ({ ...each, chosen: next }))
    this.#showChosen()
  }

  #help(): void {
    this.#set({ overlay: { title: 'help', text: helpText(this.state.size, this.state.look), top: 0 } })
  }

  // --- writing ---

  #submit(line: string): void {
    if (line.trim() === '') return
    const parsed = parseLine(line)
    switch (parsed.kind) {
      case 'unknown':
        return this.#tell('there is no such command: /help shows them; // begins a text with a slash', 'bad')
      case 'command':
        return this.#command(parsed.name, parsed.rest)
      case 'text':
        return this.#say(parsed.text.trimEnd())
    }
  }

  #say(text: string): void {
    const open = openConversation(this.state)
    if (open === undefined || open.kind === 'strangers') return this.#tell('there is nobody to write to here: /to NAME opens a conversation', 'bad')
    if (open.left === true) return this.#tell('you left this group', 'bad')
    const { compose } = open
    switch (compose.kind) {
      case 'new':
        return this.#send(open, text, undefined)
      case 'reply':
        return this.#send(open, text, open.entries.find(({ key }) => key === compose.key))
      case 'edit':
        return this.#edit(open, compose.key, text)
    }
  }

  #send(open: Conversation, text: string, replied: Entry | undefined): void {
    const replyTo = replied?.id
    const entry = this.#append(open.id, {
      at: this.#now, from: 'me', author: 'you', text: showText(text), written: text,
      deliveries: [{ id: '', member: '', to: '', state: 'waiting' }],
      ...(replied !== undefined && { reply: quote(replied) }),
    })
    this.#change(open.id, (each) => ({ ...letGo(each), editor: clear(each.editor), scroll: undefined, newFrom: undefined }))
    this.effects.push({ kind: 'send', key: entry.key, conversation: open.id, text, ...(replyTo !== undefined && { replyTo }) })
  }

  #edit(open: Conversation, key: number, text: string): void {
    const entry = open.entries.find((each) => each.key === key)
    if (entry === undefined) return
    this.#changeEntry(key, (each) => ({ ...each, text: showText(text), written: text, changed: 'edited' }))
    this.#change(open.id, (each) => ({ ...letGo(each), editor: clear(each.editor) }))
    this.effects.push({ kind: 'edit', conversation: open.id, of: entry.deliveries, text })
  }

  #command(name: CommandName, rest: string): void {
    const open = openConversation(this.state)
    // What needs more stays to be corrected.
    const done = (): void => this.#changeOpen((each) => ({ ...each, editor: clear(each.editor) }))
    switch (name) {
      case 'help':
        done()
        return this.#help()
      case 'quit':
        return this.#quit(this.state.leaving)
      case 'to': {
        const found = this.#named(rest)
        if (found === undefined) return this.#tell('there is nobody, or more than one, of that name', 'bad')
        done()
        return this.#open(found.id)
      }
      case 'card':
        done()
        return void this.effects.push({ kind: 'card' })
      case 'verify':
        if (open?.kind !== 'contact') return this.#tell('this is no conversation with one contact', 'bad')
        done()
        return void this.effects.push({ kind: 'verify', conversation: open.id, confirmed: rest === 'yes' })
      case 'receipts':
        if (rest !== 'on' && rest !== 'off') return this.#tell(`receipts of reading are ${this.state.receipts ? 'on' : 'off'}: /receipts on, or off`)
        done()
        this.#set({ receipts: rest === 'on' })
        this.#tell(rest === 'on' ? 'others learn when you read their messages' : 'nobody learns when you read')
        return void this.effects.push({ kind: 'receipts', on: rest === 'on' })
      case 'group':
        if (rest === '') return this.#tell(`/group ${COMMANDS.group.takes}`)
        done()
        return void this.effects.push({ kind: 'group', conversation: open?.kind === 'group' ? open.id : undefined, words: words(rest) })
      case 'add': {
        const card = this.#meant(open, (each) => each.card !== undefined)?.card
        if (card === undefined) return this.#tell('there is no card here', 'bad')
        done()
        return void this.effects.push({ kind: 'add', card, ...(rest !== '' && { name: rest }) })
      }
      case 'file':
        return this.#sendFile(open, rest)
      case 'reply':
      case 'edit':
      case 'remove':
        return this.#about(name, open, rest)
    }
  }

  #about(name: 'reply' | 'edit' | 'remove', open: Conversation | undefined, rest: string): void {
    const wanted = (entry: Entry): boolean =>
      name === 'reply' ? entry.from === 'them' && entry.id !== undefined : entry.from === 'me' && entry.changed !== 'removed' && isOut(entry) && entry.file === undefined
    const entry = this.#meant(open, wanted)
    if (open === undefined || open.kind === 'strangers' || entry === undefined) return this.#tell(`there is nothing to ${name}`, 'bad')
    switch (name) {
      case 'reply':
        if (rest !== '') return this.#send(open, rest, entry)
        return this.#compose(open, { kind: 'reply', key: entry.key }, '')
      case 'edit':
        if (rest !== '') return this.#edit(open, entry.key, rest)
        return this.#compose(open, { kind: 'edit', key: entry.key }, entry.written ?? entry.text)
      case 'remove':
        this.#changeEntry(entry.key, (each) => ({ ...each, text: '', changed: 'removed' }))
        this.#change(open.id, (each) => ({ ...letGo(each), editor: clear(each.editor) }))
        return void this.effects.push({ kind: 'remove', conversation: open.id, of: entry.deliveries })
    }
  }

  #compose(open: Conversation, compose: Compose, text: string): void {
    this.#change(open.id, (each) => ({ ...each, compose, chosen: compose.kind === 'new' ? undefined : compose.key, editor: replace(clear(each.editor), text) }))
    this.#tell(compose.kind === 'edit' ? 'Enter changes the message, Esc leaves it' : 'Enter answers, Esc does not')
  }

  /** The chosen entry where it is of the wanted kind, else the last that is. */
  #meant(open: Conversation | undefined, wanted: (entry: Entry) => boolean): Entry | undefined {
    const chosen = open?.entries.find(({ key }) => key === open.chosen)
    return chosen !== undefined ? (wanted(chosen) ? chosen : undefined) : open?.entries.findLast(wanted)
  }

  #sendFile(open: Conversation | undefined, path: string): void {
    if (open === undefined || open.kind === 'strangers' || open.left === true) return this.#tell('there is nobody to send it to here', 'bad')
    if (path === '') return this.#tell('which file? /file PATH; Tab completes it', 'bad')
    const { key } = this.#append(open.id, {
      at: this.#now, from: 'me', author: 'you', text: '', deliveries: [{ id: '', member: '', to: '', state: 'waiting' }],
      file: { name: showLine(path.split('/').at(-1) ?? path), total: 0, moved: 0, state: 'moving' },
    })
    this.#change(open.id, (each) => ({ ...each, editor: clear(each.editor), scroll: undefined }))
    this.effects.push({ kind: 'file', key, conversation: open.id, path })
  }

  #quit(leaving: boolean): void {
    const waiting = this.state.conversations.flatMap(({ entries }) => entries).filter(({ deliveries }) => deliveries.some(({ state }) => state === 'waiting')).length
    if (waiting > 0 && !leaving) {
      this.#set({ leaving: true })
      return this.#tell(`${waiting} of your messages ${waiting === 1 ? 'is' : 'are'} at no relay yet: again to leave all the same`, 'bad')
    }
    this.effects.push({ kind: 'quit' })
  }

  #named(name: string): Conversation | undefined {
    const { conversations } = this.state
    const wanted = name.toLowerCase()
    const exact = conversations.find((each) => each.name.toLowerCase() === wanted)
    const begins = conversations.filter((each) => each.name.toLowerCase().startsWith(wanted))
    return exact ?? (begins.length === 1 && wanted !== '' ? begins[0] : undefined)
  }

  #complete(line: string): void {
    if (!line.startsWith('/')) return
    const path = /^\/file\s+(.*)$/s.exec(line)
    if (path !== null) return void this.effects.push({ kind: 'paths', line, prefix: path[1]! })
    this.#completed(line, [])
  }

  #completed(line: string, paths: readonly string[]): void {
    const editor = editorOf(this.state)
    if (textOf(editor) !== line || this.state.search !== undefined) return
    const completion = complete(line, this.state.conversations.map(({ name }) => name), paths)
    if (completion.line !== line) this.#setEditor(replace(editor, completion.line))
    if (completion.candidates.length > 1) this.#tell(completion.candidates.join('  '))
  }

  // --- what comes ---

  #append(id: string, entry: Omit<Entry, 'key' | 'verdict' | 'deliveries' | 'unseen' | 'tickets'> & Partial<Entry>): Entry {
    const whole: Entry = { verdict: 'genuine', deliveries: [], unseen: false, tickets: [], ...entry, key: this.state.nextKey }
    this.#set({ nextKey: this.state.nextKey + 1 })
    this.#change(id, (each) => {
      const entries = [...each.entries, whole]
      const extra = entries.length - (id === STRANGERS ? MOST_STRANGERS : MOST_ENTRIES)
      // What is not acknowledged yet stays; the relays' windows bound it.
      return { ...each, entries: extra > 0 ? entries.filter(({ tickets }, index) => index >= extra || tickets.length > 0) : entries }
    })
    return whole
  }

  #people(parties: readonly Party[]): void {
    const before = new Map(this.state.conversations.map((each) => [each.id, each]))
    const known = parties.map((party): Conversation => {
      const old = before.get(party.id) ?? blank(party.id, party.kind)
      const { left: _, ...rest } = old
      return {
        ...rest, kind: party.kind, name: showLine(party.name), verified: party.verified === true,
        members: (party.members ?? []).map(showLine), ...(party.left === true && { left: true }),
      }
    })
    known.sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0))
    const strangers = before.get(STRANGERS)
    this.#set({ conversations: strangers === undefined ? known : [...known, strangers] })
    if (strangers !== undefined) this.#introduce(strangers)
    const open = openConversation(this.state)
    if (open === undefined) {
      this.#set({ open: undefined })
      const [first] = this.state.conversations
      if (first !== undefined) this.#open(first.id)
    }
  }

  /** What strangers wrote who are contacts now. */
  #introduce(strangers: Conversation): void {
    for (const { id, kind, name } of this.state.conversations) {
      if (kind !== 'contact') continue
      const own = strangers.entries.filter(({ fingerprint, verdict }) => fingerprint === id && verdict !== 'forged' && verdict !== 'readdressed' && verdict !== 'replayed')
      if (own.length === 0) continue
      const keys = new Set(own.map(({ key }) => key))
      this.#change(STRANGERS, (each) => ({ ...each, entries: each.entries.filter(({ key }) => !keys.has(key)), scroll: undefined, chosen: undefined }))
      this.#change(id, (each) => ({
        ...each,
        entries: [...each.entries, ...own.map((entry) => ({ ...entry, author: name }))].toSorted((a, b) => a.key - b.key),
      }))
    }
  }

  #arrive(arrival: Arrival): void {
    const id = this.#place(arrival.conversation)
    const conversation = this.state.conversations.find((each) => each.id === id)!
    const tickets = arrival.ticket === undefined ? [] : [arrival.ticket]
    const { change } = arrival
    if (change !== undefined) {
      const target = conversation.entries.find((each) => each.from === 'them' && each.id === change.of && each.fingerprint === arrival.fingerprint)
      if (target !== undefined) {
        return this.#changeEntry(target.key, (each) => ({
          ...each, text: change.to === 'removed' ? '' : showText(arrival.text), changed: change.to, unseen: true, tickets: [...each.tickets, ...tickets],
        }))
      }
    }
    const unknown = change === undefined ? '' : change.to === 'removed' ? '(took back a message that is not here)' : '(changed a message that is not here) '
    const replied = arrival.replyTo === undefined ? undefined : conversation.entries.find((each) => isOf(each, arrival.replyTo!))
    const entry = this.#append(id, {
      at: arrival.at, from: 'them', author: showLine(arrival.author), text: unknown + showText(arrival.text), verdict: arrival.verdict, unseen: true, tickets,
      ...(arrival.fingerprint !== undefined && { fingerprint: arrival.fingerprint }),
      ...(arrival.id !== undefined && { id: arrival.id }),
      ...(arrival.replyTo !== undefined && { reply: replied === undefined ? '(a message that is not here)' : quote(replied) }),
      ...(arrival.gap === true && { gap: true }),
      ...(arrival.late === true && { late: true }),
      ...(arrival.card !== undefined && { card: arrival.card }),
    })
    this.#fresh(id, entry)
  }

  /** Something new stands in a conversation. */
  #fresh(id: string, { key }: Entry): void {
    const open = openConversation(this.state)
    if (open?.id === id) {
      if (open.scroll === undefined) this.#showUnseen()
      if (!this.state.focused && open.newFrom === undefined) this.#change(id, (each) => ({ ...each, newFrom: key }))
    }
    // Strangers must not be able to ring.
    if (id !== STRANGERS && (open?.id !== id || !this.state.focused)) this.effects.push({ kind: 'attention' })
  }

  /** The conversation of that id, made where it is that of the strangers; a group that is not known is theirs, too. */
  #place(id: string): string {
    if (this.state.conversations.some((each) => each.id === id)) return id
    if (!this.state.conversations.some((each) => each.id === STRANGERS)) {
      this.#set({ conversations: [...this.state.conversations, blank(STRANGERS, 'strangers')] })
      if (this.state.open === undefined) this.#open(STRANGERS)
    }
    return STRANGERS
  }

  #earlier(kept: readonly Kept[]): void {
    for (const each of kept) {
      const conversation = this.state.conversations.find(({ id }) => id === each.conversation)
      if (conversation === undefined) continue
      const { change } = each
      const target = change === undefined ? undefined : conversation.entries.find((entry) => isOf(entry, change.of) && (entry.from === 'me') === each.mine)
      if (change !== undefined) {
        if (target !== undefined) {
          this.#changeEntry(target.key, (entry) => ({ ...entry, text: change.to === 'removed' ? '' : showText(each.text), changed: change.to }))
        }
        continue
      }
      const replied = each.replyTo === undefined ? undefined : conversation.entries.find((entry) => isOf(entry, each.replyTo!))
      this.#append(each.conversation, {
        at: each.at, from: each.mine ? 'me' : 'them', author: each.mine ? 'you' : showLine(each.author), text: showText(each.text), verdict: each.verdict,
        deliveries: each.deliveries, earlier: true,
        ...(each.fingerprint !== undefined && { fingerprint: each.fingerprint }),
        ...(each.id !== undefined && { id: each.id }),
        ...(replied !== undefined && { reply: quote(replied) }),
        ...(each.card !== undefined && { card: each.card }),
      })
    }
  }

  #delivery(id: string, state: DeliveryState, why: string | undefined): void {
    const holder = this.state.conversations.flatMap(({ entries }) => entries).findLast((entry) => entry.deliveries.some((each) => each.id === id))
    if (holder === undefined || id === '') return
    this.#changeEntry(holder.key, (entry) => ({
      ...entry,
      deliveries: entry.deliveries.map((each) => {
        if (each.id !== id) return each
        const { why: _, ...rest } = each
        return { ...rest, state, ...(why !== undefined && { why: showLine(why) }) }
      }),
    }))
  }

  #file(input: Extract<Input, { kind: 'file' }>): void {
    const id = this.#place(input.conversation)
    const transfer = shownTransfer(input.transfer)
    const known = this.state.conversations.find((each) => each.id === id)?.entries.find((each) => each.id === input.id && each.fingerprint === input.fingerprint)
    if (known !== undefined) return this.#changeEntry(known.key, (entry) => ({ ...entry, file: transfer }))
    const entry = this.#append(id, {
      id: input.id, at: this.#now, from: 'them', author: showLine(input.author), fingerprint: input.fingerprint, text: '', file: transfer, unseen: true,
    })
    this.#fresh(id, entry)
  }

  #relay(relay: RelayState): void {
    const why = relay.why === undefined ? {} : { why: showLine(relay.why) }
    const shown = { relay: showLine(relay.relay), state: relay.state, ...why }
    const known = this.state.relays.some((each) => each.relay === shown.relay)
    this.#set({ relays: known ? this.state.relays.map((each) => (each.relay === shown.relay ? shown : each)) : [...this.state.relays, shown] })
  }

  #note(conversation: string, text: string): void {
    if (this.state.conversations.some(({ id }) => id === conversation)) {
      this.#append(conversation, { at: this.#now, from: 'note', author: '', text: showText(text) })
    }
  }

  #drawn(keys: readonly number[]): void {
    const drawn = new Set(keys)
    const entries = this.state.conversations.flatMap(({ entries }) => entries).filter(({ key, unseen }) => unseen && drawn.has(key))
    if (entries.length === 0) return
    const tickets = entries.flatMap(({ tickets }) => tickets)
    if (tickets.length > 0) this.effects.push({ kind: 'done', tickets })
    const open = openConversation(this.state)?.entries ?? []
    const messages = entries
      .filter((each) => each.verdict === 'genuine' && each.from === 'them' && each.file === undefined && open.includes(each))
      .flatMap(({ id, fingerprint }) => (id === undefined || fingerprint === undefined ? [] : [{ from: fingerprint, id }]))
    if (messages.length > 0 && this.state.receipts) this.effects.push({ kind: 'read', messages })
    this.#set({
      conversations: this.state.conversations.map((each) =>
        each.entries.some(({ key, unseen }) => unseen && drawn.has(key))
          ? { ...each, entries: each.entries.map((entry) => (drawn.has(entry.key) ? { ...entry, unseen: false, tickets: [] } : entry)) }
          : each,
      ),
    })
  }
}

function blank(id: string, kind: Conversation['kind']): Conversation {
  return {
    id, kind, name: 'strangers', verified: false, members: [], entries: [], editor: EMPTY, compose: { kind: 'new' }, chosen: undefined,
    scroll: undefined, newFrom: undefined,
  }
}

/** No message is chosen, answered or changed any more; the text of one that was being changed goes. */
function letGo(conversation: Conversation): Conversation {
  const editor = conversation.compose.kind === 'edit' ? { ...conversation.editor, text: [], cursor: 0 } : conversation.editor
  return { ...conversation, compose: { kind: 'new' }, chosen: undefined, editor }
}

function isOf(entry: Entry, id: string): boolean {
  return id !== '' && (entry.id === id || entry.deliveries.some((each) => each.id === id))
}

/** At least one of its messages is known by an id: it went out, or is about to. */
function isOut({ deliveries }: Entry): boolean {
  return deliveries.some(({ id }) => id !== '')
}

function isFound({ text, from }: Entry, query: string): boolean {
  return from !== 'note' && matches(text, query).length > 0
}

function quote({ text, file }: Entry): string {
  const line = (file === undefined ? text : `file "${file.name}"`).replaceAll('\n', ' ')
  return line.length > QUOTE ? `${line.slice(0, QUOTE).toWellFormed()}…` : line
}

function shownTransfer(transfer: Transfer): Transfer {
  return { ...transfer, name: showLine(transfer.name), ...(transfer.note !== undefined && { note: showLine(transfer.note) }) }
}
