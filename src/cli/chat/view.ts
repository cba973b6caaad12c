/** Draws a state: rows of spans, the cursor, and the entries that are shown to their end. Pure. */
import { type Conversation, type Entry, isOut, LOOKALIKE, protectionOf, STRANGERS, unreadOf } from './conversation.ts'
import { cursorPlace } from './editor.ts'
import type { Geometry } from './geometry.ts'
import { editorOf, geometry, isAddable, linesOf, listed, openConversation, promptOf, type State } from './state.ts'
import { breakLines, clip, fit, lineText, type Role, type Row, rowWidth, type Span, widthOf, wrap } from './text.ts'
import { windowOf } from './transcript.ts'

export interface Frame {
  readonly rows: readonly Row[]
  /** Zero-based; undefined if there is no editor. */
  readonly cursor: { readonly row: number; readonly column: number } | undefined
  /** Entries that are shown to their end. */
  readonly drawn: readonly number[]
}

const EMPTY_PANE = `You have no contacts yet.

Give others your card: /card shows it. People who write to you appear here.
Add the card of another person: paste its link, or type /add LINK.
/help shows commands and keys.`

/** @returns exactly as many rows as the size has, none wider than its columns */
export function view(state: State): Frame {
  const { rows: high, columns: wide } = state.size
  const frame = state.overlay === undefined ? viewChat(state) : viewOverlay(state, state.overlay)
  const rows = frame.rows.slice(0, high)
  const filled = [...rows, ...Array.from({ length: Math.max(0, high - rows.length) }, (): Row => [])]
  const { cursor } = frame
  const shown = cursor === undefined || cursor.row >= high ? undefined : { row: cursor.row, column: Math.min(cursor.column, wide - 1) }
  return { rows: filled.map((row) => cut(row, wide)), cursor: shown, drawn: frame.drawn }
}

function viewChat(state: State): Frame {
  const shape = geometry(state)
  const open = openConversation(state)
  const pane = viewPane(state, open, shape)
  const editor = viewEditor(state, shape)
  const narrowList = state.picking !== undefined && shape.list === 0
  const middle = narrowList
    ? viewList(state, state.size.columns, shape.pane.rows)
    : shape.list === 0
      ? pane.rows
      : beside(viewList(state, shape.list, shape.pane.rows), pane.rows, shape.list, state.look.ascii ? '|' : '│')
  const rows = [
    ...(shape.bar === 1 ? [viewBar(state, open)] : []),
    ...middle,
    ...(shape.rule === 1 ? [viewRule(state, open, pane)] : []),
    ...editor.rows,
  ]
  const top = shape.bar + shape.pane.rows + shape.rule
  return {
    rows,
    cursor: { row: top + editor.cursor.row, column: editor.cursor.column },
    drawn: narrowList ? [] : pane.drawn,
  }
}

/** Draws the bar: the open conversation, what protects its latest message, the number of new messages elsewhere, and the state of the relays. */
function viewBar(state: State, open: Conversation | undefined): Row {
  const { columns } = state.size
  const others = state.conversations.filter(({ id }) => id !== state.open)
  const elsewhere = others.filter(({ kind }) => kind !== 'request').reduce((sum, each) => sum + unreadOf(each), 0)
  const asking = others.filter(({ kind }) => kind === 'request').length
  const relays = columns < 40 && state.relays.every(({ state }) => state === 'up') ? [] : [relaysText(state)]
  const protection = open && protectionOf(open)
  const right = ` ${[...(protection === undefined ? [] : [protection]), ...(elsewhere > 0 ? [`${elsewhere} new`] : []), ...(asking > 0 ? [`${asking} request${asking === 1 ? '' : 's'}`] : []), ...relays].join(' · ')} `
  const shown = clip(state.look.ascii ? right.replaceAll('·', '-') : right, Math.max(0, columns - 12))
  const room = Math.max(0, columns - widthOf(shown))
  const left = ` ${open === undefined ? state.me : titleOf(open)}`
  return [{ text: fit(left, room) + shown, role: 'bar' }]
}

function titleOf({ kind, name, verified, members, left, blocked }: Conversation): string {
  switch (kind) {
    case 'contact':
      return `${name}${verified ? ' (verified)' : ''}${lookalike(name)}${blocked === true ? ' (blocked)' : ''}`
    case 'group':
      return `${name}: ${members.join(', ')}${left === true ? ' (you left)' : ''}`
    case 'request':
      return `${name} (not in your contacts)${lookalike(name)} wants to talk`
    case 'strangers':
      return 'strangers: anyone can write here'
  }
}

