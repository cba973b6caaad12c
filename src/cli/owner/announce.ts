import { fingerprintOf } from '../../client/format/field.ts'
import type { Home } from '../profile/home.ts'
import { PACKAGE_VERSION } from '../../version.ts'
import { greet } from './greeting.ts'
import { findPlace } from './place.ts'

/** How long the owner may take to read the files, ms. */
const REFRESH_MS = 3_000

/**
 * Has the owner of the profile read its contacts, groups and settings again, and waits until it has: a message that
 * comes after this finds them. Without an owner, nothing happens; an owner that does not answer notices by itself.
 */
export async function announce(home: Home, env: Readonly<Record<string, string | undefined>>): Promise<void> {
  try {
    const card = await home.readCard()
    const place = card && (await findPlace(home.stateFolder, fingerprintOf(card.key), env['XDG_RUNTIME_DIR']))
    const greeted = place && (await greet(place, { version: PACKAGE_VERSION, what: 'contact' }))
    if (greeted === undefined) return
    const { lines, listen } = greeted
    const read = new Promise<void>((resolve) => listen((tell) => void (tell.kind === 'answer' && resolve())))
    lines.send({ kind: 'refresh', n: 1 })
    const timer = setTimeout(() => lines.destroy(), REFRESH_MS)
    await Promise.race([read, lines.closed])
    clearTimeout(timer)
    lines.destroy()
  } catch {
    // The owner is suspended, or of another version.
  }
}
