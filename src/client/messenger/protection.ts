import type { Clock } from './clock.ts'
import { rolesOf } from './connections.ts'
import type { Context } from './context.ts'
import type { MessengerOptions } from './options.ts'
import { Rings } from './rings.ts'
import { Sealer } from './sealer.ts'
import { Vault } from './vault.ts'

/** Makes the parts that a messenger with `secrecy` has. @param onAddresses called when there are other addresses */
export function createProtection(
  { identity, secrecy }: MessengerOptions,
  clock: Clock,
  onAddresses: () => void,
): Pick<Context, 'rings' | 'vault' | 'sealer'> {
  if (secrecy === undefined) return {}
  const rings = new Rings(secrecy.rings)
  const vault = new Vault(secrecy.secrets, onAddresses)
  const relays = (): readonly string[] => rolesOf(secrecy.relays(), secrecy.copies).addresses
  return { rings, vault, sealer: new Sealer({ identity, secrecy, rings, vault, relays, now: () => clock.now() }) }
}
