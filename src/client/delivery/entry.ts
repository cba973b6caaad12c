/** The messages of an outbox: their stored form, their states, and the outbox's limits. Times are milliseconds. */
import type { RelayErrorCode } from '../wire/error.ts'

/**
 * A route is where a message goes: `RELAY` for the mailbox of the receiver's key at that relay, or `RELAY SHA256:…` for
 * another mailbox there. Each route has a connection of its own.
 */
export function relayOf(route: string): string {
  const at = route.indexOf(' ')
  return at === -1 ? route : route.slice(0, at)
}

/** Returns the mailbox of a route, if it is not that of the receiver's key. */
export function mailboxOf(route: string): string | undefined {
  const at = route.indexOf(' ')
  return at === -1 ? undefined : route.slice(at + 1)
}

/** An unconfirmed message, as an outbox takes it and as a store keeps it between two runs. */
export interface OutboxEntry {
  readonly id: string
  /** The receiver's fingerprint, `SHA256:…`. */
  readonly to: string
  /** The receiver's routes when the message was written, for use until newer ones are available. */
  readonly relays: readonly string[]
  /**
   * The age file. The message is signed and encrypted once, however often it is sent; encrypted anew only if the receiver
   * may have lost its key. Empty while there is no key to encrypt to.
   */
  readonly payload: Uint8Array
  /** The signed text, padded, to encrypt it anew. A version without one-time keys stored none. */
  readonly text?: Uint8Array
  /** The text's header `left`. */
  readonly left?: number
  /** It is for the receiver's inbox, not for an address. */
  readonly daily?: true
  /** How often it was encrypted anew because the receiver could not read it. */
  readonly renewals?: number
  /** When the message was written, and when the outbox gives it up. */
  readonly time: number
  readonly deadline: number
  /** False if the receiver sends no receipt for it (receipts themselves): a relay's answer settles it. */
  readonly confirm: boolean
  /** False for a part of a file: stores do not keep it, and no message refers to it in `after`. */
  readonly keep?: false
  /** The relays that accepted it and have not reported its loss. */
  readonly held: readonly string[]
  /**
   * How often relays accepted it, when to send it again, and the run of each relay in `held`. Absent if it is to be sent
   * now, or if a relay does not name its run.
   */
  readonly sent?: { readonly copies: number; readonly again: number; readonly runs: readonly string[] }
}

/**
 * `waiting`: no relay accepted the message yet. `held`: a relay accepted it. `delivered`, `read`: the receiver
 * confirmed that. `expired`: its deadline passed without a receipt. `failed`: no relay of the receiver will accept it.
 */
export type DeliveryState = 'waiting' | 'held' | 'delivered' | 'read' | 'expired' | 'failed'

/** A change of a message's state. */
export interface OutboxChange {
  readonly id: string
  readonly to: string
  readonly state: DeliveryState
  /** The relay that accepted it, or that refused it last. */
  readonly relay?: string
  /** Why it failed, or why it still waits. */
  readonly code?: RelayErrorCode
  /** As in `RelayError`. */
  readonly seconds?: number | undefined
}

/** Work for the connection of a route. */
export type OutboxTask =
  | {
      readonly kind: 'send'
      readonly relay: string
      readonly id: string
      readonly to: string
      /** Empty: the connection must fetch the receiver's bundle first. */
      readonly payload: Uint8Array
      /** How often relays accepted it before. */
      readonly copies: number
      readonly daily: boolean
    }
  /** Connect. If the relay names another run than before, it restarted and forgot its messages. */
  | { readonly kind: 'look'; readonly relay: string }

export const OUTBOX = Object.freeze({
  /** Most messages of an outbox, and most bytes of their payloads. */
  entries: 10_000,
  bytes: 67_108_864,
  /** Unanswered SENDs to one relay. If the relay refuses one, at most this many arrive out of order. */
  window: 32,
  /** Pauses before a held message is sent again, ms: after the first time, the second, and so on. The last repeats. */
  again: Object.freeze([3_600_000, 14_400_000, 43_200_000, 86_400_000]),
  /** Pauses before a look at a relay, ms, doubling from the first to the second, which is below a token's lifetime. */
  look: Object.freeze([240_000, 1_920_000] as const),
  /** Pause after a refusal that only a person can resolve, ms. */
  denied: 3_600_000,
  /** Most delivered messages for which the outbox still accepts a `read` receipt. */
  confirmed: 4_096,
  /** Most relays of which the outbox remembers the run. */
  runs: 1_024,
})

/** An entry with what the outbox knows of it. */
export interface Entry extends Omit<OutboxEntry, 'held' | 'sent'> {
  /** The relay of its unanswered SEND. */
  flying: string | undefined
  /** Whether that SEND is for a second relay, while the first one holds it. */
  isSecond: boolean
  /** Whether to send it: no relay holds it, or not reliably. */
  wanted: boolean
  /** The routes on which relays hold it, each with the end of the hold time. */
  readonly held: Map<string, number>
  state: 'waiting' | 'held'
  /** How often relays accepted it. */
  copies: number
  /** When to send it again if no receipt comes. */
  again: number
  /** Relays that will never accept it, and why. */
  readonly refused: Map<string, RelayErrorCode>
}

/** Returns how many bytes a message takes. */
export const countBytes = ({ payload, text }: Pick<OutboxEntry, 'payload' | 'text'>): number => payload.length + (text?.length ?? 0)

/** Whether one relay holds a text that could be at two: first messages and parts of files go to one. */
export const isSingle = ({ daily, text, confirm, keep, held }: Entry): boolean =>
  held.size === 1 && text !== undefined && daily !== true && confirm && keep !== false
