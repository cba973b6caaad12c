/** What `asfaleia contact` does about contact requests and blocked people. */
import type { Card } from '../../client/format/card.ts'
import { fingerprintOf } from '../../client/format/field.ts'
import { fold } from '../../profile/entry.ts'
import type { Blocked } from '../profile/blocked.ts'
import type { Book, Known } from '../profile/book.ts'
import type { Home } from '../profile/home.ts'
import { showName } from '../../wording/name.ts'
import type { ContactRequest } from '../profile/requests.ts'
import { CliError } from '../program/error.ts'
import { EXIT } from '../program/exit.ts'
import type { Io } from '../program/io.ts'
import { formatJson, quoteWord, sanitizeLine } from '../program/show.ts'
import { whenOf } from './report.ts'
import { acceptRequest, DECIDE_HINT, describeJoined, describeRequest, findRequest, formatRequest, needRequest } from './request.ts'

/** Makes the sender of a request a contact. @param name the user's name for them @throws {CliError} */
export async function accept(request: ContactRequest, name: string | undefined, book: Book, home: Home, io: Io): Promise<Known> {
  const own = await home.readCard()
  if (own === undefined) throw new CliError('you have no card yet', { hint: '`asfaleia me --name NAME --relay ADDRESS` makes it' })
  const { contact, joined } = await acceptRequest(request, name, { book, groups: await home.openGroups(), me: own.key })
  for (const each of joined) io.stderr.write(`asfaleia: ${describeJoined(each.name)}\n`)
  remindToVerify(contact.name, io)
  return contact
}

export function remindToVerify(name: string, io: Io): void {
  io.stderr.write(
    `asfaleia: ${showName(name)}'s key is not verified yet. Compare safety words: \`asfaleia contact verify ${sanitizeLine(quoteWord(name))}\`\n`,
  )
}

/**
 * Finds a contact or the sender of a request, by the name or the fingerprint.
 * @throws {CliError} if there is no such person, or a stranger calls themselves like the contact
 */
export function choosePerson(word: string, book: Book, requests: readonly ContactRequest[]): Pick<Card, 'key' | 'name'> {
  const contact = book.get(word) ?? book.find(word)
  const stranger = findRequest(requests, word)?.card
  if (contact === undefined) return stranger ?? needRequest(requests, word).card
  if (stranger === undefined) return contact
  throw new CliError(`${showName(word)} is a contact, and a stranger with a request has the same name`, {
    hint: `name one of them by the fingerprint: your contact is ${fingerprintOf(contact.key)}, the stranger ${fingerprintOf(stranger.key)}`,
  })
}

/** @returns the exit code @throws {CliError} if the user blocks no such person */
export async function unblock(blocked: Blocked, book: Book, word: string, json: boolean, io: Io): Promise<number> {
  const contact = book.get(word)
  const isMeant =
    contact === undefined
      ? ({ fingerprint, name }: { fingerprint: string; name: string }) => fingerprint === word || fold(name) === fold(word)
      : ({ fingerprint }: { fingerprint: string }) => fingerprint === fingerprintOf(contact.key)
  const [person, other] = blocked.list().filter(isMeant)
  if (person === undefined)
    throw new CliError(`you do not block ${showName(word)}`, { hint: '`asfaleia contact list` shows whom you block' })
  if (other !== undefined)
    throw new CliError(`you block several people called ${showName(word)}`, { hint: 'name one of them by the fingerprint' })
  const { fingerprint, name } = person
  await blocked.remove(fingerprint)
  io.stdout.write(json ? `${formatJson({ unblocked: true, fingerprint, called: name })}\n` : `unblocked ${book.show(name, fingerprint)}\n`)
  return EXIT.ok
}

/** Reports what happened to a person. @returns the exit code */
export function tellOf({ key, name }: Pick<Card, 'key' | 'name'>, done: 'ignored' | 'blocked', book: Book, json: boolean, io: Io): number {
  const fingerprint = fingerprintOf(key)
  io.stdout.write(json ? `${formatJson({ [done]: true, fingerprint, called: name })}\n` : `${done} ${book.show(name, fingerprint)}\n`)
  return EXIT.ok
}

/** Prints the requests that wait. @returns the exit code */
export function listRequests(book: Book, requests: readonly ContactRequest[], json: boolean, io: Io): number {
  for (const request of requests) {
    for (const message of request.messages)
      io.stdout.write(
        `${json ? formatJson(describeRequest(request, message)) : formatRequest(request, message, book, whenOf(message.time))}\n`,
      )
    if (!json) io.stdout.write(`  ${fingerprintOf(request.card.key)}\n`)
  }
  if (!json) io.stderr.write(`asfaleia: ${requests.length === 0 ? 'no contact requests wait' : DECIDE_HINT}\n`)
  return EXIT.ok
}
