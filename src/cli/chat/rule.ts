/** Handles the commands that set a rule for the open conversation: `/mute` and `/expires`. */
import { EXPIRES } from '../../client/format/message.ts'
import { formatSpan, parseSpan } from '../program/span.ts'
import type { Conversation } from './conversation.ts'
import type { Typed } from './input.ts'
import type { Step } from './step.ts'

/** @param done called if the command is right, to clear its line */
export function setMute(step: Step, open: Conversation | undefined, rest: string, command: Typed, done: () => void): void {
  if (open?.kind !== 'contact' && open?.kind !== 'group') return step.tell('/mute needs a conversation; open one with /to NAME', 'bad')
  if (rest !== '' && rest !== 'off') return step.tell('usage: /mute, or /mute off', 'bad')
  done()
  step.effects.push({ kind: 'mute', conversation: open.id, on: rest === '', command })
}

/** As {@link setMute}. */
export function setExpires(step: Step, open: Conversation | undefined, rest: string, command: Typed, done: () => void): void {
  if (open?.kind !== 'contact' && open?.kind !== 'group') return step.tell('/expires needs a conversation; open one with /to NAME', 'bad')
  if (rest === '') {
    const now =
      open.expires === undefined ? 'messages here stay' : `messages here disappear ${formatSpan(open.expires)} after they were read`
    return step.tell(`${now}; to change that, /expires 1h or /expires off`)
  }
  const seconds = rest === 'off' ? undefined : parseSpan(rest, EXPIRES.least, EXPIRES.most)
  if (seconds === undefined && rest !== 'off') return step.tell('expected a time from 5s to 90d, such as 30m, 1h or 7d, or off', 'bad')
  done()
  step.effects.push({ kind: 'expires', conversation: open.id, seconds, command })
}
