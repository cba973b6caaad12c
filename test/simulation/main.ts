/**
 * `npm run simulate -- --minutes N --seed S`: runs simulations, in a program of its own because it replaces parts of
 * Node (platform.ts). It runs the named plans (plans/) and then new seeds until the time is over, `--scenarios N` at most.
 *
 *   --once              only the scenario of the seed, with its story
 *   --plan FILE         only the scenario of a plan, with its story
 *   --twice             the scenario of the seed two times, to compare every byte
 *   --people N --days N villages of this size
 *   --copies            only scenarios in which all texts are at two relays, and one of them dies (copies.ts)
 *   --no-plans          only new seeds
 *   --cpu               the minutes are minutes of one core, for a machine that is busy with other programs
 *   --save FILE         writes the shrunk plan of a failure
 *   --real              the real cryptography, as in every hundredth scenario
 */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { installDisks } from './disk.ts'
import { installLocalNet } from './local-net.ts'
import { install } from './platform.ts'
import type { Plan } from './plan.ts'
import { realHrtime } from './real.ts'
import { installStandIn, useReal } from './stand-in.ts'
import type { Violation } from './truth.ts'

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '1' },
    scenarios: { type: 'string', default: 'Infinity' },
    seed: { type: 'string', default: String(Date.now() % 1_000_000_000) },
    people: { type: 'string' },
    days: { type: 'string' },
    plan: { type: 'string' },
    save: { type: 'string' },
    once: { type: 'boolean', default: false },
    real: { type: 'boolean', default: false },
    twice: { type: 'boolean', default: false },
    copies: { type: 'boolean', default: false },
    'no-plans': { type: 'boolean', default: false },
    cpu: { type: 'boolean', default: false },
  },
})
// A stack trace costs more than most turns. A failing scenario runs again, and then with them.
Error.stackTraceLimit = 0
install()
installStandIn()
installDisks()
installLocalNet()
const { planOf } = await import('./plan.ts')
const { planOfCopies } = await import('./copies.ts')
const { runPlan } = await import('./run.ts')
const { Report } = await import('./report.ts')
const { shrink } = await import('./shrink.ts')

/** A plan that found a defect once. */
interface Named {
  /** The defect. */
  readonly why: string
  readonly plan: Plan
}

const { seed } = values
/** The time that this program used, ns: of one core, or as a clock on the wall shows it. */
const timeSpent = values.cpu ? coreTime : realHrtime
/** The most time to make a failing scenario smaller, ns. */
const SHRINKING = 60_000_000_000n
const PLANS = join(import.meta.dirname, 'plans')
const size =
  values.people === undefined && values.days === undefined
    ? undefined
    : { people: Number(values.people ?? '30'), days: Number(values.days ?? '90') }
const say = (line: string): void => void process.stdout.write(`${line}\n`)
const readPlan = (file: string): Named => JSON.parse(readFileSync(file, 'utf8')) as Named
const makePlan = (name: string): Plan => (values.copies ? planOfCopies(name) : planOf(name, size))
let isGood = true

useReal(values.real)
if (values.twice) {
  const plan = makePlan(seed)
  const [one, other] = [await runPlan(plan, { records: true }), await runPlan(plan, { records: true })]
  const at = one.record.findIndex((line, index) => line !== other.record[index])
  isGood = at === -1 && one.record.length === other.record.length
  say(
    `seed ${seed}: ${one.record.length} events, ${plan.cast.people.filter(({ secrecy }) => secrecy !== undefined).length} people with secrecy`,
  )
  say(isGood ? 'both runs are the same' : `the runs differ at event ${at}:\n${one.record[at]}\n${other.record[at]}`)
} else if (values.once || values.plan !== undefined) {
  const outcome = await runPlan(values.plan === undefined ? makePlan(seed) : readPlan(values.plan).plan, { tells: true })
  for (const line of outcome.story) say(line)
  isGood = outcome.violation === undefined
} else {
  await search()
}
process.exit(isGood ? 0 : 1)

/** The time of one core that this program used, ns. */
function coreTime(): bigint {
  const { user, system } = process.cpuUsage()
  return BigInt(user + system) * 1_000n
}

async function search(): Promise<void> {
  const report = new Report()
  const until = timeSpent() + BigInt(Math.round(Number(values.minutes) * 60e9))
  say(`seed ${seed}`)
  for (const file of values['no-plans']
    ? []
    : readdirSync(PLANS)
        .filter((name) => name.endsWith('.json'))
        .toSorted()) {
    const { plan, why } = readPlan(join(PLANS, file))
    const outcome = await runPlan(plan)
    report.add(outcome)
    if (outcome.violation === undefined) continue
    say(`a defect that was mended is back (plans/${file}): ${why}`)
    await fail(plan)
  }
  for (let number = 0; isGood && number < Number(values.scenarios) && timeSpent() < until; number++) {
    const each = `${seed}-${number}`
    useReal(values.real || number % 100 === 99)
    const plan = makePlan(each)
    const outcome = await runPlan(plan, { isOver: () => timeSpent() > until })
    report.add(outcome)
    if (outcome.violation === undefined) continue
    const seconds = (Number(coreTime()) / 1e9).toFixed(1)
    say(
      `seed ${each} finds something new, after ${seconds} s of one core. It need not come from the last change: the same seeds never ran before.`,
    )
    await fail(plan)
  }
  for (const line of report.lines()) say(line)
}

/** Returns what kind of violation it is: its message without names and numbers. */
function kindOf(violation: Violation | undefined): string | undefined {
  return violation && `${violation.invariant} ${violation.message.replaceAll(/\b[A-Z][\w-]*|\d+/g, '')}`
}

/** Reports a failure: makes its plan smaller and tells the story. */
async function fail(plan: Plan): Promise<void> {
  const until = realHrtime() + SHRINKING
  Error.stackTraceLimit = 20
  const { violation } = await runPlan(plan)
  say(`seed ${plan.seed} violates invariant ${violation?.invariant}: ${violation?.message}`)
  const small = await shrink(
    plan,
    async (each) => kindOf((await runPlan(each)).violation),
    () => realHrtime() > until,
  )
  const { story } = await runPlan(small, { tells: true })
  say(`${plan.steps.length} steps became ${small.steps.length}:`)
  for (const line of story) say(`  ${line}`)
  if (values.save !== undefined)
    writeFileSync(values.save, `${JSON.stringify({ why: violation?.message ?? '', plan: small } satisfies Named)}\n`)
  isGood = false
}
