/** Opens the inbox key and the stores of a profile, by which a messenger hides its user from relays. */
import type { Identity } from '../../client/format/identity.ts'
import type { Secrecy } from '../../client/messenger/options.ts'
import { UnwritableError } from '../disk/file.ts'
import { factsOf, isCardOf } from '../../profile/facts.ts'
import type { Home, Settings } from '../profile/home.ts'
import { makeInbox } from '../profile/inbox.ts'
import type { Profile } from '../profile/profile.ts'
import { openRings } from '../profile/rings.ts'
import { openSecrets } from '../profile/secrets.ts'
import { CliError } from '../program/error.ts'

/**
 * Opens the inbox key and the stores of a profile. A profile of an earlier version gets its inbox key now, and a card that
 * names it.
 *
 * @param now returns the settings of the profile as they are now
 * @returns undefined if the messenger must use the user's own key at relays: the command names a key that is not the
 *   profile's, or a public profile has no inbox and the disk takes no more
 * @throws {CliError} if the inbox key is damaged or cannot be made
 */
export async function openSecrecy({ home, isOwn, identity }: Profile, now: () => Settings): Promise<Secrecy | undefined> {
  if (home === undefined || !isOwn) return undefined
  const settings = now()
  const inbox = await openInbox(home, settings)
  if (inbox === undefined) return undefined
  await renewCard(home, identity, settings, inbox)
  return {
    inbox,
    rings: openRings(home.stateFolder, identity),
    secrets: openSecrets(home.stateFolder, identity),
    relays: () => now().relays,
    get isPublic() {
      return now().isPublic
    },
    get copies() {
      return now().copies
    },
    get members() {
      return now().memberAt
    },
  }
}

async function openInbox(home: Home, { isPublic }: Settings): Promise<Identity | undefined> {
  try {
    return await makeInbox(home.inboxFile)
  } catch (error) {
    // A private user's key must not be shown to a relay only because a disk is full.
    if (isPublic && error instanceof UnwritableError) return undefined
    throw error
  }
}

/** Adds the inbox to the card of an earlier version. If that fails, `asfaleia me` does it later. */
async function renewCard(home: Home, identity: Identity, settings: Settings, inbox: Identity): Promise<void> {
  const card = await home.readCard()
  if (card === undefined || card.inbox !== undefined) return
  const now = { ...settings, name: card.name }
  const facts = factsOf(now, card.version, inbox.key)
  if (facts.inbox === undefined || !isCardOf(card, factsOf(now, card.version, undefined))) return
  try {
    await home.makeCard(identity, facts, Math.floor(Date.now() / 1_000))
  } catch (error) {
    if (!(error instanceof CliError)) throw error
  }
}
