/** What a line becomes that a person entered: a text, an answer, a change of what was said, or a command. */
import { COMMANDS, type CommandName, complete, parseLine, words } from './command.ts'
import { type Compose, type Conversation, type Entry, isOut, letGo, quote } from './conversation.ts'
import { clear, replace, textOf } from './editor.ts'
import { showHelp, turnTo, write } from './navigation.ts'
import { editorOf, openConversation } from './state.ts'
import type { Step } from './step.ts'
import { showLine, showText } from './text.ts'

export function onLine(step: Step, line: string): void {
  if (line.trim() === '') return
  const parsed = parseLine(line)
  switch (parsed.kind) {
    case 'unknown':
      return step.tell('there is no such command: /help shows them; // begins a text with a slash', 'bad')
    case 'command':
      return command(step, parsed.name, parsed.rest)
    case 'text':
      return say(step, parsed.text.trimEnd())
  }
}

function say(step: Step, text: string): void {
  const open = openConversation(step.state)
  if (open === undefined || open.kind === 'strangers')
    return step.tell('there is nobody to write to here: /to NAME opens a conversation', 'bad')
  if (open.left === true) return step.tell('you left this group', 'bad')
  const { compose } = open
  switch (compose.kind) {
    case 'new':
      return send(step, open, text, undefined)
    case 'reply':
      return send(
        step,
        open,
        text,
        open.entries.find(({ key }) => key === compose.key),
      )
    case 'edit':
      return rewrite(step, open, compose.key, text)
  }
}

function send(step: Step, open: Conversation, text: string, replied: Entry | undefined): void {
  const replyTo = replied?.id
  const entry = step.append(open.id, {
    at: step.now,
    from: 'me',
    author: 'you',
    text: showText(text),
    written: text,
    deliveries: [{ id: '', member: '', to: '', state: 'waiting' }],
    ...(replied !== undefined && { reply: quote(replied) }),
  })
  step.change(open.id, (each) => ({ ...letGo(each), editor: clear(each.editor), scroll: undefined, newFrom: undefined }))
  step.effects.push({ kind: 'send', key: entry.key, conversation: open.id, text, ...(replyTo !== undefined && { replyTo }) })
}

function rewrite(step: Step, open: Conversation, key: number, text: string): void {
  const entry = open.entries.find((each) => each.key === key)
  if (entry === undefined) return
  step.changeEntry(key, (each) => ({ ...each, text: showText(text), written: text, changed: 'edited' }))
  step.change(open.id, (each) => ({ ...letGo(each), editor: clear(each.editor) }))
  step.effects.push({ kind: 'edit', conversation: open.id, of: entry.deliveries, text })
}

function command(step: Step, name: CommandName, rest: string): void {
  const open = openConversation(step.state)
  // What needs more stays to be corrected.
  const done = (): void => step.changeOpen((each) => ({ ...each, editor: clear(each.editor) }))
  switch (name) {
    case 'help':
      done()
      return showHelp(step)
    case 'quit':
      return quit(step, step.state.leaving)
    case 'to': {
      const found = named(step, rest)
      if (found === undefined) return step.tell('there is nobody, or more than one, of that name', 'bad')
      done()
      return turnTo(step, found.id)
    }
    case 'card':
      done()
      return void step.effects.push({ kind: 'card' })
    case 'verify':
      if (open?.kind !== 'contact') return step.tell('this is no conversation with one contact', 'bad')
      done()
      return void step.effects.push({ kind: 'verify', conversation: open.id, confirmed: rest === 'yes' })
    case 'receipts':
      if (rest !== 'on' && rest !== 'off')
        return step.tell(`receipts of reading are ${step.state.receipts ? 'on' : 'off'}: /receipts on, or off`)
      done()
      step.set({ receipts: rest === 'on' })
      step.tell(rest === 'on' ? 'others learn when you read their messages' : 'nobody learns when you read')
      return void step.effects.push({ kind: 'receipts', on: rest === 'on' })
    case 'group':
      if (rest === '') return step.tell(`/group ${COMMANDS.group.takes}`)
      done()
      return void step.effects.push({ kind: 'group', conversation: open?.kind === 'group' ? open.id : undefined, words: words(rest) })
    case 'add': {
      const card = meant(open, (each) => each.card !== undefined)?.card
      if (card === undefined) return step.tell('there is no card here', 'bad')
      done()
      return void step.effects.push({ kind: 'add', card, ...(rest !== '' && { name: rest }) })
    }
    case 'file':
      return sendFile(step, open, rest)
    case 'reply':
    case 'edit':
    case 'remove':
      return about(step, name, open, rest)
  }
}

