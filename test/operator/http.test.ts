import { mkdtempSync, rmSync, statSync } from 'node:fs'
import { request } from 'node:http'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text as readText } from 'node:stream/consumers'
import { afterEach, describe, expect, onTestFinished, test } from 'vitest'
import type { Address } from '../../src/transport/address.ts'
import { type Operator, type OperatorSources, startOperator } from '../../src/operator/http.ts'
import { buildStatus } from '../../src/operator/metrics.ts'
import type { TorState } from '../../src/tor/state.ts'
import { ListenError } from '../../src/transport/socket.ts'
import { createSnapshot } from '../support/snapshot.ts'

const LOOPBACK: Address = { kind: 'tcp', host: '127.0.0.1', port: 0 }
const DONE: TorState = { reachable: true, bootstrap: 100, summary: 'done' }
const running: Operator[] = []

afterEach(async () => {
  await Promise.all(running.splice(0).map((operator) => operator.close()))
})

async function start(sources: Partial<OperatorSources> = {}, address: Address = LOOPBACK): Promise<Address> {
  const operator = await startOperator(address, {
    snapshot: () => createSnapshot(),
    startTime: 0,
    uptime: () => 0,
    version: '1.2.3',
    ...sources,
  })
  running.push(operator)
  return operator.address
}

interface Answer {
  readonly status: number
  readonly headers: Record<string, unknown>
  readonly body: string
}

function ask(address: Address, path: string, options: { method?: string; headers?: Record<string, string> } = {}): Promise<Answer> {
  const where = address.kind === 'unix' ? { socketPath: address.path } : { host: address.host, port: address.port }
  return new Promise((resolve, reject) => {
    request({ ...where, path, agent: false, ...options }, (response) => {
      readText(response).then((body) => resolve({ status: response.statusCode!, headers: response.headers, body }), reject)
    })
      .on('error', reject)
      .end()
  })
}

