/**
 * Bundles the built package as a page's author would. The package's own name resolves to dist/, so run `npm run
 * build` first.
 */
import { isBuiltin } from 'node:module'
import { join } from 'node:path'
import { build } from 'esbuild'

const ROOT = join(import.meta.dirname, '../..')

export interface Bundle {
  readonly bytes: Uint8Array
  /** The bundled files, relative to the project's root. */
  readonly inputs: readonly string[]
  /** The modules of Node that the bundle still imports. */
  readonly left: readonly string[]
}

/** @param code a module that imports `asfaleia/core`, or files relative to the project's root */
export async function bundle(code: string, platform: 'browser' | 'node' = 'browser'): Promise<Bundle> {
  const { outputFiles, metafile } = await build({
    stdin: { contents: code, resolveDir: ROOT },
    outfile: 'core.js',
    bundle: true,
    format: 'esm',
    minify: true,
    platform,
    write: false,
    metafile: true,
    // Let the test report remaining imports of Node instead of failing the build.
    external: ['node:*'],
    logLevel: 'silent',
  })
  const imports = Object.values(metafile.inputs).flatMap((input) => input.imports)
  return {
    bytes: outputFiles[0]!.contents,
    inputs: Object.values(metafile.outputs).flatMap(({ inputs }) => Object.keys(inputs)),
    left: imports.filter(({ external, path }) => external === true || isBuiltin(path)).map(({ path }) => path),
  }
}
