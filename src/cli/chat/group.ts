/** Groups as the chat changes them: by `/group`, and by the cards that contacts send. Who is told of it is the session's. */
import type { Card } from '../../client/format/card.ts'
import { fingerprintOf, makeId } from '../../client/format/field.ts'
import { compareGroups, type Group, type GroupChange, GroupError, makeGroup, parseGroup } from '../../client/format/group.ts'
import type { Identity } from '../../client/format/identity.ts'
import type { KnownGroup } from '../profile/groups.ts'
import { CliError } from '../program/error.ts'
import { GROUP, type People } from './people.ts'

/** Who changes them. */
export interface Maker {
  readonly people: People
  readonly identity: Identity
  /** One's own, where there is one. */
  readonly card?: Card
}

export interface Drawn {
  readonly group: Group
  /** Who is in it, and who is no longer. */
  readonly told: readonly Card[]
}

export type Shown =
  | { readonly conversation: string; readonly text: string; readonly card?: string }
  | { readonly conversation: string; readonly note: string; /** The groups are others now. */ readonly isTaken?: true }

/**
 * The group that `/group new`, `add` or `drop` asks for, signed, and who is to have it.
 * @param now seconds since 1970
 * @throws {CliError | GroupError}
 */
export async function drawUp(
  known: KnownGroup | undefined,
  [verb, ...names]: readonly string[],
  { people, identity, card }: Maker,
  now: number,
): Promise<Drawn> {
  if (verb === 'new') {
    const [name, ...members] = names
    if (name === undefined || members.length === 0) throw new CliError('/group new NAME MEMBER …')
    if (card === undefined) throw new CliError('you have no card yet: `asfaleia me` makes it')
    const made = await makeGroup(identity, {
      id: makeId(),
      name,
      version: 1,
      time: now,
      members: [card, ...members.map((each) => cardOf(people, each))],
    })
    return { group: made, told: made.members }
  }
  if (known === undefined) throw new CliError('this is no group: /to NAME opens one, /group new makes one')
  const { group } = known
  const [name] = names
  if ((verb !== 'add' && verb !== 'drop') || name === undefined) throw new CliError('/group add NAME, drop NAME, or leave')
  if (fingerprintOf(group.maker) !== fingerprintOf(identity.key))
    throw new CliError(`only ${people.nameOf(fingerprintOf(group.maker))}, who made this group, changes it`)
  const who = verb === 'add' ? cardOf(people, name) : group.members.find((card) => people.callOf(card).replace(/^~/, '') === name)
  if (who === undefined) throw new CliError('there is no member of that name')
  const others = group.members.filter(({ key }) => fingerprintOf(key) !== fingerprintOf(who.key))
  const members = verb === 'add' ? [...others, who] : others
  const next = await makeGroup(identity, {
    id: group.id,
    name: group.name,
    version: group.version + 1,
    time: Math.max(now, group.time),
    members,
  })
  // Who is out of it is told, too.
  return { group: next, told: [...next.members, ...(verb === 'drop' ? [who] : [])] }
}

function cardOf({ book }: People, name: string): Card {
  const { card } = book.need(name)
  if (card === undefined) throw new CliError(`${name} is known without a card: ask for it`)
  return card
}

/** What a newer version of a group says otherwise. */
export function describeChange(change: GroupChange, people: People): string {
  if (change.kind !== 'newer') return 'nothing changed'
  const names = (cards: readonly Card[]): string => cards.map((card) => people.callOf(card)).join(', ')
  return (
    [
      ...(change.joined.length === 0 ? [] : [`joined: ${names(change.joined)}`]),
      ...(change.left.length === 0 ? [] : [`out: ${names(change.left)}`]),
      ...(change.renamed === undefined ? [] : [`its maker called it ${change.renamed} before`]),
      ...(change.changed.length === 0 ? [] : [`new card: ${names(change.changed)}`]),
    ].join('; ') || 'signed again'
  )
}

/** A group card that came from a contact: a newer one of a group that one is in is taken. @returns what is shown of it */
export async function takeCard(text: string, from: string, { people, identity }: Maker): Promise<Shown> {
  let group: Group
  try {
    group = await parseGroup(text)
  } catch (error) {
    if (!(error instanceof GroupError)) throw error
    return { conversation: from, text: `(the card of a group that is not good: ${error.message})` }
  }
  const conversation = GROUP + group.id
  const known = people.groupOf(conversation)
  if (known === undefined) {
    if (fingerprintOf(group.maker) !== from)
      return { conversation: from, text: `(passes on the card of a group that somebody else made: "${group.name}")` }
    const names = group.members.map((card) => people.callOf(card)).join(', ')
    return { conversation: from, text: `asks you into the group "${group.name}": ${names}. /add takes part`, card: text }
  }
  const isMember = group.members.some(({ key }) => fingerprintOf(key) === fingerprintOf(identity.key))
  const change = compareGroups(known.group, group)
  switch (change.kind) {
    case 'other':
      return { conversation: from, text: '(the card of another group under the id of one that you are in; it was not taken)' }
    case 'same':
    case 'older':
      return { conversation, note: `${people.nameOf(from)} sent the card of the group again` }
    case 'conflict':
      return { conversation, note: 'the maker signed two cards of one version; the first one is kept' }
    case 'newer': {
      const note = isMember ? describeChange(change, people) : 'you are out of this group'
      if (isMember) await people.groups.take(group, people.isTaken)
      else await people.leave(known)
      return { conversation, note, isTaken: true }
    }
  }
}
