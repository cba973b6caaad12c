import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import { type Host, run } from '../../../src/cli/commands/relay.ts'
import type { Config } from '../../../src/config/config.ts'
import { ConfigError } from '../../../src/config/problem.ts'
import { SETTING_KEYS, variableOf } from '../../../src/config/setting.ts'
import type { RunningServer } from '../../../src/server/server.ts'
import { createTestIo, type TestIo } from '../../support/terminal.ts'

const LISTENING: RunningServer['listening'] = [
  { door: 'tcp', address: { kind: 'tcp', host: '127.0.0.1', port: 41235 } },
  { door: 'unix', address: { kind: 'unix', path: '/run/x.sock' } },
  { door: 'http', address: { kind: 'tcp', host: '::1', port: 8080 } },
  { door: 'operator', address: { kind: 'unix', path: '/run/o.sock' } },
]

/** Makes a host whose server is a stand-in that records its calls. */
function createHost(startServer?: (create: (more: Partial<RunningServer>) => RunningServer) => Promise<RunningServer>) {
  const calls: string[] = []
  const createServer = (more: Partial<RunningServer> = {}): RunningServer => ({
    listening: LISTENING,
    ignoresSignal: false,
    handedOver: new Promise<never>(() => {}),
    reload: () => void calls.push('reload'),
    close: async () => void calls.push('close'),
    ...more,
  })
  let config: Config | undefined
  let hangup = (): void => {}
  const host: Host = {
    examine: () => [],
    confine: () => true,
    giveUp: () => {},
    async startServer(given) {
      config = given
      calls.push('start')
      if (startServer !== undefined) return startServer(createServer)
      return createServer()
    },
    onHangup(listener) {
      hangup = listener
      return () => void calls.push('off hangup')
    },
    onCrash: () => () => void calls.push('off crash'),
  }
  return { host, calls, config: () => config, hangup: () => hangup() }
}

function events(io: TestIo): unknown[] {
  return io
    .err()
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => (JSON.parse(line) as { event: string }).event)
}

test('a signal that came too late to interrupt a takeover does not stop the relay with the only copy', async () => {
  const handedOver = Promise.withResolvers<void>()
  const { host, calls } = createHost(async (create) => create({ ignoresSignal: true, handedOver: handedOver.promise }))
  const io = createTestIo({})
  io.interrupt()
  const ended = run(['--name', 'localhost'], io, host)
  await io.untilOut('ready\n')
  await new Promise((resolve) => setImmediate(resolve))
  expect(calls).toEqual(['start'])
  expect(events(io)).toEqual(['starting', 'ready', 'stop-too-late'])
  handedOver.resolve()
  expect(await ended).toBe(0)
  expect(events(io)).toEqual(['starting', 'ready', 'stop-too-late', 'stopping', 'stopped'])
})

test('the relay command prints each listener and then ready, and serves until interrupted', async () => {
  const { host, calls, config, hangup } = createHost()
  const io = createTestIo({ ASFALEIA_WINDOW: '5' })
  const ended = run(['--name', 'localhost'], io, host)
  await io.untilOut('ready\n')
  expect(io.out()).toBe('tcp 127.0.0.1:41235\nunix /run/x.sock\nhttp [::1]:8080\noperator unix:/run/o.sock\nready\n')
  expect(config()).toMatchObject({ names: ['localhost'], limits: { window: 5 } })
  hangup()
  io.interrupt()
  expect(await ended).toBe(0)
  expect(calls).toEqual(['start', 'reload', 'off hangup', 'close', 'off crash'])
  expect(events(io)).toEqual(['starting', 'ready', 'stopping', 'stopped'])
})

test('an interruption during the start still closes the server', async () => {
  const { host, calls } = createHost()
  const io = createTestIo()
  io.interrupt()
  expect(await run([], io, host)).toBe(0)
  expect(calls).toContain('close')
})

test('the relay command logs that it has no name', async () => {
  const io = createTestIo()
  io.interrupt()
  await run([], io, createHost().host)
  expect(events(io)).toContain('no-name')
})

test('all problems of the configuration are reported at once with exit code 2, and nothing starts', async () => {
  const { host, calls } = createHost()
  const io = createTestIo({ ASFALEIA_HOLD: 'zQ9' })
  expect(await run(['--tcp', '0.0.0.0:3308', '--memory=zQ9', '--zq'], io, host)).toBe(2)
  expect(calls).toEqual([])
  expect(io.out()).toBe('')
  expect(io.err()).not.toContain('zQ9')
  expect(
    io
      .err()
      .split('\n')
      .filter((line) => line.startsWith('asfaleia: error: ')),
  ).toEqual([
    'asfaleia: error: --zq: unknown option',
    'asfaleia: error: --tcp: is not a local address',
    'asfaleia: error: --memory: is not a size from 1M to 32G',
    'asfaleia: error: ASFALEIA_HOLD: is not a time from 1s to 30d',
  ])
  expect(io.err().match(/^asfaleia: hint: /gm)).toHaveLength(4)
})

test('the relay command reads the config file', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'asfaleia-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  const path = join(folder, 'relay.conf')
  writeFileSync(path, 'name = localhost\nidle = 3m\n')
  const { host, config } = createHost()
  const io = createTestIo()
  io.interrupt()
  expect(await run(['--config', path], io, host)).toBe(0)
  expect(config()).toMatchObject({ names: ['localhost'], limits: { idleSeconds: 180 } })
})

describe('if the server cannot start', () => {
  test('the command reports a ConfigError like any other problem and exits with 1', async () => {
    const { host } = createHost(async () => {
      throw new ConfigError([
        { key: 'tcp', problem: '127.0.0.1:1 is in use', hint: 'choose another' },
        { key: 'admit', problem: 'cannot be read', hint: 'look' },
      ])
    })
    const io = createTestIo({ ASFALEIA_LOG_LEVEL: 'error' })
    expect(await run([], io, host)).toBe(1)
    expect(io.err()).toBe(
      'asfaleia: error: --tcp: 127.0.0.1:1 is in use\nasfaleia: hint: choose another\n' +
        'asfaleia: error: --admit: cannot be read\nasfaleia: hint: look\n',
    )
    expect(io.out()).toBe('')
  })

  test('the command rethrows a defect, which its caller reports without details', async () => {
    const { host } = createHost(async () => {
      throw new TypeError('a defect')
    })
    await expect(run([], createTestIo(), host)).rejects.toThrow(TypeError)
  })
})

test('--help lists every setting with its default and its variable', async () => {
  const io = createTestIo()
  expect(await run(['--help'], io, createHost().host)).toBe(0)
  for (const key of SETTING_KEYS) expect(io.out()).toMatch(new RegExp(`^  --${key} [A-Z]+\\s+.{10}`, 'm'))
  expect(io.out()).toContain(variableOf('per-circuit'))
})
