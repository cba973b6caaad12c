/** What a command that stays says of how it gets on, line by line; on a terminal the last line can change. */
import type { Io } from './io.ts'

export interface Screen {
  /** A line for the person. */
  say(line: string): void
  /** A line as a child wrote it. */
  pass(line: string): void
  /** On a terminal, one line that is written over by the next. */
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
