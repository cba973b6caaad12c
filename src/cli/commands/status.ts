/**
 * `asfaleia status`: what the operator's listener of a relay on this machine says, for people or, with
 * --json, as it came. It asks loopback or a unix socket and nothing else.
 */
import { request } from 'node:http'
import { type Address, parseAddress, SETTINGS } from '../../config.ts'
import type { Reason, Status } from '../../operator/metrics.ts'
import { parseCommandLine } from '../arguments.ts'
import { CliError, EXIT, formatJson, type Io, sanitizeLine, UsageError } from '../terminal.ts'

const USAGE = 'asfaleia status [--operator ADDRESS] [--json]'

export const HELP = `usage: ${USAGE}

Shows how a relay of this machine is. Ends with 0 if it is ready, 1 if it is not, 69 if nobody answers.

  --operator ADDRESS  the relay's --operator: 127.0.0.1:PORT or unix:PATH; also ASFALEIA_OPERATOR (${SETTINGS.operator.fallback})
  --json              the relay's own answer, one JSON object
  -h, --help          this text
`

const TIMEOUT_MS = 10_000
const MAX_BYTES = 65_536

export async function run(argv: string[], io: Io): Promise<number> {
  const options = { operator: { type: 'string' }, json: { type: 'boolean' }, help: { type: 'boolean', short: 'h' } } as const
  const { values, positionals } = parseCommandLine(argv, options, USAGE)
  if (values.help === true) {
    io.stdout.write(HELP)
    return EXIT.ok
  }
  if (positionals.length > 0) throw new UsageError('too many words', { hint: USAGE })
  const address = parseOperator(values.operator ?? io.env['ASFALEIA_OPERATOR'] ?? SETTINGS.operator.fallback!)
  const text = await fetchStatus(address, io.signal)
  const status = parseStatus(text)
  io.stdout.write(values.json === true ? `${formatJson(status)}\n` : describeStatus(status))
  return status.ready ? EXIT.ok : EXIT.failed
}

function parseOperator(text: string): Address {
  let address: Address | undefined
  try {
    address = parseAddress(text)
  } catch (error) {
    throw new UsageError(`--operator: ${(error as Error).message}`, { hint: USAGE })
  }
  if (address === undefined) throw new UsageError('--operator: is off', { hint: 'the relay has to run with an operator listener to be asked' })
  return address
}

async function fetchStatus(address: Address, signal: AbortSignal): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>()
  const where = address.kind === 'unix' ? { socketPath: address.path } : { host: address.host, port: address.port }
  const asked = request({ ...where, path: '/status', agent: false, signal: AbortSignal.any([signal, AbortSignal.timeout(TIMEOUT_MS)]) })
  asked.on('error', reject)
  asked.on('response', (response) => {
    let text = ''
    response.setEncoding('utf8')
    response.on('error', reject)
    response.on('data', (chunk: string) => {
      text += chunk
      if (text.length > MAX_BYTES) response.destroy(new Error('too long'))
    })
    response.on('end', () => (response.statusCode === 200 ? resolve(text) : reject(new Error('refused'))))
  })
  asked.end()
  try {
    return await promise
  } catch {
    throw new CliError('no relay answers at the operator address', {
      exitCode: EXIT.unreachable,
      hint: 'is it running? its --operator is the address to ask',
    })
  }
}

/** Whoever listens there may be anybody: what is used is checked, the rest is left. */
function parseStatus(text: string): Status {
  try {
    const status = JSON.parse(text) as Status
    describeStatus(status)
    if (typeof status.ready === 'boolean') return status
  } catch {
    // Falls through to the one refusal.
  }
  throw new CliError('what answers at the operator address is no relay', {
    exitCode: EXIT.unreachable,
    hint: 'its --operator is the address to ask',
  })
}

const REASON_TEXT = {
  'not-accepting': 'it takes no connections',
  'no-name': 'it does not know its onion name yet (--name or --name-file)',
  'tor-unreachable': "tor's control port does not answer",
  'tor-bootstrapping': 'tor is not connected to its network yet',
} as const satisfies Record<Reason, string>

function describeStatus(status: Status): string {
  const { reasons, erased, tor } = status
  const rows: [string, string][] = [
    ['relay', `${status.ready ? 'ready' : 'not ready'}, version ${status.version}, up ${formatTime(status.uptimeSeconds)}`],
    ...reasons.map((reason): [string, string] => ['', Object.hasOwn(REASON_TEXT, reason) ? REASON_TEXT[reason] : reason]),
    ['tor', tor === null ? 'not asked (--tor-control)' : `${tor.summary}${tor.bootstrap === undefined ? '' : `, ${tor.bootstrap} %`}`],
    ['connections', `~${status.connections}, of them ~${status.proven} with a proven key`],
    ['mailboxes', `~${status.mailboxes}, ~${status.subscribers} subscribed to`],
    ['messages', `~${status.messages} held; ~${status.stored} stored, ~${status.delivered} delivered since the start`],
    ['erased', formatCounts(erased)],
    ['memory', `${formatSize(status.messageBytes)} of ${formatSize(status.messageBudget)} for messages; ${formatSize(status.residentBytes)} in all`],
    ['event loop', `${Math.round(status.loopDelaySeconds * 1_000)} ms late`],
    ['logins', formatCounts(status.logins)],
    ['turned away', formatCounts(status.turnedAway)],
    ['refused', formatCounts(status.refused)],
  ]
  const lines = rows.map(([name, text]) => `${name.padEnd(12)} ${sanitizeLine(text)}\n`)
  return `${lines.join('')}\nCounts of people and messages (~) are in steps of ten.\n`
}

function formatCounts(counts: Readonly<Record<string, number>>): string {
  const parts = Object.entries(counts).filter(([, count]) => count > 0).map(([name, count]) => `${name} ${count}`)
  return parts.length === 0 ? 'none' : parts.join(', ')
}

function formatTime(seconds: number): string {
  const units = [['d', 86_400], ['h', 3_600], ['min', 60], ['s', 1]] as const
  const [unit, factor] = units.find(([, factor]) => seconds >= factor) ?? ['s', 1]
  return `${Math.floor(seconds / factor)} ${unit}`
}

function formatSize(bytes: number): string {
  const units = [['GiB', 1_024 ** 3], ['MiB', 1_024 ** 2], ['KiB', 1_024]] as const
  const [unit, factor] = units.find(([, factor]) => bytes >= factor) ?? ['B', 1]
  return `${(bytes / factor).toFixed(bytes >= 1_024 ? 1 : 0)} ${unit}`
}
