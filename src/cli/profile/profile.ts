/**
 * Opens the profile for a command: its settings, overridden by the command line, and the unlocked identity. A command
 * whose options name everything it needs works without a profile.
 */
import { existsSync } from 'node:fs'
import { fingerprintOf } from '../../client/format/field.ts'
import type { Identity } from '../../client/format/identity.ts'
import { isTorsocksLoaded, usesProxy } from '../../client/wire/dial.ts'
import { parseEndpoint } from '../../transport/address.ts'
import { checkGiven, isLocal } from './address.ts'
import { Blocked } from './blocked.ts'
import { Book } from './book.ts'
import { warnOf } from '../disk/folder.ts'
import { Groups } from './groups.ts'
import { Rules } from './rules.ts'
import { findHome, type Home, NO_SETTINGS, type Settings } from './home.ts'
import { loadIdentity } from './identity.ts'
import { CliError, UsageError } from '../program/error.ts'
import type { Io } from '../program/io.ts'

export interface Profile extends Settings {
  /** The folder of the profile; without it the client stores nothing. */
  readonly home?: Home
  /** The settings in its file, without the options of the command. */
  readonly stored: Settings
  readonly identity: Identity
  /** Whether the identity is that of the profile, and not of another key that the command names. */
  readonly isOwn: boolean
  readonly book: Book
  readonly groups: Groups
  readonly blocked: Blocked
  readonly rules: Rules
  readonly sign: boolean
  /** Milliseconds. */
  readonly timeout?: number
}

/** The options of commands that act with the user's identity. */
export interface Given {
  readonly relay?: readonly string[]
  readonly key?: string
  readonly sign?: boolean
  readonly socks?: string
  readonly timeout?: string
}

/**
 * Checks the options, reads the profile and unlocks the key.
 * @param unlocked the key of the profile, if the command has it already
 * @throws {CliError} if a file cannot be read
 * @throws {UsageError} if an option is wrong, or neither it nor the profile names a key
 */
export async function openProfile(io: Io, given: Given, unlocked?: Identity): Promise<Profile> {
  const home = findHome(io.env)
  const settings = (await home?.readSettings()) ?? NO_SETTINGS
  const key = given.key ?? settings.key
  if (key === undefined)
    throw (
      (await home?.describeMissing()) ??
      new UsageError('there is no folder for a profile: HOME is not set', {
        hint: 'set HOME or ASFALEIA_HOME, or name your key with --key',
      })
    )
  const relays = given.relay === undefined ? settings.relays : checkGiven(given.relay)
  const timeout = readTimeout(given.timeout)
  const { socks: kept, ...rest } = settings
  const socks = chooseSocks(given.socks, io, kept)
  const book = (await home?.openBook(relays)) ?? Book.empty(relays.some(isLocal))
  const groups = (await home?.openGroups()) ?? Groups.empty()
  const blocked = (await home?.openBlocked()) ?? Blocked.empty()
  const rules = (await home?.openRules()) ?? Rules.empty()
  warnOf(book, io)
  warnOf(groups, io)
  const identity = await (unlocked === undefined ? loadIdentity(key, io) : Promise.resolve(unlocked)).catch((error: unknown) => {
    const isGone = given.key === undefined && error instanceof CliError && !/^agent(?:$|:)/.test(key) && !existsSync(key)
    throw isGone
      ? new CliError(error.message, { hint: 'your profile names this key: restore it from a backup, or correct the line `key`' })
      : error
  })
  const isOwn = home !== undefined && (key === settings.key || (await isKeyOf(home, identity)))
  return {
    ...rest,
    stored: settings,
    relays,
    book,
    groups,
    blocked,
    rules,
    sign: given.sign === true,
    isOwn,
    // The encryption key in the profile belongs to the profile's key alone.
    identity: isOwn ? await home.completeIdentity(identity, false) : identity,
    ...(home !== undefined && { home }),
    ...(socks !== undefined && { socks }),
    ...(timeout !== undefined && { timeout }),
  }
}

/** Whether the card of the profile is of the key. */
async function isKeyOf(home: Home, { key }: Identity): Promise<boolean> {
  const card = await home.readCard()
  return card !== undefined && fingerprintOf(card.key) === fingerprintOf(key)
}

/** Returns the value of `--timeout` in milliseconds. @throws {UsageError} */
export function readTimeout(given: string | undefined): number | undefined {
  if (given === undefined) return undefined
  const seconds = Number(given)
  if (seconds > 0 && seconds <= 86_400) return seconds * 1_000
  throw new UsageError(`--timeout ${given}: expected a number of seconds, at most 86400`)
}

/**
 * Chooses the way to relays: that of `--socks`, of torsocks, of ASFALEIA_SOCKS, or of the profile.
 * @param kept the value in the profile
 * @throws {UsageError} if it is not an address
 */
export function chooseSocks(given: string | undefined, { env }: Pick<Io, 'env'>, kept: string | undefined): string | undefined {
  // torsocks would send our own SOCKS handshake to Tor a second time.
  const socks = given ?? (isTorsocksLoaded() ? 'torsocks' : env['ASFALEIA_SOCKS'] || kept)
  try {
    if (socks !== undefined && usesProxy(socks)) parseEndpoint(socks, 9050)
  } catch {
    const source = given === undefined ? 'ASFALEIA_SOCKS, or `socks` of the profile' : '--socks'
    throw new UsageError(`${source}: "${socks}" is not an address`, { hint: 'expected HOST:PORT, off, torsocks or transparent' })
  }
  return socks
}
