/**
 * The names that people choose, for themselves, their contacts and their groups: one rule for all. The commands print
 * `Alice: hi`, `Alice in Friends: hi` and `Alice [not a contact]: hi`, and the chat prints similar lines; a name must not
 * be able to imitate a part of them. Cards and groups of others may have any name of docs/protocol.md, section 10: one
 * that breaks the rule is shown in quotes, and needs `--name` to be stored.
 */
import { encodeText, isName } from '../client/format/field.ts'
import { isEmoji } from '../client/format/visible.ts'
import { sanitizeLine } from './show.ts'
import { looksOf } from './likeness.ts'

/** Whose name it is. A group may be called `Women in Tech`. */
export type Owner = 'person' | 'group'

/** A contact's file has its name. */
const NAME_BYTES = 200
/** Letters and punctuation of names, in all scripts. Everything that a line uses itself is left out, as are symbols. */
const FIT = /[\p{L}\p{M}\p{N}\p{Sc} !#\x26'\(\)*+.\-?@_’·•‐‑–—¡¿־׳་・]/v
// Letters that look like a colon, and letters without a glyph.
const UNFIT = /[\u02D0\uA4FD\u{13441}\u{13442}]/u
// Marks on the letters of another script, which could look like a colon.
const FOREIGN_MARK =
  /(?<=[\p{sc=Latn}\p{sc=Grek}\p{sc=Cyrl}\p{N}\p{P}\p{S}\p{Z}]\p{M}*)[\p{M}--[\p{sc=Zinh}\p{sc=Zyyy}\p{sc=Latn}\p{sc=Grek}\p{sc=Cyrl}]]/v
// ✔, ☑ and ✅ would say that a key is verified.
const CHECK_MARK = /[\u2714\u2611\u2705]/u
/** Words that the chat has in the place of a name. */
const TAKEN = /^(?:you|strangers?|unknown|forged|unverifiable)$/
/** Begins and parts of the lines of commands and of the chat. */
const PHRASE = /^(?:to|you|strangers?) |verified|not in your contacts/
const IN = / [il]n /

/** Composes the letters of a name that the user typed. */
export const composeName = (typed: string): string => typed.normalize('NFC')

/** Returns why a user cannot choose a name; undefined if they can. */
export function refuseName(name: string, owner: Owner = 'person'): string | undefined {
  const fault = faultOf(name, owner)
  return fault === undefined ? undefined : `${quoteName(name)} cannot be a name: ${fault}`
}

/** As {@link refuseName}, without the name. */
export function faultOf(name: string, owner: Owner = 'person'): string | undefined {
  if (!isName(name)) return 'a name has 1 to 64 visible characters and no space at its start or end'
  if (encodeText(name).length > NAME_BYTES) return `it is longer than ${NAME_BYTES} bytes`
  if (name.includes('  ')) return 'it must not have two spaces in a row'
  const [begin] = /^[.#?~\-‐-—]/u.exec(name) ?? []
  if (begin !== undefined) return `it must not begin with ${begin}`
  const unfit = findUnfit(name)
  if (unfit !== undefined) return `it must not contain ${describe(unfit)}`
  if (sanitizeLine(name) !== name) return 'it must not have more than four marks on a letter, or a mark without one'
  const looks = looksOf(name)
  if (looks.some((look) => TAKEN.test(look) || PHRASE.test(look))) return 'asfaleia itself prints this word or phrase'
  if (owner === 'person' && looks.some((look) => IN.test(look)))
    return 'it must not contain the word "in", which comes before the name of a group'
  return undefined
}

/** Finds the first character that a name must not contain. */
function findUnfit(name: string): string | undefined {
  return splitName(name).find((part) => !isFit(part)) ?? FOREIGN_MARK.exec(name)?.[0]
}

/** Splits a name into characters, but keeps an emoji whole. */
function splitName(name: string): string[] {
  const all = [...name]
  if (all.every(isFit)) return all
  return Array.from(new Intl.Segmenter('en').segment(name), ({ segment }) => segment).flatMap((each) =>
    isEmoji(each) ? [each] : [...each],
  )
}

/** Of one character or one emoji. Joiners are the matter of `isName`. */
function isFit(part: string): boolean {
  const [first = '', second] = part
  if (second === undefined && (first === '\u200C' || first === '\u200D' || FIT.test(first))) return !UNFIT.test(first)
  return isEmoji(part) && !CHECK_MARK.test(part)
}

function describe(character: string): string {
  const [first = ''] = character
  const code = `U+${first.codePointAt(0)!.toString(16).toUpperCase().padStart(4, '0')}`
  return /^[\p{L}\p{N}\p{P}\p{S}]+$/v.test(character) ? `${character} (${code})` : code
}

/**
 * Returns a name as a line shows it: as it is if a user could choose it, otherwise in quotes, with the characters escaped
 * that it must not contain. A name that a user can choose has no quotes.
 */
export function showName(name: string, owner: Owner = 'person'): string {
  return faultOf(name, owner) === undefined ? name : quoteName(name)
}

/** Returns the name in quotes, with the characters escaped that a name must not contain. */
export function quoteName(name: string): string {
  const parts = splitName(name).map((part) => (isFit(part) ? part : Array.from(part, escape).join('')))
  return `"${sanitizeLine(parts.join(''))}"`
}

const escape = (character: string): string => `\\u{${character.codePointAt(0)!.toString(16)}}`
