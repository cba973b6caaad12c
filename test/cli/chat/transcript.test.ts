/** The rows of a conversation, and which of them are in its window. */
import { describe, expect, it } from 'vitest'
import { blank, type Entry } from '../../../src/cli/chat/conversation.ts'
import { anchoredAround, anchoredAtTop, type Line, matches, scrolled, transcript, windowOf } from '../../../src/cli/chat/transcript.ts'
import type { Delivery } from '../../../src/wording/delivery.ts'
import { clock, dayOf } from '../../../src/wording/figures.ts'

const NOON = new Date(2026, 10, 26, 12).getTime()
const ENTRY: Entry = {
  key: 1,
  at: NOON,
  from: 'them',
  author: 'bob',
  text: 'hello',
  verdict: 'genuine',
  deliveries: [],
  unseen: false,
  tickets: [],
}
/** A message leaves so many columns of 40 to its text. */
const ROOM = 28
const GUTTER = ' '.repeat(40 - ROOM)
const HEAD = `${clock(NOON)}  bob  `

function lay(entries: readonly Entry[], newFrom?: number, width = 40): string[] {
  const lines = transcript({ ...blank('x', 'contact'), entries, newFrom }, width, { ascii: true }, { chosen: undefined, query: '' })
  return lines.map(({ spans }) => spans.map(({ text }) => text).join(''))
}

/** The rows of a message below the line with its day, without the columns of its time and its author. */
function textsOf(entry: Partial<Entry>): string[] {
  const [, first, ...more] = lay([{ ...ENTRY, ...entry }])
  expect(first?.startsWith(HEAD)).toBe(true)
  for (const row of more) expect(row.startsWith(GUTTER)).toBe(true)
  return [first!, ...more].map((row) => row.slice(GUTTER.length))
}

describe('a message', () => {
  it.each([
    ['that was edited says so behind its text, if the line has room', { text: 'x'.repeat(19) }, [`${'x'.repeat(19)} (edited)`]],
    ['that was edited says so below it otherwise', { text: 'x'.repeat(20) }, ['x'.repeat(20), '(edited)']],
    ['of two lines that was edited says so behind the last one', { text: `${'x'.repeat(20)}\ny` }, ['x'.repeat(20), 'y (edited)']],
    ['without a text that was edited says only that', { text: '' }, ['(edited)']],
    [
      'with a file that was edited says so below the file',
      { file: { name: 'f', total: 2, moved: 2, state: 'done' } },
      ['a file "f", 2 bytes', '(edited)'],
    ],
  ] as const)('%s', (_what, entry, rows) => {
    expect(textsOf({ ...entry, changed: 'edited' })).toEqual(rows)
  })

  it('that was removed shows neither its text nor its file', () => {
    expect(textsOf({ changed: 'removed', file: { name: 'f', total: 2, moved: 2, state: 'done' } })).toEqual(['(removed)'])
  })

  const HELD: Delivery = { id: 'a', member: 'b', to: 'bob', state: 'held' }
  it.each([
    ['at the end of its line, two columns behind the text at least', 'x'.repeat(22), [`${'x'.repeat(22)}  held`]],
    ['in the next line if there is no room', 'x'.repeat(23), ['x'.repeat(23), '                        held']],
    ['at the end of the last line', `${'x'.repeat(28)}\ny`, ['x'.repeat(28), 'y                       held']],
  ])('of the user shows its state %s', (_where, text, rows) => {
    expect(textsOf({ from: 'me', text, deliveries: [HELD] })).toEqual(rows)
  })

  it('of the user shows a long state in lines of its own', () => {
    const failed: Delivery = { ...HELD, state: 'failed', why: 'the relay holds no more' }
    expect(textsOf({ from: 'me', text: 'x', deliveries: [failed] })).toEqual(['x', 'failed: the relay holds no', 'more'])
  })

  it.each([
    [0, '[....................]   0%'],
    [1, '[....................]   1%'],
    [50, '[##########..........]  50%'],
    [99, '[####################]  99%'],
    [100, '[####################] 100%'],
  ])('with a file shows how much came: %i of 100 bytes', (moved, row) => {
    expect(textsOf({ file: { name: 'f', total: 100, moved, state: 'moving' } })).toEqual(['a file "f", 100 bytes', row])
  })

  it('with an empty file on its way shows all of it, and with a failed one the reason', () => {
    expect(textsOf({ file: { name: 'f', total: 0, moved: 0, state: 'moving' } })[1]).toBe('[####################] 100%')
    const failed = { name: 'f', total: 2, moved: 1, state: 'failed' } as const
    expect(textsOf({ file: failed }).at(-1)).toBe('it did not arrive')
    expect(textsOf({ file: { ...failed, note: 'no room' }, from: 'me' })).toEqual(['file "f", 2 bytes', 'no room'])
  })
})

