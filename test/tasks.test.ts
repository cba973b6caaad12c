/**
 * Runs every command of docs/tasks.md in order and unchanged, beside a local operator listener and a local
 * onion service folder.
 */
import { execFile } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { generatePrivateKey } from '../src/auth/private-key.ts'
import { COMMANDS } from '../src/cli/command.ts'
import { startOperator, type Operator } from '../src/operator/http.ts'
import { createService } from '../src/onion/service.ts'
import { createSnapshot } from './support/snapshot.ts'
import { writeFolder } from './support/service.ts'

const run = promisify(execFile)
const root = join(import.meta.dirname, '..')
const document = readFileSync(join(root, 'docs/tasks.md'), 'utf8')

/** Each command of the `console` blocks with its output; `…` stands for any text, alone on a line for any lines. */
const steps: { command: string; printed: string[] }[] = []
for (const [, block] of document.matchAll(/```console\n([^]*?)```/g)) {
  for (const line of block!.trimEnd().split('\n')) {
    if (line.startsWith('$ ')) steps.push({ command: line.slice(2), printed: [] })
    else steps.at(-1)!.printed.push(line)
  }
}

let folder: string
let operator: Operator
let panics = 0
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'asfaleia-'))
  writeFileSync(join(folder, 'asfaleia'), `#!/bin/sh\nexec ${process.execPath} ${join(root, 'src/cli/main.ts')} "$@"\n`, { mode: 0o755 })
  const key = generatePrivateKey('')
  writeFileSync(join(folder, 'backup-key'), key.file, { mode: 0o600 })
  writeFileSync(join(folder, 'backup-key.pub'), `${key.public}\n`)
  writeFileSync(join(folder, 'alice.pub'), `${key.public}\n`)
  writeFolder(join(folder, 'onion'), createService())
  operator = await startOperator(
    { kind: 'unix', path: join(folder, 'operator') },
    {
      snapshot: () => createSnapshot(),
      startTime: 0,
      uptime: () => 0,
      version: '1.2.3',
      probe: () => ({ reachable: true, seconds: 0.8, failures: 0, problem: undefined, ageSeconds: 3 }),
      panic: () => void panics++,
    },
  )
})
afterAll(async () => {
  await operator.close()
  rmSync(folder, { recursive: true })
})

test('every command of docs/tasks.md prints the output shown there', { timeout: 60_000 }, async () => {
  const env = {
    PATH: `${folder}:${process.env['PATH']}`,
    ASFALEIA_SERVICE: join(folder, 'onion'),
    ASFALEIA_ADMIT: join(folder, 'admit'),
    ASFALEIA_OPERATOR: `unix:${join(folder, 'operator')}`,
  }
  for (const { command, printed } of steps) {
    const { stdout, stderr } = await run('sh', ['-c', command], { cwd: folder, env })
    const lines = printed.map((line) =>
      line === '…'
        ? '[^]*?'
        : line
            .split('…')
            .map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'))
            .join('.*'),
    )
    // Put the command before its output, so that a failure names the command.
    expect(`${command}\n${stdout}${stderr}`).toMatch(new RegExp(`^.*\n${lines.join('\n')}\n?$`))
  }
  expect(panics).toBe(1)
})

test('docs/tasks.md shows every command for operators', () => {
  const shown = new Set(steps.map(({ command }) => command.split(' ')[1]))
  const people = [
    'start',
    'relay',
    'doctor',
    'key',
    'profile',
    'me',
    'contact',
    'group',
    'chat',
    'join',
    'page',
    'completion',
    'send',
    'get',
  ]
  expect([...shown].toSorted()).toEqual(
    Object.keys(COMMANDS)
      .filter((name) => !people.includes(name))
      .toSorted(),
  )
})
