/** The relay as a process of its own: started with options, heard when its doors are open, and ended. It is told nothing else. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { extname, join } from 'node:path'
import { createInterface } from 'node:readline'
import type { Screen } from '../program/progress.ts'
import { CliError } from '../program/error.ts'
import { type Io, TIED } from '../program/io.ts'

export interface Relay {
  /** The address of its TCP door, '' without one, once its doors are open. Rejects as `ended` does. */
  readonly ready: Promise<string>
  /** Resolves when it was stopped by us, rejects with a CliError when it ended by itself. */
  readonly ended: Promise<void>
  /** Ends it and waits; what is not heeded for 10 s is a kill. */
  stop(): Promise<void>
}

/** The relay as a process of its own. It says what is wrong by itself; its standard error is passed on. */
export function startRelay(args: readonly string[], io: Io, screen: Screen): Relay {
  const main = join(import.meta.dirname, `../main${extname(import.meta.filename)}`)
  // Its log goes through us, so it cannot see that a person reads it; what goes well we say ourselves.
  const { isTTY } = io.stderr
  const forPerson = isTTY === true && io.env['ASFALEIA_LOG_LEVEL'] === undefined && io.env['ASFALEIA_LOG_FORMAT'] === undefined
  const log = forPerson ? ['--log-level', 'warn', '--log-format', 'pretty'] : []
  const child = spawn(process.execPath, [main, 'relay', ...args, ...log], {
    // A process group of its own: Ctrl-C in a terminal reaches us, and we end the children in order.
    detached: true,
    // Its standard input carries nothing. It ends when we die, whatever of, and the relay with it. (A channel of
    // Node's would not outlive the relay's replacing itself, src/cli/relay/confinement.ts.)
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
    if (!stopping) throw new CliError(`the relay ended (${signal ?? `exit code ${code}`}), so everything is stopped`)
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
