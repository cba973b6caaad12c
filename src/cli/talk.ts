/** What `send`, `get` and `chat` have in common: the options of somebody who talks, and the messenger by a profile. */
import type { ParseArgsConfig } from 'node:util'
import { connectRelay } from '../client/client.ts'
import { fingerprintOf } from '../client/field.ts'
import { type Contact, type Messenger, type MessengerEvent, type MessengerOptions, openMessenger } from '../client/messenger.ts'
import type { Profile } from './profile.ts'
import { openOutbox, openSeen } from './state.ts'
import { CliError, type Io } from './terminal.ts'

export const TALK_OPTIONS = {
  relay: { type: 'string', multiple: true },
  key: { type: 'string' },
  sign: { type: 'boolean' },
  socks: { type: 'string' },
  timeout: { type: 'string' },
  json: { type: 'boolean' },
} as const satisfies ParseArgsConfig['options']

export const TALK_HELP = `  --key KEY             your SSH key, instead of the profile's: its FILE (ASFALEIA_PASSPHRASE_FILE may name a file with its
                        passphrase), \`agent\` or \`agent:SHA256:…\`, or FILE.pub with the private half in the agent
  --sign                prove the key by a signature instead of decrypting
  --socks HOST:PORT     tor's SOCKS port, 127.0.0.1:9050 by default; also ASFALEIA_SOCKS. \`off\` connects
                        without it, as is done by itself under torsocks
  --timeout SECONDS     how long a relay may take to be reached, or to answer; 120 and 60 by default
  --json                one JSON object a line on stdout
  -h, --help            this text
`

export interface Talk {
  readonly messenger: Messenger
  /** Seconds that a relay says it holds messages, where it was reached. */
  holds(relay: string): number | undefined
  /** Ends the messenger; what is kept is kept. */
  close(): Promise<void>
}

/**
 * @param options.relays one's own that are received from
 * @param options.more contacts beside those of the book, who come before them
 * @param options.outbox whether what is unconfirmed is kept on disk
 * @throws {CliError}
 */
export async function openTalk(
  profile: Profile,
  io: Io,
  options: { readonly relays: readonly string[]; readonly more?: readonly Contact[]; readonly outbox: boolean } & Pick<MessengerOptions, 'files'>,
): Promise<Talk> {
  const { home, identity, book, socks, sign, timeout, receipts } = profile
  if (options.outbox && home === undefined) throw new CliError('there is no folder for an outbox', { hint: 'set HOME, or ASFALEIA_HOME' })
  const others = new Map((options.more ?? []).map((contact) => [fingerprintOf(contact.key), contact]))
  const outbox = options.outbox && home !== undefined ? await openOutbox(home.stateFolder, identity) : undefined
  const holds = new Map<string, number>()
  const messenger = openMessenger({
    identity,
    relays: options.relays,
    contacts: { find: (fingerprint) => others.get(fingerprint) ?? book.find(fingerprint) },
    sign,
    receipts,
    signal: io.signal,
    async connect(to) {
      const client = await connectRelay(to)
      holds.set(to.relay, client.limits.hold)
      return client
    },
    ...(options.files !== undefined && { files: options.files }),
    ...(socks !== undefined && { socks }),
    ...(timeout !== undefined && { timeout, connectTimeout: timeout }),
    ...(outbox !== undefined && { outbox }),
    // Without a folder, and for who only sends, nothing is kept.
    ...(profile.seen && home !== undefined && options.relays.length > 0 && { seen: openSeen(home.stateFolder) }),
  })
  return {
    messenger,
    holds: (relay) => holds.get(relay),
    async close() {
      await messenger.close()
      await outbox?.release()
    },
  }
}

/** Says once for each address that a relay is moving to it. */
export function createMoveTeller(io: Pick<Io, 'stderr'>): (event: Extract<MessengerEvent, { kind: 'moved' }>) => void {
  const told = new Set<string>()
  return ({ name }) => {
    if (told.has(name)) return
    told.add(name)
    io.stderr.write(`asfaleia: this relay is moving: use ${name} from now on (if you trust it still)\n`)
  }
}
