/** `asfaleia join`: makes the user a member of a closed relay, by the link that its operator printed. */
import type { Invite } from '../../client/format/invite.ts'
import { readCommandLine } from '../program/arguments.ts'
import { CliError, printProblem } from '../program/error.ts'
import { EXIT } from '../program/exit.ts'
import type { Io } from '../program/io.ts'
import { formatJson, sanitizeLine } from '../program/show.ts'
import type { Page } from '../program/page.ts'
import { type Home, HOME_VARIABLES, needHome } from '../profile/home.ts'
import { openProfile } from '../profile/profile.ts'
import type { Known } from '../profile/book.ts'
import { formatUntil } from '../service/until.ts'
import { diagnose } from '../talk/diagnosis.ts'
import { addOperator, GREETING, readInvite, readOperator, storeKey } from '../talk/joining.ts'
import { toCliError } from '../talk/refusal.ts'
import { openTalk, REACH_OPTIONS, type Talk } from '../talk/talk.ts'
import { appear } from '../talk/appear.ts'
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

const MOST_CHARACTERS = 65_536

export async function run(argv: string[], io: Io): Promise<number> {
  const given = readCommandLine(argv, io, page)
  if (given === undefined) return EXIT.ok
  const { values, words } = given
  const json = values.json === true
  const [word] = words
  const invite = word === '-' ? readInvite(await readInput(io), 'standard input') : readInvite(word, 'LINK')
  refuseExpired(invite)
  const operator = await readOperator(invite)
  const home = needHome(io.env)
  const isTaken = await giveKey(home, invite, values.replace === true, io)
  const { relays } = await home.readSettings()
  const isNew = relays.length === 0
  const { card, identity } = await bringUpToDate(home, isNew ? { name: values.name ?? invite.name, relay: [invite.relay] } : {}, io)
  if (!isNew && !card.relays.includes(invite.relay)) {
    io.stderr.write(`asfaleia: you receive at your other relays as before; \`asfaleia me --relay\` names where you receive\n`)
  }
  const contact = operator === undefined ? undefined : await addOperator(await home.openBook(card.relays), operator, card.key)
  if (identity !== undefined && isTaken) await appear(card, identity, io, values)
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

/** @throws {CliError} if the invite has expired */
function refuseExpired({ until }: Invite): void {
  if (until === undefined || until * 1_000 > Date.now()) return
  throw new CliError(`this invite has expired: it was good until ${formatUntil(until * 1_000)}`, {
    hint: 'ask the operator for another one',
  })
}

async function readInput(io: Io): Promise<string> {
  let text = ''
  for await (const chunk of io.stdin.setEncoding('utf8')) {
    text += chunk as string
    if (text.length > MOST_CHARACTERS) throw new CliError('standard input is too long for an invite')
  }
  return text
}

/** Stores the key, and says how tor gets it. @returns whether tor took it */
async function giveKey(home: Home, invite: Invite, replace: boolean, io: Io): Promise<boolean> {
  const { isTaken, isAgain, path } = await storeKey(home, invite, replace, io)
  if (isAgain) io.stderr.write(`asfaleia: you have used this invite before; doing the rest again\n`)
  if (!isTaken) {
    io.stderr.write(
      "asfaleia: tor's control port did not take the key. Copy this file to NAME.auth_private in tor's ClientOnionAuthDir,\n" +
        `asfaleia: and reload tor: ${sanitizeLine(path)}\n`,
    )
  }
  return isTaken
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
    throw await diagnose(refusal ?? delivery.error, io, profile.socks, delivery.relay)
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
