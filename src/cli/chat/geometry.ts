/** The layout of the screen. */
import { type Editor } from './editor.ts'
import { breakLines } from './text.ts'

export interface Size {
  readonly rows: number
  readonly columns: number
}

export interface Geometry {
  /** Columns of the list of conversations; 0 if the screen is too narrow for it. */
  readonly list: number
  /** The conversation. */
  readonly pane: Size
  /** Rows of the bar at the top, and of the line above the editor: 0 or 1. */
  readonly bar: number
  readonly rule: number
  readonly editor: Size
}

/** The prompt of the editor. */
export const PROMPT = '> '
/** The list appears from this many columns. */
const LIST_FROM = 70
/** The layout of a smaller terminal assumes this size. */
const LEAST: Size = { rows: 2, columns: 12 }

export function geometryOf(size: Size, editor: Pick<Editor, 'text'>, label: number): Geometry {
  const rows = Math.max(LEAST.rows, size.rows)
  const columns = Math.max(LEAST.columns, size.columns)
  const bar = rows >= 5 ? 1 : 0
  const rule = rows >= 7 ? 1 : 0
  // One column stays free for the cursor after a full line.
  const wide = Math.max(2, columns - label - 1)
  const wanted = breakLines(editor.text, wide).length
  const high = Math.min(wanted, Math.max(1, Math.floor((rows - bar - rule) / 3)))
  const list = columns >= LIST_FROM ? Math.min(26, Math.floor(columns / 4)) : 0
  const pane = { rows: rows - bar - rule - high, columns: list === 0 ? columns : columns - list - 2 }
  return { list, pane, bar, rule, editor: { rows: high, columns: wide } }
}
