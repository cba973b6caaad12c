/** A short soak: real processes, cut connections, and an account of each text. Memory needs the long one. */
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { run } from '../support/process.ts'

test('the soak accounts for every text', async () => {
  const soak = join(import.meta.dirname, '../soak/main.ts')
  const { code, stdout, stderr } = await run([process.execPath, soak, '--minutes', '0.1', '--people', '4', '--rate', '8'])
  expect({ code, stdout, stderr }).toMatchObject({ code: 0 })
  expect(stdout).toMatch(/\nclean\n/)
  const [, sent, shown] = /(\d+) texts and files sent, (\d+) shown/.exec(stdout) ?? []
  expect(Number(sent)).toBeGreaterThan(20)
  // A text of a killed client may get lost with it.
  expect(Number(shown)).toBeGreaterThan(20)
  expect(stdout).toMatch(/^[1-9]\d* clients killed, [1-9]\d* connections cut/m)
  // The soak itself waits 300 s for a text before it says which one is missing.
}, 400_000)
