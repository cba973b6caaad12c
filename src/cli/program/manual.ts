/** The man page in roff (man(7)), from the pages of all commands. */
import type { Page } from './page.ts'
import { EXIT } from './exit.ts'

/** A line that begins with a dot or a quote would be a request; backslashes and hyphens have a meaning. */
function roff(text: string): string {
  return text
    .replaceAll('\\', '\\e')
    .replaceAll('-', '\\-')
    .replaceAll('…', '...')
    .replaceAll('’', "'")
    .replaceAll('→', '\\(->')
    .split('\n')
    .map((line) => (/^[.']/.test(line) ? `\\&${line}` : line))
    .join('\n')
}

const CODES: Record<keyof typeof EXIT, string> = {
  ok: 'Done.',
  failed: 'It did not work, and the error says why.',
  usage: 'The command line or the configuration is wrong; nothing was done.',
  unreachable: "Nobody answers: the relay, tor's SOCKS port, or the operator's listener.",
  internal: 'A defect of asfaleia.',
  unconfirmed: 'Sent, or kept in the outbox, and not confirmed by the receiver.',
  refused: 'The relay refused, or was refused because it did what no relay may do.',
}

/** Text as it stands, without filling: tables and examples keep their columns. */
function block(text: string): string {
  const isPlain = text.split('\n').every((line) => !/^\s/.test(line))
  return isPlain ? `.PP\n${roff(text)}` : `.PP\n.nf\n${roff(text)}\n.fi`
}

export function buildManual(pages: readonly Page[], version: string): string {
  const commands = pages.map(({ name, about, usages, options, text }) =>
    [
      `.SS ${roff(name)}`,
      `${roff(about.replace(/^./, (first) => first.toUpperCase()))}.`,
      ...usages.map((usage) => `.PP\n.B asfaleia ${roff(usage)}`),
      ...text.map(block),
      ...options.map(
        (option) =>
          `.TP\n.B ${roff([option.short, option.name].filter((each) => each !== undefined).join(', '))}${option.value === undefined ? '' : ` ${roff(option.value)}`}\n${roff(option.about === '' ? option.name : option.about)}`,
      ),
    ].join('\n'),
  )
  const codes = Object.entries(EXIT).toSorted(([, a], [, b]) => a - b)
  return [
    `.TH ASFALEIA 1 "" "asfaleia ${roff(version)}" "User Commands"`,
    '.SH NAME',
    'asfaleia \\- a chat relay behind a Tor onion service, and its client',
    '.SH SYNOPSIS',
    '.B asfaleia',
    '.I COMMAND',
    '.RI [ OPTION " ...]"',
    '.SH DESCRIPTION',
    'People are SSH keys; messages are encrypted to their receiver, held in the memory of a relay until they are taken, and then erased.',
    '.SH COMMANDS',
    ...commands,
    '.SH EXIT STATUS',
    ...codes.map(([name, code]) => `.TP\n.B ${code}\n${roff(CODES[name as keyof typeof EXIT])}`),
    '.SH FILES',
    '.TP',
    '.I ~/.config/asfaleia',
    'The profile: key, card, contacts, groups. ASFALEIA_HOME and XDG_CONFIG_HOME name another folder.',
    '.SH SEE ALSO',
    '.BR age (1),',
    '.BR ssh\\-keygen (1),',
    '.BR tor (1)',
    '',
  ].join('\n')
}
