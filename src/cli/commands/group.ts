/** `asfaleia group`: groups of contacts. Their maker says, signed, who is in them; everybody else can leave. */
import { fingerprintOf, makeId } from '../../client/format/field.ts'
import type { Card } from '../../client/format/card.ts'
import { type Group, GroupError, makeGroup } from '../../client/format/group.ts'
import type { Content } from '../../client/format/content.ts'
import { openCommandLine } from '../program/arguments.ts'
import { warnOf } from '../disk/folder.ts'
import { type Groups, type KnownGroup, membersOf } from '../profile/groups.ts'
import { needHome } from '../profile/home.ts'
import { openProfile, type Profile } from '../profile/profile.ts'
import { toCliError } from '../talk/refusal.ts'
import { openTalk } from '../talk/talk.ts'
import { CliError, printProblem, UsageError } from '../program/error.ts'
import { EXIT } from '../program/exit.ts'
import type { Io } from '../program/io.ts'
import { formatJson, sanitizeLine } from '../program/show.ts'

const USAGE = 'asfaleia group new|add|remove|list|show|leave …'

const HELP = `usage: asfaleia group new NAME CONTACT …
       asfaleia group add NAME CONTACT …
       asfaleia group remove NAME CONTACT …
       asfaleia group list
       asfaleia group show NAME
       asfaleia group leave NAME

Groups of contacts, 2 to 32 people with you. Who makes a group says who is in it: the group is a list of cards that they sign
and send to all of them, and a later version takes the place of the one before. A message to a group goes to each member by
itself (\`asfaleia send NAME\`). \`leave\` tells the others, who then write to you no more.

  --timeout SECONDS     how long a relay may take to be reached, or to answer; 120 and 60 by default
  --socks HOST:PORT     tor's SOCKS port, 127.0.0.1:9050 by default; also ASFALEIA_SOCKS
  --json                one JSON object a line on stdout
  -h, --help            this text
`

export async function run(argv: string[], io: Io): Promise<number> {
  const options = { timeout: { type: 'string' }, socks: { type: 'string' }, json: { type: 'boolean' } } as const
  const given = openCommandLine(argv, io, { usage: USAGE, help: HELP, options })
  if (given === undefined) return EXIT.ok
  const { values, positionals } = given
  const [verb, name, ...words] = positionals
  const json = values.json === true
  if (verb === 'list' || verb === 'show') {
    const groups = await needHome(io.env).openGroups()
    warnOf(groups, io)
    if ((verb === 'list') !== (name === undefined) || words.length > 0)
      throw new UsageError(verb === 'list' ? 'too many words' : 'a NAME is wanted', { hint: USAGE })
    return verb === 'list' ? list(groups, json, io) : show(groups.need(name!), json, io)
  }
  if (verb === undefined || !['new', 'add', 'remove', 'leave'].includes(verb))
    throw new UsageError('new, add, remove, list, show or leave is wanted', { hint: USAGE })
  if (name === undefined) throw new UsageError('a NAME is wanted', { hint: USAGE })
  if ((verb === 'leave') !== (words.length === 0))
    throw new UsageError(verb === 'leave' ? 'too many words' : 'a CONTACT is wanted', { hint: USAGE })
  needHome(io.env)
  const profile = await openProfile(io, values)
  switch (verb) {
    case 'new':
      return publish(profile, await make(profile, name, words), [], json, io)
    case 'leave':
      return leave(profile, profile.groups.need(name), json, io)
    default:
      return change(profile, profile.groups.need(name), verb === 'add', words, json, io)
  }
}

/** @throws {CliError} */
async function make(profile: Profile, name: string, words: readonly string[]): Promise<Group> {
  if (profile.book.get(name) !== undefined || profile.groups.get(name) !== undefined)
    throw new CliError('there is a contact or a group called so already')
  return sign(profile, { id: makeId(), name, version: 1, members: [await ownCard(profile), ...words.map((word) => cardOf(profile, word))] })
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
    throw new CliError('that group was made by somebody else, who alone can change it', { hint: '`asfaleia group leave` leaves it' })
  const cards = words.map((word) => (isAdding ? cardOf(profile, word) : memberOf(profile, group, word)))
  const named = new Set(cards.map(({ key }) => fingerprintOf(key)))
  if (named.has(own)) throw new CliError('that is you', { hint: '`asfaleia group leave` leaves it' })
  // Everybody by the card that is known now.
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
  io.stdout.write(json ? `${formatJson({ left: known.name, id: known.group.id })}\n` : `left ${sanitizeLine(known.name)}\n`)
  return code
}

