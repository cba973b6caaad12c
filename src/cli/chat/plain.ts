/**
 * The chat line by line, for screen readers, simple terminals and programs. It moves no cursor and redraws nothing. The
 * beginning of each line shows its kind: `--` for lines of the program, the time and a name for the first line of a
 * message, spaces and `|` for its further lines.
 */
import type { Readable, Writable } from 'node:stream'
import { createInterface, type Interface } from 'node:readline'
import { deliveryText } from '../../wording/delivery.ts'
import { type Conversation, type Entry, protectionOf } from './conversation.ts'
import type { Front } from './front.ts'
import type { Input } from './input.ts'
import type { State } from './state.ts'
import { clip } from './text.ts'
import { clock, formatBytes } from '../../wording/figures.ts'
import { VERDICTS } from '../../wording/verdict.ts'

/** The longest quote of a message, in cells. */
const QUOTE = 40
/** How many written entries to remember after the chat has dropped them. */
const DROPPED = 1_000

export class Plain implements Front {
  readonly #stdin: Readable
  readonly #stdout: Writable
  #lines: Interface | undefined
  #onInput: (input: Input) => void = () => {}
  #last: State | undefined
  #stopped = false
  /** The text and state of each entry as written last. */
  readonly #written = new Map<number, { readonly body: string; readonly state: string }>()

  constructor(streams: { readonly stdin: Readable; readonly stdout: Writable }) {
    this.#stdin = streams.stdin
    this.#stdout = streams.stdout
  }

  start({ onInput, onEnd }: Parameters<Front['start']>[0]): void {
    this.#onInput = onInput
    // The terminal itself edits the line: screen readers know how it does that.
    this.#lines = createInterface({ input: this.#stdin, terminal: false, crlfDelay: Infinity })
    let held = ''
    this.#lines.on('line', (line) => {
      if (line.endsWith('\\') && !line.endsWith('\\\\')) {
        held += `${line.slice(0, -1)}\n`
        return
      }
      const text = held + line.replace(/\\\\$/, '\\')
      held = ''
      onInput({ kind: 'line', text })
    })
    this.#lines.on('close', () => {
      if (held !== '') onInput({ kind: 'line', text: held.trimEnd() })
      if (!this.#stopped) onEnd()
    })
  }

  show(state: State): void {
    const before = this.#last
    this.#last = state
    if (this.#stopped || state === before) return
    const lines: string[] = []
    if (state.open !== before?.open) {
      const open = state.conversations.find(({ id }) => id === state.open)
      if (open !== undefined) lines.push(`-- ${titleOf(open)}${protectionIn(open)}`)
    }
    if (state.relays !== before?.relays) lines.push(...relayLines(before, state))
    const fresh: number[] = []
    for (const conversation of state.conversations) {
      if (before?.conversations.includes(conversation) === true) continue
      for (const entry of conversation.entries) lines.push(...this.#entryLines(conversation, entry, fresh))
    }
    this.#forget(state)
    if (state.told !== undefined && state.told !== before?.told) lines.push(`-- ${state.told.text}`)
    if (state.overlay !== undefined && state.overlay !== before?.overlay) {
      lines.push(`-- ${state.overlay.title}`, ...state.overlay.text.split('\n').map((line) => `   ${line}`.trimEnd()))
    }
    if (lines.length === 0) return
    this.#stdout.write(`${lines.join('\n')}\n`, (error) => {
      if (!error && fresh.length > 0) this.#onInput({ kind: 'drawn', keys: fresh })
    })
  }

  stop(): void {
    if (this.#stopped) return
    this.#stopped = true
    this.#lines?.close()
    this.#stdin.pause()
  }

  notify(): void {
    this.#stdout.write('\u{7}')
  }

  /** Plain mode never wraps a text. */
  alone(): void {}

  redraw(): void {}

  suspend(): void {}

  /** Forgets entries that the chat has dropped. */
  #forget({ conversations }: State): void {
    const count = conversations.reduce((sum, { entries }) => sum + entries.length, 0)
    if (this.#written.size <= count + DROPPED) return
    const kept = new Set(conversations.flatMap(({ entries }) => entries.map(({ key }) => key)))
    for (const key of this.#written.keys()) if (!kept.has(key)) this.#written.delete(key)
  }

  #entryLines(conversation: Conversation, entry: Entry, fresh: number[]): string[] {
    const known = this.#written.get(entry.key)
    const state = stateOf(conversation, entry)
    const body = bodyOf(entry)
    if (entry.unseen) fresh.push(entry.key)
    if (known?.body === body && known.state === state) return []
    this.#written.set(entry.key, { body, state })
    if (entry.from === 'note') return [`-- ${conversation.name}: ${body}`]
    const lines: string[] = []
    if (known?.body !== body && !(entry.from === 'me' && known === undefined && entry.earlier !== true))
      lines.push(...entryText(conversation, entry, body))
    if (state !== '' && state !== known?.state) lines.push(state)
    return lines
  }
}

