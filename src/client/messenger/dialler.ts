/** Connects a messenger to relays: as the user's own key, as another key, or without one. */
import { generateSeedKey } from '../../auth/seed.ts'
import { relayOf } from '../delivery/entry.ts'
import { type Identity, identityOf } from '../format/identity.ts'
import type { RelayClient } from '../wire/client.ts'
import { type ClaimOptions, connectClaims, connectRelay } from '../wire/connect.ts'
import type { Context, Renewal } from './context.ts'
import type { MessengerOptions } from './options.ts'
import type { Courier, CourierOptions } from './outgoing.ts'

export interface DiallerEvents {
  /** A relay announces that it moves to the address `name`. */
  readonly onMoved: (relay: string, name: string) => void
  /** As `ConnectOptions.onRun`. */
  readonly onRun: (relay: string, run: string) => void
}

export function createDialler(
  options: MessengerOptions,
  { onMoved, onRun }: DiallerEvents,
): Pick<Context, 'connect' | 'connectClaims' | 'connectCourier'> {
  const { identity, secrecy, sign, socks, timeout, connectTimeout, signal } = options
  const reach = (relay: string): Omit<ClaimOptions, 'early'> => ({
    relay,
    onMoved: (name) => onMoved(relay, name),
    onRun: (run) => onRun(relay, run),
    ...(socks !== undefined && { socks }),
    ...(timeout !== undefined && { timeout }),
    ...(connectTimeout !== undefined && { connectTimeout }),
    ...(signal !== undefined && { signal }),
  })
  const connect = (relay: string, more: Renewal, other?: Identity): Promise<RelayClient> =>
    (options.connect ?? connectRelay)({
      ...reach(relay),
      identity: other ?? identity,
      ...more,
      ...(other === undefined && sign !== undefined && { sign }),
    })
  const claim: Context['connectClaims'] = (relay, more) => (options.connectClaims ?? connectClaims)({ ...reach(relay), ...more })
  /** Under a throwaway secret, or as the user's own key if the relay may know it. */
  const connectCourier = async (route: string, { isolation, token, early }: CourierOptions): Promise<Courier> => {
    const relay = relayOf(route)
    const again = { login: true, isolation, ...(token && { token }) }
    if (secrecy === undefined || secrecy.members?.includes(relay) === true) return connect(relay, { ...again, ...(early && { early }) })
    const client = await claim(relay, {
      isolation,
      early: (first) => {
        early?.(first)
        first.prove()
      },
    })
    if (client.limits.labels > 0) return client
    client.close()
    // A relay of an earlier version has no claims. A throwaway key tells it as little.
    return connect(relay, again, identityOf(generateSeedKey()))
  }
  return { connect, connectClaims: claim, connectCourier }
}
