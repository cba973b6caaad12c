/** Errors of the command line, and how a command shows them. */
import { EXIT } from './exit.ts'
import type { Io } from './io.ts'
import { sanitizeLine } from './show.ts'

/** A command failed for a reason that a person can act on. The message is one lower-case line of our own words. */
export class CliError extends Error {
  readonly exitCode: number
  readonly hint: string | undefined

  constructor(message: string, options: { readonly exitCode?: number; readonly hint?: string } = {}) {
    super(message)
    this.name = 'CliError'
    this.exitCode = options.exitCode ?? EXIT.failed
    this.hint = options.hint
  }
}

/** The command line is wrong. */
export class UsageError extends CliError {
  constructor(message: string, options: { readonly exitCode?: number; readonly hint?: string } = {}) {
    super(message, { exitCode: EXIT.usage, ...options })
    this.name = 'UsageError'
  }
}

/** One `asfaleia: error: …` line, and one `asfaleia: hint: …` line where there is a hint. */
export function printProblem(io: Pick<Io, 'stderr'>, problem: string, hint?: string): void {
  io.stderr.write(`asfaleia: error: ${sanitizeLine(problem)}\n`)
  if (hint !== undefined) io.stderr.write(`asfaleia: hint: ${sanitizeLine(hint)}\n`)
}

/**
 * Says what went wrong and gives the exit code for it. Of an error that is not a CliError nothing is
 * shown: its message may hold anything.
 */
export function printError(io: Pick<Io, 'stderr'>, error: unknown): number {
  if (error instanceof CliError) {
    printProblem(io, error.message, error.hint)
    return error.exitCode
  }
  printProblem(io, 'internal error', 'this is a defect of asfaleia; please report what you did')
  return EXIT.internal
}
