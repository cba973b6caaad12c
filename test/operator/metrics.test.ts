import { describe, expect, test } from 'vitest'
import { buildStatus, findReasons, METRICS, type Moment, renderMetrics } from '../../src/operator/metrics.ts'
import type { ProbeState } from '../../src/operator/reachability.ts'
import type { TorState } from '../../src/tor/state.ts'
import { ERROR_CODES } from '../../src/protocol/errors.ts'
import { createCounters } from '../../src/relay/counters.ts'
import { createSnapshot } from '../support/snapshot.ts'

const REACHED: ProbeState = { reachable: true, seconds: 0.81234, failures: 0, problem: undefined }
const DONE: TorState = { reachable: true, bootstrap: 100, summary: 'done' }

function moment(differing: Partial<Moment> = {}): Moment {
  return {
    snapshot: createSnapshot(),
    tor: undefined,
    version: '1.2.3',
    uptimeSeconds: 61.9,
    startTimeSeconds: 0,
    residentBytes: 50_000_000,
    loopDelaySeconds: 0.012,
    ...differing,
  }
}

/** Parses a Prometheus text into samples by name and labels. */
function samples(text: string): Map<string, number> {
  const lines = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'))
  return new Map(lines.map((line) => [line.slice(0, line.lastIndexOf(' ')), Number(line.slice(line.lastIndexOf(' ') + 1))]))
}

describe('rounding', () => {
  const counters = createCounters()
  counters.accepted.tcp = 11
  counters.logins.sign = 1
  counters.stored = 10
  counters.delivered = 9
  counters.published = 1
  counters.fetched = 11
  counters.erased.acked = 21
  counters.refused['auth-failed'] = 3
  counters.turnedAway.circuit = 1
  const snapshot = createSnapshot({
    counters,
    connections: 1,
    proven: 10,
    mailboxes: 11,
    subscribers: 99,
    messages: 5,
    bundles: 3,
    messageBytes: 1,
    messageBudget: 1_000_001,
  })

  test('applies to counts of people, messages and actions, but neither to refusals nor to budgets', () => {
    expect(buildStatus(moment({ snapshot }))).toEqual({
      version: '1.2.3',
      uptimeSeconds: 61,
      startTimeSeconds: 0,
      ready: true,
      reasons: [],
      connections: 10,
      proven: 10,
      mailboxes: 20,
      subscribers: 100,
      messages: 10,
      bundles: 10,
      messageBytes: 65_536,
      messageBudget: 1_000_001,
      stored: 10,
      delivered: 10,
      published: 10,
      fetched: 20,
      erased: { acked: 30, taken: 0, expired: 0, wiped: 0 },
      accepted: { tcp: 20, unix: 0, http: 0 },
      logins: { decrypt: 0, sign: 10, claim: 0 },
      turnedAway: { connections: 0, circuit: 1, 'proxy-header': 0, 'gave-way': 0, key: 0 },
      refused: { ...createCounters().refused, 'auth-failed': 3 },
      tor: null,
      probe: null,
      nameFile: null,
      admit: null,
      residentBytes: 50_000_000,
      loopDelaySeconds: 0.012,
    })
  })

  test('is the same in the status and in the metrics', async () => {
    const text = samples(await renderMetrics(moment({ snapshot, tor: { reachable: true, bootstrap: 45, summary: 'loading_descriptors' } })))
    expect(Object.fromEntries(text)).toMatchObject({
      'asfaleia_info{version="1.2.3"}': 1,
      asfaleia_uptime_seconds: 61,
      asfaleia_ready: 0,
      asfaleia_connections: 10,
      asfaleia_mailboxes: 20,
      asfaleia_subscribers: 100,
      asfaleia_message_bytes: 65_536,
      asfaleia_message_budget_bytes: 1_000_001,
      'asfaleia_accepted_total{door="tcp"}': 20,
      'asfaleia_logins_total{proof="sign"}': 10,
      'asfaleia_refused_total{code="auth-failed"}': 3,
      'asfaleia_turned_away_total{reason="circuit"}': 1,
      'asfaleia_erased_total{reason="acked"}': 30,
      asfaleia_tor_reachable: 1,
      asfaleia_tor_bootstrap_percent: 45,
      asfaleia_event_loop_delay_seconds: 0.012,
    })
  })

  test('hides one person more or less', () => {
    for (const count of ['connections', 'proven', 'mailboxes', 'subscribers', 'messages', 'bundles'] as const) {
      const [before, after] = [
        buildStatus(moment({ snapshot: createSnapshot({ [count]: 13 }) })),
        buildStatus(moment({ snapshot: createSnapshot({ [count]: 14 }) })),
      ]
      expect(before).toEqual(after)
    }
  })
})

