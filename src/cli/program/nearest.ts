/** Suggests the names that a mistyped word may mean: "did you mean". */

/** Characters of a word that are compared: the work is bounded by this squared for each candidate. */
const COMPARED = 64
const MOST = 3

/**
 * Returns the candidates nearest to `word`, at most three, best first: those that begin with it, then those at most a
 * third of its letters away. An edit inserts, removes or replaces a character, or swaps two neighbours; case is ignored.
 */
export function nearest(word: string, candidates: readonly string[]): string[] {
  const wanted = [...word.toLowerCase()].slice(0, COMPARED)
  if (wanted.length === 0) return []
  const most = Math.max(1, Math.floor(wanted.length / 3))
  return [...new Set(candidates)]
    .map((name) => {
      const characters = [...name.toLowerCase()].slice(0, COMPARED)
      const begins = wanted.every((each, index) => characters[index] === each)
      return { name, edits: begins ? 0 : countEdits(wanted, characters, most) }
    })
    .filter(({ edits }) => edits <= most)
    .toSorted((one, other) => one.edits - other.edits || one.name.length - other.name.length)
    .slice(0, MOST)
    .map(({ name }) => name)
}

/**
 * Formats {@link nearest} as a question: `did you mean "bob" or "bobby"?`; undefined if no candidate is near.
 * @param show formats a candidate, in quotes by default
 */
export function didYouMean(word: string, candidates: readonly string[], show = (name: string): string => `"${name}"`): string | undefined {
  const names = nearest(word, candidates).map(show)
  const last = names.pop()
  if (last === undefined) return undefined
  return `did you mean ${names.length === 0 ? last : `${names.join(', ')} or ${last}`}?`
}

/** The optimal string alignment distance of two words; anything above `most` if it is above. */
function countEdits(one: readonly string[], other: readonly string[], most: number): number {
  if (Math.abs(one.length - other.length) > most) return most + 1
  let before: number[] = []
  let last = Array.from({ length: other.length + 1 }, (_, column) => column)
  for (let row = 1; row <= one.length; row++) {
    const next = [row]
    for (let column = 1; column <= other.length; column++) {
      const isSame = one[row - 1] === other[column - 1]
      const swaps = row > 1 && column > 1 && one[row - 1] === other[column - 2] && one[row - 2] === other[column - 1]
      next[column] = Math.min(
        last[column]! + 1,
        next[column - 1]! + 1,
        last[column - 1]! + (isSame ? 0 : 1),
        swaps ? before[column - 2]! + 1 : Infinity,
      )
    }
    ;[before, last] = [last, next]
  }
  return last[other.length]!
}
