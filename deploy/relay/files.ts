/**
 * Copies to a folder the files that the relay's image needs: the built modules that its commands can load, the files of
 * packages that these load, and nothing else. Run by deploy/relay/Dockerfile after the build.
 * Usage: node deploy/relay/files.ts FOLDER
 */
import { build } from 'esbuild'
import { cpSync, existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'

/** The commands of the containers `relay` and `keys`. The others belong to users, or start programs that the image has not. */
const COMMANDS = ['relay', 'doctor', 'status', 'address', 'backup', 'restore', 'rotate', 'admit', 'invite', 'member', 'client', 'panic']

const folder = process.argv[2]
if (folder === undefined) throw new Error('expected the folder to copy to')

/** Modules of commands that the image does not have. */
const others = new Set<string>()
const { metafile } = await build({
  entryPoints: ['dist/cli/main.js'],
  bundle: true,
  write: false,
  metafile: true,
  platform: 'node',
  format: 'esm',
  splitting: true,
  // Node loads every file that is imported, and knows neither `sideEffects` nor the condition `module`.
  ignoreAnnotations: true,
  treeShaking: false,
  conditions: ['node'],
  outdir: 'unused',
  logLevel: 'error',
  plugins: [
    {
      name: 'commands',
      setup({ onResolve }) {
        onResolve({ filter: /^\.\/commands\/\w+\.js$/ }, ({ path }) => {
          const [, name = ''] = /(\w+)\.js$/.exec(path)!
          if (COMMANDS.includes(name)) return undefined
          others.add(name)
          return { path, external: true }
        })
      },
    },
  ],
})

const loaded = ['package.json', ...Object.keys(metafile.inputs)]
const files = new Set(loaded)
// Node needs the package.json of each package, and of folders within, to know what a module is.
for (const file of loaded)
  for (let at = dirname(file); at !== '.'; at = dirname(at)) if (existsSync(join(at, 'package.json'))) files.add(join(at, 'package.json'))
for (const file of files) {
  mkdirSync(join(folder, dirname(file)), { recursive: true })
  cpSync(file, join(folder, file))
}
for (const name of others)
  writeFileSync(
    join(folder, `dist/cli/commands/${name}.js`),
    `import { UsageError } from '../program/error.js'
export const run = () => {
  throw new UsageError('this image has only the commands of a relay', { hint: 'asfaleia ${name} is in the npm package' })
}
export const createRun = () => run
`,
  )
const packages = new Set([...files].flatMap((file) => /.*node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(file)?.[1] ?? []))
process.stdout.write(`${packages.size} packages, ${files.size + others.size} files\n`)
