/**
 * `asfaleia doctor`: makes the checks of `asfaleia relay --strict on`, a line for each. They examine its own process
 * and machine, so it must run as the relay does: as the same user, in the same folder, with the same environment and
 * limits. With `--profile`, checks the user's profile instead. Changes nothing, and opens no listener.
 */
import { readFileSync } from 'node:fs'
import { type Config, parseConfig } from '../../config/config.ts'
import { examine, type Finding, lookAround } from '../relay/checks.ts'
import { printProblem, UsageError } from '../program/error.ts'
import { examineProfile } from '../talk/checkup.ts'
import { EXIT } from '../program/exit.ts'
import type { Io } from '../program/io.ts'
import { formatJson } from '../program/show.ts'
import { printHelp, takeSwitch } from '../program/arguments.ts'
import type { Page } from '../program/page.ts'
import { SETTING_OPTIONS } from '../relay/options.ts'

export const page: Page = {
  name: 'doctor',
  usages: ['doctor [--json] [OPTION …]', 'doctor --profile [--json]'],
  options: {
    json: { about: 'print one JSON object a line: check, state (ok, excused or failed), and problem and hint unless ok' },
    profile: {
      about: 'check your profile instead of a relay: whether people can write to you, and what your relays learn of your SSH key',
    },
  },
  inherited: SETTING_OPTIONS,
  text: `
    Checks whether the machine could write memory of a relay to a disk, or show it to another program, and whether the settings fit the
    limits of memory and open files. Prints a line for each check.
    Run it as you run the relay: as the same user, in the same folder, with the same environment, limits and options. It takes the
    options of \`asfaleia relay\`.

    With --profile, prints how old your key for first messages at your relay is, whether your relays learn your SSH key, and who could not
    write to you without that. A line with \`note\` is no mistake.

    Exits with 0 if every check passed or --allow-unsafe excuses it, with 1 if a check failed, and with 2 if the configuration is
    wrong.`,
  examples: [
    ['check this machine, but allow swap', 'asfaleia doctor --allow-unsafe swap'],
    ['check your profile', 'asfaleia doctor --profile'],
  ],
}

export async function run(
  argv: string[],
  io: Io,
  look: (config: Config) => readonly Finding[] = (config) => examine(lookAround(config)),
): Promise<number> {
  if (printHelp(argv, io, page)) return EXIT.ok
  const [json, rest] = takeSwitch(argv, page, 'json')
  const [isProfile, options] = takeSwitch(rest, page, 'profile')
  if (isProfile) return checkProfile(options, json, io)
  const parsed = parseConfig({ env: io.env, argv: options, readFile: (path) => readFileSync(path, 'utf8') })
  if ('problems' in parsed) {
    // An address that is not local is among the problems.
    for (const { key, where, problem, hint } of parsed.problems) printProblem(io, `${where ?? `--${key}`}: ${problem}`, hint)
    return EXIT.usage
  }
  const { config } = parsed
  let failed = false
  for (const { name, problem, hint } of look(config)) {
    const state = problem === undefined ? 'ok' : config.allowUnsafe.includes(name) ? 'excused' : 'failed'
    failed ||= state === 'failed'
    const more = problem === undefined ? {} : { problem, hint }
    const text = problem === undefined ? '' : `: ${problem}\n${' '.repeat(9)}hint: ${hint}`
    io.stdout.write(json ? `${formatJson({ check: name, state, ...more })}\n` : `${state.padEnd(8)} ${name}${text}\n`)
  }
  return failed ? EXIT.failed : EXIT.ok
}

/** @throws {UsageError} */
async function checkProfile(words: readonly string[], json: boolean, io: Io): Promise<number> {
  if (words.length > 0) throw new UsageError('--profile goes together with --json alone', { hint: 'run `asfaleia doctor --profile`' })
  const notes = await examineProfile(io)
  for (const { check, state, text, hint } of notes) {
    const line = `${state.padEnd(8)} ${check}: ${text}${hint === undefined ? '' : `\n${' '.repeat(9)}hint: ${hint}`}`
    io.stdout.write(json ? `${formatJson({ check, state, text, ...(hint !== undefined && { hint }) })}\n` : `${line}\n`)
  }
  return notes.some(({ state }) => state === 'failed') ? EXIT.failed : EXIT.ok
}
