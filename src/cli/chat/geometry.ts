/** Where on the screen what stands. */
import { type Editor } from './editor.ts'
import { breakLines } from './text.ts'

export interface Size {
  readonly rows: number
  readonly columns: number
}

export interface Geometry {
  /** Columns of the list of conversations; 0 where there is no room for it beside one. */
  readonly list: number
  /** The conversation. */
  readonly pane: Size
  /** Rows of the bar at the top, and of the line above the text that is written: 0 or 1. */
  readonly bar: number
  readonly rule: number
  readonly editor: Size
}

/** What stands before the text that is written. */
export const PROMPT = '> '
const LIST_FROM = 70
/** A terminal that is smaller is drawn to as if it had this. */
const LEAST: Size = { rows: 2, columns: 12 }

export function geometryOf(size: Size, editor: Pick<Editor, 'text'>, label: number): Geometry {
  const rows = Math.max(LEAST.rows, size.rows)
  const columns = Math.max(LEAST.columns, size.columns)
  const bar = rows >= 5 ? 1 : 0
  const rule = rows >= 7 ? 1 : 0
  // A column is left for the cursor behind a full line.
  const wide = Math.max(2, columns - label - 1)
  const wanted = breakLines(editor.text, wide).length
  const high = Math.min(wanted, Math.max(1, Math.floor((rows - bar - rule) / 3)))
  const list = columns >= LIST_FROM ? Math.min(26, Math.floor(columns / 4)) : 0
  const pane = { rows: rows - bar - rule - high, columns: list === 0 ? columns : columns - list - 2 }
  return { list, pane, bar, rule, editor: { rows: high, columns: wide } }
}
