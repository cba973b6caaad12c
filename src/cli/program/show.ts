/** Forms of text on the terminal: peers' texts made safe, JSON, words for a shell, and columns. */
export { sanitize, sanitizeLine } from '../../wording/show.ts'

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

/** Puts two blocks of lines side by side. @param left in ASCII */
export function beside(left: readonly string[], right: readonly string[]): string {
  const width = Math.max(...left.map(({ length }) => length))
  const height = Math.max(left.length, right.length)
  const lines = Array.from({ length: height }, (_, row) => `  ${(left[row] ?? '').padEnd(width)}   ${right[row] ?? ''}`.trimEnd())
  return `${lines.join('\n').trimEnd()}\n`
}
