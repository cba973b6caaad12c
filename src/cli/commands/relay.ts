/**
 * `asfaleia relay`: the relay as a process. Prints a line for each listener as taken, then `ready`, on
 * standard output; the log goes to standard error. Starts no other process.
 */
import { readFileSync } from 'node:fs'
import {
  type Address,
  type Config,
  ConfigError,
  parseConfig,
  type Problem,
  type Setting,
  SETTING_KEYS,
  SETTINGS,
  variableOf,
} from '../../config.ts'
import { createLog, type Log } from '../../log.ts'
import type { RunningServer } from '../../server.ts'
import { PACKAGE_VERSION } from '../../version.ts'
import { EXIT, type Io, printProblem } from '../terminal.ts'

/** What the command needs of the process, so that a test can stand in for it. */
export interface Host {
  startServer(config: Config, log: Log, version: string): Promise<RunningServer>
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
  const parsed = parseConfig({ env: io.env, argv, readFile: (path) => readFileSync(path, 'utf8'), terminal })
  if ('problems' in parsed) {
    printProblems(io, parsed.problems)
    return EXIT.usage
  }
  const { config } = parsed
  const colors = terminal && io.env['NO_COLOR'] === undefined
  const log = createLog({ ...config.log, colors, write: (line) => void io.stderr.write(line) })
  const offCrash = host.onCrash((origin) => {
    log.event('internal-error', { origin })
    process.exit(EXIT.internal)
  })
  try {
    return await serve(config, log, io, host)
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    printProblems(io, error.problems)
    return EXIT.failed
  } finally {
    offCrash()
  }
}

async function serve(config: Config, log: Log, io: Io, host: Host): Promise<number> {
  log.event('starting', { version: PACKAGE_VERSION })
  if (config.names.length === 0 && config.nameFile === undefined) log.event('no-name')
  const server = await host.startServer(config, log, PACKAGE_VERSION)
  const offHangup = host.onHangup(() => server.reload())
  for (const { door, address } of server.listening) {
    // The unix door's address is a path as --unix takes it; the others' are as their flags take them.
    io.stdout.write(`${door} ${formatAddress(address, door === 'unix' ? '' : 'unix:')}\n`)
  }
  io.stdout.write('ready\n')
  log.event('ready')
  await aborted(io.signal)
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
  async startServer(config, log, version) {
    const { startServer } = await import('../../server.ts')
    return startServer(config, log, version)
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
