/** The built package as a page's author bundles it. The package's own name leads to dist/: `npm run build` comes first. */
import { isBuiltin } from 'node:module'
import { join } from 'node:path'
import { build } from 'esbuild'

const ROOT = join(import.meta.dirname, '../..')

export interface Bundle {
  readonly bytes: Uint8Array
  /** The files that it is made of, from the root of the project. */
  readonly inputs: readonly string[]
  /** Modules of Node that are left in it. */
  readonly left: readonly string[]
}

/** @param code of a module, which imports `asfaleia/core`, or files from the root of the project */
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
    // So that what is left is told by the test, and not by a failure.
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
