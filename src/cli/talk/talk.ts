/** The options that `send`, `get`, `chat` and `group` share, and their messenger. */
import { join } from 'node:path'
import { connectClaims, connectRelay } from '../../client/wire/connect.ts'
import { usesProxy } from '../../client/wire/dial.ts'
import { fingerprintOf } from '../../client/format/field.ts'
import type { Contact } from '../../client/messenger/contact.ts'
import type { Delivery } from '../../client/messenger/delivery.ts'
import type { MessengerEvent } from '../../client/messenger/event.ts'
import type { MessengerPort } from '../../client/messenger/port.ts'
import type { FileReceiver } from '../../client/messenger/transfers.ts'
import { isOnion } from '../../onion/address.ts'
import { parseEndpoint } from '../../transport/address.ts'
import { describeStart, findControls } from './diagnosis.ts'
import type { Home } from '../profile/home.ts'
import { handToTor, Onions } from '../profile/onions.ts'
import type { Profile } from '../profile/profile.ts'
import { Arrivals } from './arrival.ts'
import { openShared } from '../owner/open.ts'
import type { Opened, OpenOptions } from '../owner/opening.ts'
import type { RequestDesk } from '../owner/reception.ts'
import { CliError, printProblem } from '../program/error.ts'
import type { Io } from '../program/io.ts'
import type { Options } from '../program/page.ts'
import { quoteWord, sanitizeLine } from '../program/show.ts'
import { showName } from '../../wording/name.ts'
import { describeKeyEvent, type KeyEvent } from '../../wording/ring.ts'

/** How a command reaches a relay. */
export const REACH_OPTIONS = {
  socks: {
    value: 'HOST:PORT',
    about: "tor's SOCKS port; `off` uses no proxy and reaches no onion address; `transparent` relies on a transparent proxy to Tor",
    variable: 'ASFALEIA_SOCKS',
    fallback: '127.0.0.1:9050',
  },
  timeout: { value: 'SECONDS', about: 'how long to wait for a connection to a relay, and for each answer', fallback: '120 and 60' },
} as const satisfies Options

/** How a command logs in to a relay. */
export const LOGIN_OPTIONS = {
  key: {
    value: 'KEY',
    about: `your SSH key instead of the profile's: its FILE, \`agent\`, \`agent:SHA256:…\`, or FILE.pub if the agent has the private key. The
      relay then learns this key: when you use it, and the mailboxes to which you write`,
  },
  sign: { about: 'log in with a signature instead of by decrypting a challenge' },
  ...REACH_OPTIONS,
} as const satisfies Options

export interface Talk {
  readonly messenger: MessengerPort
  readonly requests: RequestDesk
  /** Resolves with the last error when all relays of the receiver were tried and none accepted the message. */
  refused(delivery: Delivery): Promise<unknown>
  /** For how many seconds a relay holds messages; undefined if it was not reached. */
  holds(relay: string): number | undefined
  /** Closes the messenger and unlocks the profile. */
  close(): Promise<void>
}

/** How a command uses the messenger of its profile. */
export type TalkOptions = Pick<OpenOptions, 'what' | 'relays' | 'outbox' | 'onOwner' | 'onArrived' | 'onChanged' | 'onRequests'> & {
  /** By default, the command takes no messages. */
  readonly takes?: OpenOptions['takes']
  /** Contacts that are not in the book, or override it. */
  readonly more?: readonly Contact[]
  /** Stores files from contacts in `folder`. */
  readonly files?: FileReceiver
  readonly folder?: string
  /** The value of `--socks`. */
  readonly socks?: string | undefined
}

/**
 * Opens a messenger, with notices on stderr about relays, tor and the outbox.
 * @throws {CliError}
 */
export async function openTalk(profile: Profile, io: Io, options: TalkOptions): Promise<Talk> {
  const { book, socks: port, receipts } = profile
  const { more = [], takes = 'none', socks, ...rest } = options
  const others = new Map(more.map((contact) => [fingerprintOf(contact.key), contact]))
  let isTold = false
  /** Reports tor's progress, since its SOCKS port does not answer while tor has no network. */
  const tellStart = async (): Promise<void> => {
    if (isTold || !usesProxy(port)) return
    isTold = true
    const start = await describeStart(io).catch(() => undefined)
    if (start !== undefined) io.stderr.write(`asfaleia: ${start}\n`)
  }
  const patiently = async <T>(connecting: Promise<T>): Promise<T> => {
    const slow = setTimeout(() => void tellStart(), SLOW_MS)
    try {
      return await connecting
    } finally {
      clearTimeout(slow)
    }
  }
  const contacts = { find: (fingerprint: string) => others.get(fingerprint) ?? book.find(fingerprint) }
  const opened = await openMessengerOf(
    profile,
    io,
    { ...rest, takes, contacts, reads: receipts.read, signal: io.signal, ...(socks !== undefined && { socks }) },
    patiently,
  )
  const attempts = watch(opened.messenger, io)
  return { ...opened, refused: attempts.refused }
}

/**
 * Opens the messenger of the profile: this process owns it, or uses the one of another command.
 * @throws {CliError}
 */
