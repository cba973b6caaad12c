/**
 * `asfaleia doctor`: what would keep `asfaleia relay --strict on` from starting, a named line for each check. It looks
 * at the process that it is and the machine that it is on, so it has to be run as the relay is: the same user, folder,
 * environment and limits. Changes nothing, and opens no listener.
 */
import { readFileSync } from 'node:fs'
import { parseConfig } from '../../config/config.ts'
import { examine, type Finding, lookAround } from '../relay/checks.ts'
import { printProblem } from '../program/error.ts'
import { EXIT } from '../program/exit.ts'
import type { Io } from '../program/io.ts'
import { formatJson } from '../program/show.ts'

export const HELP = `usage: asfaleia doctor [--json] [OPTION …]

Looks for what could let something of a relay out of its memory, a line for each check. Takes the options of
\`asfaleia relay\`, and has to be run as the relay is: same user, folder, environment and limits.
Ends with 0 if nothing was found but what --allow-unsafe excuses, 1 if something was, 2 for a wrong configuration.

  --json      one JSON object a line: check, state (ok, excused or failed), and problem and hint where it is not ok
  -h, --help  this text
`

export async function run(argv: string[], io: Io, look: () => readonly Finding[] = () => examine(lookAround())): Promise<number> {
  if (argv.includes('--help') || argv.includes('-h')) {
    io.stdout.write(HELP)
    return EXIT.ok
  }
  const options = argv.filter((word) => word !== '--json')
  const json = options.length < argv.length
  const parsed = parseConfig({ env: io.env, argv: options, readFile: (path) => readFileSync(path, 'utf8') })
  if ('problems' in parsed) {
    // A listener that is not local is among them.
    for (const { key, where, problem, hint } of parsed.problems) printProblem(io, `${where ?? `--${key}`}: ${problem}`, hint)
    return EXIT.usage
  }
  const { allowUnsafe } = parsed.config
  let failed = false
  for (const { name, problem, hint } of look()) {
    const state = problem === undefined ? 'ok' : allowUnsafe.includes(name) ? 'excused' : 'failed'
    failed ||= state === 'failed'
    const more = problem === undefined ? {} : { problem, hint }
    const text = problem === undefined ? '' : `: ${problem}\n${' '.repeat(9)}hint: ${hint}`
    io.stdout.write(json ? `${formatJson({ check: name, state, ...more })}\n` : `${state.padEnd(8)} ${name}${text}\n`)
  }
  return failed ? EXIT.failed : EXIT.ok
}
