/** `asfaleia doctor --profile`: whether people can write first messages to the user, and what relays learn of their key. */
import { BundleError, judgeBundle, parseBundle } from '../../client/format/bundle.ts'
import type { SshKey } from '../../auth/ssh-key.ts'
import type { Card } from '../../client/format/card.ts'
import { fingerprintOf } from '../../client/format/field.ts'
import { rolesOf } from '../../client/messenger/connections.ts'
import { decodeSecrets } from '../../client/messenger/secrets.ts'
import { connectClaims } from '../../client/wire/connect.ts'
import { RelayError } from '../../client/wire/error.ts'
import { duration } from '../../wording/figures.ts'
import { showName } from '../../wording/name.ts'
import { openProfile, type Profile } from '../profile/profile.ts'
import { openSecrets } from '../profile/secrets.ts'
import { CliError } from '../program/error.ts'
import type { Io } from '../program/io.ts'
import { diagnose } from './diagnosis.ts'
import { createUnlock } from './talk.ts'

/** How long a relay may take to answer, ms. */
const PATIENCE_MS = 30_000
const DAY = 86_400
/** A contact who has had an address for so long, in seconds, and uses it, no longer needs the mailbox of the SSH key. */
const USED = 14 * DAY

/** A line of the check. A `note` is no mistake, but the user should know it. */
export interface Note {
  readonly check: 'first-messages' | 'public' | 'member'
  readonly state: 'ok' | 'note' | 'failed'
  readonly text: string
  readonly hint?: string
}

/** Checks the profile. @throws {CliError} if there is none, or its key cannot be unlocked */
export async function examineProfile(io: Io): Promise<readonly Note[]> {
  const profile = await openProfile(io, {})
  const card = await profile.home!.needCard()
  const first: Note[] = []
  for (const relay of rolesOf(profile.relays, profile.copies).inbox) first.push(await checkBundle(profile, card, relay, io))
  return [...first, await checkPublic(profile), ...profile.memberAt.map(noteMember)]
}

/** Looks for the key to which people encrypt their first messages. */
async function checkBundle(profile: Profile, card: Card, relay: string, io: Io): Promise<Note> {
  const note = (state: Note['state'], text: string, hint?: string): Note => ({
    check: 'first-messages',
    state,
    text: `${relay}: ${text}`,
    ...(hint !== undefined && { hint }),
  })
  const { inbox } = card
  // A card of version 1, or a first relay that knows its members.
  if (inbox === undefined) return note('note', NO_INBOX, profile.memberAt.includes(relay) ? undefined : NEW_CARD)
  try {
    const text = await fetchBundle(profile, inbox, relay, io)
    if (text === undefined)
      return note('failed', 'there is no key of yours for first messages: only people who have a one-time key of yours can write', AGAIN)
    const bundle = await parseBundle(inbox, text)
    const now = Math.floor(Date.now() / 1_000)
    const age = now - bundle.time
    const made = age < 0 ? `is dated ${duration(-age)} in the future` : age < DAY ? 'was made today' : `is ${duration(age)} old`
    const isGood = judgeBundle(bundle, now) === 'good'
    return note(isGood ? 'ok' : 'failed', `your key for first messages ${made}`, isGood ? undefined : AGAIN)
  } catch (error) {
    if (error instanceof BundleError) return note('failed', 'the key for first messages there is not one of yours', AGAIN)
    if (!(error instanceof RelayError)) throw error
    const reason = await diagnose(error, io, profile.socks, relay)
    if (!(reason instanceof CliError)) throw reason
    return note('failed', reason.message, reason.hint)
  }
}

async function fetchBundle({ home, socks }: Profile, inbox: SshKey, relay: string, io: Io): Promise<Uint8Array | undefined> {
  await createUnlock(home, io)(relay)
  const signal = AbortSignal.any([io.signal, AbortSignal.timeout(PATIENCE_MS)])
  const reach = { relay, signal, ...(socks !== undefined && { socks }) }
  try {
    using client = await connectClaims(reach)
    return await client.fetch(fingerprintOf(inbox))
  } catch (error) {
    io.signal.throwIfAborted()
    throw signal.aborted ? new RelayError('no-answer') : error
  }
}

/** Says what relays learn of the user's key, and who loses the user without that. */
async function checkPublic({ isPublic, memberAt, home, identity, book }: Profile): Promise<Note> {
  const end = '`asfaleia me --public no` ends that'
  if (!isPublic)
    return {
      check: 'public',
      state: 'ok',
      text: `${memberAt.length === 0 ? 'your relays' : 'your other relays'} do not learn your SSH key; people who have only that key, or a card of version 1, cannot write to you`,
    }
  const secrets = decodeSecrets(await openSecrets(home!.stateFolder, identity).load())
  const since = Date.now() / 1_000 - USED
  const isUsed = (fingerprint: string): boolean =>
    secrets?.addresses.some((each) => each.contact === fingerprint && each.isKnown && each.since <= since) === true
  const others = book.list().filter(({ key }) => !isUsed(fingerprintOf(key)))
  const learn = 'your relays learn your SSH key, when you are online, and how much is sent to it'
  if (others.length === 0)
    return { check: 'public', state: 'note', text: `${learn}; every contact has used an address for 14 days`, hint: end }
  const names = others.slice(0, NAMES).map(({ name }) => showName(name))
  const more = others.length > NAMES ? `${names.join(', ')} and ${others.length - NAMES} more` : names.join(', ')
  return {
    check: 'public',
    state: 'note',
    text: `${learn}; not every contact has used an address for 14 days: ${more}`,
    hint: `${end}, but contacts who have only your SSH key or an old card then cannot write to you: give them the new card first`,
  }
}

const noteMember = (relay: string): Note => ({
  check: 'member',
  state: 'note',
  text: `${relay} learns your SSH key, when you are online, and to which mailboxes you write there`,
  hint: `\`asfaleia me --no-member ${relay}\` ends that`,
})

/** The most contacts to name. */
const NAMES = 8
const AGAIN = '`asfaleia get` leaves a new key there'
const NO_INBOX = 'your card names no inbox, so first messages are encrypted to a key that is never erased'
const NEW_CARD = '`asfaleia me --card-version 2` makes a card with an inbox; give it to your contacts'
