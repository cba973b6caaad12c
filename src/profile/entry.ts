/**
 * The files of the folders of a profile: each holds one thing (a contact, a group), and has the name that the user gave
 * it. It begins with the signed text, if there is one; the user's own fields follow. Pure; runs in a page too.
 */
import { encodeText } from '../client/format/field.ts'
import { dropHidden, hides } from '../client/format/visible.ts'
import { Fields } from './fields.ts'

/** The two parts of a file. */
export interface Parts {
  /** The signed text; '' if the file is not signed. */
  readonly signed: string
  readonly fields: Fields
}

const LAST_LINE = '-----END SSH SIGNATURE-----\n'
const NAME_BYTES = 200
// Names that a file system, a shell, a terminal or listNames would misread.
const UNFIT = /^[.-]|^\s|[\s~]$|\/|^#.*#$/

/** Explains why a file of that name is not one of the folder's; undefined if it is. Which names a user may choose is stricter. */
export function refuseFile(name: string): string | undefined {
  if (name === '' || [...name].length > 64 || encodeText(name).length > NAME_BYTES)
    return `"${name}" cannot be a name: it must have 1 to 64 characters`
  if (UNFIT.test(name) || hides(name))
    return `"${name}" cannot be a name: it must not begin with . or -, end with ~, stand between # and #, or contain / or invisible characters`
  return undefined
}

/**
 * Folds names that differ only in case, in joiners, or in how their letters are composed: some disks would store them as
 * one file, and people would read them as one word.
 */
export const fold = (name: string): string => dropHidden(name.normalize('NFKC')).toLowerCase()

/** Splits the text of a file into its two parts. */
export function splitParts(text: string): Parts {
  const plain = text.replaceAll('\r\n', '\n')
  const end = plain.lastIndexOf(LAST_LINE)
  const at = end === -1 ? 0 : end + LAST_LINE.length
  return { signed: plain.slice(0, at), fields: new Fields(plain.slice(at)) }
}
