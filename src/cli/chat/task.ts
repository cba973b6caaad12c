/** Performs the commands about people: `/card`, `/verify`, `/add`, `/group`, `/mute` and `/expires`. */
import { type Card, findCard, parseCard } from '../../client/format/card.ts'
import { fingerprintOf } from '../../client/format/field.ts'
import type { Group } from '../../client/format/group.ts'
import { randomart, safetyWords } from '../../client/format/safety.ts'
import type { KnownGroup } from '../profile/groups.ts'
import { showName } from '../../wording/name.ts'
import { CliError } from '../program/error.ts'
import { GREETING } from '../talk/joining.ts'
import { formatSpan } from '../program/span.ts'
import type { Context } from './context.ts'
import type { Dispatch } from './dispatch.ts'
import type { Effect } from './input.ts'
import { describeChange, drawUp } from './group.ts'
import { conversationOf } from './people.ts'
import { NO_CARD } from './wording.ts'

export function showCard(context: Context): void {
  const { card } = context.options
  if (card === undefined) return context.tell(NO_CARD, true)
  const title = 'your card: give it to people who should write to you'
  context.put({ kind: 'show', title, text: card.link })
}

/** Shows the safety words of a contact, or records that they are the same. @throws {CliError} */
export async function verify(context: Context, fingerprint: string, confirmed: boolean): Promise<void> {
  const { people, identity } = context.options
  const known = people.book.find(fingerprint)
  if (known === undefined) throw new CliError('this person is not in your contacts: ask for their card, and add it with /add')
  if (confirmed) {
    await people.book.verify(known)
    context.showPeople()
    return context.tell(`${showName(known.name)} is verified`)
  }
  const words = await safetyWords(identity.key, known.key)
  const lines = [0, 4, 8].map((start) => `  ${words.slice(start, start + 4).join('  ')}`)
  const text = [
    'Read these words to each other over another channel, such as a phone call:',
    '',
    ...lines,
    '',
    'If you both see the same words, this key is theirs: type /verify yes',
    'If not, someone is between you.',
    '',
    fingerprint,
    ...randomart(known.key),
  ]
  context.put({ kind: 'show', title: `is this ${showName(known.name)}?`, text: text.join('\n') })
}

/** Stores a rule for a conversation. @throws {CliError} */
export async function keepRule(context: Context, effect: Extract<Effect, { kind: 'mute' | 'expires' }>): Promise<void> {
  const { people } = context.options
  const { conversation } = effect
  if (effect.kind === 'mute') await people.rules.setMuted(conversation, effect.on)
  else await people.rules.setExpires(conversation, effect.seconds)
  context.showPeople()
  if (effect.kind === 'mute')
    return context.tell(effect.on ? 'muted: its messages do not notify you; /mute off ends that' : 'no longer muted')
  context.tell(
    effect.seconds === undefined
      ? 'messages that you write here stay from now on'
      : `messages that you write here ask to be erased ${formatSpan(effect.seconds)} after reading; nothing can force the other side`,
  )
}

/**
 * Adds the card of a person to the contacts.
 * @param text the card, or a text around the link of one
 * @throws {CliError | CardError}
 */
export async function add(context: Context, text: string, name: string | undefined): Promise<void> {
  const { people } = context.options
  const card = (await findCard(text)) ?? (await parseCard(text))
  if (fingerprintOf(card.key) === context.me) throw new CliError('this is your own card')
  const isGroup = (each: string): boolean => people.groups.like(each) !== undefined
  const added = await people.book.add({ card }, name, isGroup).catch((error: unknown) => {
    if (!(error instanceof CliError) || error.hint?.includes('--name') !== true) throw error
    throw new CliError(`${error.message}; /add NAME gives another name`)
  })
  const { contact } = added
  context.showPeople()
  switch (added.kind) {
    case 'added':
      context.put({ kind: 'open', conversation: fingerprintOf(contact.key) })
      return context.tell(`${showName(contact.name)} is now a contact; /verify shows the safety words to compare`)
    case 'changed': {
      const changes = added.changes.map(({ what, before, after }) => `${what} ${before} → ${after}`)
      return context.tell(`updated ${showName(contact.name)}: ${changes.length === 0 ? 'a newer card' : changes.join('; ')}`)
    }
    case 'unchanged':
      return context.tell(`you already have this card of ${showName(contact.name)}`)
  }
}

/** Joins a closed relay, and writes to its operator. @throws {CliError} */
export async function join(context: Context, dispatch: Dispatch, invite: string): Promise<void> {
  const joined = await context.options.join?.(invite)
  if (joined === undefined) throw new CliError('there is no folder for the key of the relay')
  const { operator, text } = joined
  if (operator !== undefined) {
    dispatch.post(operator, { type: 'text', text: GREETING }, undefined)
    context.showPeople()
    context.put({ kind: 'open', conversation: fingerprintOf(operator.key) })
  }
  context.tell(text)
}

/** Creates, changes or leaves a group. @throws {CliError | GroupError} */
export async function changeGroup(
  context: Context,
  dispatch: Dispatch,
  known: KnownGroup | undefined,
  words: readonly string[],
): Promise<void> {
  if (known !== undefined && words[0] === 'leave') return leave(context, dispatch, known)
  const { group, told } = await drawUp(known, words, context.options, Math.floor(context.now() / 1_000))
  await announce(context, dispatch, group, told)
}

async function leave(context: Context, dispatch: Dispatch, known: KnownGroup): Promise<void> {
  const { people } = context.options
  const { group } = known
  const conversation = conversationOf({ group })
  for (const contact of people.receivers(conversation)) dispatch.post(contact, { type: 'leave' }, group.id)
  await people.leave(known)
  context.showPeople()
  context.put({ kind: 'note', conversation, text: 'you left' })
}

async function announce(context: Context, dispatch: Dispatch, group: Group, told: readonly Card[]): Promise<void> {
  const { people } = context.options
  const { change } = await people.groups.take(group, people.isTaken)
  context.showPeople()
  for (const each of told) {
    const fingerprint = fingerprintOf(each.key)
    if (fingerprint === context.me) continue
    dispatch.post(people.find(fingerprint) ?? people.book.contactOf(each), { type: 'group', card: group.text }, group.id)
  }
  const conversation = conversationOf({ group })
  context.put({ kind: 'open', conversation })
  context.put({ kind: 'note', conversation, text: change === undefined ? 'you made this group' : describeChange(change, people) })
}
