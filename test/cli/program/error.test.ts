import { describe, expect, test } from 'vitest'
import { CliError, printError, UsageError } from '../../../src/cli/program/error.ts'
import { EXIT } from '../../../src/cli/program/exit.ts'
import { createTestIo } from '../../support/terminal.ts'

describe('printError', () => {
  test('says the error and its hint, a line each, and gives its code', () => {
    const io = createTestIo()
    const error = new CliError('it failed\u001B[2J', { exitCode: EXIT.refused, hint: 'try\nagain' })
    expect(printError(io, error)).toBe(77)
    expect(io.err()).toBe('asfaleia: error: it failed\\u{1b}[2J\nasfaleia: hint: try\\nagain\n')
  })

  test('a usage error is 2, any other 1', () => {
    expect(printError(createTestIo(), new UsageError('no'))).toBe(2)
    expect(printError(createTestIo(), new CliError('no'))).toBe(1)
  })

  test('shows nothing of an error that is not ours', () => {
    const io = createTestIo()
    expect(printError(io, new Error('the secret'))).toBe(70)
    expect(io.err()).toContain('asfaleia: error: internal error\n')
    expect(io.err()).not.toMatch(/secret|at .*\.ts/)
  })
})
