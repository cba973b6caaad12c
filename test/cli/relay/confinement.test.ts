/** The permissions of the relay's process: a probe with the same flags tries everything that must be denied. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { beforeAll, afterAll, describe, expect, onTestFinished, test } from 'vitest'
import { fetchPage, type RunningRelay, startRelay } from '../../support/scenario.ts'
import { ASFALEIA, run, start } from '../../support/process.ts'
import { connectRaw, createPerson } from '../../support/wire.ts'

let folder: string
let relay: RunningRelay
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'asfaleia-'))
  writeFileSync(join(folder, 'admit'), '# nobody\n')
  relay = await startRelay({ folder, more: ['--admit', join(folder, 'admit')] })
})
afterAll(async () => {
  await relay.end('SIGKILL')
  rmSync(folder, { recursive: true })
})

/** Reads Node's flags and the environment of the relay. */
function conditions(pid: number): { flags: string[]; env: Record<string, string> } {
  const words = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0')
  const env = readFileSync(`/proc/${pid}/environ`, 'utf8')
    .split('\0')
    .filter((line) => line !== '')
  return {
    flags: words.slice(
      1,
      words.findIndex((word) => word.endsWith('main.js')),
    ),
    env: Object.fromEntries(env.map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)])),
  }
}

/** Each attempt throws if it is denied. */
const TRIES: Record<string, string> = {
  'write a file': "fs.writeFileSync('kept', '')",
  'write beside its socket': "fs.writeFileSync(process.argv[2] + '/kept', '')",
  'read another file': "fs.readFileSync('/etc/passwd')",
  'read a folder': "fs.readdirSync('/')",
  'start a program': "child.spawnSync('true').error && (() => { throw child.spawnSync('true').error })()",
  'replace itself': "process.execve(process.execPath, ['node', '-v'])",
  'start a thread': 'new worker.Worker("1", { eval: true })',
  'load an addon': "process.dlopen({ exports: {} }, '/no.node')",
  'open the inspector': 'inspector.open(0)',
  'write a heap snapshot': 'v8.writeHeapSnapshot()',
  'write a report': "if (process.report.writeReport('r.json') === '') throw Object.assign(new Error(), { code: 'ERR_ACCESS_DENIED' })",
  'open a database': "process.getBuiltinModule('sqlite') ?? (() => { throw Object.assign(new Error(), { code: 'absent' }) })()",
}

test("the relay's flags deny every attempt to store, start or open anything", async () => {
  const { flags, env } = conditions(relay.pid)
  const probe = join(folder, 'probe.mjs')
  writeFileSync(
    probe,
    `import fs from 'node:fs'
import child from 'node:child_process'
import worker from 'node:worker_threads'
import inspector from 'node:inspector'
import v8 from 'node:v8'
const tries = { ${Object.entries(TRIES)
      .map(([name, source]) => `${JSON.stringify(name)}: () => { ${source} }`)
      .join(', ')} }
for (const [name, attempt] of Object.entries(tries)) {
  let outcome = 'let through'
  try { attempt() } catch (error) { outcome = error.code }
  console.log(name + ': ' + outcome)
}`,
  )
  const tried = async (given: readonly string[]): Promise<Record<string, string>> => {
    const { stdout } = await run([process.execPath, ...given, probe, folder], { env, cwd: folder })
    return Object.fromEntries(
      stdout
        .trim()
        .split('\n')
        .map((line) => line.split(': ') as [string, string]),
    )
  }
  const outcomes = await tried([...flags, `--allow-fs-read=${probe}`])
  expect(Object.keys(outcomes)).toEqual(Object.keys(TRIES))
  expect(
    Object.entries(outcomes).filter(([, outcome]) => !['ERR_ACCESS_DENIED', 'ERR_DLOPEN_DISABLED', 'absent'].includes(outcome)),
  ).toEqual([])
  // Control: the attempts succeed without the flags.
  const { 'write a file': write, 'read another file': read } = await tried([])
  expect([write, read]).toEqual(['let through', 'let through'])
})

