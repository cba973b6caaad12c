/**
 * The text that the user writes, of one or more lines: a value, and functions that return the next value. Its unit is
 * the grapheme. It knows no keys and sends nothing.
 */
import { breakLines, graphemes, widthOf } from './text.ts'

export interface Editor {
  readonly text: readonly string[]
  /** The index of the grapheme after the cursor. */
  readonly cursor: number
  /** The text that was cut last, for `yank`. */
  readonly killed: string
  /** Texts that the user sent, the newest last. */
  readonly sent: readonly string[]
  /** The index of the shown text in `sent`; undefined for the new text. */
  readonly at: number | undefined
  /** The new text, while one of `sent` is shown. */
  readonly draft: string
  /** The column that the cursor keeps while it moves up and down. */
  readonly goal: number | undefined
  /** Earlier texts, for `undo`, the newest last. */
  readonly past: readonly (readonly [text: readonly string[], cursor: number])[]
}

const MOST_SENT = 200
const MOST_PAST = 100
/** The longest text, in characters; messages are shorter. */
export const MOST_TEXT = 65_536

export const EMPTY: Editor = Object.freeze({
  text: [],
  cursor: 0,
  killed: '',
  sent: [],
  at: undefined,
  draft: '',
  goal: undefined,
  past: [],
})

export function textOf({ text }: Editor): string {
  return text.join('')
}

/** Inserts typed or pasted text. Line breaks become LF, tabs become spaces, and other control characters are dropped. */
export function insert(editor: Editor, typed: string): Editor {
  const room = Math.max(0, MOST_TEXT - textOf(editor).length)
  const clean = typed
    .replaceAll(/\r\n?/g, '\n')
    .replaceAll('\t', '    ')
    .replaceAll(/[\p{Cc}--\n]/gv, '')
    .slice(0, room)
    .toWellFormed()
  if (clean === '') return editor
  const before = editor.text.slice(0, editor.cursor).join('') + clean
  const after = editor.text.slice(editor.cursor).join('')
  return changed(editor, graphemes(before + after), graphemes(before).length)
}

/** Replaces the text, with the cursor at its end. Can be undone. */
export function replace(editor: Editor, text: string): Editor {
  const all = graphemes(text)
  return changed(editor, all, all.length)
}

/** Empties the editor after sending, and adds the text to `sent`. */
export function clear(editor: Editor): Editor {
  const text = textOf(editor)
  const again = text.trim() === '' || text === editor.sent.at(-1)
  return { ...EMPTY, killed: editor.killed, sent: again ? editor.sent : [...editor.sent, text].slice(-MOST_SENT) }
}

export type Motion = 'left' | 'right' | 'word-left' | 'word-right' | 'home' | 'end' | 'start' | 'finish' | 'up' | 'down'
export type Kill = 'backspace' | 'delete' | 'word-back' | 'word-forward' | 'to-home' | 'to-end'
export type Edit = Motion | Kill | 'yank' | 'transpose' | 'undo'

/** Performs an edit. @param width of the lines on the screen, for up and down */
export function edit(editor: Editor, change: Edit, width: number): Editor {
  const { text, cursor } = editor
  switch (change) {
    case 'left':
    case 'right':
    case 'word-left':
    case 'word-right':
    case 'home':
    case 'end':
    case 'start':
    case 'finish':
      return { ...editor, cursor: moved(editor, change), goal: undefined }
    case 'up':
    case 'down':
      return vertical(editor, change === 'up' ? -1 : 1, width)
    case 'backspace':
      return cursor === 0 ? editor : cut(editor, cursor - 1, cursor, false)
    case 'delete':
      return cut(editor, cursor, cursor + 1, false)
    case 'word-back':
      return cut(editor, moved(editor, 'word-left'), cursor, true)
    case 'word-forward':
      return cut(editor, cursor, moved(editor, 'word-right'), true)
    case 'to-home': {
      const home = moved(editor, 'home')
      return cut(editor, home === cursor ? Math.max(0, cursor - 1) : home, cursor, true)
    }
    case 'to-end': {
      const end = moved(editor, 'end')
      return cut(editor, cursor, end === cursor ? cursor + 1 : end, true)
    }
    case 'yank':
      return insert(editor, editor.killed)
    case 'transpose': {
      const right = Math.min(cursor, text.length - 1)
      if (right < 1) return editor
      const swapped = [...text.slice(0, right - 1), text[right]!, text[right - 1]!, ...text.slice(right + 1)]
      return changed(editor, graphemes(swapped.join('')), right + 1)
    }
    case 'undo': {
      const before = editor.past.at(-1)
      return before === undefined
        ? editor
        : { ...editor, text: before[0], cursor: before[1], goal: undefined, past: editor.past.slice(0, -1) }
    }
  }
}