describe('a conversation', () => {
  it('has a line for each day, and one above the first new message', () => {
    const at = (key: number, days: number): Entry => ({ ...ENTRY, key, text: `${key}`, at: NOON + days * 86_400_000 })
    const rows = lay([at(1, 0), at(2, 0), at(3, 1), at(4, 1)], 4)
    const line = (title: string): string => `-- ${title} `.padEnd(40, '-')
    expect(rows).toEqual([line(dayOf(NOON)), `${HEAD}1`, `${HEAD}2`, line(dayOf(NOON + 86_400_000)), `${HEAD}3`, line('new'), `${HEAD}4`])
  })

  it('gives names the room of the widest one, between 3 and 8 columns of a narrow screen and 14 of a wide one', () => {
    const textAt = (author: string, width: number): number =>
      lay([{ ...ENTRY, author, text: '!' }], undefined, width)
        .at(-1)!
        .indexOf('!')
    expect(['x', 'anna', 'a'.repeat(8), 'a'.repeat(20)].map((name) => textAt(name, 49) - 9)).toEqual([3, 4, 8, 8])
    expect(['x', 'a'.repeat(14), 'a'.repeat(20)].map((name) => textAt(name, 50) - 9)).toEqual([3, 14, 14])
  })

  it('lays a note out beside its mark', () => {
    const note: Entry = { ...ENTRY, from: 'note', author: 'a long name', text: 'x'.repeat(40) }
    expect(lay([note]).slice(1)).toEqual([`-- ${'x'.repeat(37)}`, '   xxx'])
    // Its author takes no room.
    expect(lay([note, { ...ENTRY, key: 2 }]).at(-1)).toBe(`${HEAD}hello`)
  })
})

it.each([
  ['', 'tea', []],
  ['t', '', []],
  ['Tea, tEA and tea', 'TEA', [0, 5, 13]],
  ['aaaa', 'aa', [0, 2]],
  // In lower case, this letter has another length.
  ['\u{130} Tea tea', 'tea', [6]],
])('in %j, %j is found at %j', (text, query, places) => {
  expect(matches(text, query)).toEqual(places)
})

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

describe('scrolling', () => {
  it.each([
    ['up from the end', undefined, -1, { key: 4, row: 1 }],
    ['up beyond the beginning, and shows the first rows', undefined, -100, { key: 3, row: 0 }],
    ['down', { key: 3, row: 0 }, 1, { key: 3, row: 1 }],
    ['down to the end', { key: 4, row: 1 }, 1, undefined],
    ['down beyond the end', { key: 3, row: 0 }, 100, undefined],
  ] as const)('goes %s', (_where, from, by, to) => {
    expect(scrolled(LINES, from, by, 4)).toEqual(to)
  })

  it('does nothing while all rows are visible', () => {
    for (const by of [-1, 1]) expect(scrolled(LINES, undefined, by, 9)).toBeUndefined()
    expect(scrolled([], undefined, -1, 4)).toBeUndefined()
  })

  it('puts the first row of an entry at the top, unless all that follows fits', () => {
    expect(anchoredAtTop(LINES, 1, 4)).toEqual({ key: 3, row: 0 })
    expect(anchoredAtTop(LINES, 3, 5)).toEqual({ key: 4, row: 1 })
    expect(anchoredAtTop(LINES, 3, 6)).toBeUndefined()
    expect(anchoredAtTop(LINES, 2, 4)).toBeUndefined()
  })

  it('shows an entry that is not wholly visible, and leaves the window of one that is', () => {
    const end = { key: 4, row: 0 }
    expect(anchoredAround(LINES, 3, end, 4)).toEqual(end)
    expect(anchoredAround(LINES, 3, end, 3)).toEqual({ key: 3, row: 2 })
    expect(anchoredAround(LINES, 1, end, 6)).toEqual({ key: 3, row: 1 })
    expect(anchoredAround(LINES, 4, { key: 1, row: 2 }, 3)).toBeUndefined()
    expect(anchoredAround(LINES, 2, end, 4)).toEqual(end)
  })
})
