/**
 * A real Prometheus (Debian's) scrapes a relay by deploy/metrics.ts, and two alerts of deploy/prometheus/rules.yml fire.
 * The test uses the file as it is: these two have no `for`. Only the intervals are one second.
 */
import { copyFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { expect, onTestFinished, test } from 'vitest'
import { ASFALEIA, type Running, start } from '../support/process.ts'
import { missing } from '../support/programs.ts'
import { freePort } from '../support/registry.ts'
import { connectRaw, createPerson } from '../support/wire.ts'

const ROOT = join(import.meta.dirname, '../..')
const reason = missing('prometheus')

interface Alert {
  readonly labels: Readonly<Record<string, string>>
  readonly state: string
}

test('Prometheus fires the alerts of a full relay and of a restart', { timeout: 90_000 }, async (ctx) => {
  ctx.skip(reason !== undefined, reason)
  const folder = mkdtempSync(join(tmpdir(), 'asf-prom-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  const operator = join(folder, 'operator')
  const [door, exporter, prometheus] = [await freePort(), await freePort(), await freePort()]
  const launch = async (command: readonly string[], env: Record<string, string> = {}): Promise<Running> => {
    const running = start(command, { env })
    onTestFinished(async () => void (await running.end()))
    return running
  }
  const startRelay = async (): Promise<Running> => {
    const options = ['--tcp', `127.0.0.1:${door}`, '--http', 'off', '--operator', `unix:${operator}`, '--name', 'localhost']
    const relay = await launch([...ASFALEIA, 'relay', ...options, '--memory', '1M', '--allow-unsafe', 'swap'])
    await relay.until(/^ready$/m)
    return relay
  }
  const relay = await startRelay()
  await launch([process.execPath, join(ROOT, 'deploy/metrics.ts')], {
    METRICS_SOCKET: operator,
    METRICS_HOST: '127.0.0.1',
    METRICS_PORT: String(exporter),
  })
  copyFileSync(join(ROOT, 'deploy/prometheus/rules.yml'), join(folder, 'rules.yml'))
  // JSON is YAML.
  const settings = {
    global: { scrape_interval: '1s', evaluation_interval: '1s' },
    rule_files: ['rules.yml'],
    scrape_configs: [{ job_name: 'asfaleia', static_configs: [{ targets: [`127.0.0.1:${exporter}`] }] }],
  }
  writeFileSync(join(folder, 'prometheus.yml'), JSON.stringify(settings))
  await launch([
    'prometheus',
    `--config.file=${join(folder, 'prometheus.yml')}`,
    `--storage.tsdb.path=${join(folder, 'data')}`,
    `--web.listen-address=127.0.0.1:${prometheus}`,
  ])
  const ask = async (path: string): Promise<unknown> => {
    const answer = await fetch(`http://127.0.0.1:${prometheus}/api/v1/${path}`).catch(() => undefined)
    return answer?.ok === true ? ((await answer.json()) as { data: unknown }).data : undefined
  }
  const valueOf = async (expression: string): Promise<string | undefined> => {
    const data = (await ask(`query?query=${encodeURIComponent(expression)}`)) as
      { result: readonly { value: readonly [number, string] }[] } | undefined
    return data?.result[0]?.value[1]
  }
  const firing = async (): Promise<string[]> => {
    const data = (await ask('alerts')) as { alerts: readonly Alert[] } | undefined
    return (data?.alerts ?? []).filter(({ state }) => state === 'firing').map(({ labels }) => labels['alertname'] ?? '')
  }
  const until = async (holds: () => Promise<boolean>): Promise<void> => {
    while (!(await holds())) await delay(200)
  }

  await until(async () => (await valueOf('up{job="asfaleia"}')) === '1')
  await until(async () => (await valueOf('asfaleia_refused_total{code="relay-full"}')) === '0')
  expect(await firing()).toEqual([])

  const wire = await connectRaw({ kind: 'tcp', host: '127.0.0.1', port: door })
  const token = await wire.login(createPerson(), 'sign')
  const payload = Buffer.alloc(20_000).toString('base64')
  let answer: string
  do {
    answer = await wire.ask(`3;${token};${createPerson().line};${payload}`)
  } while (answer.startsWith('13;'))
  expect(answer).toMatch(/^99;relay-full;/)
  wire.destroy()
  await until(async () => (await firing()).includes('AsfaleiaFull'))
  expect(await firing()).toEqual(['AsfaleiaFull'])

  // The start is exact to the second.
  await delay(1_000)
  await relay.end()
  await startRelay()
  await until(async () => (await firing()).includes('AsfaleiaRestarted'))
})
