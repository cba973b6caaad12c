/** Navigates: opens conversations, scrolls, selects messages and searches. */
import type { Entry } from './conversation.ts'
import { type Editor, EMPTY, textOf } from './editor.ts'
import { helpText } from './help.ts'
import { geometry, linesOf, openConversation } from './state.ts'
import type { Step } from './step.ts'
import { anchoredAround, anchoredAtTop, matches, scrolled } from './transcript.ts'

export function scroll(step: Step, by: number): void {
  const { pane } = geometry(step.state)
  step.changeOpen((each) => ({ ...each, scroll: scrolled(linesOf(step.state, each, pane.columns), each.scroll, by, pane.rows) }))
}

export function turnTo(step: Step, id: string): void {
  const before = step.state.open
  const conversation = step.state.conversations.find((each) => each.id === id)
  if (conversation === undefined) return
  if (before !== undefined && before !== id) step.change(before, (each) => ({ ...each, newFrom: undefined, chosen: undefined }))
  const { line } = step.state
  step.set({ open: id, picking: undefined, line: EMPTY })
  // The text that the user has begun without a conversation.
  if (line.text.length > 0 && conversation.editor.text.length === 0) step.change(id, (each) => ({ ...each, editor: line }))
  if (before === id) return
  const fresh = conversation.entries.find(({ unseen }) => unseen)?.key
  step.change(id, (each) => ({ ...each, newFrom: fresh }))
  showUnseen(step)
  if (step.state.search !== undefined) find(step, 0)
}

/** Scrolls to the bottom, but not past the first unseen entry. */
export function showUnseen(step: Step): void {
  // Plain mode has no rows, and the layout of a long conversation takes time and memory.
  if (step.state.look.plain === true) return
  const { pane } = geometry(step.state)
  const open = openConversation(step.state)
  const first = open?.entries.find(({ unseen }) => unseen)?.key
  if (open === undefined || first === undefined) return
  step.changeOpen((each) => ({ ...each, scroll: anchoredAtTop(linesOf(step.state, each, pane.columns), first, pane.rows) }))
}

export function choose(step: Step, by: -1 | 1): void {
  step.changeOpen((each) => {
    const able = each.entries.filter(({ from }) => from !== 'note').map(({ key }) => key)
    const at = each.chosen === undefined ? able.length : able.indexOf(each.chosen)
    return { ...each, chosen: by === 1 && at >= able.length - 1 ? undefined : able[Math.max(0, at + by)] }
  })
  showChosen(step)
}

function showChosen(step: Step): void {
  const { pane } = geometry(step.state)
  step.changeOpen((each) =>
    each.chosen === undefined
      ? each
      : { ...each, scroll: anchoredAround(linesOf(step.state, each, pane.columns), each.chosen, each.scroll, pane.rows) },
  )
}

/** Finds the previous match (-1), the next (1), or the newest one that is not after the selected entry (0). */
export function find(step: Step, by: -1 | 0 | 1): void {
  const open = openConversation(step.state)
  const query = step.state.search === undefined ? '' : textOf(step.state.search)
  if (open === undefined || query === '') return
  const found = open.entries.filter((each) => isFound(each, query)).map(({ key }) => key)
  const current = open.chosen ?? Infinity
  const next =
    by === 1
      ? found.find((key) => key > current)
      : (found.findLast((key) => (by === 0 ? key <= current : key < current)) ?? (by === 0 ? found.at(-1) : undefined))
  const elsewhere = step.state.conversations
    .filter(({ id }) => id !== open.id)
    .map(({ name, entries }) => ({ name, count: entries.filter((each) => isFound(each, query)).length }))
    .filter(({ count }) => count > 0)
    .map(({ name, count }) => `${name} ${count}`)
  const place = next === undefined ? found.indexOf(current) : found.indexOf(next)
  const here = found.length === 0 ? 'no match here' : `${found.length - place} of ${found.length}`
  step.tell(elsewhere.length === 0 ? here : `${here}; elsewhere: ${elsewhere.join(', ')}`, found.length === 0 ? 'warn' : 'plain')
  if (next === undefined) return
  step.changeOpen((each) => ({ ...each, chosen: next }))
  showChosen(step)
}

export function showHelp(step: Step): void {
  step.set({ overlay: { title: 'help', text: helpText(step.state.size, step.state.look), top: 0 } })
}

/** Changes the filter, the search, or the line that the user writes. */
export function write(step: Step, editor: Editor): void {
  if (step.state.picking !== undefined) step.set({ picking: { at: 0, filter: editor } })
  else if (step.state.search !== undefined) {
    step.set({ search: editor })
    find(step, 0)
  } else step.changeLine(() => editor)
}

function isFound({ text, from }: Entry, query: string): boolean {
  return from !== 'note' && matches(text, query).length > 0
}
