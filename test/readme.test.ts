/** Runs the README's transcript line by line and unchanged against a local relay. */
import { execFile } from 'node:child_process'
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { parseConfig } from '../src/config/config.ts'
import { type RunningServer, startServer } from '../src/server/server.ts'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const run = promisify(execFile)

/** Reads the commands of the first `console` block with their user and their output; `…` stands for any text. */
function readTranscript(): { who: string; command: string; printed: string[] }[] {
  const block = /```console\n([^]*?)```/.exec(readFileSync(join(root, 'README.md'), 'utf8'))![1]!
  const steps: { who: string; command: string; printed: string[] }[] = []
  for (const line of block.trimEnd().split('\n')) {
    const [, who, command] = /^(alice|bob)\$ (.*)$/.exec(line) ?? []
    if (who !== undefined && command !== undefined) steps.push({ who, command, printed: [] })
    else steps.at(-1)!.printed.push(line)
  }
  return steps
}

let folder: string
let server: RunningServer
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'asfaleia-'))
  // `npx asfaleia` in a checkout runs the program of the checkout.
  writeFileSync(join(folder, 'npx'), `#!/bin/sh\nshift\nexec ${process.execPath} ${join(root, 'src/cli/main.ts')} "$@"\n`)
  chmodSync(join(folder, 'npx'), 0o755)
  const argv = ['--tcp', '127.0.0.1:0', '--http', 'off', '--operator', 'off', '--name', 'localhost']
  const parsed = parseConfig({ env: {}, argv, readFile: () => '' })
  if (!('config' in parsed)) throw new Error('the configuration is refused')
  server = await startServer(parsed.config, { event: () => {} }, '0.0.0')
})
afterAll(async () => {
  await server.close()
  rmSync(folder, { recursive: true })
})

it("the README's transcript runs as printed", async () => {
  const steps = readTranscript()
  expect(steps.length).toBeGreaterThan(3)
  // From the first command to the first received message.
  const received = steps.findIndex(({ printed }) => printed.includes('Alice: the kettle is on'))
  for (const person of ['alice', 'bob']) {
    const count = steps.slice(0, received + 1).filter(({ who }) => who === person).length
    expect(count).toBeGreaterThan(0)
    expect(count).toBeLessThanOrEqual(5)
  }
  const { address } = server.listening[0]!
  const env: Record<string, string> = {
    PATH: `${folder}:${process.env['PATH']}`,
    RELAY: address.kind === 'tcp' ? `localhost:${address.port}` : '',
  }
  for (const { who, command, printed } of steps) {
    const { stdout, stderr } = await run('sh', ['-c', command], { cwd: folder, env: { ...env, HOME: join(folder, who) } })
    // Each user's link is the other user's input.
    if (stdout.startsWith('asfaleia:card/')) env[who.toUpperCase()] = stdout.trim()
    const pattern = printed.map((line) =>
      line
        .split('…')
        .map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'))
        .join('.*'),
    )
    expect(`${stdout}${stderr}`).toMatch(new RegExp(`^${pattern.join('\n')}\n$`))
  }
}, 120_000)
