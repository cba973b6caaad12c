/**
 * `asfaleia/core` for a page: the built package, bundled as a page's author would, holds nothing of Node, and of the rest what
 * is used alone.
 */
import { build, type Metafile } from 'esbuild'
import { isBuiltin } from 'node:module'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { describe, expect, test } from 'vitest'

const ROOT = join(import.meta.dirname, '../..')

/** The package's own name leads to dist/: `npm run build` comes first. */
async function bundle(code: string, platform: 'browser' | 'node' = 'browser'): Promise<{ bytes: Uint8Array; inputs: string[]; left: string[] }> {
  const { outputFiles, metafile } = await build({
    stdin: { contents: code, resolveDir: ROOT },
    outfile: 'core.js',
    bundle: true,
    format: 'esm',
    minify: true,
    platform,
    write: false,
    metafile: true,
    // So that what is left is told by the test, and not by a failure.
    external: ['node:*'],
    logLevel: 'silent',
  })
  return { bytes: outputFiles[0]!.contents, inputs: inputsOf(metafile), left: externalsOf(metafile) }
}

const inputsOf = ({ outputs }: Metafile): string[] => Object.values(outputs).flatMap(({ inputs }) => Object.keys(inputs))
const externalsOf = ({ inputs }: Metafile): string[] =>
  Object.values(inputs).flatMap((input) => input.imports.filter(({ external, path }) => external === true || isBuiltin(path)).map(({ path }) => path))

describe('all of asfaleia/core', () => {
  test('holds no module of Node, and the files of a page in place of theirs', async () => {
    const { inputs, left } = await bundle("export * from 'asfaleia/core'")
    expect(left).toEqual([])
    expect(inputs.filter((file) => file.startsWith('dist/') && file.endsWith('.web.js')).toSorted()).toEqual([
      'dist/auth/crypto.web.js',
      'dist/client/dial.web.js',
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
    expect(inputs).toEqual(expect.arrayContaining(['dist/auth/crypto.js', 'dist/client/dial.js']))
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