test('giveUp() drops the rights to write, to dial and to read its own code', async () => {
  const { flags, env } = conditions(relay.pid)
  const probe = join(folder, 'given.mjs')
  const dist = join(import.meta.dirname, '../../../dist')
  writeFileSync(
    probe,
    `const { giveUp } = await import(${JSON.stringify(join(dist, 'cli/relay/confinement.js'))})
const socket = ${JSON.stringify(join(folder, 'r.sock'))}
const admit = ${JSON.stringify(join(folder, 'admit'))}
const { permission } = process
const rights = () => [permission.has('fs.write', socket), permission.has('fs.read', ${JSON.stringify(join(dist, 'server/server.js'))}), permission.has('fs.read', admit)].join()
const before = rights()
giveUp({ unix: { kind: 'unix', path: socket }, admit }, [])
console.log(before, rights(), permission.has('net'))`,
  )
  const { stdout, stderr } = await run([process.execPath, ...flags, `--allow-fs-read=${probe}`, probe], { env, cwd: folder })
  expect([stdout, stderr]).toEqual(['true,true,true false,false,true false\n', ''])
})

test('the relay still reloads, refuses logins and answers its operator after giveUp()', async () => {
  process.kill(relay.pid, 'SIGHUP')
  await relay.until(/"event":"admit-reloaded","ok":true/)
  const wire = await connectRaw(relay.doors.tcp)
  await expect(wire.login(createPerson())).rejects.toThrow('99;denied;')
  for (const path of ['/livez', '/readyz', '/metrics', '/status', '/nothing', '/%zz'])
    expect(await fetchPage(relay.doors.operator, path)).toMatch(/^[24]0\d /)
})

test('the relay ignores the signals that would open the inspector, write a report or end it', async () => {
  for (const signal of ['SIGUSR1', 'SIGUSR2'] as const) process.kill(relay.pid, signal)
  expect(await fetchPage(relay.doors.operator, '/livez')).toMatch(/^200 /)
  const { flags } = conditions(relay.pid)
  expect(flags).toContain('--disable-sigusr1')
})

describe("the relay's environment", () => {
  const options = ['--name', 'localhost', '--tcp', '127.0.0.1:0', '--http', 'off', '--operator', 'off']

  test('loses the variables that make Node write, with a log event, and keeps harmless ones', async () => {
    const env = {
      NODE_OPTIONS: '--max-old-space-size=512 --report-on-fatalerror',
      NODE_V8_COVERAGE: join(folder, 'coverage'),
      NODE_DEBUG: 'net',
    }
    const child = start([...ASFALEIA, 'relay', ...options], { env })
    onTestFinished(async () => void (await child.end('SIGKILL')))
    await child.until(/^ready$/m)
    await child.until(/"event":"unsafe","check":"node-options"/)
    const { env: kept } = conditions(child.pid)
    expect(kept['NODE_OPTIONS']).toBe('--max-old-space-size=512')
    expect(kept).not.toHaveProperty('NODE_V8_COVERAGE')
    expect(kept).not.toHaveProperty('NODE_DEBUG')
  })

  test('with such variables stops a strict relay with a hint for each', async () => {
    const strict = [...ASFALEIA, 'relay', ...options, '--strict', 'on', '--allow-unsafe', 'swap,core-dumps,root,working-directory']
    const { code, stdout, stderr } = await run(strict, { env: { NODE_OPTIONS: '--report-on-fatalerror' } })
    expect([code, stdout]).toEqual([1, ''])
    expect(stderr).toMatch(/^asfaleia: error: node-options: .*NODE_OPTIONS\nasfaleia: hint: .*--allow-unsafe node-options\n$/)
    const child = start(strict)
    onTestFinished(async () => void (await child.end('SIGKILL')))
    await child.until(/^ready$/m)
  })
})
