/** A release of the web page: `deploy/sign-page` signs the page of the last commit, and the command of docs/page.md checks it. */
import { execFileSync, spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { appendFileSync, cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { buildPage } from '../../deploy/page.ts'
import { needs } from '../auth/openssh.ts'
import { missing } from '../support/programs.ts'

const ROOT = join(import.meta.dirname, '../..')
const COMMAND = /^ssh-keygen -Y verify .*$/m.exec(readFileSync(join(ROOT, 'docs/page.md'), 'utf8'))![0]

let folder: string
let clone: string
beforeEach(needs('ssh-keygen', 'git'))
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'asfaleia-sign-'))
  if (missing('ssh-keygen', 'git') !== undefined) return
  clone = join(folder, 'clone')
  for (const each of ['src', 'deploy', 'package.json', 'package-lock.json', '.gitignore'])
    cpSync(join(ROOT, each), join(clone, each), { recursive: true, filter: (from) => !from.endsWith('/node_modules') })
  mkdirSync(join(clone, 'node_modules'))
  for (const each of ['preact', 'qr', 'age-encryption', '@noble', '@scure', 'esbuild', '@esbuild'])
    symlinkSync(join(ROOT, 'node_modules', each), join(clone, 'node_modules', each))
  cpSync(join(ROOT, 'package-lock.json'), join(clone, 'node_modules/.asfaleia-lock'))
  git('init', '--quiet')
  commit()
  execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', join(folder, 'key')])
})
afterAll(() => rmSync(folder, { recursive: true }))

const git = (...words: string[]): void =>
  void execFileSync('git', ['-C', clone, '-c', 'user.name=Test', '-c', 'user.email=test@example.org', ...words])
const commit = (): void => {
  git('add', '--all')
  git('commit', '--quiet', '--message', 'a commit')
}
const sign = (...words: string[]) => spawnSync(join(clone, 'deploy/sign-page'), words, { encoding: 'utf8' })
const verify = (out: string) => spawnSync('sh', ['-c', COMMAND], { cwd: out, encoding: 'utf8' })

test('the page of the last commit is signed, and the command of docs/page.md checks it', { timeout: 60_000 }, async () => {
  const out = join(folder, 'out')
  const { status, stdout, stderr } = sign(join(folder, 'key'), out)
  expect([status, stderr.replace(/^Good .*$/m, '')]).toEqual([0, expect.stringContaining('wrote ')])
  const page = readFileSync(join(out, 'asfaleia.html'), 'utf8')
  expect(page).toBe(await buildPage(ROOT))
  expect(stdout).toBe(`${createHash('sha256').update(page).digest('hex')}\n`)
  expect(verify(out)).toMatchObject({ status: 0, stdout: expect.stringContaining('Good "asfaleia-page" signature') })
  appendFileSync(join(out, 'asfaleia.html'), '\n')
  expect(verify(out).status).not.toBe(0)
})

test('a signature of another key, or for another purpose, does not pass', { timeout: 60_000 }, () => {
  const out = join(folder, 'other')
  expect(sign(join(folder, 'key'), out).status).toBe(0)
  const page = join(out, 'asfaleia.html')
  execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', join(folder, 'stranger')])
  for (const [key, namespace] of [
    ['stranger', 'asfaleia-page'],
    ['key', 'file'],
  ] as const) {
    rmSync(`${page}.sig`)
    execFileSync('ssh-keygen', ['-Y', 'sign', '-q', '-f', join(folder, key), '-n', namespace, page])
    expect(verify(out).status).not.toBe(0)
  }
})

test('a checkout that differs from its last commit is not signed, nor a page of other sources', { timeout: 60_000 }, () => {
  writeFileSync(join(clone, 'src/new.ts'), '')
  expect(sign(join(folder, 'key'), join(folder, 'no'))).toMatchObject({ status: 1, stderr: expect.stringContaining('last commit') })
  rmSync(join(clone, 'src/new.ts'))
  mkdirSync(join(clone, 'dist/page'), { recursive: true })
  writeFileSync(join(clone, 'dist/page/asfaleia.html'), 'older')
  expect(sign(join(folder, 'key'))).toMatchObject({ status: 1, stderr: expect.stringContaining('npm run build') })
  rmSync(join(clone, 'dist'), { recursive: true })
  appendFileSync(join(clone, 'package-lock.json'), '\n')
  commit()
  expect(sign(join(folder, 'key'))).toMatchObject({ status: 1, stderr: expect.stringContaining('deploy/setup.sh') })
  expect(sign()).toMatchObject({ status: 2 })
  expect(sign('/nowhere')).toMatchObject({ status: 2 })
})
