/**
 * The operator's view of the relay: numbers, and words of closed sets. This is the one place that coarsens them. Counts
 * of people and of their actions go in steps, so that no single arrival, departure or message shows. An attacker who
 * got every scrape could otherwise match its times with a suspect's traffic. Refusals stay exact, since the first one
 * matters.
 */
import { Counter, Gauge, Registry } from 'prom-client'
import type { Snapshot } from '../relay/counters.ts'
import type { NameProblem } from './name-problem.ts'
import type { ProbeState } from './reachability.ts'
import type { TorState } from '../tor/state.ts'

/** Counts of people, messages and actions are rounded up to multiples of this. */
export const PEOPLE_STEP = 10
/** Bytes of messages are rounded up to multiples of this: ten messages of ordinary size. */
export const BYTES_STEP = 65_536

/** The reasons why the relay is not ready, GET /readyz. */
export const REASONS = ['not-accepting', 'no-name', 'tor-unreachable', 'tor-bootstrapping', 'onion-unreachable'] as const
export type Reason = (typeof REASONS)[number]

/**
 * This many failures of the probe in a row make the relay not ready. One circuit fails now and then. Three in a row, each
 * over other nodes of Tor, are no chance (docs/decisions/0008-panic-by-the-operators-listener.md).
 */
const PROBE_FAILURES = 3

/** Exact values at one moment. They leave this module only through `buildStatus` or `renderMetrics`. */
export interface Moment {
  readonly snapshot: Snapshot
  /** Undefined if no control port is configured. */
  readonly tor: TorState | undefined
  /** Undefined if no probe is configured. */
  readonly probe?: ProbeState | undefined
  /** The state of the file of admitted keys; undefined if no file is configured. */
  readonly admit?: AdmitState | undefined
  readonly version: string
  readonly uptimeSeconds: number
  /** Seconds since the epoch. */
  readonly startTimeSeconds: number
  /** Absent if no name file is configured. */
  readonly nameFile?: NameFileState
  readonly residentBytes: number
  /** Delay of the event loop since the last reading, seconds, 99th percentile. */
  readonly loopDelaySeconds: number
}

export function roundUp(value: number, step: number): number {
  return Math.ceil(value / step) * step
}

function people(value: number): number {
  return roundUp(value, PEOPLE_STEP)
}

function coarse<K extends string>(counts: Readonly<Record<K, number>>): Record<K, number> {
  return Object.fromEntries(Object.entries<number>(counts).map(([key, value]) => [key, people(value)])) as Record<K, number>
}

export function findReasons({ snapshot, tor, probe }: Pick<Moment, 'snapshot' | 'tor' | 'probe'>): Reason[] {
  const reasons: Reason[] = []
  if (!snapshot.accepting) reasons.push('not-accepting')
  if (snapshot.names.length === 0) reasons.push('no-name')
  if (tor !== undefined && !tor.reachable) reasons.push('tor-unreachable')
  else if (tor !== undefined && tor.bootstrap !== 100) reasons.push('tor-bootstrapping')
  if (probe !== undefined && probe.failures >= PROBE_FAILURES) reasons.push('onion-unreachable')
  return reasons
}

/** The state of the probe; null for a value that is not known yet. */
export interface Probed {
  readonly reachable: boolean | null
  readonly seconds: number | null
  readonly failures: number
  readonly problem: string | null
  /** Seconds since the last try. */
  readonly ageSeconds: number | null
}

/** The mistake in the file of admitted keys; null if the list of the file is in force. */
export interface AdmitState {
  readonly problem: string | null
}

/** Why the relay cannot use its name file; null if it can. */
export interface NameFileState {
  readonly problem: NameProblem | null
}

/** GET /status, as docs/operations.md describes it. It does not contain the relay's names. */
export interface Status {
  readonly version: string
  readonly uptimeSeconds: number
  /** Seconds since the epoch. */
  readonly startTimeSeconds: number
  readonly ready: boolean
  readonly reasons: readonly Reason[]
  readonly connections: number
  readonly proven: number
  readonly mailboxes: number
  readonly subscribers: number
  readonly messages: number
  readonly bundles: number
  readonly messageBytes: number
  readonly messageBudget: number
  readonly stored: number
  readonly delivered: number
  readonly published: number
  readonly fetched: number
  readonly erased: Snapshot['counters']['erased']
  readonly accepted: Snapshot['counters']['accepted']
  readonly logins: Snapshot['counters']['logins']
  readonly turnedAway: Snapshot['counters']['turnedAway']
  readonly refused: Snapshot['counters']['refused']
  readonly nameFile: NameFileState | null
  readonly tor: TorState | null
  readonly probe: Probed | null
  readonly admit: AdmitState | null
  readonly residentBytes: number
  readonly loopDelaySeconds: number
}

