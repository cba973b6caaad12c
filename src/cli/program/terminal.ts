/**
 * How a command meets a person: its streams, its exit codes, its errors, and what may be shown of a
 * text that came from a peer. It must not print a stack, nor a control character that it did not make.
 */
import { once } from 'node:events'
import type { Readable, Writable } from 'node:stream'

/** A command's surroundings, so that a test can be its terminal. */
export interface Io {
  readonly stdin: Readable & { readonly isTTY?: boolean }
  readonly stdout: Writable & { readonly isTTY?: boolean }
  readonly stderr: Writable & { readonly isTTY?: boolean }
  readonly env: Readonly<Record<string, string | undefined>>
  /** Aborted by the first SIGINT or SIGTERM. */
  readonly signal: AbortSignal
}

/** The variable of a program that ends when its standard input does. */
export const TIED = 'ASFALEIA_TIED'

/** What every command module of src/cli/commands exports as `run`; the number is the exit code. */
export type Run = (argv: string[], io: Io) => Promise<number>

/** The exit codes, as docs/operations.md lists them; from 69 on they are those of BSD's sysexits.h. */
export const EXIT = Object.freeze({
  /** Done. */
  ok: 0,
  /** It did not work, and the error says why. */
  failed: 1,
  /** The command line or the configuration is wrong; nothing was done. */
  usage: 2,
  /** Nobody answers at the relay or the operator's listener. */
  unreachable: 69,
  /** A defect of this program. */
  internal: 70,
  /** Sent, or kept to be sent, and not confirmed by its receiver. */
  unconfirmed: 75,
  /** The relay refused, or we refused the relay. */
  refused: 77,
})

export type ExitCode = (typeof EXIT)[keyof typeof EXIT]

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

// Controls (C0, DEL, C1), format characters (bidi overrides and isolates, zero-width, tags), lone
// surrogates, line and paragraph separators, and whatever else a font shows as nothing. Let through:
// line feed, tab, and the two variation selectors that only choose how an emoji is drawn.
// oxlint-disable-next-line no-misleading-character-class -- each is meant on its own
const UNSAFE = /[[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}]--[\n\t\u{FE0E}-\u{FE0F}]]/gv

/**
 * A peer's text as it may be shown: what could move the cursor, recolour, reorder or hide text stands
 * as a visible `\u{…}`. Line feeds and tabs stay.
 */
export function sanitize(text: string): string {
  return text.replace(UNSAFE, (character) => `\\u{${character.codePointAt(0)!.toString(16)}}`)
}

/** As `sanitize`, for a text that has to stay on one line. */
export function sanitizeLine(text: string): string {
  return sanitize(text).replaceAll('\n', '\\n').replaceAll('\t', '\\t')
}

/** One line of JSON in printable ASCII alone: whatever shows it, no control or format character of a peer gets out. */
export function formatJson(value: object): string {
  return JSON.stringify(value).replace(/[^\x20-\x7e]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`)
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

/** Resolves when somebody asked for the end. */
export async function aborted(signal: AbortSignal): Promise<undefined> {
  if (!signal.aborted) await once(signal, 'abort')
}