function titleOf({ kind, name }: Conversation): string {
  switch (kind) {
    case 'contact':
    case 'group':
      return `to ${name}`
    case 'request':
      return `the request of ${name}: /accept, /ignore or /block`
    case 'strangers':
      return 'strangers'
  }
}

/** What protects the latest message, after the title. */
function protectionIn(open: Conversation): string {
  const protection = protectionOf(open)
  return protection === undefined ? '' : ` (${protection})`
}

function relayLines(before: State | undefined, { relays }: State): string[] {
  return relays.flatMap(({ relay, state, why }) => {
    const old = before?.relays.find((each) => each.relay === relay)
    if (old?.state === state && old.why === why) return []
    switch (state) {
      case 'up':
        return [`-- connected to ${relay}`]
      case 'down':
        return [`-- not connected to ${relay}${why === undefined ? '' : `: ${why}`}`]
      case 'connecting':
        return []
    }
  })
}

function bodyOf({ text, changed, file }: Entry): string {
  if (changed === 'removed') return '(removed)'
  // stateOf shows the progress.
  if (file !== undefined) return `(file "${file.name}"${file.total === 0 ? '' : `, ${formatBytes(file.total)}`})`
  return changed === 'edited' ? `${text} (edited)` : text
}

function entryText({ kind, name }: Conversation, entry: Entry, body: string): string[] {
  const who =
    kind === 'group'
      ? `#${name} ${entry.author}`
      : entry.from === 'me'
        ? `to ${name}`
        : kind === 'strangers'
          ? `strangers ${entry.author}`
          : kind === 'request'
            ? `request of ${entry.author}`
            : entry.author
  const marks = [
    ...(entry.gap === true ? ['(a message before this one is missing)'] : []),
    ...(entry.late === true ? ['(late: it is older than the message before it)'] : []),
    ...(entry.verdict === 'genuine' ? [] : [`(${VERDICTS[entry.verdict]})`]),
    ...(entry.reply === undefined ? [] : [`(reply to: ${clip(entry.reply, QUOTE)})`]),
  ]
  const [first = '', ...more] = body.split('\n')
  return [[`${clock(entry.at)} ${who}:`, ...marks, first].join(' ').trimEnd(), ...more.map((line) => `      | ${line}`.trimEnd())]
}

/** Returns a line with the state of a message or file; '' while there is nothing to report. */
function stateOf({ name }: Conversation, entry: Entry): string {
  const { file, from } = entry
  if (file !== undefined && file.state !== 'moving')
    return `-- file "${file.name}" ${from === 'them' ? `of ${entry.author}` : `to ${name}`}: ${file.note ?? file.state}`
  if (from === 'them') return ''
  const state = deliveryText(entry)
  if (state === undefined || state.text === 'waiting' || state.text === 'on its way') return ''
  return `-- ${state.text}, to ${name}: ${clip((file === undefined ? entry.text : file.name).replaceAll('\n', ' '), QUOTE)}`
}
