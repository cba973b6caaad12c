/** Contact requests for people: their lines, how a command finds one by its name, and what accepting one does. */
import { fingerprintOf, formatKey, formatTime } from '../../client/format/field.ts'
import { GroupError, parseGroup } from '../../client/format/group.ts'
import type { SshKey } from '../../auth/ssh-key.ts'
import { didYouMean } from '../../nearest.ts'
import { fold } from '../../profile/entry.ts'
import type { Blocked } from '../profile/blocked.ts'
import type { Book, Known } from '../profile/book.ts'
import { type Groups, type KnownGroup, MOST_GROUPS } from '../profile/groups.ts'
import { showName } from '../../wording/name.ts'
import type { ContactRequest, RequestMessage } from '../profile/requests.ts'
import { CliError } from '../program/error.ts'
import { quoteWord, sanitize, sanitizeLine } from '../program/show.ts'

/** The hint after a list of requests. */
export const DECIDE_HINT = 'to answer: `asfaleia contact accept PERSON`, or `contact ignore`, or `contact block`'

/** Returns the requests that wait for a decision. */
export function waitingOf(requests: readonly ContactRequest[], book: Book, blocked: Blocked): readonly ContactRequest[] {
  return requests.filter(({ card }) => book.find(fingerprintOf(card.key)) === undefined && !blocked.has(fingerprintOf(card.key)))
}

/** Formats one message of a request. @param when the time of the message, behind the name; '' for none */
export function formatRequest({ card }: ContactRequest, { text, called }: RequestMessage, book: Book, when = ''): string {
  const who = `${book.show(card.name, fingerprintOf(card.key))} (not in your contacts)${when === '' ? '' : ` ${when}`} wants to talk`
  const invites = called === undefined ? '' : `, and invites you to the group ${showName(called, 'group')}`
  // Its further lines are indented, so that a text cannot contain a line that looks like another message.
  const said = text === '' ? '' : `: "${sanitize(text).replace(/\n$/, '').replaceAll('\n', '\n  ')}"`
  return `${who}${invites}${said}`
}

/** Describes one message of a request as JSON. */
export function describeRequest({ card }: ContactRequest, { id, time, text, called, expires }: RequestMessage): object {
  return {
    // Only a genuine message makes a request.
    verdict: 'genuine',
    request: true,
    from: { fingerprint: fingerprintOf(card.key), key: formatKey(card.key) },
    // A name of the sender's own choice must not look like that of a contact.
    called: card.name,
    id,
    time: formatTime(time),
    ...(text !== '' && { text }),
    ...(called !== undefined && { group: { called } }),
    ...(expires !== undefined && { expires }),
    link: card.link,
  }
}

/** Finds a request by the name on its card, or by the fingerprint of its key. @returns undefined if there is none */
export function findRequest(requests: readonly ContactRequest[], word: string): ContactRequest | undefined {
  const isOf = ({ card }: ContactRequest): boolean =>
    word.startsWith('SHA256:') ? fingerprintOf(card.key) === word : fold(card.name) === fold(word)
  const found = requests.filter(isOf)
  if (found.length > 1) {
    const fingerprints = found.map(({ card }) => fingerprintOf(card.key)).join(', ')
    throw new CliError(`several people call themselves ${showName(word)}: ${fingerprints}`, {
      hint: 'name one of them by the fingerprint; ask each over another channel who they are',
    })
  }
  return found[0]
}

/** As {@link findRequest}. @throws {CliError} if there is none */
export function needRequest(requests: readonly ContactRequest[], word: string): ContactRequest {
  const request = findRequest(requests, word)
  if (request !== undefined) return request
  const names = requests.map(({ card }) => card.name)
  throw new CliError(`no contact request matches ${showName(word)}${didYouMean(word, names)}`, {
    hint: '`asfaleia contact requests` lists them',
  })
}

/** Tells the user that they are in a group now. */
export function describeJoined(name: string): string {
  return `you are in ${showName(name, 'group')}; \`asfaleia group leave ${sanitizeLine(quoteWord(name))}\` leaves it`
}

export interface Accepted {
  readonly contact: Known
  /** The groups that the person had invited the user to. */
  readonly joined: readonly KnownGroup[]
}

/**
 * Makes the sender of a request a contact, and joins the groups that they had invited the user to.
 * @param name the user's name for them; by default the one on their card
 * @throws {CliError} if the name is taken or cannot be a name
 */
export async function acceptRequest(
  { card, messages }: ContactRequest,
  name: string | undefined,
  { book, groups, me }: { readonly book: Book; readonly groups: Groups; readonly me: SshKey },
): Promise<Accepted> {
  const { contact } = await book.add({ card }, name, (each) => groups.like(each) !== undefined)
  const joined: KnownGroup[] = []
  for (const { group: text } of messages) {
    if (text === undefined) continue
    try {
      const group = await parseGroup(text)
      const isMember = group.members.some(({ key }) => fingerprintOf(key) === fingerprintOf(me))
      if (!isMember || fingerprintOf(group.maker) !== fingerprintOf(card.key) || groups.list().length >= MOST_GROUPS) continue
      const { known } = await groups.take(group, (each) => book.like(each) !== undefined)
      if (!joined.includes(known)) joined.push(known)
    } catch (error) {
      if (!(error instanceof GroupError)) throw error
    }
  }
  return { contact, joined }
}
