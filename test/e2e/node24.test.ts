/**
 * Runs the unit tests of the relay and its clients again on Node 24, the other supported version.
 */
import { existsSync, readdirSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, it } from 'vitest'
import { run } from '../support/process.ts'

const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))))
const node24 = join(root, 'test/node24/node_modules/.bin/node')
/** The parts of the relay and its clients; tests of files and documents do not depend on Node. */
const PARTS = [
  'auth',
  'client',
  'config',
  'log',
  'mailbox',
  'operator',
  'protocol',
  'relay',
  'server',
  'tor',
  'transport',
  'handover',
  'cli/commands/send',
  'cli/commands/get',
  'cli/commands/key',
]

/** TypeDoc's pages of the API do not depend on Node either. */
const WITHOUT = ['--exclude', 'test/client/api.test.ts']

it('each filter of the tests on Node 24 matches at least one file', () => {
  const files = readdirSync(join(root, 'test'), { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.test.ts'))
  const matches = (filter: string): boolean => files.some((file) => `test/${file}`.includes(filter))
  expect([...PARTS.map((part) => `test/${part}`), WITHOUT[1]!].filter((filter) => !matches(filter))).toEqual([])
})

it('the unit tests pass on Node 24', { timeout: 600_000 }, async (context) => {
  if (!existsSync(node24)) context.skip('Node 24 is not installed below test/node24: sh deploy/setup.sh test')
  const version = await run([node24, '--version'])
  expect(version.stdout).toMatch(/^v24\./)
  const command = [
    node24,
    join(root, 'node_modules/vitest/vitest.mjs'),
    'run',
    '--project',
    'unit',
    '--maxWorkers',
    '1',
    ...WITHOUT,
    ...PARTS.map((part) => `test/${part}`),
  ]
  // PATH makes the programs that a test starts by name run on the same Node.
  const tests = await run(command, { cwd: root, env: { PATH: `${dirname(node24)}:${process.env['PATH']}` } })
  // Show the failures of that run, because this assertion is all that a reader sees of it.
  const said = `${tests.stdout}${tests.stderr}`
  const at = said.indexOf(' FAIL ')
  expect(at < 0 ? '' : said.slice(at)).toBe('')
  expect(tests.stdout.trimEnd().split('\n').at(-1)).toMatch(/^[0-9]{3,} passed, 0 failed$/)
  expect(tests.code).toBe(0)
})
