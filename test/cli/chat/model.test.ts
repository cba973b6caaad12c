/** The chat without a terminal: the screen and the effects that follow from keys and messages. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { STRANGERS } from '../../../src/cli/chat/conversation.ts'
import type { Input, Party } from '../../../src/cli/chat/input.ts'
import { rowWidth } from '../../../src/cli/chat/text.ts'
import { BOB, CAROL, PARTIES, TEA, TestChat } from '../../support/chat.ts'

const ESC = '\u{1b}'

describe('the chat screen', () => {
  it('shows the conversation, the list beside it, and the input line', () => {
    const chat = new TestChat({ rows: 11, columns: 72 })
    chat.arrive({ text: 'the kettle is on' })
    chat.draw()
    chat.now += 60_000
    chat.deliver(chat.say('on my way, and I bring the good biscuits that you liked'), 'delivered')
    chat.arrive({ conversation: TEA, author: 'carol', fingerprint: CAROL, text: 'me too' })
    chat.type('one moment')
    expect(chat.draw()).toBe(`\
 bob (verified)                                       1 new · connected
• bob             │
  carol           │
  #tea          1 │
                  │
                  │ ── 2026-11-26 ──────────────────────────────────────
                  │ 12:00  bob  the kettle is on
                  │ 12:01  you  on my way, and I bring the good biscuits
                  │             that you liked                 delivered
─ Enter: send, Alt+Enter: new line, Ctrl+N: next, /help ────────────────
> one moment`)
  })

  it('shows in the bar what protects the latest message either way', () => {
    const chat = new TestChat({ rows: 11, columns: 72 })
    const bar = (): string => chat.draw().split('\n')[0]!
    expect(bar()).toBe(' bob (verified)                                               connected')
    chat.arrive({ protection: 'daily' })
    expect(bar()).toMatch(/ daily · connected$/)
    const sent = chat.say('hello')
    expect(bar()).toMatch(/ daily · connected$/)
    chat.deliver(sent, 'held', undefined, 'one-time')
    expect(bar()).toMatch(/ one-time · connected$/)
    // A receipt for an older message changes nothing.
    chat.arrive({ protection: 'key' })
    chat.deliver(sent, 'delivered', undefined, 'one-time')
    expect(bar()).toMatch(/ key · connected$/)
    chat.put({ kind: 'open', conversation: CAROL })
    expect(bar()).toMatch(/^ carol +\S* *· connected$|^ carol +connected$/)
    expect(bar()).not.toContain('key')
  })

  it('shows the least protection of the copies of a message to a group', () => {
    const chat = new TestChat({ rows: 11, columns: 72 })
    chat.put({ kind: 'open', conversation: TEA })
    chat.type('hello\r')
    const [effect] = chat.did('send')
    const copy = { member: BOB, to: 'bob', state: 'held' } as const
    chat.put({
      kind: 'sent',
      key: effect!.key,
      deliveries: [
        { id: 'one', ...copy, protection: 'one-time' },
        { id: 'two', ...copy },
      ],
    })
    expect(chat.draw()).toMatch(/^ tea.* one-time · connected\n/)
    chat.put({ kind: 'delivery', id: 'two', state: 'held', protection: 'daily' })
    expect(chat.draw()).toMatch(/^ tea.* daily · connected\n/)
  })

  it('says each step down to less protection once', () => {
    const chat = new TestChat()
    const notes = (): string[] =>
      chat.state.conversations
        .find(({ id }) => id === BOB)!
        .entries.flatMap(({ from, text }) => (from === 'note' ? [text.slice(0, 23)] : []))
    chat.arrive({ protection: 'daily' })
    chat.arrive({ protection: 'one-time' })
    expect(notes()).toEqual([])
    chat.arrive({ protection: 'daily' })
    expect(notes()).toEqual(['less protection (daily)'])
    chat.arrive({ protection: 'one-time' })
    chat.deliver(chat.say('hello'), 'held', undefined, 'daily')
    expect(notes()).toEqual(['less protection (daily)'])
    chat.deliver(chat.say('hello'), 'held', undefined, 'key')
    chat.arrive({ protection: 'one-time' })
    chat.arrive({ protection: 'key' })
    expect(notes()).toEqual(['less protection (daily)', 'less protection (key): '])
  })

  it('shows only one conversation on a narrow terminal, and the list on request', () => {
    const chat = new TestChat({ rows: 9, columns: 36 })
    chat.arrive({ conversation: CAROL, author: 'carol', fingerprint: CAROL, text: 'are you there?' })
    expect(chat.draw()).toContain(' bob (verified)               1 new')
    chat.type('\u{f}')
    expect(chat.draw().split('\n').slice(1, 4)).toEqual(['> bob', '  carol                           1', '  #tea'])
    chat.type(`${ESC}[B\r`)
    expect(chat.draw()).toMatch(/^ carol[^]*── new ─[^]*12:00 {2}carol {2}are you there\?/)
  })

  it('filters the list while a name is typed', () => {
    const chat = new TestChat({ rows: 9, columns: 80 })
    chat.type('\u{f}R')
    expect(chat.draw()).toMatch(/> carol[^]*\nopen: R$/)
    expect(chat.draw()).not.toContain('#tea')
    chat.type('x').type('\r')
    expect(chat.draw()).toContain('no name matches')
    chat.type('\u{7f}\u{7f}')
    expect(chat.draw()).toMatch(/> bob[^]*carol[^]*#tea/)
    expect(chat.type('ea\r').draw()).toMatch(/^ tea/)
    expect(chat.state.picking).toBeUndefined()
  })

  it('shows a message alone, unwrapped', () => {
    const chat = new TestChat()
    chat.arrive({ text: `see https://example.org/${'x'.repeat(200)}` })
    chat.type(`${ESC}c`)
    expect(chat.did('alone')).toEqual([{ kind: 'alone', text: `see https://example.org/${'x'.repeat(200)}` }])
    chat.type('/help\r').type(`${ESC}c`)
    expect(chat.did('alone')[1]?.text).toContain('Commands')
  })

  it('shows a long text from its first line, and its other lines on request', () => {
    const chat = new TestChat({ rows: 6 })
    const text = Array.from({ length: 20 }, (_, n) => `line ${n + 1}.`).join('\n')
    chat.put({ kind: 'show', title: 'all lines', text })
    expect(chat.draw()).toMatch(/all lines[^]*line 1\.\n[^]*line 2\./)
    chat.type(`${ESC}[B`)
    expect(chat.draw()).not.toContain('line 1.\n')
  })

  it('offers only commands that do something with the selected message', () => {
    const chat = new TestChat({ columns: 90 })
    chat.arrive({ text: 'a card', card: 'CARD' })
    chat.say('mine')
    chat.type(`${ESC}[1;3A`)
    expect(chat.draw()).toContain('/edit, /remove; Alt+C')
    chat.type(`${ESC}[1;3A`)
    expect(chat.draw()).toContain('/reply, /add; Alt+C')
    chat.put({ kind: 'people', parties: PARTIES.map((each) => ({ ...each, card: 'CARD' })) })
    expect(chat.draw()).toContain('/reply; Alt+C')
    expect(chat.type('/add\r').did('add')).toEqual([])
    expect(chat.draw()).toContain('there is no card to add here')
  })

  it.each([
    [24, 80],
    [15, 40],
    [60, 200],
    [5, 20],
    [3, 12],
    [1, 5],
  ])('fits into %i rows of %i columns', (rows, columns) => {
    const chat = new TestChat({ rows, columns })
    chat.arrive({ text: `日本語 ${'x'.repeat(300)}\n${ESC}[2J👨‍👩‍👧`, verdict: 'stale', gap: true, replyTo: 'none' })
    chat.say('a line\nof two')
    for (const state of ['', '\u{6}xx', `${ESC}`, '\u{f}', `${ESC}`, '/help\r']) {
      const frame = chat.type(state).frame()
      expect(frame.rows).toHaveLength(rows)
      for (const row of frame.rows) expect(rowWidth(row)).toBeLessThanOrEqual(columns)
      if (frame.cursor !== undefined) {
        expect(frame.cursor.row).toBeLessThan(rows)
        expect(frame.cursor.column).toBeLessThan(columns)
      }
    }
  })

  it('uses only ASCII of its own on an ASCII terminal', () => {
    const chat = new TestChat({ ascii: true, columns: 80 })
    chat.arrive({ conversation: CAROL, fingerprint: CAROL })
    chat.say('hi')
    expect(chat.draw()).toMatch(/^[\x20-\x7e\n]*$/)
  })

  it('shows a hint if there are no contacts', () => {
    expect(new TestChat({ parties: [] }).draw()).toContain('You have no contacts yet.')
  })

  it('takes commands and links before there is any contact', () => {
    const chat = new TestChat({ parties: [], columns: 80 })
    expect(chat.type('/card\r').did('card')).toHaveLength(1)
    expect(chat.draw()).toMatch(/\n>$/)
    expect(chat.type('/help\r').draw()).toContain('Commands')
    chat.type(ESC).type('asfaleia:card/2:name=X\r')
    expect(chat.did('add')).toMatchObject([{ kind: 'add', card: 'asfaleia:card/2:name=X' }])
    expect(chat.type('hello\r').draw()).toContain('no conversation is open')
    expect(chat.draw()).toContain('> hello')
    // The text that was begun goes on in the first conversation.
    chat.put({ kind: 'people', parties: PARTIES })
    expect(chat.draw()).toContain('> hello')
    expect(chat.state.open).toBe(BOB)
  })

  it('gives back the line of a command that failed, unless another is begun', () => {
    const chat = new TestChat({ columns: 80 })
    chat.type('/group add zoe\r')
    const [effect] = chat.did('group')
    expect(chat.draw()).toMatch(/\n>$/)
    chat.put({ kind: 'refused', command: effect!.command, why: 'no contact matches "zoe"' })
    expect(chat.draw()).toMatch(/no contact matches "zoe"[^]*\n> \/group add zoe$/)
    chat.put({ kind: 'refused', command: { line: '/verify', conversation: BOB }, why: 'other' })
    expect(chat.draw()).toMatch(/\n> \/group add zoe$/)
  })

  it('gives back no line in another conversation, in a search or in the list to choose from', () => {
    const refused = { kind: 'refused', command: { line: '/verify', conversation: BOB }, why: 'no' } as const
    const chats = ['/to carol\r', '\u{6}', '\u{f}'].map((typed) => new TestChat().type(typed))
    for (const chat of chats) chat.put(refused)
    expect(chats.map(({ state: { search, picking } }) => [search !== undefined, picking !== undefined])).toEqual([
      [false, false],
      [true, false],
      [false, true],
    ])
    for (const chat of chats) expect(chat.draw()).not.toContain('/verify')
  })

  it('has the right size after any input', () => {
    const chords = [
      'enter',
      'alt+enter',
      'ctrl+n',
      'ctrl+p',
      'ctrl+o',
      'ctrl+f',
      'escape',
      'up',
      'down',
      'alt+up',
      'alt+down',
      'pageup',
      'pagedown',
      'tab',
      'ctrl+c',
      'ctrl+home',
      'ctrl+end',
      'f1',
      'alt+a',
      'alt+2',
      'backspace',
      'ctrl+y',
      'ctrl+u',
    ]
    const input = fc.oneof(
      fc.constantFrom(...chords).map((chord): Input => ({ kind: 'key', chord })),
      fc
        .constantFrom('/reply', '/edit', '/remove', '/add', '/to b', '/group x', '//', 'kettle', '日', '/verify yes')
        .map((text): Input => ({ kind: 'text', text })),
      fc.string({ unit: 'binary' }).map((text): Input => ({ kind: 'paste', text })),
      fc.record({ rows: fc.nat(40), columns: fc.nat(100) }).map((size): Input => ({ kind: 'resize', size })),
      fc
        .record({
          conversation: fc.constantFrom(BOB, TEA, 'nobody', STRANGERS),
          author: fc.string({ unit: 'binary' }),
          text: fc.string({ unit: 'binary' }),
          at: fc.nat(),
          ticket: fc.nat(),
          id: fc.constantFrom('a', 'b'),
        })
        .map((arrival): Input => ({ kind: 'arrival', arrival: { ...arrival, verdict: 'genuine', fingerprint: BOB } })),
      fc.constantFrom<Input>(
        { kind: 'people', parties: PARTIES },
        { kind: 'people', parties: [] },
        { kind: 'mouse', action: 'press', row: 2, column: 2 },
        { kind: 'mouse', action: 'up', row: 0, column: 0 },
      ),
    )
    fc.assert(
      fc.property(fc.array(input, { maxLength: 60 }), (inputs) => {
        const chat = new TestChat({ rows: 10, columns: 72 })
        for (const each of inputs) {
          chat.put(each)
          const { rows, columns } = chat.state.size
          const frame = chat.frame()
          expect(frame.rows).toHaveLength(rows)
          for (const row of frame.rows) expect(rowWidth(row)).toBeLessThanOrEqual(Math.max(0, columns))
          chat.put({ kind: 'drawn', keys: frame.drawn })
        }
      }),
      { numRuns: 60 },
    )
  })
})

describe('a hostile text', () => {
  it('cannot imitate names, times, notes or the status bar', () => {
    const chat = new TestChat({ rows: 14, columns: 60 })
    chat.arrive({ text: 'hi\n12:00  carol  send me the keys\n-- you added mallory\n bob (verified)       connected \r\n─ Enter: send ─' })
    const [bar, ...rows] = chat.draw().split('\n')
    expect(bar).toMatch(/^ bob \(verified\)/)
    for (const line of ['carol', '-- you added', 'connected', '─ Enter: send ─']) {
      expect(rows.find((row) => row.includes(line) && !row.startsWith('─ Enter: send, '))).toMatch(/^ {12}\S|^ {13}\S/)
    }
  })

  it('cannot recolour, hide or reorder the screen', () => {
    const chat = new TestChat({ columns: 69 })
    chat.arrive({ text: `${ESC}[7m ok ${ESC}]0;\u{7}\u{202e}sdrawkcab\u{200b}` })
    expect(chat.draw()).toContain(String.raw`\u{1b}[7m ok \u{1b}]0;\u{7}\u{202e}sdrawkcab\u{200b}`)
  })

  it('used as a name stays on its line and within its column', () => {
    const chat = new TestChat({ rows: 9, columns: 60, parties: [{ id: BOB, kind: 'contact', name: 'bob\u{202e}\n12:00  carol  hi' }] })
    chat.arrive({ author: 'bob\u{202e}\n12:00  carol  hi', text: 'text' })
    expect(chat.draw()).toContain(String.raw`12:00  bob\u{202e}\n…  text`)
  })

  it('used as a file name is quoted', () => {
    const chat = new TestChat()
    chat.put({
      kind: 'file',
      conversation: BOB,
      id: 'f',
      author: 'bob',
      fingerprint: BOB,
      transfer: { name: 'a\n12:00  carol  hi', total: 2_000_000, moved: 500_000, state: 'moving' },
    })
    expect(chat.draw()).toContain(String.raw`a file "a\n12:00  carol  hi", 2.0 MB`)
    expect(chat.draw()).toContain('[#####...............]  25%')
  })
})

describe('a message on the screen', () => {
  it('is acknowledged once it was drawn, and not before', () => {
    const chat = new TestChat()
    const here = chat.arrive({ text: 'here' })
    const there = chat.arrive({ conversation: CAROL, author: 'carol', fingerprint: CAROL, text: 'there' })
    chat.draw()
    expect(chat.did('done')).toEqual([{ kind: 'done', tickets: [here] }])
    chat.type('\u{e}').draw()
    expect(chat.did('done').at(-1)).toEqual({ kind: 'done', tickets: [there] })
    chat.draw()
    expect(chat.did('done')).toHaveLength(2)
  })

  it('is acknowledged only once scrolling has shown it', () => {
    const chat = new TestChat({ rows: 10 })
    const tickets = Array.from({ length: 20 }, (_, index) => chat.arrive({ text: `number ${index}` }))
    const first = chat.draw()
    expect(first).toContain('number 0')
    expect(first).not.toContain('number 19')
    expect(first).toContain('new below: PageDown')
    const seen = chat.did('done').flatMap(({ tickets }) => tickets)
    expect(seen).toEqual(tickets.slice(0, seen.length))
    expect(seen.length).toBeLessThan(20)
    for (let page = 0; page < 5; page++) chat.type(`${ESC}[6~`).draw()
    expect(chat.did('done').flatMap(({ tickets }) => tickets)).toEqual(tickets)
  })

  it('gets a read receipt only with --receipts and in the open conversation', () => {
    const off = new TestChat()
    off.arrive({ id: 'one' })
    off.draw()
    expect(off.did('read')).toEqual([])
    const on = new TestChat({ receipts: true })
    on.arrive({ id: 'one' })
    on.arrive({ id: 'two', verdict: 'stale' })
    on.arrive({ id: 'three', conversation: CAROL, fingerprint: CAROL })
    on.draw()
    expect(on.did('read')).toEqual([{ kind: 'read', messages: [{ from: BOB, id: 'one' }] }])
    on.type('/receipts off\r')
    on.arrive({ id: 'four' })
    on.draw()
    expect(on.did('read')).toHaveLength(1)
    expect(on.did('receipts')).toEqual([{ kind: 'receipts', on: false }])
  })
})

describe('a chat message', () => {
  it('is sent on Enter with all its lines', () => {
    const chat = new TestChat()
    chat.type(`one${ESC}\rtwo\nthree\r`)
    expect(chat.did('send')).toMatchObject([{ conversation: BOB, text: 'one\ntwo\nthree' }])
    expect(chat.draw()).toMatch(/you {2}one\n {12}two\n {12}three {2,}waiting/)
  })

  it('is not sent by the line breaks of a paste', () => {
    const chat = new TestChat()
    chat.type(`${ESC}[200~rm -rf /\nyes\n${ESC}[201~`)
    expect(chat.did('send')).toEqual([])
    chat.type('\r')
    expect(chat.did('send')).toMatchObject([{ text: 'rm -rf /\nyes' }])
  })

  it.each([
    ['held', undefined, 'held'],
    ['delivered', undefined, 'delivered'],
    ['read', undefined, 'read'],
    ['expired', undefined, 'unconfirmed'],
    ['failed', 'the relay does not admit that key', 'failed: the relay does not admit that key'],
  ] as const)('in the state %s shows that state', (state, why, text) => {
    const chat = new TestChat()
    chat.deliver(chat.say('hi'), state, why)
    expect(chat.draw()).toMatch(new RegExp(` ${text}\n`))
  })

  it('to a group shows how many members got it, and which did not', () => {
    const chat = new TestChat({ columns: 70 })
    chat.type('/to tea\r').type('hi\r')
    const { key } = chat.did('send').at(-1)!
    chat.put({
      kind: 'sent',
      key,
      deliveries: [
        { id: 'x', member: BOB, to: 'bob', state: 'held' },
        { id: 'y', member: CAROL, to: 'carol', state: 'held' },
      ],
    })
    expect(chat.draw()).toMatch(/ held\n/)
    chat.put({ kind: 'delivery', id: 'x', state: 'delivered' })
    expect(chat.draw()).toMatch(/delivered 1\/2\n/)
    chat.put({ kind: 'delivery', id: 'y', state: 'failed', why: 'too large' })
    expect(chat.draw()).toMatch(/failed to carol: too large\n/)
  })

  it('that is a reply shows the original above it', () => {
    const chat = new TestChat()
    chat.arrive({ id: 'q', text: 'tea?' })
    chat.type('/reply\r')
    expect(chat.draw()).toMatch(/─ Enter sends the reply[^]*reply>$/)
    chat.type('yes\r')
    expect(chat.did('send')).toMatchObject([{ text: 'yes', replyTo: 'q' }])
    expect(chat.draw()).toMatch(/you {2}> tea\?\n {12}yes/)
  })

  it('that is being written as a reply shows to which message it replies', () => {
    const chat = new TestChat()
    chat.arrive({ text: 'tea?' })
    chat.arrive({ text: 'at\nfive?' })
    expect(chat.type('/reply\rx').draw()).toMatch(/─ to bob: at five\? ─+\nreply> x$/)
    expect(chat.type('\u{3}').draw()).not.toContain('to bob:')
  })

  it('of the user can be edited and removed, and is marked so', () => {
    const chat = new TestChat()
    chat.say('tee')
    chat.type('/edit\r')
    expect(chat.draw()).toMatch(/─ Enter saves the change, Esc cancels it[^]*edit> tee$/)
    chat.type('\u{15}tea\r')
    expect(chat.did('edit')).toMatchObject([{ text: 'tea', of: [{ id: 'sent-1' }] }])
    expect(chat.draw()).toContain('tea (edited)')
    chat.type('/remove\r')
    expect(chat.did('remove')).toMatchObject([{ of: [{ id: 'sent-1' }] }])
    expect(chat.draw()).toContain('(removed)')
  })

  it('of a peer can be changed only by that peer', () => {
    const chat = new TestChat({ rows: 20 })
    chat.arrive({ id: 'm', text: 'tee' })
    chat.arrive({ fingerprint: CAROL, author: 'carol', text: 'poison', change: { of: 'm', to: 'edited' } })
    expect(chat.draw()).toContain('bob    tee\n')
    chat.arrive({ text: 'tea', change: { of: 'm', to: 'edited' } })
    expect(chat.draw()).toContain('bob    tea (edited)')
    const ticket = chat.arrive({ text: '', change: { of: 'm', to: 'removed' } })
    expect(chat.draw()).toContain('bob    (removed)')
    expect(chat.did('done').flatMap(({ tickets }) => tickets)).toContain(ticket)
  })

  it.each([
    ['forged', '! forged: the named sender did not sign it'],
    ['readdressed', '! readdressed'],
    ['unsigned', '! unsigned: anyone may have written this'],
    ['stale', '! more than two weeks old'],
    ['future', '! dated in the future: a clock is wrong'],
    ['unknown-version', '! of a version that this program does not know'],
    ['truncated', '! cut off'],
    ['malformed', '! malformed'],
    ['unreadable', '! unreadable'],
  ] as const)('with the verdict %s is marked before its text', (verdict, mark) => {
    const chat = new TestChat({ rows: 14 })
    chat.arrive({ verdict, text: 'trust me' })
    const screen = chat.draw()
    expect(screen).toContain(mark)
    expect(screen.indexOf(mark)).toBeLessThan(screen.indexOf('trust me'))
  })

  it('after a gap, or late, is marked so', () => {
    const chat = new TestChat()
    chat.arrive({ gap: true })
    chat.arrive({ late: true })
    expect(chat.draw()).toContain('a message before this one is missing')
    expect(chat.draw()).toContain('late: it is older than the message above')
  })
})

it.each([
  ['first screen', []],
  [
    'contact request',
    [
      {
        id: 'SHA256:bob',
        kind: 'request',
        name: 'Bob',
        asked: [{ id: 'x', at: new Date(2026, 10, 26, 12).getTime(), text: 'hi, it is me from the bakery' }],
      },
    ],
  ],
] as const satisfies readonly (readonly [string, readonly Party[]])[])('the %s in docs/clients.md is as drawn', (_what, parties) => {
  const chat = new TestChat({ rows: 9, columns: 78, parties: [] })
  if (parties.length > 0) chat.put({ kind: 'people', parties })
  const screen = chat.draw().replaceAll(/^(?=.)/gm, '    ')
  expect(readFileSync(join(import.meta.dirname, '../../../docs/clients.md'), 'utf8')).toContain(`\n${screen}\n`)
})

describe('a contact request', () => {
  const DAVE = 'SHA256:dave'
  const asking = (...texts: string[]): Party => ({
    id: DAVE,
    kind: 'request',
    name: 'dave',
    asked: texts.map((text, index) => ({ id: `asked-${index}`, at: new Date(2026, 10, 26, 12).getTime(), text })),
  })

  it('is a conversation of its own that does not ring, and an answer accepts it', () => {
    const chat = new TestChat({ columns: 80 })
    chat.put({ kind: 'people', parties: [...PARTIES, asking('hi\n12:00  bob  send money')] })
    expect(chat.did('attention')).toEqual([])
    expect(chat.draw()).toMatch(/1 request · connected\n[^]*#tea +│[^]*\+dave +1 │/)
    chat.put({ kind: 'people', parties: [...PARTIES, asking('hi', 'are you there?')] })
    chat.type('/to dave\r')
    expect(chat.draw()).toMatch(/^ dave \(not in your contacts\) wants to talk/)
    expect(chat.draw()).toContain('/accept, /ignore or /block')
    chat.type('hello\r')
    expect(chat.did('send')).toEqual([])
    expect(chat.did('accept')).toMatchObject([{ conversation: DAVE, text: 'hello' }])
    chat.put({ kind: 'people', parties: [...PARTIES, { id: DAVE, kind: 'contact', name: 'David' }] })
    chat.put({ kind: 'say', conversation: DAVE, text: 'hello' })
    expect(chat.did('send')).toMatchObject([{ conversation: DAVE, text: 'hello' }])
    expect(chat.draw()).toMatch(/12:00 {2}David {2}are you there\?/)
  })

  it('is accepted, ignored and blocked by one command each, only where it is', () => {
    const chat = new TestChat({ columns: 80 })
    chat.put({ kind: 'people', parties: [...PARTIES, asking('hi')] })
    expect(chat.type('/to tea\r/accept\r').draw()).toContain('/accept needs a contact request')
    chat.type('\u{15}/to dave\r/accept David\r/ignore\r/block\r')
    expect(chat.did('accept')).toMatchObject([{ conversation: DAVE, name: 'David' }])
    expect(chat.did('ignore')).toMatchObject([{ conversation: DAVE }])
    expect(chat.did('block')).toMatchObject([{ conversation: DAVE, isOn: true }])
    chat.put({ kind: 'people', parties: PARTIES })
    expect(chat.draw()).not.toContain('dave')
  })

  it('does not open while the user writes without a conversation', () => {
    const chat = new TestChat({ parties: [] })
    chat.type('hel')
    chat.put({ kind: 'people', parties: [asking('hi')] })
    expect(chat.state.open).toBeUndefined()
    expect(new TestChat({ parties: [asking('hi')] }).state.open).toBe(DAVE)
  })

  it('of a blocked contact cannot be answered', () => {
    const chat = new TestChat({ parties: [{ id: BOB, kind: 'contact', name: 'bob', blocked: true }] })
    expect(chat.draw()).toMatch(/^ bob \(blocked\)/)
    expect(chat.type('hi\r').did('send')).toEqual([])
    expect(chat.draw()).toContain('you block this contact')
  })
})

describe('strangers', () => {
  it('share one conversation, ring no bell, and cannot be written to', () => {
    const chat = new TestChat({ columns: 80 })
    chat.arrive({ conversation: STRANGERS, author: 'SHA256:mallory', fingerprint: 'SHA256:mallory', text: 'hello' })
    expect(chat.did('attention')).toEqual([])
    expect(chat.draw()).toMatch(/strangers +1 │/)
    chat.type('/to strangers\r').type('who are you?\r')
    expect(chat.did('send')).toEqual([])
    expect(chat.draw()).toContain('you cannot write to strangers')
  })

  it('can be added as contacts together with their messages', () => {
    const chat = new TestChat()
    const ticket = chat.arrive({
      conversation: STRANGERS,
      author: 'SHA256:dave',
      fingerprint: 'SHA256:dave',
      text: 'my card',
      card: 'CARD',
    })
    chat.type('/to strangers\r/add\r')
    expect(chat.did('add')).toMatchObject([{ kind: 'add', card: 'CARD' }])
    chat.put({ kind: 'people', parties: [...PARTIES, { id: 'SHA256:dave', kind: 'contact', name: 'dave' }] })
    chat.type('/to dave\r')
    expect(chat.draw()).toMatch(/ dave[^]*12:00 {2}dave {2}my card/)
    expect(chat.did('done')).toEqual([{ kind: 'done', tickets: [ticket] }])
  })

  it('cannot make the chat keep more than 200 messages', () => {
    const chat = new TestChat()
    for (let index = 0; index < 400; index++)
      chat.put({ kind: 'arrival', arrival: { conversation: STRANGERS, author: 'x', at: 0, verdict: 'unsigned', text: String(index) } })
    expect(chat.state.conversations.at(-1)?.entries).toHaveLength(200)
  })
})

describe('searching', () => {
  it('finds matches from the newest back, and counts those of other conversations', () => {
    const chat = new TestChat({ rows: 10 })
    for (let index = 0; index < 30; index++) chat.arrive({ text: index % 10 === 0 ? `Kettle ${index}` : `number ${index}` })
    chat.arrive({ conversation: CAROL, author: 'carol', fingerprint: CAROL, text: 'the kettle' })
    chat.type('\u{6}kettle')
    expect(chat.draw()).toMatch(/Kettle 20[^]*─ 1 of 3; elsewhere: carol 1 ─/)
    expect(chat.state.told?.role).toBe('plain')
    chat.type('\r')
    expect(chat.draw()).toMatch(/Kettle 10[^]*─ 2 of 3/)
    chat.type('\r\r')
    expect(chat.draw()).toMatch(/Kettle 0[^]*─ 3 of 3/)
    chat.type(`${ESC}[B`)
    expect(chat.draw()).toMatch(/Kettle 10/)
    chat.type(ESC)
    expect(chat.draw()).not.toContain('search: ')
    chat.type('\u{6}nothing of it')
    expect(chat.draw()).toMatch(/─ no match here ─/)
    expect(chat.state.told?.role).toBe('warn')
  })
})

describe('choosing a message', () => {
  it('goes from the newest to the oldest and back, past notes, and ends behind the newest', () => {
    const chat = new TestChat()
    const note = { kind: 'note', conversation: BOB, text: 'a note' } as const
    for (const text of ['a', 'b', 'c']) {
      chat.arrive({ text })
      chat.put(note)
    }
    const chosen = (direction: 'A' | 'B'): string | undefined => {
      chat.type(`${ESC}[1;3${direction}`)
      const { chosen: key, entries } = chat.state.conversations.find(({ id }) => id === BOB)!
      return entries.find((each) => each.key === key)?.text
    }
    expect((['A', 'A', 'A', 'A'] as const).map(chosen)).toEqual(['c', 'b', 'a', 'a'])
    expect((['B', 'B', 'B', 'A'] as const).map(chosen)).toEqual(['b', 'c', undefined, 'c'])
  })
})

describe('scrolling', () => {
  it('keeps its place while new messages come, and counts them', () => {
    const chat = new TestChat({ rows: 10 })
    for (let index = 0; index < 20; index++) {
      chat.arrive({ text: `number ${index}.` })
      chat.draw()
    }
    chat.type(`${ESC}[5~`)
    const before = chat.draw().split('\n').slice(1, -2)
    chat.arrive({ text: 'later' })
    expect(chat.draw().split('\n').slice(1, -2)).toEqual(before)
    expect(chat.draw()).toContain('1 new below: PageDown')
    chat.type(`${ESC}[1;5F`)
    expect(chat.draw()).toContain('later')
    chat.type(`${ESC}[1;5H`)
    expect(chat.draw()).toContain('number 0.')
  })

  it('keeps its place when the terminal is resized', () => {
    const chat = new TestChat({ rows: 10, columns: 40 })
    for (let index = 0; index < 20; index++) chat.arrive({ text: `number ${index}. ${'word '.repeat(20)}` })
    chat.draw()
    const [, place] = /number (\d+)/.exec(chat.type(`${ESC}[6~`).draw())!
    expect(chat.resize(30, 100).draw()).toContain(`number ${place}`)
    expect(chat.resize(8, 30).draw()).toMatch(/word/)
  })
})

describe('commands', () => {
  it.each([
    ['/he\t', '> /help'],
    ['/to c\t', '> /to carol'],
    ['/receipts o\t', '> /receipts o'],
    ['/group new x ca\t', '> /group new x carol'],
    ['/nothing\t', '> /nothing'],
  ])('completes %j', (typed, line) => {
    const chat = new TestChat()
    expect(chat.type(typed).draw().split('\n').at(-1)).toBe(line)
  })

  it('lists several possible completions', () => {
    expect(new TestChat().type('/re\t').draw()).toContain('reply  remove  receipts')
  })

  it('completes paths that exist', () => {
    const chat = new TestChat()
    chat.type('/file no\t')
    expect(chat.did('paths')).toEqual([{ kind: 'paths', line: '/file no', prefix: 'no' }])
    chat.put({ kind: 'paths', line: '/file no', found: ['notes/'] })
    expect(chat.draw()).toMatch(/> \/file notes\/$/)
  })

  it('rejects an unknown command, keeps it for correction, and does not send it', () => {
    const chat = new TestChat()
    chat.type('/etc/passwd\r')
    expect(chat.did('send')).toEqual([])
    expect(chat.draw()).toMatch(/unknown command[^]*> \/etc\/passwd$/)
    chat.type('\u{1}/\r')
    expect(chat.did('send')).toMatchObject([{ text: '/etc/passwd' }])
  })

  it.each([
    ['/hlep', '─ unknown command /hlep; did you mean /help? To send it as a text, begin with //'],
    ['/xyzzy', '─ unknown command /xyzzy; see /help. To send it as a text, begin with //'],
    ['/to bbo', '─ no contact or group matches "bbo"; did you mean "bob"?'],
    ['/to nobody', '─ no contact or group matches "nobody" ─'],
    ['/to c', '─ several names begin with "c": "carla", "carol" ─'],
    ['/to', '─ the name is missing: /to NAME; Tab completes it'],
    ['/file', '─ the path is missing: /file PATH; Tab completes it'],
    ['/edit', '─ there is no message of yours to edit'],
    ['/reply', '─ there is no message to reply to'],
    ['/add', '─ there is no card to add here'],
  ])('rejects %j and says what to do', (line, told) => {
    const chat = new TestChat({ columns: 100, parties: [...PARTIES, { id: 'SHA256:carla', kind: 'contact', name: 'carla' }] })
    chat.type(`${line}\r`)
    expect(chat.draw()).toContain(told)
    expect(chat.draw()).toContain(`> ${line}`)
  })

  it('carries out each command', () => {
    const chat = new TestChat()
    chat.type('/card\r/verify\r/verify yes\r/group new "tea time" bob carol\r/file a b.txt\r')
    expect(chat.effects.filter(({ kind }) => kind !== 'attention')).toMatchObject([
      { kind: 'card' },
      { kind: 'verify', conversation: BOB, confirmed: false },
      { kind: 'verify', conversation: BOB, confirmed: true },
      { kind: 'group', words: ['new', 'tea time', 'bob', 'carol'] },
      { kind: 'file', conversation: BOB, path: 'a b.txt' },
    ])
    expect(chat.type('/help\r').draw()).toMatch(/^ help\nCommands\n/)
    expect(chat.type('q').draw()).toMatch(/^ bob/)
  })
})

describe('leaving the chat', () => {
  it('needs a second try while a message is at no relay', () => {
    const chat = new TestChat()
    const delivery = chat.say('hi')
    chat.type('\u{3}')
    expect(chat.did('quit')).toEqual([])
    expect(chat.draw()).toContain('1 of your messages is not at a relay yet')
    chat.type('\u{3}')
    expect(chat.did('quit')).toHaveLength(1)
    chat.deliver(delivery, 'held').type('/quit\r')
    expect(chat.did('quit')).toHaveLength(2)
  })

  it('is not triggered by Ctrl-C on a non-empty line', () => {
    const chat = new TestChat()
    chat.type('half a line\u{3}')
    expect(chat.did('quit')).toEqual([])
    expect(chat.draw()).toMatch(/\n>$/)
    chat.type(`${ESC}[A`)
    expect(chat.draw()).toMatch(/> half a line$/)
  })

  it('is not triggered by Ctrl-C in a reply, or on a line without a conversation: it drops them', () => {
    const chat = new TestChat()
    chat.arrive()
    chat.type('/reply\rhalf a line\u{3}')
    expect(chat.draw()).toMatch(/\n>$/)
    const empty = new TestChat({ parties: [] })
    expect(empty.type('half a line').draw()).toMatch(/> half a line$/)
    expect(empty.type('\u{3}').draw()).toMatch(/\n>$/)
    expect([...chat.did('quit'), ...empty.did('quit')]).toEqual([])
    empty.type('\u{3}')
    expect(empty.did('quit')).toHaveLength(1)
  })
})

describe('a notification', () => {
  it('is given only for messages that the user does not see', () => {
    const chat = new TestChat()
    chat.arrive()
    expect(chat.did('attention')).toHaveLength(0)
    chat.arrive({ conversation: CAROL, fingerprint: CAROL })
    expect(chat.did('attention')).toHaveLength(1)
    chat.type(`${ESC}[O`)
    chat.arrive()
    expect(chat.did('attention')).toHaveLength(2)
  })
})

describe('a message that disappears', () => {
  const tick = (chat: TestChat, seconds: number): void => void chat.put({ kind: 'tick', seconds })

  it('goes once its time after the reading is over, and not before', () => {
    const chat = new TestChat()
    chat.arrive({ text: 'the code is 4711', expires: 60 })
    expect(chat.draw()).toContain('disappears 1m after reading')
    tick(chat, 1_000)
    tick(chat, 1_059)
    expect(chat.draw()).toContain('the code is 4711')
    tick(chat, 1_060)
    expect(chat.draw()).not.toContain('4711')
    expect(chat.state.conversations.find(({ id }) => id === BOB)?.entries).toEqual([])
  })

  it('waits for the reader, however long that takes', () => {
    const chat = new TestChat()
    chat.arrive({ conversation: CAROL, author: 'carol', fingerprint: CAROL, text: 'the code is 4711', expires: 60 })
    chat.draw()
    tick(chat, 1_000)
    tick(chat, 900_000)
    chat.type('/to carol\r')
    expect(chat.draw()).toContain('the code is 4711')
    tick(chat, 900_001)
    tick(chat, 900_061)
    expect(chat.draw()).not.toContain('4711')
  })

  it('does not go when the wall clock jumps', () => {
    const chat = new TestChat()
    chat.arrive({ text: 'the code is 4711', expires: 60 })
    chat.draw()
    tick(chat, 1_000)
    chat.now += 365 * 86_400_000
    tick(chat, 1_001)
    expect(chat.draw()).toContain('the code is 4711')
  })

  it('leaves no quote, no selection, and no line that replies to it', () => {
    const chat = new TestChat({ rows: 20 })
    chat.arrive({ id: 'secret', text: 'the code is 4711', expires: 60 })
    chat.draw()
    chat.arrive({ text: 'thanks', replyTo: 'secret' })
    expect(chat.draw()).toContain('> the code is 4711')
    tick(chat, 1_000)
    chat.type(`${ESC}[1;3A${ESC}[1;3A`).type('/reply\r')
    tick(chat, 1_060)
    expect(chat.draw()).not.toContain('4711')
    expect(chat.draw()).toContain('(a message that has disappeared)')
    const bob = chat.state.conversations.find(({ id }) => id === BOB)!
    expect([bob.compose, bob.chosen]).toEqual([{ kind: 'new' }, undefined])
  })

  it('takes its selection along, and leaves the reply to another message', () => {
    const select = (steps: number, command: string): unknown[] => {
      const chat = new TestChat({ rows: 20 })
      chat.arrive({ id: 'tea', text: 'tea?' })
      chat.arrive({ id: 'secret', text: 'the code is 4711', expires: 60 })
      chat.draw()
      tick(chat, 1_000)
      chat.type(`${ESC}[1;3A`.repeat(steps)).type(command)
      tick(chat, 1_060)
      const { compose, chosen, entries } = chat.state.conversations.find(({ id }) => id === BOB)!
      return [compose.kind, chosen === entries[0]!.key, chosen, entries.length]
    }
    expect(select(1, '')).toEqual(['new', false, undefined, 1])
    expect(select(1, '/reply\r')).toEqual(['new', false, undefined, 1])
    expect(select(2, '')).toEqual(['new', true, expect.any(Number), 1])
    expect(select(2, '/reply\r').slice(0, 1)).toEqual(['reply'])
  })

  it('is every message that the user writes after /expires, and an edit keeps the time', () => {
    const chat = new TestChat()
    chat.type('/expires 4s\r')
    expect(chat.draw()).toContain('expected a time from 5s to 90d')
    chat.type('\u{15}').type('/expires 1h\r')
    expect(chat.did('expires')).toMatchObject([{ conversation: BOB, seconds: 3_600 }])
    chat.put({ kind: 'people', parties: PARTIES.map((each) => (each.id === BOB ? { ...each, expires: 3_600 } : each)) })
    chat.say('the code is 4711')
    expect(chat.did('send')[0]).toMatchObject({ text: 'the code is 4711', expires: 3_600 })
    chat.type('/edit the code is 4712\r')
    expect(chat.did('edit')[0]).toMatchObject({ text: 'the code is 4712', expires: 3_600 })
    expect(chat.type('/expires\r').draw()).toContain('messages here disappear 1h after they were read')
    chat.type('\u{15}').type('/expires off\r')
    expect(chat.did('expires')[1]).toMatchObject({ conversation: BOB, seconds: undefined })
    tick(chat, 1_000)
    tick(chat, 4_600)
    expect(chat.draw()).not.toContain('471')
  })
})

describe('a muted person', () => {
  const muted = PARTIES.map((each) => (each.id === CAROL ? { ...each, muted: true } : each))

  it('does not notify the user, in groups neither, and everyone else does', () => {
    const chat = new TestChat({ parties: muted })
    chat.arrive({ conversation: CAROL, author: 'carol', fingerprint: CAROL })
    chat.arrive({ conversation: TEA, author: 'carol', fingerprint: CAROL })
    expect(chat.did('attention')).toEqual([])
    chat.arrive({ conversation: TEA, author: 'bob', fingerprint: BOB })
    expect(chat.did('attention')).toHaveLength(1)
  })

  it('is muted by /mute, until /mute off', () => {
    const chat = new TestChat()
    chat.type('/mute\r').type('/mute off\r').type('/mute x\r')
    expect(chat.did('mute')).toMatchObject([
      { conversation: BOB, on: true },
      { conversation: BOB, on: false },
    ])
    expect(chat.draw()).toContain('usage: /mute, or /mute off')
  })
})
