/**
 * Text in cells: graphemes, their widths, line breaks, and spans that say what a piece of text is (never how it
 * looks: that is the screen's). Everything that came from a peer goes through `showText` or `showLine` before it
 * gets into a span; from then on each grapheme has a cell of its own at least, and none moves, hides or reorders another.
 */
import stringWidth from 'string-width'
import { sanitize } from '../program/show.ts'

/** What a piece of text is; src/cli/chat/screen.ts says how that looks. */
export type Role =
  | 'plain'
  | 'dim'
  | 'strong'
  /** Names: one's own, somebody else's. */
  | 'me'
  | 'them'
  /** How a message got on: it arrived, it is under way, it did not. */
  | 'good'
  | 'warn'
  | 'bad'
  /** The bar at the top, the conversation that is open, a message that is chosen, what a search found, an address of the web. */
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

/** What a person sees as characters. A line break is one of its own. */
export function graphemes(text: string): string[] {
  if (PRINTABLE.test(text)) return [...text]
  return Array.from(segmenter.segment(text), ({ segment }) => segment)
}

/** Cells that the text takes, as most terminals draw it. */
export function widthOf(text: string): number {
  return stringWidth(text, { countAnsiEscapeCodes: true })
}

/** A letter with more marks than this is drawn over other lines. */
const MOST_MARKS = 4
const EMOJI = /^\p{RGI_Emoji}$/v
const MARK = /^\p{M}$/u
const TAB = '    '

/**
 * A peer's text as it may be shown: as `sanitize`, and also with tabs as spaces, line breaks of every kind as LF,
 * few marks on a letter, and nothing without a width. Joiners stay in emoji that Unicode recommends, a closed set.
 */
export function showText(text: string): string {
  if (PRINTABLE.test(text)) return text
  return graphemes(text.toWellFormed().replaceAll(/\r\n?/g, '\n')).map(showGrapheme).join('')
}

function showGrapheme(grapheme: string): string {
  if (grapheme === '\n' || EMOJI.test(grapheme)) return grapheme
  if (grapheme === '\t') return TAB
  const points = [...sanitize(grapheme)]
  let marks = 0
  const few = points.filter((point) => !MARK.test(point) || ++marks <= MOST_MARKS)
  const shown = few.join('') + (marks > MOST_MARKS ? '…' : '')
  // Marks that stand on nothing would go onto what is before them, which is ours.
  const isBare = MARK.test(points[0] ?? '') || widthOf(shown) === 0
  return isBare ? few.map((point) => `\\u{${point.codePointAt(0)!.toString(16)}}`).join('') : shown
}

/** As {@link showText}, for what has to stay on one line. */
export function showLine(text: string): string {
  return showText(text).replaceAll('\n', '\\n')
}

/** As much of the text as fits into `width` cells, with an ellipsis where that is not all of it. */
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

/** The text clipped, and filled with spaces up to `width` cells. */
export function fit(text: string, width: number): string {
  const clipped = clip(text, width)
  return clipped + ' '.repeat(Math.max(0, width - widthOf(clipped)))
}

export interface Break {
  /** Indexes of graphemes; `end` is exclusive and counts the line break, or the spaces, that the line ends with. */
  readonly start: number
  readonly end: number
}

/** Breaks graphemes into lines of at most `width` cells: at line breaks, at spaces, within words that are longer than a line. */
export function breakLines(all: readonly string[], width: number): Break[] {
  const most = Math.max(2, width)
  const lines: Break[] = []
  let start = 0
  let used = 0
  /** Where the current word began, and the cells before it. */
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
      // Spaces at the end of a line hang over it, unseen.
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
      // A word that does not fit into the new line either goes on below.
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

/** The text of one of these lines, without what it ends with. */
export function lineText(all: readonly string[], { start, end }: Break): string {
  return all
    .slice(start, end)
    .join('')
    .replace(/[ \n]+$/, '')
}

/** From grapheme `start` to before `end`. */
export interface Stretch {
  readonly start: number
  readonly end: number
  readonly role: Role
}

/** The text in rows of at most `width` cells; where stretches overlap, the last one counts. */
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

/** Cells that a row takes. */
export function rowWidth(row: Row): number {
  return row.reduce((sum, { text }) => sum + widthOf(text), 0)
}
