/**
 * Runs one tor as a child process; only this process's user may use its control port. `asfaleia start` and the tests'
 * private network use it. It prints and keeps nothing of tor's log except a few lines, which explain a failed start.
 */
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { chmod, mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { type Control, openControl } from './control.ts'

/** For each answer of the control port; a loaded machine is slow. */
const CONTROL_MS = 30_000

export interface TorOptions {
  /** Lines for torrc, in addition to those of `startTor` (data and control). */
  readonly torrc: readonly string[]
  /**
   * The folder of tor's torrc, data and control socket; `startTor` makes it with mode 0700. Its path must be short, since
   * the path of a unix socket has at most 107 bytes.
   */
  readonly folder: string
  /** The folder of tor's data, keys and cached network state. Default `folder`/data. */
  readonly data?: string
  /** Names of events for SETEVENTS, which `onEvent` receives from the first one on. */
  readonly events?: readonly string[]
  readonly onEvent?: (event: string) => void
  /** Enables tor's network only after SETEVENTS, so that no event is missed. Default true. */
  readonly holdNetwork?: boolean
  /** The program. Default `tor`. */
  readonly program?: string
  /** Aborts the start. It does not stop a tor that has started. */
  readonly signal?: AbortSignal
}

export interface Tor {
  readonly pid: number
  readonly control: Control
  /** The path of the control socket, for other clients. */
  readonly controlPath: string
  /** Resolves when the process is gone. */
  readonly exited: Promise<{ readonly code: number | null; readonly signal: NodeJS.Signals | null }>
  /** Sends SIGTERM, and SIGKILL after 5 s; resolves when the process is gone. */
  stop(): Promise<void>
  /** Sends SIGKILL, which looks like a crash; resolves when the process is gone. */
  kill(): Promise<void>
}

/** Tor did not start. `said` holds its last warnings and errors, which name wrong lines of the torrc. */
export class TorError extends Error {
  readonly said: readonly string[]
  constructor(message: string, said: readonly string[]) {
    super(message)
    this.name = 'TorError'
    this.said = said
  }
}

/**
 * Starts a tor; resolves when its control port has answered and the events are subscribed to. Tor ends by itself within
 * 15 s if this process dies (`__OwningControllerProcess`).
 * @throws TorError if tor cannot be run, or does not get that far
 */
export async function startTor(options: TorOptions): Promise<Tor> {
  const { folder, data = join(folder, 'data'), holdNetwork = true, program = 'tor' } = options
  await mkdir(folder, { recursive: true, mode: 0o700 })
  await chmod(folder, 0o700)
  const controlPath = join(folder, 'control')
  const torrc = [
    `DataDirectory ${quoted(data)}`,
    `ControlPort unix:${quoted(controlPath)}`,
    'CookieAuthentication 1',
    `__OwningControllerProcess ${process.pid}`,
    `DisableNetwork ${holdNetwork ? 1 : 0}`,
    'Log notice stdout',
    ...options.torrc,
    '',
  ].join('\n')
  // An empty file replaces the defaults of the distribution.
  await writeFile(join(folder, 'defaults'), '', { mode: 0o600 })
  await writeFile(join(folder, 'torrc'), torrc, { mode: 0o600 })

  const child = spawn(program, ['--defaults-torrc', join(folder, 'defaults'), '-f', join(folder, 'torrc')], {
    // In a process group of its own, tor gets no Ctrl-C from the terminal; this process stops its children in order.
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let running = true
  const exited = new Promise<{ code: number | null; signal: NodeJS.Signals | null }>((resolve) => {
    child.once('error', () => resolve({ code: null, signal: null }))
    // `close` comes after `exit`, when tor's last lines have been read.
    child.once('close', (code, signal) => resolve({ code, signal }))
  }).finally(() => {
    running = false
    process.off('exit', killAtExit)
  })
  const killAtExit = (): void => {
    child.kill('SIGKILL')
  }
  process.once('exit', killAtExit)
  const end = async (signal: 'SIGTERM' | 'SIGKILL'): Promise<void> => {
    if (running) child.kill(signal)
    await exited
  }
  const stop = async (): Promise<void> => {
    const timer = setTimeout(() => child.kill('SIGKILL'), 5_000)
    await end('SIGTERM').finally(() => clearTimeout(timer))
  }

  const said: string[] = []
  const opened = new Promise<void>((resolve) => {
    const onLine = (line: string): void => {
      if (/ \[(?:warn|err)\] /.test(line)) {
        said.push(line.replace(/^.*? \[/, '['))
        said.splice(0, said.length - 5)
      }
      if (line.includes('Opened Control listener connection (ready)')) resolve()
    }
    for (const stream of [child.stdout, child.stderr]) createInterface({ input: stream }).on('line', onLine)
  })
  const { signal } = options
  const aborted = signal === undefined ? new Promise<never>(() => {}) : abortion(signal)
  aborted.catch(() => {})

  let control: Control | undefined
  try {
    await Promise.race([
      opened,
      aborted,
      exited.then(({ code }) => {
        throw new TorError(code === null ? `${program} could not be run` : `tor ended with code ${code}`, said)
      }),
    ])
    control = await openControl(
      { kind: 'unix', path: controlPath },
      { timeoutMs: CONTROL_MS, ...(options.onEvent === undefined ? {} : { onEvent: options.onEvent }) },
    )
    if (control === undefined) throw new TorError(running ? "tor's control port did not let us in" : 'tor ended while it started', said)
    const commands = [
      ...(options.events === undefined ? [] : [`SETEVENTS ${options.events.join(' ')}`]),
      ...(holdNetwork ? ['SETCONF DisableNetwork=0'] : []),
    ]
    for (const command of commands) {
      if (!(await control.ask(command)).ok) throw new TorError('tor refused a control command', said)
    }
  } catch (error) {
    control?.close()
    await end('SIGKILL')
    throw error instanceof TorError || signal?.aborted === true ? error : new TorError('tor ended while it started', said)
  }
  const { close } = control
  void exited.then(close)
  return { pid: child.pid ?? 0, control, controlPath, exited, stop, kill: () => end('SIGKILL') }
}

/**
 * Follows HS_DESC events until clients can find the onion service. A client asks any of the directories that should hold
 * the descriptor, so every upload that has begun must end first.
 * @param enough this many uploads are sufficient, if some of many directories are slow
 */
export function publication(enough = Infinity): { done: Promise<void>; onEvent: (event: string) => void } {
  const { promise, resolve } = Promise.withResolvers<void>()
  const pending = new Map<string, number>()
  let uploaded = 0
  return {
    done: promise,
    onEvent: (event) => {
      const [name, action = '', address = '', , directory = ''] = event.split(' ')
      if (name !== 'HS_DESC' || !['UPLOAD', 'UPLOADED', 'FAILED'].includes(action)) return
      const upload = `${address} ${directory}`
      const begun = pending.get(upload) ?? 0
      if (action === 'UPLOAD') pending.set(upload, begun + 1)
      // Or else it began before this follower did.
      else if (begun > 1) pending.set(upload, begun - 1)
      else if (!pending.delete(upload)) return
      if (action === 'UPLOADED') uploaded += 1
      if (uploaded >= enough || (uploaded > 0 && pending.size === 0)) resolve()
    },
  }
}

/** Quotes a path as a value of torrc. */
export function quoted(path: string): string {
  return `"${path.replace(/[\\"]/g, '\\$&')}"`
}

async function abortion(signal: AbortSignal): Promise<never> {
  if (!signal.aborted) await once(signal, 'abort')
  throw signal.reason
}

/**
 * Returns the modules that the tor program was built with, undefined if there is no such program.
 * @param searchPath the value of PATH, by which the system finds the program
 */
export function torModules(searchPath: string | undefined): string | undefined {
  const env = searchPath === undefined ? {} : { PATH: searchPath }
  const { status, stdout } = spawnSync('tor', ['--list-modules'], { stdio: ['ignore', 'pipe', 'ignore'], env })
  return status === 0 ? String(stdout) : undefined
}