function changed(editor: Editor, text: readonly string[], cursor: number): Editor {
  const past = [...editor.past, [editor.text, editor.cursor] as const].slice(-MOST_PAST)
  return { ...editor, text, cursor: Math.min(cursor, text.length), goal: undefined, past }
}

function cut(editor: Editor, from: number, to: number, keep: boolean): Editor {
  const gone = editor.text.slice(from, to).join('')
  if (gone === '') return editor
  const before = editor.text.slice(0, from).join('')
  // The parts may join to one grapheme.
  const text = graphemes(before + editor.text.slice(to).join(''))
  return { ...changed(editor, text, graphemes(before).length), ...(keep && { killed: gone }) }
}

const WORD = /[\p{L}\p{N}\p{M}_]/u

function moved({ text, cursor }: Editor, motion: Exclude<Motion, 'up' | 'down'>): number {
  const isWord = (index: number): boolean => WORD.test(text[index] ?? '')
  let at = cursor
  switch (motion) {
    case 'left':
      return Math.max(0, cursor - 1)
    case 'right':
      return Math.min(text.length, cursor + 1)
    case 'word-left':
      while (at > 0 && !isWord(at - 1)) at--
      while (at > 0 && isWord(at - 1)) at--
      return at
    case 'word-right':
      while (at < text.length && !isWord(at)) at++
      while (at < text.length && isWord(at)) at++
      return at
    case 'home':
      return cursor === 0 ? 0 : text.lastIndexOf('\n', cursor - 1) + 1
    case 'end': {
      const end = text.indexOf('\n', cursor)
      return end === -1 ? text.length : end
    }
    case 'start':
      return 0
    case 'finish':
      return text.length
  }
}

export interface Place {
  readonly row: number
  readonly column: number
}

/** Returns the place of the cursor in the text, broken into lines of `width` cells. */
export function cursorPlace({ text, cursor }: Pick<Editor, 'text' | 'cursor'>, width: number): Place {
  const lines = breakLines(text, width)
  const row = lines.findLastIndex(({ start }) => start <= cursor)
  const column = text.slice(lines[row]!.start, cursor).reduce((sum, each) => sum + widthOf(each), 0)
  return { row, column: Math.min(column, width) }
}

/** Moves a line up or down; beyond the first or last line, to the previous or next text in `sent`. */
function vertical(editor: Editor, step: -1 | 1, width: number): Editor {
  const { text } = editor
  const lines = breakLines(text, width)
  const { row, column } = cursorPlace(editor, width)
  const goal = editor.goal ?? column
  const line = lines[row + step]
  if (line === undefined) return recalled(editor, step)
  let at = line.start
  let used = 0
  const last = lines[row + step + 1] === undefined ? line.end : line.end - 1
  while (at < last && used + widthOf(text[at]!) <= goal) used += widthOf(text[at++]!)
  return { ...editor, cursor: at, goal }
}

function recalled(editor: Editor, step: -1 | 1): Editor {
  const { sent, at } = editor
  const next = (at ?? sent.length) + step
  if (next < 0 || next > sent.length || (at === undefined && step === 1)) return editor
  const draft = at === undefined ? textOf(editor) : editor.draft
  const text = graphemes(next === sent.length ? draft : sent[next]!)
  return { ...editor, text, cursor: text.length, at: next === sent.length ? undefined : next, draft, goal: undefined, past: [] }
}
