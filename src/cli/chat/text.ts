/**
 * Text in cells: graphemes, their widths, line breaks, and spans with roles (the screen decides how a role looks). Text
 * from a peer goes through `showText` or `showLine` before it gets into a span. After that, each grapheme has at least
 * one cell, and none moves, hides or reorders another.
 */
import { sanitize } from '../program/show.ts'
import { pad, widthOf } from '../program/width.ts'

export { widthOf } from '../program/width.ts'

/** The role of a piece of text; src/cli/chat/screen.ts gives each its style. */
export type Role =
  | 'plain'
  | 'dim'
  | 'strong'
  /** Names: the user's own, another person's. */
  | 'me'
  | 'them'
  /** States of a message: arrived, under way, failed. */
  | 'good'
  | 'warn'
  | 'bad'
  /** The bar at the top, the open conversation, the selected message, a match of the search, a web address. */
  | 'bar'
  | 'open'
  | 'chosen'
  | 'match'
  | 'link'

export interface Span {
  readonly text: string
  readonly role: Role
}

/** One line of the screen. */
export type Row = readonly Span[]

const segmenter = new Intl.Segmenter('en')
const PRINTABLE = /^[\x20-\x7e]*$/

/** Splits text into graphemes, the characters that a person sees. A line break is one. */
export function graphemes(text: string): string[] {
  if (PRINTABLE.test(text)) return [...text]
  return Array.from(segmenter.segment(text), ({ segment }) => segment).flatMap((each) =>
    each.length > MOST_CELLS && widthOf(each) > MOST_CELLS ? (each.match(LETTERS) ?? [each]) : [each],
  )
}

/** The widest grapheme. A cluster of many letters, as a virama makes it, would not fit into a line. */
const MOST_CELLS = 8
const LETTERS = /[\P{M}--[\u200C\u200D]][\p{M}\u200C\u200D]*/gv

const TAB = '    '

/**
 * Makes a peer's text safe to show: as `sanitize`, and also turns tabs into spaces and all line breaks into LF, and
 * escapes anything without a width.
 */
export function showText(text: string): string {
  if (PRINTABLE.test(text)) return text
  return graphemes(sanitize(text.toWellFormed().replaceAll(/\r\n?/g, '\n')))
    .map(showGrapheme)
    .join('')
}

function showGrapheme(grapheme: string): string {
  if (grapheme === '\t') return TAB
  if (grapheme === '\n' || widthOf(grapheme) > 0) return grapheme
  return Array.from(grapheme, (point) => `\\u{${point.codePointAt(0)!.toString(16)}}`).join('')
}

/** As {@link showText}, for text that must stay on one line. */
export function showLine(text: string): string {
  return showText(text).replaceAll('\n', '\\n')
}

/** Cuts text to `width` cells, with an ellipsis if it is longer. */
export function clip(text: string, width: number): string {
  if (widthOf(text) <= width) return text
  let used = 0
  let clipped = ''
  for (const grapheme of graphemes(text)) {
    used += widthOf(grapheme)
    if (used > width - 1) break
    clipped += grapheme
  }
  return width > 0 ? `${clipped}…` : ''
}

/** Clips text, or pads it with spaces, to exactly `width` cells. */
export function fit(text: string, width: number): string {
  return pad(clip(text, width), width)
}

export interface Break {
  /** Indexes of graphemes; `end` is exclusive, after the line break or spaces at the end of the line. */
  readonly start: number
  readonly end: number
}

/** Breaks graphemes into lines of at most `width` cells: at line breaks, at spaces, or within long words. */
export function breakLines(all: readonly string[], width: number): Break[] {
  const most = Math.max(2, width)
  const lines: Break[] = []
  let start = 0
  let used = 0
  /** The start of the current word, and the cells before it. */
  let word = 0
  let before = 0
  for (let index = 0; index < all.length; index++) {
    const grapheme = all[index]!
    if (grapheme === '\n') {
      lines.push({ start, end: index + 1 })
      start = word = index + 1
      used = before = 0
      continue
    }
    const cells = widthOf(grapheme)
    if (grapheme === ' ') {
      // Spaces at the end of a line hang over its edge, invisible.
      used += cells
      word = index + 1
      before = used
      continue
    }
    if (used + cells > most) {
      const at = word > start ? word : index
      lines.push({ start, end: at })
      used = at === word ? used - before : 0
      start = word = at
      before = 0
      // A word that does not fit into the new line either is broken.
      if (used + cells > most) {
        lines.push({ start, end: index })
        start = word = index
        used = 0
      }
    }
    used += cells
  }
  lines.push({ start, end: all.length })
  return lines
}

/** Returns the text of a line, without the spaces and line break at its end. */
export function lineText(all: readonly string[], { start, end }: Break): string {
  return all
    .slice(start, end)
    .join('')
    .replace(/(?<![ \n])[ \n]+$/, '')
}

/** A role for the graphemes from `start` to before `end`. */
export interface Stretch {
  readonly start: number
  readonly end: number
  readonly role: Role
}

/** Wraps text into rows of at most `width` cells. If stretches overlap, the last one counts. */
export function wrap(text: string, width: number, role: Role = 'plain', stretches: readonly Stretch[] = []): Row[] {
  const all = graphemes(text)
  return breakLines(all, width).map((line) => {
    const shown = all.slice(line.start, line.end)
    while (shown.length > 0 && (shown.at(-1) === ' ' || shown.at(-1) === '\n')) shown.pop()
    if (stretches.length === 0) return shown.length === 0 ? [] : [{ text: shown.join(''), role }]
    const spans: { text: string; role: Role }[] = []
    for (const [index, grapheme] of shown.entries()) {
      const at = line.start + index
      const own = stretches.findLast(({ start, end }) => start <= at && at < end)?.role ?? role
      const last = spans.at(-1)
      if (last?.role === own) last.text += grapheme
      else spans.push({ text: grapheme, role: own })
    }
    return spans
  })
}

/** Returns the width of a row in cells. */
export function rowWidth(row: Row): number {
  return row.reduce((sum, { text }) => sum + widthOf(text), 0)
}
