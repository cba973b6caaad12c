/** `npm run soak`: lets a relay and clients run for a while, prints a table, and exits with 1 if something is wrong. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { loadavg, tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { formatTable } from '../../bench/result.ts'
import { soak } from './run.ts'
import { growthOf, judge, type Live, type Sample, trendOf } from './sample.ts'

const HELP = `usage: npm run soak -- [OPTION …]

Runs a relay and clients as processes, with random traffic, cut connections and killed clients. Each text must
be shown once, and memory and open descriptors must be flat: the median of the last quarter of the time is
compared with that of the second quarter.

  --minutes N   the time, by default 40; in less than 10 minutes, memory is shown and not judged
  --people N    the number of clients, by default 20
  --rate N      texts a second, by default 4; four times as many in the first quarter, the warm-up
  --keep DIR    keep profiles, files and samples in DIR
  --snapshots   with --keep: write snapshots of the heaps after the first quarter and at the end
`
/** V8 takes some minutes to find the size of a heap. */
const JUDGED_MINUTES = 10
/** The most violations to print. */
const MOST_PRINTED = 30

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '40' },
    people: { type: 'string', default: '20' },
    rate: { type: 'string', default: '4' },
    keep: { type: 'string' },
    snapshots: { type: 'boolean', default: false },
    help: { type: 'boolean', short: 'h', default: false },
  },
})
const [minutes, people, rate] = [values.minutes, values.people, values.rate].map(Number) as [number, number, number]
const say = (line: string): void => void process.stdout.write(`${line}\n`)

// Each process has a listener, so that none outlives this one.
process.setMaxListeners(0)
// The processes end at this one's exit, which a signal alone would not trigger.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => process.exit(1))

if (values.help) {
  process.stdout.write(HELP)
} else if (!(minutes > 0 && people >= 3 && rate > 0)) {
  process.stderr.write(HELP)
  process.exitCode = 2
} else {
  const folder = values.keep ?? mkdtempSync(join(tmpdir(), 'asfaleia-soak-'))
  mkdirSync(folder, { recursive: true })
  const busy = loadavg()
  const outcome = await soak({ minutes, people, rate, folder, snapshots: values.snapshots, onProgress: say })
  const { members, relay, ledger, cuts, kills, notes } = outcome
  const series = Object.fromEntries([
    ['relay', { samples: relay }],
    ...members.map(({ name, samples, live }) => [name, { samples, live }] as const),
  ])
  writeFileSync(join(folder, 'samples.json'), JSON.stringify(series))
  const problems = ledger.problems()
  const row = (name: string, starts: number, samples: readonly Sample[], live: readonly Live[], more: readonly string[]): string[] => {
    const resident = trendOf(samples, (each) => each.resident)
    const descriptors = trendOf(samples, (each) => each.descriptors)
    const use = trendOf(live, (each) => each.live)
    const isJudged = starts === 1 && minutes >= JUDGED_MINUTES
    const reasons = isJudged ? judge(resident, descriptors) : []
    problems.push(...reasons.map((reason) => `${name}: ${reason}`))
    const memory = [resident, use].flatMap((trend) => [mebibytes(trend.before), mebibytes(trend.after), percent(growthOf(trend))])
    const verdict = reasons.length > 0 ? 'grows' : isJudged ? 'flat' : starts > 1 ? `started ${starts} times` : 'not judged'
    return [name, ...memory, `${descriptors.before}`, `${descriptors.after}`, ...more, verdict]
  }
  const head = ['', 'resident', 'later', '', 'in use', 'later', '', 'fds', 'later', 'sent', 'shown', '']
  const rows = members.map(({ name, kind, starts, samples, live, texts }) =>
    row(`${name} ${kind}`, starts, samples, live, [`${texts.sent}`, `${texts.shown}`]),
  )
  say(formatTable([head, row('relay', 1, relay, [], ['', '']), ...rows]))
  const { sent, shown, orphaned } = ledger.count
  say(`
${minutes} min, ${people} clients, load ${busy.map((each) => each.toFixed(1)).join(' ')} before and ${loadavg()
    .map((each) => each.toFixed(1))
    .join(' ')} after
memory in MiB; resident: as the kernel counts it; in use: after a collection, which each client makes once a minute;
"later": the median of the last quarter, beside that of the second
${sent} texts and files sent, ${shown} shown, ${ledger.confirmations} confirmed, ${orphaned} lost with a killed sender, ${ledger.repeats} shown again after a kill
${kills} clients killed, ${cuts} connections cut, ${ledger.remarks.gap} remarks of a missing text, ${ledger.remarks.late} of a late one`)
  for (const [note, count] of [...notes].toSorted(([, a], [, b]) => b - a).slice(0, 20)) say(`${count} × ${note}`)
  say(problems.length === 0 ? '\nclean' : `\n${problems.length} PROBLEMS`)
  for (const problem of problems.slice(0, MOST_PRINTED)) say(problem)
  if (problems.length > 0) process.exitCode = 1
  if (values.keep === undefined && problems.length === 0) rmSync(folder, { recursive: true, force: true })
  else say(`profiles and files are in ${folder}`)
}

function mebibytes(bytes: number): string {
  return Number.isNaN(bytes) ? '' : (bytes / 2 ** 20).toFixed(1)
}

function percent(growth: number): string {
  return Number.isNaN(growth) ? '' : `${growth < 0 ? '' : '+'}${(growth * 100).toFixed(1)} %`
}
