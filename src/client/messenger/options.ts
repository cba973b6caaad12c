/** The options of a messenger, and the stores that it takes. */
import type { OutboxEntry } from '../delivery/entry.ts'
import type { SeenStore } from '../delivery/seen.ts'
import type { Identity } from '../format/identity.ts'
import type { Ring } from '../ring/state.ts'
import type { connectClaims, connectRelay } from '../wire/connect.ts'
import type { Clock } from './clock.ts'
import type { Contact, Contacts } from './contact.ts'
import type { FileReceiver } from './transfers.ts'

/** Keeps unconfirmed messages from one run to the next. It reveals whom the user writes to, so encrypt it. */
export interface OutboxStore {
  load(): Promise<readonly OutboxEntry[]>
  /** Replaces all stored entries. Called once at a time. */
  save(entries: readonly OutboxEntry[]): Promise<void>
}

/** Introduces the user to people who may not have their card. */
export interface Introducer {
  /**
   * Returns the link of the user's card, for a message to a contact who may not have it.
   * @param mayLackInbox the contact may have an earlier card, without the user's inbox
   */
  cardFor(to: Contact, mayLackInbox: boolean): string | undefined
  /** A contact has sent a message or a receipt, so they can reach the user. Called often. */
  onHeard?(from: Contact): void
}

/** Keeps the rings of one-time keys. They contain secrets, so encrypt them. */
export interface RingStore {
  /**
   * @param contact the fingerprint of the contact's SSH key, `SHA256:…`
   * @returns undefined if there is no ring: the contact is new, or the state was lost
   */
  load(contact: string): Promise<Ring | undefined>
  /** Replaces the ring atomically. */
  save(contact: string, ring: Ring): Promise<void>
  /** Erases the ring, if there is one. */
  remove(contact: string): Promise<void>
  /** Returns the contacts that have a ring. Called once, and only if a relay knows the user's own key. */
  list(): Promise<readonly string[]>
}

/** Keeps the user's secrets at relays, as a text. Encrypt it. */
export interface SecretStore {
  /** @returns undefined if there is no text yet, or the state was lost */
  load(): Promise<Uint8Array | undefined>
  /** Replaces the text atomically. */
  save(text: Uint8Array): Promise<void>
}

/**
 * How a messenger hides from relays who its user is, and erases keys of read messages (docs/protocol.md, sections 13 and
 * 14): first messages come to an inbox, and each contact writes to an address of its own.
 */
export interface Secrecy {
  /** An `ssh-ed25519` key, which the user's card names. */
  readonly inbox: Identity
  readonly rings: RingStore
  readonly secrets: SecretStore
  /** Whether to receive from the mailbox of the user's own key, too: the relay then learns that key. */
  readonly isPublic?: boolean
  /** The user's own relays, in order, as the profile has them: contacts learn addresses there. */
  readonly relays: () => readonly string[]
  /**
   * With 1, a text goes to one relay at a time, also if its receiver has addresses at several. With 2, the user's own
   * addresses are at both of two relays: the relay of the inbox then has addresses, too.
   */
  readonly copies?: 1 | 2 | undefined
  /** Relays that may know the user's own key: everything there is done with it. */
  readonly members?: readonly string[]
}

/** Options of `openMessenger`. */
export interface MessengerOptions {
  readonly identity: Identity
  /** The relays that the user receives from. Without any, the messenger only sends, and gets no receipts. */
  readonly relays: readonly string[]
  /** Looked up again for each message. Only contacts get receipts. */
  readonly contacts: Contacts
  /** As in `ConnectOptions`. */
  readonly socks?: string
  readonly sign?: boolean
  readonly timeout?: number
  readonly connectTimeout?: number
  /** Which receipts contacts get: `delivered` for messages shown or stored (on by default), `read` (off by default). */
  readonly receipts?: { readonly delivered?: boolean; readonly read?: boolean }
  /** Keeps unconfirmed messages; in memory by default. */
  readonly outbox?: OutboxStore
  /** Keeps which messages came; in memory by default. */
  readonly seen?: SeenStore
  /** Adds the user's card to texts, cards and groups that it sends. */
  readonly introducer?: Introducer
  /** Stores files from contacts. Without it, parts of files are received like any message. */
  readonly files?: FileReceiver
  /** Without it, the messenger proves the user's own key at relays, and encrypts to the keys of contacts. */
  readonly secrecy?: Secrecy
  /** Closes the messenger. */
  readonly signal?: AbortSignal
  /** For tests: connects to a relay; tells the time; returns numbers in [0, 1). */
  readonly connect?: typeof connectRelay
  readonly connectClaims?: typeof connectClaims
  readonly clock?: Clock
  readonly random?: () => number
}

/** Options of a single message. */
export interface SendOptions {
  /** Seconds until the messenger gives the message up; 7 days by default, at most 13. */
  readonly deadline?: number
  /** The id of the group that the message belongs to. */
  readonly group?: string
  /** How many seconds after it was read the message shall disappear, 5 to 7,776,000: a request to the receiver. */
  readonly expires?: number
  /** The id of a message that an earlier messenger may have sent; a new one by default. The receiver drops duplicates. */
  readonly id?: string
  /**
   * A user waits for it: relays that could not be reached lately are tried at once, and the delivery tells why others
   * are not.
   */
  readonly hurry?: boolean
  /**
   * One of several messages that the user writes at once to several people, as to a group: with `secrecy` it leaves at a
   * random moment within 20 s, so that relays cannot match the mailboxes by the time.
   */
  readonly spread?: boolean
  /** Encrypts to the receiver's own key, also if there is a key that is erased: a thief of the own key can read a recording. */
  readonly toKey?: boolean
  /** Withdraws the message unless the receiver has confirmed it: it is not sent again. */
  readonly signal?: AbortSignal
}
