/**
 * The chat as a state machine. `update` is pure: it takes a state and an input, and returns the next state and the
 * effects to perform (send, acknowledge, leave). The session owns clock, terminal, disk and messenger. This module
 * handles the keys, news.ts the other inputs.
 */
import { clear, type Edit, edit, type Editor, EMPTY, insert, MOST_TEXT, textOf } from './editor.ts'
import { letGo, unreadOf } from './conversation.ts'
import type { Effect, Input } from './input.ts'
import type { KeyInput } from './keys.ts'
import { choose, find, scroll, showHelp, turnTo, write } from './navigation.ts'
import { onArrival, onDelivery, onDrawn, onEarlier, onFile, onNote, onPeople, onRelay, onTaken, onTick, onTransfer } from './news.ts'
import { editorOf, geometry, listed, openConversation, type Overlay, type Picking, type State } from './state.ts'
import { Step } from './step.ts'
import { showLine, showText } from './text.ts'
import { completeLine, onLine, onPaths, onRefused, quit, sayIn } from './writing.ts'

/** @param now milliseconds since 1970 */
export function update(state: State, input: Input, now: number): { readonly state: State; readonly effects: readonly Effect[] } {
  const step = new Step(state, now)
  take(step, input)
  return { state: step.state, effects: step.effects }
}

const EDITS: Readonly<Record<string, Edit>> = {
  left: 'left',
  right: 'right',
  'ctrl+b': 'left',
  'ctrl+left': 'word-left',
  'ctrl+right': 'word-right',
  'alt+left': 'word-left',
  'alt+right': 'word-right',
  'alt+b': 'word-left',
  'alt+f': 'word-right',
  home: 'home',
  end: 'end',
  'ctrl+a': 'home',
  'ctrl+e': 'end',
  up: 'up',
  down: 'down',
  backspace: 'backspace',
  'shift+backspace': 'backspace',
  delete: 'delete',
  'ctrl+d': 'delete',
  'ctrl+w': 'word-back',
  'alt+backspace': 'word-back',
  'ctrl+backspace': 'word-back',
  'alt+d': 'word-forward',
  'ctrl+delete': 'word-forward',
  'ctrl+u': 'to-home',
  'ctrl+k': 'to-end',
  'ctrl+y': 'yank',
  'ctrl+t': 'transpose',
  'ctrl+_': 'undo',
}
const NEW_LINE = new Set(['alt+enter', 'ctrl+j', 'shift+enter', 'ctrl+enter'])

function take(step: Step, input: Input): void {
  switch (input.kind) {
    case 'key':
      return onKey(step, input.chord)
    case 'text':
      return onText(step, input.text)
    case 'paste':
      return onPaste(step, input.text)
    case 'focus':
      return step.set({ focused: input.focused })
    case 'mouse':
      return onMouse(step, input)
    case 'resize':
      return step.set({ size: input.size })
    case 'people':
      return onPeople(step, input.parties)
    case 'open':
      return turnTo(step, input.conversation)
    case 'say':
      return sayIn(step, input.conversation, input.text)
    case 'arrival':
      return onArrival(step, input.arrival)
    case 'earlier':
      return onEarlier(step, input.kept)
    case 'sent':
      return step.changeEntry(input.key, (entry) => ({ ...entry, deliveries: input.deliveries, id: input.deliveries[0]?.id ?? '' }))
    case 'unsent':
      return step.changeEntry(input.key, (entry) => ({
        ...entry,
        deliveries: [{ id: '', member: '', to: '', state: 'failed', why: showLine(input.why) }],
      }))
    case 'delivery':
      return onDelivery(step, input)
    case 'transfer':
      return onTransfer(step, input.key, input.transfer)
    case 'file':
      return onFile(step, input)
    case 'tick':
      return onTick(step, input.seconds)
    case 'relay':
      return onRelay(step, input.relay)
    case 'relay-gone':
      return step.set({ relays: step.state.relays.filter(({ relay }) => relay !== input.relay) })
    case 'told':
      return step.tell(input.text, input.role)
    case 'refused':
      return onRefused(step, input.command, input.why)
    case 'note':
      return onNote(step, input.conversation, input.text)
    case 'show':
      return step.set({ overlay: { title: showLine(input.title), text: showText(input.text), top: 0 } })
    case 'receipts':
      return step.set({ receipts: input.on })
    case 'taken':
      return onTaken(step, input.ticket)
    case 'drawn':
      return onDrawn(step, input.keys)
    case 'paths':
      return onPaths(step, input.line, input.found)
    case 'line':
      return onLine(step, input.text)
  }
}

