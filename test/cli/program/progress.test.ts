/** The lines of a command that keeps running. */
import { describe, expect, test } from 'vitest'
import { createScreen } from '../../../src/cli/program/progress.ts'
import { createTestIo, type TestIo } from '../../support/terminal.ts'

/** @returns what a command prints that says, passes on and shows progress */
function print(io: TestIo): string {
  const screen = createScreen(io)
  screen.say('one')
  screen.progress('at 1 %')
  screen.progress('at 2 %')
  screen.pass('a line of tor')
  screen.say('two')
  return io.err()
}

describe('progress', () => {
  test('is a line of its own in a file', () => {
    expect(print(createTestIo())).toBe('asfaleia: one\nasfaleia: at 1 %\nasfaleia: at 2 %\na line of tor\nasfaleia: two\n')
  })

  test('changes the last line of a terminal, until the next line replaces it', () => {
    const io = createTestIo()
    Object.assign(io.stderr, { isTTY: true })
    const clear = '\r\u{1b}[K'
    expect(print(io)).toBe(`asfaleia: one\n${clear}asfaleia: at 1 %${clear}asfaleia: at 2 %${clear}a line of tor\nasfaleia: two\n`)
    expect(io.out()).toBe('')
  })
})
