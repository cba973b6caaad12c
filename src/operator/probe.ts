/**
 * Asks now and then whether the relay can be reached the way that its people reach it: through Tor, at its own onion
 * address, by HELLO and PING. It logs in as nobody and sends nothing else. Tells what came of it as words of
 * a closed set and numbers: never the address, and nothing that was answered.
 */
import { once } from 'node:events'
import type { Socket } from 'node:net'
import type { Address } from '../config/value.ts'
import { ClientSession } from '../protocol/client-session.ts'
import { ConnectError, parseTarget } from '../transport/address.ts'
import { connectTarget, createIsolation, type Route } from '../transport/socks.ts'
import type { Log } from '../log.ts'

/**
 * Why the relay was not reached; `no-answer`: it ended the connection or was silent; `refused`: it refused, or is no
 * relay; `untried`: what is to try in the relay's stead has not done so for long.
 */
export const PROBE_PROBLEMS = [
  'proxy-down',
  'proxy-failed',
  'onion-not-found',
  'onion-unreachable',
  'onion-locked',
  'onion-malformed',
  'relay-down',
  'unreachable',
  'connect-timeout',
  'no-answer',
  'refused',
  'untried',
] as const
export type ProbeProblem = (typeof PROBE_PROBLEMS)[number]

export type ProbeResult =
  /** `seconds` from PING to PONG, the way through Tor there and back. */
  { readonly reached: true; readonly seconds: number } | { readonly reached: false; readonly problem: ProbeProblem }

export interface ProbeState {
  /** Of the last try; undefined before the first. */
  readonly reachable: boolean | undefined
  /** Of the last answer; undefined before the first. */
  readonly seconds: number | undefined
  /** Tries in a row without an answer. */
  readonly failures: number
  /** Of the last try. */
  readonly problem: ProbeProblem | undefined
}

/** Tor tries for two minutes what it does not find; who waits longer than this for a relay has given it up. */
const CONNECT_MS = 60_000
const ANSWER_MS = 60_000
/** After a failure the next try comes in this part of the time: one circuit may fail, and three in a row say more. */
const SOONER = 5

/** One try, over circuits of its own. @param name the relay's `….onion` */
export async function probe(name: string, proxy: Address, signal: AbortSignal): Promise<ProbeResult> {
  const target = parseTarget(name)
  const route: Route = { kind: 'socks', proxy, isolation: createIsolation() }
  let socket: Socket | undefined
  try {
    socket = await connectTarget(target, route, { timeout: CONNECT_MS, signal })
    return await greet(socket, target.name, AbortSignal.any([signal, AbortSignal.timeout(ANSWER_MS)]))
  } catch (error) {
    return { reached: false, problem: error instanceof ConnectError ? error.code : 'no-answer' }
  } finally {
    socket?.destroy()
  }
}

/** @throws when the connection or the time is over before the answers came */
async function greet(socket: Socket, name: string, signal: AbortSignal): Promise<ProbeResult> {
  const session = new ClientSession(name)
  const ended = once(socket, 'close', { signal }).then(() => Promise.reject(new Error('closed')))
  const answered = Promise.withResolvers<ProbeResult>()
  let sentAt = 0
  socket.on('data', (chunk: Buffer) => {
    for (const event of session.onChunk(chunk)) {
      switch (event.kind) {
        case 'answer':
          if (event.answer.name === 'PING') return answered.resolve({ reached: true, seconds: (performance.now() - sentAt) / 1_000 })
          sentAt = performance.now()
          socket.write(session.ping())
          break
        case 'refused':
        case 'farewell':
        case 'broken':
          return answered.resolve({ reached: false, problem: 'refused' })
        case 'part':
        case 'message':
        case 'notice':
        case 'moved':
          break
      }
    }
  })
  socket.write(session.hello())
  return Promise.race([answered.promise, ended])
}

export interface ProbeSources {
  /** The onion address to try; undefined while there is none. */
  name(): string | undefined
  /** Never rejects. */
  readonly probe: (name: string, signal: AbortSignal) => Promise<ProbeResult>
  readonly everySeconds: number
  /** From 0 to 1. */
  readonly random: () => number
}

