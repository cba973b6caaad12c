/** Whether Node's debugger is open after the program's start. Each test asks a child process. */
import { describe, expect, test } from 'vitest'
import { run } from '../../support/process.ts'

const MODULE = new URL('../../../src/cli/program/debugger.ts', import.meta.url).href
/** Opens the debugger as the signal does, shuts it, and prints whether it is open now and after the next turn. */
const PROGRAM = `
  import inspector from 'node:inspector'
  import { setImmediate } from 'node:timers/promises'
  import { shutDebugger } from '${MODULE}'
  if (inspector.url() === undefined) inspector.open(0, '127.0.0.1')
  shutDebugger()
  const now = inspector.url() !== undefined
  await setImmediate()
  console.log(now, inspector.url() !== undefined)
  process.exit()
`

const isOpen = async (flags: readonly string[], options = ''): Promise<string> => {
  const words = [process.execPath, ...flags, '--input-type=module', '--eval', PROGRAM]
  const { code, stdout } = await run(words, { env: { NODE_OPTIONS: options } })
  expect(code).toBe(0)
  return stdout.trim()
}

describe('the debugger', () => {
  test('that a signal opened is closed', async () => {
    expect(await isOpen([])).toBe('false false')
  })

  test.each([
    [['--inspect=127.0.0.1:0'], ''],
    [[], '--no-warnings --inspect=127.0.0.1:0'],
  ])('that the user asked for stays open: flags %j, NODE_OPTIONS %j', async (flags, options) => {
    expect(await isOpen(flags, options)).toBe('true true')
  })
})
