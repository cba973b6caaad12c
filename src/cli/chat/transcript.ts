/**
 * Lays out a conversation in rows, and computes the scroll position. A message's text never begins in the columns of
 * times, names and notes, so it cannot imitate one.
 */
import { deliveryText } from '../../wording/delivery.ts'
import type { Anchor, Conversation, Entry } from './conversation.ts'
import { clock, dayOf, formatBytes } from '../../wording/figures.ts'
import { VERDICTS } from '../../wording/verdict.ts'
import { formatSpan } from '../program/span.ts'
import { clip, fit, graphemes, type Role, type Row, rowWidth, type Span, type Stretch, widthOf, wrap } from './text.ts'

/** The abilities of the terminal. */
export interface Look {
  /** Draws lines and marks in ASCII only. */
  readonly ascii: boolean
  /** Line by line, with no keys of the chat's own. */
  readonly plain?: true
}

export interface Line {
  /** The entry, and the row within it. */
  readonly key: number
  readonly row: number
  /** Whether it is the entry's last row. */
  readonly last: boolean
  readonly spans: Row
}

/** The selected entry and the search term. */
export interface Highlight {
  readonly chosen: number | undefined
  readonly query: string
}

const TIME_WIDTH = 5
const LEAST_NAME = 3
const LINK = /https?:\/\/[^\s<>"']+|[a-z2-7]{56}\.onion\S*/giu

const cache = new WeakMap<Entry, { readonly as: string; readonly rows: readonly Row[] }>()

/** Lays out all rows of a conversation, in order. */
export function transcript(conversation: Conversation, width: number, look: Look, highlight: Highlight): Line[] {
  const names = nameWidth(conversation, width)
  const lines: Line[] = []
  let day = ''
  for (const entry of conversation.entries) {
    const own = dayOf(entry.at)
    const isNew = conversation.newFrom === entry.key
    const as = [width, names, look.ascii, day === own ? '' : own, isNew, highlight.chosen === entry.key, highlight.query].join('|')
    const cached = cache.get(entry)
    const rows = cached?.as === as ? cached.rows : entryRows(entry, { width, names, look, highlight, heads: heads(day, own, isNew) })
    if (cached?.as !== as) cache.set(entry, { as, rows })
    day = own
    for (const [row, spans] of rows.entries()) lines.push({ key: entry.key, row, last: row === rows.length - 1, spans })
  }
  return lines
}

function heads(before: string, day: string, isNew: boolean): string[] {
  return [...(before === day ? [] : [day]), ...(isNew ? ['new'] : [])]
}

function nameWidth({ entries }: Conversation, width: number): number {
  const most = width < 50 ? 8 : 14
  const widest = entries.reduce((widest, { author, from }) => (from === 'note' ? widest : Math.max(widest, widthOf(author))), LEAST_NAME)
  return Math.min(most, widest)
}

interface Drawing {
  readonly width: number
  readonly names: number
  readonly look: Look
  readonly highlight: Highlight
  readonly heads: readonly string[]
}

function entryRows(entry: Entry, drawing: Drawing): Row[] {
  const { width, names, look, highlight } = drawing
  const rows: Row[] = drawing.heads.map((text) => divider(text, width, look))
  if (entry.from === 'note') {
    const [first = [], ...more] = wrap(entry.text, width - 3, 'dim')
    return [...rows, [{ text: '-- ', role: 'dim' }, ...first], ...more.map((row): Row => [{ text: '   ', role: 'dim' }, ...row])]
  }
  const chosen = highlight.chosen === entry.key
  const gutter = TIME_WIDTH + 2 + names + 2
  const room = Math.max(8, width - gutter)
  const body: Row[] = [
    ...(entry.gap === true ? wrap('a message before this one is missing', room, 'bad') : []),
    ...(entry.late === true ? wrap('late: it is older than the message above', room, 'dim') : []),
    ...(entry.expires === undefined ? [] : wrap(`disappears ${formatSpan(entry.expires)} after reading`, room, 'dim')),
    ...(entry.verdict === 'genuine' ? [] : wrap(`! ${VERDICTS[entry.verdict]}`, room, 'bad')),
    ...(entry.reply === undefined ? [] : [[{ text: clip(`> ${entry.reply.replaceAll('\n', ' ')}`, room), role: 'dim' } as const]]),
    ...textRows(entry, room, highlight.query),
  ]
  const state = entry.from === 'me' ? deliveryText(entry) : undefined
  if (state !== undefined) addState(body, state, room)
  const head: Row = [
    { text: `${clock(entry.at)}  `, role: chosen ? 'chosen' : 'dim' },
    { text: `${fit(entry.author, names)}  `, role: chosen ? 'chosen' : entry.from },
  ]
  const [first = [], ...more] = body
  rows.push([...head, ...first])
  for (const row of more) rows.push([{ text: ' '.repeat(gutter), role: chosen ? 'chosen' : 'plain' }, ...row])
  return rows
}

function textRows(entry: Entry, room: number, query: string): Row[] {
  const suffix: Row[] = []
  if (entry.changed === 'removed') return wrap('(removed)', room, 'dim')
  if (entry.changed === 'edited') suffix.push([{ text: '(edited)', role: 'dim' }])
  if (entry.file !== undefined) return [...fileRows(entry, room), ...suffix]
  const rows = entry.text === '' ? [] : wrap(entry.text, room, 'plain', stretchesOf(entry.text, query))
  const last = rows.at(-1)
  if (suffix.length > 0 && last !== undefined && rowWidth(last) + 9 <= room) {
    rows[rows.length - 1] = [...last, { text: ' (edited)', role: 'dim' }]
    return rows
  }
  return [...rows, ...suffix]
}

function fileRows({ file, from }: Entry, room: number): Row[] {
  const { name, total, moved, state, note } = file!
  const size = formatBytes(total)
  const percent = total === 0 ? 100 : Math.floor((moved / total) * 100)
  const title: Span = { text: clip(`${from === 'me' ? 'file' : 'a file'} "${name}", ${size}`, room), role: 'plain' }
  switch (state) {
    case 'moving':
      return [[title], [{ text: `${bar(percent, Math.min(20, room - 6))} ${String(percent).padStart(3)}%`, role: 'warn' }]]
    case 'done':
      return [[title], ...(note === undefined ? [] : wrap(note, room, 'good'))]
    case 'failed':
      return [[title], ...wrap(note ?? 'it did not arrive', room, 'bad')]
  }
}

function bar(percent: number, width: number): string {
  const full = Math.round((Math.max(0, width) * percent) / 100)
  return `[${'#'.repeat(full)}${'.'.repeat(Math.max(0, width - full))}]`
}

/** Adds the state of a message at the right of the last row, or below it. */
function addState(body: Row[], state: { readonly text: string; readonly role: Role }, room: number): void {
  const last = body.at(-1) ?? []
  const used = rowWidth(last)
  const wide = widthOf(state.text)
  if (used + 2 + wide <= room)
    body[Math.max(0, body.length - 1)] = [...last, { text: ' '.repeat(room - used - wide), role: 'plain' }, state]
  else if (wide <= room) body.push([{ text: ' '.repeat(room - wide), role: 'plain' }, state])
  else body.push(...wrap(state.text, room, state.role))
}

function stretchesOf(text: string, query: string): Stretch[] {
  const found: Stretch[] = [...text.matchAll(LINK)].map((match) => stretch(text, match.index, match[0].length, 'link'))
  for (const at of matches(text, query)) found.push(stretch(text, at, query.length, 'match'))
  return found
}

function stretch(text: string, at: number, length: number, role: Role): Stretch {
  const start = graphemes(text.slice(0, at)).length
  return { start, end: start + graphemes(text.slice(at, at + length)).length, role }
}

/** Returns the places of the search term in the text, ignoring case. */
export function matches(text: string, query: string): number[] {
  if (query === '') return []
  const where: number[] = []
  const [low, wanted] = [text.toLowerCase(), query.toLowerCase()]
  // If lower case changes the length (İ), the places would be wrong.
  const same = low.length === text.length && wanted.length === query.length
  const [hay, needle] = same ? [low, wanted] : [text, query]
  for (let at = hay.indexOf(needle); at !== -1; at = hay.indexOf(needle, at + needle.length)) where.push(at)
  return where
}

function divider(text: string, width: number, { ascii }: Look): Row {
  const line = ascii ? '-' : '─'
  const role: Role = text === 'new' ? 'warn' : 'dim'
  const title = `${line}${line} ${text} `
  return [{ text: title + line.repeat(Math.max(0, width - widthOf(title))), role }]
}

/** The lines on the screen: `end` is exclusive. */
export interface Window {
  readonly start: number
  readonly end: number
}

export function windowOf(lines: readonly Line[], scroll: Anchor | undefined, rows: number): Window {
  const bottom = scroll === undefined ? lines.length : placeOf(lines, scroll) + 1
  const end = Math.min(lines.length, Math.max(bottom, rows))
  return { start: Math.max(0, end - rows), end }
}

/** Returns the index of an anchor's line. After a resize, its entry may have fewer rows. */
function placeOf(lines: readonly Line[], { key, row }: Anchor): number {
  const at = lines.findLastIndex((line) => line.key === key && line.row <= row)
  if (at !== -1) return at
  // The entry is gone: use the next one.
  const next = lines.findIndex((line) => line.key > key)
  return next === -1 ? lines.length - 1 : next
}

/** Moves an anchor by `by` rows; undefined at the bottom. */
export function scrolled(lines: readonly Line[], scroll: Anchor | undefined, by: number, rows: number): Anchor | undefined {
  const { end } = windowOf(lines, scroll, rows)
  return anchorAt(lines, Math.min(Math.max(end - 1 + by, Math.min(rows, lines.length) - 1), lines.length - 1))
}

/** Returns the anchor that puts the entry's first row at the top; undefined if everything after it fits. */
export function anchoredAtTop(lines: readonly Line[], key: number, rows: number): Anchor | undefined {
  const first = lines.findIndex((line) => line.key === key)
  return first === -1 ? undefined : anchorAt(lines, first + rows - 1)
}

/** Returns the anchor that shows the entire entry, with some rows around it. */
export function anchoredAround(lines: readonly Line[], key: number, scroll: Anchor | undefined, rows: number): Anchor | undefined {
  const first = lines.findIndex((line) => line.key === key)
  const last = lines.findLastIndex((line) => line.key === key)
  const { start, end } = windowOf(lines, scroll, rows)
  if (first === -1 || (first >= start && last < end)) return scroll
  return anchorAt(lines, Math.max(last, Math.min(first + rows - 1, last + Math.floor(rows / 3))))
}

function anchorAt(lines: readonly Line[], at: number): Anchor | undefined {
  const line = lines[at]
  return line === undefined || at >= lines.length - 1 ? undefined : { key: line.key, row: line.row }
}