test('every metric has help and type, and every code and reason is present from the start', async () => {
  const text = await renderMetrics(moment({ tor: DONE, probe: REACHED }))
  for (const [name, { type, help }] of Object.entries(METRICS)) {
    expect(text).toContain(`# HELP ${name} ${help}\n# TYPE ${name} ${type}\n${name}`)
    expect(name.endsWith('_total')).toBe(type === 'counter')
  }
  expect(text.match(/^# TYPE/gm)).toHaveLength(Object.keys(METRICS).length)
  for (const code of ERROR_CODES) expect(text).toContain(`asfaleia_refused_total{code="${code}"} 0\n`)
})

test('no label and no value names a user or the relay', async () => {
  const names = ['2gzyxa5ihm7nsggfxnu52rck2vv4rvmdlkiu3zzui5du4xyclen53wid.onion']
  const text = await renderMetrics(moment({ snapshot: createSnapshot({ names }) }))
  expect(text).not.toContain('onion')
  expect(JSON.stringify(buildStatus(moment({ snapshot: createSnapshot({ names }) })))).not.toContain('.onion')
  const labels = new Set([...text.matchAll(/[{,]([a-z_]+)="/g)].map(([, label]) => label))
  expect(labels).toEqual(new Set(['version', 'door', 'reason', 'code', 'proof']))
})

test('unknown values are omitted', async () => {
  const without = samples(await renderMetrics(moment()))
  expect([...without.keys()].filter((name) => name.startsWith('asfaleia_tor'))).toEqual([])
  const down = samples(await renderMetrics(moment({ tor: { reachable: false, bootstrap: undefined, summary: 'unreachable' } })))
  expect(down.get('asfaleia_tor_reachable')).toBe(0)
  expect(down.has('asfaleia_tor_bootstrap_percent')).toBe(false)
})

describe('the metrics of the probe', () => {
  const render = async (probe: ProbeState) => samples(await renderMetrics(moment({ probe })))

  test('hold reachability and time once known', async () => {
    const unknown = await render({ reachable: undefined, seconds: undefined, failures: 0, problem: undefined })
    expect([...unknown.keys()].filter((name) => name.startsWith('asfaleia_reachable'))).toEqual([])
    const reached = await render(REACHED)
    expect([reached.get('asfaleia_reachable'), reached.get('asfaleia_reachable_seconds')]).toEqual([1, 0.812])
    const lost = await render({ ...REACHED, reachable: false, failures: 1, problem: 'onion-not-found' })
    expect([lost.get('asfaleia_reachable'), lost.get('asfaleia_reachable_seconds')]).toEqual([0, 0.812])
  })

  test.each([
    [0, []],
    [2, []],
    [3, ['onion-unreachable']],
    [9, ['onion-unreachable']],
  ])('after %i failures in a row, the reasons are %j', (failures, reasons) => {
    const probe: ProbeState = { reachable: failures === 0, seconds: undefined, failures, problem: undefined }
    expect(findReasons({ snapshot: createSnapshot(), tor: undefined, probe })).toEqual(reasons)
  })
})

test.each([
  ['all well', {}, DONE, []],
  ['no tor configured', {}, undefined, []],
  ['shutdown', { accepting: false }, DONE, ['not-accepting']],
  ['no name', { names: [] }, DONE, ['no-name']],
  ['tor unreachable', {}, { reachable: false, bootstrap: undefined, summary: 'unreachable' } as const, ['tor-unreachable']],
  ['tor starting', {}, { reachable: true, bootstrap: 99, summary: 'circuit_create' } as const, ['tor-bootstrapping']],
  ['tor without a phase', {}, { reachable: true, bootstrap: undefined, summary: 'other' } as const, ['tor-bootstrapping']],
  [
    'all problems at once',
    { accepting: false, names: [] },
    { reachable: true, bootstrap: 0, summary: 'starting' } as const,
    ['not-accepting', 'no-name', 'tor-bootstrapping'],
  ],
])('findReasons: %s', (_name, differing, tor, reasons) => {
  expect(findReasons({ snapshot: createSnapshot(differing), tor })).toEqual(reasons)
})

test('without tor, the relay is not reachable, whatever the last try found', async () => {
  const tor: TorState = { reachable: false, bootstrap: undefined, summary: 'unreachable', ageSeconds: 12 }
  const silent = moment({ tor, probe: { ...REACHED, ageSeconds: 240.4 } })
  expect(buildStatus(silent)).toMatchObject({
    ready: false,
    reasons: ['tor-unreachable'],
    probe: { reachable: false, problem: 'proxy-down', ageSeconds: 240 },
  })
  expect(samples(await renderMetrics(silent)).get('asfaleia_reachable')).toBe(0)
})
