import { describe, expect, test } from 'vitest'
import { CliError, printError, UsageError } from '../../../src/cli/program/error.ts'
import { EXIT } from '../../../src/cli/program/exit.ts'
import { createTestIo } from '../../support/terminal.ts'

describe('printError', () => {
  test('prints the error and its hint on a line each, and returns the exit code', () => {
    const io = createTestIo()
    const error = new CliError('it failed\u001B[2J', { exitCode: EXIT.refused, hint: 'try\nagain' })
    expect(printError(io, error)).toBe(77)
    expect(io.err()).toBe('asfaleia: error: it failed\\u{1b}[2J\nasfaleia: hint: try\\nagain\n')
  })

  test('returns 2 for a usage error and 1 for any other', () => {
    expect(printError(createTestIo(), new UsageError('no'))).toBe(2)
    expect(printError(createTestIo(), new CliError('no'))).toBe(1)
  })

  test('prints nothing of a foreign error', () => {
    const io = createTestIo()
    expect(printError(io, new Error('the secret'))).toBe(70)
    expect(io.err()).toContain('asfaleia: error: internal error\n')
    expect(io.err()).not.toMatch(/secret|at .*\.ts/)
  })
})