function lookalike(name: string): string {
  return name.startsWith(LOOKALIKE) ? ' (looks like another contact)' : ''
}

function relaysText({ relays }: State): string {
  const [first] = relays
  if (first === undefined) return 'no relay'
  const up = relays.filter(({ state }) => state === 'up').length
  if (relays.length > 1) return `${up} of ${relays.length} relays`
  switch (first.state) {
    case 'up':
      return 'connected'
    case 'connecting':
      return 'connecting'
    case 'down':
      return 'not connected'
  }
}

function viewList(state: State, width: number, rows: number): Row[] {
  const conversations = listed(state)
  const picked = state.picking?.at
  const at = picked ?? conversations.findIndex(({ id }) => id === state.open)
  const first = Math.max(0, Math.min(at - Math.floor(rows / 2), conversations.length - rows))
  return conversations.slice(first, first + rows).map((conversation, index): Row => {
    const unread = unreadOf(conversation)
    const mark = picked === first + index ? '>' : conversation.id === state.open ? (state.look.ascii ? '*' : '•') : ' '
    const count = unread === 0 ? '' : ` ${unread > 99 ? '99+' : unread} `
    const sign = conversation.kind === 'group' ? '#' : conversation.kind === 'request' ? '+' : ''
    const name = sign + conversation.name
    const role: Role =
      conversation.id === state.open
        ? 'open'
        : conversation.id === STRANGERS || conversation.kind === 'request'
          ? 'dim'
          : unread > 0
            ? 'strong'
            : 'plain'
    return [
      { text: `${mark} ${fit(name, Math.max(0, width - 2 - widthOf(count)))}`, role },
      ...(count === '' ? [] : [{ text: count, role: 'warn' } as const]),
    ]
  })
}

function beside(left: readonly Row[], right: readonly Row[], width: number, line: string): Row[] {
  return right.map((row, index) => {
    const before = left[index] ?? []
    return [
      ...before,
      { text: ' '.repeat(Math.max(0, width - rowWidth(before))), role: 'plain' },
      { text: `${line} `, role: 'dim' },
      ...row,
    ]
  })
}

interface Pane {
  readonly rows: readonly Row[]
  readonly drawn: readonly number[]
  /** The number of rows below the screen, and of unseen messages there. */
  readonly below: number
  readonly unseenBelow: number
}

function viewPane(state: State, open: Conversation | undefined, { pane }: Geometry): Pane {
  if (open === undefined) return { rows: pad(wrap(EMPTY_PANE, pane.columns, 'dim'), pane.rows), drawn: [], below: 0, unseenBelow: 0 }
  const lines = linesOf(state, open, pane.columns)
  const { start, end } = windowOf(lines, open.scroll, pane.rows)
  const shown = lines.slice(start, end)
  const ended = new Set(shown.filter(({ last }) => last).map(({ key }) => key))
  const drawn = open.entries.filter(({ key, unseen }) => unseen && ended.has(key)).map(({ key }) => key)
  const unseenBelow = open.entries.filter(({ key, unseen }) => unseen && !ended.has(key)).length
  return {
    rows: pad(
      shown.map(({ spans }) => spans),
      pane.rows,
    ),
    drawn,
    below: lines.length - end,
    unseenBelow,
  }
}

/** Adds empty rows at the top, so that the newest entry is at the bottom. */
function pad(rows: readonly Row[], high: number): Row[] {
  return [...Array.from({ length: Math.max(0, high - rows.length) }, (): Row => []), ...rows]
}

/** Draws the line above the editor: the last line to the user, or else the most useful fact or hint. */
function viewRule(state: State, open: Conversation | undefined, { below, unseenBelow }: Pane): Row {
  const { columns } = state.size
  const line = state.look.ascii ? '-' : '─'
  const down = state.relays.filter((each) => each.state === 'down' && each.why !== undefined)
  const told =
    state.told ??
    (unseenBelow > 0 ? ({ text: `${unseenBelow} new below: PageDown`, role: 'warn' } as const) : undefined) ??
    (below > 0 ? ({ text: `${below} rows below: PageDown`, role: 'dim' } as const) : undefined) ??
    replied(open) ??
    (down.length > 0 && down.length === state.relays.length ? ({ text: down[0]!.why!, role: 'bad' } as const) : undefined) ??
    ({ text: hint(state, open), role: 'dim' } as const)
  const text = clip(told.text, Math.max(0, columns - 4))
  return [
    { text: `${line} `, role: 'dim' },
    { text, role: told.role },
    { text: ` ${line.repeat(Math.max(0, columns - 3 - widthOf(text)))}`, role: 'dim' },
  ]
}

