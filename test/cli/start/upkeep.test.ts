/** The upkeep of tor in front of a relay, with a tor that ends at once, and with one that the test plays. */
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type * as promises from 'node:timers/promises'
import { setImmediate as turn } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import type { Screen } from '../../../src/cli/program/progress.ts'
import { keepTor, type Service } from '../../../src/cli/start/upkeep.ts'
import type * as process_ from '../../../src/tor/process.ts'
import type { Tor, TorOptions } from '../../../src/tor/process.ts'
import { createTestIo } from '../../support/terminal.ts'

/** How the test plays tor, and the pauses before tor starts again, ms: none takes any time. */
const played = vi.hoisted(() => ({
  start: undefined as ((options: TorOptions) => Promise<Tor>) | undefined,
  pauses: [] as number[],
}))
vi.mock('../../../src/tor/process.ts', async (original) => {
  const real = await original<typeof process_>()
  return { ...real, startTor: (options: TorOptions) => (played.start ?? real.startTor)(options) }
})
vi.mock('node:timers/promises', async (original) => {
  const real = await original<typeof promises>()
  const setTimeout: typeof promises.setTimeout = async (ms, value, options) => {
    if (played.start === undefined) return real.setTimeout(ms, value, options)
    played.pauses.push(ms!)
    return value!
  }
  return { ...real, setTimeout }
})

let root: string
let service: Service
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'asf-upkeep-'))
  mkdirSync(join(root, 'bin'))
  writeFileSync(join(root, 'bin/tor'), '#!/bin/sh\necho "Nov 30 12:00:00.000 [warn] the disk is full"\nsleep 0.3\nexit 1\n')
  chmodSync(join(root, 'bin/tor'), 0o700)
  vi.stubEnv('PATH', `${join(root, 'bin')}:${process.env['PATH']}`)
  const at = (name: string): string => join(root, name)
  service = { pow: true, state: at('state'), tor: at('tor'), raw: at('raw'), http: at('http'), hostname: at('h'), nameFile: at('n') }
})
afterEach(() => {
  played.start = undefined
  played.pauses = []
  vi.useRealTimers()
  vi.unstubAllEnvs()
  rmSync(root, { recursive: true, force: true })
})

/** Keeps tor until it has ended once. @returns the lines for the user, and tor's configuration */
async function keep(changes: Partial<Service> = {}, env: Record<string, string> = {}): Promise<{ said: string[]; torrc: string }> {
  const over = new AbortController()
  const said: string[] = []
  const say = (line: string): void => {
    said.push(line)
    over.abort()
  }
  const screen = { say, progress: () => {} } as unknown as Screen
  const listener = { onReachable: async () => {}, onNoNetwork: async () => {} }
  await keepTor({ ...service, ...changes }, createTestIo(env), screen, over.signal, listener)
  return { said, torrc: readFileSync(join(root, 'tor/torrc'), 'utf8') }
}

test('closes the folder of the service, and says why tor ended', async () => {
  mkdirSync(service.state)
  chmodSync(service.state, 0o755)
  const { said, torrc } = await keep()
  expect(statSync(service.state).mode & 0o777).toBe(0o700)
  expect(said).toEqual(['error: tor ended with code 1: the disk is full; the relay keeps running, and tor restarts in 1 s'])
  expect(torrc).toContain(`\nHiddenServicePort 3308 unix:"${service.raw}"\n`)
  expect(torrc).toContain(`\nHiddenServicePort 80 unix:"${service.http}"\n`)
  expect(torrc).toContain('\nHiddenServicePoWDefensesEnabled 1\n')
})

test('asks for no proof-of-work defence of a tor without it, and adds the lines of the user', async () => {
  writeFileSync(join(root, 'extra'), 'Bridge 1.2.3.4:5\n')
  const { torrc } = await keep({ pow: false }, { ASFALEIA_TORRC_EXTRA: join(root, 'extra') })
  expect(torrc).not.toContain('PoW')
  expect(torrc).toContain('\nBridge 1.2.3.4:5\n')
  const missing = keep({}, { ASFALEIA_TORRC_EXTRA: join(root, 'missing') })
  await expect(missing).rejects.toThrow('cannot read the file in ASFALEIA_TORRC_EXTRA')
})

test('names another folder as the next step if it cannot use this one', async () => {
  writeFileSync(join(root, 'file'), '')
  await expect(keep({ state: join(root, 'file/state') })).rejects.toMatchObject({
    message: `cannot create the folder ${join(root, 'file/state')}: ${join(root, 'file')} is a file`,
    hint: 'name another folder with --state',
  })
  // A folder there, which the system does not let it close to others.
  await expect(keep({ state: '/proc/self/net' })).rejects.toMatchObject({
    message: expect.stringMatching(/^cannot use the folder \/proc\/self\/net: /) as string,
    hint: 'name another folder with --state',
  })
})

