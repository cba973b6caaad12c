/** Runs the simulation (main.ts) as the program that it is. `SIMULATE_SECONDS` sets the time for new seeds. */
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { start } from '../support/process.ts'

const MAIN = join(import.meta.dirname, 'main.ts')
const SECONDS = Number(process.env['SIMULATE_SECONDS'] ?? 30)

describe('the whole system in virtual time', () => {
  it('does the same, byte for byte, if a seed runs twice', async () => {
    const { code, stdout, stderr } = await start([process.execPath, MAIN, '--twice', '--seed', 'determinism']).finished
    expect({ code, stdout, stderr }).toMatchObject({ code: 0, stdout: expect.stringContaining('both runs are the same') })
  }, 300_000)

  it(`keeps all invariants with the named seeds and ${SECONDS} s of new ones`, async () => {
    const { code, stdout, stderr } = await start([process.execPath, MAIN, '--minutes', String(SECONDS / 60)]).finished
    process.stdout.write(stdout)
    expect({ code, stdout, stderr }).toMatchObject({ code: 0 })
  }, 600_000)
})
