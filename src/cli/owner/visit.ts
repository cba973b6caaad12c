/** Short visits to the contact requests of a profile: at its owner if there is one, otherwise on the disk. */
import { setTimeout as pause } from 'node:timers/promises'
import { fingerprintOf } from '../../client/format/field.ts'
import type { Identity } from '../../client/format/identity.ts'
import { makeFolder } from '../disk/file.ts'
import { takeLock } from '../disk/lock.ts'
import type { Home } from '../profile/home.ts'
import { type ContactRequest, Requests } from '../profile/requests.ts'
import { CliError } from '../program/error.ts'
import { PACKAGE_VERSION } from '../../version.ts'
import { greet } from './greeting.ts'
import { Link } from './link.ts'
import { findPlace } from './place.ts'

/** How long another process may take to become the owner, or to end as the owner, ms. */
const TAKE_MS = 10_000
const AGAIN_MS = 20

/** The operations of a visitor. */
export interface Visit {
  list(): Promise<readonly ContactRequest[]>
  ignore(fingerprint: string): Promise<void>
}

/**
 * Visits the requests of a profile.
 * @param unlock returns the user's identity, which opens the requests on the disk; called only if there is no owner, and
 *   there are requests
 * @throws {CliError} if the owner does not answer, or the requests cannot be read
 */
export async function visitRequests<T>(
  home: Home,
  env: Readonly<Record<string, string | undefined>>,
  unlock: () => Promise<Identity>,
  work: (visit: Visit) => Promise<T>,
): Promise<T> {
  const card = await home.readCard()
  await makeFolder(home.stateFolder)
  const place = card && (await findPlace(home.stateFolder, fingerprintOf(card.key), env['XDG_RUNTIME_DIR']))
  // Without a card, or in another user's folder, nothing is stored.
  if (place === undefined) return work(NONE)
  let identity: Identity | undefined
  const until = performance.now() + TAKE_MS
  for (;;) {
    const greeted = await greet(place, { version: PACKAGE_VERSION, what: 'contact' })
    if (greeted !== undefined) {
      const link = new Link(greeted, { find: () => undefined }, NOTHING)
      try {
        return await work({ list: () => link.requests(), ignore: (fingerprint) => link.ignore(fingerprint) })
      } finally {
        await link.close()
      }
    }
    if (!(await Requests.exist(home.stateFolder))) return work(NONE)
    // A question for a passphrase must not keep other commands waiting.
    identity ??= await unlock()
    const lock = await takeLock(place.lock)
    if (typeof lock !== 'number') {
      try {
        const requests = await Requests.open(home.stateFolder, identity, Math.floor(Date.now() / 1_000))
        return await work({ list: async () => requests.list(), ignore: (fingerprint) => requests.remove([fingerprint]) })
      } finally {
        await lock.release()
      }
    }
    if (performance.now() > until)
      throw new CliError(`another asfaleia, process ${lock}, has this profile and does not answer`, { hint: 'end that process' })
    await pause(AGAIN_MS)
  }
}

const NONE: Visit = Object.freeze({ list: async () => [], ignore: async () => {} })
const NOTHING = Object.freeze({ onHolds() {}, onArrived() {}, onChanged() {}, onRequests() {} })
