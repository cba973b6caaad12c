/**
 * deploy/prometheus/rules.yml and dashboard.json name only metrics that exist, and promtool (Debian's package
 * `prometheus`) accepts their expressions and tests the rules.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
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

interface Dashboard {
  readonly panels: readonly {
    readonly title: string
    readonly targets: readonly { readonly expr: string; readonly legendFormat: string }[]
  }[]
}

test('the dashboard shows existing metrics with their own labels, in expressions that promtool accepts', async (ctx) => {
  const { panels } = JSON.parse(readFileSync(join(FOLDER, 'dashboard.json'), 'utf8')) as Dashboard
  const targets = panels.flatMap((panel) => panel.targets)
  expect(targets.length).toBeGreaterThan(15)
  const rows: Readonly<Record<string, { readonly type: string; readonly label?: string }>> = METRICS
  for (const { expr, legendFormat } of targets) {
    const names = expr.match(/\basfaleia_\w+/g) ?? []
    expect([expr, names.filter((name) => rows[name] === undefined)]).toEqual([expr, []])
    expect(names.length).toBeGreaterThan(0)
    // Only a rate of a counter means anything; that of a gauge does not.
    for (const name of names) expect([expr, rows[name]!.type === 'counter']).toEqual([expr, expr.includes('increase(')])
    for (const [, label] of legendFormat.matchAll(/\{\{(\w+)\}\}/g)) expect([expr, rows[names[0]!]!.label]).toEqual([expr, label])
  }
  ctx.skip(reason !== undefined, reason)
  const folder = mkdtempSync(join(tmpdir(), 'asf-dash-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  const rules = targets.map(({ expr }, index) => ({ record: `panel:${index}`, expr }))
  // JSON is YAML.
  writeFileSync(join(folder, 'panels.yml'), JSON.stringify({ groups: [{ name: 'panels', rules }] }))
  expect(await run(['promtool', 'check', 'rules', join(folder, 'panels.yml')])).toMatchObject({ code: 0 })
})
