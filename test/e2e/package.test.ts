/** The npm package: its metadata and types are in order, and a global installation runs on every Node that it promises. */
import { existsSync, globSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { succeed } from '../support/debian.ts'
import { run } from '../support/process.ts'
import { missing } from '../support/programs.ts'

const ROOT = join(import.meta.dirname, '../..')
const { version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { version: string }
const check = (name: string): string => join(ROOT, 'deploy/pack/node_modules/.bin', name)
const reason = missing('npm') ?? (existsSync(check('publint')) ? undefined : 'publint is not installed: sh deploy/setup.sh test')

let folder: string
let file: string
beforeAll(async () => {
  if (reason !== undefined) return
  folder = mkdtempSync(join(tmpdir(), 'asf-pack-'))
  file = join(folder, (await succeed('npm', 'pack', '--silent', '--ignore-scripts', '--pack-destination', folder, ROOT)).trim())
})
afterAll(() => {
  if (folder !== undefined) rmSync(folder, { recursive: true })
})
beforeEach((context) => context.skip(reason !== undefined, reason))

test('publint finds nothing to mend', async () => {
  // Its one suggestion is to replace the field `browser`, which docs/decisions/0014-a-core-for-pages.md keeps.
  expect(await run([check('publint'), '--strict', '--level', 'warning', file])).toMatchObject({
    code: 0,
    stdout: expect.stringContaining('All good!'),
  })
})

test('the types resolve wherever an ES module is imported', async () => {
  expect(await run([check('attw'), '--profile', 'esm-only', file])).toMatchObject({ code: 0 })
})

test('a global installation runs on Node 24 and 26, and an older Node says what to do', { timeout: 300_000 }, async (context) => {
  const node24 = join(ROOT, 'test/node24/node_modules/.bin/node')
  context.skip(!existsSync(node24), 'Node 24 is not installed below test/node24: sh deploy/setup.sh test')
  const there = join(folder, 'there')
  await succeed('npm', 'install', '--global', '--silent', '--no-audit', '--no-fund', '--ignore-scripts', '--prefix', there, file)
  const asfaleia = (node: readonly string[], ...words: string[]) =>
    run([...node, join(there, 'bin/asfaleia'), ...words], { env: { ASFALEIA_HOME: join(folder, `home${node[0]?.length}`) } })
  for (const node of [process.execPath, node24]) {
    expect(await asfaleia([node], '--version')).toEqual({ code: 0, signal: null, stdout: `${version}\n`, stderr: '' })
    expect(await asfaleia([node], 'me', '--name', 'Alice', '--relay', 'localhost')).toMatchObject({ code: 0 })
  }

  // As on a system for which there is no package of Node.
  for (const name of globSync('node-linux-*', { cwd: join(there, 'lib/node_modules/asfaleia/node_modules') }))
    rmSync(join(there, 'lib/node_modules/asfaleia/node_modules', name), { recursive: true })
  const old = `Object.defineProperty(process, 'versions', { value: { ...process.versions, node: '20.0.0' } })`
  const said = await asfaleia([process.execPath, '--import', `data:text/javascript,${encodeURIComponent(old)}`], '--version')
  expect(said).toMatchObject({ code: 1, stdout: '' })
  expect(said.stderr).toMatch(/^asfaleia: error: Node 20\.0\.0 is too old\nasfaleia: hint: .*install Node 24\.7 or later/)
})
