/**
 * Text from peers, made safe to print: it cannot control the terminal, and hides, moves or covers no other text. One rule
 * for every command and the chat.
 */
import { replaceHidden } from '../../client/format/visible.ts'

const PRINTABLE = /^[\x20-\x7e\n\t]*$/
/** The most marks above and below a letter: more would be drawn over other lines. */
const MOST_PILED = 4
/** The most marks on a letter, with those that stand beside it, as in Burmese. */
const MOST_MARKS = 8
const MANY_MARKS = new RegExp(`\\p{M}{${MOST_PILED + 1},}`, 'gu')
/** Marks without a letter would go onto the text before them, which is ours. */
const BARE_MARKS = /(?<=^|[\n\t])\p{M}+/gu

/**
 * Replaces characters that could move the cursor, recolour, reorder or hide text by a visible `\u{…}`, unless they belong
 * to the writing, as the joiners in Persian words and in emoji do. Shortens a pile of marks. Line feeds and tabs stay, and
 * CR LF becomes a line feed.
 */
export function sanitize(text: string): string {
  if (PRINTABLE.test(text)) return text
  const few = text.replaceAll('\r\n', '\n').replaceAll(BARE_MARKS, escapeAll).replaceAll(MANY_MARKS, shorten)
  return replaceHidden(few, (character) => (character === '\n' || character === '\t' ? character : escape(character)))
}

function shorten(marks: string): string {
  let piled = 0
  let kept = ''
  for (const [index, mark] of [...marks].entries()) {
    if (!/\p{Mc}/u.test(mark)) piled++
    if (piled > MOST_PILED || index === MOST_MARKS) return `${kept}…`
    kept += mark
  }
  return kept
}

const escape = (character: string): string => `\\u{${character.codePointAt(0)!.toString(16)}}`
const escapeAll = (text: string): string => Array.from(text, escape).join('')

/** As `sanitize`, for a text that has to stay on one line. */
export function sanitizeLine(text: string): string {
  return sanitize(text).replaceAll('\n', '\\n').replaceAll('\t', '\\t')
}

/** One line of JSON in printable ASCII alone: whatever shows it, no control or format character of a peer gets out. */
export function formatJson(value: object): string {
  return JSON.stringify(value).replace(/[^\x20-\x7e]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`)
}

/** Quotes a word, if it needs that, so that a shell reads it as one word. */
export function quoteWord(word: string): string {
  return /^[\p{L}\p{N}_./@+-]+$/u.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`
}

/** Pads texts with spaces to the width of the widest, as a terminal shows them, and at most to `most` cells. */
export async function alignColumn(texts: readonly string[], most = Number.POSITIVE_INFINITY): Promise<string[]> {
  // Only lists need it, and it loads a package.
  const { pad, widthOf } = await import('./width.ts')
  const width = Math.min(most, Math.max(0, ...texts.map(widthOf)))
  return texts.map((text) => pad(text, width))
}
