/** `asfaleia start` on a machine without tor, with a relay that the test plays; test/e2e/start.test.ts starts real ones. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { runCommand } from '../../../src/cli/command.ts'
import { createTestIo } from '../../support/terminal.ts'

vi.mock('../../../src/cli/start/relay-process.ts', () => ({
  startRelay: () => ({
    ready: Promise.resolve('127.0.0.1:3308'),
    ended: new Promise(() => {}),
    stop: async () => {},
  }),
}))

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'asf-start-'))
})
afterEach(() => rmSync(folder, { recursive: true }))

test.each([
  ['says that tor is missing', [], true],
  ['does not look for tor with --no-tor', ['--no-tor'], false],
])('serves this machine, and %s', async (_what, options, isMissed) => {
  const io = createTestIo({ PATH: folder, XDG_RUNTIME_DIR: folder, HOME: folder })
  const doors = ['--tcp', '127.0.0.1:0', '--operator', '127.0.0.1:0']
  const ended = runCommand(['start', ...doors, ...options], io)
  await Promise.race([io.untilErr('the relay is running, for this machine only'), ended])
  io.interrupt()
  expect(await ended).toBe(0)
  expect(io.err().includes('tor is not installed')).toBe(isMissed)
})
