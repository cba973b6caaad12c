/** The keys and addresses of a contact: `contact accept`, `contact renew`, `contact remove` and the protection in `contact show`. */
import { Writable } from 'node:stream'
import { fingerprintOf } from '../../client/format/field.ts'
import type { MessengerPort } from '../../client/messenger/port.ts'
import { announce } from '../owner/announce.ts'
import type { Protection } from '../../wording/delivery.ts'
import { showName } from '../../wording/name.ts'
import type { Book, Known } from '../profile/book.ts'
import type { Home } from '../profile/home.ts'
import { openProfile } from '../profile/profile.ts'
import { openRings, protectionOf } from '../profile/rings.ts'
import { hasSecrets } from '../profile/secrets.ts'
import { CliError } from '../program/error.ts'
import type { Io } from '../program/io.ts'
import { toCliError } from './refusal.ts'
import { openMessengerOf } from './talk.ts'

/** Accepts that a contact began anew without a proof. @throws {CliError} if no message of the contact says so */
export async function acceptBeginning(contact: Known, io: Io): Promise<void> {
  if (await withMessenger(io, (messenger) => messenger.accept(contact))) return
  throw refuseAccept(contact.name)
}

export function refuseAccept(name: string): CliError {
  return new CliError(`there is nothing to accept: no message says without a proof that ${showName(name)} began anew`)
}

/** Gives a contact a new address with the next message. @throws {CliError} if the user has no addresses */
export async function renewAddress(contact: Known, home: Home, io: Io): Promise<void> {
  const { relays, memberAt } = await home.readSettings()
  if (relays.every((relay) => memberAt.includes(relay)))
    throw new CliError('you have no addresses: your client uses your SSH key at all of your relays', {
      hint: '`asfaleia me --no-member RELAY` ends that for a relay',
    })
  await withMessenger(io, (messenger) => messenger.renewAddress(contact))
}

/**
 * Removes a contact from the book, gives up the addresses of that contact and erases the keys. The addresses and keys of
 * a member of one of the user's groups stay, since messages to the group use them.
 * @throws {CliError} if the user's key cannot be unlocked; then the contact stays
 */
export async function removeContact(contact: Known, book: Book, home: Home, io: Io): Promise<void> {
  const fingerprint = fingerprintOf(contact.key)
  const isMember = (await home.openGroups()).list().some(({ group }) => group.members.some(({ key }) => fingerprintOf(key) === fingerprint))
  if (isMember || !hasSecrets(home.stateFolder)) return book.remove(contact)
  await withMessenger(io, async (messenger) => {
    await book.remove(contact)
    // Otherwise the owner of the profile might answer the contact once more, with new keys.
    await announce(home, io.env)
    await messenger.forget(contact)
  })
}

/**
 * Returns what would protect the next message to a contact.
 * @returns undefined if the key of the user needs a passphrase, or the stored keys cannot be read
 */
export async function nextProtection(contact: Known, { stateFolder }: Home, io: Io): Promise<Protection | undefined> {
  const stderr = new Writable({ write: (_chunk, _encoding, done) => done() })
  try {
    const { identity } = await openProfile({ ...io, asks: false, stderr }, {})
    const ring = await openRings(stateFolder, identity).load(fingerprintOf(contact.key))
    return protectionOf(contact, ring, Math.floor(Date.now() / 1_000))
  } catch (error) {
    if (error instanceof CliError) return undefined
    throw error
  }
}

/** Uses the messenger of the profile, also if another command runs it. */
async function withMessenger<T>(io: Io, work: (messenger: MessengerPort) => Promise<T>): Promise<T> {
  const profile = await openProfile(io, {})
  try {
    const { messenger, close } = await openMessengerOf(profile, io, {
      what: 'contact',
      relays: [],
      takes: 'none',
      contacts: profile.book,
      outbox: false,
      reads: false,
      signal: io.signal,
    })
    try {
      return await work(messenger)
    } finally {
      await close()
    }
  } catch (error) {
    throw toCliError(error, io.signal)
  }
}
