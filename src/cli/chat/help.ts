/** The text of `/help`: the commands and the keys. */
import { COMMANDS } from './command.ts'
import type { Size } from './geometry.ts'
import { wrap } from './text.ts'
import type { Look } from './transcript.ts'

const KEYS: readonly (readonly [keys: string, about: string])[] = [
  ['Enter', 'send'],
  ['Alt+Enter, Ctrl+J', 'start a new line'],
  ['Ctrl+N, Ctrl+P', 'open the next or previous conversation'],
  ['Alt+A', 'open the next conversation with new messages'],
  ['Alt+1 … Alt+9', 'open a conversation by its position'],
  ['Ctrl+O', 'choose a conversation: type a part of its name'],
  ['PageUp, PageDown', 'scroll; Ctrl+Home and Ctrl+End to either end'],
  ['Alt+Up, Alt+Down', 'select a message, for /reply, /edit, /remove and /add; Esc deselects it'],
  ['Alt+C', 'show the selected or last message alone and unwrapped, to copy it'],
  ['Ctrl+F', 'search this session; Enter finds the previous match'],
  ['Up, Down', 'move between lines, and beyond them to texts that you sent'],
  ['Ctrl+A, Ctrl+E', 'go to the start or end of the line'],
  ['Ctrl+W, Ctrl+U, Ctrl+K', 'cut a word, or to the start or end of the line'],
  ['Ctrl+Y, Ctrl+T, Ctrl+_', 'paste the cut text, swap two characters, undo'],
  ['Tab', 'complete a command, a name or a path'],
  ['Ctrl+L, Ctrl+Z', 'redraw, suspend'],
  ['Ctrl+C, Ctrl+D', 'clear the line; leave if it is empty'],
]

/** The words for the protection of the latest message, which the bar shows. */
const PROTECTIONS: readonly (readonly [word: string, about: string])[] = [
  ['one-time', 'a key for this one message, which the receiver erases after reading'],
  ['daily', 'a key for first messages, which the receiver erases after some days'],
  ['key', 'the SSH key alone: anyone who steals it can read the message, also later'],
]

/** Builds two columns, the right one wrapped; on a narrow terminal, the right one appears below the left. */
export function helpText({ columns }: Size, { plain }: Look): string {
  const wide = columns >= 64
  const indent = wide ? 24 : 6
  const rows = (all: readonly (readonly [string, string])[]): string[] =>
    all.flatMap(([left, right]) => {
      const about = wrap(right, columns - indent).map((row) => ' '.repeat(indent) + row.map(({ text }) => text).join(''))
      const head = `  ${left}`
      return wide && head.length < indent - 1 ? [head.padEnd(indent) + about[0]!.slice(indent), ...about.slice(1)] : [head, ...about]
    })
  const commands = Object.entries(COMMANDS).map(([name, { takes, about }]) => [`/${name} ${takes}`.trim(), about] as const)
  const keys = plain === true ? [] : ['', 'Keys', ...rows(KEYS)]
  return ['Commands', ...rows(commands), ...keys, '', 'Protection of messages', ...rows(PROTECTIONS)].join('\n')
}
