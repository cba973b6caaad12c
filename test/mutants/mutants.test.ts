/** The table of defects fits the sources, and the tests notice five of its defects, other ones for each commit. */
import { existsSync } from 'node:fs'
import { stripTypeScriptTypes } from 'node:module'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { commitSeed } from '../support/commit.ts'
import { start } from '../support/process.ts'
import { apply, ROOT } from './defect.ts'
import { DEFECTS } from './table.ts'

describe('the table of defects', () => {
  it('has texts that occur once in their sources, and defects that are TypeScript', () => {
    const problems = DEFECTS.flatMap((defect) => {
      try {
        stripTypeScriptTypes(apply(defect))
        return []
      } catch (error) {
        return [`${defect.harm}: ${String(error)}`]
      }
    })
    expect(problems).toEqual([])
  })

  it('has no defect twice, and none that changes nothing', () => {
    const known = new Set(DEFECTS.map(({ file, text, becomes, by }) => JSON.stringify([file, text, becomes, by])))
    expect(known.size).toBe(DEFECTS.length)
    expect(DEFECTS.filter(({ text, becomes }) => text === becomes)).toEqual([])
  })

  it('names tests that exist', () => {
    const tests = new Set(DEFECTS.flatMap(({ tests }) => tests))
    expect([...tests].filter((path) => !existsSync(join(ROOT, path)))).toEqual([])
    expect(DEFECTS.filter(({ by, tests }) => (by === 'unit') !== tests.length > 0)).toEqual([])
  })
})

/** Files and folders of which every defect was found, so that one of the five survives only if a test became weaker. */
const COMPLETE = [
  'src/mailbox/',
  'src/relay/',
  'src/protocol/',
  'src/auth/',
  'src/client/delivery/',
  'src/client/messenger/',
  'src/client/wire/',
  'src/cli/',
  'src/profile/',
  'src/config/',
  'src/server/',
  'src/transport/',
  'src/operator/',
  'src/handover/',
]

it('five defects are found', async () => {
  const main = join(import.meta.dirname, 'main.ts')
  const seed = String(Number.parseInt(commitSeed(), 16) % 1_000_000_000 || 1)
  const { code, stdout, stderr } = await start([process.execPath, main, '--by', 'unit', '--few', '5', '--seed', seed, ...COMPLETE]).finished
  process.stdout.write(stdout)
  expect({ code, stdout, stderr }).toMatchObject({ code: 0 })
}, 300_000)
