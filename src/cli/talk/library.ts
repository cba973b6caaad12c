/** A profile of the command line for other programs: a bot and the user's commands share its mailboxes and its state. */
import { join } from 'node:path'
import { PassThrough, Writable } from 'node:stream'
import type { Group } from '../../client/format/group.ts'
import type { Identity } from '../../client/format/identity.ts'
import type { Contact } from '../../client/messenger/contact.ts'
import type { MessengerPort } from '../../client/messenger/port.ts'
import type { FileOffer } from '../../client/messenger/transfers.ts'
import { openProfile as readProfile } from '../profile/profile.ts'
import type { ContactRequest } from '../profile/requests.ts'
import type { Io } from '../program/io.ts'
import { Arrivals } from './arrival.ts'
import { acceptRequest, needRequest } from './request.ts'
import { openTalk } from './talk.ts'

export type { ContactRequest, RequestMessage } from '../profile/requests.ts'

/** Options of {@link openProfile}. */
export interface ProfileOptions {
  /** The folder of the profile; by default the one that the command line finds. */
  readonly folder?: string
  /** What other commands call this program, in lower-case letters; `bot` by default. */
  readonly name?: string
  /**
   * Which messages the program gets. `all` (default): every one, unless a chat of the profile shows them all. `rest`:
   * those that no other command shows. `none`: the program only sends, and does not receive.
   */
  readonly takes?: 'all' | 'rest' | 'none'
  /** The folder for files from contacts. Without it, parts of files are received like any message. */
  readonly files?: string
  /** Called when a file is complete. */
  readonly onFile?: (offer: FileOffer, path: string) => void
  /** Called when another command has changed the contacts, the groups or the settings. */
  readonly onChanged?: () => void
  /** Called with the contact requests that wait, and again when they change. `accept` or `ignore` decides about each. */
  readonly onRequests?: (requests: readonly ContactRequest[]) => void
  /** Called with remarks for people, such as a damaged contact. */
  readonly onNotice?: (text: string) => void
  /** Closes the profile. */
  readonly signal?: AbortSignal
}

/** A profile of the command line, opened by {@link openProfile}. */
export interface OpenProfile extends AsyncDisposable {
  /** The messenger of the profile, which its commands share. Close the profile, not the messenger. */
  readonly messenger: MessengerPort
  readonly identity: Identity
  /** The user's own name, if the profile has one. */
  readonly name: string | undefined
  /** The user's own relays. */
  readonly relays: readonly string[]
  /** The contacts, by the user's names for them. They change with the files of the profile. */
  contacts(): readonly Contact[]
  /** The groups, by the user's names for them. */
  groups(): readonly { readonly name: string; readonly group: Group }[]
  /**
   * Makes the sender of a contact request a contact.
   * @param name the user's name for them; by default the one on their card
   * @throws {Error} if no such request waits, or the name is taken or cannot be a name
   */
  accept(fingerprint: string, name?: string): Promise<Contact>
  /** Deletes a contact request. */
  ignore(fingerprint: string): Promise<void>
  /** Ends the use of the profile. Another command that uses it goes on. */
  close(): Promise<void>
}

/**
 * Opens a profile of the command line. If no other command uses it, this process owns its mailboxes and its state, and
 * serves the other commands; otherwise it works through the command that does. An encrypted key needs its passphrase in
 * the file that `ASFALEIA_PASSPHRASE_FILE` names, or a terminal.
 * @throws {Error} if there is no profile, or it cannot be used; the message says why
 */
export async function openProfile(options: ProfileOptions = {}): Promise<OpenProfile> {
  const { folder, name = 'bot', takes = 'all', files, onFile, onChanged, onRequests, onNotice, signal } = options
  const closed = new AbortController()
  const io: Io = {
    stdin: new PassThrough(),
    stdout: new PassThrough(),
    stderr: new Writable({
      write(chunk: Buffer, _encoding, done) {
        onNotice?.(chunk.toString().trimEnd())
        done()
      },
    }),
    env: folder === undefined ? process.env : { ...process.env, ASFALEIA_HOME: folder },
    signal: signal === undefined ? closed.signal : AbortSignal.any([closed.signal, signal]),
  }
  const profile = await readProfile(io, {})
  const { home, book, groups, identity, relays, outbox } = profile
  const onArrived = (offer: FileOffer, path: string): void => onFile?.(offer, path)
  const talk = await openTalk(profile, io, {
    what: name,
    relays: takes === 'none' ? [] : relays,
    takes,
    outbox,
    onArrived,
    ...(files !== undefined && { folder: files, files: new Arrivals(files, home && join(home.stateFolder, 'files'), onArrived) }),
    ...(onChanged !== undefined && { onChanged: () => onChanged() }),
    ...(onRequests !== undefined && { onRequests }),
  })
  const close = async (): Promise<void> => {
    closed.abort()
    await talk.close()
  }
  return {
    messenger: talk.messenger,
    identity,
    name: profile.name,
    relays,
    contacts: () => book.list(),
    groups: () => groups.list().map((each) => ({ name: each.name, group: each.group })),
    async accept(fingerprint, called) {
      const request = needRequest(await talk.requests.list(), fingerprint)
      const { contact } = await acceptRequest(request, called, { book, groups, me: identity.key })
      await talk.requests.refresh()
      return contact
    },
    ignore: (fingerprint) => talk.requests.ignore(fingerprint),
    close,
    [Symbol.asyncDispose]: close,
  }
}