async function sign(profile: Profile, group: Pick<Group, 'id' | 'name' | 'version' | 'members'>): Promise<Group> {
  try {
    return await makeGroup(profile.identity, { ...group, time: Math.floor(Date.now() / 1_000) })
  } catch (error) {
    if (!(error instanceof GroupError)) throw error
    throw new CliError(error.message, {
      hint: error.fit === undefined ? 'nothing was changed' : `${error.fit} of them fit; nothing was changed`,
    })
  }
}

/** Keeps the group, and sends it to all who are in it, and to who is no longer. */
async function publish(profile: Profile, group: Group, gone: readonly Card[], json: boolean, io: Io): Promise<number> {
  const { known } = await profile.groups.take(group, (name) => profile.book.get(name) !== undefined)
  const own = fingerprintOf(profile.identity.key)
  const to = [...group.members.filter((card) => fingerprintOf(card.key) !== own), ...gone]
  const code = await tell(profile, to, { type: 'group', card: group.text }, group.id, io)
  show(known, json, io)
  return code
}

/** Tells each of them; who was not reached is said. @returns the exit code */
async function tell(profile: Profile, cards: readonly Card[], content: Content, group: string, io: Io): Promise<number> {
  const contacts = cards.map((card) => profile.book.contactOf(card))
  const talk = await openTalk(profile, io, { relays: [], more: contacts, outbox: profile.outbox })
  try {
    const deliveries = contacts.map((contact) => talk.messenger.send(contact, content, { group }))
    const failed = new Map<string, unknown>()
    const outcomes = await Promise.all(
      deliveries.map((delivery) =>
        Promise.race([delivery.accepted, talk.refused(delivery).then((error) => void failed.set(delivery.id, error))]),
      ),
    )
    if (io.signal.aborted) throw new CliError('interrupted')
    for (const [index, { id, to, held, error }] of deliveries.entries()) {
      if (outcomes[index] !== undefined && held) continue
      const known = toCliError(failed.get(id) ?? error, io.signal)
      const kept = profile.outbox ? 'it is in the outbox' : 'send them the group again by `asfaleia group add`'
      printProblem(io, `${to.name}: ${known instanceof CliError ? known.message : 'internal error'}`, kept)
    }
    return deliveries.every(({ held }) => held) ? EXIT.ok : profile.outbox ? EXIT.unconfirmed : EXIT.failed
  } finally {
    await talk.close()
  }
}

async function ownCard({ home }: Profile): Promise<Card> {
  const card = await home?.readCard()
  if (card === undefined) throw new CliError('there is no card of yours', { hint: '`asfaleia me --name NAME --relay ADDRESS` makes it' })
  return card
}

function cardOf({ book }: Profile, word: string): Card {
  const { card, name } = book.need(word)
  if (card === undefined)
    throw new CliError(`${name} gave no card, but a key alone`, { hint: 'ask for their card: the others need it to write to them' })
  return card
}

/** A member by what its owner calls them, or by the name of their card. */
function memberOf({ book }: Profile, group: Group, word: string): Card {
  const contact = book.get(word)
  const card = group.members.find((each) =>
    contact === undefined ? each.name === word : fingerprintOf(each.key) === fingerprintOf(contact.key),
  )
  if (card === undefined) throw new CliError('nobody of that name is in the group', { hint: '`asfaleia group show` says who is' })
  return card
}

function list(groups: Groups, json: boolean, io: Io): number {
  if (groups.list().length === 0 && !json) io.stderr.write('asfaleia: no groups yet; `asfaleia group new NAME CONTACT …` makes one\n')
  for (const known of groups.list())
    io.stdout.write(
      json
        ? `${formatJson(describe(known))}\n`
        : `${sanitizeLine(known.name)}  ${known.group.members.map(({ name }) => sanitizeLine(name)).join(', ')}\n`,
    )
  return EXIT.ok
}

function show(known: KnownGroup, json: boolean, io: Io): number {
  if (json) {
    io.stdout.write(`${formatJson(describe(known))}\n`)
    return EXIT.ok
  }
  const { group, left } = known
  const maker = fingerprintOf(group.maker)
  io.stdout.write(`${sanitizeLine(known.name)}, version ${group.version}\n`)
  for (const card of group.members) {
    const fingerprint = fingerprintOf(card.key)
    const note = fingerprint === maker ? '  made it' : left.includes(fingerprint) ? '  left' : ''
    io.stdout.write(`  ${fingerprint}  ${sanitizeLine(card.name)}${note}\n`)
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
