/** What a command of the built program loads: `npm run build` first (docs/decisions/0026-few-files-to-load.md). */
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { type AddressInfo, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { ASFALEIA, run } from '../support/process.ts'

/** Prints the file of each module, after the command ended. */
const WATCH = `
import { registerHooks } from 'node:module'
const files = []
registerHooks({ load(url, context, next) { if (url.startsWith('file:')) files.push(url); return next(url, context) } })
process.on('exit', () => process.stderr.write('\\nloaded ' + JSON.stringify(files)))
`

async function load(words: readonly string[], env: Record<string, string> = {}): Promise<{ own: number; packages: readonly string[] }> {
  const [node, main] = ASFALEIA
  const { stderr } = await run([node, '--import', `data:text/javascript,${encodeURIComponent(WATCH)}`, main, ...words], { env })
  const files = JSON.parse(/\nloaded (.*)$/.exec(stderr)![1]!) as string[]
  const named = files.flatMap((file) => /.*node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(file)?.[1] ?? [])
  return { own: files.length - named.length, packages: [...new Set(named)].toSorted() }
}

test.each([
  ['--help', 8, []],
  ['send --help', 16, []],
  ['get --help', 16, []],
  ['contact --help', 16, []],
  ['me --help', 16, []],
  ['chat --help', 20, ['ansi-regex', 'get-east-asian-width', 'string-width', 'strip-ansi']],
  ['relay --help', 24, []],
  ['status --help', 24, []],
])('`asfaleia %s` loads %i files of ours at most, and of packages: %j', async (words, most, packages) => {
  const loaded = await load(words.split(' '))
  expect(loaded.packages).toEqual(packages)
  expect(loaded.own).toBeGreaterThan(3)
  expect(loaded.own).toBeLessThanOrEqual(most)
})

test.each([['send', 'bob', 'hello'], ['get']])('until its first packet, `asfaleia %s` loads no package', async (...words) => {
  const folder = mkdtempSync(join(tmpdir(), 'asfaleia-load-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  const heard: unknown[] = []
  // A SOCKS proxy that refuses, and so ends the command after its first packet.
  const proxy = createServer((socket) => {
    socket
      .on('error', () => {})
      .once('data', (bytes) => {
        heard.push(bytes)
        socket.end(Buffer.of(5, 0xff))
      })
  })
  proxy.listen(0, '127.0.0.1')
  await once(proxy, 'listening')
  const { port } = proxy.address() as AddressInfo
  onTestFinished(() => void proxy.close())
  const env = (name: string): Record<string, string> => ({ ASFALEIA_HOME: join(folder, name), ASFALEIA_SOCKS: `127.0.0.1:${port}` })
  const relay = ['--relay', '2gzyxa5ihm7nsggfxnu52rck2vv4rvmdlkiu3zzui5du4xyclen53wid.onion']
  const bob = await run([...ASFALEIA, 'me', '--name', 'Bob', ...relay], { env: env('bob') })
  await run([...ASFALEIA, 'me', '--name', 'Alice', ...relay], { env: env('alice') })
  expect((await run([...ASFALEIA, 'contact', 'add', bob.stdout.trim()], { env: env('alice') })).code).toBe(0)
  heard.splice(0)
  expect((await load(words, env('alice'))).packages).toEqual([])
  expect(heard.length).toBeGreaterThan(0)
})
