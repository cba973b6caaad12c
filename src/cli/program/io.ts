/** The surroundings of a command: its streams, its environment and the signal that stops it. */
import { once } from 'node:events'
import type { Readable, Writable } from 'node:stream'

/** A command's surroundings, so that a test can be its terminal. */
export interface Io {
  readonly stdin: Readable & { readonly isTTY?: boolean }
  readonly stdout: Writable & { readonly isTTY?: boolean }
  readonly stderr: Writable & { readonly isTTY?: boolean }
  readonly env: Readonly<Record<string, string | undefined>>
  /** False if the command must not ask the user for a passphrase. */
  readonly asks?: boolean
  /** Aborted by the first SIGINT or SIGTERM. */
  readonly signal: AbortSignal
}

/** The variable of a program that ends when its standard input does. */
export const TIED = 'ASFALEIA_TIED'

/** What every command module of src/cli/commands exports as `run`; the number is the exit code. */
export type Run = (argv: string[], io: Io) => Promise<number>

/** Resolves when the signal is aborted. */
export async function aborted(signal: AbortSignal): Promise<undefined> {
  if (!signal.aborted) await once(signal, 'abort')
}
