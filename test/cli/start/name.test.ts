import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { setName } from '../../../src/cli/start/name.ts'
import { startTestRelay, type TestRelay } from '../../support/relay.ts'

async function nameFile(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'asfaleia-'))
  onTestFinished(() => rm(folder, { recursive: true }))
  return join(folder, 'name')
}

const refusals = ({ relay }: TestRelay): number => Object.values(relay.snapshot().counters.refused).reduce((sum, each) => sum + each, 0)

test('setName waits until the relay answers to the name', async () => {
  const file = await nameFile()
  const relay = await startTestRelay({ names: [] })
  onTestFinished(() => relay.close())
  let named = false
  const set = setName(file, 'localhost', relay.address, new AbortController().signal).then(() => (named = true))
  // It has asked twice, so it waits after a refusal.
  await expect.poll(() => refusals(relay), { timeout: 20_000 }).toBeGreaterThan(1)
  expect({ named, file: await readFile(file, 'utf8') }).toEqual({ named: false, file: 'localhost\n' })
  relay.relay.addName('localhost')
  expect(await set).toBe(true)
})

test.each([
  ['the relay has no TCP door', ''],
  ['the command ends', '127.0.0.1:1'],
])('setName does not wait if %s', async (_why, tcp) => {
  const file = await nameFile()
  await setName(file, 'localhost', tcp, tcp === '' ? new AbortController().signal : AbortSignal.abort())
  expect(await readFile(file, 'utf8')).toBe('localhost\n')
})
