/** Which rows of a conversation are in its window. */
import { describe, expect, it } from 'vitest'
import { type Line, windowOf } from '../../../src/cli/chat/transcript.ts'

/** Entries 1, 3 and 4 with three rows each. */
const LINES: readonly Line[] = [1, 3, 4].flatMap((key) => [0, 1, 2].map((row): Line => ({ key, row, last: row === 2, spans: [] })))

describe('the window', () => {
  it.each([
    ['the newest rows without an anchor', undefined, 4, [5, 9]],
    ['the rows up to the anchor', { key: 3, row: 1 }, 4, [1, 5]],
    ['the first row of an entry', { key: 3, row: 0 }, 2, [2, 4]],
    ['the last row of an entry that has fewer rows now', { key: 3, row: 7 }, 2, [4, 6]],
    ['the next entry if the one of the anchor is gone', { key: 2, row: 1 }, 3, [1, 4]],
    ['the end if no entry follows the one that is gone', { key: 5, row: 0 }, 3, [6, 9]],
    ['full, also near the beginning', { key: 1, row: 0 }, 4, [0, 4]],
    ['all rows if there is room', { key: 1, row: 0 }, 20, [0, 9]],
  ] as const)('shows %s', (_what, anchor, rows, [start, end]) => {
    expect(windowOf(LINES, anchor, rows)).toEqual({ start, end })
  })
})
