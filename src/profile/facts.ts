/** What the card of a profile says about its user, by the settings of the profile. Pure; runs in a page too. */
import type { SshKey } from '../auth/ssh-key.ts'
import type { Card, CardVersion } from '../client/format/card.ts'
import { fingerprintOf } from '../client/format/field.ts'

/** The settings that decide where people reach the user. */
export interface Reach {
  readonly relays: readonly string[]
  /** Whether people may write to the mailbox of the user's own key. */
  readonly isPublic: boolean
  /** Relays that may know the user's own key. */
  readonly memberAt: readonly string[]
}

/** What a card says about the user, besides the key. */
export interface CardFacts {
  readonly version: CardVersion
  readonly name: string
  readonly relays: readonly string[]
  readonly inbox?: SshKey
}

/** Whether a card says the same. */
export function isCardOf(card: Card, { version, name, relays, inbox }: CardFacts): boolean {
  const nameOf = (key: SshKey | undefined): string => (key === undefined ? '' : fingerprintOf(key))
  return card.version === version && card.name === name && card.relays.join() === relays.join() && nameOf(card.inbox) === nameOf(inbox)
}

/**
 * Returns the facts for a card of a version.
 *
 * The inbox is at the first relay, and the addresses of contacts are at the others, so that no relay learns who talks to
 * whom. If the first relay knows the user's key, there is no inbox: people write to the mailbox of that key.
 *
 * @param inbox undefined if there is none yet
 */
export function factsOf(
  { name, relays, isPublic, memberAt }: Reach & { readonly name: string },
  version: CardVersion,
  inbox: SshKey | undefined,
): CardFacts {
  const isMember = (relay: string): boolean => memberAt.includes(relay)
  const [first = ''] = relays
  if (version === 2 && isMember(first)) return { version, name, relays: isPublic ? relays : relays.filter(isMember) }
  return version === 1 || inbox === undefined ? { version, name, relays } : { version, name, relays: [first], inbox }
}