function onText(step: Step, text: string): void {
  step.set({ told: undefined, leaving: false })
  if (step.state.overlay !== undefined) return text === 'q' ? step.set({ overlay: undefined }) : undefined
  write(step, insert(editorOf(step.state), text))
}

function onPaste(step: Step, text: string): void {
  if (step.state.overlay !== undefined) return
  step.set({ told: undefined, leaving: false })
  const room = MOST_TEXT - textOf(editorOf(step.state)).length
  // A line break at the end comes from the way text is copied.
  const pasted = text.replace(/(?:\r\n?|\n)$/, '')
  const isLine = step.state.search === undefined && step.state.picking === undefined
  write(step, insert(editorOf(step.state), isLine ? pasted : pasted.replaceAll(/\s+/g, ' ')))
  if (pasted.length > room) step.tell('the pasted text is too long, so its end is missing; send a long text as a file with /file', 'bad')
}

function onKey(step: Step, chord: string): void {
  const { leaving } = step.state
  step.set({ told: undefined, leaving: false })
  if (chord === 'ctrl+z') return void step.effects.push({ kind: 'suspend' })
  if (chord === 'ctrl+l') return void step.effects.push({ kind: 'redraw' })
  if (chord === 'alt+c') return showAlone(step)
  if (step.state.overlay !== undefined) return overlayKey(step, step.state.overlay, chord)
  if (step.state.picking !== undefined) return pickingKey(step, step.state.picking, chord)
  if (moveKey(step, chord)) return
  if (step.state.search !== undefined) return searchKey(step, step.state.search, chord)
  writeKey(step, chord, leaving)
}

/** Shows one text alone and unwrapped, so that the terminal copies it whole: the overlay, or the selected or last message. */
function showAlone(step: Step): void {
  const open = openConversation(step.state)
  const entry = open?.entries.find(({ key }) => key === open.chosen) ?? open?.entries.findLast(({ from }) => from !== 'note')
  const text = step.state.overlay?.text ?? entry?.text ?? ''
  if (text === '') step.tell('there is no message to show alone')
  else step.effects.push({ kind: 'alone', text })
}

function overlayKey(step: Step, overlay: Overlay, chord: string): void {
  const page = Math.max(1, step.state.size.rows - 3)
  const by: Readonly<Record<string, number>> = { up: -1, down: 1, pageup: -page, pagedown: page, space: page, home: -1e6, end: 1e6 }
  const move = by[chord]
  if (move !== undefined) {
    const rows = overlay.text.split('\n').length
    step.set({ overlay: { ...overlay, top: Math.min(Math.max(0, overlay.top + move), Math.max(0, rows - 1)) } })
  } else if (['escape', 'enter', 'ctrl+c', 'ctrl+d', 'f1'].includes(chord)) step.set({ overlay: undefined })
}

function pickingKey(step: Step, { at, filter }: Picking, chord: string): void {
  const found = listed(step.state)
  const turn = (by: number): void => step.set({ picking: { at: (at + by + found.length) % Math.max(1, found.length), filter } })
  if (chord === 'up' || chord === 'ctrl+p') turn(-1)
  else if (chord === 'down' || chord === 'ctrl+n' || chord === 'tab') turn(1)
  else if (chord === 'enter') {
    const conversation = found[at]
    if (conversation === undefined) step.tell('no name matches', 'warn')
    else turnTo(step, conversation.id)
  } else if (chord === 'escape' || chord === 'ctrl+o' || chord === 'ctrl+c') step.set({ picking: undefined })
  else {
    const change = EDITS[chord]
    if (change !== undefined) write(step, edit(filter, change, 1_000))
  }
}