function about(step: Step, name: 'reply' | 'edit' | 'remove', open: Conversation | undefined, rest: string): void {
  const wanted = (entry: Entry): boolean =>
    name === 'reply'
      ? entry.from === 'them' && entry.id !== undefined
      : entry.from === 'me' && entry.changed !== 'removed' && isOut(entry) && entry.file === undefined
  const entry = meant(open, wanted)
  if (open === undefined || open.kind === 'strangers' || entry === undefined) return step.tell(`there is nothing to ${name}`, 'bad')
  switch (name) {
    case 'reply':
      if (rest !== '') return send(step, open, rest, entry)
      return begin(step, open, { kind: 'reply', key: entry.key }, '')
    case 'edit':
      if (rest !== '') return rewrite(step, open, entry.key, rest)
      return begin(step, open, { kind: 'edit', key: entry.key }, entry.written ?? entry.text)
    case 'remove':
      step.changeEntry(entry.key, (each) => ({ ...each, text: '', changed: 'removed' }))
      step.change(open.id, (each) => ({ ...letGo(each), editor: clear(each.editor) }))
      return void step.effects.push({ kind: 'remove', conversation: open.id, of: entry.deliveries })
  }
}

function begin(step: Step, open: Conversation, compose: Compose, text: string): void {
  step.change(open.id, (each) => ({
    ...each,
    compose,
    chosen: compose.kind === 'new' ? undefined : compose.key,
    editor: replace(clear(each.editor), text),
  }))
  step.tell(compose.kind === 'edit' ? 'Enter changes the message, Esc leaves it' : 'Enter answers, Esc does not')
}

/** The chosen entry where it is of the wanted kind, else the last that is. */
function meant(open: Conversation | undefined, wanted: (entry: Entry) => boolean): Entry | undefined {
  const chosen = open?.entries.find(({ key }) => key === open.chosen)
  return chosen !== undefined ? (wanted(chosen) ? chosen : undefined) : open?.entries.findLast(wanted)
}

function sendFile(step: Step, open: Conversation | undefined, path: string): void {
  if (open === undefined || open.kind === 'strangers' || open.left === true) return step.tell('there is nobody to send it to here', 'bad')
  if (path === '') return step.tell('which file? /file PATH; Tab completes it', 'bad')
  const { key } = step.append(open.id, {
    at: step.now,
    from: 'me',
    author: 'you',
    text: '',
    deliveries: [{ id: '', member: '', to: '', state: 'waiting' }],
    file: { name: showLine(path.split('/').at(-1) ?? path), total: 0, moved: 0, state: 'moving' },
  })
  step.change(open.id, (each) => ({ ...each, editor: clear(each.editor), scroll: undefined }))
  step.effects.push({ kind: 'file', key, conversation: open.id, path })
}

export function quit(step: Step, leaving: boolean): void {
  const waiting = step.state.conversations
    .flatMap(({ entries }) => entries)
    .filter(({ deliveries }) => deliveries.some(({ state }) => state === 'waiting')).length
  if (waiting > 0 && !leaving) {
    step.set({ leaving: true })
    return step.tell(`${waiting} of your messages ${waiting === 1 ? 'is' : 'are'} at no relay yet: again to leave all the same`, 'bad')
  }
  step.effects.push({ kind: 'quit' })
}

function named(step: Step, name: string): Conversation | undefined {
  const { conversations } = step.state
  const wanted = name.toLowerCase()
  const exact = conversations.find((each) => each.name.toLowerCase() === wanted)
  const begins = conversations.filter((each) => each.name.toLowerCase().startsWith(wanted))
  return exact ?? (begins.length === 1 && wanted !== '' ? begins[0] : undefined)
}

export function completeLine(step: Step, line: string): void {
  if (!line.startsWith('/')) return
  const path = /^\/file\s+(.*)$/s.exec(line)
  if (path !== null) return void step.effects.push({ kind: 'paths', line, prefix: path[1]! })
  onPaths(step, line, [])
}

export function onPaths(step: Step, line: string, paths: readonly string[]): void {
  const editor = editorOf(step.state)
  if (textOf(editor) !== line || step.state.search !== undefined) return
  const completion = complete(
    line,
    step.state.conversations.map(({ name }) => name),
    paths,
  )
  if (completion.line !== line) write(step, replace(editor, completion.line))
  if (completion.candidates.length > 1) step.tell(completion.candidates.join('  '))
}
