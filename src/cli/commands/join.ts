/** `asfaleia join`: makes the user a member of a closed relay, by the link that its operator printed. */
import { type Card, CardError, parseCard } from '../../client/format/card.ts'
import { fingerprintOf } from '../../client/format/field.ts'
import { type Invite, InviteError, parseInvite } from '../../client/format/invite.ts'
import { readCommandLine } from '../program/arguments.ts'
import { CliError, printProblem } from '../program/error.ts'
import { EXIT } from '../program/exit.ts'
import type { Io } from '../program/io.ts'
import { formatJson, sanitizeLine } from '../program/show.ts'
import type { Page } from '../program/page.ts'
import { type Home, HOME_VARIABLES, needHome } from '../profile/home.ts'
import { handToTor, Onions } from '../profile/onions.ts'
import { openProfile } from '../profile/profile.ts'
import type { Book, Known } from '../profile/book.ts'
import { formatUntil } from '../service/until.ts'
import { diagnose, findControls } from '../talk/diagnosis.ts'
import { toCliError } from '../talk/refusal.ts'
import { openTalk, REACH_OPTIONS, type Talk } from '../talk/talk.ts'
import { bringUpToDate } from './me.ts'

export const page = {
  name: 'join',
  words: ['LINK'],
  options: {
    name: { value: 'NAME', about: 'what you call yourself, if you have no profile yet; by default the name in the invite' },
    replace: { about: 'replace the key that you have for this relay already' },
    ...REACH_OPTIONS,
    json: { about: 'print one JSON object' },
  },
  variables: {
    ...HOME_VARIABLES,
    ASFALEIA_TOR_CONTROL: `tor's control port or socket, instead of unix:/run/tor/control and 127.0.0.1:9051. Your user must be able to
      read tor's cookie; on Debian, join the group debian-tor`,
  },
  text: `
    Joins a closed relay. LINK is the invite that the operator of the relay gave you; \`-\` reads it from standard input. Prefer standard
    input: other users of this machine can see the command line in \`ps\`, and the link contains a key.

    Stores the key and hands it to tor, makes a profile that receives at the relay if you have none, adds the operator's card to your
    contacts and sends them a contact request with yours. Prints the link of your own card. If a step fails, run the same command again.`,
  examples: [['join the relay of an invite', 'asfaleia join - < invite.txt']],
} as const satisfies Page

/** The text of the contact request to the operator, which carries the newcomer's card. */
const GREETING = 'I have joined your relay.'
const MOST_CHARACTERS = 65_536

export async function run(argv: string[], io: Io): Promise<number> {
  const given = readCommandLine(argv, io, page)
  if (given === undefined) return EXIT.ok
  const { values, words } = given
  const json = values.json === true
  const invite = await readInvite(words[0], io)
  const operator = await readCard(invite)
  const home = needHome(io.env)
  const isTaken = await storeKey(home, invite, values.replace === true, io)
  const { relays } = await home.readSettings()
  const isNew = relays.length === 0
  const card = await bringUpToDate(home, isNew ? { name: values.name ?? invite.name, relay: [invite.relay] } : {}, io)
  if (!isNew && !card.relays.includes(invite.relay)) {
    io.stderr.write(`asfaleia: you receive at your other relays as before; \`asfaleia me --relay\` names where you receive\n`)
  }
  const contact = operator === undefined ? undefined : await addContact(home, operator, card)
  const sent = contact === undefined ? undefined : await sendCard(contact, values, isTaken, io)
  if (json) {
    const more = contact === undefined ? {} : { contact: contact.name, sent: sent === EXIT.ok }
    io.stdout.write(`${formatJson({ relay: invite.relay, tor: isTaken, ...more, link: card.link })}\n`)
  } else {
    io.stdout.write(`joined ${invite.relay}\n`)
    if (contact !== undefined) io.stdout.write(`${sent === EXIT.ok ? 'sent your card to' : 'added'} ${sanitizeLine(contact.name)}\n`)
    io.stdout.write(`${card.link}\n`)
    if (contact === undefined) io.stderr.write('asfaleia: the link above is your card: give it to the operator, and ask for theirs\n')
  }
  return sent ?? EXIT.ok
}

