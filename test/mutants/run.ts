/** Runs the tests of a copy of the tree, and says whether they noticed its defect. */
import { spawn } from 'node:child_process'
import { existsSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { expand } from './batch.ts'
import type { Copy } from './copy.ts'

export interface Verdict {
  readonly isFound: boolean
  /** The test that failed, the violation, or the deadline. */
  readonly by: string
  /** Whether the tests did not end before their deadline: the defect hangs, or the machine is busy. */
  readonly isOver?: boolean
  /** The test file that failed, from the root of the tree. */
  readonly file?: string
}

const SURVIVED: Verdict = { isFound: false, by: '' }
/** The time for tests that have never run, and for a batch. */
const DEADLINE_MS = 120_000
/** The time for tests that have run before: so much, and so many times what they took then. The machine may be busy. */
const PATIENCE = { ms: 30_000, times: 5 }
/** A busy machine makes a test take long; a failed test may leave its clean-up waiting. */
const LIMITS = ['--testTimeout', '40000', '--hookTimeout', '20000']
/** The tests without a defect have more time. */
const BASELINE_MS = 1_800_000
/**
 * The time of one core in which a simulation must find a defect, and the time in which its program must end. Generous:
 * a busy machine gives it a small part of a core.
 */
const SIMULATION = { minutes: 1, deadlineMs: 900_000 }

/** What vitest reports about a test file: its path from the root of the tree, its time, and its first failure. */
interface Result {
  readonly file: string
  readonly ms: number
  readonly failure?: string
}

interface Failure {
  readonly file: string
  readonly failure: string
}

/** The time that each test file took without a defect. */
const times = new Map<string, number>()

function deadlineOf(tests: readonly string[]): number {
  const known = expand(tests).map((file) => times.get(file))
  if (known.length === 0 || known.includes(undefined)) return DEADLINE_MS
  return PATIENCE.ms + PATIENCE.times * known.reduce<number>((sum, ms) => sum + ms!, 0)
}

/** Runs unit tests until one fails. @param except test files that fail without a defect */
export async function runTests(copy: Copy, tests: readonly string[], except: readonly string[] = []): Promise<Verdict> {
  const deadline = deadlineOf(tests.filter((test) => !except.includes(test)))
  const { code, isOver, text, failures } = await runVitest(copy, tests, except, deadline, ['--bail', '1'])
  if (isOver && failures.length === 0) return { isFound: true, by: `no end after ${Math.ceil(deadline / 1_000)} s`, isOver }
  if (code === 0) return SURVIVED
  const [failed] = failures
  if (failed === undefined) return { isFound: true, by: text.trim().split('\n').at(-1) || `exit code ${code}` }
  return { isFound: true, by: failed.failure, file: failed.file }
}

/** Runs unit tests of a copy without a defect. Returns the files that fail: they would seem to notice every defect. */
export async function findFailing(copy: Copy, tests: readonly string[]): Promise<readonly string[]> {
  const { code, text, results, failures } = await runVitest(copy, tests, [], BASELINE_MS)
  for (const { file, ms } of results) times.set(file, ms)
  const files = failures.map(({ file }) => file)
  if (code !== 0 && files.length === 0) throw new Error(`the tests do not run: ${text}`)
  return files
}

/** Runs unit tests to their end. Returns a verdict for each file that failed. */
export async function runAll(copy: Copy, tests: readonly string[], except: readonly string[]): Promise<ReadonlyMap<string, Verdict>> {
  const { failures } = await runVitest(copy, tests, except, Math.max(DEADLINE_MS, deadlineOf(tests)))
  return new Map(failures.map(({ file, failure }) => [file, { isFound: true, by: failure, file }]))
}

async function runVitest(
  copy: Copy,
  tests: readonly string[],
  except: readonly string[],
  deadlineMs: number,
  options: readonly string[] = [],
): Promise<Ended & { readonly results: readonly Result[]; readonly failures: readonly Failure[] }> {
  const output = join(copy.temporary, 'results.jsonl')
  rmSync(output, { force: true })
  const vitest = join(copy.folder, 'node_modules/vitest/vitest.mjs')
  // Named one by one: vitest ignores `--exclude` in a project that has a list of its own.
  const files = expand(tests).filter((file) => !except.includes(file))
  if (files.length === 0) return { code: 0, isOver: false, text: '', results: [], failures: [] }
  const words = ['run', '--project', 'unit', '--reporter', join(copy.folder, 'test/mutants/reporter.ts'), ...LIMITS, ...options, ...files]
  const ended = await runProgram(copy, [vitest, ...words], deadlineMs, { env: { MUTANTS_RESULTS: output } })
  const lines = existsSync(output) ? readFileSync(output, 'utf8').trim().split('\n') : []
  const results = lines.map((line) => JSON.parse(line) as Result)
  return { ...ended, results, failures: results.flatMap(({ file, failure }) => (failure === undefined ? [] : [{ file, failure }])) }
}

/** Compiles the copy: types notice some defects that no test does. */
export async function runCompiler(copy: Copy, file: string): Promise<Verdict> {
  const tsc = join(copy.folder, 'node_modules/typescript/bin/tsc')
  const project = file.startsWith('src/page/') ? 'src/page' : 'tsconfig.json'
  const { code, isOver, text } = await runProgram(copy, [tsc, '-p', project], DEADLINE_MS)
  return code === 0 || isOver ? SURVIVED : { isFound: true, by: `the compiler: ${text.trim().split('\n')[0]}` }
}

/** Runs the simulation until it finds a violation. */
export async function runSimulation(copy: Copy, seed: number): Promise<Verdict> {
  const main = join(copy.folder, 'test/simulation/main.ts')
  const words = ['--max-semi-space-size=64', main, '--cpu', '--minutes', String(SIMULATION.minutes), '--seed', `mutants-${seed}`]
  const violation = /violates invariant.*/
  const { code, isOver, text } = await runProgram(copy, words, SIMULATION.deadlineMs, { until: violation })
  const found = violation.exec(text)
  const where = /plans\/\S+\.json/.exec(text)?.[0] ?? `${/after ([\d.]+ s)/.exec(text)?.[1]} of one core`
  if (found !== null) return { isFound: true, by: `${where}: ${found[0]}` }
  if (isOver) return { isFound: true, by: `no end after ${SIMULATION.deadlineMs / 1_000} s` }
  return code === 0 ? SURVIVED : { isFound: true, by: text.trim().split('\n').at(-1) || `exit code ${code}` }
}

interface Ended {
  readonly code: number | null
  readonly isOver: boolean
  /** Standard output and standard error. */
  readonly text: string
}

/** Runs a program of the copy, and ends it with all its children at the deadline or once its output matches. */
function runProgram(
  copy: Copy,
  words: readonly string[],
  deadlineMs: number,
  { until, env: more = {} }: { readonly until?: RegExp; readonly env?: Readonly<Record<string, string>> } = {},
): Promise<Ended> {
  const env: NodeJS.ProcessEnv = { TMPDIR: copy.temporary, ...more }
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
