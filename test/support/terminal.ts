/** A terminal for commands under test, which keeps their output as text. */
import { PassThrough, Writable } from 'node:stream'
import type { Io } from '../../src/cli/program/io.ts'

export interface TestIo extends Io {
  readonly stdin: PassThrough
  out(): string
  err(): string
  /** Interrupts the command as SIGINT or SIGTERM would. */
  interrupt(): void
  /** Resolves once standard output contains the text. */
  untilOut(text: string): Promise<void>
  /** Resolves once standard error contains the text. */
  untilErr(text: string): Promise<void>
}

export function createTestIo(env: Record<string, string> = {}): TestIo {
  const controller = new AbortController()
  const stdout = keep()
  const stderr = keep()
  return {
    stdin: new PassThrough(),
    stdout: stdout.stream,
    stderr: stderr.stream,
    // No test may reach a tor of this machine.
    env: { ASFALEIA_SOCKS: '127.0.0.1:1', ...env },
    signal: controller.signal,
    out: stdout.text,
    err: stderr.text,
    interrupt: () => controller.abort(),
    untilOut: stdout.until,
    untilErr: stderr.until,
  }
}

function keep(): { stream: Writable; text: () => string; until: (text: string) => Promise<void> } {
  let kept = ''
  const waiting: { readonly text: string; readonly resolve: () => void }[] = []
  const stream = new Writable({
    write(chunk: Buffer, _encoding, done) {
      kept += chunk.toString()
      for (const { text, resolve } of waiting) if (kept.includes(text)) resolve()
      done()
    },
  })
  const until = (text: string): Promise<void> =>
    new Promise((resolve) => {
      if (kept.includes(text)) resolve()
      else waiting.push({ text, resolve })
    })
  return { stream, text: () => kept, until }
}
