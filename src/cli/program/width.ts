/** The width of text on a terminal. */
import stringWidth from 'string-width'

/** Returns the width of text in cells, as in most terminals. */
export function widthOf(text: string): number {
  return stringWidth(text, { countAnsiEscapeCodes: true })
}

/** Pads text with spaces at its end to `width` cells. */
export function pad(text: string, width: number): string {
  return text + ' '.repeat(Math.max(0, width - widthOf(text)))
}
