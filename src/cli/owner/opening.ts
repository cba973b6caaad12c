/** How a command opens the messenger of its profile, and what it gets. */
import type { Contacts } from '../../client/messenger/contact.ts'
import type { Received } from '../../client/messenger/inbox.ts'
import type { MessengerOptions } from '../../client/messenger/options.ts'
import type { MessengerPort } from '../../client/messenger/port.ts'
import type { FileOffer, FileReceiver } from '../../client/messenger/transfers.ts'
import type { Settings } from '../profile/home.ts'
import type { ContactRequest } from '../profile/requests.ts'
import type { RequestDesk } from './reception.ts'
import type { Takes } from './record.ts'

export interface OpenOptions {
  /** The command, such as `chat`. */
  readonly what: string
  /** The user's relays to receive from. */
  readonly relays: readonly string[]
  readonly takes: Takes
  /** Whether a command that takes all messages gets copies while another one has them. */
  readonly mirrors?: boolean
  readonly contacts: Contacts
  /** Whether members of the user's groups count as contacts. */
  readonly members?: boolean
  /** Whether to store unsent messages on the disk. */
  readonly outbox: boolean
  /** Whether contacts may get `read` receipts. */
  readonly reads: boolean
  readonly files?: FileReceiver
  /** The folder of `files`, if another process stores them for this one. */
  readonly folder?: string
  /** Makes the receiver of another command's folder. @param onDone called when a file is complete */
  readonly receiverFor: (folder: string, onDone: (offer: FileOffer, path: string) => void) => FileReceiver
  /** Connects to a relay, and reports for how long it holds messages. */
  readonly connect: (onHolds: (relay: string, seconds: number) => void) => Required<Pick<MessengerOptions, 'connect' | 'connectClaims'>>
  /** Whether another command may have a message that this one took but does not show. */
  readonly releases?: (received: Received) => boolean
  /** Another command is the owner; undefined: this process is. */
  readonly onOwner?: (what: string | undefined) => void
  readonly onArrived?: (offer: FileOffer, path: string) => void
  /** Whether the user knows a person who is not in the contact book. */
  readonly isGuest?: (fingerprint: string) => boolean
  /** Called with the contact requests that wait, and again when they change. */
  readonly onRequests?: (requests: readonly ContactRequest[]) => void
  /** The contacts, groups, blocked people or settings have changed, and were read again. */
  readonly onChanged?: (settings: Settings) => void
  readonly env: Readonly<Record<string, string | undefined>>
  readonly signal?: AbortSignal
  /** The SOCKS port that the user named on the command line. */
  readonly socks?: string
}

export interface Opened {
  readonly messenger: MessengerPort
  readonly requests: RequestDesk
  /** For how many seconds a relay holds messages; undefined if it was not reached. */
  holds(relay: string): number | undefined
  /** Asks whether another command may now have messages that this one does not show. */
  look(): void
  close(): Promise<void>
}
