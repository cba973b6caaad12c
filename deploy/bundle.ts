/**
 * Bundles the program into few files, since Node needs 0.7 ms of CPU time to find, read and link each module
 * (docs/decisions/0026-few-files-to-load.md). Packages stay in node_modules, and load only when a command needs them.
 * Usage, after tsc: node deploy/bundle.ts
 */
import { build, type BuildOptions, type Plugin } from 'esbuild'
import { chmodSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

/**
 * The commands of people. They have a bundle of their own, which shares no file with the other: esbuild makes a file for
 * each set of commands that need the same modules, and a relay's commands would cut those of people into 40.
 */
const PEOPLE = ['me', 'contact', 'send', 'get', 'chat', 'group', 'join', 'key', 'profile']

const OPTIONS = {
  bundle: true,
  splitting: true,
  packages: 'external',
  format: 'esm',
  platform: 'node',
  target: 'node24',
  minify: true,
  logLevel: 'warning',
} as const satisfies BuildOptions

/**
 * Writes the program below a folder: dist/cli/main.js, and the two bundles beside it.
 * @param change plugins that change what is bundled, and the commands of the first bundle; there is no such bundle
 *   without them
 */
export async function bundle(
  folder: string,
  { plugins = [], people = PEOPLE }: { readonly plugins?: readonly Plugin[]; readonly people?: readonly string[] } = {},
): Promise<void> {
  const cli = join(folder, 'dist/cli')
  // Names of files change with their content. The modules of tsc stay: the library uses some of them.
  for (const each of ['all', 'people']) rmSync(join(cli, each), { recursive: true, force: true })
  const main = readFileSync('src/cli/main.ts', 'utf8')
  const choice =
    people.length === 0
      ? "'./all/process.js'"
      : `${JSON.stringify(people)}.includes(process.argv[2]) ? './people/process.js' : './all/process.js'`
  const contents = main.replace("'./process.ts'", choice)
  if (contents === main) throw new Error("src/cli/main.ts does not import './process.ts'")
  await build({
    ...OPTIONS,
    stdin: { contents, loader: 'ts', resolveDir: 'src/cli' },
    splitting: false,
    external: ['./people/*', './all/*'],
    // Node's permissions may hide package.json, which says that this is a module.
    footer: { js: 'export {}' },
    outfile: join(cli, 'main.js'),
  })
  chmodSync(join(cli, 'main.js'), 0o755)
  // The folders are as deep as those of the modules that name files by their own place.
  const options = { ...OPTIONS, entryPoints: ['src/cli/process.ts'] }
  await build({ ...options, outdir: join(cli, 'all'), plugins: [...plugins, version, encodings] })
  if (people.length > 0) await build({ ...options, outdir: join(cli, 'people'), plugins: [...plugins, version, encodings, only(people)] })
}

/** Leaves out the commands that the bundle never runs. */
function only(commands: readonly string[]): Plugin {
  return {
    name: 'only',
    setup({ onResolve }) {
      onResolve({ filter: /\/commands\/\w+\.ts$/ }, ({ path, kind }) =>
        kind === 'dynamic-import' && !commands.includes(/(\w+)\.ts$/.exec(path)![1]!) ? { path, external: true } : undefined,
      )
    },
  }
}

/** Writes the version into the code, which otherwise reads package.json at its place in the tree. */
export const version: Plugin = {
  name: 'version',
  setup({ initialOptions, onLoad }) {
    const { version } = JSON.parse(readFileSync(join(initialOptions.absWorkingDir ?? '.', 'package.json'), 'utf8')) as { version: string }
    onLoad({ filter: /\/src\/version\.ts$/ }, () => ({ contents: `export const PACKAGE_VERSION = ${JSON.stringify(version)}` }))
  },
}

/**
 * Takes @scure/base into the bundle: every command of people needs three functions of it, and they load ten times faster
 * without the rest.
 */
const encodings: Plugin = {
  name: 'encodings',
  setup({ onResolve }) {
    onResolve({ filter: /^@scure\/base$/ }, ({ path }) => ({ path: fileURLToPath(import.meta.resolve(path)), sideEffects: false }))
  },
}

if (import.meta.main) await bundle('.')
