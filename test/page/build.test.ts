/** The build of the web page: one file, the same bytes from every folder, and a policy that fits its contents. */
import { createHash } from 'node:crypto'
import { cpSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { build } from 'esbuild'
import { buildPage, singles } from '../../deploy/page.ts'
import * as inNode from '../../src/auth/crypto.ts'
import type * as web from '../../src/auth/crypto.web.ts'

const ROOT = join(import.meta.dirname, '../..')
const KIB = 1_024

let page: string
beforeAll(async () => {
  page = await buildPage(ROOT)
})

const hash = (text: string): string => `'sha256-${createHash('sha256').update(text).digest('base64')}'`
const contentOf = (element: string): string[] =>
  [...page.matchAll(new RegExp(`<${element}(?: [^>]*)?>([^]*?)</${element}>`, 'g'))].map(([, text]) => text!)

describe('the same sources', () => {
  const folders: string[] = []
  afterAll(() => {
    for (const folder of folders) rmSync(folder, { recursive: true })
  })
  const copy = (name: string): string => {
    const folder = mkdtempSync(join(tmpdir(), name))
    folders.push(folder)
    for (const each of ['src', 'package.json']) cpSync(join(ROOT, each), join(folder, each), { recursive: true })
    return folder
  }

  test('make the same bytes in other folders, whether packages are there or behind a link', async () => {
    const [linked, copied] = [copy('asfaleia-page-'), copy('a-longer-name-asfaleia-page-')]
    symlinkSync(join(ROOT, 'node_modules'), join(linked, 'node_modules'))
    for (const each of ['preact', 'qr', 'age-encryption', '@noble', '@scure'])
      cpSync(join(ROOT, 'node_modules', each), join(copied, 'node_modules', each), { recursive: true })
    expect(await buildPage(linked)).toBe(page)
    expect(await buildPage(copied)).toBe(page)
  })
})

test('ML-KEM of the one copy of @noble that the page has gives the results of Node', async () => {
  const entryPoints = [join(ROOT, 'src/auth/crypto.web.ts')]
  const { outputFiles } = await build({ entryPoints, bundle: true, format: 'esm', write: false, plugins: [singles(ROOT)] })
  const code = outputFiles[0]!.text
  const inPage = (await import(`data:text/javascript;base64,${Buffer.from(code).toString('base64')}`)) as typeof web
  const seed = Uint8Array.from({ length: 64 }, (_, n) => n)
  const [own, other] = [inPage.kemKey(seed), inNode.kemKey(seed)]
  expect(Buffer.from(own.public)).toEqual(Buffer.from(other.public))
  const [toNode, toPage] = [inPage.encapsulateTo(own.public), inNode.encapsulateTo(own.public)]
  expect(Buffer.from(other.decapsulate(toNode.ciphertext))).toEqual(Buffer.from(toNode.secret))
  expect(Buffer.from(own.decapsulate(toPage.ciphertext))).toEqual(Buffer.from(toPage.secret))
})

test('the page is at most 140 KiB compressed', () => {
  expect(gzipSync(page, { level: 9 }).length).toBeLessThanOrEqual(140 * KIB)
})

test('its policy is the first element of its head, and allows its script, its style and onion services alone', () => {
  const [, policy] = /^<!doctype html>\n<html lang="en">\n<head>\n<meta http-equiv="content-security-policy" content="([^"]+)">\n/.exec(
    page,
  )!
  const [scripts, styles] = [contentOf('script'), contentOf('style')]
  expect([scripts.length, styles.length]).toEqual([1, 1])
  expect(policy).toBe(
    `default-src 'none'; script-src ${hash(scripts[0]!)}; style-src ${hash(styles[0]!)}; img-src data: blob:; ` +
      "connect-src ws://*.onion ws://*.onion:*; base-uri 'none'; form-action 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
  )
  // HTML looks for the encoding in the first bytes alone.
  expect(Buffer.from(page).subarray(0, 1_024).toString()).toContain('<meta charset="utf-8">')
})

test('its markup loads nothing, runs nothing by attributes, and says what to do without scripts', () => {
  const markup = page.replace(/content="default-src[^"]*"/, '').replaceAll(/(<(script|style)(?: [^>]*)?>)[^]*?(<\/\2>)/g, '$1$3')
  expect(markup.length).toBeLessThan(3_000)
  expect(markup).not.toMatch(/\ssrc=|\son\w+=|\sstyle=|javascript:|\/\//)
  expect([...markup.matchAll(/\shref="([^"]*)"/g)].map(([, to]) => to)).toEqual(['data:,'])
  expect(contentOf('noscript').join()).toMatch(/JavaScript.*Safest/s)
})

test('its script evaluates no text, imports nothing, and uses nothing of Node', () => {
  const code = contentOf('script')[0]!
  expect(code).not.toMatch(/\beval\(|new Function\b|\bFunction\(|\bimport\(|\bBuffer\b|\bprocess\.|node:/)
  expect(code).not.toMatch(/^import\b|;import[ {"']/m)
  // age-encryption brings scrypt, which takes too long without a JIT, and passkeys, which the page does not use.
  expect(code).not.toMatch(/navigator\.credentials|WebAuthn|short weierstrass/i)
})

test('its style loads nothing', () => {
  expect(contentOf('style')[0]).not.toMatch(/url\(|@import|expression\(/i)
})

test('it names no folder of the machine that builds it', () => {
  expect(page).not.toContain(ROOT)
  expect(page).not.toContain('node_modules')
})
