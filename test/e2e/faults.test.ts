/** Every fault of bench/appliance.ts once, in a real engine: the operator sees it, and loses nothing but by a relay's death. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, inject, test } from 'vitest'
import { engineless } from '../support/engine.ts'
import { run } from '../support/process.ts'
import { missing } from '../support/programs.ts'
import { TOR_PROGRAMS } from '../support/tor-network.ts'

const SCRIPT = join(import.meta.dirname, '../../bench/appliance.ts')
const reason = engineless() ?? missing(...TOR_PROGRAMS)

test('`ps` and `status` show each fault within 30 s, and accepted messages stay', { timeout: 900_000 }, async (ctx) => {
  ctx.skip(reason !== undefined, reason)
  const env = { ASFALEIA_TOR_NETWORK: inject('torNetwork') }
  const { code, stdout, stderr } = await run([process.execPath, SCRIPT, 'faults', '1', 'quick'], { env })
  expect(code, `${stderr}${stdout}`).toBe(0)
  const rows = stdout.trim().split('\n').slice(2)
  expect(rows).toHaveLength(readFileSync(SCRIPT, 'utf8').match(/\bsign: \//g)!.length)
  // The script marks what must not be.
  expect(rows.filter((row) => row.includes('**'))).toEqual([])
})