/** Handles the keys that work the same in the editor and in the search. */
function moveKey(step: Step, chord: string): boolean {
  const { conversations, open } = step.state
  const at = conversations.findIndex(({ id }) => id === open)
  const page = Math.max(1, geometry(step.state).pane.rows - 2)
  const place = /^alt\+([1-9])$/.exec(chord)
  if (place !== null) {
    const conversation = conversations[Number(place[1]) - 1]
    if (conversation !== undefined) turnTo(step, conversation.id)
    return true
  }
  switch (chord) {
    case 'ctrl+n':
    case 'ctrl+p': {
      const count = conversations.length
      const next = conversations[(at + (chord === 'ctrl+n' ? 1 : -1) + count) % Math.max(1, count)]
      if (next !== undefined) turnTo(step, next.id)
      return true
    }
    case 'alt+a': {
      const next = [...conversations.slice(at + 1), ...conversations.slice(0, Math.max(0, at))].find((each) => unreadOf(each) > 0)
      if (next === undefined) step.tell('no new messages')
      else turnTo(step, next.id)
      return true
    }
    case 'ctrl+o':
    case 'f2':
      if (conversations.length > 0) step.set({ picking: { at: Math.max(0, at), filter: EMPTY } })
      return true
    case 'f1':
      showHelp(step)
      return true
    case 'pageup':
      scroll(step, -page)
      return true
    case 'pagedown':
      scroll(step, page)
      return true
    case 'ctrl+up':
    case 'shift+up':
      scroll(step, -1)
      return true
    case 'ctrl+down':
    case 'shift+down':
      scroll(step, 1)
      return true
    case 'ctrl+home':
      scroll(step, -1e9)
      return true
    case 'ctrl+end':
      scroll(step, 1e9)
      return true
    default:
      return false
  }
}

function writeKey(step: Step, chord: string, leaving: boolean): void {
  const editor = editorOf(step.state)
  const open = openConversation(step.state)
  const isEmpty = editor.text.length === 0
  if (NEW_LINE.has(chord)) return write(step, insert(editor, '\n'))
  switch (chord) {
    case 'enter':
      return onLine(step, textOf(editor))
    case 'tab':
      return completeLine(step, textOf(editor))
    case 'ctrl+f':
      return step.set({ search: EMPTY })
    case 'alt+up':
    case 'alt+down':
      return choose(step, chord === 'alt+up' ? -1 : 1)
    case 'escape':
      return step.changeOpen((each) => letGo(each))
    case 'ctrl+c':
      if (isEmpty && (open === undefined || open.compose.kind === 'new')) return quit(step, leaving)
      if (open === undefined) return step.changeLine(clear)
      return step.changeOpen((each) => ({
        ...letGo(each),
        editor: clear(each.compose.kind === 'edit' ? { ...each.editor, text: [] } : each.editor),
      }))
    case 'ctrl+d':
      return isEmpty ? quit(step, leaving) : write(step, edit(editor, 'delete', 0))
    default: {
      const change = EDITS[chord]
      if (change !== undefined) write(step, edit(editor, change, geometry(step.state).editor.columns))
    }
  }
}

function searchKey(step: Step, search: Editor, chord: string): void {
  if (chord === 'escape' || chord === 'ctrl+c') return step.set({ search: undefined })
  if (chord === 'enter' || chord === 'up' || chord === 'ctrl+f' || chord === 'ctrl+r') return find(step, -1)
  if (chord === 'down' || chord === 'ctrl+s') return find(step, 1)
  const change = EDITS[chord]
  if (change !== undefined) write(step, edit(search, change, 1_000))
}

function onMouse(step: Step, input: Extract<KeyInput, { kind: 'mouse' }>): void {
  if (step.state.overlay !== undefined) return overlayKey(step, step.state.overlay, input.action === 'up' ? 'up' : 'down')
  if (input.action === 'up') return scroll(step, -3)
  if (input.action === 'down') return scroll(step, 3)
  const { list, bar, pane } = geometry(step.state)
  const at = input.row - bar
  const conversation = listed(step.state)[at]
  if (input.column < list && at >= 0 && at < pane.rows && conversation !== undefined) turnTo(step, conversation.id)
}
