/** Performs `/accept`, `/ignore`, `/block` and `/unblock`. */
import { fingerprintOf } from '../../client/format/field.ts'
import { showName } from '../../wording/name.ts'
import { CliError } from '../program/error.ts'
import type { Known } from '../profile/book.ts'
import { refuseAccept } from '../talk/keys.ts'
import { acceptRequest } from '../talk/request.ts'
import type { Archive } from './archive.ts'
import type { Context } from './context.ts'
import type { Effect } from './input.ts'

const GONE = 'this request does not wait any more'

/** Makes the sender of a request a contact, and sends the answer that the user began with. @throws {CliError} */
export async function accept(
  context: Context,
  archive: Archive,
  { conversation, name, text }: Extract<Effect, { kind: 'accept' }>,
): Promise<void> {
  const { people, identity, requests } = context.options
  const { book, groups } = people
  const known = book.find(conversation)
  if (known !== undefined) return acceptKeys(context, known)
  const request = people.request(conversation)
  if (request === undefined) throw new CliError(GONE)
  const { contact, joined } = await acceptRequest(request, name, { book, groups, me: identity.key }).catch((error: unknown) => {
    if (!(error instanceof CliError) || error.hint?.includes('--name') !== true) throw error
    throw new CliError(`${error.message}; /accept NAME gives another name`)
  })
  for (const { id, time, text: said, expires } of request.messages) {
    const arrival = { conversation, author: contact.name, fingerprint: conversation, id, at: time * 1_000, verdict: 'genuine' } as const
    if (said !== '') await archive.keepArrival({ ...arrival, text: said, ...(expires !== undefined && { expires }) })
  }
  context.showPeople()
  context.put({ kind: 'open', conversation: fingerprintOf(contact.key) })
  const news = joined.map((each) => `; you are in ${showName(each.name, 'group')}`).join('')
  context.tell(`${showName(contact.name)} is now a contact${news}; /verify shows the safety words to compare`)
  if (text !== undefined) context.put({ kind: 'say', conversation, text })
  // The owner also notices by itself.
  await requests?.refresh().catch(() => {})
}

/** Believes a contact who began anew without a proof. @throws {CliError} if no message of the contact says so */
async function acceptKeys(context: Context, contact: Known): Promise<void> {
  if (!(await context.options.messenger.accept(contact))) throw refuseAccept(contact.name)
  context.tell(`you accepted the new keys of ${showName(contact.name)}`)
}

/** Deletes a request. @throws {CliError} */
export async function ignore(context: Context, conversation: string): Promise<void> {
  const { people, requests } = context.options
  const request = people.request(conversation)
  if (request === undefined) throw new CliError(GONE)
  await requests?.ignore(conversation)
  people.requests = people.requests.filter(({ card }) => fingerprintOf(card.key) !== conversation)
  context.showPeople()
  context.tell(`the request of ${people.book.show(request.card.name, conversation)} is deleted`)
}

/** Blocks a contact or the sender of a request, or ends that. @throws {CliError} */
export async function block(context: Context, conversation: string, isOn: boolean): Promise<void> {
  const { people, requests } = context.options
  const name = people.book.find(conversation)?.name ?? people.request(conversation)?.card.name
  if (name === undefined) throw new CliError('this person is not in your contacts')
  if (isOn) await people.blocked.add(conversation, name)
  else await people.blocked.remove(conversation)
  context.showPeople()
  const shown = people.book.show(name, conversation)
  context.tell(
    isOn ? `you block ${shown}: the client drops their messages, and they do not learn of it` : `you receive messages of ${shown} again`,
  )
  // The owner also notices by itself.
  await requests?.refresh().catch(() => {})
}
