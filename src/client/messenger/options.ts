/** The options of a messenger, and the stores that it takes. */
import type { OutboxEntry } from '../delivery/entry.ts'
import type { SeenStore } from '../delivery/seen.ts'
import type { Identity } from '../format/identity.ts'
import type { connectRelay } from '../wire/connect.ts'
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
  /** Returns the link of the user's card, for a message to a contact who may not have it. */
  cardFor(to: Contact): string | undefined
  /** A contact has sent a message or a receipt, so they can reach the user. Called often. */
  onHeard?(from: Contact): void
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
  /** Closes the messenger. */
  readonly signal?: AbortSignal
  /** For tests: connects to a relay; tells the time; returns numbers in [0, 1). */
  readonly connect?: typeof connectRelay
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
  /** Withdraws the message unless the receiver has confirmed it: it is not sent again. */
  readonly signal?: AbortSignal
}
