/** The command line as node:util reads it, its complaints in our form: they would repeat what was typed. */
import { parseArgs, type ParseArgsConfig } from 'node:util'
import { UsageError } from './terminal.ts'

const PROBLEMS: Readonly<Record<string, string>> = {
  ERR_PARSE_ARGS_UNKNOWN_OPTION: 'there is no such option',
  ERR_PARSE_ARGS_INVALID_OPTION_VALUE: 'an option lacks its value, or takes none',
}

/** @throws {UsageError} with `usage` as its hint */
export function parseCommandLine<Options extends NonNullable<ParseArgsConfig['options']>>(argv: string[], options: Options, usage: string) {
  try {
    return parseArgs({ args: argv, options, allowPositionals: true, strict: true })
  } catch (error) {
    const code = (error as { code?: string }).code ?? ''
    if (!code.startsWith('ERR_PARSE_ARGS')) throw error
    throw new UsageError(PROBLEMS[code] ?? 'the command line is wrong', { hint: usage })
  }
}
