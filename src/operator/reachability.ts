/**
 * Whether clients can reach the relay through Tor, over time: tries now and then, or follows the report of another
 * program that does. Logs each change.
 */
import type { Log } from '../log.ts'
import { PROBE_PROBLEMS, type ProbeProblem, type ProbeResult } from './probe-result.ts'

export interface ProbeState {
  /** The result of the last try; undefined before the first. */
  readonly reachable: boolean | undefined
  /** The round trip of the last answer; undefined before the first. */
  readonly seconds: number | undefined
  /** How many tries in a row had no answer. */
  readonly failures: number
  /** Why the last try failed. */
  readonly problem: ProbeProblem | undefined
  /** Seconds since the last try ended; undefined before the first. */
  readonly ageSeconds?: number | undefined
}

type Outcome = Omit<ProbeState, 'ageSeconds'>

/** After a failure the next try comes five times sooner: one circuit may fail by chance, but not three in a row. */
const SOONER = 5

export interface ProbeSources {
  /** Returns the onion address to try; undefined as long as the relay has no such name. */
  name(): string | undefined
  /** Never rejects. */
  readonly probe: (name: string, signal: AbortSignal) => Promise<ProbeResult>
  readonly everySeconds: number
  /** Draws a number from 0 to 1. */
  readonly random: () => number
  /** ms, by a monotonic clock. */
  readonly now?: () => number
}

/** Tries at once and then repeatedly, until it is stopped. Logs each change. */
export function startProbe(sources: ProbeSources, log: Log): { state(): ProbeState; stop(): void } {
  const { now = () => performance.now() } = sources
  let state = UNKNOWN
  let triedAt: number | undefined
  let timer: NodeJS.Timeout | undefined
  const over = new AbortController()
  const look = async (): Promise<void> => {
    const name = sources.name()
    const result = name === undefined ? undefined : await sources.probe(name, over.signal)
    if (over.signal.aborted) return
    if (result !== undefined) {
      const before = state.reachable
      state = next(state, result)
      triedAt = now()
      if (before !== result.reached) report(result, log)
    }
    const seconds = result === undefined ? 1 : result.reached ? sources.everySeconds : sources.everySeconds / SOONER
    // The time varies by a tenth, so that an observer cannot predict it.
    timer = setTimeout(() => void look(), seconds * 1_000 * (0.9 + 0.2 * sources.random())).unref()
  }
  void look()
  return {
    state: () => ({ ...state, ageSeconds: triedAt === undefined ? undefined : (now() - triedAt) / 1_000 }),
    stop() {
      over.abort()
      clearTimeout(timer)
    },
  }
}

/** The report of another program, and its age. */
export interface Report {
  readonly text: string
  readonly ageSeconds: number
}

const LOOK_MS = 1_000
/** For one try. A report is too old after this, and twice the time between two tries. */
const SLOW_SECONDS = 180
/** A report that is too old counts as three failures, which make the relay not ready. */
const UNTRIED_FAILURES = 3

/**
 * Follows the report of another program, which can reach Tor if the relay cannot (docs/decisions/0010-who-probes.md). A
 * report in neither of the two forms counts as no report.
 */
export function followProbe(
  sources: { read(): Report | undefined; readonly everySeconds: number; readonly now?: () => number },
  log: Log,
): { state(): ProbeState; stop(): void } {
  const { now = () => performance.now() } = sources
  const patience = 2 * sources.everySeconds + SLOW_SECONDS
  const since = now()
  let state = UNKNOWN
  let triedAt: number | undefined
  const look = (): void => {
    const report = sources.read()
    const age = report?.ageSeconds ?? (now() - since) / 1_000
    const before = state.reachable
    const found = report === undefined ? undefined : parseReport(report.text)
    triedAt = found === undefined && age <= patience ? undefined : now() - age * 1_000
    if (age > patience) state = { ...state, reachable: false, failures: UNTRIED_FAILURES, problem: 'untried' }
    else if (found === undefined) state = { ...UNKNOWN, seconds: state.seconds }
    else state = { ...found, seconds: found.seconds ?? state.seconds }
    if (state.reachable === undefined || state.reachable === before) return
    if (state.reachable) log.event('onion-reached')
    else log.event('onion-not-reached', { problem: state.problem! })
  }
  look()
  const timer = setInterval(look, LOOK_MS).unref()
  return {
    state: () => ({ ...state, ageSeconds: triedAt === undefined ? undefined : (now() - triedAt) / 1_000 }),
    stop: () => clearInterval(timer),
  }
}

const UNKNOWN: Outcome = { reachable: undefined, seconds: undefined, failures: 0, problem: undefined }

/** Parses `reached MILLISECONDS` or `failed TRIES PROBLEM`. */
function parseReport(text: string): Outcome | undefined {
  const [, milliseconds] = /^reached (\d{1,6})\n$/.exec(text) ?? []
  if (milliseconds !== undefined) return { reachable: true, seconds: Number(milliseconds) / 1_000, failures: 0, problem: undefined }
  const [, tries, word] = /^failed ([1-9]\d{0,3}) ([a-z-]{1,32})\n$/.exec(text) ?? []
  const problem = PROBE_PROBLEMS.find((each) => each === word)
  return tries === undefined || problem === undefined
    ? undefined
    : { reachable: false, seconds: undefined, failures: Number(tries), problem }
}

function next(state: Outcome, result: ProbeResult): Outcome {
  if (result.reached) return { reachable: true, seconds: result.seconds, failures: 0, problem: undefined }
  return { reachable: false, seconds: state.seconds, failures: state.failures + 1, problem: result.problem }
}

function report(result: ProbeResult, log: Log): void {
  if (result.reached) log.event('onion-reached')
  else log.event('onion-not-reached', { problem: result.problem })
}