function replied(open: Conversation | undefined): Span | undefined {
  const { compose } = open ?? {}
  if (open === undefined || compose?.kind !== 'reply') return undefined
  const entry = open.entries.find(({ key }) => key === compose.key)
  return entry === undefined ? undefined : { text: `to ${entry.author}: ${entry.text.replaceAll('\n', ' ')}`, role: 'dim' }
}

function hint({ size: { columns }, ...state }: State, open: Conversation | undefined): string {
  if (state.search !== undefined) return 'type to search; Enter finds the previous match, Esc ends'
  if (state.picking !== undefined) return 'type a part of the name; Up and Down select, Enter opens'
  const chosen = open?.entries.find(({ key }) => key === open.chosen)
  if (chosen !== undefined) return hintAbout(chosen, isAddable(state, chosen))
  if (open?.kind === 'request') return '/accept, /ignore or /block; an answer accepts'
  if (open?.kind === 'strangers') return open.entries.some((each) => isAddable(state, each)) ? '/add adds a card to your contacts' : ''
  return columns < 60 ? 'Enter: send, /help' : 'Enter: send, Alt+Enter: new line, Ctrl+N: next, /help'
}

/** The commands that do something with the selected message. */
function hintAbout({ from, id, changed, file, ...entry }: Entry, isAddable: boolean): string {
  const commands = [
    ...(from === 'them' && id !== undefined ? ['/reply'] : []),
    ...(from === 'me' && changed !== 'removed' && isOut(entry) && file === undefined ? ['/edit', '/remove'] : []),
    ...(isAddable ? ['/add'] : []),
  ]
  return [...(commands.length === 0 ? [] : [commands.join(', ')]), 'Alt+C shows it alone, to copy', 'Esc deselects'].join('; ')
}

function viewEditor(state: State, { editor: size }: Geometry): { readonly rows: Row[]; readonly cursor: { row: number; column: number } } {
  const editor = editorOf(state)
  const prompt = promptOf(state)
  const lines = breakLines(editor.text, size.columns)
  const place = cursorPlace(editor, size.columns)
  const first = Math.max(0, Math.min(place.row - size.rows + 1, lines.length - size.rows))
  const top = Math.min(first, place.row)
  const rows = lines.slice(top, top + size.rows).map((line, index): Row => [
    { text: top + index === 0 ? prompt : ' '.repeat(widthOf(prompt)), role: 'strong' },
    { text: lineText(editor.text, line), role: 'plain' },
  ])
  return { rows, cursor: { row: place.row - top, column: widthOf(prompt) + place.column } }
}

function viewOverlay(state: State, { title, text, top }: NonNullable<State['overlay']>): Frame {
  const { rows: high, columns } = state.size
  const lines = wrap(text, columns)
  const room = Math.max(1, high - 2)
  const first = Math.min(top, Math.max(0, lines.length - room))
  const rest = lines.length - first - room
  const foot = `${rest > 0 ? `${rest} more rows: Down, PageDown; ` : ''}Esc closes this, Alt+C shows it unwrapped, to copy`
  const rows: Row[] = [
    [{ text: fit(` ${title}`, columns), role: 'bar' }],
    ...lines.slice(first, first + room),
    ...Array.from({ length: Math.max(0, room - lines.length) }, (): Row => []),
    [{ text: clip(foot, columns), role: 'dim' }],
  ]
  return { rows, cursor: undefined, drawn: [] }
}

function cut(row: Row, columns: number): Row {
  if (rowWidth(row) <= columns) return row
  let room = columns
  const kept: Span[] = []
  for (const { text, role } of row) {
    const wide = widthOf(text)
    kept.push({ text: wide <= room ? text : clip(text, room), role })
    room -= Math.min(wide, room)
    if (room === 0) break
  }
  return kept
}

/** Returns the screen as text, for tests. */
export function plainText({ rows }: Pick<Frame, 'rows'>): string {
  return rows
    .map((row) =>
      row
        .map(({ text }) => text)
        .join('')
        .trimEnd(),
    )
    .join('\n')
}
