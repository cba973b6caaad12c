/** `npm run mutants`: puts small defects into a copy of the sources, one after another, and says whether the tests notice. */
import { setPriority } from 'node:os'
import { parseArgs } from 'node:util'
import { seeded } from '../fuzz/random.ts'
import { Copy } from './copy.ts'
import { apply, type Defect } from './defect.ts'
import { runSimulation, runTests, type Verdict } from './run.ts'
import { DEFECTS } from './table.ts'

const HELP = `usage: npm run mutants -- [OPTION …] [WORD …]

Puts each small defect of test/mutants into a copy of the sources and runs the tests that should notice it. With words
it takes only the defects whose file or sentence contains one of them.

  --by unit         only the defects for unit tests
  --by simulation   only the defects for the simulation
  --few N           only N defects, chosen by the seed
  --seed S          the seed; by default another one each time
  --list            print the defects

The exit code is 1 if a defect survives.
`
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    by: { type: 'string' },
    few: { type: 'string' },
    seed: { type: 'string', default: String(Date.now() % 1_000_000_000) },
    list: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
})
const seed = Number(values.seed)
const say = (line: string): void => void process.stdout.write(`${line}\n`)

const isChosen = ({ by, file, harm }: Defect): boolean =>
  (values.by === undefined || by === values.by) &&
  (positionals.length === 0 || positionals.some((word) => file.includes(word) || harm.includes(word)))
const chosen = shuffled(DEFECTS.filter(isChosen)).slice(0, values.few === undefined ? undefined : Number(values.few))

if (values.help) process.stdout.write(HELP)
else if (values.list)
  for (const { file, harm, by, equivalent } of chosen)
    say(`${by} ${file}: ${harm}${equivalent === undefined ? '' : ` (equivalent: ${equivalent})`}`)
else {
  setPriority(10)
  process.exitCode = (await runAll(chosen)) ? 0 : 1
}

/** In the order of the table, or in a random one if only a few are wanted. */
function shuffled(defects: readonly Defect[]): readonly Defect[] {
  if (values.few === undefined) return defects
  const random = seeded(seed)
  return defects
    .filter(({ equivalent }) => equivalent === undefined)
    .map((defect) => ({ defect, place: random(2 ** 32) }))
    .toSorted((a, b) => a.place - b.place)
    .map(({ defect }) => defect)
}

async function runAll(defects: readonly Defect[]): Promise<boolean> {
  say(`seed ${seed}`)
  const copy = new Copy()
  process.once('exit', () => copy.remove())
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(130))
  const run = defects.filter(({ equivalent }) => equivalent === undefined)
  const tests = [...new Set(run.flatMap((defect) => defect.tests))]
  if (tests.length > 0) {
    const { isFound, by } = await runTests(copy, tests)
    if (isFound) {
      say(`the tests fail without a defect: ${by}`)
      return false
    }
  }
  let found = 0
  for (const defect of run) {
    const begin = performance.now()
    const { isFound, by } = await check(copy, defect)
    const seconds = ((performance.now() - begin) / 1_000).toFixed(1)
    say(`${isFound ? 'found   ' : 'SURVIVED'} ${seconds.padStart(5)} s  ${defect.file}: ${defect.harm}${isFound ? ` (${by})` : ''}`)
    if (isFound) found++
  }
  say(`${run.length} defects: ${found} found, ${run.length - found} survived; ${defects.length - run.length} more are equivalent`)
  return found === run.length
}

function check(copy: Copy, defect: Defect): Promise<Verdict> {
  return copy.with(defect.file, apply(defect), () => (defect.by === 'unit' ? runTests(copy, defect.tests) : runSimulation(copy, seed)))
}
