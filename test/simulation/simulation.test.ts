/**
 * Runs the simulation (main.ts) as the program that it is. By default the scenarios are the same each time, so that a new
 * seed does not fail the test of an unrelated change. `SIMULATE_SECONDS=60` tries new seeds.
 */
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { start } from '../support/process.ts'

const MAIN = join(import.meta.dirname, 'main.ts')
const SECONDS = process.env['SIMULATE_SECONDS']
const CHOICE = SECONDS === undefined ? ['--minutes', '3', '--scenarios', '10', '--seed', 'g'] : ['--minutes', String(Number(SECONDS) / 60)]

describe('the whole system in virtual time', () => {
  it('does the same, byte for byte, if a seed runs twice', async () => {
    const { code, stdout, stderr } = await start([process.execPath, MAIN, '--twice', '--seed', 'determinism']).finished
    expect({ code, stdout, stderr }).toMatchObject({ code: 0, stdout: expect.stringContaining('both runs are the same') })
  }, 300_000)

  it(`keeps all invariants: ${CHOICE.join(' ')}`, async () => {
    const { code, stdout, stderr } = await start([process.execPath, MAIN, ...CHOICE]).finished
    process.stdout.write(stdout)
    expect({ code, stdout, stderr }).toMatchObject({ code: 0 })
  }, 600_000)
})