describe('a tor that runs', () => {
  const ONION = `${'a'.repeat(56)}.onion`
  /** A run of tor that the test plays. */
  interface Run {
    readonly onEvent: (event: string) => void
    end(): void
    isStopped: boolean
  }

  let runs: Run[]
  let told: string[]
  let over: AbortController
  let keeping: Promise<void>
  /** Resolves when the relay's listeners are back at this machine only. */
  let local: PromiseWithResolvers<void>

  beforeEach(() => {
    runs = []
    told = []
    over = new AbortController()
    local = Promise.withResolvers()
    writeFileSync(service.hostname, `${ONION}\n`)
    played.start = async ({ onEvent }) => {
      const exited = Promise.withResolvers<void>()
      const run: Run = { onEvent: onEvent!, end: () => exited.resolve(), isStopped: false }
      runs.push(run)
      const stop = async (): Promise<void> => void (run.isStopped = true)
      return { control: { info: async () => '"127.0.0.1:4711"' }, exited: exited.promise, stop } as unknown as Tor
    }
  })
  afterEach(async () => {
    over.abort()
    local.resolve()
    await keeping
  })

  async function begin(): Promise<void> {
    const screen: Screen = { say: (line) => told.push(line), pass: () => {}, progress: (line) => told.push(`… ${line}`) }
    const listener = {
      onReachable: async (name: string, socks: string) => void told.push(`reachable: ${name} ${socks}`),
      onNoNetwork: async () => {
        told.push('no network')
        await local.promise
      },
    }
    keeping = keepTor(service, createTestIo(), screen, over.signal, listener)
    await until(() => runs.length === 1)
  }

  async function until(condition: () => boolean): Promise<void> {
    while (!condition()) await turn()
  }

  const bootstrap = (percent: number, summary: string): string =>
    `STATUS_CLIENT NOTICE BOOTSTRAP PROGRESS=${percent} TAG=x SUMMARY="${summary}"`

  function publish({ onEvent }: Run): void {
    for (const action of ['UPLOAD', 'UPLOADED']) onEvent(`HS_DESC ${action} ${ONION} UNKNOWN $A~a`)
  }

  test('shows its progress, each step once, until clients can find the service', async () => {
    await begin()
    const [run] = runs
    for (const event of [
      bootstrap(10, 'Connecting to a\u{1b}relay'),
      bootstrap(10, 'Connecting to another relay'),
      'STATUS_CLIENT NOTICE CIRCUIT_ESTABLISHED',
      bootstrap(75, ''),
      bootstrap(100, 'Done'),
    ])
      run!.onEvent(event)
    expect(told).toEqual(['… Tor 10%: connecting to a\\u{1b}relay', '… Tor 75%: ', '… Tor 100%: publishing the onion service'])
    publish(run!)
    await until(() => told.length === 4)
    expect(told[3]).toBe(`reachable: ${ONION} 127.0.0.1:4711`)
    await until(() => told.length === 4)
    run!.onEvent(bootstrap(50, 'Connecting again'))
    expect(told).toHaveLength(4)
  })

  test('and ends is started again after a pause, which doubles up to a minute, and is short again once it worked', async () => {
    await begin()
    for (let count = 1; count <= 8; count++) {
      runs.at(-1)!.end()
      await until(() => runs.length === count + 1)
    }
    expect(played.pauses).toEqual([1, 2, 4, 8, 16, 32, 60, 60].map((seconds) => seconds * 1_000))
    expect(told[6]).toBe('error: Tor ended; the relay keeps running, and tor restarts in 60 s')
    expect(runs.map(({ isStopped }) => isStopped)).toEqual([...Array<boolean>(8).fill(true), false])
    publish(runs.at(-1)!)
    await until(() => told.at(-1)!.startsWith('reachable'))
    runs.at(-1)!.end()
    await until(() => runs.length === 10)
    expect(played.pauses.at(-1)).toBe(1_000)
    // The service has its name already.
    publish(runs.at(-1)!)
    await until(() => told.at(-1) === 'Tor is running again, and so is the onion service')
    expect(told.filter((line) => line.startsWith('reachable'))).toHaveLength(1)
  })

  test('is stopped at the end, and the upkeep ends with it', async () => {
    await begin()
    over.abort()
    await keeping
    expect([runs[0]!.isStopped, told, played.pauses]).toEqual([true, [], []])
  })

  test('without progress for half a minute has no network, and says so once', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
    await begin()
    vi.advanceTimersByTime(29_999)
    runs[0]!.onEvent(bootstrap(5, 'Connecting'))
    vi.advanceTimersByTime(29_999)
    expect(told).toEqual(['… Tor 5%: connecting'])
    vi.advanceTimersByTime(1)
    expect(told.at(-1)).toBe('no network')
    runs[0]!.onEvent(bootstrap(50, 'Loading'))
    vi.advanceTimersByTime(300_000)
    expect(told).toEqual(['… Tor 5%: connecting', 'no network', '… Tor 50%: loading'])
  })

  test('that is reachable in time has a network', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
    await begin()
    publish(runs[0]!)
    await until(() => told.length === 1)
    vi.advanceTimersByTime(300_000)
    expect(told).toEqual([`reachable: ${ONION} 127.0.0.1:4711`])
  })

  test('that is reachable after all waits until the relay has got the name for this machine', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
    await begin()
    vi.advanceTimersByTime(30_000)
    publish(runs[0]!)
    for (let turns = 0; turns < 20; turns++) await turn()
    expect(told).toEqual(['no network'])
    local.resolve()
    await until(() => told.length === 2)
    expect(told[1]).toBe(`reachable: ${ONION} 127.0.0.1:4711`)
  })

  test('ends only after the relay has got that name', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
    await begin()
    vi.advanceTimersByTime(30_000)
    let isOver = false
    const ended = keeping.then(() => (isOver = true))
    over.abort()
    await until(() => runs[0]!.isStopped)
    for (let turns = 0; turns < 20; turns++) await turn()
    expect(isOver).toBe(false)
    local.resolve()
    await ended
  })
})
