/**
 * `asfaleia/core` for a page: the built package, bundled as a page's author would, contains nothing of Node and
 * only the parts that the page uses.
 */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { describe, expect, onTestFinished, test } from 'vitest'
import { bundle } from '../support/bundle.ts'

const ROOT = join(import.meta.dirname, '../..')

describe('a bundle of all of asfaleia/core', () => {
  test('contains no module of Node, but its replacements for a page', async () => {
    const { inputs, left } = await bundle("export * from 'asfaleia/core'")
    expect(left).toEqual([])
    expect(inputs.filter((file) => file.startsWith('dist/') && file.endsWith('.web.js')).toSorted()).toEqual([
      'dist/auth/crypto.web.js',
      'dist/client/wire/dial.web.js',
    ])
  })

  test('uses neither Buffer nor process, which a page lacks', async () => {
    const { bytes } = await bundle("export * from 'asfaleia/core'")
    const text = new TextDecoder().decode(bytes)
    expect(text).not.toMatch(/\bBuffer\b/)
    expect(text).not.toMatch(/\bprocess\./)
  })

  test('differs when bundled for Node, which proves that the checks above can fail', async () => {
    const { bytes, inputs, left } = await bundle("export * from 'asfaleia/core'", 'node')
    expect(left).toEqual(expect.arrayContaining(['node:crypto', 'node:net']))
    expect(inputs).toEqual(expect.arrayContaining(['dist/auth/crypto.js', 'dist/client/wire/dial.js']))
    expect(new TextDecoder().decode(bytes)).toMatch(/\bBuffer\b/)
  })

  test('stays below 126 KiB compressed', async () => {
    const { bytes } = await bundle("export * from 'asfaleia/core'")
    expect(gzipSync(bytes).length).toBeLessThan(126 * 1_024)
    expect(bytes.length).toBeGreaterThan(50_000)
  })
})

describe('a bundle of a part of asfaleia/core', () => {
  test('is empty if the page uses nothing', async () => {
    expect((await bundle("import 'asfaleia/core'")).bytes).toHaveLength(0)
  })

  test('omits unused code: parsePublicKey needs neither age nor the relay client', async () => {
    const { inputs } = await bundle("export { parsePublicKey } from 'asfaleia/core'")
    expect(inputs).toContain('dist/auth/ssh-key.js')
    expect(inputs.filter((file) => file.includes('age-encryption') || file.includes('client-session'))).toEqual([])
  })
})

describe('the types of asfaleia/core', () => {
  /** Compiles a page's module with the types of a browser and without those of Node, and returns the errors. */
  function check(code: string): string {
    // Write it inside the package, so that the package's own name resolves.
    const folder = mkdtempSync(join(import.meta.dirname, 'page-'))
    onTestFinished(() => rmSync(folder, { recursive: true }))
    writeFileSync(join(folder, 'page.ts'), code)
    const options =
      '--noEmit --strict --ignoreConfig --target es2024 --module esnext --moduleResolution bundler --lib es2024,esnext.disposable,dom'
    return spawnSync(join(ROOT, 'node_modules/.bin/tsc'), [...options.split(' '), '--types', '', join(folder, 'page.ts')], {
      encoding: 'utf8',
    }).stdout
  }
  const [, program] = /^```js\n(.*?)^```$/ms.exec(readFileSync(join(ROOT, 'docs/clients.md'), 'utf8'))!

  test('need no types of Node: the page of docs/clients.md compiles', { timeout: 60_000 }, () => {
    expect(check(`export * from 'asfaleia/core'\n${program}`)).toBe('')
  })

  test('reject a page with mistakes', { timeout: 60_000 }, () => {
    expect(check(`${program}\nawait client.send('bob', key)\nBuffer.from('')\n`)).toMatch(/error TS2345[^]*Cannot find name 'Buffer'/)
  })
})
