import { describe, expect, test } from 'vitest'
import type { EventFields, EventName, Log } from '../../src/log.ts'
import type { ProbeResult } from '../../src/operator/probe-result.ts'
import { followProbe, type Report, startProbe } from '../../src/operator/reachability.ts'

const ONION = 'pg6mmjiyjmcrsslvykfwnntlaru7p5svn6y2ymmju6nubxndf4pscryd.onion'

test('changes are logged once, failures are counted, and no event names the address', async () => {
  const results: ProbeResult[] = [
    { reached: false, problem: 'onion-not-found' },
    { reached: false, problem: 'connect-timeout' },
    { reached: true, seconds: 0.5 },
    { reached: true, seconds: 0.25 },
    { reached: false, problem: 'no-answer' },
  ]
  const states: unknown[] = []
  const events: [EventName, unknown][] = []
  const log: Log = { event: <E extends EventName>(name: E, fields?: EventFields<E>) => void events.push([name, fields]) }
  const done = Promise.withResolvers<void>()
  let names = 2
  const probing = startProbe(
    {
      // The name is unknown at first.
      name: () => (names-- > 0 ? undefined : ONION),
      async probe() {
        if (probing !== undefined) states.push(probing.state())
        const result = results.shift()
        if (result !== undefined) return result
        done.resolve()
        probing.stop()
        return { reached: true, seconds: 0 }
      },
      everySeconds: 0,
      random: () => 0,
    },
    log,
  )
  await done.promise
  expect(states).toMatchObject([
    { reachable: undefined, seconds: undefined, failures: 0, problem: undefined },
    { reachable: false, seconds: undefined, failures: 1, problem: 'onion-not-found' },
    { reachable: false, seconds: undefined, failures: 2, problem: 'connect-timeout' },
    { reachable: true, seconds: 0.5, failures: 0, problem: undefined },
    { reachable: true, seconds: 0.25, failures: 0, problem: undefined },
    { reachable: false, seconds: 0.25, failures: 1, problem: 'no-answer' },
  ])
  expect(events).toEqual([
    ['onion-not-reached', { problem: 'onion-not-found' }],
    ['onion-reached', undefined],
    ['onion-not-reached', { problem: 'no-answer' }],
  ])
})

describe('followProbe', () => {
  const STALE = 2 * 300 + 180
  const unknown = { reachable: undefined, seconds: undefined, failures: 0, problem: undefined }
  function follow(report: Report | undefined, seconds = 0): { state: unknown; events: unknown[] } {
    const events: unknown[] = []
    const log: Log = { event: <E extends EventName>(name: E, fields?: EventFields<E>) => void events.push([name, fields]) }
    let at = 0
    const following = followProbe({ read: () => report, everySeconds: 300, now: () => (at += seconds * 1_000) }, log)
    following.stop()
    return { state: following.state(), events }
  }

  test.each<[string, number, unknown, unknown[]]>([
    ['reached 412\n', 10, { reachable: true, seconds: 0.412, failures: 0, problem: undefined }, [['onion-reached', undefined]]],
    [
      'failed 2 onion-locked\n',
      10,
      { reachable: false, seconds: undefined, failures: 2, problem: 'onion-locked' },
      [['onion-not-reached', { problem: 'onion-locked' }]],
    ],
    [
      'reached 412\n',
      STALE + 1,
      { reachable: false, seconds: undefined, failures: 3, problem: 'untried' },
      [['onion-not-reached', { problem: 'untried' }]],
    ],
    ['reached 412\n', STALE - 1, { reachable: true, seconds: 0.412, failures: 0, problem: undefined }, [['onion-reached', undefined]]],
    ...[
      '',
      'reached\n',
      'reached 1',
      'reached -1\n',
      'reached 1\nreached 1\n',
      'failed 0 refused\n',
      'failed 1 hello\n',
      'failed 1\n',
      'failed 99999 refused\n',
    ].map((text): [string, number, unknown, unknown[]] => [text, 1, unknown, []]),
  ])('reads %j, %i s old', (text, ageSeconds, state, events) => {
    expect(follow({ text, ageSeconds })).toMatchObject({ state, events })
  })

  test('reports untried only after no report has come for too long', () => {
    expect(follow(undefined, STALE - 1)).toEqual({ state: unknown, events: [] })
    expect(follow(undefined, STALE + 1)).toMatchObject({ state: { reachable: false, problem: 'untried' } })
  })
})
