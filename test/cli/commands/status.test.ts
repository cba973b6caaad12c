import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import { runCommand } from '../../../src/cli/command.ts'
import { run } from '../../../src/cli/commands/status.ts'
import type { Address } from '../../../src/transport/address.ts'
import { startOperator } from '../../../src/operator/http.ts'
import { buildStatus, type Status } from '../../../src/operator/metrics.ts'
import type { TorState } from '../../../src/tor/state.ts'
import type { Snapshot } from '../../../src/relay/counters.ts'
import { createSnapshot } from '../../support/snapshot.ts'
import { createTestIo } from '../../support/terminal.ts'

async function relay(
  snapshot: Snapshot,
  tor?: TorState,
  address: Address = { kind: 'tcp', host: '127.0.0.1', port: 0 },
  admit?: () => string | undefined,
): Promise<string> {
  const operator = await startOperator(address, {
    snapshot: () => snapshot,
    startTime: 0,
    uptime: () => 3 * 86_400,
    version: '1.2.3',
    ...(tor === undefined ? {} : { tor: async () => tor }),
    ...(admit === undefined ? {} : { admit }),
  })
  onTestFinished(() => operator.close())
  const taken = operator.address
  return taken.kind === 'unix' ? `unix:${taken.path}` : `${taken.host}:${taken.port}`
}

async function stranger(listener: RequestListener): Promise<string> {
  const server = createServer(listener).listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(() => void server.close())
  return `127.0.0.1:${(server.address() as AddressInfo).port}`
}

describe('status for people', () => {
  test('prints a ready relay and exits with 0', async () => {
    const snapshot = createSnapshot({ connections: 12, proven: 3, messageBytes: 100_000 })
    snapshot.counters.refused['bad-key'] = 2
    const io = createTestIo()
    expect(await run(['--operator', await relay(snapshot)], io)).toBe(0)
    expect(io.out()).toMatch(/^relay {8}ready, version 1\.2\.3, up 3 d\n/)
    expect(io.out()).toContain('connections  ~20, of them ~10 with a proven key\n')
    expect(io.out()).toContain('refused      bad-key 2\n')
    expect(io.out()).toContain('memory       128.0 KiB of 1.0 MiB for messages')
    expect(io.err()).toBe('')
  })

  test.each([
    ['line 7 is no key', 'line 7 is no key; the former list is in force'],
    [undefined, 'the list of the file is in force'],
  ])('prints the state of the list of admitted keys: %s', async (problem, shown) => {
    const io = createTestIo()
    const address = { kind: 'tcp', host: '127.0.0.1', port: 0 } as const
    expect(await run(['--operator', await relay(createSnapshot(), undefined, address, () => problem)], io)).toBe(0)
    expect(io.out()).toContain(`admit        ${shown}\n`)
  })

  test('prints why a relay is not ready and exits with 1', async () => {
    const io = createTestIo()
    const operator = await relay(createSnapshot({ names: [] }), { reachable: true, bootstrap: 45, summary: 'loading_descriptors' })
    expect(await run(['--operator', operator], io)).toBe(1)
    expect(io.out()).toMatch(/^relay {8}not ready/)
    expect(io.out()).toContain('the relay does not know its onion name yet')
    expect(io.out()).toContain('tor is not connected to its network yet')
    expect(io.out()).toContain('tor          loading_descriptors, 45 %\n')
  })

  test('accepts a unix socket as the address, also from the environment', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'asfaleia-'))
    onTestFinished(() => rmSync(folder, { recursive: true }))
    const operator = await relay(createSnapshot(), undefined, { kind: 'unix', path: join(folder, 'o.sock') })
    expect(await run([], createTestIo({ ASFALEIA_OPERATOR: operator }))).toBe(0)
  })
})

test('status --quiet prints nothing for a ready relay, and only the reasons otherwise', async () => {
  const well = createTestIo()
  expect(await run(['--quiet', '--operator', await relay(createSnapshot())], well)).toBe(0)
  expect([well.out(), well.err()]).toEqual(['', ''])
  const ill = createTestIo()
  expect(
    await run(
      [
        '--quiet',
        '--operator',
        await relay(createSnapshot({ names: [] }), { reachable: false, bootstrap: undefined, summary: 'unreachable' }),
      ],
      ill,
    ),
  ).toBe(1)
  expect(ill.out()).toBe('the relay does not know its onion name yet (--name or --name-file)\ntor does not answer\n')
  expect(ill.err()).toBe('')
})

test('status --json prints one object of the documented shape', async () => {
  const io = createTestIo()
  expect(await run(['--json', '--operator', await relay(createSnapshot())], io)).toBe(0)
  const shape = buildStatus({
    snapshot: createSnapshot(),
    tor: undefined,
    version: '1.2.3',
    uptimeSeconds: 0,
    startTimeSeconds: 0,
    residentBytes: 0,
    loopDelaySeconds: 0,
  })
  expect(io.out()).toMatch(/^\{.*\}\n$/)
  expect(Object.keys(JSON.parse(io.out()) as Status)).toEqual(Object.keys(shape))
})

describe('status of a listener that is not a relay', () => {
  test('exits with 69 if no process listens', async () => {
    const io = createTestIo()
    expect(await runCommand(['status', '--operator', 'unix:/nowhere/o.sock'], io)).toBe(69)
    expect(io.err()).toMatch(/^asfaleia: error: no relay answers at the operator address\nasfaleia: hint: .*\n$/)
  })

  test.each<[string, RequestListener]>([
    ['another program', (_request, response) => void response.end('hello')],
    ['JSON of another shape', (_request, response) => void response.end('{"ready":true}')],
    ['null', (_request, response) => void response.end('null')],
    ['a refusal', (_request, response) => void response.writeHead(404).end('{}')],
    ['an endless answer', (_request, response) => void response.end('1'.repeat(1_000_000))],
    [
      'a truncated answer',
      (_request, response) => {
        response.writeHead(200, { 'content-length': '100' }).write('{')
        response.destroy()
      },
    ],
  ])('exits with 69 for %s', async (_name, listener) => {
    const io = createTestIo()
    expect(await runCommand(['status', '--operator', await stranger(listener)], io)).toBe(69)
    expect(io.out()).toBe('')
  })

  test('prints no control character of the answer', async () => {
    const status = buildStatus({
      snapshot: createSnapshot(),
      tor: undefined,
      version: '\u001B[2J\n1',
      uptimeSeconds: 0,
      startTimeSeconds: 0,
      residentBytes: 0,
      loopDelaySeconds: 0,
    })
    const operator = await stranger((_request, response) => void response.end(JSON.stringify({ ...status, reasons: ['\u009B31m'] })))
    for (const more of [[], ['--json']]) {
      const io = createTestIo()
      await run(['--operator', operator, ...more], io)
      for (const control of ['\u001B', '\u009B']) expect(io.out()).not.toContain(control)
    }
  })
})

test.each([
  [['--operator', '10.0.0.1:9090'], /--operator: is not a local address/],
  [['--operator', 'off'], /--operator is off/],
  [['--zQ9'], /unknown option --zQ9/],
  [['word'], /takes options only/],
])('%j is a usage error', async (argv, problem) => {
  const io = createTestIo()
  expect(await runCommand(['status', ...argv], io)).toBe(2)
  expect(io.err()).toMatch(problem)
})
