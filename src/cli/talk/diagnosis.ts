/**
 * Explains why a relay could not be reached. While tor has no network its SOCKS port does not answer, but its control
 * port reports the reason, if this user may ask it. The diagnosis only asks, and ignores a tor whose SOCKS port is not
 * the one that the client used.
 */
import { type Address, parseEndpoint } from '../../transport/address.ts'
import { parseAddress } from '../../config/value.ts'
import { RelayError, type RelayErrorCode } from '../../client/wire/error.ts'
import { usesProxy } from '../../client/wire/dial.ts'
import { authenticate, converse, getInfo } from '../../tor/control.ts'
import { readTorState } from '../../tor/state.ts'
import { duration } from '../../wording/figures.ts'
import { toCliError } from './refusal.ts'
import { CliError, UsageError } from '../program/error.ts'
import { EXIT } from '../program/exit.ts'
import type { Io } from '../program/io.ts'

/** The usual addresses of tor's control port: Debian's socket, and the default port. */
const USUAL = ['unix:/run/tor/control', '127.0.0.1:9051'] as const
const TIMEOUT_MS = 3_000
const SOCKS = '127.0.0.1:9050'
/** Failures that tor may have caused. */
const ASKED: readonly RelayErrorCode[] = [
  'proxy-down',
  'proxy-failed',
  'onion-not-found',
  'onion-unreachable',
  'unreachable',
  'connect-timeout',
]

export interface TorTrouble {
  /** Progress of the bootstrap, in percent. */
  readonly bootstrap: number
  /** Tor's tag of the bootstrap phase: letters and underscores only. */
  readonly phase: string
  /** Tor's reason for its last bootstrap warning: `CLOCK_SKEW`, `NOROUTE`, … */
  readonly reason: string | undefined
  /** When tor's directory is valid, in seconds since 1970; undefined if tor has no directory. */
  readonly valid: readonly [from: number, until: number] | undefined
  /** The addresses of its SOCKS ports. */
  readonly socks: readonly string[]
}

/** Returns the control port in ASFALEIA_TOR_CONTROL, or the usual ones. @throws {UsageError} */
export function findControls({ env }: Pick<Io, 'env'>): readonly Address[] {
  const given = env['ASFALEIA_TOR_CONTROL']
  try {
    return (given === undefined || given === '' ? USUAL : [given]).map(parseAddress).filter((address) => address !== undefined)
  } catch {
    throw new UsageError(`ASFALEIA_TOR_CONTROL: "${given}" is not an address`, { hint: 'expected 127.0.0.1:PORT, unix:PATH or off' })
  }
}

/** Asks the control ports in turn, until one answers and lets this user ask. */
export async function askTrouble(controls: readonly Address[]): Promise<TorTrouble | undefined> {
  for (const control of controls) {
    const trouble = await converse(control, TIMEOUT_MS, async (ask) => {
      if (!(await authenticate(ask))) return undefined
      const get = async (key: string): Promise<string> => (await getInfo(ask, key)) ?? ''
      const phase = await get('status/bootstrap-phase')
      const [from, until] = [await get('consensus/valid-after'), await get('consensus/valid-until')].map(
        (text) => Date.parse(`${text.replaceAll('"', '').replace(' ', 'T')}Z`) / 1_000,
      )
      return {
        bootstrap: Number(/ PROGRESS=(\d{1,3})(?: |$)/.exec(phase)?.[1] ?? 0),
        phase: / TAG=([a-z_]{1,40})(?: |$)/.exec(phase)?.[1] ?? 'other',
        reason: / REASON=([A-Z_]{1,40})(?: |$)/.exec(phase)?.[1],
        valid:
          from === undefined || until === undefined || Number.isNaN(from) || Number.isNaN(until) ? undefined : ([from, until] as const),
        socks: [...(await get('net/listeners/socks')).matchAll(/"([^"]{1,200})"/g)].map(([, address]) => address!),
      }
    })
    if (trouble !== undefined) return trouble
  }
  return undefined
}

