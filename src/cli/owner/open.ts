/**
 * Opens the messenger of a profile: as its owner if no other command is, otherwise through the owner. So the commands of
 * a profile never compete for its mailboxes and its state.
 */
import { setTimeout as pause } from 'node:timers/promises'
import { fingerprintOf } from '../../client/format/field.ts'
import type { Identity } from '../../client/format/identity.ts'
import type { Contact } from '../../client/messenger/contact.ts'
import type { MessengerPort } from '../../client/messenger/port.ts'
import { makeFolder, UnwritableError } from '../disk/file.ts'
import { type Lock, takeLock } from '../disk/lock.ts'
import type { Home, Settings } from '../profile/home.ts'
import type { Profile } from '../profile/profile.ts'
import { takeSentCard } from '../profile/sent-card.ts'
import { Requests } from '../profile/requests.ts'
import { type LockedOutbox, openOutbox, openSeen } from '../profile/state.ts'
import { CliError } from '../program/error.ts'
import { PACKAGE_VERSION } from '../../version.ts'
import { Host } from './host.ts'
import { CardGiver } from './giver.ts'
import { greet } from './greeting.ts'
import { Link } from './link.ts'
import type { Opened, OpenOptions } from './opening.ts'
import { openSecrecy } from './secrecy.ts'
import { findPlace, listen, type Place } from './place.ts'
import type { Wishes } from './record.ts'
import { type Attachment, Shared } from './shared.ts'
import type { RequestDesk } from './reception.ts'
import { watchProfile } from './watch.ts'

/** How long another process may take to become the owner, or to end as the owner, ms. */
const TAKE_MS = 10_000
/** The pause before the next try, ms. */
const AGAIN_MS = 20

/** The SOCKS port without a setting. */
const SOCKS = '127.0.0.1:9050'

/** @throws {CliError} if the owner does not answer or is of another version, or the state cannot be used */
export async function openShared(profile: Profile, options: OpenOptions): Promise<Opened> {
  const { home, identity } = profile
  const place = home === undefined ? undefined : await makePlace(home, identity, options)
  const client = new Client(profile, options, place)
  const first = await client.attach()
  const messenger = first.isOwner ? first.port : new Shared(first, () => client.attach())
  client.use(messenger)
  const stop = (): void => void messenger.close()
  options.signal?.addEventListener('abort', stop, { once: true })
  return {
    messenger,
    requests: client.requests,
    holds: (relay) => client.holds.get(relay),
    look: () => client.host?.desk.look(),
    async close() {
      options.signal?.removeEventListener('abort', stop)
      await messenger.close()
      await client.close()
    },
  }
}

/** @returns undefined if the command must work alone */
async function makePlace({ stateFolder }: Home, { key }: Identity, { env, outbox }: OpenOptions): Promise<Place | undefined> {
  try {
    await makeFolder(stateFolder)
  } catch (error) {
    if (outbox || !(error instanceof UnwritableError)) throw error
    return undefined
  }
  return findPlace(stateFolder, fingerprintOf(key), env['XDG_RUNTIME_DIR'])
}

/** One command: the owner of its profile, or a client of the owner. */
class Client {
  readonly #profile: Profile
  readonly #options: OpenOptions
  readonly #place: Place | undefined
  readonly holds = new Map<string, number>()
  host: Host | undefined
  /** The connection to the owner. */
  #owner: Link | undefined
  #release: (() => Promise<void>) | undefined
  #stopWatch: (() => void) | undefined
  readonly #giver: CardGiver
  #messenger: MessengerPort | undefined
  /** The settings of the profile as they are now. */
  #settings: Settings
  /** The relays to receive from. */
  #relays: readonly string[]

  constructor(profile: Profile, options: OpenOptions, place: Place | undefined) {
    this.#profile = profile
    this.#giver = new CardGiver(profile)
    this.#options = options
    this.#place = place
    this.#settings = profile.stored
    this.#relays = options.relays
  }

