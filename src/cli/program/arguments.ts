/** The command line as node:util reads it, its complaints in our form: they would repeat what was typed. */
import { parseArgs, type ParseArgsConfig } from 'node:util'
import { UsageError } from './error.ts'
import type { Io } from './io.ts'

const PROBLEMS: Readonly<Record<string, string>> = {
  ERR_PARSE_ARGS_UNKNOWN_OPTION: 'there is no such option',
  ERR_PARSE_ARGS_INVALID_OPTION_VALUE: 'an option lacks its value, or takes none',
}

/** @throws {UsageError} with `usage` as its hint */
function parseCommandLine<Options extends NonNullable<ParseArgsConfig['options']>>(argv: string[], options: Options, usage: string) {
  try {
    return parseArgs({ args: argv, options, allowPositionals: true, strict: true })
  } catch (error) {
    const code = (error as { code?: string }).code ?? ''
    if (!code.startsWith('ERR_PARSE_ARGS')) throw error
    throw new UsageError(PROBLEMS[code] ?? 'the command line is wrong', { hint: usage })
  }
}

/** What a command says of itself, and the options that it takes beside `--help`. */
export interface Form<Options> {
  /** One line; the hint of what is wrong with a command line. */
  readonly usage: string
  /** All of `--help`. */
  readonly help: string
  readonly options: Options
  /** So many words beside the options at most. */
  readonly words?: number
}

/** How every command begins: `--help` is printed, and nothing is left to do; else what it was given. @throws {UsageError} */
export function openCommandLine<Options extends NonNullable<ParseArgsConfig['options']>>(
  argv: string[],
  io: Pick<Io, 'stdout'>,
  form: Form<Options>,
) {
  const given = parseCommandLine(
    argv,
    { ...form.options, help: { type: 'boolean', short: 'h' } } as const satisfies Options & ParseArgsConfig['options'],
    form.usage,
  )
  if ((given.values as { help?: boolean }).help === true) {
    io.stdout.write(form.help)
    return undefined
  }
  if (given.positionals.length > (form.words ?? Infinity)) throw new UsageError('too many words', { hint: form.usage })
  return given
}
