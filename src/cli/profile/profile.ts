/**
 * Who acts: the options of the command line before what the profile says, and the key unlocked. A command that is told enough
 * does without a profile.
 */
import type { Identity } from '../../client/format/identity.ts'
import { parseEndpoint } from '../../transport/address.ts'
import { checkGiven, isLocal } from './address.ts'
import { Book } from './book.ts'
import { warnOf } from '../disk/folder.ts'
import { Groups } from './groups.ts'
import { findHome, type Home, NO_SETTINGS, type Settings } from './home.ts'
import { loadIdentity } from './identity.ts'
import { UsageError } from '../program/error.ts'
import type { Io } from '../program/io.ts'

export interface Profile extends Settings {
  /** Where what is kept is kept; nothing is where there is none. */
  readonly home?: Home
  readonly identity: Identity
  readonly book: Book
  readonly groups: Groups
  readonly sign: boolean
  /** Milliseconds. */
  readonly timeout?: number
}

/** The options of the commands that act for somebody. */
export interface Given {
  readonly relay?: readonly string[]
  readonly key?: string
  readonly sign?: boolean
  readonly socks?: string
  readonly timeout?: string
}

const FIRST_RUN = '`asfaleia me --name NAME --relay ADDRESS` makes a profile'

/**
 * The options and the profile, checked, and the key unlocked.
 * @throws {CliError} where neither says which key
 * @throws {UsageError} where an option is none
 */
export async function openProfile(io: Io, given: Given): Promise<Profile> {
  const home = findHome(io.env)
  const settings = (await home?.readSettings()) ?? NO_SETTINGS
  const key = given.key ?? settings.key
  if (key === undefined) throw new UsageError('--key is missing, and there is no profile yet', { hint: FIRST_RUN })
  const relays = given.relay === undefined ? settings.relays : checkGiven(given.relay)
  const seconds = given.timeout === undefined ? undefined : Number(given.timeout)
  if (seconds !== undefined && !(seconds > 0 && seconds <= 86_400)) throw new UsageError('--timeout wants a number of seconds')
  const { socks: kept, ...rest } = settings
  const socks = given.socks ?? (isUnderTorsocks(io.env) ? 'off' : io.env['ASFALEIA_SOCKS'] || kept)
  try {
    if (socks !== undefined && socks !== 'off') parseEndpoint(socks, 9050)
  } catch {
    throw new UsageError('--socks, ASFALEIA_SOCKS and `socks` of the profile want HOST:PORT or off')
  }
  const book = (await home?.openBook(relays)) ?? Book.empty(relays.some(isLocal))
  const groups = (await home?.openGroups()) ?? Groups.empty()
  warnOf(book, io)
  warnOf(groups, io)
  const identity = await loadIdentity(key, io)
  return {
    ...rest,
    relays,
    book,
    groups,
    sign: given.sign === true,
    // What was made for the profile's key is no other's.
    identity: home !== undefined && key === settings.key ? await home.completeIdentity(identity, false) : identity,
    ...(home !== undefined && { home }),
    ...(socks !== undefined && { socks }),
    ...(seconds !== undefined && { timeout: seconds * 1_000 }),
  }
}

/**
 * torsocks answers for the system's connect and getaddrinfo, and maps onion names to addresses of its
 * own; a SOCKS handshake of ours would go to tor twice.
 */
function isUnderTorsocks(env: Io['env']): boolean {
  return env['LD_PRELOAD']?.includes('torsocks') === true
}
