/**
 * `npm run bench`: measures the relay beside its peers and the floor, prints the targets and the results, and
 * stores the samples under bench/results.
 */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { spawnSync } from 'node:child_process'
import { cpus, loadavg, release, setPriority, tmpdir, totalmem } from 'node:os'
import { join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { type PartName, PARTS } from './figures.ts'
import { writePage } from './page.ts'
import { compile, findProgram } from './program.ts'
import { formatTable, judge, type Results, show, spreadOf, SUBJECTS, type Subject } from './result.ts'

const HELP = `usage: npm run bench -- [OPTION …]

  --full        all amounts and rounds, and the private Tor network; takes half an hour or more
  --only PARTS  some parts alone: ${Object.keys(PARTS).join(', ')}
  --tor         the private Tor network in the quick form, too
  --first       as root: before other processes, on a machine that does other work, too
  --before DIR  attack another built checkout of the project, too, and compare it with this one (paths)
  --page        write docs/performance.md from this run, and keep its samples; with --only, the samples of other
                parts stay
  --from FILE   do not measure: print, and with --page write, what is kept in a file of samples
`

// Servers and load generators end at this process's exit, which a signal alone would not trigger.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => process.exit(1))

const ROOT = join(import.meta.dirname, '..')
const say = (text: string): void => void process.stderr.write(`${text}\n`)

function describeMachine(): string[] {
  const [first] = cpus()
  const memory = `${Math.round(totalmem() / 2 ** 30)} GiB of memory`
  const busy = `load average ${loadavg()[0]!.toFixed(1)} before the run`
  return [`${cpus().length} × ${first?.model ?? 'unknown processor'}`, memory, `Linux ${release()}`, busy]
}

function findVersions(): Record<string, string> {
  const ask = (program: string, args: readonly string[], pattern: RegExp): string => {
    const path = findProgram(program)
    if (path === undefined) return 'absent'
    const { stdout, stderr } = spawnSync(path, args, { encoding: 'utf8', timeout: 10_000 })
    return pattern.exec(stdout + stderr)?.[1] ?? 'unknown'
  }
  const packageVersion = (path: string): string => (JSON.parse(readFileSync(join(ROOT, path), 'utf8')) as { version: string }).version
  return {
    asfaleia: packageVersion('package.json'),
    Node: process.versions.node,
    Mosquitto: ask('mosquitto', ['-h'], /version ([\d.]+)/),
    Redis: ask('redis-server', ['--version'], /v=([\d.]+)/),
    NATS: ask('nats-server', ['--version'], /v([\d.]+)/),
    aedes: packageVersion('node_modules/aedes/package.json'),
    Prosody: ask('prosodyctl', ['about'], /^Prosody (\d[\d.]+)/m),
    tor: ask('tor', ['--version'], /version ([\d.]+\d)/),
    'C compiler': ask('cc', ['--version'], /(\d+\.\d+\.\d+)/),
  }
}

async function measure(parts: readonly PartName[], full: boolean, before: string | undefined): Promise<Results> {
  if (findProgram('cc') === undefined)
    throw new Error('there is no C compiler, and without one no load generator and no floor; on Debian: apt-get install gcc libc6-dev')
  if (findProgram('taskset') === undefined) throw new Error('there is no taskset; on Debian: apt-get install util-linux')
  const folder = mkdtempSync(join(tmpdir(), 'asfaleia-bench-'))
  try {
    const results: Results = {
      date: new Date().toISOString(),
      form: full ? 'full' : 'quick',
      machine: describeMachine(),
      versions: findVersions(),
      absent: [],
      figures: [],
      samples: [],
    }
    const bench = { full, load: compile('load', folder), floor: compile('floor', folder), before, results, say }
    for (const name of parts) {
      const began = performance.now()
      try {
        await PARTS[name](bench)
      } catch (error) {
        // Keep the earlier measurements.
        results.absent.push(`${name}: it failed`)
        say(`${name} failed: ${error instanceof Error ? error.message : String(error)}`)
        process.exitCode = 1
      }
      say(`${name}: ${Math.round((performance.now() - began) / 1_000)} s`)
    }
    return results
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** Puts the samples of some parts into those of an earlier run. */
function merge(kept: Results, results: Results, parts: readonly PartName[]): Results {
  const names = new Set(results.figures.map(({ name }) => name))
  const { date, form, machine } = results
  return {
    ...kept,
    later: [
      ...(kept.later ?? []).filter((each) => !each.parts.some((part) => parts.some((name) => name === part))),
      { parts, date, form, machine },
    ],
    figures: [...kept.figures.filter(({ name }) => !names.has(name)), ...results.figures],
    samples: [...kept.samples.filter(({ figure }) => !names.has(figure)), ...results.samples],
  }
}

function print(results: Results): void {
  const cells = results.figures.flatMap(({ name, unit }) =>
    (Object.keys(SUBJECTS) as Subject[]).flatMap((subject) => {
      const found = spreadOf(results, name, subject)
      if (found === undefined) return []
      const cpu = spreadOf(results, name, subject, 'cpu')
      return [
        [
          name,
          SUBJECTS[subject],
          show(found.median),
          `${show(found.least)}–${show(found.most)}`,
          unit,
          cpu === undefined ? '' : show(cpu.median),
        ],
      ]
    }),
  )
  const verdicts = judge(results).filter(({ outcome }) => outcome !== 'not measured')
  const table = verdicts.map(({ title, against, target, measured, cpu, outcome }) => [title, against, target, measured, cpu, outcome])
  process.stdout.write(
    `${[
      formatTable([['figure', 'of', 'median', 'least–most', 'unit', 'µs CPU'], ...cells]),
      formatTable([['target of', 'compared with', 'target', 'measured', 'by CPU', ''], ...table]),
      ...results.absent.map((absent) => `not measured: ${absent}`),
    ].join('\n\n')}\n`,
  )
}

const { values } = parseArgs({
  options: {
    full: { type: 'boolean', default: false },
    tor: { type: 'boolean', default: false },
    first: { type: 'boolean', default: false },
    page: { type: 'boolean', default: false },
    help: { type: 'boolean', short: 'h', default: false },
    only: { type: 'string', multiple: true },
    before: { type: 'string' },
    from: { type: 'string' },
  },
})
if (values.help) {
  process.stdout.write(HELP)
} else {
  if (values.first) setPriority(-10)
  const all = Object.keys(PARTS) as PartName[]
  const wanted = values.only?.flatMap((names) => names.split(','))
  const unknown = wanted?.filter((name) => !Object.hasOwn(PARTS, name)) ?? []
  if (unknown.length > 0) {
    say(`there is no such part: ${unknown.join(', ')}\n\n${HELP}`)
    process.exit(2)
  }
  const parts = all.filter((name) => wanted?.includes(name) ?? (name !== 'tor' || values.full || values.tor))
  const results =
    values.from === undefined
      ? await measure(parts, values.full, values.before && resolve(values.before))
      : (JSON.parse(readFileSync(values.from, 'utf8')) as Results)
  const folder = join(ROOT, 'bench/results')
  mkdirSync(folder, { recursive: true })
  if (values.from === undefined) writeFileSync(join(folder, `${results.date.replaceAll(/[:.]/g, '-')}.json`), JSON.stringify(results))
  print(results)
  if (values.page) {
    const file = join(folder, 'performance.json')
    const kept = wanted === undefined || values.from !== undefined ? undefined : (JSON.parse(readFileSync(file, 'utf8')) as Results)
    const all = kept === undefined ? results : merge(kept, results, parts)
    writeFileSync(file, `${JSON.stringify(all)}\n`)
    writePage(all, join(ROOT, 'docs'))
    say('wrote docs/performance.md')
  }
}
