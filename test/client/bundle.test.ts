/**
 * `asfaleia/core` for a page: the built package, bundled as a page's author would, holds nothing of Node, and of the rest what
 * is used alone.
 */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { describe, expect, onTestFinished, test } from 'vitest'
import { bundle } from '../support/bundle.ts'

const ROOT = join(import.meta.dirname, '../..')

describe('all of asfaleia/core', () => {
  test('holds no module of Node, and the files of a page in place of theirs', async () => {
    const { inputs, left } = await bundle("export * from 'asfaleia/core'")
    expect(left).toEqual([])
    expect(inputs.filter((file) => file.startsWith('dist/') && file.endsWith('.web.js')).toSorted()).toEqual([
      'dist/auth/crypto.web.js',
      'dist/client/wire/dial.web.js',
    ])
  })

  test('names nothing that a page has not: no Buffer, no process', async () => {
    const { bytes } = await bundle("export * from 'asfaleia/core'")
    const text = new TextDecoder().decode(bytes)
    expect(text).not.toMatch(/\bBuffer\b/)
    expect(text).not.toMatch(/\bprocess\./)
  })

  test('would be found out if it did: for Node it is another', async () => {
    const { bytes, inputs, left } = await bundle("export * from 'asfaleia/core'", 'node')
    expect(left).toEqual(expect.arrayContaining(['node:crypto', 'node:net']))
    expect(inputs).toEqual(expect.arrayContaining(['dist/auth/crypto.js', 'dist/client/wire/dial.js']))
    expect(new TextDecoder().decode(bytes)).toMatch(/\bBuffer\b/)
  })

  test('stays below 120 KiB, compressed', async () => {
    const { bytes } = await bundle("export * from 'asfaleia/core'")
    expect(gzipSync(bytes).length).toBeLessThan(120 * 1_024)
    expect(bytes.length).toBeGreaterThan(50_000)
  })
})

describe('a part of it', () => {
  test('costs nothing where nothing is used', async () => {
    expect((await bundle("import 'asfaleia/core'")).bytes).toHaveLength(0)
  })

  test('leaves out what is not used: a public key needs neither age nor a relay', async () => {
    const { inputs } = await bundle("export { parsePublicKey } from 'asfaleia/core'")
    expect(inputs).toContain('dist/auth/ssh-key.js')
    expect(inputs.filter((file) => file.includes('age-encryption') || file.includes('client-session'))).toEqual([])
  })
})

describe('its types', () => {
  /** What the compiler says of a page's module, which has the types of a browser and none of Node. */
  function check(code: string): string {
    // Within the package, whose own name is then known.
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

  test('need none of Node: the page of docs/clients.md compiles', { timeout: 60_000 }, () => {
    expect(check(`export * from 'asfaleia/core'\n${program}`)).toBe('')
  })

  test('are looked at: a page with a mistake does not compile', { timeout: 60_000 }, () => {
    expect(check(`${program}\nawait client.send('bob', key)\nBuffer.from('')\n`)).toMatch(/error TS2345[^]*Cannot find name 'Buffer'/)
  })
})
