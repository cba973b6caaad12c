/** Checks the user's input, and names the fault in it. */
import { areCardRelays, normalizeRelay } from '../client/format/card.ts'
import { composeName, faultOf } from '../wording/name.ts'
import { describeFault } from '../wording/refusal.ts'

/** A change that the user asked for is not possible, or a saved file cannot be opened. The message is for the user. */
export class AccountError extends Error {
  override readonly name = 'AccountError'
}

/** Composes and checks a name that the user chose. @throws {AccountError} */
export function checkName(typed: string): string {
  const name = composeName(typed.trim())
  const fault = faultOf(name)
  if (fault !== undefined) throw new AccountError(`choose another name: ${fault}`)
  return name
}

/** Returns the addresses in their normal form. @throws {AccountError} */
export function checkRelays(relays: readonly string[]): readonly string[] {
  const addresses = relays.map((relay) => {
    const address = normalizeRelay(
      relay
        .trim()
        .replace(/^[a-z]+:\/\//i, '')
        .replace(/\/.*$/, ''),
    )
    if (address === undefined || isLocal(address))
      throw new AccountError('this is not the address of a relay: it has 56 letters and digits and ends with .onion')
    return address
  })
  if (!areCardRelays(addresses)) throw new AccountError('name one to eight different relays')
  return addresses
}

/** Whether the relay is the machine of the person who dials it. No page can reach one. */
export const isLocal = (relay: string): boolean => /^localhost(?::|$)/.test(relay)

/** Says in words why something failed. */
export function whyOf(error: unknown): string {
  return describeFault(error) ?? (error instanceof AccountError ? error.message : 'an error that this page does not know')
}