/**
 * Turns the error of a connection into an error of the command line, with tor's reason if tor caused it.
 * @param socks the SOCKS port that the client used; undefined for the default one
 * @param relay the relay, if there is one of which the error is
 * @param now seconds since 1970
 */
export async function diagnose(
  error: unknown,
  io: Io,
  socks: string | undefined,
  relay?: string,
  now: number = Date.now() / 1_000,
): Promise<unknown> {
  const plain = toCliError(error, io.signal, relay)
  if (
    !(error instanceof RelayError) ||
    !(plain instanceof CliError) ||
    !ASKED.includes(error.code) ||
    !usesProxy(socks) ||
    io.signal.aborted
  )
    return plain
  const trouble = await askTrouble(findControls(io))
  if (trouble === undefined) {
    if (error.code !== 'connect-timeout') return plain
    return unreachable(
      plain.message,
      'tor does not answer while it is not connected to its network: see its log, or name its control port in ASFALEIA_TOR_CONTROL',
    )
  }
  return describeTrouble(error.code, trouble, socks ?? SOCKS, now) ?? plain
}

/** Explains a failure by tor's state; undefined if that does not explain it. */
export function describeTrouble(code: RelayErrorCode, trouble: TorTrouble, socks: string, now: number): CliError | undefined {
  const { bootstrap, phase, reason, valid } = trouble
  if (!trouble.socks.includes(endpoint(socks))) {
    // The client used the SOCKS port of another tor, or a port at which nothing listens.
    if (code !== 'proxy-down' || trouble.socks.length === 0) return undefined
    return unreachable('nothing listens at the SOCKS port', `tor runs, but with another SOCKS port: use --socks ${trouble.socks[0]}`)
  }
  if (reason === 'CLOCK_SKEW') return unreachable('tor reports that the clock of this machine is wrong', clockHint(valid, now))
  if (valid !== undefined && now < valid[0] - 3_600) {
    return unreachable(
      `the clock of this machine is at least ${duration(Math.round(valid[0] - now))} behind tor’s directory`,
      clockHint(valid, now),
    )
  }
  if (bootstrap < 100) {
    const hint = reason === undefined ? 'wait a moment, and try again' : `tor gives the reason ${reason}; see its log`
    return unreachable(`tor is not connected to its network yet: ${bootstrap} %, ${phase}`, hint)
  }
  // Tor was connected once and has an old directory, or the clock is ahead.
  if (valid !== undefined && now > valid[1] + 86_400) {
    return unreachable('by the clock of this machine, tor’s directory is out of date', clockHint(valid, now))
  }
  if (code !== 'connect-timeout') return undefined
  return unreachable(
    'timed out while connecting to the relay, though tor is connected to its network',
    'check that the relay is running. If it requires client authorization, tor says so only if its SocksPort has ExtendedErrors',
  )
}

function clockHint(valid: TorTrouble['valid'], now: number): string {
  const time = (seconds: number): string => new Date(seconds * 1_000).toISOString().slice(0, 16).replace('T', ' ')
  const directory = valid === undefined ? '' : `; tor’s directory is valid from ${time(valid[0])} to ${time(valid[1])}`
  return `check the clock: it says ${time(now)} UTC${directory}`
}

function unreachable(text: string, hint: string): CliError {
  return new CliError(text, { exitCode: EXIT.unreachable, hint })
}

function endpoint(socks: string): string {
  const { host, port } = parseEndpoint(socks, 9050)
  return `${host === 'localhost' ? '127.0.0.1' : host}:${port}`
}

/** Describes the progress of tor's bootstrap in one line; undefined if it is complete or unknown. */
export async function describeStart(io: Io): Promise<string | undefined> {
  for (const control of findControls(io)) {
    const { reachable, bootstrap, summary } = await readTorState(control)
    if (reachable)
      return bootstrap === undefined || bootstrap === 100
        ? undefined
        : `tor is not connected to its network yet: ${bootstrap} %, ${summary}; waiting`
  }
  return undefined
}
