/** `npm run mutants`: puts small defects into a copy of the sources, one after another, and says whether the tests notice. */
import { setPriority } from 'node:os'
import { parseArgs } from 'node:util'
import { seeded } from '../fuzz/random.ts'
import { Baseline } from './baseline.ts'
import { batchesOf, expand } from './batch.ts'
import { Copy } from './copy.ts'
import { apply, type Defect } from './defect.ts'
import { isMirror, testsOf } from './related.ts'
import { runAll, runCompiler, runSimulation, runTests, type Verdict } from './run.ts'
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
  /** The unit tests that notice it most likely, and further groups. Without a group, the simulation should notice it. */
  readonly groups: readonly (readonly string[])[]
  /** Whether it was made from the syntax. */
  readonly isGenerated: boolean
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
    groups: defect.by === 'unit' ? [defect.tests] : [],
    isGenerated: false,
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
      groups: testsOf(file),
      isGenerated: true,
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
  const baseline = new Baseline(copy)
  await baseline.know(mutants.flatMap(({ groups: [tests = []] }) => tests))
  const judged = new Map<Mutant, Outcome>()
  const tell = (mutant: Mutant, { outcome, by }: { outcome: Outcome; by: string }): void => {
    judged.set(mutant, outcome)
    say(`${outcome.padEnd(9)} ${mutant.title}${by === '' ? '' : ` (${by})`}`)
  }
  for (const batch of batchesOf(
    mutants.map((mutant) => ({ mutant, file: mutant.file, source: mutant.source, tests: mutant.groups[0] ?? [] })),
  )) {
    if (batch.length === 1) continue
    const verdicts = await copy.with(batch, () => runAll(copy, [...new Set(batch.flatMap(({ tests }) => tests))], baseline.failing))
    for (const { mutant, tests } of batch) {
      const verdict = expand(tests).flatMap((test) => verdicts.get(test) ?? [])[0]
      if (verdict !== undefined) tell(mutant, { outcome: 'found', by: verdict.by })
    }
  }
  // Alone, those that no test of their batch noticed.
  for (const mutant of mutants) if (!judged.has(mutant)) tell(mutant, await judge(mutant, copy, baseline))
  const count = (outcome: Outcome): number => [...judged.values()].filter((each) => each === outcome).length
  say(`${mutants.length} defects: ${count('found')} found, ${count('SURVIVED')} survived, ${count('undecided')} undecided`)
  return count('SURVIVED') === 0
}

type Outcome = 'found' | 'SURVIVED' | 'undecided'

/** Runs the groups of tests until one notices the defect, and in the end the compiler. */
async function judge(mutant: Mutant, copy: Copy, baseline: Baseline): Promise<{ outcome: Outcome; by: string }> {
  const { groups, isGenerated, file } = mutant
  if (groups.length === 0) {
    const { isFound, by } = await copy.with([mutant], () => runSimulation(copy, seed))
    return { outcome: isFound ? 'found' : 'SURVIVED', by }
  }
  for (const tests of groups) {
    await baseline.know(tests)
    const once = (some: readonly string[]): Promise<Verdict> => copy.with([mutant], () => runTests(copy, some, baseline.failing))
    let verdict = await once(tests)
    // Tests of properties draw other values each time.
    for (let again = isGenerated ? AGAIN : 0; again < AGAIN && !verdict.isFound; again++) verdict = await once(tests)
    if (verdict.isOver && (await runTests(copy, tests, baseline.failing)).isOver) {
      return { outcome: 'undecided', by: `${verdict.by}, and neither without the defect` }
    }
    // A busy machine makes a test of another part fail now and then.
    if (isGenerated && verdict.file !== undefined && !isMirror(verdict.file, file)) verdict = await once([verdict.file])
    if (verdict.isFound) return { outcome: 'found', by: verdict.by }
  }
  if (!isGenerated) return { outcome: 'SURVIVED', by: '' }
  const { isFound, by } = await copy.with([mutant], () => runCompiler(copy, file))
  return { outcome: isFound ? 'found' : 'SURVIVED', by }
}
