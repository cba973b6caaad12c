/**
 * `asfaleia relay`: runs the relay. Prints a line for each listener, then `ready`, on standard output; the log goes
 * to standard error. Starts no other process, but replaces itself once by a process with fewer rights
 * (src/cli/relay/confinement.ts), before it loads a module that could hold data.
 */
import { readFileSync } from 'node:fs'
import { type Config, parseConfig } from '../../config/config.ts'
import { ConfigError, type Problem } from '../../config/problem.ts'
import type { Address } from '../../transport/address.ts'
import type { Log } from '../../log.ts'
import type { RunningServer } from '../../server/server.ts'
import { PACKAGE_VERSION } from '../../version.ts'
import { examine, type Finding, lookAround, UNCONFINED } from '../relay/checks.ts'
import { confine, giveUp, isConfined } from '../relay/confinement.ts'
import { printProblem } from '../program/error.ts'
import { EXIT } from '../program/exit.ts'
import type { Io } from '../program/io.ts'
import { printHelp } from '../program/arguments.ts'
import type { Page } from '../program/page.ts'
import { PAGE_FILE } from '../relay/page-file.ts'
import { SETTING_OPTIONS, SETTING_VARIABLES } from '../relay/options.ts'

/** The process, so that a test can replace it. */
export interface Host {
  /**
   * Checks the process and the machine. Finds nothing in the confined process, because the one before it made the
   * checks.
   */
  examine(config: Config): readonly Finding[]
  /**
   * Replaces the process by one that cannot write files. Returns true if it is that process already, false if it
   * cannot do so.
   */
  confine(config: Config, files: readonly string[]): boolean
  /** Drops the rights that only the start needs. */
  giveUp(config: Config, files: readonly string[]): void
  startServer(config: Config, log: Log, signal: AbortSignal): Promise<RunningServer>
  /** Listens to SIGHUP. Returns a function that stops listening. */
  onHangup(listener: () => void): () => void
  /** Listens to errors that nothing caught. The listener ends the process. */
  onCrash(listener: (origin: 'exception' | 'rejection') => void): () => void
}

export const page: Page = {
  name: 'relay',
  options: SETTING_OPTIONS,
  variables: SETTING_VARIABLES,
  text: `
    Runs the relay on loopback addresses or unix sockets, for an onion service in front of it. It prints a line for each listener, and
    then \`ready\`; its log goes to standard error.

    An ADDRESS is 127.0.0.1:PORT, [::1]:PORT, localhost:PORT, unix:PATH or off; port 0 chooses a free port.

    Each option can also be set by its environment variable, or in the config file as \`per-circuit = 64\`. An option overrides its
    variable, and the variable overrides the file.`,
  examples: [
    ['try the relay on this machine', 'asfaleia relay --name localhost'],
    ['run it behind tor, which writes the address to its hostname file', 'asfaleia relay --name-file /var/lib/tor/asfaleia/hostname'],
  ],
}

export async function run(argv: string[], io: Io, host: Host = PROCESS): Promise<number> {
  if (printHelp(argv, io, page)) return EXIT.ok
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
  const found = host.examine(config).filter((finding) => finding.problem !== undefined && !excused(finding))
  if (config.strict && found.length > 0) return refuse(io, found)
  // Usually the log is loaded in the confined process only.
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
    printProblem(io, `${name}: ${problem}`, `${hint}; to start anyway, use --allow-unsafe ${name}`)
  }
  return EXIT.failed
}

function warn(log: Log, found: readonly Finding[]): void {
  for (const { name } of found) log.event('unsafe', { check: name })
}

async function serve(config: Config, files: readonly string[], log: Log, io: Io, host: Host): Promise<number> {
  log.event('starting', { version: PACKAGE_VERSION })
  if (config.names.length === 0 && config.nameFile === undefined) log.event('no-name')
  const server = await host.startServer(config, log, io.signal)
  host.giveUp(config, files)
  const offHangup = host.onHangup(() => server.reload())
  for (const { door, address } of server.listening) {
    // Each address is printed as its option takes it: --unix takes a bare path.
    io.stdout.write(`${door} ${formatAddress(address, door === 'unix' ? '' : 'unix:')}\n`)
  }
  io.stdout.write('ready\n')
  log.event('ready')
  if (server.ignoresSignal) {
    log.event('stop-too-late')
    await server.handedOver
  } else {
    await Promise.race([aborted(io.signal), server.handedOver])
  }
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
  examine(config) {
    // The process that replaced itself by this one made the checks.
    return isConfined() ? [] : examine(lookAround(config))
  },
  confine(config, files) {
    if (isConfined()) return true
    confine(config, files)
    return false
  },
  giveUp,
  async startServer(config, log, signal) {
    // By default, each would end the process, open the inspector or write a report.
    for (const signal of ['SIGUSR1', 'SIGUSR2'] as const) process.on(signal, () => {})
    const { startServer } = await import('../../server/server.ts')
    return startServer(config, log, { version: PACKAGE_VERSION, page: PAGE_FILE }, signal)
  },
  onHangup(listener) {
    process.on('SIGHUP', listener)
    return () => process.off('SIGHUP', listener)
  },
  onCrash(listener) {
    const onException = (): void => listener('exception')
    const onRejection = (): void => listener('rejection')
    // Comes before the listeners of main.ts, which print the error: a relay logs it.
    process.prependListener('uncaughtException', onException)
    process.prependListener('unhandledRejection', onRejection)
    return () => {
      process.off('uncaughtException', onException)
      process.off('unhandledRejection', onRejection)
    }
  },
}
