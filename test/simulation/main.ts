/**
 * `npm run simulate -- --minutes N --seed S`: runs simulations, in a program of its own because it replaces parts of
 * Node (platform.ts). With `--once` it runs the one scenario of the seed and tells its story; with `--twice` it runs it
 * twice and compares every byte. Without these, it runs the named seeds and then new ones until the time is over,
 * `--scenarios N` at most.
 */
import { parseArgs } from 'node:util'
import { installDisks } from './disk.ts'
import { installLocalNet } from './local-net.ts'
import { install } from './platform.ts'
import { realHrtime } from './real.ts'
import { installStandIn, useReal } from './stand-in.ts'

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '1' },
    scenarios: { type: 'string', default: 'Infinity' },
    seed: { type: 'string', default: String(Date.now() % 1_000_000_000) },
    once: { type: 'boolean', default: false },
    twice: { type: 'boolean', default: false },
  },
})
// A stack trace costs more than most turns. A failing scenario runs again, and then with them.
Error.stackTraceLimit = 0
install()
installStandIn()
installDisks()
installLocalNet()
const { planOf } = await import('./plan.ts')
const { runPlan } = await import('./run.ts')
const { Report } = await import('./report.ts')
const { shrink } = await import('./shrink.ts')
const { NAMED } = await import('./seeds.ts')

const { seed } = values
/** The most time to make a failing scenario smaller, ns. */
const SHRINKING = 60_000_000_000n
const say = (line: string): void => void process.stdout.write(`${line}\n`)
let isGood = true

if (values.twice) {
  const [one, other] = [await runPlan(planOf(seed), { records: true }), await runPlan(planOf(seed), { records: true })]
  isGood = one.record.length === other.record.length && one.record.every((line, at) => line === other.record[at])
  say(`seed ${seed}: ${one.record.length} events`)
  const at = one.record.findIndex((line, index) => line !== other.record[index])
  say(isGood ? 'both runs are the same' : `the runs differ at event ${at}:\n${one.record[at]}\n${other.record[at]}`)
} else if (values.once) {
  const outcome = await runPlan(planOf(seed), { tells: true })
  for (const line of outcome.story) say(line)
  isGood = outcome.violation === undefined
} else {
  const report = new Report()
  const until = realHrtime() + BigInt(Math.round(Number(values.minutes) * 60e9))
  say(`seed ${seed}`)
  const fail = async (failing: string): Promise<void> => {
    const until = realHrtime() + SHRINKING
    Error.stackTraceLimit = 20
    const plan = planOf(failing)
    const { violation } = await runPlan(plan)
    say(`seed ${failing} violates invariant ${violation?.invariant}: ${violation?.message}`)
    const small = await shrink(
      plan,
      async (each) => (await runPlan(each)).violation?.invariant,
      () => realHrtime() > until,
    )
    const { story } = await runPlan(small, { tells: true })
    say(`${plan.steps.length} steps became ${small.steps.length}:`)
    for (const line of story) say(`  ${line}`)
    isGood = false
  }
  for (const [named, why] of Object.entries(NAMED)) {
    const outcome = await runPlan(planOf(named))
    report.add(outcome)
    if (outcome.violation === undefined) continue
    say(`the named seed fails again (${why})`)
    await fail(named)
  }
  for (let number = 0; number < Number(values.scenarios) && realHrtime() < until; number++) {
    const each = `${seed}-${number}`
    useReal(number % 100 === 99)
    const outcome = await runPlan(planOf(each), { isOver: () => realHrtime() > until })
    report.add(outcome)
    if (outcome.violation === undefined) continue
    await fail(each)
    break
  }
  for (const line of report.lines()) say(line)
}
process.exit(isGood ? 0 : 1)
