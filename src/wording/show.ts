/**
 * Text from peers, made safe to show: it cannot control a terminal, and hides, moves or covers no other text. One rule
 * for every command, the chat and the page.
 */
import { replaceHidden } from '../client/format/visible.ts'

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
