import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { setName } from '../../../src/cli/start/name.ts'
import { startTestRelay } from '../../support/relay.ts'

async function nameFile(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'asfaleia-'))
  onTestFinished(() => rm(folder, { recursive: true }))
  return join(folder, 'name')
}

test('setName waits until the relay answers to the name', async () => {
  const file = await nameFile()
  const relay = await startTestRelay({ names: [] })
  onTestFinished(() => relay.close())
  let named = false
  const set = setName(file, 'localhost', relay.address, new AbortController().signal).then(() => (named = true))
  await new Promise((resolve) => setTimeout(resolve, 200))
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
