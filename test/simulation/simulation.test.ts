/**
 * Runs the simulation (main.ts) as the program that it is: all named plans, and for a minute seeds that are new for each
 * commit. A new seed may find a defect that is older than the change under test. The output then says so, with the seed and
 * the story; keep the plan that `--save` writes in plans/. Twenty more seeds give villages whose texts have two copies
 * (copies.ts).
 */
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { commitSeed } from '../support/commit.ts'
import { start } from '../support/process.ts'

const MAIN = [process.execPath, '--max-semi-space-size=64', join(import.meta.dirname, 'main.ts')]
const SECONDS = Number(process.env['SIMULATE_SECONDS'] ?? '60')

describe('the whole system in virtual time', () => {
  it('does the same, byte for byte, if a seed runs twice', async () => {
    const { code, stdout, stderr } = await start([...MAIN, '--twice', '--seed', 'determinism']).finished
    expect({ code, stdout, stderr }).toMatchObject({ code: 0, stdout: expect.stringContaining('both runs are the same') })
    expect(stdout).toMatch(/, [1-9]\d* people with secrecy/)
  }, 300_000)

  it('loses no text and shows none twice if one of two relays dies while all writers are offline', async () => {
    const words = ['--copies', '--no-plans', '--scenarios', '20', '--minutes', '5', '--seed', commitSeed()]
    const { code, stdout, stderr } = await start([...MAIN, ...words]).finished
    expect({ code, stdout, stderr }).toMatchObject({ code: 0, stdout: expect.stringContaining('\n20 scenarios, ') })
    expect(stdout).toMatch(/copies that died with a relay [1-9]/)
  }, 600_000)

  it(`keeps all invariants in all named plans, and for ${SECONDS} s in new scenarios`, async () => {
    const { code, stdout, stderr } = await start([...MAIN, '--minutes', String(SECONDS / 60), '--seed', commitSeed()]).finished
    process.stdout.write(stdout)
    expect({ code, stdout, stderr }).toMatchObject({ code: 0 })
  }, 600_000)
})
