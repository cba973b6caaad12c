/** Text from peers, made safe to print: it cannot send the terminal a control character. */

// Controls (C0, DEL, C1), format characters (bidi overrides and isolates, zero-width, tags), lone
// surrogates, line and paragraph separators, and whatever else a font shows as nothing. Let through:
// line feed, tab, and the two variation selectors that only choose how an emoji is drawn.
// oxlint-disable-next-line no-misleading-character-class -- each is meant on its own
const UNSAFE = /[[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}]--[\n\t\u{FE0E}-\u{FE0F}]]/gv

/**
 * A peer's text as it may be shown: what could move the cursor, recolour, reorder or hide text stands
 * as a visible `\u{…}`. Line feeds and tabs stay.
 */
export function sanitize(text: string): string {
  return text.replace(UNSAFE, (character) => `\\u{${character.codePointAt(0)!.toString(16)}}`)
}

/** As `sanitize`, for a text that has to stay on one line. */
export function sanitizeLine(text: string): string {
  return sanitize(text).replaceAll('\n', '\\n').replaceAll('\t', '\\t')
}

/** One line of JSON in printable ASCII alone: whatever shows it, no control or format character of a peer gets out. */
export function formatJson(value: object): string {
  return JSON.stringify(value).replace(/[^\x20-\x7e]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`)
}
