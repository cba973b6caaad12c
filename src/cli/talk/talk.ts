/** The options that `send`, `get`, `chat` and `group` share, and their messenger. */
import { connectRelay } from '../../client/wire/connect.ts'
import { usesProxy } from '../../client/wire/dial.ts'
import { fingerprintOf } from '../../client/format/field.ts'
import type { Contact } from '../../client/messenger/contact.ts'
import type { Delivery } from '../../client/messenger/delivery.ts'
import type { MessengerOptions } from '../../client/messenger/options.ts'
import type { MessengerEvent } from '../../client/messenger/event.ts'
import { type Messenger, openMessenger } from '../../client/messenger/messenger.ts'
import { isOnion } from '../../onion/address.ts'
import { parseEndpoint } from '../../transport/address.ts'
import { describeStart, findControls } from './diagnosis.ts'
import type { Home } from '../profile/home.ts'
import { handToTor, Onions } from '../profile/onions.ts'
import type { Profile } from '../profile/profile.ts'
import { openOutbox, openSeen } from '../profile/state.ts'
import { CliError, printProblem } from '../program/error.ts'
import type { Io } from '../program/io.ts'
import type { Options } from '../program/page.ts'

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
    about: "your SSH key instead of the profile's: its FILE, `agent`, `agent:SHA256:…`, or FILE.pub if the agent has the private key",
  },
  sign: { about: 'log in with a signature instead of by decrypting a challenge' },
  ...REACH_OPTIONS,
} as const satisfies Options

export interface Talk {
  readonly messenger: Messenger
  /** Resolves with the last error when all relays of the receiver were tried and none accepted the message. */
  refused(delivery: Delivery): Promise<unknown>
  /** For how many seconds a relay holds messages; undefined if it was not reached. */
  holds(relay: string): number | undefined
  /** Closes the messenger and unlocks the outbox. */
  close(): Promise<void>
}

/**
 * Opens a messenger, with notices on stderr about relays, tor and the outbox.
 * @param options.relays the user's own, to receive from
 * @param options.more contacts that are not in the book, or override it
 * @param options.outbox whether to store unconfirmed messages on the disk
 * @throws {CliError}
 */
export async function openTalk(
  profile: Profile,
  io: Io,
  options: { readonly relays: readonly string[]; readonly more?: readonly Contact[]; readonly outbox: boolean } & Pick<
    MessengerOptions,
    'files'
  >,
): Promise<Talk> {
  const { book, socks, receipts } = profile
  const others = new Map((options.more ?? []).map((contact) => [fingerprintOf(contact.key), contact]))
  const holds = new Map<string, number>()
  let isTold = false
  /** Reports tor's progress, since its SOCKS port does not answer while tor has no network. */
  const tellStart = async (): Promise<void> => {
    if (isTold || !usesProxy(socks)) return
    isTold = true
    const start = await describeStart(io).catch(() => undefined)
    if (start !== undefined) io.stderr.write(`asfaleia: ${start}\n`)
  }
  const dial: typeof connectRelay = async (to) => {
    const slow = setTimeout(() => void tellStart(), SLOW_MS)
    try {
      const client = await connectRelay(to)
      holds.set(to.relay, client.limits.hold)
      return client
    } finally {
      clearTimeout(slow)
    }
  }
  const contacts = { find: (fingerprint: string) => others.get(fingerprint) ?? book.find(fingerprint) }
  const { relays, outbox, files } = options
  const opened = await openMessengerOf(
    profile,
    io,
    { relays, contacts, receipts, signal: io.signal, ...(files !== undefined && { files }) },
    outbox,
    dial,
  )
  const attempts = watch(opened.messenger, io)
  return { ...opened, refused: attempts.refused, holds: (relay) => holds.get(relay) }
}

/**
 * Opens a messenger with the identity, the connections and the state of the profile.
 * @param outbox whether to store unconfirmed messages on the disk
 * @throws {CliError}
 */
export async function openMessengerOf(
  { home, identity, sign, socks, timeout, seen }: Profile,
  io: Io,
  options: Pick<MessengerOptions, 'relays' | 'contacts' | 'receipts' | 'files' | 'signal'>,
  outbox: boolean,
  dial = connectRelay,
): Promise<Pick<Talk, 'messenger' | 'close'>> {
  if (outbox && home === undefined) throw new CliError('no folder for the outbox: HOME is not set', { hint: 'set HOME or ASFALEIA_HOME' })
  const store = outbox && home !== undefined ? await openOutbox(home.stateFolder, identity) : undefined
  const unlock = createUnlock(home, io)
  const messenger = openMessenger({
    ...options,
    identity,
    sign,
    async connect(to) {
      await unlock(to.relay)
      return dial(to)
    },
    ...(socks !== undefined && { socks }),
    ...(timeout !== undefined && { timeout, connectTimeout: timeout }),
    ...(store !== undefined && { outbox: store }),
    // A client that only sends needs no tags of received messages.
    ...(seen && home !== undefined && options.relays.length > 0 && { seen: openSeen(home.stateFolder) }),
  })
  return {
    messenger,
    async close() {
      await messenger.close()
      await store?.release()
    },
  }
}

/** After this time without a connection, the client asks tor for the reason, ms. */
const SLOW_MS = 10_000

/** Hands tor the client key of an onion service before each connection: tor forgets it when it restarts. */
function createUnlock(home: Home | undefined, io: Io): (relay: string) => Promise<void> {
  return async (relay) => {
    const { host } = relay.startsWith('unix:') ? { host: '' } : parseEndpoint(relay, 3_308)
    // A subdomain is reached by the key of its address.
    const address = host.split('.').slice(-2).join('.')
    const key = home === undefined || !isOnion(host) ? undefined : await new Onions(home.onionFolder).read(address)
    if (key !== undefined) await handToTor(key, findControls(io))
  }
}

/** Follows the messenger's events about sending. */
function watch(messenger: Messenger, io: Io): Pick<Talk, 'refused'> {
  /** The last error of each relay, which also says when to try again. */
  const errors = new Map<string, unknown>()
  /** The relays that did not accept a message, by its id. */
  const failed = new Map<string, Set<string>>()
  const waiting: { readonly delivery: Delivery; readonly resolve: (error: unknown) => void }[] = []
  const tellMove = createMoveTeller(io)
  const look = ({ to, id, relay, error }: Delivery): void => {
    if (relay === undefined || !to.relays.every((each) => failed.get(id)?.has(each))) return
    const last = errors.get(relay)
    for (const each of waiting) if (each.delivery.id === id) each.resolve(codeOf(last) === codeOf(error) ? last : error)
  }
  const events = messenger.events()
  void (async () => {
    for await (const event of events) {
      if (event.kind === 'moved') tellMove(event)
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
