/**
 * Why a relay was not reached, as far as tor can say: its SOCKS port keeps quiet while tor has no network, and its control
 * port, where this user may ask it, tells why. Asks and changes nothing; a tor that is not the one that was dialled by is
 * not believed.
 */
import { type Address, parseAddress } from '../../config/value.ts'
import { RelayError, type RelayErrorCode } from '../../client/wire/error.ts'
import { usesProxy } from '../../client/wire/dial.ts'
import { authenticate, converse, readTorState } from '../../tor/control.ts'
import { parseEndpoint } from '../../transport/address.ts'
import { duration, toCliError } from './refusal.ts'
import { CliError, UsageError } from '../program/error.ts'
import { EXIT } from '../program/exit.ts'
import type { Io } from '../program/io.ts'

/** Where tor's control port is on most machines: Debian's socket, and the usual port. */
const USUAL = ['unix:/run/tor/control', '127.0.0.1:9051'] as const
const TIMEOUT_MS = 3_000
const SOCKS = '127.0.0.1:9050'
/** Failures that may be tor's and not the relay's. */
const ASKED: readonly RelayErrorCode[] = [
  'proxy-down',
  'proxy-failed',
  'onion-not-found',
  'onion-unreachable',
  'unreachable',
  'connect-timeout',
]

export interface TorTrouble {
  /** Percent of its start. */
  readonly bootstrap: number
  /** Tor's tag of the phase, letters and underscores alone. */
  readonly phase: string
  /** Tor's reason for its warning; `CLOCK_SKEW`, `NOROUTE`, … */
  readonly reason: string | undefined
  /** Seconds since 1970 between which the directory that tor has is valid; undefined where it has none. */
  readonly valid: readonly [from: number, until: number] | undefined
  /** Where its SOCKS ports are. */
  readonly socks: readonly string[]
}

/** The control ports to ask: the one that is named, else the usual ones. @throws {UsageError} */
export function findControls({ env }: Pick<Io, 'env'>): readonly Address[] {
  const given = env['ASFALEIA_TOR_CONTROL']
  try {
    return (given === undefined || given === '' ? USUAL : [given]).map(parseAddress).filter((address) => address !== undefined)
  } catch {
    throw new UsageError('ASFALEIA_TOR_CONTROL wants 127.0.0.1:PORT, unix:PATH or off')
  }
}

/** What the first tor says that answers and lets us ask. */
export async function askTrouble(controls: readonly Address[]): Promise<TorTrouble | undefined> {
  for (const control of controls) {
    const trouble = await converse(control, TIMEOUT_MS, async (ask) => {
      if (!(await authenticate(ask))) return undefined
      const get = async (key: string): Promise<string> => {
        const { ok, lines } = await ask(`GETINFO ${key}`)
        return ok ? (lines.find((line) => line.startsWith(`${key}=`))?.slice(key.length + 1) ?? '') : ''
      }
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
 * An error of a connection as one of the command line, with what tor says of it.
 * @param socks as it was dialled by; undefined for the usual port
 * @param now seconds since 1970
 */
export async function diagnose(error: unknown, io: Io, socks: string | undefined, now: number = Date.now() / 1_000): Promise<unknown> {
  const plain = toCliError(error, io.signal)
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
      'tor says nothing while it is not connected to its network: see its log, or let this user ask its control port (ASFALEIA_TOR_CONTROL)',
    )
  }
  return describeTrouble(error.code, trouble, socks ?? SOCKS, now) ?? plain
}

/** What tor's state says about a failure; undefined where it says nothing. */
export function describeTrouble(code: RelayErrorCode, trouble: TorTrouble, socks: string, now: number): CliError | undefined {
  const { bootstrap, phase, reason, valid } = trouble
  if (!trouble.socks.includes(endpoint(socks))) {
    // Another tor, unless nobody listens where we dialled.
    if (code !== 'proxy-down' || trouble.socks.length === 0) return undefined
    return unreachable('nobody listens at the SOCKS port', `tor runs, and its SOCKS port is another: --socks ${trouble.socks[0]}`)
  }
  if (reason === 'CLOCK_SKEW') return unreachable('tor says that the clock of this machine is wrong', clockHint(valid, now))
  if (valid !== undefined && now < valid[0] - 3_600) {
    return unreachable(
      `the clock of this machine is behind, by ${duration(Math.round(valid[0] - now))} at least, or tor’s directory is from the future`,
      clockHint(valid, now),
    )
  }
  if (bootstrap < 100) {
    const hint = reason === undefined ? 'wait a moment, and try again' : `tor gives the reason ${reason}; its log has more`
    return unreachable(`tor is not connected to its network yet: ${bootstrap} %, ${phase}`, hint)
  }
  // A tor that was connected once and lives by an old directory, or by a clock that runs ahead.
  if (valid !== undefined && now > valid[1] + 86_400) {
    return unreachable('tor’s directory is out of date by this machine’s clock', clockHint(valid, now))
  }
  if (code !== 'connect-timeout') return undefined
  return unreachable(
    'the relay was not reached in time, though tor is connected to its network',
    'is the relay running? A service that wants client authorization looks the same, unless tor’s SocksPort has ExtendedErrors',
  )
}

function clockHint(valid: TorTrouble['valid'], now: number): string {
  const time = (seconds: number): string => new Date(seconds * 1_000).toISOString().slice(0, 16).replace('T', ' ')
  const directory = valid === undefined ? '' : `; tor’s directory is valid from ${time(valid[0])} to ${time(valid[1])}`
  return `set the clock: here it is ${time(now)} UTC${directory}`
}

function unreachable(text: string, hint: string): CliError {
  return new CliError(text, { exitCode: EXIT.unreachable, hint })
}

function endpoint(socks: string): string {
  const { host, port } = parseEndpoint(socks, 9050)
  return `${host === 'localhost' ? '127.0.0.1' : host}:${port}`
}

/** One line where tor is still on its way, for who waits. */
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
