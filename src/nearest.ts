/** Suggests the word that a person most likely meant: "did you mean …?" */

/** A longer word is not compared: the work grows with the product of both lengths. */
const MOST_LENGTH = 40
/** Letters that differ at most. */
const MOST_EDITS = 3

/** Returns the candidate that is most like a mistyped word, or undefined if none is alike. */
export function nearest<T extends string>(word: string, candidates: Iterable<T>): T | undefined {
  let best: T | undefined
  let bestShare = 0.5
  if (word.length > MOST_LENGTH) return undefined
  for (const candidate of candidates) {
    const isBeginning = word.length > 1 && candidate.startsWith(word)
    const edits = isBeginning ? 1 : countEdits(word.toLowerCase(), candidate.toLowerCase())
    const share = edits / Math.max(word.length, candidate.length, 1)
    if (edits > MOST_EDITS || share > bestShare || (share === bestShare && best !== undefined)) continue
    best = candidate
    bestShare = share
  }
  return best
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
