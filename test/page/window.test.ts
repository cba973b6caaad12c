/** The part of a long list that is in the document. */
import { expect, it } from 'vitest'
import { rangeOf } from '../../src/page/window.ts'

const TEN = Array.from({ length: 10 }, () => 100)

it.each([
  ['all of a short list', [100, 50], 0, 400, 0, [0, 2, 0, 0]],
  ['nothing of an empty list', [], undefined, 400, 0, [0, 0, 0, 0]],
  ['the end without a place', TEN, undefined, 250, 0, [7, 10, 700, 0]],
  ['the beginning', TEN, 0, 250, 0, [0, 3, 0, 700]],
  ['what is visible in the middle', TEN, 300, 200, 0, [3, 5, 300, 500]],
  ['entries that are visible in part', TEN, 350, 200, 0, [3, 6, 300, 400]],
  ['a margin on both sides', TEN, 500, 100, 150, [3, 8, 300, 200]],
  ['the end at a place behind it', TEN, 5_000, 100, 0, [9, 10, 900, 0]],
] as const)('draws %s', (_what, heights, top, visible, margin, [start, end, before, after]) => {
  expect(rangeOf(heights, top, visible, margin)).toEqual({ start, end, before, after })
})
