/**
 * Runs one tor as a child process, with its control port open to us alone. Used by `asfaleia start`
 * and by the tests' private network. It must not print or keep what tor says beyond a few lines, which
 * explain a start that failed.
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
  /** torrc lines: everything but what `startTor` adds (data and control, see below). */
  readonly torrc: readonly string[]
  /** Made with mode 0700. Holds tor's torrc, its data and its control socket: keep the path short (unix sockets end at 107 bytes). */
  readonly folder: string
  /** Tor's data, keys and cached network state; `folder`/data where not given. */
  readonly data?: string
  /** What to hear of from the first moment on: names for SETEVENTS and who hears them. */
  readonly events?: readonly string[]
  readonly onEvent?: (event: string) => void
  /** Lets the network loose only once the events are subscribed to, so that none is missed. Default true. */
  readonly holdNetwork?: boolean
  /** The program. */
  readonly program?: string
  /** Gives up the start; a tor that is up is stopped by `stop`. */
  readonly signal?: AbortSignal
}

export interface Tor {
  readonly pid: number
  readonly control: Control
  /** The control socket, for others that may ask. */
  readonly controlPath: string
  /** Settles once, when the process is gone. */
  readonly exited: Promise<{ readonly code: number | null; readonly signal: NodeJS.Signals | null }>
  /** Ends it and waits; not heeded for 5 s, it is killed. */
  stop(): Promise<void>
  /** SIGKILL, as a crash would; waits until it is gone. */
  kill(): Promise<void>
}

/** A tor that did not come up. `said` are its own last words: configuration errors name lines of the torrc. */
export class TorError extends Error {
  readonly said: readonly string[]
  constructor(message: string, said: readonly string[]) {
    super(message)
    this.name = 'TorError'
    this.said = said
  }
}

/**
 * Starts a tor and resolves when its control port answered and the events are subscribed to.
 * Tor ends by itself within 15 s if this process dies (`__OwningControllerProcess`).
 * @throws TorError if it ends before that, or cannot be run.
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
  // The distribution's defaults would mix in: an empty file takes their place.
  await writeFile(join(folder, 'defaults'), '', { mode: 0o600 })
  await writeFile(join(folder, 'torrc'), torrc, { mode: 0o600 })

  const child = spawn(program, ['--defaults-torrc', join(folder, 'defaults'), '-f', join(folder, 'torrc')], {
    // A process group of its own: Ctrl-C in a terminal reaches us, and we end the children in order.
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let running = true
  const exited = new Promise<{ code: number | null; signal: NodeJS.Signals | null }>((resolve) => {
    child.once('error', () => resolve({ code: null, signal: null }))
    // Not `exit`: its last words are to be heard, too.
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
    if (control === undefined) throw new TorError("tor's control port does not let us in", said)
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
 * Follows HS_DESC events until the onion service can be found. A client asks any of the directories that
 * should hold the descriptor, so every upload that was begun must have come to an end.
 * @param enough  uploads that will do, where there are many directories and slow ones among them.
 */
export function publication(enough = Infinity): { done: Promise<void>; onEvent: (event: string) => void } {
  const { promise, resolve } = Promise.withResolvers<void>()
  let pending = 0
  let uploaded = 0
  return {
    done: promise,
    onEvent: (event) => {
      const [name, action] = event.split(' ')
      if (name !== 'HS_DESC') return
      if (action === 'UPLOAD') pending += 1
      if (action === 'UPLOADED' || action === 'FAILED') pending -= 1
      if (action === 'UPLOADED') uploaded += 1
      if (uploaded >= enough || (uploaded > 0 && pending === 0)) resolve()
    },
  }
}

/** A path as a torrc value: in quotes, as tor unescapes them. */
export function quoted(path: string): string {
  return `"${path.replace(/[\\"]/g, '\\$&')}"`
}

async function abortion(signal: AbortSignal): Promise<never> {
  if (!signal.aborted) await once(signal, 'abort')
  throw signal.reason
}

/**
 * Returns the modules that the tor program was built with, undefined if there is no such program.
 * @param searchPath PATH, where the program is looked for
 */
export function torModules(searchPath: string | undefined): string | undefined {
  const env = searchPath === undefined ? {} : { PATH: searchPath }
  const { status, stdout } = spawnSync('tor', ['--list-modules'], { stdio: ['ignore', 'pipe', 'ignore'], env })
  return status === 0 ? String(stdout) : undefined
}