export function buildStatus(moment: Moment): Status {
  const { snapshot, tor } = moment
  const { counters } = snapshot
  const reasons = findReasons(moment)
  return {
    version: moment.version,
    uptimeSeconds: Math.floor(moment.uptimeSeconds),
    startTimeSeconds: Math.floor(moment.startTimeSeconds),
    ready: reasons.length === 0,
    reasons,
    connections: people(snapshot.connections),
    proven: people(snapshot.proven),
    mailboxes: people(snapshot.mailboxes),
    subscribers: people(snapshot.subscribers),
    messages: people(snapshot.messages),
    bundles: people(snapshot.bundles),
    messageBytes: roundUp(snapshot.messageBytes, BYTES_STEP),
    messageBudget: snapshot.messageBudget,
    stored: people(counters.stored),
    delivered: people(counters.delivered),
    published: people(counters.published),
    fetched: people(counters.fetched),
    erased: coarse(counters.erased),
    accepted: coarse(counters.accepted),
    logins: coarse(counters.logins),
    turnedAway: { ...counters.turnedAway },
    refused: { ...counters.refused },
    nameFile: moment.nameFile ?? null,
    tor: tor ?? null,
    probe: moment.probe === undefined ? null : describeProbe(moment.probe, tor),
    admit: moment.admit ?? null,
    residentBytes: moment.residentBytes,
    loopDelaySeconds: moment.loopDelaySeconds,
  }
}

/** Without tor, clients cannot reach the relay, whatever the last try found before tor ended. */
function describeProbe({ reachable, seconds, failures, problem, ageSeconds }: ProbeState, tor: TorState | undefined): Probed {
  const down = tor !== undefined && !tor.reachable && reachable === true
  // Finer than a millisecond would say more about the circuit than an operator needs.
  const rounded = seconds === undefined ? null : Math.round(seconds * 1_000) / 1_000
  return {
    reachable: down ? false : (reachable ?? null),
    seconds: rounded,
    failures,
    problem: down ? 'proxy-down' : (problem ?? null),
    ageSeconds: ageSeconds === undefined ? null : Math.floor(ageSeconds),
  }
}

type Sample = readonly [value: number, label?: string]

interface MetricRow {
  readonly type: 'counter' | 'gauge'
  readonly help: string
  readonly label?: 'version' | 'door' | 'reason' | 'code' | 'proof'
  /** Returns the samples; empty if the value is not known. */
  readonly samples: (status: Status) => Iterable<Sample>
}

function each(counts: Readonly<Record<string, number>>): Sample[] {
  return Object.entries(counts).map(([label, value]) => [value, label])
}

