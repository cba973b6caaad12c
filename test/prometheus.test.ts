/** deploy/prometheus/rules.yml names only metrics that exist, and promtool (Debian's package `prometheus`) accepts and tests it. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { METRICS } from '../src/operator/metrics.ts'
import { run } from './support/process.ts'
import { missing } from './support/programs.ts'

const FOLDER = join(import.meta.dirname, '../deploy/prometheus')
const reason = missing('promtool')

test('the rules name existing metrics only', () => {
  const rules = readFileSync(join(FOLDER, 'rules.yml'), 'utf8')
  const named = new Set(rules.match(/\basfaleia_\w+/g))
  expect(named.size).toBeGreaterThan(4)
  expect([...named].filter((name) => !Object.hasOwn(METRICS, name))).toEqual([])
})

test('promtool accepts the rules, and each alert fires when it should and only then', async (ctx) => {
  ctx.skip(reason !== undefined, reason)
  for (const args of [
    ['check', 'rules', 'rules.yml'],
    ['test', 'rules', 'rules.test.yml'],
  ])
    expect(await run(['promtool', ...args], { cwd: FOLDER })).toMatchObject({ code: 0 })
  const [rules, tests] = ['rules.yml', 'rules.test.yml'].map((name) => readFileSync(join(FOLDER, name), 'utf8'))
  for (const [, alert] of rules!.matchAll(/- alert: (\w+)/g)) expect(tests).toContain(`alertname: ${alert}`)
})
