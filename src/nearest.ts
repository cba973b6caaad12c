/** Suggests the word that a person most likely meant: "did you mean …?" */

/** A longer word is not compared: the work grows with the product of both lengths. */
const MOST_LENGTH = 40
/** Letters that differ at most, and their share of the longer word. */
const MOST_EDITS = 3
const MOST_SHARE = 0.5

/** A question names no more words than this. */
const MOST_NAMED = 3

/** Returns the candidate that is most like a mistyped word, or undefined if none is alike. */
export function nearest<T extends string>(word: string, candidates: Iterable<T>): T | undefined {
  return alike(word, candidates)[0]
}

/** Asks for the candidates that are most like a mistyped word: `; did you mean "bob" or "bobby"?`, or '' if none is alike. */
export function didYouMean(word: string, candidates: Iterable<string>, format = (name: string): string => `"${name}"`): string {
  const names = alike(word, candidates).slice(0, MOST_NAMED).map(format)
  const last = names.pop()
  if (last === undefined) return ''
  return `; did you mean ${names.length === 0 ? last : `${names.join(', ')} or ${last}`}?`
}

/** Returns the candidates that are like a word, the most alike first. A candidate that begins with the word is alike. */
function alike<T extends string>(word: string, candidates: Iterable<T>): T[] {
  if (word.length > MOST_LENGTH) return []
  const low = word.toLowerCase()
  return [...new Set(candidates)]
    .filter((candidate) => candidate.length <= MOST_LENGTH)
    .map((candidate) => {
      const isBeginning = word.length > 1 && candidate.toLowerCase().startsWith(low)
      return { candidate, edits: isBeginning ? 1 : countEdits(low, candidate.toLowerCase()) }
    })
    .filter(({ candidate, edits }) => edits <= MOST_EDITS && edits / Math.max(word.length, candidate.length, 1) <= MOST_SHARE)
    .toSorted((one, other) => one.edits - other.edits || one.candidate.length - other.candidate.length)
    .map(({ candidate }) => candidate)
}

/** Counts the letters to insert, delete, replace or swap with their neighbour (optimal string alignment distance). */
function countEdits(from: string, to: string): number {
  let before: number[] = []
  let last = Array.from({ length: to.length + 1 }, (_, index) => index)
  for (let i = 1; i <= from.length; i++) {
    const row = [i]
    for (let j = 1; j <= to.length; j++) {
      const replaced = last[j - 1]! + (from[i - 1] === to[j - 1] ? 0 : 1)
      const isSwapped = i > 1 && j > 1 && from[i - 1] === to[j - 2] && from[i - 2] === to[j - 1]
      row[j] = Math.min(last[j]! + 1, row[j - 1]! + 1, replaced, isSwapped ? before[j - 2]! + 1 : Infinity)
    }
    before = last
    last = row
  }
  return last[to.length]!
}
