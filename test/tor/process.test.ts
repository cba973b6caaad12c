/** The tor program as a child process, played by a script that never opens its control port. */
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { startTor, type TorError } from '../../src/tor/process.ts'
import { start } from '../support/process.ts'

const folder = mkdtempSync(join(tmpdir(), 'asf-tor-process-'))
afterAll(() => rmSync(folder, { recursive: true }))

const MODULE = new URL('../../src/tor/process.ts', import.meta.url).href

test('tor is killed when the program that started it exits', async () => {
  const program = join(folder, 'tor')
  // The shell replaces itself, so the printed number stays the process's own.
  writeFileSync(program, '#!/bin/sh\necho $$ > "$TOR_PID.new" && mv "$TOR_PID.new" "$TOR_PID"\nexec sleep 600\n')
  chmodSync(program, 0o700)
  const file = join(folder, 'pid')
  const source = `
    import { existsSync, readFileSync } from 'node:fs'
    import { setTimeout } from 'node:timers/promises'
    import { startTor } from '${MODULE}'
    startTor({ torrc: [], folder: '${join(folder, 'data')}', program: '${program}' }).catch(() => {})
    while (!existsSync('${file}')) await setTimeout(10)
    console.log(readFileSync('${file}', 'utf8').trim())
    process.exit(3)
  `
  const child = start([process.execPath, '--input-type=module', '--eval', source], { env: { TOR_PID: file } })
  const { code, stdout } = await child.finished
  expect(code).toBe(3)
  const pid = Number(stdout)
  expect(pid).toBeGreaterThan(1)
  try {
    await expect.poll(() => isAlive(pid), { timeout: 10_000 }).toBe(false)
  } finally {
    if (isAlive(pid)) process.kill(pid, 'SIGKILL')
  }
})

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}

/** Starts a tor that is a shell script. @returns the error of the start, and whether the process still runs */
async function fail(name: string, script: string, signal?: AbortSignal): Promise<{ error: unknown; alive: boolean }> {
  const program = join(folder, name)
  writeFileSync(program, `#!/bin/sh\necho $$ > "$0.pid"\n${script}\n`)
  chmodSync(program, 0o700)
  const started = startTor({ torrc: [], folder: join(folder, `${name}-data`), program, ...(signal !== undefined && { signal }) })
  const error: unknown = await started.then(() => undefined).catch((reason: unknown) => reason)
  const pid = Number(readFileSync(`${program}.pid`, 'utf8'))
  const alive = isAlive(pid)
  if (alive) process.kill(pid, 'SIGKILL')
  return { error, alive }
}

test('tor is killed if its control port does not answer', async () => {
  const { error, alive } = await fail('silent', 'echo "[notice] Opened Control listener connection (ready)"\nexec sleep 600')
  expect(error).toEqual(expect.objectContaining({ message: expect.stringContaining("tor's control port did not let us in") as string }))
  expect(alive).toBe(false)
})

test('tor is killed if its start is aborted', async () => {
  const over = new AbortController()
  const program = join(folder, 'slow.pid')
  const ending = fail('slow', 'exec sleep 600', over.signal)
  await expect.poll(() => readFileSync(program, { encoding: 'utf8', flag: 'a+' })).toMatch(/\n/)
  over.abort(new Error('enough'))
  expect(await ending).toEqual({ error: new Error('enough'), alive: false })
})

test('a tor that ends names its code, and its last five warnings', async () => {
  const lines = Array.from({ length: 7 }, (_, n) => `echo "Nov 30 12:00:00.000 [warn] number ${n}"`)
  const { error } = await fail('ends', `echo "Nov 30 12:00:00.000 [notice] hello"\n${lines.join('\n')}\nexit 3`)
  expect(error).toEqual(expect.objectContaining({ message: 'tor ended with code 3' }))
  await expect.poll(() => (error as TorError).said).toEqual([2, 3, 4, 5, 6].map((n) => `[warn] number ${n}`))
})
