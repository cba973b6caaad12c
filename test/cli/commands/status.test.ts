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
import { buildStatus, type Moment, type Status } from '../../../src/operator/metrics.ts'
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

describe('status for people', () => {
  /** Returns the rows that `status` prints for a moment of a relay, by their names. */
  async function rowsOf(moment: Partial<Moment>): Promise<Readonly<Record<string, string>>> {
    const sizes = { residentBytes: 0, loopDelaySeconds: 0 }
    const status = buildStatus({
      snapshot: createSnapshot(),
      tor: undefined,
      version: '1',
      uptimeSeconds: 0,
      startTimeSeconds: 0,
      ...sizes,
      ...moment,
    })
    const io = createTestIo()
    await run(['--operator', await stranger((_request, response) => void response.end(JSON.stringify(status)))], io)
    return Object.fromEntries(Array.from(io.out().matchAll(/^(.{12}) (.+)$/gm), ([, name, text]) => [name!.trim(), text!]))
  }

  const FAILED = { reachable: false, seconds: undefined, failures: 1, problem: 'onion-not-found', ageSeconds: 59 } as const
  const REACHED = { reachable: true, seconds: 1.2344, failures: 0, problem: undefined, ageSeconds: 60 } as const
  const NO_TOR: TorState = { reachable: false, bootstrap: undefined, summary: 'unreachable' }

  test.each<[reachable: string, moment: Partial<Moment>]>([
    ['not tried (--probe, --probe-file)', {}],
    ['not tried yet', { probe: { ...FAILED, reachable: undefined, failures: 0, problem: undefined, ageSeconds: undefined } }],
    ['yes, through Tor in 1234 ms, 1 min ago', { probe: REACHED }],
    ['no: onion-not-found, 1 try in a row, the last 59 s ago', { probe: FAILED }],
    ['no: no-answer, 2 tries in a row', { probe: { ...FAILED, failures: 2, problem: 'no-answer', ageSeconds: undefined } }],
    ['no: tor does not answer; it was reachable 1 min ago', { probe: REACHED, tor: NO_TOR }],
    ['no: onion-not-found, 1 try in a row, the last 59 s ago', { probe: FAILED, tor: NO_TOR }],
  ])('says whether clients reach the relay: %s', async (reachable, moment) => {
    expect(await rowsOf(moment)).toMatchObject({ reachable })
  })

  test('says what to do if tor finds no socket of the relay', async () => {
    expect(await rowsOf({ probe: { ...FAILED, problem: 'relay-down' } })).toMatchObject({
      '': expect.stringContaining('deploy/upgrade') as string,
    })
    expect(Object.keys(await rowsOf({ probe: FAILED }))).not.toContain('')
  })

  test.each([
    [0, '0 s'],
    [59, '59 s'],
    [60, '1 min'],
    [3_599, '59 min'],
    [3_600, '1 h'],
    [86_399, '23 h'],
    [86_400, '1 d'],
  ])('shows a time of %i s as %s', async (uptimeSeconds, shown) => {
    expect(await rowsOf({ uptimeSeconds })).toMatchObject({ relay: `ready, version 1, up ${shown}` })
  })

  test.each([
    [1_023, '1023 B'],
    [1_024, '1.0 KiB'],
    [1_024 ** 2 - 1, '1024.0 KiB'],
    [1_024 ** 2, '1.0 MiB'],
    [1.5 * 1_024 ** 3, '1.5 GiB'],
  ])('shows %i bytes as %s', async (residentBytes, shown) => {
    expect((await rowsOf({ residentBytes }))['memory']).toMatch(new RegExp(`; ${shown} in all$`))
  })

  test('shows the state of tor with the age of its report, and a problem of the name file', async () => {
    const tor: TorState = { reachable: true, bootstrap: 100, summary: 'done', ageSeconds: 5 }
    expect(await rowsOf({ tor, nameFile: { problem: null } })).toMatchObject({ tor: 'done, 100 %, 5 s ago' })
    const rows = await rowsOf({ nameFile: { problem: 'malformed' } })
    expect(rows).toMatchObject({ tor: 'unknown (--tor-control, --tor-file)', name: 'the name file holds no onion address (--name-file)' })
    expect(await rowsOf({ nameFile: { problem: null } })).not.toHaveProperty('name')
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
