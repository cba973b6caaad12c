import { afterEach, describe, expect, test, vi } from 'vitest'
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

describe('a probe', () => {
  afterEach(() => void vi.useRealTimers())

  /** Starts a probe every 1,000 seconds, and counts its tries. */
  function begin(probe: () => Promise<ProbeResult>, random = 0.5) {
    vi.useFakeTimers()
    const events: EventName[] = []
    let tries = 0
    const probing = startProbe(
      {
        name: () => ONION,
        probe: () => (tries++, probe()),
        everySeconds: 1_000,
        random: () => random,
        now: () => 0,
      },
      { event: (name) => void events.push(name) },
    )
    return { probing, events, tries: () => tries }
  }

  test.each([
    [true, 0.5, 1_000],
    [true, 0, 900],
    [true, 1, 1_100],
    [false, 0.5, 200],
  ])('that reached the relay (%s), with the random number %d, is repeated after %d seconds', async (reached, random, seconds) => {
    const result: ProbeResult = reached ? { reached, seconds: 1 } : { reached, problem: 'no-answer' }
    const { probing, tries } = begin(async () => result, random)
    await vi.advanceTimersByTimeAsync(seconds * 1_000 - 1)
    expect(tries()).toBe(1)
    await vi.advanceTimersByTimeAsync(2)
    expect(tries()).toBe(2)
    probing.stop()
  })

  test('that is stopped while it is under way says nothing and is not repeated', async () => {
    const { promise, resolve } = Promise.withResolvers<ProbeResult>()
    const { probing, events, tries } = begin(() => promise)
    probing.stop()
    resolve({ reached: true, seconds: 1 })
    await vi.advanceTimersByTimeAsync(10_000_000)
    expect([tries(), events, probing.state().reachable]).toEqual([1, [], undefined])
  })
})

describe('followProbe', () => {
  afterEach(() => void vi.useRealTimers())

  test('looks every second, and logs a change once', () => {
    vi.useFakeTimers()
    const events: EventName[] = []
    let text = 'reached 1\n'
    const read = (): Report => ({ text, ageSeconds: 0 })
    const following = followProbe({ read, everySeconds: 300, now: () => 0 }, { event: (name) => void events.push(name) })
    vi.advanceTimersByTime(3_000)
    expect(events).toEqual(['onion-reached'])
    text = 'failed 1 no-answer\n'
    vi.advanceTimersByTime(3_000)
    expect(events).toEqual(['onion-reached', 'onion-not-reached'])
    following.stop()
    text = 'reached 1\n'
    vi.advanceTimersByTime(3_000)
    expect(events).toHaveLength(2)
  })

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
