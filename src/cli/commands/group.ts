/** `asfaleia group`: groups of contacts. The maker of a group signs the list of its members; the others can leave. */
import { fingerprintOf } from '../../client/format/field.ts'
import type { Card } from '../../client/format/card.ts'
import { type Group, GroupError, makeGroup, makeGroupId } from '../../client/format/group.ts'
import type { Content } from '../../client/format/content.ts'
import { readCommandLine } from '../program/arguments.ts'
import { announce } from '../owner/announce.ts'
import { warnOf } from '../disk/folder.ts'
import { type Groups, type KnownGroup, membersOf } from '../profile/groups.ts'
import { needHome } from '../profile/home.ts'
import type { Book } from '../profile/book.ts'
import { composeName, refuseName, showName } from '../../wording/name.ts'
import { openProfile, type Profile } from '../profile/profile.ts'
import { toCliError } from '../talk/refusal.ts'
import { openTalk, REACH_OPTIONS } from '../talk/talk.ts'
import { CliError, printProblem } from '../program/error.ts'
import { EXIT } from '../program/exit.ts'
import type { Io } from '../program/io.ts'
import { formatJson } from '../program/show.ts'
import type { Page } from '../program/page.ts'

export const page = {
  name: 'group',
  shared: { ...REACH_OPTIONS, json: { about: 'print one JSON object a line' } },
  text: `
    Makes and changes groups of 2 to 32 people, including you. The person who makes a group decides who is in it: a group is a list of
    contact cards that they sign and send to all members, and a newer version replaces the older one.

    \`asfaleia send GROUP\` sends a message to each member separately.`,
  verbs: {
    new: {
      summary: 'make a group',
      words: ['NAME', 'CONTACT …'],
      examples: [['make a group with Bob and Carol', 'asfaleia group new tea bob carol']],
    },
    add: {
      summary: 'add contacts to a group that you made',
      words: ['GROUP', 'CONTACT …'],
      examples: [['add Dave to the group', 'asfaleia group add tea dave']],
    },
    remove: {
      summary: 'remove members from a group that you made',
      words: ['GROUP', 'CONTACT …'],
      examples: [['remove Bob from the group', 'asfaleia group remove tea bob']],
    },
    list: { summary: 'list all groups and their members', examples: [['list all groups', 'asfaleia group list']] },
    show: {
      summary: 'show the members of a group',
      words: ['GROUP'],
      examples: [['show the members', 'asfaleia group show tea']],
    },
    leave: {
      summary: 'leave a group',
      words: ['GROUP'],
      text: 'Tells the other members, who then stop sending you messages of the group.',
      examples: [['leave the group', 'asfaleia group leave tea']],
    },
  },
  examples: [
    ['make a group with Bob and Carol', 'asfaleia group new tea bob carol'],
    ['write to all of them', "asfaleia send tea 'the kettle is on'"],
  ],
} as const satisfies Page

export async function run(argv: string[], io: Io): Promise<number> {
  const given = readCommandLine(argv, io, page)
  if (given === undefined) return EXIT.ok
  const json = given.values.json === true
  const { verb, values } = given
  if (verb === 'list' || verb === 'show') {
    const home = needHome(io.env)
    const groups = await home.openGroups()
    warnOf(groups, io)
    const book = await home.openBook((await home.readSettings()).relays)
    return verb === 'list' ? list(groups, book, json, io) : show(groups.need(given.words[0]), book, json, io)
  }
  needHome(io.env)
  const profile = await openProfile(io, values)
  const [name, ...words] = given.words
  switch (verb) {
    case 'new':
      return publish(profile, await make(profile, name, words), [], json, io)
    case 'leave':
      return leave(profile, profile.groups.need(name), json, io)
    case 'add':
    case 'remove':
      return change(profile, profile.groups.need(name), verb === 'add', words, json, io)
  }
}

/** @throws {CliError} */
async function make(profile: Profile, typed: string, words: readonly string[]): Promise<Group> {
  const name = composeName(typed)
  const unfit = refuseName(name, 'group')
  if (unfit !== undefined) throw new CliError(unfit)
  if (profile.book.like(name) !== undefined || profile.groups.like(name) !== undefined)
    throw new CliError('there is already a contact or a group with this name, or one that looks like it')
  return sign(profile, {
    id: makeGroupId(profile.identity.key),
    name,
    version: 1,
    members: [await ownCard(profile), ...words.map((word) => cardOf(profile, word))],
  })
}

async function change(
  profile: Profile,
  known: KnownGroup,
  isAdding: boolean,
  words: readonly string[],
  json: boolean,
  io: Io,
): Promise<number> {
  const { group } = known
  const own = fingerprintOf(profile.identity.key)
  if (fingerprintOf(group.maker) !== own)
    throw new CliError('only the maker of a group can change it, and you did not make this one', {
      hint: '`asfaleia group leave` leaves it',
    })
  const cards = words.map((word) => (isAdding ? cardOf(profile, word) : memberOf(profile, group, word)))
  const named = new Set(cards.map(({ key }) => fingerprintOf(key)))
  if (named.has(own)) throw new CliError('you cannot add or remove yourself', { hint: '`asfaleia group leave` leaves a group' })
  // Takes the newest card of each member.
  const others = group.members
    .filter((card) => !named.has(fingerprintOf(card.key)) && fingerprintOf(card.key) !== own)
    .map((card) => profile.book.find(fingerprintOf(card.key))?.card ?? card)
  const members = [await ownCard(profile), ...others, ...(isAdding ? cards : [])]
  const next = await sign(profile, { id: group.id, name: group.name, version: group.version + 1, members })
  return publish(profile, next, isAdding ? [] : cards, json, io)
}

