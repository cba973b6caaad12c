/** Whom one talks to: what a messenger has to know of them, and no more. Whether they may be trusted is not said here. */
import type { SshKey } from '../../auth/ssh-key.ts'
import type { Card } from '../format/card.ts'
import { fingerprintOf } from '../format/field.ts'

/** Somebody to write to, or to hear from. */
export interface Contact {
  readonly name: string
  readonly key: SshKey
  /** In order of preference. */
  readonly relays: readonly string[]
  /** Of the card: an age recipient instead of the key. */
  readonly recipient?: string
  /** False: this one is not told that messages came or were read. */
  readonly receipts?: boolean
}

/** Who is who. */
export interface Contacts {
  /** @param fingerprint `SHA256:…` */
  find(fingerprint: string): Contact | undefined
}

/** A contact as its card says. Whether a relay `localhost`, which is whoever's machine dials it, may be dialled is the caller's to say. */
export function contactOf({ name, key, relays, encrypt }: Card): Contact {
  return { name, key, relays, ...(encrypt !== undefined && { recipient: encrypt }) }
}

/** Contacts that stay as they are. */
export function contactsOf(contacts: Iterable<Contact>): Contacts {
  const byKey = new Map(Array.from(contacts, (contact) => [fingerprintOf(contact.key), contact]))
  return { find: (fingerprint) => byKey.get(fingerprint) }
}
