/** Runs the relay as a child process: starts it, waits until it listens, and stops it. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { extname, join } from 'node:path'
import { createInterface } from 'node:readline'
import type { Screen } from '../program/progress.ts'
import { CliError } from '../program/error.ts'
import { type Io, TIED } from '../program/io.ts'

export interface Relay {
  /**
   * Resolves when the relay listens, with the address of its TCP listener ('' without one). Rejects as `ended` does.
   */
  readonly ready: Promise<string>
  /** Resolves after `stop`; rejects with a CliError if the relay ends by itself. */
  readonly ended: Promise<void>
  /** Sends SIGTERM and waits for the end; sends SIGKILL after 10 s. */
  stop(): Promise<void>
}

/** Starts the relay. Its standard error, with its log and its errors, appears on ours. */
export function startRelay(args: readonly string[], io: Io, screen: Screen): Relay {
  const main = join(import.meta.dirname, `../main${extname(import.meta.filename)}`)
  // The relay's stderr is a pipe, so it cannot detect a terminal. `asfaleia start` itself reports the successes.
  const { isTTY } = io.stderr
  const forPerson = isTTY === true && io.env['ASFALEIA_LOG_LEVEL'] === undefined && io.env['ASFALEIA_LOG_FORMAT'] === undefined
  const log = forPerson ? ['--log-level', 'warn', '--log-format', 'pretty'] : []
  const child = spawn(process.execPath, [main, 'relay', ...args, ...log], {
    // A separate process group: Ctrl-C reaches only this process, which stops its children in order.
    detached: true,
    // When this process dies, the pipe to the relay's stdin closes, and the relay ends (TIED). Node's IPC channel would
    // not survive the execve in src/cli/relay/confinement.ts.
    env: { ...io.env, [TIED]: '1' },
    stdio: ['pipe', 'pipe', 'pipe'],
  })
  let stopping = false
  const killAtExit = (): void => {
    child.kill('SIGKILL')
  }
  process.once('exit', killAtExit)
  const gone = once(child, 'exit').finally(() => process.off('exit', killAtExit))
  const ended = gone.then(([code, signal]) => {
    if (!stopping) throw new CliError(`the relay ended (${signal ?? `exit code ${code}`}), so asfaleia stops Tor, too`)
  })
  const doors = createInterface({ input: child.stdout })
  const ready = new Promise<string>((answer) => {
    let tcp = ''
    doors.on('line', (line) => {
      if (line.startsWith('tcp ')) tcp = line.slice('tcp '.length)
      if (line === 'ready') answer(tcp)
    })
  })
  createInterface({ input: child.stderr }).on('line', (line) => screen.pass(line))
  ended.catch(() => {})
  return {
    ready: Promise.race([ready, ended.then(() => ready)]),
    ended,
    async stop() {
      stopping = true
      const timer = setTimeout(killAtExit, 10_000)
      child.kill('SIGTERM')
      await gone.finally(() => clearTimeout(timer))
    },
  }
}
