/** The text around the base64 of a private key's file, as editors and copying leave it. */

/** A byte order mark, also as the three characters that latin1 makes of its bytes. */
const MARK = /^(?:\uFEFF|\u00EF\u00BB\u00BF)/

/**
 * Removes a byte order mark, and the blanks and CRs around each line. The lookbehind tries each run of blanks once: a
 * long one would take quadratic time.
 */
export function tidyArmor(text: string): string {
  return text.replace(MARK, '').replace(/(?<![ \t\r])[ \t\r]+$|^[ \t]+/gm, '')
}
