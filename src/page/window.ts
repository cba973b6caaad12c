/** Which entries of a long list are on the screen: only those are in the document. Pure. */

/** Heights in pixels. `start` is inclusive and `end` exclusive; `before` and `after` are the heights of the rest. */
export interface Range {
  readonly start: number
  readonly end: number
  readonly before: number
  readonly after: number
}

/** Entries beyond the visible ones, in pixels on each side, so that scrolling shows no gap. */
const MARGIN = 600

/**
 * Returns the entries to draw.
 * @param top the first visible pixel, or undefined for the end of the list
 * @param visible the height of the part on the screen
 */
export function rangeOf(heights: readonly number[], top: number | undefined, visible: number, margin = MARGIN): Range {
  const sum = heights.reduce((all, height) => all + height, 0)
  const upper = Math.min(top ?? sum, Math.max(0, sum - visible))
  let start = 0
  let before = 0
  while (start < heights.length && before + heights[start]! <= upper - margin) before += heights[start++]!
  let end = start
  let drawn = 0
  while (end < heights.length && before + drawn < upper + visible + margin) drawn += heights[end++]!
  return { start, end, before, after: Math.max(0, sum - before - drawn) }
}