async function leave(profile: Profile, known: KnownGroup, json: boolean, io: Io): Promise<number> {
  const own = fingerprintOf(profile.identity.key)
  const others = membersOf(known).filter(({ key }) => fingerprintOf(key) !== own)
  const code = await tell(profile, others, { type: 'leave' }, known.group.id, io)
  await profile.groups.remove(known)
  if (profile.home !== undefined) await announce(profile.home, io.env)
  io.stdout.write(json ? `${formatJson({ left: known.name, id: known.group.id })}\n` : `left ${showName(known.name, 'group')}\n`)
  return code
}

async function sign(profile: Profile, group: Pick<Group, 'id' | 'name' | 'version' | 'members'>): Promise<Group> {
  try {
    return await makeGroup(profile.identity, { ...group, time: Math.floor(Date.now() / 1_000) })
  } catch (error) {
    if (!(error instanceof GroupError)) throw error
    throw new CliError(error.message, {
      hint: error.fit === undefined ? 'nothing was changed' : `${error.fit} members fit; nothing was changed`,
    })
  }
}

/** Stores the group, and sends it to all members and to the removed ones. */
async function publish(profile: Profile, group: Group, gone: readonly Card[], json: boolean, io: Io): Promise<number> {
  const { known } = await profile.groups.take(group, (name) => profile.book.like(name) !== undefined)
  if (profile.home !== undefined) await announce(profile.home, io.env)
  const own = fingerprintOf(profile.identity.key)
  const to = [...group.members.filter((card) => fingerprintOf(card.key) !== own), ...gone]
  const code = await tell(profile, to, { type: 'group', card: group.text }, group.id, io)
  show(known, profile.book, json, io)
  return code
}

/** Sends the content to each person, and prints an error for each who was not reached. @returns the exit code */
async function tell(profile: Profile, cards: readonly Card[], content: Content, group: string, io: Io): Promise<number> {
  const contacts = cards.map((card) => profile.book.contactOf(card))
  const talk = await openTalk(profile, io, { what: 'group', relays: [], more: contacts, outbox: profile.outbox })
  try {
    const deliveries = contacts.map((contact) => talk.messenger.send(contact, content, { group, spread: contacts.length > 1 }))
    const failed = new Map<string, unknown>()
    const outcomes = await Promise.all(
      deliveries.map((delivery) =>
        Promise.race([delivery.accepted, talk.refused(delivery).then((error) => void failed.set(delivery.id, error))]),
      ),
    )
    if (io.signal.aborted) throw new CliError('interrupted')
    for (const [index, { id, to, held, error, relay }] of deliveries.entries()) {
      if (outcomes[index] !== undefined && held) continue
      const known = toCliError(failed.get(id) ?? error, io.signal, relay)
      const kept = profile.outbox ? 'the message is in the outbox' : 'send them the group again with `asfaleia group add`'
      printProblem(io, `${showName(to.name)}: ${known instanceof CliError ? known.message : 'internal error'}`, kept)
    }
    return deliveries.every(({ held }) => held) ? EXIT.ok : profile.outbox ? EXIT.unconfirmed : EXIT.failed
  } finally {
    await talk.close()
  }
}

async function ownCard({ home }: Profile): Promise<Card> {
  if (home === undefined) throw new CliError('there is no folder for a card: HOME is not set', { hint: 'set HOME or ASFALEIA_HOME' })
  return home.needCard()
}

function cardOf({ book }: Profile, word: string): Card {
  const { card, name } = book.need(word)
  if (card === undefined)
    throw new CliError(`there is no card of ${name}, only a key`, {
      hint: 'ask for their card: the other members need it to write to them',
    })
  return card
}

/** Finds a member by the name that the user gave them, or by the name on their card. */
function memberOf({ book }: Profile, group: Group, word: string): Card {
  const contact = book.get(word)
  const card = group.members.find((each) =>
    contact === undefined ? each.name === word : fingerprintOf(each.key) === fingerprintOf(contact.key),
  )
  if (card === undefined) throw new CliError('no member of the group has this name', { hint: '`asfaleia group show` lists the members' })
  return card
}

function list(groups: Groups, book: Book, json: boolean, io: Io): number {
  if (groups.list().length === 0 && !json) io.stderr.write('asfaleia: no groups yet; `asfaleia group new NAME CONTACT …` makes one\n')
  for (const known of groups.list())
    io.stdout.write(
      json
        ? `${formatJson(describe(known))}\n`
        : `${showName(known.name, 'group')}  ${known.group.members.map((card) => showCard(book, card)).join(', ')}\n`,
    )
  return EXIT.ok
}

const showCard = (book: Book, { name, key }: Card): string => book.show(name, fingerprintOf(key))

function show(known: KnownGroup, book: Book, json: boolean, io: Io): number {
  if (json) {
    io.stdout.write(`${formatJson(describe(known))}\n`)
    return EXIT.ok
  }
  const { group, left } = known
  const maker = fingerprintOf(group.maker)
  io.stdout.write(`${showName(known.name, 'group')}, version ${group.version}\n`)
  for (const card of group.members) {
    const fingerprint = fingerprintOf(card.key)
    const note = fingerprint === maker ? '  made the group' : left.includes(fingerprint) ? '  left' : ''
    io.stdout.write(`  ${fingerprint}  ${showCard(book, card)}${note}\n`)
  }
  return EXIT.ok
}

function describe({ name, group, left }: KnownGroup): object {
  const members = group.members.map((card) => ({
    name: card.name,
    fingerprint: fingerprintOf(card.key),
    ...(left.includes(fingerprintOf(card.key)) && { left: true }),
  }))
  return { name, id: group.id, version: group.version, maker: fingerprintOf(group.maker), members }
}
