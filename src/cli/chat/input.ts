/** The inputs and the effects of the model. Texts of other people in inputs are not yet safe to show. */
import type { Delivery, DeliveryState, Protection, Transfer } from '../../wording/delivery.ts'
import type { Verdict } from '../../wording/verdict.ts'
import type { Size } from './geometry.ts'
import type { KeyInput } from './keys.ts'
import type { RelayState } from './state.ts'
import type { Role } from './text.ts'

/** A message that waits with a contact request. */
export interface Asked {
  readonly id: string
  /** Milliseconds since 1970. */
  readonly at: number
  readonly text: string
}

/** A contact, a group, or a person whose contact request waits. */
export interface Party {
  readonly id: string
  readonly kind: 'contact' | 'group' | 'request'
  readonly name: string
  readonly verified?: boolean
  readonly members?: readonly string[]
  readonly left?: true
  readonly muted?: boolean
  /** After how many seconds the user's messages disappear. */
  readonly expires?: number
  /** The stored card of a contact. */
  readonly card?: string
  /** The user has blocked this person. */
  readonly blocked?: true
  /** The messages of a request. */
  readonly asked?: readonly Asked[]
}

/** A received message, with the texts as the sender wrote them. */
export interface Arrival {
  /** Identifies the message in a `done` effect; undefined if it is acknowledged already. */
  readonly ticket?: number
  readonly conversation: string
  readonly author: string
  readonly fingerprint?: string
  readonly id?: string
  readonly at: number
  readonly verdict: Verdict
  readonly text: string
  /** The message changes an earlier one of the same author. */
  readonly change?: { readonly of: string; readonly to: 'edited' | 'removed' }
  readonly replyTo?: string
  readonly protection?: Protection
  /** After how many seconds it disappears. */
  readonly expires?: number
  readonly gap?: true
  readonly late?: true
  readonly card?: string
}

/** A message of an earlier session. */
export interface Kept extends Omit<Arrival, 'ticket' | 'gap' | 'late'> {
  readonly mine: boolean
  readonly deliveries: readonly Delivery[]
}

export type Input =
  | KeyInput
  | { readonly kind: 'resize'; readonly size: Size }
  | { readonly kind: 'people'; readonly parties: readonly Party[] }
  | { readonly kind: 'open'; readonly conversation: string }
  /** The user says the text in that conversation, which can be written to now. */
  | { readonly kind: 'say'; readonly conversation: string; readonly text: string }
  | { readonly kind: 'arrival'; readonly arrival: Arrival }
  | { readonly kind: 'earlier'; readonly kept: readonly Kept[] }
  | { readonly kind: 'sent'; readonly key: number; readonly deliveries: readonly Delivery[] }
  | { readonly kind: 'unsent'; readonly key: number; readonly why: string }
  | {
      readonly kind: 'delivery'
      readonly id: string
      readonly state: DeliveryState
      readonly why?: string
      readonly protection?: Protection
    }
  | { readonly kind: 'transfer'; readonly key: number; readonly transfer: Transfer }
  /** The progress of a file from a contact; `id` is the file's. */
  | {
      readonly kind: 'file'
      readonly conversation: string
      readonly id: string
      readonly author: string
      readonly fingerprint: string
      readonly transfer: Transfer
    }
  | { readonly kind: 'relay'; readonly relay: RelayState }
  /** Time passes: seconds since the machine started, also while it was suspended. No change of the clock affects them. */
  | { readonly kind: 'tick'; readonly seconds: number }
  /** The user no longer receives from the relay. */
  | { readonly kind: 'relay-gone'; readonly relay: string }
  | { readonly kind: 'told'; readonly text: string; readonly role?: Role }
  /** A command of the user failed: its line comes back, so that the user can correct it. */
  | { readonly kind: 'refused'; readonly command: Typed; readonly why: string }
  | { readonly kind: 'note'; readonly conversation: string; readonly text: string }
  | { readonly kind: 'show'; readonly title: string; readonly text: string }
  | { readonly kind: 'receipts'; readonly on: boolean }
  /** Another command has shown the message. */
  | { readonly kind: 'taken'; readonly ticket: number }
  /** The last rows of these entries are on the screen, or in the output of plain mode. */
  | { readonly kind: 'drawn'; readonly keys: readonly number[] }
  | { readonly kind: 'paths'; readonly line: string; readonly found: readonly string[] }
  /** A complete line, in plain mode. */
  | { readonly kind: 'line'; readonly text: string }

/** A command as the user typed it, and the conversation in which they did. */
export interface Typed {
  readonly line: string
  readonly conversation: string | undefined
}

export type Effect =
  | {
      readonly kind: 'send'
      readonly key: number
      readonly conversation: string
      readonly text: string
      readonly replyTo?: string
      readonly expires?: number
    }
  | {
      readonly kind: 'edit'
      readonly conversation: string
      readonly of: readonly Delivery[]
      readonly text: string
      readonly expires?: number
    }
  | { readonly kind: 'remove'; readonly conversation: string; readonly of: readonly Delivery[] }
  | { readonly kind: 'file'; readonly key: number; readonly conversation: string; readonly path: string }
  | { readonly kind: 'card' }
  /** Receive again from the user's relays. */
  | { readonly kind: 'connect' }
  | { readonly kind: 'verify'; readonly conversation: string; readonly confirmed: boolean; readonly command: Typed }
  /** Add a card, or join a group; `card` may be a text around the link of a card. */
  | { readonly kind: 'add'; readonly card: string; readonly name?: string; readonly command: Typed }
  /** Join the relay of an invite. */
  | { readonly kind: 'join'; readonly invite: string; readonly command: Typed }
  /** Make the sender of a request a contact, and answer with the text; or accept the new keys of a contact. */
  | {
      readonly kind: 'accept'
      readonly conversation: string
      readonly name?: string
      readonly text?: string
      readonly command: Typed
    }
  | { readonly kind: 'ignore'; readonly conversation: string; readonly command: Typed }
  | { readonly kind: 'block'; readonly conversation: string; readonly isOn: boolean; readonly command: Typed }
  | {
      readonly kind: 'group'
      readonly conversation: string | undefined
      readonly words: readonly string[]
      readonly command: Typed
    }
  | { readonly kind: 'receipts'; readonly on: boolean }
  /** Store a rule of the user for a conversation. */
  | { readonly kind: 'mute'; readonly conversation: string; readonly on: boolean; readonly command: Typed }
  | { readonly kind: 'expires'; readonly conversation: string; readonly seconds: number | undefined; readonly command: Typed }
  /** Show the messages of all sessions that contain each of the words. */
  | { readonly kind: 'find'; readonly words: readonly string[]; readonly command: Typed }
  | { readonly kind: 'paths'; readonly line: string; readonly prefix: string }
  /** Acknowledge these messages: they were shown. */
  | { readonly kind: 'done'; readonly tickets: readonly number[] }
  /** Send receipts for these messages: the user read them in an open conversation. */
  | { readonly kind: 'read'; readonly messages: readonly { readonly from: string; readonly id: string }[] }
  /** Notify the user of a message that they do not see. */
  | { readonly kind: 'attention' }
  /** Show a text alone and unwrapped. */
  | { readonly kind: 'alone'; readonly text: string }
  | { readonly kind: 'redraw' }
  | { readonly kind: 'suspend' }
  | { readonly kind: 'quit' }
