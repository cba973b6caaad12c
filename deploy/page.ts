/**
 * Builds the web page: one HTML file that contains its style and its script, and that loads nothing else. The same sources
 * give the same bytes in every folder, so that anyone can compare a page with its source.
 * Usage: node deploy/page.ts
 */
import { createHash } from 'node:crypto'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { wordlist } from '@scure/bip39/wordlists/english.js'
import { build, type BuildOptions, type Plugin } from 'esbuild'
import { version } from './bundle.ts'

/** The file, relative to the project's root. */
export const PAGE = 'dist/page/asfaleia.html'

/** Tor Browser 15 is Firefox 140. Chromium has all that the page needs since 137 (docs/clients.md). */
const TARGET = ['firefox140', 'chrome137']

/** Builds the page. @param root the project's root: a checkout with its packages */
export async function buildPage(root: string): Promise<string> {
  return (await buildWithPackages(root)).page
}

/** As {@link buildPage}, and returns the folders of the packages whose code is in the page, relative to the root. */
export async function buildWithPackages(root: string): Promise<{ readonly page: string; readonly packages: readonly string[] }> {
  const sources = join(root, 'src/page')
  const options = {
    absWorkingDir: resolve(root),
    bundle: true,
    format: 'esm',
    platform: 'browser',
    target: TARGET,
    jsx: 'automatic',
    jsxImportSource: 'preact',
    // Otherwise the settings for Node would apply, and settings in folders above.
    tsconfigRaw: { compilerOptions: { verbatimModuleSyntax: true } },
    charset: 'utf8',
    // The licenses of packages ask for their notices in every copy.
    legalComments: 'eof',
    minify: true,
    write: false,
    metafile: true,
    logLevel: 'warning',
  } as const satisfies BuildOptions
  const [script, style] = await Promise.all([
    build({ ...options, entryPoints: [join(sources, 'main.tsx')], plugins: [version, replacements(root), singles(root), age, qr, words] }),
    build({ ...options, entryPoints: [join(sources, 'page.css')] }),
  ])
  const contents = { script: embeddable('script', script.outputFiles[0]!.text), style: embeddable('style', style.outputFiles[0]!.text) }
  const parts: Readonly<Record<string, string>> = { ...contents, policy: policyOf(contents) }
  const page = readFileSync(join(sources, 'page.html'), 'utf8').replaceAll(/\{(policy|style|script)\}/g, (_match, name) => parts[name]!)
  const [output] = Object.values(script.metafile.outputs)
  const inputs = Object.entries(output!.inputs).filter(([, { bytesInOutput }]) => bytesInOutput > 0)
  const folders = inputs.flatMap(([file]) => /.*node_modules\/(?:@[^/]+\/)?[^/]+/.exec(file) ?? [])
  return { page, packages: [...new Set(folders)].toSorted() }
}

/** Returns the Content-Security-Policy: the script and the style of the file, onion services, and nothing else. */
function policyOf({ script, style }: { readonly script: string; readonly style: string }): string {
  return [
    "default-src 'none'",
    `script-src '${hashOf(script)}'`,
    `style-src '${hashOf(style)}'`,
    'img-src data: blob:',
    'connect-src ws://*.onion ws://*.onion:*',
    "base-uri 'none'",
    "form-action 'none'",
    "require-trusted-types-for 'script'",
    "trusted-types 'none'",
  ].join('; ')
}

function hashOf(text: string): string {
  return `sha256-${createHash('sha256').update(text).digest('base64')}`
}

/** Checks that a browser reads an element's text as it stands. @throws if the text ends the element, or if a browser changes it */
function embeddable(element: 'script' | 'style', text: string): string {
  const broken = new RegExp(`</${element}|<!--|[\\r\\0]`, 'i').exec(text)
  if (broken !== null) throw new Error(`the page's ${element} contains ${JSON.stringify(broken[0])}, which HTML reads otherwise`)
  return text
}

/** Replaces modules for Node by those for a page, as the field `browser` of package.json tells bundlers to. */
function replacements(root: string): Plugin {
  const { browser } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { browser: Readonly<Record<string, string>> }
  const sourceOf = (built: string): string => resolve(root, built.replace('./dist/', 'src/').replace(/\.js$/, '.ts'))
  const replaced = new Map(Object.entries(browser).map(([from, to]) => [sourceOf(from), sourceOf(to)]))
  return {
    name: 'replacements',
    setup({ onResolve }) {
      onResolve({ filter: /^\..*\.ts$/ }, ({ path, resolveDir }) => {
        const replacement = replaced.get(resolve(resolveDir, path))
        return replacement === undefined ? undefined : { path: replacement }
      })
    },
  }
}

/**
 * Takes one copy of @noble/curves and @noble/hashes: @noble/post-quantum has older ones of its own, 40 KB. The page's
 * tests compare ML-KEM by the copy taken with that of Node.
 */