async function readInvite(word: string, io: Io): Promise<Invite> {
  const source = word === '-' ? 'standard input' : 'LINK'
  let invite: Invite
  try {
    invite = parseInvite(word === '-' ? await readInput(io) : word)
  } catch (error) {
    if (!(error instanceof InviteError)) throw error
    throw new CliError(`${source}: ${error.message}`, {
      hint: 'nothing was changed; copy the whole link, or ask the operator for it again',
    })
  }
  const until = invite.until === undefined ? undefined : invite.until * 1_000
  if (until === undefined || until > Date.now()) return invite
  throw new CliError(`this invite has expired: it was good until ${formatUntil(until)}`, { hint: 'ask the operator for another one' })
}

async function readInput(io: Io): Promise<string> {
  let text = ''
  for await (const chunk of io.stdin.setEncoding('utf8')) {
    text += chunk as string
    if (text.length > MOST_CHARACTERS) throw new CliError('standard input is too long for an invite')
  }
  return text
}

async function readCard({ card }: Invite): Promise<Card | undefined> {
  if (card === undefined) return undefined
  try {
    return await parseCard(card)
  } catch (error) {
    if (!(error instanceof CardError)) throw error
    throw new CliError(`the operator's card in the invite: ${error.message}`, {
      hint: 'nothing was changed; ask the operator for another invite',
    })
  }
}

/** Stores the key and hands it to tor. @returns whether tor took it */
async function storeKey(home: Home, { relay, key }: Invite, replace: boolean, io: Io): Promise<boolean> {
  const onions = new Onions(home.onionFolder)
  const known = await onions.read(relay)
  if (known !== undefined && known.key !== key && !replace) {
    throw new CliError(`you are a member of ${relay} already, with another key`, {
      hint: 'nothing was changed; if the operator gave you a new invite, because the old one ended, add --replace',
    })
  }
  if (known?.key === key) io.stderr.write(`asfaleia: you have used this invite before; doing the rest again\n`)
  const controls = findControls(io)
  await onions.add({ address: relay, key })
  const isTaken = await handToTor({ address: relay, key }, controls)
  if (!isTaken) {
    io.stderr.write(
      "asfaleia: tor's control port did not take the key. Copy this file to NAME.auth_private in tor's ClientOnionAuthDir,\n" +
        `asfaleia: and reload tor: ${sanitizeLine(onions.path(relay))}\n`,
    )
  }
  return isTaken
}

/** Adds the operator to the contacts, under another name if a contact has theirs. */
async function addContact(home: Home, operator: Card, own: Card): Promise<Known | undefined> {
  // The operator tries the invite.
  if (fingerprintOf(operator.key) === fingerprintOf(own.key)) return undefined
  const book = await home.openBook(own.relays)
  const isKnown = book.find(fingerprintOf(operator.key)) !== undefined
  const name = isKnown ? undefined : findFreeName(book, operator.name)
  return (await book.add({ card: operator }, name)).contact
}

function findFreeName(book: Book, wanted: string): string {
  let name = wanted
  for (let n = 2; book.get(name) !== undefined; n++) name = `${wanted} ${n}`
  return name
}

/** @returns the exit code */
async function sendCard(
  contact: Known,
  reach: { readonly socks?: string; readonly timeout?: string },
  isTaken: boolean,
  io: Io,
): Promise<number> {
  const { socks, timeout } = reach
  const profile = await openProfile(io, { ...(socks !== undefined && { socks }), ...(timeout !== undefined && { timeout }) })
  let talk: Talk | undefined
  try {
    talk = await openTalk(profile, io, { what: 'join', relays: [], outbox: false, socks })
    const delivery = talk.messenger.send(contact, { type: 'text', text: GREETING })
    let refusal: unknown
    await Promise.race([delivery.accepted, talk.refused(delivery).then((error) => (refusal = error))])
    io.signal.throwIfAborted()
    if (delivery.held) return EXIT.ok
    throw await diagnose(refusal ?? delivery.error, io, profile.socks)
  } catch (error) {
    const problem = toCliError(error, io.signal)
    if (!(problem instanceof CliError)) throw problem
    const hint = isTaken
      ? 'your card was not sent: when this works, run the same command again'
      : 'give tor the key as above, and run the same command again'
    printProblem(io, problem.message, hint)
    return problem.exitCode
  } finally {
    await talk?.close()
  }
}
