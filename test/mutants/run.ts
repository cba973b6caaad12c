/** Runs the tests of a copy of the tree, and says whether they noticed its defect. */
import { spawn } from 'node:child_process'
import { readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import type { Copy } from './copy.ts'

export interface Verdict {
  readonly isFound: boolean
  /** The test that failed, the violation, or the deadline. */
  readonly by: string
}

const SURVIVED: Verdict = { isFound: false, by: '' }
/** A test that never ends has noticed the defect. Generous: the machine may be busy. */
const DEADLINE_MS = 120_000
/** The time of a simulation that must find a defect, and the time in which its program must end. */
const SIMULATION = { minutes: 1, deadlineMs: 150_000 }

interface Results {
  readonly testResults: readonly {
    readonly name: string
    readonly message: string
    readonly assertionResults: readonly { readonly status: string; readonly fullName: string }[]
  }[]
}

/** Runs unit tests until one fails. */
export async function runTests(copy: Copy, tests: readonly string[]): Promise<Verdict> {
  const output = join(copy.temporary, 'results.json')
  rmSync(output, { force: true })
  const vitest = join(copy.folder, 'node_modules/vitest/vitest.mjs')
  const words = ['run', '--project', 'unit', '--bail', '1', '--reporter', 'json', '--outputFile', output, ...tests]
  const { code, isOver, text } = await runProgram(copy, [vitest, ...words], DEADLINE_MS)
  if (isOver) return { isFound: true, by: `no end after ${DEADLINE_MS / 1_000} s` }
  if (code === 0) return SURVIVED
  return { isFound: true, by: failureIn(output) ?? (text.trim().split('\n').at(-1) || `exit code ${code}`) }
}

/** Compiles the copy: types notice some defects that no test does. */
export async function runCompiler(copy: Copy): Promise<Verdict> {
  const tsc = join(copy.folder, 'node_modules/typescript/bin/tsc')
  const { code, text } = await runProgram(copy, [tsc, '-p', 'tsconfig.json'], DEADLINE_MS)
  return code === 0 ? SURVIVED : { isFound: true, by: `the compiler: ${text.trim().split('\n')[0]}` }
}

/** Runs the simulation until it finds a violation. */
export async function runSimulation(copy: Copy, seed: number): Promise<Verdict> {
  const main = join(copy.folder, 'test/simulation/main.ts')
  const words = ['--minutes', String(SIMULATION.minutes), '--seed', `mutants-${seed}`]
  const violation = /violates invariant.*|the named seed fails again.*/
  const { code, isOver, text } = await runProgram(copy, [main, ...words], SIMULATION.deadlineMs, violation)
  const found = violation.exec(text)
  if (found !== null) return { isFound: true, by: found[0] }
  if (isOver) return { isFound: true, by: `no end after ${SIMULATION.deadlineMs / 1_000} s` }
  return code === 0 ? SURVIVED : { isFound: true, by: text.trim().split('\n').at(-1) || `exit code ${code}` }
}

function failureIn(output: string): string | undefined {
  try {
    const { testResults } = JSON.parse(readFileSync(output, 'utf8')) as Results
    for (const { assertionResults, message } of testResults) {
      const failed = assertionResults.find(({ status }) => status === 'failed')
      if (failed !== undefined) return failed.fullName
      if (message !== '') return message.split('\n')[0]
    }
  } catch {
    // Vitest wrote no results: the caller shows the end of its output.
  }
  return undefined
}

interface Ended {
  readonly code: number | null
  readonly isOver: boolean
  /** Standard output and standard error. */
  readonly text: string
}

/** Runs a program of the copy, and ends it with all its children at the deadline or once its output matches. */
function runProgram(copy: Copy, words: readonly string[], deadlineMs: number, until?: RegExp): Promise<Ended> {
  const env: NodeJS.ProcessEnv = { TMPDIR: copy.temporary }
  for (const [name, value] of Object.entries(process.env)) {
    // The variables of a vitest that runs this program.
    if (!/^(?:VITEST|TMPDIR$|NODE_ENV$|NODE_OPTIONS$|DEV$|PROD$|MODE$|BASE_URL$|SSR$|TEST$)/.test(name)) env[name] = value
  }
  return new Promise((resolve, reject) => {
    // A group of its own, so that its end includes the workers of vitest and the programs of tests.
    const child = spawn(process.execPath, words, { cwd: copy.folder, env, detached: true, stdio: ['ignore', 'pipe', 'pipe'] })
    let text = ''
    let isOver = false
    const end = (): void => {
      try {
        process.kill(-child.pid!, 'SIGKILL')
      } catch {
        // The group has ended.
      }
    }
    const timer = setTimeout(() => {
      isOver = true
      end()
    }, deadlineMs)
    process.once('exit', end)
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (more: string) => {
        text = (text + more).slice(-65_536)
        if (until?.test(text)) end()
      })
    }
    child.once('error', reject)
    child.once('close', (code) => {
      clearTimeout(timer)
      process.off('exit', end)
      end()
      resolve({ code, isOver, text })
    })
  })
}
