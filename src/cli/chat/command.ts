/** What can be typed after a slash: the table, and how it is completed. What a command does, the model says. */

interface Row {
  /** As it is shown after the name; '' where it takes nothing. */
  readonly takes: string
  readonly about: string
}

export const COMMANDS = {
  help: { takes: '', about: 'keys and commands' },
  to: { takes: 'NAME', about: 'open a conversation' },
  file: { takes: 'PATH', about: 'send a file' },
  reply: { takes: '[TEXT]', about: 'answer the chosen message, or the last' },
  edit: { takes: '[TEXT]', about: 'change the chosen message of yours, or the last' },
  remove: { takes: '', about: 'take back the chosen message of yours, or the last' },
  card: { takes: '', about: 'show your card, to give to others' },
  add: { takes: '[NAME]', about: 'take the chosen card, or the last, into your contacts' },
  verify: { takes: '[yes]', about: 'show the words to compare with this contact; `yes` once they were the same' },
  group: { takes: 'new NAME MEMBER … | add NAME | drop NAME | leave', about: 'make a group, or change this one' },
  receipts: { takes: 'on | off', about: 'whether others learn that you read their messages' },
  quit: { takes: '', about: 'leave' },
} as const satisfies Record<string, Row>

export type CommandName = keyof typeof COMMANDS

export type Parsed =
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'command'; readonly name: CommandName; readonly rest: string }
  | { readonly kind: 'unknown' }

/** A line as it was sent: `/name rest` is a command, `//` begins a text with one slash, and a path alone is no command. */
export function parseLine(line: string): Parsed {
  if (!line.startsWith('/') || line.includes('\n')) return { kind: 'text', text: line }
  if (line.startsWith('//')) return { kind: 'text', text: line.slice(1) }
  const [, name = '', rest = ''] = /^\/(\S*)\s*(.*?)\s*$/.exec(line) ?? []
  return isCommand(name) ? { kind: 'command', name, rest } : { kind: 'unknown' }
}

function isCommand(name: string): name is CommandName {
  return Object.hasOwn(COMMANDS, name)
}

/** Words of a command line: separated by spaces, or in double quotes. */
export function words(rest: string): string[] {
  return [...rest.matchAll(/"([^"]*)"|(\S+)/g)].map(([, quoted, plain]) => quoted ?? plain!)
}

export interface Completion {
  /** The line, as far as all candidates agree. */
  readonly line: string
  /** More than one, or none. */
  readonly candidates: readonly string[]
}

/** What Tab makes of a line. `names` are those of contacts and groups, `paths` what is there for a path that begins so. */
export function complete(line: string, names: readonly string[], paths: readonly string[] = []): Completion {
  const [, name = '', gap = '', last = ''] = /^\/(\S*)(\s*)(?:.*\s)?(.*)$/.exec(line) ?? []
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
      return finish(
        line.slice(0, line.length - last.length),
        last,
        names.filter((each) => begins(each, last)),
        line,
      )
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

function finish(head: string, typed: string, found: readonly string[], line: string): Completion {
  const [first] = found
  if (first === undefined) return { line, candidates: [] }
  if (found.length === 1) return { line: head + first + (first.endsWith('/') ? '' : ' '), candidates: [] }
  let length = first.length
  while (!found.every((each) => begins(each, first.slice(0, length)))) length--
  return { line: head + (length > typed.length ? first.slice(0, length) : typed), candidates: found }
}
