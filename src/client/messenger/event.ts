import type { SshKey } from '../../auth/ssh-key.ts'
import type { RingEvent } from '../ring/receiving.ts'
import type { Contact } from './contact.ts'
import type { Delivery } from './delivery.ts'
import type { FileEvent } from './transfers.ts'

/** An event of a messenger, by `kind`. */
export type MessengerEvent =
  | FileEvent
  /** The state of a sent message changed, or the reason why it waits. */
  | { readonly kind: 'delivery'; readonly delivery: Delivery }
  /** A connection to a relay changed. */
  | {
      readonly kind: 'relay'
      readonly relay: string
      readonly purpose: 'receive' | 'send'
      readonly state: 'connecting' | 'up' | 'down'
      /** Why it is down; missing if it was only idle. */
      readonly error?: unknown
      /** Number of messages that wait at the relay. */
      readonly waiting?: number
      /** Milliseconds until the next try. */
      readonly again?: number
    }
  /** Another program with the same key now receives from the relay. This messenger no longer does. */
  | { readonly kind: 'taken-over'; readonly relay: string }
  /** The relay lost its messages. The messenger sends unconfirmed ones again. */
  | { readonly kind: 'forgotten'; readonly relay: string }
  /** The relay announces that it moves to the address `name`. The user decides whether to follow. */
  | { readonly kind: 'moved'; readonly relay: string; readonly name: string }
  /** A store failed. The messenger keeps the data in memory, and saves the outbox with the next change. */
  | { readonly kind: 'not-kept'; readonly error: unknown }
  /**
   * The contact's keys changed in an unusual way. `anew`: the contact has lost its state, and begins anew; unconfirmed
   * messages are sent again. `unproven`: a message of the contact says so, and lacks the proof: another person may have
   * the contact's SSH key. `two-clients`: two programs write with this contact's key.
   */
  | { readonly kind: 'ring'; readonly event: RingEvent; readonly contact: Contact }
  /**
   * The relay holds a bundle of the user's inbox that this client did not make: another client has the inbox key, or the
   * state was restored from a backup. The client publishes none until the day after that bundle's.
   */
  | { readonly kind: 'other-bundle'; readonly relay: string }
  /** The relay holds the bundle of the user's inbox; with an error, it could not be published there. */
  | { readonly kind: 'published'; readonly relay: string; readonly error?: unknown }
  /** A receipt was not sent, because the key could not sign or the outbox is full. */
  | { readonly kind: 'not-said'; readonly to: Contact; readonly error: unknown }
  /**
   * The clock of this machine seems to be ahead or behind, by at least so many seconds: several contacts agree. With
   * `was-ahead`, it was ahead before: messages from until now may be `stale`.
   */
  | { readonly kind: 'clock'; readonly off: 'ahead' | 'behind'; readonly by: number }
  | { readonly kind: 'clock'; readonly off: 'was-ahead' }
  /** A message came again and was dropped. */
  | { readonly kind: 'duplicate'; readonly relay: string; readonly from: SshKey; readonly id: string }