  readonly requests: RequestDesk = {
    list: () => (this.host === undefined ? this.#ask((owner) => owner.requests(), []) : this.host.reception.list()),
    ignore: (fingerprint) =>
      this.host === undefined ? this.#ask((owner) => owner.ignore(fingerprint), undefined) : this.host.reception.ignore(fingerprint),
    markShown: (ids) =>
      this.host === undefined ? this.#ask((owner) => owner.markShown(ids), undefined) : this.host.reception.markShown(ids),
    refresh: () => (this.host === undefined ? this.#ask((owner) => owner.refresh(), undefined) : this.host.refresh()),
  }

  /** Asks the owner. @returns `otherwise` if it is gone and no other one is there yet */
  #ask<T>(ask: (owner: Link) => Promise<T>, otherwise: T): Promise<T> {
    return this.#owner === undefined ? Promise.resolve(otherwise) : ask(this.#owner)
  }

  /** From now on, the messenger follows the settings. */
  use(messenger: MessengerPort): void {
    this.#messenger = messenger
  }

  /** Finds the owner, or becomes it. @throws {CliError} */
  async attach(): Promise<Attachment & { readonly isOwner: boolean }> {
    const place = this.#place
    if (place === undefined) return this.#own(undefined, async () => {})
    const until = performance.now() + TAKE_MS
    for (;;) {
      const link = await this.#link(place)
      if (link !== undefined) return { port: link, lost: link.lost, isOwner: false }
      const lock = await this.#lock(place)
      // On a full disk, this process can read messages, but cannot serve other commands.
      if (lock === undefined) return this.#own(undefined, async () => {})
      if (typeof lock !== 'number') {
        try {
          return await this.#own(place, lock.release)
        } catch (error) {
          await lock.release()
          if (!this.#mayBeAlone(error)) throw error
          return this.#own(undefined, async () => {})
        }
      }
      if (performance.now() > until)
        throw new CliError(`another asfaleia, process ${lock}, has this profile and does not answer`, { hint: 'end that process' })
      await pause(AGAIN_MS)
    }
  }

  /** @returns undefined if the disk is full, and this command needs no outbox @throws {CliError} */
  async #lock({ lock }: Place): Promise<Lock | number | undefined> {
    try {
      return await takeLock(lock)
    } catch (error) {
      if (!this.#mayBeAlone(error)) throw error
      return undefined
    }
  }

  /** Whether the command can go on without a file that it failed to write. */
  #mayBeAlone(error: unknown): boolean {
    return error instanceof UnwritableError && !this.#options.outbox
  }

  async close(): Promise<void> {
    this.#stopWatch?.()
    await this.#giver.idle()
    await this.host?.close(async () => this.#release?.())
  }

  async #link(place: Place): Promise<Link | undefined> {
    const { what, takes, mirrors, members, outbox, reads, folder, contacts, socks } = this.#options
    const relays = this.#relays
    const wishes: Wishes = {
      relays,
      takes,
      mirrors: mirrors === true,
      members: members === true,
      outbox,
      reads,
      ...(folder !== undefined && { folder }),
    }
    const greeted = await greet(place, { version: PACKAGE_VERSION, what }, wishes)
    if (greeted === undefined) return undefined
    const { owner } = greeted
    const refuse = (why: string, hint: string): never => {
      greeted.lines.destroy()
      throw new CliError(why, { hint })
    }
    if (outbox && !owner.outbox)
      refuse(
        `the ${owner.what} that has this profile runs without the outbox`,
        `set \`outbox: yes\` in the profile and restart the ${owner.what}`,
      )
    if (socks !== undefined && socks !== (owner.socks ?? SOCKS))
      refuse(`the ${owner.what} that has this profile uses another SOCKS port`, `leave out --socks, or end the ${owner.what}`)
    this.#options.onOwner?.(owner.what)
    this.#watch()
    this.#owner = new Link(greeted, contacts, {
      onHolds: (relay, seconds) => this.holds.set(relay, seconds),
      onArrived: (offer, path) => this.#options.onArrived?.(offer, path),
      onChanged: () => void this.#refresh(),
      onRequests: (requests) => this.#options.onRequests?.(requests),
    })
    return this.#owner
  }

  /** Runs the messenger in this process, and serves the others. @param release called at the end */
  async #own(place: Place | undefined, release: () => Promise<void>): Promise<Attachment & { readonly isOwner: boolean }> {
    const { identity, home, sign, socks, timeout, seen, book, groups, blocked } = this.#profile
    const settings = (): Settings => this.#settings
    const { what, takes, members, outbox, reads, contacts, files, releases, receiverFor, connect, isGuest, onRequests, onOwner } =
      this.#options
    const relays = this.#relays
    if (outbox && home === undefined) throw new CliError('no folder for the outbox: HOME is not set', { hint: 'set HOME or ASFALEIA_HOME' })
    const secrecy = await openSecrecy(this.#profile, settings)
    await this.#giver.read()
    let store: LockedOutbox | undefined
    let server: Awaited<ReturnType<typeof listen>> | undefined
    try {
      // Other commands may want the profile's outbox, even if this one does not; but not if this one works alone.
      store =
        (outbox || (place !== undefined && this.#profile.outbox)) && home !== undefined
          ? await openOutbox(home.stateFolder, identity)
          : undefined
      server = place === undefined ? undefined : await listen(place)
    } catch (error) {
      await store?.release()
      throw error
    }
    const members_ = (fingerprint: string): Contact | undefined => {
      for (const { group } of groups.list()) {
        const card = group.members.find(({ key }) => fingerprintOf(key) === fingerprint)
        if (card !== undefined && fingerprint !== fingerprintOf(identity.key)) return { ...book.contactOf(card), name: `~${card.name}` }
      }
      return undefined
    }
    const host = new Host(
      {
        messenger: {
          identity,
          sign,
          ...connect((relay, seconds) => {
            this.holds.set(relay, seconds)
            host.onHolds(relay, seconds)
          }),
          ...(socks !== undefined && { socks }),
          ...(timeout !== undefined && { timeout, connectTimeout: timeout }),
          ...(this.#options.signal !== undefined && { signal: this.#options.signal }),
          ...(store !== undefined && { outbox: store }),
          ...(seen && home !== undefined && { seen: openSeen(home.stateFolder) }),
          introducer: this.#giver,
          ...(secrecy !== undefined && { secrecy }),
        },
        reception: {
          open: () => (home === undefined ? undefined : Requests.open(home.stateFolder, identity, Math.floor(Date.now() / 1_000))),
          find: (fingerprint) => book.find(fingerprint),
          isGuest: (fingerprint) => fingerprint === fingerprintOf(identity.key) || isGuest?.(fingerprint) === true,
          isBlocked: (fingerprint) => blocked.has(fingerprint),
          isGroup: (id) => groups.withId(id).length > 0,
          onGenuine: (envelope) => takeSentCard(book, envelope),
        },
        receipts: {
          get delivered() {
            return settings().receipts.delivered
          },
        },
        find: (fingerprint, withMembers) => book.find(fingerprint) ?? (withMembers ? members_(fingerprint) : undefined),
        receiverFor,
        refresh: () => this.#refresh(),
        version: PACKAGE_VERSION,
        outbox: store !== undefined,
        ...(socks !== undefined && { socks }),
      },
      {
        what,
        relays,
        takes,
        members: members === true,
        outbox,
        reads,
        contacts,
        ...(files !== undefined && { files }),
        ...(releases !== undefined && { releases }),
        ...(onRequests !== undefined && { onRequests }),
      },
    )
    this.host = host
    this.#release = async () => {
      await store?.release()
      await release()
    }
    if (server !== undefined) host.serve(server)
    this.#watch()
    onOwner?.(undefined)
    return { port: host.first, lost: new Promise(() => {}), isOwner: true }
  }

  #watch(): void {
    const { home } = this.#profile
    if (home !== undefined) this.#stopWatch ??= watchProfile(home.path, () => void this.#refresh().catch(() => {}))
  }

  async #refresh(): Promise<void> {
    const { book, groups, blocked, rules, home } = this.#profile
    await book.refresh()
    await groups.refresh()
    await blocked.refresh()
    await rules.refresh()
    await this.#giver.read()
    // The user may be in the middle of editing the file.
    const settings = await home?.readSettings().catch(() => undefined)
    if (settings !== undefined) this.#follow(settings)
    this.host?.onChanged()
    this.#options.onChanged?.(this.#settings)
  }

  /** Receives from the mailboxes of the changed profile, at its relays unless the command line named others. */
  #follow(settings: Settings): void {
    const before = this.#settings
    this.#settings = settings
    if (this.#relays.length === 0 || mailboxesOf(before) === mailboxesOf(settings)) return
    const former = this.#relays
    if (former.join() === before.relays.join() && settings.relays.length > 0) this.#relays = settings.relays
    // The order of the relays says which of them has the inbox.
    for (const relay of this.#relays) this.#messenger?.receiveFrom(relay)
    for (const relay of former) if (!this.#relays.includes(relay)) this.#messenger?.leaveRelay(relay)
  }
}

/** Returns a text that is the same for profiles that receive from the same mailboxes. */
function mailboxesOf({ relays, isPublic, memberAt }: Settings): string {
  return JSON.stringify([relays, isPublic, memberAt])
}
