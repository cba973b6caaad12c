/**
 * `asfaleia status`: what the operator's listener of a relay on this machine says, for people or, with
 * --json, as it came. It asks loopback or a unix socket and nothing else.
 */
import type { Reason, Status } from '../../operator/metrics.ts'
import { openCommandLine } from '../program/arguments.ts'
import { askOperator, OPERATOR_HELP, parseOperator } from '../service/operator.ts'
import { CliError } from '../program/error.ts'
import { EXIT } from '../program/exit.ts'
import type { Io } from '../program/io.ts'
import { formatJson, sanitizeLine } from '../program/show.ts'

const USAGE = 'asfaleia status [--operator ADDRESS] [--json | --quiet]'

export const HELP = `usage: ${USAGE}

Shows how a relay of this machine is. Ends with 0 if it is ready, 1 if it is not, 69 if nobody answers.

${OPERATOR_HELP}
  --json              the relay's own answer, one JSON object
  --quiet             nothing but why it is not ready, for health checks whose words are kept
  -h, --help          this text
`

export async function run(argv: string[], io: Io): Promise<number> {
  const options = { operator: { type: 'string' }, json: { type: 'boolean' }, quiet: { type: 'boolean' } } as const
  const given = openCommandLine(argv, io, { usage: USAGE, help: HELP, options, words: 0 })
  if (given === undefined) return EXIT.ok
  const { values } = given
  const address = parseOperator(values.operator, io, USAGE)
  const text = await askOperator(address, { path: '/status' }, io.signal)
  const status = parseStatus(text)
  if (values.quiet === true) io.stdout.write(status.reasons.map((reason) => `${describeReason(reason)}\n`).join(''))
  else io.stdout.write(values.json === true ? `${formatJson(status)}\n` : describeStatus(status))
  return status.ready ? EXIT.ok : EXIT.failed
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
  'onion-unreachable': 'it cannot reach itself through Tor',
} as const satisfies Record<Reason, string>

function describeReason(reason: Reason): string {
  return Object.hasOwn(REASON_TEXT, reason) ? REASON_TEXT[reason] : sanitizeLine(reason)
}

function describeStatus(status: Status): string {
  const { reasons, erased, tor } = status
  const rows: [string, string][] = [
    ['relay', `${status.ready ? 'ready' : 'not ready'}, version ${status.version}, up ${formatTime(status.uptimeSeconds)}`],
    ...reasons.map((reason): [string, string] => ['', describeReason(reason)]),
    ['tor', tor === null ? 'not asked (--tor-control)' : `${tor.summary}${tor.bootstrap === undefined ? '' : `, ${tor.bootstrap} %`}`],
    ['reachable', describeProbe(status.probe)],
    ['connections', `~${status.connections}, of them ~${status.proven} with a proven key`],
    ['mailboxes', `~${status.mailboxes}, ~${status.subscribers} subscribed to`],
    ['messages', `~${status.messages} held; ~${status.stored} stored, ~${status.delivered} delivered since the start`],
    ['erased', formatCounts(erased)],
    [
      'memory',
      `${formatSize(status.messageBytes)} of ${formatSize(status.messageBudget)} for messages; ${formatSize(status.residentBytes)} in all`,
    ],
    ['event loop', `${Math.round(status.loopDelaySeconds * 1_000)} ms late`],
    ['logins', formatCounts(status.logins)],
    ['turned away', formatCounts(status.turnedAway)],
    ['refused', formatCounts(status.refused)],
  ]
  const lines = rows.map(([name, text]) => `${name.padEnd(12)} ${sanitizeLine(text)}\n`)
  return `${lines.join('')}\nCounts of people and messages (~) are in steps of ten.\n`
}

/** The one answer to 'is it up?': what somebody out there would find. */
function describeProbe(probe: Status['probe']): string {
  if (probe === null) return 'not tried (--probe, --probe-file)'
  const { reachable, seconds, failures, problem } = probe
  if (reachable === null) return 'not tried yet'
  if (reachable) return `yes, through Tor in ${Math.round((seconds ?? 0) * 1_000)} ms`
  return `no: ${problem ?? 'unknown'}, ${failures} ${failures === 1 ? 'try' : 'tries'} in a row`
}

function formatCounts(counts: Readonly<Record<string, number>>): string {
  const parts = Object.entries(counts)
    .filter(([, count]) => count > 0)
    .map(([name, count]) => `${name} ${count}`)
  return parts.length === 0 ? 'none' : parts.join(', ')
}

function formatTime(seconds: number): string {
  const units = [
    ['d', 86_400],
    ['h', 3_600],
    ['min', 60],
    ['s', 1],
  ] as const
  const [unit, factor] = units.find(([, factor]) => seconds >= factor) ?? ['s', 1]
  return `${Math.floor(seconds / factor)} ${unit}`
}

function formatSize(bytes: number): string {
  const units = [
    ['GiB', 1_024 ** 3],
    ['MiB', 1_024 ** 2],
    ['KiB', 1_024],
  ] as const
  const [unit, factor] = units.find(([, factor]) => bytes >= factor) ?? ['B', 1]
  return `${(bytes / factor).toFixed(bytes >= 1_024 ? 1 : 0)} ${unit}`
}
