/** Contacts, as far as a messenger needs to know them. It does not know whether the user has verified their keys. */
import type { SshKey } from '../../auth/ssh-key.ts'
import type { Card } from '../format/card.ts'
import { fingerprintOf } from '../format/field.ts'

/** A person to send messages to, and to receive them from. */
export interface Contact {
  readonly name: string
  readonly key: SshKey
  /** Relays to send to, in order of preference. */
  readonly relays: readonly string[]
  /** The age recipient (`age1…`) of the contact's card, to encrypt to instead of the key. */
  readonly recipient?: string
  /** The inbox key of the contact's card, for first messages (docs/protocol.md, section 14). */
  readonly inbox?: SshKey
  /** If false, the contact gets no receipts. */
  readonly receipts?: boolean
}

/** Finds contacts. */
export interface Contacts {
  /** @param fingerprint `SHA256:…` */
  find(fingerprint: string): Contact | undefined
}

/**
 * Returns the contact of a card. The card may name the relay `localhost`, which is a different machine for each reader;
 * the caller decides whether to dial it.
 */
export function contactOf({ name, key, inbox, relays, encrypt }: Card): Contact {
  return { name, key, relays, ...(encrypt !== undefined && { recipient: encrypt }), ...(inbox !== undefined && { inbox }) }
}

/** Returns a fixed set of contacts. */
export function contactsOf(contacts: Iterable<Contact>): Contacts {
  const byKey = new Map(Array.from(contacts, (contact) => [fingerprintOf(contact.key), contact]))
  return { find: (fingerprint) => byKey.get(fingerprint) }
}