export function singles(root: string): Plugin {
  return {
    name: 'singles',
    setup({ onResolve, resolve: find }) {
      onResolve({ filter: /^@noble\/(?:curves|hashes)\// }, ({ path, importer, kind }) =>
        importer.includes('/@noble/post-quantum/') ? find(path, { kind, resolveDir: resolve(root, 'src/page') }) : undefined,
      )
    },
  }
}

/** The modules that age-encryption imports for parts that the page never uses, and their names. */
const UNUSED = [
  ['@noble/hashes/scrypt.js', ['scrypt']],
  ['@noble/curves/nist.js', ['p256']],
  ['@noble/post-quantum/hybrid.js', ['MLKEM768P256', 'MLKEM768X25519']],
] as const

/** What the classes of age-encryption do for passphrases, streams, texts, and keys as text: the page has none of these. */
const CUT = [
  [/^ {4}(?:async )?(?:setPassphrase|setScryptWorkFactor|addPassphrase|decryptHeader)\(\w+\) \{\n[^]*?^ {4}\}\n/gm, ''],
  [/^ {4}(?:passphrase|scryptWorkFactor) = .*\n/gm, ''],
  [/^ {8}if \(this\.passphrase !== null\) \{\n[^]*?^ {8}\}\n/gm, ''],
  [/^ {8}if \((?:outputFormat === "text"|file instanceof ReadableStream)\)\n.*;\n/gm, ''],
  [/Object\.assign\((.+), \{\n +size: .*\n +\}\)/g, '$1'],
  [/s\.startsWith\("age1pq1"\)[^]*?s\.startsWith\("age1"\)/g, 's.startsWith("age1")'],
  [/else if \(s\.startsWith\("AGE-SECRET-KEY-PQ-1"\)\) \{\n.*\n +\}/g, ''],
] as const

/**
 * Leaves out the parts of age-encryption that the page never uses: its modules for armor and for passkeys, which it exports
 * whole; scrypt, which takes a browser without a JIT half a minute; recipients on P-256, which no card has; and its own form of
 * post-quantum recipients, in whose place there is src/auth/age-hybrid.ts.
 */
const age: Plugin = {
  name: 'age',
  setup({ onLoad, onResolve }) {
    onLoad({ filter: /\/age-encryption\/dist\/index\.js$/ }, ({ path }) => {
      const code = readFileSync(path, 'utf8')
      const contents = code
        .replaceAll(/^export \* as (?:armor|webauthn) from .*$/gm, '')
        .replaceAll(/^import \{ ((?:Hybrid|Scrypt|Tag)\w+), (\w+) \} from "\.\/recipients\.js";$/gm, 'class $1 {}\nclass $2 {}')
      if (/Scrypt\w+ \}|as webauthn/.test(contents) || CUT.some(([part]) => contents.search(part) === -1))
        throw new Error('age-encryption names its parts in another way')
      const rest = CUT.reduce((text, [part, instead]) => text.replaceAll(part, instead), contents)
      return { contents: rest, resolveDir: dirname(path) }
    })
    for (const [module, names] of UNUSED)
      onResolve({ filter: new RegExp(`^${module}$`) }, ({ importer }) =>
        importer.includes('/age-encryption/') ? { path: names.join(), namespace: 'unused' } : undefined,
      )
    onLoad({ filter: /./, namespace: 'unused' }, ({ path }) => ({
      contents: path
        .split(',')
        .map((name) => `export const ${name} = () => { throw new Error('the page has no ${name}') }\n`)
        .join(''),
    }))
  },
}

/** Leaves out the forms of a QR code that the page never draws: text, SVG and GIF. */
const qr: Plugin = {
  name: 'qr',
  setup({ onLoad }) {
    onLoad({ filter: /\/qr\/index\.js$/ }, ({ path }) => {
      const code = readFileSync(path, 'utf8')
      const forms = /^ +if \(output === '(?:ascii|term|svg|gif|data-url)'\)\n +return .*;\n/gm
      if (code.match(forms)?.length !== 5) throw new Error('qr names its forms in another way')
      return { contents: code.replaceAll(forms, ''), resolveDir: dirname(path) }
    })
  },
}

/** Writes the list of safety words as the part that each word shares with the one before, and the rest: 2 KB less. */
const words: Plugin = {
  name: 'words',
  setup({ onLoad }) {
    onLoad({ filter: /\/bip39\/wordlists\/english\.js$/ }, () => {
      const shared = (one: string, other: string): number => [...one].findIndex((letter, n) => letter !== other[n])
      const text = wordlist.map((word, n) => {
        const count = shared(word, wordlist[n - 1] ?? '')
        return `${count}${word.slice(count)}`
      })
      const decode = (all: string): string[] =>
        [...all.matchAll(/(\d)([a-z]+)/g)].reduce<string[]>(
          (list, [, count, rest]) => [...list, (list.at(-1) ?? '').slice(0, Number(count)) + rest],
          [],
        )
      if (decode(text.join('')).join() !== wordlist.join()) throw new Error('the list of safety words changed its form')
      const contents = `export const wordlist = []
for (const [, count, rest] of ${JSON.stringify(text.join(''))}.matchAll(/(\\d)([a-z]+)/g)) wordlist.push((wordlist.at(-1) ?? '').slice(0, count) + rest)`
      return { contents }
    })
  },
}

if (import.meta.main) {
  mkdirSync(dirname(PAGE), { recursive: true })
  writeFileSync(PAGE, await buildPage('.'))
}
