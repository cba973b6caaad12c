/** Handles the lines that the user enters: texts, replies, edits and commands. */
import { didYouMean } from '../../nearest.ts'
import { COMMANDS, type CommandName, complete, parseLine, words } from './command.ts'
import { type Compose, type Conversation, type Entry, isOut, letGo, quote } from './conversation.ts'
import { clear, replace, textOf } from './editor.ts'
import type { Typed } from './input.ts'
import { showHelp, turnTo, write } from './navigation.ts'
import { editorOf, isAddable, openConversation, plainName as plain } from './state.ts'
import { setExpires, setMute } from './rule.ts'
import type { Step } from './step.ts'
import { showLine, showText } from './text.ts'

/** The most names that a refusal lists. */
const MOST_NAMED = 5

export function onLine(step: Step, line: string): void {
  if (line.trim() === '') return
  const parsed = parseLine(line)
  switch (parsed.kind) {
    case 'unknown':
      return step.tell(refuseCommand(parsed.name), 'bad')
    case 'command':
      return command(step, parsed.name, parsed.rest, line)
    case 'text':
      return say(step, parsed.text.trimEnd())
  }
}

function refuseCommand(name: string): string {
  const suggestion = didYouMean(name, Object.keys(COMMANDS), (each) => `/${each}`)
  return `unknown command /${name}${suggestion === '' ? '; see /help.' : suggestion} To send it as a text, begin with //`
}

/** Returns whether a text holds the link of a card. */
const holdsCard = (text: string): boolean => text.includes('asfaleia:card/')

const holdsInvite = (text: string): boolean => text.includes('asfaleia:invite/')

/**
 * Splits `LINK [NAME]`. A link that is broken by blanks, quoted or surrounded by words has no name beside it.
 * @returns undefined if there is no link
 */
function splitCard(rest: string): { readonly card: string; readonly name: string } | undefined {
  if (!holdsCard(rest)) return undefined
  const [, link, name = ''] = /^(asfaleia:card\/\S*sig=\S{86,})(?:[ ]+([^\n]+))?$/.exec(rest) ?? []
  return link === undefined ? { card: rest, name: '' } : { card: link, name }
}

/** Returns the open conversation if the user can send something in it; tells them why not otherwise. */
function receiving(step: Step): Conversation | undefined {
  const open = openConversation(step.state)
  if (open === undefined) step.tell('no conversation is open; /to NAME opens one, and /add LINK adds a contact', 'bad')
  else if (open.kind === 'strangers') step.tell('you cannot write to strangers; open a conversation with /to NAME', 'bad')
  else if (open.kind === 'request') step.tell('accept the request first, with /accept', 'bad')
  else if (open.left === true) step.tell('you left this group', 'bad')
  else if (open.blocked === true) step.tell('you block this contact; /unblock ends that', 'bad')
  else return open
  return undefined
}

function canReceive(open: Conversation | undefined): boolean {
  return open !== undefined && open.kind !== 'strangers' && open.kind !== 'request'
}

/** Sends a text in a conversation, which the user has begun before it could be written to. */
export function sayIn(step: Step, conversation: string, text: string): void {
  const found = step.state.conversations.find(({ id }) => id === conversation)
  if (found?.kind === 'contact') send(step, found, text, undefined)
}

function say(step: Step, text: string): void {
  // A link is a text in a conversation. Without one, it can only be meant for this program.
  const here = openConversation(step.state)
  if (holdsCard(text) && !canReceive(here)) return command(step, 'add', text, text)
  if (holdsInvite(text) && !canReceive(here)) return command(step, 'join', text, text)
  if (here?.kind === 'request') {
    // An answer accepts.
    step.changeLine(clear)
    return void step.effects.push({ kind: 'accept', conversation: here.id, text, command: { line: text, conversation: here.id } })
  }
  const open = receiving(step)
  if (open === undefined) return
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
  const { expires } = open
  const entry = step.append(open.id, {
    at: step.now,
    from: 'me',
    author: 'you',
    text: showText(text),
    written: text,
    deliveries: [{ id: '', member: '', to: '', state: 'waiting' }],
    ...(replied !== undefined && { reply: quote(replied) }),
    ...(expires !== undefined && { expires }),
  })
  step.change(open.id, (each) => ({ ...letGo(each), editor: clear(each.editor), scroll: undefined, newFrom: undefined }))
  step.effects.push({
    kind: 'send',
    key: entry.key,
    conversation: open.id,
    text,
    ...(replyTo !== undefined && { replyTo }),
    ...(expires !== undefined && { expires }),
  })
}

function rewrite(step: Step, open: Conversation, key: number, text: string): void {
  const entry = open.entries.find((each) => each.key === key)
  if (entry === undefined) return
  step.changeEntry(key, (each) => ({ ...each, text: showText(text), written: text, changed: 'edited' }))
  step.change(open.id, (each) => ({ ...letGo(each), editor: clear(each.editor) }))
  const { deliveries, expires } = entry
  step.effects.push({ kind: 'edit', conversation: open.id, of: deliveries, text, ...(expires !== undefined && { expires }) })
}

/** A command failed: shows why, and gives the user its line to correct, unless they have begun another one. */
export function onRefused(step: Step, { line, conversation }: Typed, why: string): void {
  step.tell(why, 'bad')
  const { open, look, search, picking } = step.state
  if (look.plain === true || open !== conversation || search !== undefined || picking !== undefined) return
  const editor = editorOf(step.state)
  if (editor.text.length === 0) write(step, replace(editor, line))
}

