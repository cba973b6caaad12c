/** Builds the man page in roff (man(7)) from the pages of all commands. */
import { EXIT } from './exit.ts'
import {
  describeOption,
  type Entry,
  type Example,
  fold,
  formOf,
  HELP_OPTION,
  labelOf,
  listedOptionsOf,
  type Option,
  type Page,
  paragraphsOf,
  usagesOf,
} from './page.ts'

const SPECIAL: Readonly<Record<string, string>> = {
  '\\': '\\e',
  '-': '\\-',
  "'": '\\(aq',
  '`': '\\(ga',
  '^': '\\(ha',
  '~': '\\(ti',
  '…': '...',
  '’': '\\(cq',
  '→': '\\(->',
}

/** Escapes a text, so that roff prints it unchanged. */
function literal(text: string): string {
  const escaped = text.replaceAll(/[\\\-'`^~…’→]/g, (character) => SPECIAL[character]!)
  // A line that begins with a dot would be a request.
  return escaped.startsWith('.') ? `\\&${escaped}` : escaped
}

/** Formats a sentence; text in backticks becomes bold. */
function prose(text: string): string {
  return literal(text).replaceAll(/\\\(ga(.+?)\\\(ga/g, '\\fB$1\\fR')
}

const CODES: Record<keyof typeof EXIT, string> = {
  ok: 'Success.',
  failed: 'The command failed; the error message says why.',
  usage: 'The command line or the configuration is wrong. Nothing was changed.',
  unreachable: "Nothing answers at the address of the relay, of tor's SOCKS port or of the operator's listener.",
  internal: 'A defect of asfaleia.',
  unconfirmed: 'The message was sent or kept in the outbox, but the receiver has not confirmed it.',
  refused: 'The relay refused the request, or the client refused the relay because it broke the protocol.',
}

function tagged(tag: string, about: string): string {
  return `.TP\n.B ${literal(tag)}\n${prose(about)}`
}

function describeForm(page: Page, verb: string | undefined): readonly string[] {
  const form = formOf(page, verb)
  const { help: _help, ...listed } = listedOptionsOf(page, verb)
  // The command lists the options that its verbs share.
  const options = verb === undefined ? listed : (form.options ?? {})
  return [
    ...paragraphsOf(form).map((paragraph) => `.PP\n${prose(paragraph)}`),
    ...Object.entries<Option>(options).map(([name, row]) =>
      tagged(`${row.short === undefined ? '' : `-${row.short}, `}${labelOf(name, row)}`, describeOption(row)),
    ),
  ]
}

function describeCommand({ summary, page }: Entry): string {
  const verbs = Object.entries(page.verbs ?? {})
  return [
    `.SS ${literal(page.name)}`,
    `${prose(summary.replace(/^./, (first) => first.toUpperCase()))}.`,
    ...usagesOf(page).map((usage) => `.PP\n.B asfaleia ${literal(usage)}`),
    ...describeForm(page, undefined),
    ...verbs.flatMap(([verb, { summary }]) => [
      ...usagesOf(page, verb).map((usage) => `.PP\n.B asfaleia ${literal(usage)}`),
      '.RS',
      `${prose(summary.replace(/^./, (first) => first.toUpperCase()))}.`,
      ...describeForm(page, verb),
      '.RE',
    ]),
  ].join('\n')
}

function describeExample([about, line]: Example): string {
  return `.PP\n${prose(about.replace(/^./, (first) => first.toUpperCase()))}:\n.PP\n.nf\n.RS\n${literal(line)}\n.RE\n.fi`
}

/** Returns the examples of a command and its verbs, each line once. */
function examplesOf({ page }: Entry): readonly Example[] {
  const all = [page, ...Object.values(page.verbs ?? {})].flatMap(({ examples }) => examples)
  return all.filter(([, line], index) => all.findIndex((each) => each[1] === line) === index)
}

/** Lists every environment variable, with its options and its notes. */
function describeVariables(entries: readonly Entry[]): readonly string[] {
  const uses = new Map<string, Map<string, string[]>>()
  const notes = new Map<string, string>()
  for (const { page } of entries) {
    for (const [name, note] of Object.entries(page.variables ?? {})) notes.set(name, fold(note))
    for (const verb of [undefined, ...Object.keys(page.verbs ?? {})]) {
      for (const [name, { variable }] of Object.entries<Option>(listedOptionsOf(page, verb))) {
        if (variable === undefined || /…/.test(variable)) continue
        const options = uses.get(variable) ?? new Map<string, string[]>()
        options.set(name, [...new Set([...(options.get(name) ?? []), page.name])])
        uses.set(variable, options)
      }
    }
  }
  return [...new Set([...uses.keys(), ...notes.keys()])].toSorted().map((name) => {
    const defaults = [...(uses.get(name) ?? [])].map(
      ([option, commands]) => `The default of \`--${option}\` in ${commands.map((each) => `\`${each}\``).join(', ')}.`,
    )
    return tagged(
      name,
      [...defaults, ...(notes.has(name) ? [`${notes.get(name)!.replace(/^./, (first) => first.toUpperCase())}.`] : [])].join(' '),
    )
  })
}

export function buildManual(entries: readonly Entry[], version: string): string {
  const codes = Object.entries(EXIT).toSorted(([, a], [, b]) => a - b)
  return [
    `.TH ASFALEIA 1 "" "asfaleia ${literal(version)}" "User Commands"`,
    '.SH NAME',
    'asfaleia \\- a chat relay behind a Tor onion service, and its client',
    '.SH SYNOPSIS',
    '.B asfaleia',
    '.I COMMAND',
    '.RI [ OPTION " ...]"',
    '.SH DESCRIPTION',
    'An SSH key identifies each person. Messages are encrypted to their receiver; the relay holds them in memory until the receiver',
    'fetches them, and then erases them.',
    '.SH COMMANDS',
    ...entries.map(describeCommand),
    '.SH OPTIONS',
    tagged(`-${HELP_OPTION.short}, --help`, 'Every command takes it: it prints the help text of the command.'),
    tagged('-V, --version', 'Prints the version.'),
    '.SH EXAMPLES',
    ...entries.flatMap(examplesOf).map(describeExample),
    '.SH EXIT STATUS',
    ...codes.map(([name, code]) => tagged(String(code), CODES[name as keyof typeof EXIT])),
    '.SH ENVIRONMENT',
    ...describeVariables(entries),
    '.SH FILES',
    '.TP',
    '.I ~/.config/asfaleia',
    'The profile: your key, your card, contacts and groups.',
    '.SH SEE ALSO',
    '.BR age (1),',
    '.BR ssh\\-keygen (1),',
    '.BR tor (1)',
    '',
  ].join('\n')
}
