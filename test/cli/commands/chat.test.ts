/** `asfaleia chat` on a terminal: full-screen, or line by line. The session itself is in test/cli/chat. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { runCommand } from '../../../src/cli/command.ts'
import { asfaleia } from '../../support/command.ts'
import { createTestIo, type TestIo } from '../../support/terminal.ts'

const FULL_SCREEN = '\u{1b}[?1049h'

let home: string
beforeEach(async () => {
  home = mkdtempSync(join(tmpdir(), 'asf-chat-'))
  await asfaleia(['me', '--name', 'Alice', '--relay', 'localhost:1'], { env: { ASFALEIA_HOME: home } })
})
afterEach(() => rmSync(home, { recursive: true }))

/** Runs a chat until it has taken the screen, or named its relay. @returns its output */
async function chat(
  options: readonly string[],
  env: Record<string, string>,
  parts: { stdin?: boolean; stdout?: boolean },
): Promise<string> {
  const io: TestIo = createTestIo({ ASFALEIA_HOME: home, ...env })
  const isTTY = true
  if (parts.stdin !== false) Object.assign(io.stdin, { isTTY, setRawMode: () => io.stdin })
  if (parts.stdout !== false) Object.assign(io.stdout, { isTTY, rows: 12, columns: 60 })
  const ended = runCommand(['chat', ...options], io)
  await Promise.race([io.untilOut('localhost:1'), io.untilOut(FULL_SCREEN), ended])
  io.interrupt()
  io.stdin.end()
  await ended
  return io.out()
}

test('fills the screen of a terminal', async () => {
  expect(await chat([], { TERM: 'xterm-256color' }, {})).toContain(FULL_SCREEN)
})

test.each<[string, readonly string[], Record<string, string>, { stdin?: boolean; stdout?: boolean }]>([
  ['with --plain', ['--plain'], { TERM: 'xterm-256color' }, {}],
  ['on a terminal that knows no sequences', [], { TERM: 'dumb' }, {}],
  ['if its input is no terminal', [], { TERM: 'xterm-256color' }, { stdin: false }],
  ['if its output is no terminal', [], { TERM: 'xterm-256color' }, { stdout: false }],
])('writes lines %s', async (_when, options, env, parts) => {
  expect(await chat(options, env, parts)).not.toContain('\u{1b}[')
})
