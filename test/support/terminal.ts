/** A terminal for commands under test: what they wrote is kept as text. */
import { PassThrough, Writable } from 'node:stream'
import type { Io } from '../../src/cli/terminal.ts'

export interface TestIo extends Io {
  readonly stdin: PassThrough
  out(): string
  err(): string
  /** As SIGINT or SIGTERM would. */
  interrupt(): void
  /** Settles once standard output holds the text. */
  untilOut(text: string): Promise<void>
}

export function createTestIo(env: Record<string, string> = {}): TestIo {
  const controller = new AbortController()
  const waiting: { readonly text: string; readonly resolve: () => void }[] = []
  const stdout = keep(() => {
    for (const { text, resolve } of waiting) if (stdout.text().includes(text)) resolve()
  })
  const stderr = keep(() => {})
  return {
    stdin: new PassThrough(),
    stdout: stdout.stream,
    stderr: stderr.stream,
    env,
    signal: controller.signal,
    out: stdout.text,
    err: stderr.text,
    interrupt: () => controller.abort(),
    untilOut: (text) =>
      new Promise((resolve) => {
        if (stdout.text().includes(text)) resolve()
        else waiting.push({ text, resolve })
      }),
  }
}

function keep(onText: () => void): { stream: Writable; text: () => string } {
  let kept = ''
  const stream = new Writable({
    write(chunk: Buffer, _encoding, done) {
      kept += chunk.toString()
      onText()
      done()
    },
  })
  return { stream, text: () => kept }
}
