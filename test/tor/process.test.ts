/** The tor program as a child process, played by a script that never opens its control port. */
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
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
  const isAlive = (): boolean => {
    try {
      return process.kill(pid, 0)
    } catch {
      return false
    }
  }
  try {
    await expect.poll(isAlive, { timeout: 10_000 }).toBe(false)
  } finally {
    if (isAlive()) process.kill(pid, 'SIGKILL')
  }
})
