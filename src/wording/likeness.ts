/** Whether two names look alike to a reader: the skeletons of UTS 39, in any case. */
import { dropHidden } from '../client/format/visible.ts'
import { readConfusables } from './confusables.ts'

let prototypes: ReadonlyMap<string, string> | undefined

/** Replaces each character by its prototype. */
function skeleton(text: string): string {
  prototypes ??= readConfusables()
  return Array.from(text, (character) => prototypes!.get(character) ?? character).join('')
}

/** Returns the forms of a name that readers may take it for. Names that share one look alike. */
export function looksOf(name: string): readonly string[] {
  const plain = dropHidden(name.normalize('NFKD')).replaceAll(/\s+/g, ' ').trim()
  // A capital I looks like a small l, but IVAN is ivan as well.
  return [skeleton(plain.toLowerCase()).toLowerCase(), skeleton(plain).toLowerCase()]
}

/** Returns whether the names look alike, or are the same but for case and composition. */
export function looksLike(one: string, other: string): boolean {
  const looks = looksOf(other)
  return looksOf(one).some((each) => looks.includes(each))
}
