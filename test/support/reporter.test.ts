import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'

const root = join(import.meta.dirname, '../..')
let folder: string

beforeEach(async () => {
  // Inside the checkout, so that the file's `import 'vitest'` resolves.
  folder = await mkdtemp(join(root, 'node_modules/.asfaleia-reporter-'))
})
afterEach(async () => {
  await rm(folder, { recursive: true, force: true })
})

async function run(tests: string, ci = false): Promise<{ code: number; lines: string[] }> {
  await writeFile(join(folder, 'a.test.ts'), `import { test, describe, beforeAll } from 'vitest'\n${tests}\n`)
  const args = ['run', '--root', folder, '--reporter', 'default', '--reporter', join(root, 'test/support/reporter.ts')]
  const vitest = spawn(process.execPath, [join(root, 'node_modules/vitest/vitest.mjs'), ...args], {
    env: { PATH: process.env['PATH'], NO_COLOR: '1', ...(ci ? { CI: 'true' } : {}) },
    stdio: ['ignore', 'pipe', 'ignore'],
  })
  const [chunks, [code]] = await Promise.all([vitest.stdout.setEncoding('utf8').toArray(), once(vitest, 'close')])
  return { code, lines: chunks.join('').trimEnd().split('\n') }
}

test('the reporter counts passed and failed tests', async () => {
  const { code, lines } = await run(`test('a', () => {}); test('b', () => {}); test('c', () => { throw new Error('x') })`)
  expect(lines.at(-1)).toBe('2 passed, 1 failed')
  expect(code).toBe(1)
})

test('the reporter lists skipped tests with their reasons', async () => {
  const { code, lines } = await run(`test('a', () => {}); test('b', (ctx) => ctx.skip('no tor here')); test.todo('c')`)
  expect(lines).toContain('skipped: a.test.ts > b: no tor here')
  expect(lines).toContain('skipped: a.test.ts > c: no reason was given')
  expect(lines.at(-1)).toBe('1 passed, 0 failed, 2 skipped')
  expect(code).toBe(0)
})

test('the reporter counts a skip as a failure with CI=true', async () => {
  const { code, lines } = await run(`test('a', () => {}); test('b', (ctx) => ctx.skip('no tor here'))`, true)
  expect(lines).toContain('skipped: a.test.ts > b: no tor here')
  expect(lines.at(-1)).toBe('1 passed, 1 failed')
  expect(code).toBe(1)
})

test('the reporter names a failed hook as the reason why tests did not run', async () => {
  const { lines } = await run(`beforeAll(() => { throw new Error('x') }); describe('s', () => { test('a', () => {}) })`)
  expect(lines).toContain('skipped: a.test.ts > s > a: a hook before it failed')
  expect(lines.at(-1)).toBe('0 passed, 1 failed, 1 skipped')
})

test.each([
  ['a file that cannot be loaded', `test('a', () => {}); throw new Error('x')`],
  ['a hook that fails', `describe('s', () => { beforeAll(() => { throw new Error('x') }); test('a', () => {}) })`],
  ['an unhandled error', `test('a', () => {}); void Promise.reject(new Error('x')); await new Promise(setImmediate)`],
  ['a file without tests', ''],
])('the reporter counts %s as failed', async (_, tests) => {
  const { code, lines } = await run(tests)
  expect(lines.at(-1)).toMatch(/^\d+ passed, [1-9]\d* failed/)
  expect(code).toBe(1)
})
