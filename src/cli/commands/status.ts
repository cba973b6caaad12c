/**
 * `asfaleia status`: shows the answer of a relay's operator listener, as text or as JSON. It connects to loopback or
 * a unix socket only.
 */
import type { Reason, Status } from '../../operator/metrics.ts'
import type { NameProblem } from '../../operator/name-problem.ts'
import { readCommandLine } from '../program/arguments.ts'
import { askOperator, OPERATOR_OPTION, parseOperator } from '../service/operator.ts'
import { CliError } from '../program/error.ts'
import { EXIT } from '../program/exit.ts'
import type { Io } from '../program/io.ts'
import { formatJson, sanitizeLine } from '../program/show.ts'
import type { Page } from '../program/page.ts'

export const page = {
  name: 'status',
  options: {
    ...OPERATOR_OPTION,
    json: { about: "print the relay's own answer, one JSON object" },
    quiet: { about: 'print only why the relay is not ready, for health checks' },
  },
  text: `
    Shows the state of a relay on this machine. Exits with 0 if the relay is ready, with 1 if it is not, and with 69 if no relay
    answers.`,
  examples: [
    ['show the state of the relay', 'asfaleia status'],
    ['ask a relay that listens on a unix socket', 'asfaleia status --operator unix:/run/asfaleia/operator'],
  ],
} as const satisfies Page

export async function run(argv: string[], io: Io): Promise<number> {
  const given = readCommandLine(argv, io, page)
  if (given === undefined) return EXIT.ok
  const { values, hint } = given
  const address = parseOperator(values.operator, io, hint)
  const text = await askOperator(address, { path: '/status' }, io.signal)
  const status = parseStatus(text)
  if (values.quiet === true) io.stdout.write(status.reasons.map((reason) => `${describeReason(reason)}\n`).join(''))
  else io.stdout.write(values.json === true ? `${formatJson(status)}\n` : describeStatus(status))
  return status.ready ? EXIT.ok : EXIT.failed
}

/** Any program may listen at the address, so this checks every field that is shown. */
function parseStatus(text: string): Status {
  try {
    const status = JSON.parse(text) as Status
    describeStatus(status)
    if (typeof status.ready === 'boolean') return status
  } catch {
    // Falls through to the error below.
  }
  throw new CliError('the program at the operator address is not a relay', {
    exitCode: EXIT.unreachable,
    hint: "give the address of the relay's --operator",
  })
}

const REASON_TEXT = {
  'not-accepting': 'the relay accepts no connections',
  'no-name': 'the relay does not know its onion name yet (--name or --name-file)',
  'tor-unreachable': 'tor does not answer',
  'tor-bootstrapping': 'tor is not connected to its network yet',
  'onion-unreachable': 'the relay cannot reach itself through Tor',
} as const satisfies Record<Reason, string>

function describeReason(reason: Reason): string {
  return Object.hasOwn(REASON_TEXT, reason) ? REASON_TEXT[reason] : sanitizeLine(reason)
}

function describeStatus(status: Status): string {
  const { reasons, erased, tor } = status
  const rows: [string, string][] = [
    ['relay', `${status.ready ? 'ready' : 'not ready'}, version ${status.version}, up ${formatTime(status.uptimeSeconds)}`],
    ...reasons.map((reason): [string, string] => ['', describeReason(reason)]),
    ...describeNameFile(status.nameFile),
    ['tor', describeTor(tor)],
    ['reachable', describeProbe(status)],
    ...(status.probe?.problem === 'relay-down' ? [RELAY_DOWN] : []),
    ...describeAdmit(status.admit),
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

const NAME_FILE_TEXT = {
  missing: 'the name file is missing; tor writes it when it first starts (--name-file)',
  denied:
    'permission denied: the relay may not read the name file or its folder. Set HiddenServiceDirGroupReadable 1 in torrc, or give the relay --name',
  unreadable: 'the name file cannot be read (--name-file)',
  malformed: 'the name file holds no onion address (--name-file)',
} as const satisfies Record<NameProblem, string>

function describeNameFile(file: Status['nameFile']): [string, string][] {
  if (file === null || file.problem === null) return []
  return [['name', Object.hasOwn(NAME_FILE_TEXT, file.problem) ? NAME_FILE_TEXT[file.problem] : sanitizeLine(file.problem)]]
}

function describeTor(tor: Status['tor']): string {
  if (tor === null) return 'unknown (--tor-control, --tor-file)'
  const { summary, bootstrap, ageSeconds } = tor
  return [summary, ...(bootstrap === undefined ? [] : [`${bootstrap} %`]), ...describeAge(ageSeconds)].join(', ')
}

/** The answer to 'is it up?': whether a client can reach the relay through Tor. */
function describeProbe({ probe, tor }: Status): string {
  if (probe === null) return 'not tried (--probe, --probe-file)'
  const { reachable, seconds, failures, problem, ageSeconds } = probe
  if (reachable === null) return 'not tried yet'
  const through = `through Tor in ${Math.round((seconds ?? 0) * 1_000)} ms`
  if (reachable) return ['yes', through, ...describeAge(ageSeconds)].join(', ')
  const [age] = describeAge(ageSeconds)
  if (failures === 0 && tor?.reachable === false) return `no: tor does not answer${age === undefined ? '' : `; it was reachable ${age}`}`
  const tries = `${failures} ${failures === 1 ? 'try' : 'tries'} in a row${age === undefined ? '' : `, the last ${age}`}`
  return `no: ${problem ?? 'unknown'}, ${tries}`
}

const RELAY_DOWN: [string, string] = ['', 'tor finds no socket of the relay: `deploy/upgrade` makes it anew and keeps the messages']

function describeAge(seconds: number | null | undefined): string[] {
  return typeof seconds === 'number' ? [`${formatTime(seconds)} ago`] : []
}

function describeAdmit(admit: Status['admit']): [string, string][] {
  if (admit === null) return []
  return [['admit', admit.problem === null ? 'the list of the file is in force' : `${admit.problem}; the former list is in force`]]
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
