/** The commands of the chat, which begin with a slash: their table, their parser and their completion. */

interface Row {
  /** The arguments in the help; '' if the command takes none. */
  readonly takes: string
  readonly about: string
}

export const COMMANDS = {
  help: { takes: '', about: 'show commands and keys' },
  to: { takes: 'NAME', about: 'open a conversation' },
  file: { takes: 'PATH', about: 'send a file' },
  reply: { takes: '[TEXT]', about: 'reply to the selected message, or to the last one' },
  edit: { takes: '[TEXT]', about: 'edit your selected message, or your last one' },
  remove: { takes: '', about: 'remove your selected message, or your last one' },
  find: { takes: 'WORDS', about: 'show all messages that contain these words, also of the kept history' },
  expires: { takes: 'SPAN | off', about: 'have messages here disappear this long after they were read, such as 1h: a request' },
  mute: { takes: '[off]', about: 'no longer notify you of messages of this contact or group, or do so again' },
  card: { takes: '', about: 'show your card, to give to others' },
  add: { takes: '[LINK] [NAME]', about: 'add the card of a link, or the selected or last card here, to your contacts' },
  join: { takes: 'INVITE', about: 'join the closed relay of an invite' },
  accept: {
    takes: '[NAME]',
    about: 'make the sender of this contact request a contact; an answer does that, too. With a contact: accept new keys without a proof',
  },
  ignore: { takes: '', about: 'delete this contact request; the person can write again' },
  block: { takes: '', about: 'drop everything that this person sends; nobody learns of it' },
  unblock: { takes: '', about: 'receive messages of this contact again' },
  verify: { takes: '[yes]', about: 'show the safety words to compare with this contact; `yes` if they are the same' },
  group: { takes: 'new NAME MEMBER … | add NAME | drop NAME | leave', about: 'create a group, or change this one' },
  receipts: { takes: 'on | off', about: 'choose whether others learn that you read their messages' },
  connect: { takes: '', about: 'receive again, if another client has taken over your mailbox or a relay is down' },
  quit: { takes: '', about: 'leave the chat' },
} as const satisfies Record<string, Row>

export type CommandName = keyof typeof COMMANDS

export type Parsed =
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'command'; readonly name: CommandName; readonly rest: string }
  | { readonly kind: 'unknown'; readonly name: string }

/** Parses an entered line: `/name rest` is a command, and `//` begins a text that starts with one slash. */
export function parseLine(line: string): Parsed {
  // Only a link may be broken over lines.
  if (!line.startsWith('/') || (line.includes('\n') && !/^\/(?:add|join)\s/.test(line))) return { kind: 'text', text: line }
  if (line.startsWith('//')) return { kind: 'text', text: line.slice(1) }
  const [, name = '', rest = ''] = /^\/(\S*)\s*(.*?)\s*$/s.exec(line) ?? []
  return isCommand(name) ? { kind: 'command', name, rest } : { kind: 'unknown', name }
}

function isCommand(name: string): name is CommandName {
  return Object.hasOwn(COMMANDS, name)
}

/** Splits the arguments of a command at spaces, except in double quotes. */
export function words(rest: string): string[] {
  return [...rest.matchAll(/"([^"]*)"|(\S+)/g)].map(([, quoted, plain]) => quoted ?? plain!)
}

export interface Completion {
  /** The line, extended as far as all candidates agree. */
  readonly line: string
  /** Empty, or more than one. */
  readonly candidates: readonly string[]
}

/**
 * Completes a line, for Tab.
 * @param names the names of contacts and groups
 * @param paths the paths that begin with the typed one
 */
export function complete(line: string, names: readonly string[], paths: readonly string[] = []): Completion {
  const [, name = '', gap = ''] = /^\/(\S*)(\s*)/.exec(line) ?? []
  if (gap === '') {
    const found = Object.keys(COMMANDS).filter((each) => each.startsWith(name))
    return finish('/', name, found, line)
  }
  const rest = line.slice(1 + name.length + gap.length)
  const head = `/${name}${gap}`
  switch (name) {
    case 'to':
      return finish(
        head,
        rest,
        names.filter((each) => begins(each, rest)),
        line,
      )
    case 'file':
      return finish(
        head,
        rest,
        paths.filter((each) => each.startsWith(rest)),
        line,
      )
    case 'group':
      return completeMember(line, names)
    case 'receipts':
      return finish(
        head,
        rest,
        ['on', 'off'].filter((each) => each.startsWith(rest)),
        line,
      )
    default:
      return { line, candidates: [] }
  }
}

function begins(name: string, typed: string): boolean {
  return name.toLowerCase().startsWith(typed.toLowerCase())
}

/** Completes the last of the names in a line, and puts a name with spaces into double quotes, as {@link words} needs it. */
function completeMember(line: string, names: readonly string[]): Completion {
  const [, quote = '', typed = ''] = /\s("?)((?<=")[^"]*|\S*)$/.exec(line) ?? []
  const head = line.slice(0, line.length - quote.length - typed.length)
  const found = names.filter((each) => begins(each, typed))
  const [only] = found
  if (found.length === 1 && only !== undefined) return { line: `${head}${/\s/.test(only) ? `"${only}"` : only} `, candidates: [] }
  const extended = finish('', typed, found, typed)
  const opening = /\s/.test(extended.line) ? '"' : quote
  return { ...extended, line: head + opening + extended.line }
}

function finish(head: string, typed: string, found: readonly string[], line: string): Completion {
  const [first] = found
  if (first === undefined) return { line, candidates: [] }
  if (found.length === 1) return { line: head + first + (first.endsWith('/') ? '' : ' '), candidates: [] }
  let length = first.length
  while (!found.every((each) => begins(each, first.slice(0, length)))) length--
  return { line: head + (length > typed.length ? first.slice(0, length) : typed), candidates: found }
}
