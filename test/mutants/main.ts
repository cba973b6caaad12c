/** `npm run mutants`: puts small defects into a copy of the sources, one after another, and says whether the tests notice. */
import { setPriority } from 'node:os'
import { parseArgs } from 'node:util'
import { seeded } from '../fuzz/random.ts'
import { batchesOf, expand } from './batch.ts'
import { Copy } from './copy.ts'
import { apply, type Defect } from './defect.ts'
import { isMirror, testsOf } from './related.ts'
import { findFailing, runAll, runCompiler, runSimulation, runTests, type Verdict } from './run.ts'
import { DEFECTS } from './table.ts'

const HELP = `usage: npm run mutants -- [OPTION …] [WORD …]

Puts each small defect of test/mutants into a copy of the sources and runs the tests that should notice it. With words
it takes only the defects whose file or sentence contains one of them.

  --by unit         only the defects for unit tests
  --by simulation   only the defects for the simulation
  --few N           only N defects, chosen by the seed
  --sample N        instead of the table, N defects made from the syntax of the files whose paths begin with a word
  --seed S          the seed; by default another one each time
  --list            print the defects

The exit code is 1 if a defect survives. A defect whose tests do not end in time counts as found only if the same tests
then pass in that time without the defect; otherwise the machine is too busy, and the defect is undecided.
`
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    by: { type: 'string' },
    few: { type: 'string' },
    sample: { type: 'string' },
    seed: { type: 'string', default: String(Date.now() % 1_000_000_000) },
    list: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
})
/** How often the tests look again for a defect that they did not notice. */
const AGAIN = 2
const seed = Number(values.seed)
const say = (line: string): void => void process.stdout.write(`${line}\n`)

interface Mutant {
  readonly title: string
  readonly file: string
  readonly source: string
  /** The unit tests that notice it most likely. */
  readonly tests: readonly string[]
  /** The unit tests that `check` may run. */
  readonly all: readonly string[]
  /** @param except test files that fail without a defect */
  readonly check: (copy: Copy, except: readonly string[]) => Promise<Verdict>
}

if (values.help) process.stdout.write(HELP)
else {
  const mutants = values.sample === undefined ? handmade() : await generated(Number(values.sample))
  if (values.list) for (const { title } of mutants) say(title)
  else {
    setPriority(10)
    process.exitCode = (await run(mutants)) ? 0 : 1
  }
}

/** The defects of the table. */
function handmade(): Mutant[] {
  const isChosen = ({ by, file, harm, equivalent }: Defect): boolean =>
    equivalent === undefined &&
    (values.by === undefined || by === values.by) &&
    (positionals.length === 0 || positionals.some((word) => file.includes(word) || harm.includes(word)))
  const chosen = DEFECTS.filter(isChosen)
  const defects = values.few === undefined ? chosen : shuffled(chosen).slice(0, Number(values.few))
  return defects.map((defect) => ({
    title: `${defect.file}: ${defect.harm}`,
    file: defect.file,
    source: apply(defect),
    tests: defect.tests,
    all: defect.tests,
    async check(copy, except) {
      if (defect.by === 'simulation') return runSimulation(copy, seed)
      let verdict = await runTests(copy, defect.tests, except)
      // Tests of properties draw other values each time.
      for (let again = 0; again < AGAIN && !verdict.isFound; again++) verdict = await runTests(copy, defect.tests, except)
      return verdict
    },
  }))
}

/** A sample of the defects that the syntax allows, without those of the table that no test can notice. */
async function generated(count: number): Promise<Mutant[]> {
  const { generate } = await import('./generate.ts')
  const equivalent = new Set(DEFECTS.filter((defect) => defect.equivalent !== undefined).map(apply))
  return shuffled(generate(positionals.length > 0 ? positionals : ['src/']))
    .slice(0, count)
    .filter(({ source }) => !equivalent.has(source))
    .map(({ file, line, text, becomes, source }) => ({
      title: `${file}:${line}: ${shorten(text)} → ${shorten(becomes)}`,
      file,
      source,
      tests: testsOf(file)[0] ?? [],
      all: testsOf(file).flat(),
      async check(copy, except) {
        for (const tests of testsOf(file)) {
          const first = await runTests(copy, tests, except)
          // A busy machine makes a test of another part fail now and then.
          const again = first.file === undefined || isMirror(first.file, file) ? first : await runTests(copy, [first.file], except)
          if (again.isFound) return again
        }
        return runCompiler(copy)
      },
    }))
}

function shorten(text: string): string {
  const line = text.replaceAll(/\s+/g, ' ')
  return line === '' ? '(nothing)' : line.length > 60 ? `${line.slice(0, 59)}…` : line
}

function shuffled<T>(items: readonly T[]): T[] {
  const random = seeded(seed)
  return items
    .map((item) => ({ item, place: random(2 ** 32) }))
    .toSorted((a, b) => a.place - b.place)
    .map(({ item }) => item)
}

async function run(mutants: readonly Mutant[]): Promise<boolean> {
  say(`seed ${seed}`)
  const copy = new Copy()
  process.once('exit', () => copy.remove())
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(130))
  const all = [...new Set(mutants.flatMap((mutant) => mutant.all))]
  const except = all.length === 0 ? [] : await findFailing(copy, all)
  if (except.length > 0) say(`these fail without a defect, so they do not count: ${except.join(', ')}`)
  const noticed = new Set<Mutant>()
  const undecided = new Set<Mutant>()
  const tell = (mutant: Mutant, { isFound, by }: Verdict): void => {
    if (isFound) noticed.add(mutant)
    say(isFound ? `found     ${mutant.title} (${by})` : `SURVIVED  ${mutant.title}`)
  }
  for (const batch of batchesOf(mutants)) {
    if (batch.length === 1) continue
    const verdicts = await copy.with(batch, () => runAll(copy, [...new Set(batch.flatMap(({ tests }) => tests))], except))
    for (const mutant of batch) {
      const verdict = expand(mutant.tests).flatMap((test) => verdicts.get(test) ?? [])[0]
      if (verdict !== undefined) tell(mutant, verdict)
    }
  }
  // Alone, those that no test of their batch noticed.
  for (const mutant of mutants) {
    if (noticed.has(mutant)) continue
    const verdict = await copy.with([mutant], () => mutant.check(copy, except))
    if (verdict.isOver && !(await endsWithout(copy, mutant, verdict, except))) {
      undecided.add(mutant)
      say(`undecided ${mutant.title} (${verdict.by}, and neither without the defect)`)
    } else tell(mutant, verdict)
  }
  const survived = mutants.length - noticed.size - undecided.size
  say(`${mutants.length} defects: ${noticed.size} found, ${survived} survived, ${undecided.size} undecided`)
  return survived === 0
}

/** Whether the tests that did not end with the defect end in the same time without it. */
async function endsWithout(copy: Copy, { all }: Mutant, { tests = all }: Verdict, except: readonly string[]): Promise<boolean> {
  return !(await runTests(copy, tests, except)).isOver
}
