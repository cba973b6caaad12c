/** Checks addresses of relays: on the command line, in the profile and in the files of contacts. */
import { normalizeRelay } from '../../client/format/card.ts'
import { parseTarget } from '../../transport/address.ts'
import { CliError, UsageError } from '../program/error.ts'

const MOST_RELAYS = 8

/** Whether a relay runs on this machine. */
export function isLocal(relay: string): boolean {
  return parseTarget(relay).kind !== 'name'
}

/** Returns the addresses in their normal form. @throws {CliError} that names the wrong one */
export function checkRelays(relays: readonly string[]): readonly string[] {
  if (relays.length > MOST_RELAYS) throw new CliError(`${relays.length} relays are too many: at most ${MOST_RELAYS} are allowed`)
  return relays.map((relay) => {
    try {
      parseTarget(relay)
      return normalizeRelay(relay) ?? relay
    } catch (error) {
      throw new CliError(`"${relay}" is not the address of a relay: ${(error as TypeError).message}`)
    }
  })
}

/** As {@link checkRelays}, for the option `--relay`. @throws {UsageError} */
export function checkGiven(relays: readonly string[]): readonly string[] {
  try {
    return checkRelays(relays)
  } catch (error) {
    throw new UsageError(`--relay: ${(error as CliError).message}`)
  }
}