/** Tries at once and then now and then, until it is stopped. Changes are events of the log. */
export function startProbe(sources: ProbeSources, log: Log): { state(): ProbeState; stop(): void } {
  let state = UNKNOWN
  let timer: NodeJS.Timeout | undefined
  const over = new AbortController()
  const look = async (): Promise<void> => {
    const name = sources.name()
    const result = name === undefined ? undefined : await sources.probe(name, over.signal)
    if (over.signal.aborted) return
    if (result !== undefined) {
      const before = state.reachable
      state = next(state, result)
      if (before !== result.reached) report(result, log)
    }
    const seconds = result === undefined ? 1 : result.reached ? sources.everySeconds : sources.everySeconds / SOONER
    // Not at moments that could be told from outside.
    timer = setTimeout(() => void look(), seconds * 1_000 * (0.9 + 0.2 * sources.random())).unref()
  }
  void look()
  return {
    state: () => state,
    stop() {
      over.abort()
      clearTimeout(timer)
    },
  }
}

/** What another program found, and how long ago it wrote that. */
export interface Report {
  readonly text: string
  readonly ageSeconds: number
}

const LOOK_MS = 1_000
/** Beside twice the time between two tries: what a try itself may take. */
const SLOW_SECONDS = 180
/** Of so many tries in a row that make the relay not ready. */
const UNTRIED_FAILURES = 3

/**
 * Reads what another program finds that tries instead of the relay, one that has a way to Tor while the relay has none
 * (docs/decisions/0010-who-probes.md). Anything but its two forms of a line is as good as nothing.
 */
export function followProbe(
  sources: { read(): Report | undefined; readonly everySeconds: number; readonly now?: () => number },
  log: Log,
): { state(): ProbeState; stop(): void } {
  const { now = () => performance.now() } = sources
  const patience = 2 * sources.everySeconds + SLOW_SECONDS
  const since = now()
  let state = UNKNOWN
  const look = (): void => {
    const report = sources.read()
    const age = report?.ageSeconds ?? (now() - since) / 1_000
    const before = state.reachable
    const found = report === undefined ? undefined : parseReport(report.text)
    if (age > patience) state = { ...state, reachable: false, failures: UNTRIED_FAILURES, problem: 'untried' }
    else if (found === undefined) state = { ...UNKNOWN, seconds: state.seconds }
    else state = { ...found, seconds: found.seconds ?? state.seconds }
    if (state.reachable === undefined || state.reachable === before) return
    if (state.reachable) log.event('onion-reached')
    else log.event('onion-not-reached', { problem: state.problem! })
  }
  look()
  const timer = setInterval(look, LOOK_MS).unref()
  return { state: () => state, stop: () => clearInterval(timer) }
}

const UNKNOWN: ProbeState = { reachable: undefined, seconds: undefined, failures: 0, problem: undefined }

/** `reached MILLISECONDS`, or `failed TRIES PROBLEM`. */
function parseReport(text: string): ProbeState | undefined {
  const [, milliseconds] = /^reached (\d{1,6})\n$/.exec(text) ?? []
  if (milliseconds !== undefined) return { reachable: true, seconds: Number(milliseconds) / 1_000, failures: 0, problem: undefined }
  const [, tries, word] = /^failed ([1-9]\d{0,3}) ([a-z-]{1,32})\n$/.exec(text) ?? []
  const problem = PROBE_PROBLEMS.find((each) => each === word)
  return tries === undefined || problem === undefined
    ? undefined
    : { reachable: false, seconds: undefined, failures: Number(tries), problem }
}

function next(state: ProbeState, result: ProbeResult): ProbeState {
  if (result.reached) return { reachable: true, seconds: result.seconds, failures: 0, problem: undefined }
  return { reachable: false, seconds: state.seconds, failures: state.failures + 1, problem: result.problem }
}

function report(result: ProbeResult, log: Log): void {
  if (result.reached) log.event('onion-reached')
  else log.event('onion-not-reached', { problem: result.problem })
}
