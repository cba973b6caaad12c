/** Reads the state of a real tor by its control port. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { readTorState } from '../../src/tor/state.ts'
import { startTor } from '../../src/tor/process.ts'
import { missing } from '../support/programs.ts'

test('a real tor without a network is reported as starting, and as unreachable after it is killed', async (ctx) => {
  const reason = missing('tor')
  if (reason !== undefined) return ctx.skip(reason)
  const folder = mkdtempSync(join(tmpdir(), 'asfaleia-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  const running = await startTor({ folder, holdNetwork: false, torrc: ['SocksPort 0', 'DisableNetwork 1'] })
  onTestFinished(() => running.stop())
  const address = { kind: 'unix', path: running.controlPath } as const
  expect(await readTorState(address)).toEqual({ reachable: true, bootstrap: 0, summary: 'starting' })
  await running.kill()
  expect(await readTorState(address)).toMatchObject({ reachable: false })
})
