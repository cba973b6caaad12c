/**
 * `asfaleia relay`: the relay as a process. Prints a line for each listener as taken, then `ready`, on
 * standard output; the log goes to standard error. Starts no other process, but replaces itself once by
 * itself with less rights (src/cli/relay/confinement.ts), before it loads anything that could hold data.
 */
import { readFileSync } from 'node:fs'
import { type Config, parseConfig } from '../../config/config.ts'
import { ConfigError, type Problem } from '../../config/problem.ts'
import { type Setting, SETTING_KEYS, SETTINGS, variableOf } from '../../config/setting.ts'
import type { Address } from '../../config/value.ts'
import type { Log } from '../../log.ts'
import type { RunningServer } from '../../server/server.ts'
import { PACKAGE_VERSION } from '../../version.ts'
import { examine, type Finding, lookAround, UNCONFINED } from '../relay/checks.ts'
import { confine, giveUp, isConfined } from '../relay/confinement.ts'
import { printProblem } from '../program/error.ts'
import { EXIT } from '../program/exit.ts'
import type { Io } from '../program/io.ts'

/** What the command needs of the process, so that a test can stand in for it. */
export interface Host {
  /** What was found wrong with the process and the machine; nothing where that was looked at before. */
  examine(): readonly Finding[]
  /** Replaces the process by one that can keep nothing. Returns where that was done before, and with false where it cannot be. */
  confine(config: Config, files: readonly string[]): boolean
  /** Gives up the rights that only the start needed. */
  giveUp(config: Config, files: readonly string[]): void
  startServer(config: Config, log: Log, version: string, signal: AbortSignal): Promise<RunningServer>
  /** SIGHUP. Gives the way to stop listening. */
  onHangup(listener: () => void): () => void
  /** Called before the process ends of a defect; the listener ends it. */
  onCrash(listener: (origin: 'exception' | 'rejection') => void): () => void
}

export const HELP = `usage: asfaleia relay [OPTION …]

Runs the relay on loopback or unix sockets, for an onion service in front of it.
An ADDRESS is 127.0.0.1:PORT, [::1]:PORT, localhost:PORT, unix:PATH or off; port 0 takes any that is free.

${SETTING_KEYS.map((key) => describe(key)).join('\n')}
  -h, --help

Each option may stand in the environment, ${variableOf('per-circuit')} for --per-circuit, or in the config file,
\`per-circuit = 64\`; flags come before the environment, the environment before the file.
`

function describe(key: keyof typeof SETTINGS): string {
  const row: Setting = SETTINGS[key]
  const more = [row.fallback, row.takes].filter((text) => text !== undefined)
  return `  ${`--${key} ${row.value}`.padEnd(26)} ${row.about}${more.length > 0 ? ` (${more.join('; ')})` : ''}`
}

export async function run(argv: string[], io: Io, host: Host = PROCESS): Promise<number> {
  if (argv.includes('--help') || argv.includes('-h')) {
    io.stdout.write(HELP)
    return EXIT.ok
  }
  const terminal = io.stderr.isTTY === true
  const files: string[] = []
  const readFile = (path: string): string => {
    files.push(path)
    return readFileSync(path, 'utf8')
  }
  const parsed = parseConfig({ env: io.env, argv, readFile, terminal })
  if ('problems' in parsed) {
    printProblems(io, parsed.problems)
    return EXIT.usage
  }
  const { config } = parsed
  const excused = ({ name }: Finding): boolean => config.allowUnsafe.includes(name)
  const found = host.examine().filter((finding) => finding.problem !== undefined && !excused(finding))
  if (config.strict && found.length > 0) return refuse(io, found)
  // Only where there is something to say: the log is loaded in the process that stays.
  if (found.length > 0) warn(await openLog(config, io), found)
  if (!excused(UNCONFINED) && !host.confine(config, files)) {
    if (config.strict) return refuse(io, [UNCONFINED])
    warn(await openLog(config, io), [UNCONFINED])
  }
  const log = await openLog(config, io)
  const offCrash = host.onCrash((origin) => {
    log.event('internal-error', { origin })
    process.exit(EXIT.internal)
  })
  try {
    return await serve(config, files, log, io, host)
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    printProblems(io, error.problems)
    return EXIT.failed
  } finally {
    offCrash()
  }
}

async function openLog(config: Config, io: Io): Promise<Log> {
  const { createLog } = await import('../../log.ts')
  const colors = io.stderr.isTTY === true && io.env['NO_COLOR'] === undefined
  return createLog({ ...config.log, colors, write: (line) => void io.stderr.write(line) })
}

function refuse(io: Io, found: readonly Finding[]): number {
  for (const { name, problem, hint } of found) {
    printProblem(io, `${name}: ${problem}`, `${hint}; or start it all the same: --allow-unsafe ${name}`)
  }
  return EXIT.failed
}

function warn(log: Log, found: readonly Finding[]): void {
  for (const { name } of found) log.event('unsafe', { check: name })
}

async function serve(config: Config, files: readonly string[], log: Log, io: Io, host: Host): Promise<number> {
  log.event('starting', { version: PACKAGE_VERSION })
  if (config.names.length === 0 && config.nameFile === undefined) log.event('no-name')
  const server = await host.startServer(config, log, PACKAGE_VERSION, io.signal)
  host.giveUp(config, files)
  const offHangup = host.onHangup(() => server.reload())
  for (const { door, address } of server.listening) {
    // The unix door's address is a path as --unix takes it; the others' are as their flags take them.
    io.stdout.write(`${door} ${formatAddress(address, door === 'unix' ? '' : 'unix:')}\n`)
  }
  io.stdout.write('ready\n')
  log.event('ready')
  await Promise.race([aborted(io.signal), server.handedOver ?? new Promise<never>(() => {})])
  log.event('stopping')
  offHangup()
  await server.close()
  log.event('stopped')
  return EXIT.ok
}

function aborted(signal: AbortSignal): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>()
  if (signal.aborted) resolve()
  else signal.addEventListener('abort', () => resolve(), { once: true })
  return promise
}

function printProblems(io: Io, problems: readonly Problem[]): void {
  for (const { key, where, problem, hint } of problems) printProblem(io, `${where ?? `--${key}`}: ${problem}`, hint)
}

function formatAddress(address: Address, scheme: string): string {
  if (address.kind === 'unix') return `${scheme}${address.path}`
  return `${address.host.includes(':') ? `[${address.host}]` : address.host}:${address.port}`
}

const PROCESS: Host = {
  examine() {
    // The process that replaced itself was looked at before; of it there is one thing left to see.
    return isConfined() ? [] : examine(lookAround())
  },
  confine(config, files) {
    if (isConfined()) return true
    confine(config, files)
    return false
  },
  giveUp,
  async startServer(config, log, version, signal) {
    // Each would end the process or, without our flags, open the inspector or write a report.
    for (const signal of ['SIGUSR1', 'SIGUSR2'] as const) process.on(signal, () => {})
    const { startServer } = await import('../../server/server.ts')
    return startServer(config, log, version, signal)
  },
  onHangup(listener) {
    process.on('SIGHUP', listener)
    return () => process.off('SIGHUP', listener)
  },
  onCrash(listener) {
    const onException = (): void => listener('exception')
    const onRejection = (): void => listener('rejection')
    // Before the listeners of main.ts, which print to a person what here belongs into the log.
    process.prependListener('uncaughtException', onException)
    process.prependListener('unhandledRejection', onRejection)
    return () => {
      process.off('uncaughtException', onException)
      process.off('unhandledRejection', onRejection)
    }
  },
}
