/** The upkeep of tor in front of a relay, with a tor that ends at once. */
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import type { Screen } from '../../../src/cli/program/progress.ts'
import { keepTor, type Service } from '../../../src/cli/start/upkeep.ts'
import { createTestIo } from '../../support/terminal.ts'

let root: string
let service: Service
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'asf-upkeep-'))
  mkdirSync(join(root, 'bin'))
  writeFileSync(join(root, 'bin/tor'), '#!/bin/sh\necho "Nov 30 12:00:00.000 [warn] the disk is full"\nsleep 0.3\nexit 1\n')
  chmodSync(join(root, 'bin/tor'), 0o700)
  vi.stubEnv('PATH', `${join(root, 'bin')}:${process.env['PATH']}`)
  const at = (name: string): string => join(root, name)
  service = { pow: true, state: at('state'), tor: at('tor'), raw: at('raw'), http: at('http'), hostname: at('h'), nameFile: at('n') }
})
afterEach(() => {
  vi.unstubAllEnvs()
  rmSync(root, { recursive: true, force: true })
})

/** Keeps tor until it has ended once. @returns the lines for the user, and tor's configuration */
async function keep(changes: Partial<Service> = {}, env: Record<string, string> = {}): Promise<{ said: string[]; torrc: string }> {
  const over = new AbortController()
  const said: string[] = []
  const say = (line: string): void => {
    said.push(line)
    over.abort()
  }
  const screen = { say, progress: () => {} } as unknown as Screen
  const listener = { onReachable: async () => {}, onNoNetwork: async () => {} }
  await keepTor({ ...service, ...changes }, createTestIo(env), screen, over.signal, listener)
  return { said, torrc: readFileSync(join(root, 'tor/torrc'), 'utf8') }
}

test('closes the folder of the service, and says why tor ended', async () => {
  mkdirSync(service.state)
  chmodSync(service.state, 0o755)
  const { said, torrc } = await keep()
  expect(statSync(service.state).mode & 0o777).toBe(0o700)
  expect(said).toEqual(['error: tor ended with code 1: the disk is full; the relay keeps running, and tor restarts in 1 s'])
  expect(torrc).toContain(`\nHiddenServicePort 3308 unix:"${service.raw}"\n`)
  expect(torrc).toContain(`\nHiddenServicePort 80 unix:"${service.http}"\n`)
  expect(torrc).toContain('\nHiddenServicePoWDefensesEnabled 1\n')
})

test('asks for no proof-of-work defence of a tor without it, and adds the lines of the user', async () => {
  writeFileSync(join(root, 'extra'), 'Bridge 1.2.3.4:5\n')
  const { torrc } = await keep({ pow: false }, { ASFALEIA_TORRC_EXTRA: join(root, 'extra') })
  expect(torrc).not.toContain('PoW')
  expect(torrc).toContain('\nBridge 1.2.3.4:5\n')
  const missing = keep({}, { ASFALEIA_TORRC_EXTRA: join(root, 'missing') })
  await expect(missing).rejects.toThrow('cannot read the file in ASFALEIA_TORRC_EXTRA')
})

test('names another folder as the next step if it cannot use this one', async () => {
  writeFileSync(join(root, 'file'), '')
  await expect(keep({ state: join(root, 'file/state') })).rejects.toMatchObject({ hint: 'name another folder with --state' })
})
