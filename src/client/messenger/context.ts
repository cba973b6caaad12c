/** Shared by the sending and the receiving half of a messenger, which provides it. */
import type { Identity } from '../format/identity.ts'
import type { ClaimClient } from '../wire/claim-client.ts'
import type { ClaimOptions, ConnectOptions } from '../wire/connect.ts'
import type { RelayClient } from '../wire/client.ts'
import type { Clock } from './clock.ts'
import type { MessengerEvent } from './event.ts'
import type { MessengerOptions } from './options.ts'
import type { Courier, CourierOptions } from './outgoing.ts'
import type { Rings } from './rings.ts'
import type { Sealer } from './sealer.ts'
import type { Vault } from './vault.ts'

/** The options that differ from one connection of a relay to the next. */
export type Renewal = Pick<ConnectOptions, 'token' | 'login' | 'subscribe' | 'early' | 'isolation'>

export interface Context {
  readonly options: MessengerOptions
  readonly clock: Clock
  readonly random: () => number
  /** Resolves once the stores are loaded. Call it before sending or receiving. */
  readonly ready: () => Promise<void>
  readonly isClosed: () => boolean
  readonly emit: (event: MessengerEvent) => void
  /** Runs the messenger's due work soon, once for all calls until then. */
  readonly schedule: () => void
  /** Has `flush` wait for `work`. */
  readonly track: (work: Promise<void>) => Promise<void>
  /** @param identity the user's own by default */
  readonly connect: (relay: string, more: Renewal, identity?: Identity) => Promise<RelayClient>
  /** Connects without proving a key. */
  readonly connectClaims: (relay: string, more: Pick<ClaimOptions, 'isolation' | 'early'>) => Promise<ClaimClient>
  /** Connects to send on a route. */
  readonly connectCourier: (route: string, more: CourierOptions) => Promise<Courier>
  /** With `secrecy`. */
  readonly sealer?: Sealer
  readonly rings?: Rings
  readonly vault?: Vault
  /** No acknowledgement is under way any more. */
  readonly onAcked: () => void
}
