/**
 * The client's folder on this machine: the profile, the user's card and keys, the contact book, the groups, and the
 * state of messages. Each part is read when a command needs it, and the folder is created with the first write.
 */
import { type Stats, statSync } from 'node:fs'
import { isAbsolute, join, resolve } from 'node:path'
import { type Card, CardError, makeCard, parseCard } from '../../client/format/card.ts'
import { fingerprintOf } from '../../client/format/field.ts'
import { generateEncryptionKey, type Identity, signingIdentity } from '../../client/format/identity.ts'
import { type CardFacts, isCardOf } from '../../profile/facts.ts'
import { checkRelays, isLocal } from './address.ts'
import { Blocked } from './blocked.ts'
import { Book } from './book.ts'
import { Fields } from '../../profile/fields.ts'
import { makeFolder, readBytes, readText, resolvePath, writeWhole } from '../disk/file.ts'
import { Groups } from './groups.ts'
import { Rules } from './rules.ts'
import { CliError, UsageError } from '../program/error.ts'
import type { Io } from '../program/io.ts'
import { parseSpan } from '../program/span.ts'

/** The settings in the file `profile`. */
export interface Settings {
  readonly name?: string
  /** As `--key` takes it. */
  readonly key?: string
  readonly relays: readonly string[]
  /** Whether the client receives from the mailbox of the user's own key, too. Relays then learn that key. */
  readonly isPublic: boolean
  /** Relays that may know the user's own key, because they admit only members. */
  readonly memberAt: readonly string[]
  /** How many relays get a text at once; without it, two if the receiver has addresses at two. */
  readonly copies?: 1 | 2
  readonly socks?: string
  readonly receipts: { readonly delivered: boolean; readonly read: boolean }
  /** The folder for received files, absolute. */
  readonly files?: string
  readonly history: boolean
  /** For how many seconds the history keeps messages; without it, for ever. */
  readonly historyFor?: number
  readonly outbox: boolean
  /** Whether the client stores tags of received messages, by which it recognises duplicates. */
  readonly seen: boolean
}

/** The settings without a profile. */
export const NO_SETTINGS: Settings = Object.freeze({
  relays: [],
  isPublic: true,
  memberAt: [],
  receipts: Object.freeze({ delivered: true, read: false }),
  history: false,
  outbox: false,
  seen: true,
})

const MOST_BYTES = 65_536
const DAY = 86_400
/** Bounds of `history: 7d`. */
const HISTORY_DAYS = { least: 1, most: 3_650 } as const
const FIRST_RUN = 'make one with `asfaleia me --name NAME --relay ADDRESS.onion`'

export class Home {
  readonly path: string
  /** The folder of the state: messages, one-time keys and addresses. */
  readonly stateFolder: string

  constructor(path: string, stateFolder = join(path, 'state')) {
    this.path = path
    this.stateFolder = stateFolder
  }

