import { createHash } from 'node:crypto'
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { buildPage } from '../../deploy/page.ts'
import { readPageFile } from '../../src/server/page-file.ts'

let folder: string
let file: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'asfaleia-'))
  file = join(folder, 'asfaleia.html')
})
afterEach(() => rmSync(folder, { recursive: true }))

const HEAD = '<!doctype html>\n<html lang="en">\n<head>\n<meta http-equiv="content-security-policy" content="default-src \'none\'; x">\n'

test('the file of the build is read whole, with its policy and its hash, also behind a link', async () => {
  writeFileSync(join(folder, 'real'), await buildPage(join(import.meta.dirname, '../..')))
  symlinkSync('real', file)
  const page = readPageFile(file)
  if (typeof page === 'string') throw new Error(page)
  expect(page.bytes).toEqual(readFileSync(file))
  expect(gunzipSync(page.compressed)).toEqual(page.bytes)
  expect(page.sha256).toBe(createHash('sha256').update(page.bytes).digest('hex'))
  expect(page.policy).toMatch(/^default-src 'none'; script-src 'sha256-[^']+'; style-src [^]*trusted-types 'none'$/)
})

test.each([
  ['', 'damaged'],
  ['<!doctype html>\n<title>another page</title>', 'damaged'],
  [HEAD.replace("default-src 'none'", 'default-src *'), 'damaged'],
  [HEAD.replace('; x', '; x\r\nset-cookie: a'), 'damaged'],
  [HEAD.slice(1), 'damaged'],
  [HEAD + 'x'.repeat(2 ** 20), 'too-large'],
])('a file that is not the web page is not offered: %#', (text, problem) => {
  writeFileSync(file, text)
  expect(readPageFile(file)).toBe(problem)
})

test('a missing file, a folder and a file that may not be read are told apart from a page', () => {
  expect(readPageFile(file)).toBe('missing')
  mkdirSync(file)
  expect(readPageFile(file)).toBe('unreadable')
  const secret = join(folder, 'secret')
  writeFileSync(secret, HEAD)
  chmodSync(secret, 0)
  // Root may read every file.
  expect(readPageFile(secret)).toEqual(
    process.getuid?.() === 0 ? expect.objectContaining({ policy: "default-src 'none'; x" }) : 'unreadable',
  )
})
