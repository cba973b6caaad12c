/** Prints the progress of a command that keeps running, line by line. On a terminal, the last line can change. */
import type { Io } from './io.ts'

export interface Screen {
  /** Prints a line for the user. */
  say(line: string): void
  /** Prints a line of a child process unchanged. */
  pass(line: string): void
  /** Prints a line; on a terminal, the next one replaces it. */
  progress(line: string): void
}

export function createScreen({ stderr }: Io): Screen {
  let open = false
  const write = (line: string): void => {
    stderr.write(`${open ? '\r\u001b[K' : ''}${line}\n`)
    open = false
  }
  return {
    say: (line) => write(`asfaleia: ${line}`),
    pass: write,
    progress(line) {
      if (!stderr.isTTY) return write(`asfaleia: ${line}`)
      stderr.write(`\r\u001b[Kasfaleia: ${line}`)
      open = true
    },
  }
}
