/** `npm run fuzz`: searches targets one after another, prints a line for each, and keeps their corpora in test/corpus. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { createHash } from 'node:crypto'
import { setPriority, tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { Worker } from 'node:worker_threads'
import { encodeLine } from './corpus.ts'
import type { Finding, Progress } from './fuzzer.ts'
import { TARGETS } from './targets.ts'
import { HEAD_BYTES, type Report, type Task } from './worker.ts'

const HELP = `usage: npm run fuzz -- [OPTION …] [TARGET …]

Searches each target, by default all, for inputs that crash it, hang it, or break one of its properties.

  --minutes N   the time for each target, by default 1
  --seed S      begin the random numbers from S
  --list        print the targets

Each target keeps its inputs in test/corpus, and \`npm run check\` runs them again.
`
/** A run that takes longer hangs. Generous: it is the machine's time, and the machine may be busy. */
const HANG_MS = 20_000
const INPUT_BYTES = 65_536
const MEMORY_MB = 1_024

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    minutes: { type: 'string', default: '1' },
    seed: { type: 'string' },
    list: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
})
const minutes = Number(values.minutes)
const unknown = positionals.filter((name) => !Object.hasOwn(TARGETS, name))
if (values.help || values.list) {
  process.stdout.write(values.help ? HELP : `${Object.keys(TARGETS).join('\n')}\n`)
} else if (unknown.length > 0 || !(minutes > 0)) {
  process.stderr.write(unknown.length > 0 ? `there is no such target: ${unknown.join(', ')}\n\n${HELP}` : HELP)
  process.exitCode = 2
} else {
  setPriority(19)
  const seed = values.seed === undefined ? Date.now() % 2 ** 32 : Number(values.seed)
  process.stdout.write(`seed ${seed}, ${minutes} min each\n`)
  for (const name of positionals.length > 0 ? positionals : Object.keys(TARGETS)) {
    const { progress, findings } = await search(name, seed)
    const { runs = 0, blocks = 0, outcomes = 0, still = 0, slowest = 0, seconds = 0 } = progress ?? {}
    const rate = Math.round(runs / Math.max(seconds, 1))
    process.stdout.write(
      `${name}: ${runs} runs (${rate}/s), ${blocks} blocks, ${outcomes} outcomes, nothing new for the last ${Math.round(still)} of ${Math.round(seconds)} s, slowest ${slowest.toFixed(1)} ms, ${findings} findings\n`,
    )
    if (findings > 0) process.exitCode = 1
  }
}

async function search(name: string, seed: number): Promise<{ progress: Progress | undefined; findings: number }> {
  const shared = new SharedArrayBuffer(HEAD_BYTES + INPUT_BYTES)
  const head = new Uint32Array(shared, 0, 2)
  const task: Task = { target: name, seconds: minutes * 60, seed, shared }
  const worker = new Worker(new URL('./worker.ts', import.meta.url), {
    workerData: task,
    resourceLimits: { maxOldGenerationSizeMb: MEMORY_MB },
  })
  let progress: Progress | undefined
  let findings = 0
  const report = (finding: Finding): void => {
    findings++
    show(name, finding)
  }
  const lastInput = (): Uint8Array => new Uint8Array(shared, HEAD_BYTES, head[1]).slice()
  let runs = -1
  const watch = setInterval(() => {
    if (head[0] === runs) {
      report({ input: lastInput(), text: `hang: ${HANG_MS / 1_000} s or more` })
      void worker.terminate()
    }
    runs = head[0] === 0 ? -1 : head[0]!
  }, HANG_MS)
  worker.on('message', (message: Report) => {
    if (message.kind === 'progress') progress = message.progress
    else report(message.finding)
  })
  worker.on('error', (error) => report({ input: lastInput(), text: `crash: ${error instanceof Error ? error.stack : String(error)}` }))
  await new Promise((resolve) => worker.on('exit', resolve))
  clearInterval(watch)
  return { progress, findings }
}

function show(name: string, { input, text }: Finding): void {
  const folder = join(tmpdir(), 'asfaleia-fuzz')
  mkdirSync(folder, { recursive: true })
  const file = join(folder, `${name}-${createHash('sha256').update(input).digest('hex').slice(0, 12)}`)
  writeFileSync(file, input)
  process.stdout.write(`\n${name}: FINDING, input in ${file}\n${encodeLine(input.subarray(0, 400))}\n${text}\n\n`)
}
