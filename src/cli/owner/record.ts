/** The lines between the owner of a profile and its clients. Both sides begin with a `hello`. */
import type { Protection } from '../../client/messenger/sealer.ts'
import type { Content } from '../../client/format/content.ts'
import type { FileState } from '../../client/delivery/file.ts'
import type { DeliveryState } from '../../client/delivery/entry.ts'
import type { Contact } from '../../client/messenger/contact.ts'
import type { MessengerEvent } from '../../client/messenger/event.ts'
import type { Received } from '../../client/messenger/inbox.ts'
import type { FileOffer } from '../../client/messenger/transfers.ts'
import type { ContactRequest } from '../profile/requests.ts'
import { CliError } from '../program/error.ts'

/** The version of these lines. Another number means that owner and client do not understand each other. */
export const PROTOCOL = 4

/** The first line of each side. Every version of the protocol has these fields. */
export interface Hello {
  readonly kind: 'hello'
  readonly protocol: number
  /** The version of the program. */
  readonly version: string
  /** The command, such as `chat`. */
  readonly what: string
}

/**
 * Which messages a client takes. `all`: each one, since it shows it. `rest`: those that no other client shows.
 * `none`: it only sends.
 */
export type Takes = 'all' | 'rest' | 'none'

/** A client's wishes. */
export interface Wishes {
  /** The relays to receive from. */
  readonly relays: readonly string[]
  readonly takes: Takes
  /** Whether it gets copies of messages that another client has. */
  readonly mirrors?: boolean
  /** Whether members of the user's groups count as contacts. */
  readonly members: boolean
  /** Whether unsent messages outlive the client, on the disk. */
  readonly outbox: boolean
  /** Whether contacts may get `read` receipts. */
  readonly reads: boolean
  /** The folder for received files. */
  readonly folder?: string
}

/** From a client to the owner. `n` is a number of the client's choice, which the answer repeats. */
export type Ask =
  | (Hello & { readonly wishes?: Wishes })
  | {
      readonly kind: 'send'
      readonly id: string
      readonly to: Contact
      readonly content: Content
      readonly group?: string
      readonly expires?: number
      readonly deadline?: number
      readonly spread?: boolean
      readonly toKey?: boolean
    }
  | { readonly kind: 'withdraw'; readonly id: string }
  | {
      readonly kind: 'send-file'
      readonly n: number
      readonly to: Contact
      readonly name: string
      readonly size: number
      readonly deadline?: number
    }
  | { readonly kind: 'withdraw-file'; readonly n: number }
  /** The bytes of a file that the owner asked for by `part`. */
  | { readonly kind: 'part'; readonly n: number; readonly bytes?: Uint8Array; readonly error?: unknown }
  /** The client wants one more message. */
  | { readonly kind: 'next' }
  /** The client has shown or stored the message. */
  | { readonly kind: 'done'; readonly n: number; readonly message: number }
  | { readonly kind: 'read'; readonly from: Contact; readonly ids: readonly string[] }
  /**
   * The user accepts a beginning of the contact that lacks the proof; or the contact gets a new address; or the user has
   * removed the contact.
   */
  | { readonly kind: 'accept' | 'renew' | 'forget'; readonly n: number; readonly contact: Contact }
  | { readonly kind: 'receive' | 'leave'; readonly relay: string }
  | { readonly kind: 'fetched' | 'flush' | 'refresh' | 'requests'; readonly n: number }
  /** The user ignores the contact request of the person with that fingerprint. */
  | { readonly kind: 'ignore'; readonly n: number; readonly fingerprint: string }
  /** The client has shown these messages of contact requests. */
  | { readonly kind: 'shown'; readonly n: number; readonly ids: readonly string[] }

/** From the owner to a client. */
export type Tell =
  | (Hello & { readonly pid: number; readonly outbox: boolean; readonly socks?: string; readonly takes?: Takes })
  | { readonly kind: 'full' }
  | { readonly kind: 'event'; readonly event: MessengerEvent }
  /** For how long a relay holds messages, seconds. */
  | { readonly kind: 'holds'; readonly relay: string; readonly seconds: number }
  | {
      readonly kind: 'delivery'
      readonly id: string
      readonly state: DeliveryState
      readonly relay?: string | undefined
      readonly error?: unknown
      readonly protection?: Protection | undefined
      readonly relays?: readonly string[] | undefined
    }
  | { readonly kind: 'file'; readonly n: number; readonly file: FileFacts }
  /** Asks for bytes of a file that the client sends. */
  | { readonly kind: 'part'; readonly n: number; readonly sending: number; readonly offset: number; readonly length: number }
  | { readonly kind: 'message'; readonly message: number; readonly received: Omit<Received, 'done'> }
  /** A file is complete in the client's folder. */
  | { readonly kind: 'arrived'; readonly offer: FileOffer; readonly path: string }
  /** The contacts, groups, blocked people or settings have changed. */
  | { readonly kind: 'changed' }
  /** The contact requests that wait now. */
  | { readonly kind: 'requests'; readonly requests: readonly ContactRequest[] }
  | { readonly kind: 'answer'; readonly n: number; readonly value?: unknown; readonly error?: unknown }

/** A file on its way, as it stands. */
export interface FileFacts {
  readonly file: string
  readonly name: string
  readonly total: number
  readonly confirmed: number
  readonly state: FileState
  readonly error?: unknown
}

/** Refuses to work with an owner of another version. */
export function refuseVersion({ what, version }: Pick<Hello, 'what' | 'version'>): CliError {
  const name = /^[a-z][a-z -]{0,31}$/.test(what) ? what : 'program'
  const number = /^[0-9A-Za-z.+-]{1,32}$/.test(version) ? ` ${version}` : ''
  return new CliError(`the ${name} that has this profile is of another version${number}`, {
    hint: `restart the ${name}; then run the command again`,
  })
}