/** All metrics; docs/operations.md lists the same. */
export const METRICS = {
  asfaleia_info: { type: 'gauge', help: 'Always 1; the version is the label.', label: 'version', samples: (s) => [[1, s.version]] },
  asfaleia_uptime_seconds: { type: 'gauge', help: 'Seconds since the start.', samples: (s) => [[s.uptimeSeconds]] },
  asfaleia_start_time_seconds: {
    type: 'gauge',
    help: "Unix time of the start, by the machine's clock then.",
    samples: (s) => [[s.startTimeSeconds]],
  },
  asfaleia_ready: { type: 'gauge', help: '1 if GET /readyz answers 200.', samples: (s) => [[Number(s.ready)]] },
  asfaleia_connections: { type: 'gauge', help: 'Open connections, in steps of 10.', samples: (s) => [[s.connections]] },
  asfaleia_proven_connections: {
    type: 'gauge',
    help: 'Open connections that proved a key or claimed, in steps of 10.',
    samples: (s) => [[s.proven]],
  },
  asfaleia_mailboxes: { type: 'gauge', help: 'Mailboxes in memory, in steps of 10.', samples: (s) => [[s.mailboxes]] },
  asfaleia_subscribers: { type: 'gauge', help: 'Mailboxes with a subscriber, in steps of 10.', samples: (s) => [[s.subscribers]] },
  asfaleia_messages: { type: 'gauge', help: 'Messages held, in steps of 10.', samples: (s) => [[s.messages]] },
  asfaleia_bundles: { type: 'gauge', help: 'Bundles held, in steps of 10.', samples: (s) => [[s.bundles]] },
  asfaleia_message_bytes: {
    type: 'gauge',
    help: 'Memory that messages, bundles and readers occupy, in steps of 65536.',
    samples: (s) => [[s.messageBytes]],
  },
  asfaleia_message_budget_bytes: { type: 'gauge', help: 'Memory that messages may occupy.', samples: (s) => [[s.messageBudget]] },
  asfaleia_accepted_total: {
    type: 'counter',
    help: 'Connections accepted, in steps of 10.',
    label: 'door',
    samples: (s) => each(s.accepted),
  },
  asfaleia_turned_away_total: {
    type: 'counter',
    help: 'Connections turned away, or ended to make room for others.',
    label: 'reason',
    samples: (s) => each(s.turnedAway),
  },
  asfaleia_logins_total: {
    type: 'counter',
    help: 'Successful logins and claims, in steps of 10.',
    label: 'proof',
    samples: (s) => each(s.logins),
  },
  asfaleia_refused_total: { type: 'counter', help: 'Errors sent to clients.', label: 'code', samples: (s) => each(s.refused) },
  asfaleia_stored_total: { type: 'counter', help: 'Messages stored, in steps of 10.', samples: (s) => [[s.stored]] },
  asfaleia_delivered_total: {
    type: 'counter',
    help: 'Messages delivered to a receiver, in steps of 10.',
    samples: (s) => [[s.delivered]],
  },
  asfaleia_published_total: { type: 'counter', help: 'Bundles published or taken down, in steps of 10.', samples: (s) => [[s.published]] },
  asfaleia_fetched_total: { type: 'counter', help: 'Bundles asked for, in steps of 10.', samples: (s) => [[s.fetched]] },
  asfaleia_erased_total: { type: 'counter', help: 'Messages erased, in steps of 10.', label: 'reason', samples: (s) => each(s.erased) },
  asfaleia_tor_reachable: {
    type: 'gauge',
    help: "1 if tor's control port answers; absent without --tor-control.",
    samples: (s) => (s.tor === null ? [] : [[Number(s.tor.reachable)]]),
  },
  asfaleia_tor_bootstrap_percent: {
    type: 'gauge',
    help: "Progress of tor's start; absent if tor does not report it.",
    samples: (s) => (s.tor?.bootstrap === undefined ? [] : [[s.tor.bootstrap]]),
  },
  asfaleia_reachable: {
    type: 'gauge',
    help: '1 if the last try to reach the relay through Tor succeeded; absent without a probe, and before the first try.',
    samples: (s) => (s.probe === null || s.probe.reachable === null ? [] : [[Number(s.probe.reachable)]]),
  },
  asfaleia_reachable_seconds: {
    type: 'gauge',
    help: 'The last round trip through Tor.',
    samples: (s) => (s.probe === null || s.probe.seconds === null ? [] : [[s.probe.seconds]]),
  },
  asfaleia_resident_memory_bytes: { type: 'gauge', help: 'Memory of the process.', samples: (s) => [[s.residentBytes]] },
  asfaleia_event_loop_delay_seconds: {
    type: 'gauge',
    help: 'Delay of the event loop since the last reading, 99th percentile.',
    samples: (s) => [[s.loopDelaySeconds]],
  },
} as const satisfies Record<string, MetricRow>

export const METRICS_TYPE = Registry.PROMETHEUS_CONTENT_TYPE

/** Renders Prometheus text. The relay holds the numbers, so each scrape makes a registry and no number exists twice. */
export async function renderMetrics(moment: Moment): Promise<string> {
  const registry = new Registry()
  const status = buildStatus(moment)
  for (const [name, row] of Object.entries<MetricRow>(METRICS)) {
    const options = { name, help: row.help, labelNames: row.label === undefined ? [] : [row.label], registers: [registry] }
    const metric = row.type === 'counter' ? new Counter(options) : new Gauge(options)
    // A metric without labels starts at 0, which would be a claim if the value is not known.
    if (row.label === undefined) metric.remove()
    for (const [value, label] of row.samples(status)) {
      if (row.label === undefined || label === undefined) metric.inc(value)
      else metric.inc({ [row.label]: label }, value)
    }
  }
  return registry.metrics()
}
