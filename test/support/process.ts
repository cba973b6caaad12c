/**
 * Runs programs as children of a test: their output can be awaited line by line, and so can their end. Every
 * child ends with the test's process at the latest.
 */
import { spawn } from 'node:child_process'
import { join } from 'node:path'

/** The built command line. `npm test` builds it first. */
export const ASFALEIA = [process.execPath, join(import.meta.dirname, '../../dist/cli/main.js')] as const

/** A machine with a registry proxy sets it for npm. A relay would name it at its start. */
const CLEAN = { NODE_EXTRA_CA_CERTS: '' }

export interface RunOptions {
  readonly env?: Readonly<Record<string, string>>
  readonly input?: string
  /** Leaves standard input open, for {@link Running.type}. */
  readonly open?: boolean
  readonly cwd?: string
}

export interface Finished {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  readonly stdout: string
  readonly stderr: string
}

export interface Running {
  readonly pid: number
  /** All of standard output so far. */
  readonly stdout: () => string
  /**
   * Resolves when standard output or standard error, each as a whole, matches.
   * @throws Error with the output if the program ends first or `seconds` pass
   */
  until(pattern: RegExp, seconds?: number): Promise<RegExpExecArray>
  /** Writes to standard input, if it is open. */
  type(text: string): void
  readonly finished: Promise<Finished>
  /** Sends the signal (SIGTERM by default) and waits for the end. */
  end(signal?: NodeJS.Signals): Promise<Finished>
}

export function start(command: readonly string[], options: RunOptions = {}): Running {
  const [program = '', ...args] = command
  const child = spawn(program, args, {
    env: { ...process.env, ...(args.some((each) => /cli\/main\.[jt]s$/.test(each)) && CLEAN), ...options.env },
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    stdio: ['pipe', 'pipe', 'pipe'],
  })
  const killAtExit = (): void => {
    child.kill('SIGKILL')
  }
  process.once('exit', killAtExit)
  child.stdin.on('error', () => {})
  if (options.open !== true) child.stdin.end(options.input ?? '')
  let stdout = ''
  let stderr = ''
  let over: Finished | undefined
  const watchers = new Set<() => void>()
  const tell = (): void => {
    for (const watcher of watchers) watcher()
  }
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text
    tell()
  })
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text
    tell()
  })
  const finished = new Promise<Finished>((resolve, reject) => {
    child.once('error', reject)
    child.once('close', (code, signal) => {
      process.off('exit', killAtExit)
      over = { code, signal, stdout, stderr }
      resolve(over)
      tell()
    })
  })
  finished.catch(() => {})
  return {
    pid: child.pid ?? 0,
    stdout: () => stdout,
    until: (pattern, seconds = 60) =>
      new Promise((resolve, reject) => {
        const settle = (): boolean => {
          watchers.delete(look)
          clearTimeout(timer)
          return true
        }
        const fail = (why: string): void => {
          settle()
          reject(new Error(`${why} without ${pattern}; it said:\n${stdout}\n${stderr}`))
        }
        const look = (): void => {
          const match = pattern.exec(stdout) ?? pattern.exec(stderr)
          if (match !== null && settle()) resolve(match)
          else if (over !== undefined) fail('the program ended')
        }
        const timer = setTimeout(() => fail(`${seconds} s went by`), seconds * 1_000)
        watchers.add(look)
        look()
      }),
    type: (text) => void child.stdin.write(text),
    finished,
    end(signal = 'SIGTERM') {
      child.kill(signal)
      return finished
    },
  }
}

/** Runs a program to its end. */
export async function run(command: readonly string[], options: RunOptions = {}): Promise<Finished> {
  return start(command, options).finished
}
