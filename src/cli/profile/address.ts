/** Addresses of relays as people give them: on the command line, in the profile, in the file of a contact. */
import { normalizeRelay } from '../../client/format/card.ts'
import { parseTarget } from '../../transport/address.ts'
import { CliError, UsageError } from '../program/error.ts'

const MOST_RELAYS = 8

/** Whether a relay is at this machine. */
export function isLocal(relay: string): boolean {
  return parseTarget(relay).kind !== 'name'
}

/** @throws {CliError} */
export function checkRelays(relays: readonly string[]): readonly string[] {
  if (relays.length > MOST_RELAYS) throw new CliError(`at most ${MOST_RELAYS} relays`)
  return relays.map((relay) => {
    try {
      parseTarget(relay)
      return normalizeRelay(relay) ?? relay
    } catch (error) {
      throw new CliError(`that is no address of a relay: ${(error as TypeError).message}`)
    }
  })
}

/** The relays of the command line. @throws {UsageError} */
export function checkGiven(relays: readonly string[]): readonly string[] {
  try {
    return checkRelays(relays)
  } catch (error) {
    throw new UsageError(`--relay: ${(error as CliError).message}`)
  }
}