  /** @throws {CliError} that names the file */
  async readSettings(): Promise<Settings> {
    const fields = await this.readFields()
    const line = fields.findBroken()
    if (line !== undefined)
      throw new CliError(`${this.#file('profile')}: line ${line} has not the form \`name: value\``, {
        hint: 'the file was left untouched; correct that line, or put # before it',
      })
    const broken = (line: string, why: string): CliError =>
      new CliError(`${this.#file('profile')}: \`${line}\`: ${why}`, { hint: 'the file was left untouched; correct that line' })
    const one = (line: string): string | undefined => {
      const [value, ...more] = fields.all(line)
      if (more.length > 0) throw broken(line, 'it occurs more than once')
      return value === '' ? undefined : value
    }
    const isOn = (line: string, fallback: boolean): boolean => {
      const value = one(line)
      if (value === undefined) return fallback
      if (value !== 'yes' && value !== 'no') throw broken(line, 'it must be yes or no')
      return value === 'yes'
    }
    const receipts =
      fields.all('receipts').length === 0 ? ['delivered'] : (one('receipts') ?? '').split(/[ ,]+/).filter((word) => word !== '')
    if (receipts.some((word) => !['delivered', 'read', 'no'].includes(word)))
      throw broken('receipts', 'it must be no, delivered, read, or delivered read')
    const relaysOf = (line: string): readonly string[] => {
      try {
        return checkRelays(fields.all(line))
      } catch (error) {
        throw broken(line, (error as CliError).message)
      }
    }
    const copies = one('copies')
    if (copies !== undefined && copies !== '1' && copies !== '2') throw broken('copies', 'it must be 1 or 2')
    const kept = one('history')
    const historyFor = kept === undefined ? undefined : parseSpan(kept, HISTORY_DAYS.least * DAY, HISTORY_DAYS.most * DAY)
    if (kept !== undefined && historyFor === undefined && kept !== 'yes' && kept !== 'no')
      throw broken('history', 'it must be yes, no, or a time from 1d to 3650d, such as 7d')
    const [name, key, socks, files] = ['name', 'key', 'socks', 'files'].map(one)
    return {
      relays: relaysOf('relay'),
      // Profiles of earlier versions lack the line, and people know their keys.
      isPublic: isOn('public', true),
      memberAt: relaysOf('member'),
      ...(copies !== undefined && { copies: copies === '1' ? (1 as const) : (2 as const) }),
      receipts: { delivered: receipts.includes('delivered'), read: receipts.includes('read') },
      history: kept !== undefined && kept !== 'no',
      ...(historyFor !== undefined && { historyFor }),
      outbox: isOn('outbox', false),
      seen: isOn('seen', true),
      ...(name !== undefined && { name }),
      ...(key !== undefined && { key: this.#locate(key) }),
      ...(socks !== undefined && { socks }),
      ...(files !== undefined && { files: resolvePath(files, this.path) }),
    }
  }

  async readFields(): Promise<Fields> {
    return new Fields(await readText(this.#file('profile'), MOST_BYTES))
  }

  /** Explains why the profile names no key: it is missing, empty, or lacks the line. */
  async describeMissing(): Promise<UsageError> {
    const path = this.#file('profile')
    const again = '`asfaleia me --name NAME --relay ADDRESS` makes it again, with the key that is there'
    const text = await readText(path, MOST_BYTES)
    if (text !== undefined && text.trim() !== '')
      return new UsageError(`the profile ${path} names no key`, { hint: 'add a line such as `key: FILE`, or name the key with --key' })
    const hasKey = (await readBytes(this.keyFile, MOST_BYTES)) !== undefined
    if (text !== undefined) return new UsageError(`the profile ${path} is empty`, { hint: hasKey ? again : FIRST_RUN })
    return hasKey
      ? new UsageError(`the profile ${path} is missing, but your key is there`, { hint: again })
      : new UsageError('you have no profile yet', { hint: FIRST_RUN })
  }

  /** @throws {CliError} */
  async writeFields(fields: Fields): Promise<void> {
    await makeFolder(this.path)
    await writeWhole(this.#file('profile'), fields.toString(), { replace: true })
  }

  /** Reads the user's card; undefined if there is no valid one. @throws {CliError} */
  async readCard(): Promise<Card | undefined> {
    const text = await readText(this.#file('card'), MOST_BYTES)
    if (text === undefined) return undefined
    try {
      return await parseCard(text)
    } catch (error) {
      // makeCard makes a new one from the profile.
      if (error instanceof CardError) return undefined
      throw error
    }
  }

  /** Reads the user's card. @throws {CliError} if there is none, or it is damaged */
  async needCard(): Promise<Card> {
    const card = await this.readCard()
    if (card !== undefined) return card
    const path = this.#file('card')
    if ((await readBytes(path, MOST_BYTES)) !== undefined)
      throw new CliError(`your card ${path} is damaged`, { hint: '`asfaleia me` makes it again' })
    throw new CliError('you have no card yet', { hint: '`asfaleia me --name NAME --relay ADDRESS.onion` makes it' })
  }

  /** Returns the user's card, and makes a new one if the profile or the wanted version has changed. @throws {CliError} */
  async makeCard(identity: Identity, facts: CardFacts, now: number): Promise<Card> {
    const old = await this.readCard()
    const isSame =
      old !== undefined &&
      old.encrypt === identity.recipient &&
      fingerprintOf(old.key) === fingerprintOf(identity.key) &&
      isCardOf(old, facts)
    if (isSame) return old
    // Contacts believe the newer card, so the time must grow even if the clock was set back.
    const time = Math.max(now, (old?.time ?? 0) + 1)
    const card = await signCard(identity, { ...facts, time })
    await makeFolder(this.path)
    await writeWhole(this.#file('card'), card.text, { replace: true })
    return card
  }

  /**
   * Adds an encryption key to an identity whose own key cannot decrypt: an age key, which the user's card certifies.
   * @param make whether to generate a missing key; otherwise the identity is returned unchanged
   * @throws {CliError}
   */
  async completeIdentity(identity: Identity, make: boolean): Promise<Identity> {
    if (identity.opens.length > 0) return identity
    const path = this.#file('encryption-key')
    let secret = (await readText(path, MOST_BYTES))
      ?.split(/\r?\n/)
      .find((line) => line !== '' && !line.startsWith('#'))
      ?.trim()
    if (secret === undefined) {
      if (!make) return identity
      secret = await generateEncryptionKey()
      await makeFolder(this.path)
      await writeWhole(path, `${secret}\n`, { replace: false })
    }
    try {
      return await signingIdentity(identity, secret)
    } catch (error) {
      if (!(error instanceof TypeError)) throw error
      throw new CliError(`${path}: it does not hold an age identity`, {
        hint: 'the file was left untouched; restore it from a backup: without it you cannot read messages',
      })
    }
  }

  /** @param relays the user's own */
  openBook(relays: readonly string[]): Promise<Book> {
    return Book.open(join(this.path, 'contacts'), relays.some(isLocal))
  }

  openGroups(): Promise<Groups> {
    return Groups.open(join(this.path, 'groups'))
  }

  openBlocked(): Promise<Blocked> {
    return Blocked.open(this.#file('blocked'))
  }

  openRules(): Promise<Rules> {
    return Rules.open(this.#file('rules'))
  }

  get onionFolder(): string {
    return this.#file('onions')
  }

  get inboxFile(): string {
    return this.#file('inbox')
  }

  get keyFile(): string {
    return this.#file('key')
  }

  #file(name: string): string {
    return join(this.path, name)
  }

  /** Resolves a path in the profile; `agent` and `agent:SHA256:…` are not paths. */
  #locate(key: string): string {
    if (/^agent(?:$|:)/.test(key)) return key
    return isAbsolute(key) ? key : resolvePath(key, this.path)
  }
}

async function signCard(...args: Parameters<typeof makeCard>): Promise<Card> {
  try {
    return await makeCard(...args)
  } catch (error) {
    if (error instanceof CardError) throw new CliError(`cannot make your card: ${error.message}`)
    throw error
  }
}

/** The variables of {@link findHome}, for help texts. */
export const HOME_VARIABLES = {
  ASFALEIA_HOME: 'the folder of the profile, instead of ~/.config/asfaleia',
  ASFALEIA_CLIENT_STATE: 'the folder of its state, instead of `state` in it',
  XDG_CONFIG_HOME: 'the folder in which the folder of the profile lies, as asfaleia, instead of ~/.config',
} as const

/**
 * Finds the client's folders: ASFALEIA_HOME, XDG_CONFIG_HOME/asfaleia or ~/.config/asfaleia; undefined if none is set. The state is in
 * its folder `state`, or in ASFALEIA_CLIENT_STATE.
 * @throws {CliError} if another user could have written it
 */
export function findHome(env: Io['env']): Home | undefined {
  const given = env['ASFALEIA_HOME'] || undefined
  const config = env['XDG_CONFIG_HOME'] || (env['HOME'] && join(env['HOME'], '.config')) || undefined
  const path = given ?? (config && join(config, 'asfaleia'))
  if (path === undefined) return undefined
  const folder = resolve(path)
  refuseForeign(folder, 'profile', 'ASFALEIA_HOME')
  const state = env['ASFALEIA_CLIENT_STATE']
  if (state === undefined || state === '') return new Home(folder)
  refuseForeign(resolve(state), 'state', 'ASFALEIA_CLIENT_STATE')
  return new Home(folder, resolve(state))
}

/** Refuses a folder that another user could have written, as ssh refuses such a file. */
function refuseForeign(folder: string, what: 'profile' | 'state', variable: string): void {
  const uid = process.getuid?.()
  let stat: Stats | undefined
  try {
    stat = statSync(folder, { throwIfNoEntry: false })
  } catch {
    // The first use of the folder gives the reason.
  }
  if (uid === undefined || stat === undefined) return
  if (stat.uid !== uid && stat.uid !== 0)
    throw new CliError(`the folder of the ${what}, ${folder}, belongs to another user`, {
      hint: `set ${variable} to a folder of yours, or run the command as its owner`,
    })
  if ((stat.mode & 0o002) !== 0)
    throw new CliError(`every user may write to the folder of the ${what}, ${folder}`, {
      hint: `keep them out: chmod go-rwx ${folder}; then check your contacts with \`asfaleia contact verify\``,
    })
}

/** @throws {CliError} */
export function needHome(env: Io['env']): Home {
  const home = findHome(env)
  if (home === undefined) throw new CliError('no folder for the profile: HOME is not set', { hint: 'set HOME or ASFALEIA_HOME' })
  return home
}
