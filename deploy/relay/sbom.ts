/**
 * Prints the software bill of materials of the relay's image (CycloneDX): the npm packages that the image has, those in its
 * web page, Node, and the Debian packages of its libraries. It leaves out the number and the time that npm adds, so that
 * the same sources give the same file. Run by deploy/relay/Dockerfile.
 * Usage: node deploy/relay/sbom.ts NPM_SBOM PAGE_PACKAGES FOLDER LIBRARY…
 */
import { execFileSync } from 'node:child_process'
import { globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

interface Component {
  readonly 'bom-ref'?: string
  readonly type: string
  readonly name: string
  readonly version: string
  readonly purl: string
}
interface Bom {
  readonly metadata: { readonly component: Component }
  readonly components: readonly Component[]
  readonly dependencies: readonly { readonly ref: string; readonly dependsOn: readonly string[] }[]
}

const [sbom = '', list = '', folder = '', ...libraries] = process.argv.slice(2)
const { metadata, components, dependencies, ...rest } = JSON.parse(readFileSync(sbom, 'utf8')) as Bom
const { name } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as { name: string }

/** The packages in the folder, and in the web page, as `name@version`. */
const installed = new Set(
  globSync('**/node_modules/{*,@*/*}/package.json', { cwd: folder }).map((file) => {
    const { name, version } = JSON.parse(readFileSync(join(folder, file), 'utf8')) as { name?: string; version?: string }
    return `${name}@${version}`
  }),
)

for (const each of JSON.parse(readFileSync(list, 'utf8')) as string[]) installed.add(each)

const present = components.filter(({ name, version }) => installed.has(`${name}@${version}`))
const refs = new Set([metadata.component, ...present].map((each) => each['bom-ref']))

const debian = (...words: string[]): string[] => execFileSync('dpkg-query', words, { encoding: 'utf8' }).trim().split('\n')
const owners = libraries.length === 0 ? [] : debian('--search', ...libraries).map((line) => line.slice(0, line.lastIndexOf(': ')))
const packages = owners.length === 0 ? [] : debian('--show', '--showformat=${Package} ${Version} ${Architecture}\n', ...new Set(owners))

process.stdout.write(
  `${JSON.stringify(
    {
      ...rest,
      serialNumber: undefined,
      metadata: { component: { ...metadata.component, name } },
      components: [
        ...present,
        { type: 'platform', name: 'node', version: process.versions.node, purl: `pkg:generic/node@${process.versions.node}` },
        ...packages.toSorted().map((line) => {
          const [name = '', version = '', architecture = ''] = line.split(' ')
          return { type: 'library', name, version, purl: `pkg:deb/debian/${name}@${encodeURIComponent(version)}?arch=${architecture}` }
        }),
      ],
      dependencies: dependencies
        .filter(({ ref }) => refs.has(ref))
        .map(({ ref, dependsOn }) => ({ ref, dependsOn: dependsOn.filter((each) => refs.has(each)) })),
    },
    null,
    1,
  )}\n`,
)
