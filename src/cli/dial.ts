/** What `send` and `get` have in common: the options that say which relay and which key, and the call itself. */
import type { ParseArgsConfig } from 'node:util'
import { connectRelay, type RelayClient } from '../client/client.ts'
import type { Identity } from '../client/identity.ts'
import { parseEndpoint, parseTarget } from '../transport/address.ts'
import { loadIdentity } from './identity.ts'
import { type Io, UsageError } from './terminal.ts'

export const DIAL_OPTIONS = {
  relay: { type: 'string' },
  key: { type: 'string' },
  sign: { type: 'boolean' },
  socks: { type: 'string' },
  timeout: { type: 'string' },
  json: { type: 'boolean' },
  help: { type: 'boolean', short: 'h' },
} as const satisfies ParseArgsConfig['options']

export const DIAL_HELP = `  --relay HOST[:PORT]   the relay: an onion address, a loopback address or unix:PATH; port 3308 by default
  --key KEY             your private SSH key: its FILE (ASFALEIA_PASSPHRASE_FILE may name a file with its
                        passphrase), \`agent\` or \`agent:SHA256:…\`, or FILE.pub with the private half in the agent
  --sign                prove the key by a signature instead of decrypting
  --socks HOST:PORT     tor's SOCKS port, 127.0.0.1:9050 by default; also ASFALEIA_SOCKS. \`off\` connects
                        without it, as is done by itself under torsocks
  --timeout SECONDS     how long the relay may take to be reached, or to answer; 120 and 60 by default
  --json                one JSON object a line on stdout
  -h, --help            this text
`

export interface Dial {
  readonly relay: string
  readonly identity: Identity
  readonly socks?: string
  readonly sign: boolean
  readonly timeout?: number
  /** Addresses that the person was told the relay is moving to: once is enough. */
  readonly told: Set<string>
}

/** Checks the options and reads the key. @throws {CliError} */
export async function prepareDial(
  values: { relay?: string; key?: string; sign?: boolean; socks?: string; timeout?: string },
  io: Io,
  usage: string,
): Promise<Dial> {
  if (values.relay === undefined) throw new UsageError('--relay is missing', { hint: usage })
  if (values.key === undefined) throw new UsageError('--key is missing', { hint: usage })
  const seconds = values.timeout === undefined ? undefined : Number(values.timeout)
  if (seconds !== undefined && !(seconds > 0 && seconds <= 86_400)) throw new UsageError('--timeout wants a number of seconds')
  const socks = values.socks ?? (underTorsocks(io.env) ? 'off' : io.env['ASFALEIA_SOCKS'] || undefined)
  try {
    parseTarget(values.relay)
  } catch (error) {
    throw new UsageError(`--relay: ${(error as TypeError).message}`)
  }
  try {
    if (socks !== undefined && socks !== 'off') parseEndpoint(socks, 9050)
  } catch {
    throw new UsageError('--socks and ASFALEIA_SOCKS want HOST:PORT or off')
  }
  return {
    relay: values.relay,
    identity: await loadIdentity(values.key, io),
    sign: values.sign === true,
    told: new Set(),
    ...(socks !== undefined && { socks }),
    ...(seconds !== undefined && { timeout: seconds * 1_000 }),
  }
}

/**
 * torsocks answers for the system's connect and getaddrinfo, and maps onion names to addresses of its
 * own; a SOCKS handshake of ours would go to tor twice.
 */
function underTorsocks(env: Io['env']): boolean {
  return env['LD_PRELOAD']?.includes('torsocks') === true
}

/** @throws {RelayError} and the signal's reason when it was interrupted */
export function dialRelay(dial: Dial, io: Io): Promise<RelayClient> {
  const { timeout, told, ...options } = dial
  return connectRelay({
    ...options,
    onMoved: (name) => {
      if (told.has(name)) return
      told.add(name)
      io.stderr.write(`asfaleia: this relay is moving: use ${name} from now on (if you trust it still)\n`)
    },
    signal: io.signal,
    ...(timeout !== undefined && { timeout, connectTimeout: timeout }),
  })
}
