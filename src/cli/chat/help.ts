/** What `/help` shows: the commands, and what the keys do. */
import { COMMANDS } from './command.ts'
import type { Size } from './geometry.ts'
import { wrap } from './text.ts'
import type { Look } from './transcript.ts'

const KEYS: readonly (readonly [keys: string, about: string])[] = [
  ['Enter', 'send'],
  ['Alt+Enter, Ctrl+J', 'a new line'],
  ['Ctrl+N, Ctrl+P', 'the next, the previous conversation'],
  ['Alt+A', 'the next conversation with something new'],
  ['Alt+1 … Alt+9', 'a conversation by its place'],
  ['Ctrl+O', 'the list of conversations'],
  ['PageUp, PageDown', 'scroll; Ctrl+Home and Ctrl+End to either end'],
  ['Alt+Up, Alt+Down', 'choose a message, for /reply, /edit, /remove and /add; Esc lets go'],
  ['Ctrl+F', 'search what this session saw; Enter for the match before'],
  ['Up, Down', 'lines of the text; beyond them, texts sent before'],
  ['Ctrl+A, E, W, U, K, Y, T, _', 'begin, end, kill a word, to the begin, to the end, put back, swap, undo'],
  ['Tab', 'complete a command, a name, a path'],
  ['Ctrl+L, Ctrl+Z', 'draw again, suspend'],
  ['Ctrl+C, Ctrl+D', 'clear the line; on an empty one, leave'],
]

/** Left and right in two columns, the right one broken into lines of its own; one below the other where there is little room. */
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
  return ['Commands', ...rows(commands), ...(plain === true ? [] : ['', 'Keys', ...rows(KEYS)])].join('\n')
}