function scratch(): string {
  const folder = mkdtempSync(join(tmpdir(), 'asfaleia-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  return folder
}

test('/livez answers 200 while the process runs', async () => {
  expect(await ask(await start(), '/livez')).toMatchObject({ status: 200, body: 'ok\n' })
})

describe('/readyz', () => {
  test('answers 200 without reasons if the relay is ready', async () => {
    const { status, body } = await ask(await start({ tor: async () => DONE }), '/readyz')
    expect([status, JSON.parse(body)]).toEqual([200, { ready: true, reasons: [] }])
  })

  test("answers 503 with every reason, and follows the relay's state", async () => {
    let names: string[] = []
    const address = await start({
      snapshot: () => createSnapshot({ names }),
      tor: async () => ({ reachable: false, bootstrap: undefined, summary: 'unreachable' }),
    })
    const { status, body } = await ask(address, '/readyz')
    expect([status, JSON.parse(body)]).toEqual([503, { ready: false, reasons: ['no-name', 'tor-unreachable'] }])
    names = ['localhost']
    expect(JSON.parse((await ask(address, '/readyz')).body)).toMatchObject({ reasons: ['tor-unreachable'] })
  })

  test('asks tor once for several requests at the same time', async () => {
    let asked = 0
    const address = await start({
      tor: async () => {
        asked++
        return DONE
      },
    })
    await Promise.all(['/readyz', '/readyz', '/metrics', '/status'].map((path) => ask(address, path)))
    expect(asked).toBe(1)
  })
})

test('/metrics serves current values as Prometheus text', async () => {
  const snapshot = createSnapshot()
  const address = await start({ snapshot: () => snapshot })
  const before = await ask(address, '/metrics')
  expect(before.headers['content-type']).toBe('text/plain; version=0.0.4; charset=utf-8')
  expect(before.body).toContain('asfaleia_refused_total{code="bad-key"} 0\n')
  snapshot.counters.refused['bad-key'] += 2
  for (const body of [(await ask(address, '/metrics')).body, (await ask(address, '/metrics')).body]) {
    expect(body).toContain('asfaleia_refused_total{code="bad-key"} 2\n')
  }
})

test('/status serves JSON of the documented shape', async () => {
  const { status, headers, body } = await ask(await start(), '/status')
  expect([status, headers['content-type']]).toEqual([200, 'application/json; charset=utf-8'])
  const shape = buildStatus({
    snapshot: createSnapshot(),
    tor: undefined,
    version: '1.2.3',
    uptimeSeconds: 0,
    startTimeSeconds: 0,
    residentBytes: 0,
    loopDelaySeconds: 0,
  })
  const parsed = JSON.parse(body) as typeof shape
  expect(parsed).toEqual({
    ...shape,
    residentBytes: expect.any(Number),
    loopDelaySeconds: expect.any(Number),
    uptimeSeconds: expect.any(Number),
    startTimeSeconds: 0,
  })
  expect(parsed.residentBytes).toBeGreaterThan(1_000_000)
})

test.each([
  ['/livez', 'HEAD', 200],
  ['/metrics', 'HEAD', 200],
  ['/', 'GET', 404],
  ['/metrics/x', 'GET', 404],
  ['/metrics', 'POST', 405],
  ['/metrics', 'OPTIONS', 405],
  ['/status', 'DELETE', 405],
  ['/nowhere', 'PUT', 405],
  ['/panic', 'GET', 404],
  ['/panic', 'OPTIONS', 405],
  ['/panic?now', 'POST', 405],
  ['/panic', 'POST', 404],
  ['/%zz', 'GET', 400],
])('a request of %s by %s is answered %i, without CORS headers', async (path, method, expected) => {
  const { status, headers, body } = await ask(await start(), path, { method })
  expect(status).toBe(expected)
  expect(Object.keys(headers).filter((name) => name.startsWith('access-control'))).toEqual([])
  if (expected >= 400) expect(body).not.toContain(path.slice(2) || 'stack')
})

describe('POST /panic', () => {
  const SURE = { 'asfaleia-panic': 'now' }
  const startPanicking = async (): Promise<{ address: Address; panics: () => number }> => {
    let panics = 0
    return { address: await start({ panic: () => void panics++ }), panics: () => panics }
  }

  test('wipes the relay', async () => {
    const { address, panics } = await startPanicking()
    const { status, body } = await ask(address, '/panic', { method: 'POST', headers: SURE })
    expect([status, JSON.parse(body), panics()]).toEqual([200, { wiped: true }, 1])
  })

  test.each<[string, number, { method?: string; headers: Record<string, string> }]>([
    ['without its header', 403, { headers: {} }],
    ['with another value of the header', 403, { headers: { 'asfaleia-panic': 'yes' } }],
    ['with the Origin of a web page', 403, { headers: { ...SURE, origin: 'http://localhost:9090' } }],
    ['with the Host of a web page (DNS rebinding)', 421, { headers: { ...SURE, host: 'example.org' } }],
    ['as a CORS preflight', 405, { method: 'OPTIONS', headers: { 'access-control-request-headers': 'asfaleia-panic' } }],
    ['by GET, as an image would send it', 404, { method: 'GET', headers: SURE }],
  ])('does not wipe %s', async (_name, expected, options) => {
    const { address, panics } = await startPanicking()
    const { status, headers } = await ask(address, '/panic', { method: 'POST', ...options })
    expect([status, panics()]).toEqual([expected, 0])
    expect(Object.keys(headers).filter((name) => name.startsWith('access-control'))).toEqual([])
  })
})

describe('the Host header', () => {
  test.each([
    'example.org',
    'example.org:9090',
    'localhost.example.org',
    '127.0.0.1.example.org',
    'relay.onion',
    '[::2]',
    '10.0.0.1',
    ' ',
    '127.0.0.256',
    '127.1',
    'localhost.',
    'localhost:9090@x',
  ])('%j is refused with 421', async (host) => {
    const address = await start()
    for (const path of ['/livez', '/readyz', '/metrics', '/status', '/nowhere']) {
      const { status, body } = await ask(address, path, { headers: { host } })
      expect([path, status]).toEqual([path, 421])
      expect(body).toBe('this listener answers requests to localhost only\n')
    }
    expect(await ask(address, '/status', { method: 'DELETE', headers: { host } })).toMatchObject({ status: 421 })
  })

  test.each(['localhost', 'LOCALHOST:1', '127.0.0.1:9090', '127.1.2.3', '[::1]:9090'])('%s is accepted', async (host) => {
    expect(await ask(await start(), '/livez', { headers: { host } })).toMatchObject({ status: 200 })
  })

  test('is required', async () => {
    const address = await start()
    if (address.kind !== 'tcp') throw new Error('a port was asked for')
    const socket = connect(address.port, address.host)
    socket.end('GET /metrics HTTP/1.0\r\n\r\n')
    expect(await readText(socket)).toMatch(/^HTTP\/1\.1 421 /)
  })
})

describe('a web page', () => {
  test.each([
    { origin: 'https://example.org' },
    { origin: 'http://localhost:9090' },
    { origin: 'null' },
    { 'sec-fetch-site': 'cross-site' },
    { 'sec-fetch-site': 'same-site' },
  ])('is refused with 403: %j', async (headers: Record<string, string>) => {
    let read = 0
    const address = await start({
      snapshot() {
        read++
        return createSnapshot()
      },
    })
    for (const path of ['/livez', '/readyz', '/metrics', '/status', '/nowhere']) {
      expect(await ask(address, path, { headers })).toMatchObject({ status: 403, body: 'web pages may not visit this listener\n' })
    }
    expect(read).toBe(0)
  })

  test.each(['none', 'same-origin'])('that the user opened at the listener itself is answered: %s', async (site) => {
    expect(await ask(await start(), '/status', { headers: { 'sec-fetch-site': site } })).toMatchObject({ status: 200 })
  })
})

describe("the operator's unix socket", () => {
  test('has mode 0600 and accepts any Host header', async () => {
    const path = join(scratch(), 'operator.sock')
    const address = await start({}, { kind: 'unix', path })
    expect(address).toEqual({ kind: 'unix', path })
    expect(statSync(path).mode & 0o777).toBe(0o600)
    expect(await ask(address, '/livez', { headers: { host: 'anything' } })).toMatchObject({ status: 200 })
  })

  test('is removed when the operator listener closes', async () => {
    const path = join(scratch(), 'operator.sock')
    await start({}, { kind: 'unix', path })
    await running.pop()!.close()
    expect(statSync(path, { throwIfNoEntry: false })).toBeUndefined()
  })
})

test('an address that is in use or not local is refused with a ListenError', async () => {
  const address = await start()
  await expect(start({}, address)).rejects.toThrow(ListenError)
  await expect(start({}, { kind: 'tcp', host: '0.0.0.0', port: 0 })).rejects.toThrow(ListenError)
})

test('an internal error goes to onFault, and its text not into the answer', async () => {
  let faults = 0
  const address = await start({
    snapshot() {
      throw new Error('a secret')
    },
    onFault: () => faults++,
  })
  const { status, body } = await ask(address, '/status')
  expect([status, body, faults]).toEqual([500, 'internal error\n', 1])
})

test.each([
  ['is idle', ''],
  ['has sent half a request', 'GET /livez HTTP/1.1\r\n'],
  ['waits for an answer', 'GET /status HTTP/1.1\r\nHost: localhost\r\n\r\n'],
])('close() does not wait for a connection that %s', async (_state, sent) => {
  const asked = Promise.withResolvers<void>()
  const tor = (): Promise<TorState> => {
    asked.resolve()
    return new Promise(() => {})
  }
  const address = await start({ tor })
  if (address.kind !== 'tcp') throw new Error('a port was asked for')
  const socket = connect(address.port, address.host)
  socket.write('GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n')
  await new Promise((resolve) => socket.once('data', resolve))
  const closed = new Promise((resolve) => socket.once('close', resolve))
  socket.write(sent)
  if (sent.includes('/status')) await asked.promise
  // The listener reads in the order of arrival, so it has read the half as well.
  else await ask(address, '/livez')
  await running.pop()!.close()
  await closed
  expect(socket.destroyed).toBe(true)
})