function command(step: Step, name: CommandName, rest: string, line: string): void {
  const open = openConversation(step.state)
  const typed: Typed = { line, conversation: open?.id }
  // A refused command stays in the editor, so that the user can correct it.
  const done = (): void => step.changeLine(clear)
  switch (name) {
    case 'help':
      done()
      return showHelp(step)
    case 'quit':
      return quit(step, step.state.leaving)
    case 'to': {
      const found = named(step, rest)
      if (found === undefined) return step.tell(refuseName(step, rest), 'bad')
      done()
      return turnTo(step, found.id)
    }
    case 'card':
      done()
      return void step.effects.push({ kind: 'card' })
    case 'connect':
      done()
      return void step.effects.push({ kind: 'connect' })
    case 'verify':
      if (open?.kind !== 'contact') return step.tell('/verify needs a conversation with a contact; open one with /to NAME', 'bad')
      done()
      return void step.effects.push({ kind: 'verify', conversation: open.id, confirmed: rest === 'yes', command: typed })
    case 'receipts':
      if (rest !== 'on' && rest !== 'off')
        return step.tell(`read receipts are ${step.state.receipts ? 'on' : 'off'}; to change that, /receipts on or /receipts off`)
      done()
      step.set({ receipts: rest === 'on' })
      step.tell(rest === 'on' ? 'others learn when you read their messages' : 'others do not learn when you read their messages')
      return void step.effects.push({ kind: 'receipts', on: rest === 'on' })
    case 'group':
      if (rest === '') return step.tell(`usage: /group ${COMMANDS.group.takes}`)
      done()
      return void step.effects.push({
        kind: 'group',
        conversation: open?.kind === 'group' ? open.id : undefined,
        words: words(rest),
        command: typed,
      })
    case 'add': {
      const given = splitCard(rest)
      const card = given?.card ?? selected(open, (each) => isAddable(step.state, each))?.card
      const called = given === undefined ? rest : given.name
      if (card === undefined) return step.tell('there is no card to add here; /add LINK adds the card of a link', 'bad')
      done()
      return void step.effects.push({ kind: 'add', card, ...(called !== '' && { name: called }), command: typed })
    }
    case 'join':
      if (!holdsInvite(rest)) return step.tell('the invite is missing: /join INVITE', 'bad')
      done()
      return void step.effects.push({ kind: 'join', invite: rest, command: typed })
    case 'accept':
    case 'ignore': {
      if (open?.kind !== 'request' && !(name === 'accept' && open?.kind === 'contact'))
        return step.tell(`/${name} needs a contact request; open one with /to NAME`, 'bad')
      done()
      const about = { conversation: open.id, command: typed }
      return void step.effects.push(
        name === 'ignore' ? { kind: 'ignore', ...about } : { kind: 'accept', ...about, ...(rest !== '' && { name: rest }) },
      )
    }
    case 'block':
    case 'unblock': {
      const isOn = name === 'block'
      if (open?.kind !== 'contact' && !(isOn && open?.kind === 'request'))
        return step.tell(
          `/${name} needs a conversation with a contact${isOn ? ' or a contact request' : ''}; open one with /to NAME`,
          'bad',
        )
      done()
      return void step.effects.push({ kind: 'block', conversation: open.id, isOn, command: typed })
    }
    case 'find':
      if (rest === '') return step.tell('the words are missing: /find WORDS', 'bad')
      done()
      return void step.effects.push({ kind: 'find', words: words(rest), command: typed })
    case 'mute':
      return setMute(step, open, rest, typed, done)
    case 'expires':
      return setExpires(step, open, rest, typed, done)
    case 'file':
      return sendFile(step, rest)
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
  const entry = selected(open, wanted)
  if (open === undefined || !canReceive(open) || entry === undefined)
    return step.tell(name === 'reply' ? 'there is no message to reply to' : `there is no message of yours to ${name}`, 'bad')
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
  step.tell(compose.kind === 'edit' ? 'Enter saves the change, Esc cancels it' : 'Enter sends the reply, Esc cancels it')
}

/** Returns the selected entry if it is of the wanted kind, or the last such entry if none is selected. */
function selected(open: Conversation | undefined, wanted: (entry: Entry) => boolean): Entry | undefined {
  const chosen = open?.entries.find(({ key }) => key === open.chosen)
  return chosen !== undefined ? (wanted(chosen) ? chosen : undefined) : open?.entries.findLast(wanted)
}

function sendFile(step: Step, path: string): void {
  const open = receiving(step)
  if (open === undefined) return
  if (path === '') return step.tell('the path is missing: /file PATH; Tab completes it', 'bad')
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
    const subject = waiting === 1 ? '1 of your messages is' : `${waiting} of your messages are`
    return step.tell(`${subject} not at a relay yet; repeat to leave anyway`, 'bad')
  }
  step.effects.push({ kind: 'quit' })
}

/** Finds the conversation of that name, or the only one whose name begins so. */
function named(step: Step, name: string): Conversation | undefined {
  const exact = step.state.conversations.find((each) => plain(each.name) === plain(name))
  const begins = beginning(step, name)
  return exact ?? (begins.length === 1 ? begins[0] : undefined)
}

function beginning(step: Step, name: string): Conversation[] {
  return name === '' ? [] : step.state.conversations.filter((each) => plain(each.name).startsWith(plain(name)))
}

function refuseName(step: Step, name: string): string {
  if (name === '') return 'the name is missing: /to NAME; Tab completes it'
  const begins = beginning(step, name).map((each) => `"${each.name}"`)
  if (begins.length > 1) return `several names begin with "${name}": ${begins.slice(0, MOST_NAMED).join(', ')}`
  return `no contact or group matches "${name}"${didYouMean(
    name,
    step.state.conversations.map((each) => each.name),
  )}`
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
