/**
 * Writes to a folder the files that the relay's image needs: the program without the commands that the image has not, the
 * web page, the files of packages that it loads, and nothing else. Run by deploy/relay/Dockerfile after the build.
 * Writes to LIST the packages whose code is in the web page, as `name@version`.
 * Usage: node deploy/relay/files.ts FOLDER LIST
 */
import { build, type Plugin } from 'esbuild'
import { cpSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { bundle } from '../bundle.ts'
import { buildWithPackages, PAGE } from '../page.ts'

/** The commands of the containers `relay` and `keys`. The others belong to users, or start programs that the image has not. */
const COMMANDS = ['relay', 'doctor', 'status', 'address', 'backup', 'restore', 'rotate', 'admit', 'invite', 'member', 'client', 'panic']

const [folder, list] = process.argv.slice(2)
if (folder === undefined || list === undefined) throw new Error('expected the folder to write to, and the file of the list')

/** Replaces the commands that the image has not by a refusal. */
const commands: Plugin = {
  name: 'commands',
  setup({ onLoad }) {
    onLoad({ filter: /\/src\/cli\/commands\/\w+\.ts$/ }, ({ path }) => {
      const [, name = ''] = /(\w+)\.ts$/.exec(path)!
      if (COMMANDS.includes(name)) return undefined
      const contents = `import { UsageError } from '../program/error.ts'
export const page = {}
export const run = () => {
  throw new UsageError('this image has only the commands of a relay', { hint: 'asfaleia ${name} is in the npm package' })
}
export const createRun = () => run
`
      return { contents, loader: 'ts', resolveDir: dirname(path) }
    })
  },
}

await bundle(folder, { plugins: [commands], people: [] })
const web = await buildWithPackages('.')
mkdirSync(join(folder, dirname(PAGE)), { recursive: true })
writeFileSync(join(folder, PAGE), web.page)
const identities = web.packages.map((each) => {
  const { name, version } = JSON.parse(readFileSync(join(each, 'package.json'), 'utf8')) as { name: string; version: string }
  return `${name}@${version}`
})
writeFileSync(list, JSON.stringify(identities))

const { metafile } = await build({
  entryPoints: ['src/cli/main.ts'],
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
  plugins: [commands],
})

const loaded = ['package.json', ...Object.keys(metafile.inputs).filter((file) => file.startsWith('node_modules/'))]
const files = new Set(loaded)
// Node needs the package.json of each package, and of folders within, to know what a module is.
for (const file of loaded)
  for (let at = dirname(file); at !== '.'; at = dirname(at)) if (existsSync(join(at, 'package.json'))) files.add(join(at, 'package.json'))
for (const file of files) {
  mkdirSync(join(folder, dirname(file)), { recursive: true })
  cpSync(file, join(folder, file))
}
const packages = new Set([...files].flatMap((file) => /.*node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(file)?.[1] ?? []))
process.stdout.write(`${packages.size} packages with ${files.size - 1} files\n`)
