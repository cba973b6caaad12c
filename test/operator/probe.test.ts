import { once } from 'node:events'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { describe, expect, onTestFinished, test } from 'vitest'
import type { EventFields, EventName, Log } from '../../src/log.ts'
import { followProbe, probe, type ProbeResult, type Report, startProbe } from '../../src/operator/probe.ts'
import { startSocksServer } from '../support/socks-server.ts'
import { startTestRelay } from '../support/relay.ts'

const ONION = 'pg6mmjiyjmcrsslvykfwnntlaru7p5svn6y2ymmju6nubxndf4pscryd.onion'
const never = new AbortController().signal
const at = (port: number) => ({ kind: 'tcp', host: '127.0.0.1', port }) as const

async function relayBehindSocks(names: readonly string[]) {
  const relay = await startTestRelay({ names })
  onTestFinished(() => relay.close())
  const socks = await startSocksServer({ to: relay.port })
  onTestFinished(() => socks.close())
  return { relay, socks }
}

describe('probe', () => {
  test("dials the onion's raw port by SOCKS on a new circuit each time, and reports the duration", async () => {
    const { relay, socks } = await relayBehindSocks([ONION])
    for (let n = 0; n < 2; n++) expect(await probe(ONION, at(socks.port), never)).toEqual({ reached: true, seconds: expect.any(Number) })
    const [first, second] = socks.requests
    expect(first).toMatchObject({ type: 3, host: ONION, port: 3308 })
    expect(second!.user).not.toBe(first!.user)
    expect(relay.relay.snapshot()).toMatchObject({ counters: { logins: { decrypt: 0, sign: 0 }, refused: { 'wrong-usage': 0 } } })
  })

  test('reports refused if the relay does not answer to the name', async () => {
    const { socks } = await relayBehindSocks(['localhost'])
    expect(await probe(ONION, at(socks.port), never)).toEqual({ reached: false, problem: 'refused' })
  })

  test.each([
    [0xf0, 'onion-not-found'],
    [0xf2, 'onion-unreachable'],
    [0xf4, 'onion-locked'],
    [5, 'relay-down'],
  ])("maps tor's SOCKS reply %i to %s", async (code, problem) => {
    const socks = await startSocksServer({ code })
    onTestFinished(() => socks.close())
    expect(await probe(ONION, at(socks.port), never)).toEqual({ reached: false, problem })
  })

  test('reports proxy-down without a SOCKS proxy, and refused if the other end is not a relay', async () => {
    const closed = createServer().listen(0, '127.0.0.1')
    await once(closed, 'listening')
    const { port } = closed.address() as AddressInfo
    await new Promise((resolve) => closed.close(resolve))
    expect(await probe(ONION, at(port), never)).toEqual({ reached: false, problem: 'proxy-down' })

    const echo = createServer((socket) => socket.pipe(socket)).listen(0, '127.0.0.1')
    await once(echo, 'listening')
    onTestFinished(() => void echo.close())
    const socks = await startSocksServer({ to: (echo.address() as AddressInfo).port })
    onTestFinished(() => socks.close())
    expect(await probe(ONION, at(socks.port), never)).toEqual({ reached: false, problem: 'refused' })
  })

  test('ends with no-answer when its signal aborts', async () => {
    const silent = createServer(() => {}).listen(0, '127.0.0.1')
    await once(silent, 'listening')
    onTestFinished(() => void silent.close())
    const socks = await startSocksServer({ to: (silent.address() as AddressInfo).port })
    onTestFinished(() => socks.close())
    const over = new AbortController()
    const tried = probe(ONION, at(socks.port), over.signal)
    const [stranger] = (await once(silent, 'connection')) as [Socket]
    stranger.once('data', () => over.abort())
    expect(await tried).toEqual({ reached: false, problem: 'no-answer' })
  })
})

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
  expect(states).toEqual([
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
    expect(follow({ text, ageSeconds })).toEqual({ state, events })
  })

  test('reports untried only after no report has come for too long', () => {
    expect(follow(undefined, STALE - 1)).toEqual({ state: unknown, events: [] })
    expect(follow(undefined, STALE + 1)).toMatchObject({ state: { reachable: false, problem: 'untried' } })
  })
})
