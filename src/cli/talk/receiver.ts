/** Finds the receivers of a message: contacts, groups, people with a link or a request, and public keys. */
import type { SshKey } from '../../auth/ssh-key.ts'
import type { Card } from '../../client/format/card.ts'
import { fingerprintOf } from '../../client/format/field.ts'
import type { Contact } from '../../client/messenger/contact.ts'
import { readKeyFile } from '../disk/keyfile.ts'
import { isKeyText, readPublicKey } from '../disk/public-key.ts'
import { announce } from '../owner/announce.ts'
import { visitRequests } from '../owner/visit.ts'
import { checkGiven } from '../profile/address.ts'
import type { Known } from '../profile/book.ts'
import { conversationOf, membersOf } from '../profile/groups.ts'
import type { Home } from '../profile/home.ts'
import { readIntroduction } from '../profile/introduction.ts'
import { showName } from '../../wording/name.ts'
import type { Profile } from '../profile/profile.ts'
import type { ContactRequest } from '../profile/requests.ts'
import { CliError, UsageError } from '../program/error.ts'
import type { Io } from '../program/io.ts'
import { quoteWord, sanitizeLine } from '../program/show.ts'
import { acceptRequest, describeJoined, findRequest, waitingOf } from './request.ts'

export interface Receivers {
  readonly contacts: readonly Contact[]
  /** The id of the group. */
  readonly group?: string
  /** The conversation with a group, as the rules name it. */
  readonly conversation?: string
}

export interface Found {
  /**
   * Returns the receivers. The person of a link or a request becomes a contact now.
   * @param name the user's name for a new contact
   * @throws {CliError} if the name is taken
   */
  settle(name: string | undefined): Promise<Receivers>
}

/**
 * Finds a contact or a group by its name, or the sender of a request; otherwise reads the word as the link of a card, a
 * public key or its file.
 * @throws {CliError}
 */
export async function findReceivers(profile: Profile, word: string, given: readonly string[] | undefined, io: Io): Promise<Found> {
  const relays = given === undefined ? undefined : checkGiven(given)
  const { home, book, groups, blocked } = profile
  const only = (contact: Contact): Receivers => ({ contacts: [relays === undefined ? contact : { ...contact, relays }] })
  if (word.includes('asfaleia:card/')) {
    const { card } = await readLink(word, io)
    if (fingerprintOf(card.key) === fingerprintOf(profile.identity.key)) throw new CliError('this is your own card')
    return { settle: async (name) => only(home === undefined ? book.contactOf(card) : await meet(profile, home, card, name, io)) }
  }
  const isName = book.get(word) !== undefined || groups.get(word) !== undefined
  if (!isName && home !== undefined && relays === undefined) {
    const requests = await visitRequests(
      home,
      io.env,
      async () => profile.identity,
      (visit) => visit.list(),
    )
    const request = findRequest(waitingOf(requests, book, blocked), word)
    if (request !== undefined) return { settle: async (name) => only(await accept(profile, home, request, name, io)) }
  }
  const receivers = await findKnown(profile, word, relays)
  return {
    async settle(name) {
      if (name !== undefined)
        throw new UsageError('--name: RECEIVER is no new contact', { hint: '`asfaleia contact rename` changes a name' })
      return receivers
    },
  }
}

async function readLink(word: string, io: Io): Promise<{ readonly card: Card }> {
  const given = await readIntroduction(word, io)
  if (given.kind !== 'card') throw new UsageError('RECEIVER is no card')
  return given
}

/** Adds the person of a card to the contacts, or updates the contact if the card is newer. @throws {CliError} */
async function meet({ book, groups }: Profile, home: Home, card: Card, name: string | undefined, io: Io): Promise<Known> {
  const known = book.find(fingerprintOf(card.key))
  if (known?.card !== undefined && known.card.time >= card.time) return known
  const { kind, contact } = await book.add({ card }, name, (each) => groups.like(each) !== undefined)
  await announce(home, io.env)
  if (kind === 'added')
    io.stderr.write(`asfaleia: added ${showName(contact.name)} to your contacts, not verified yet: ${verifyHint(contact)}\n`)
  return contact
}

/** Accepts a contact request by answering it. @throws {CliError} */
async function accept(profile: Profile, home: Home, request: ContactRequest, name: string | undefined, io: Io): Promise<Known> {
  const { contact, joined } = await acceptRequest(request, name, { ...profile, me: profile.identity.key })
  await announce(home, io.env)
  io.stderr.write(`asfaleia: ${showName(contact.name)} is now a contact, not verified yet: ${verifyHint(contact)}\n`)
  for (const { name: group } of joined) io.stderr.write(`asfaleia: ${describeJoined(group)}\n`)
  return contact
}

const verifyHint = ({ name }: Known): string => `\`asfaleia contact verify ${sanitizeLine(quoteWord(name))}\``

/** Returns the text of a contact's card. @throws {CliError} */
export function cardOf({ book }: Profile, name: string): string {
  const { card } = book.need(name)
  if (card === undefined) throw new CliError(`there is no card of ${showName(name)}, only a key`, { hint: 'ask for their card' })
  return card.text
}

async function findKnown(profile: Profile, word: string, relays: readonly string[] | undefined): Promise<Receivers> {
  const contact = profile.book.get(word)
  if (contact !== undefined) {
    if (profile.blocked.has(fingerprintOf(contact.key)))
      throw new CliError(`you block ${showName(contact.name)}`, {
        hint: `\`asfaleia contact unblock ${sanitizeLine(quoteWord(contact.name))}\` ends that`,
      })
    return { contacts: [relays === undefined ? contact : { ...contact, relays }] }
  }
  const known = profile.groups.get(word)
  if (known !== undefined) {
    const own = fingerprintOf(profile.identity.key)
    if (!known.group.members.some(({ key }) => fingerprintOf(key) === own)) throw new CliError('you are no longer a member of this group')
    const members = membersOf(known).filter(({ key }) => fingerprintOf(key) !== own)
    const contacts = members.map((card) => profile.book.contactOf(card))
    if (contacts.length === 0) throw new CliError('this group has no other members')
    return { contacts, group: known.group.id, conversation: conversationOf(known) }
  }
  const broken = [...profile.book.problems, ...profile.groups.problems].find(({ name }) => name === word)
  if (broken !== undefined) throw broken.error
  const key = await readReceiver(word)
  if (relays === undefined)
    throw new UsageError('--relay is missing: a key without a card names no relay', {
      hint: 'add --relay ADDRESS, or store the receiver with `asfaleia contact add`',
    })
  return { contacts: [{ name: 'receiver', key, relays }] }
}

async function readReceiver(receiver: string): Promise<SshKey> {
  if (receiver.startsWith('SHA256:')) {
    throw new UsageError('RECEIVER is a fingerprint, to which nothing can be encrypted', {
      hint: 'give a contact, a group or a public key',
    })
  }
  const key = isKeyText(receiver) ? readPublicKey(receiver, { name: 'the receiver' }) : await readReceiverFile(receiver)
  if (!key.canDecrypt) {
    throw new CliError('the receiver’s key can only sign, so messages cannot be encrypted to it', {
      hint: 'ask for their card, and store it with `asfaleia contact add`',
    })
  }
  return key
}

async function readReceiverFile(path: string): Promise<SshKey> {
  let file
  try {
    file = await readKeyFile(path)
  } catch (error) {
    if (!(error instanceof CliError) || /[/.]/.test(path)) throw error
    throw new CliError(`there is no contact, group or key file ${path}`, { hint: '`asfaleia contact list` shows your contacts' })
  }
  return readPublicKey(file.bytes, { name: path, isFile: true })
}