export async function openMessengerOf(
  profile: Profile,
  io: Io,
  options: Omit<OpenOptions, 'env' | 'receiverFor' | 'connect'>,
  patiently = <T>(connecting: Promise<T>): Promise<T> => connecting,
): Promise<Opened> {
  const { home, book } = profile
  const unlock = createUnlock(home, io)
  return openShared(profile, {
    ...options,
    env: io.env,
    receiverFor(folder, onDone) {
      const arrivals = new Arrivals(folder, home && join(home.stateFolder, 'files'), onDone)
      // Members of groups are no contacts here.
      return { open: async (offer) => (book.find(fingerprintOf(offer.from.key)) === undefined ? undefined : arrivals.open(offer)) }
    },
    connect: (onHolds) => ({
      async connect(to) {
        await unlock(to.relay)
        const client = await patiently(connectRelay(to))
        onHolds(to.relay, client.limits.hold)
        return client
      },
      async connectClaims(to) {
        await unlock(to.relay)
        const client = await patiently(connectClaims(to))
        onHolds(to.relay, client.limits.hold)
        return client
      },
    }),
  })
}

/** After this time without a connection, the client asks tor for the reason, ms. */
const SLOW_MS = 10_000

/** Hands tor the client key of an onion service before each connection: tor forgets it when it restarts. */
export function createUnlock(home: Home | undefined, io: Io): (relay: string) => Promise<void> {
  return async (relay) => {
    const { host } = relay.startsWith('unix:') ? { host: '' } : parseEndpoint(relay, 3_308)
    // A subdomain is reached by the key of its address.
    const address = host.split('.').slice(-2).join('.')
    const key = home === undefined || !isOnion(host) ? undefined : await new Onions(home.onionFolder).read(address)
    if (key !== undefined) await handToTor(key, findControls(io))
  }
}

/** Follows the messenger's events about sending. */
function watch(messenger: MessengerPort, io: Io): Pick<Talk, 'refused'> {
  /** The last error of each relay, which also says when to try again. */
  const errors = new Map<string, unknown>()
  /** The relays that did not accept a message, by its id. */
  const failed = new Map<string, Set<string>>()
  const waiting: { readonly delivery: Delivery; readonly resolve: (error: unknown) => void }[] = []
  const tellMove = createMoveTeller(io)
  const tellKeys = createKeyTeller(io)
  const look = ({ relays, id, relay, error }: Delivery): void => {
    if (relay === undefined || !relays.every((each) => failed.get(id)?.has(each))) return
    const last = errors.get(relay)
    for (const each of waiting) if (each.delivery.id === id) each.resolve(codeOf(last) === codeOf(error) ? last : error)
  }
  const events = messenger.events()
  void (async () => {
    for await (const event of events) {
      if (event.kind === 'moved') tellMove(event)
      if (event.kind === 'ring' || event.kind === 'other-bundle') tellKeys(event)
      if (event.kind === 'relay' && event.error !== undefined) errors.set(event.relay, event.error)
      if (event.kind === 'not-kept') printProblem(io, event.error instanceof CliError ? event.error.message : 'the outbox cannot be stored')
      if (event.kind !== 'delivery' || event.delivery.state !== 'waiting' || event.delivery.relay === undefined) continue
      const { id, relay } = event.delivery
      failed.set(id, (failed.get(id) ?? new Set()).add(relay))
      look(event.delivery)
    }
  })()
  return {
    refused: (delivery) =>
      new Promise((resolve) => {
        waiting.push({ delivery, resolve })
        look(delivery)
      }),
  }
}

export function codeOf(error: unknown): unknown {
  return (error as { readonly code?: unknown } | undefined)?.code
}

/** The most new addresses that are shown: a relay that announces more is broken. */
const MOVES = 8

/** Shows the new address of a relay that is moving, once each. */
export function createMoveTeller(io: Pick<Io, 'stderr'>): (event: Extract<MessengerEvent, { kind: 'moved' }>) => void {
  const told = new Set<string>()
  return ({ name }) => {
    if (told.has(name) || told.size === MOVES) return
    told.add(name)
    io.stderr.write(`asfaleia: this relay is moving: use ${name} from now on, if you still trust it\n`)
  }
}

/** The most different lines about keys that are shown. */
const KEY_LINES = 64

/** Shows changes of keys that the user must know of, each once. */
export function createKeyTeller(io: Pick<Io, 'stderr'>): (event: KeyEvent) => void {
  const told = new Set<string>()
  return (event) => {
    const name = event.kind === 'ring' ? event.contact.name : ''
    const accept = `\`asfaleia contact accept ${sanitizeLine(quoteWord(name))}\``
    const { text, hint } = describeKeyEvent(event, showName(name), accept)
    // A contact may begin anew again; the other events repeat with each message or login.
    if (hint !== undefined && (told.has(text) || told.size === KEY_LINES)) return
    told.add(text)
    io.stderr.write(`asfaleia: ${text}\n${hint === undefined ? '' : `asfaleia: hint: ${hint}\n`}`)
  }
}
