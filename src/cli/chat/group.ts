/** Changes groups: by the user's `/group`, and by group cards from contacts. */
import type { Card } from '../../client/format/card.ts'
import { fingerprintOf } from '../../client/format/field.ts'
import { compareGroups, type Group, type GroupChange, GroupError, makeGroup, makeGroupId, parseGroup } from '../../client/format/group.ts'
import type { Identity } from '../../client/format/identity.ts'
import { didYouMean } from '../../nearest.ts'
import { type KnownGroup, MOST_GROUPS } from '../profile/groups.ts'
import { composeName, quoteName, refuseName, showName } from '../../wording/name.ts'
import { CliError } from '../program/error.ts'
import { conversationOf, type People } from './people.ts'
import { NO_CARD } from './wording.ts'

/** The user, with their people. */
export interface Maker {
  readonly people: People
  readonly identity: Identity
  /** The user's card, if there is one. */
  readonly card?: Card
}

export interface Drawn {
  readonly group: Group
  /** The members, and the former member, who get the new version. */
  readonly told: readonly Card[]
}

export type Shown =
  | { readonly conversation: string; readonly text: string }
  | {
      readonly conversation: string
      readonly note: string
      /** The list of groups changed. */
      readonly isTaken?: true
      /** The user is in a new group. */
      readonly isJoined?: true
    }

/**
 * Makes and signs the group that `/group new`, `add` or `drop` asks for.
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
    const [typed, ...members] = names
    if (typed === undefined || members.length === 0) throw new CliError('usage: /group new NAME MEMBER …')
    if (card === undefined) throw new CliError(NO_CARD)
    const name = composeName(typed)
    const unfit = refuseName(name, 'group')
    if (unfit !== undefined) throw new CliError(unfit)
    const made = await makeGroup(identity, {
      id: makeGroupId(identity.key),
      name,
      version: 1,
      time: now,
      members: [card, ...members.map((each) => cardOf(people, each))],
    })
    return { group: made, told: made.members }
  }
  if (known === undefined) throw new CliError('this conversation is not a group; open one with /to NAME, or create one with /group new')
  const { group } = known
  const [name, ...more] = names
  if ((verb !== 'add' && verb !== 'drop') || name === undefined || more.length > 0)
    throw new CliError('usage: /group add NAME, /group drop NAME or /group leave')
  if (fingerprintOf(group.maker) !== fingerprintOf(identity.key))
    throw new CliError(`only ${people.nameOf(fingerprintOf(group.maker))}, who made this group, can change it`)
  const callOf = (member: Card): string => people.callOf(member).replace(/^[~?]+/, '')
  const who = verb === 'add' ? cardOf(people, name) : group.members.find((member) => callOf(member) === name)
  if (who === undefined) throw new CliError(`no member matches "${name}"${didYouMean(name, group.members.map(callOf))}`)
  const others = group.members.filter(({ key }) => fingerprintOf(key) !== fingerprintOf(who.key))
  const members = verb === 'add' ? [...others, who] : others
  const next = await makeGroup(identity, {
    id: group.id,
    name: group.name,
    version: group.version + 1,
    time: Math.max(now, group.time),
    members,
  })
  // A member who was dropped gets the new version, too.
  return { group: next, told: [...next.members, ...(verb === 'drop' ? [who] : [])] }
}

function cardOf({ book }: People, name: string): Card {
  const { card } = book.need(name)
  if (card === undefined) throw new CliError(`your contact "${name}" has no card: ask them for it`)
  return card
}

/** Describes the changes in a newer version of a group. */
export function describeChange(change: GroupChange, people: People): string {
  if (change.kind !== 'newer') return 'nothing changed'
  const names = (cards: readonly Card[]): string => cards.map((card) => people.callOf(card)).join(', ')
  return (
    [
      ...(change.joined.length === 0 ? [] : [`joined: ${names(change.joined)}`]),
      ...(change.left.length === 0 ? [] : [`removed: ${names(change.left)}`]),
      ...(change.renamed === undefined ? [] : [`renamed; its old name is ${showName(change.renamed, 'group')}`]),
      ...(change.changed.length === 0 ? [] : [`new card: ${names(change.changed)}`]),
    ].join('; ') || 'the maker signed the group again'
  )
}

/**
 * Handles a group card from a contact: joins a new group of theirs, or takes a newer version of one that the user is in.
 * @returns the text or note to show
 */
export async function takeCard(text: string, from: string, { people, identity }: Maker): Promise<Shown> {
  let group: Group
  try {
    group = await parseGroup(text)
  } catch (error) {
    if (!(error instanceof GroupError)) throw error
    return { conversation: from, text: `(an invalid group: ${error.message})` }
  }
  const conversation = conversationOf({ group })
  const known = people.groupOf(conversation)
  const isMember = group.members.some(({ key }) => fingerprintOf(key) === fingerprintOf(identity.key))
  if (known === undefined) {
    if (fingerprintOf(group.maker) !== from)
      return { conversation: from, text: `(forwards the group ${quoteName(group.name)}, which someone else made)` }
    if (!isMember || !people.isContact(from)) return { conversation: from, text: `(the group ${quoteName(group.name)})` }
    if (people.groups.list().length >= MOST_GROUPS)
      return {
        conversation: from,
        text: `(the group ${quoteName(group.name)}; you are in ${MOST_GROUPS} groups already, so it was not added)`,
      }
    const joined = await people.groups.take(group, people.isTaken)
    const note = `you are in ${showName(joined.known.name, 'group')}; /group leave leaves it`
    return { conversation: conversationOf(joined.known), note, isTaken: true, isJoined: true }
  }
  const change = compareGroups(known.group, group)
  switch (change.kind) {
    // Not of a group that was found by its id and maker.
    case 'other':
    case 'same':
    case 'older':
      return { conversation, note: `${people.nameOf(from)} sent the current version of the group again` }
    case 'conflict':
      return { conversation, note: 'the maker signed two different groups with the same version; the first one stays' }
    case 'newer': {
      const note = isMember ? describeChange(change, people) : 'you are no longer in this group'
      if (isMember) await people.groups.take(group, people.isTaken)
      else await people.leave(known)
      return { conversation, note, isTaken: true }
    }
  }
}
