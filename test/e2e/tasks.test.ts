/**
 * The operator's tasks (docs/tasks.md) through a private Tor network: clients outside must see the effect that
 * each command reports. One relay goes through its life in order: published, lost and restored, closed and
 * opened, moved, wiped.
 */
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, inject, test } from 'vitest'
import { publication, quoted, startTor, type Tor } from '../../src/tor/process.ts'
import type { Status } from '../../src/operator/metrics.ts'
import { ASFALEIA, type Finished, run, type Running, start } from '../support/process.ts'
import { missing } from '../support/programs.ts'
import { joinTorNetwork, TOR_PROGRAMS, type TorClient, type TorNetwork } from '../support/tor-network.ts'

const reason = missing(...TOR_PROGRAMS)
/** Every test crosses six relays of a network that shares its processors with other tests. */
const SLOW = 120_000

let folder: string
let network: TorNetwork
let client: TorClient
let tor: Host
let relay: Running
const at = (name: string): string => join(folder, name)
const operator = (): string => `unix:${at('operator')}`

const asfaleia = (...argv: string[]): Promise<Finished> => run([...ASFALEIA, ...argv])
async function done(...argv: string[]): Promise<string> {
  const { code, stdout, stderr } = await asfaleia(...argv)
  if (code !== 0) throw new Error(`asfaleia ${argv[0]} ended with ${code}: ${stderr}`)
  return stdout
}

interface Host {
  readonly tor: Tor
  readonly control: string
  /** Gives tor exactly these services and makes it reload its torrc. */
  serve(...folders: string[]): Promise<void>
  /** Runs work that makes tor publish its descriptors again, and waits until it has. */
  publishing(work: () => Promise<unknown>): Promise<void>
}

/** Starts a tor as an operator runs it: its torrc is edited and reloaded. */
async function startHost(name: string, ...folders: string[]): Promise<Host> {
  const watchers = new Set<(event: string) => void>()
  const services = (dirs: readonly string[]): string[] =>
    dirs.flatMap((dir) => [
      `HiddenServiceDir ${quoted(dir)}`,
      `HiddenServicePort 3308 unix:${quoted(at('raw'))}`,
      'HiddenServiceExportCircuitID haproxy',
    ])
  const lines = [...network.torrc.split('\n'), 'SocksPort 0']
  const publishing = async (work: () => Promise<unknown>): Promise<void> => {
    const published = publication()
    watchers.add(published.onEvent)
    await work()
    await published.done
    watchers.delete(published.onEvent)
  }
  const own = at(name)
  let started: Tor | undefined
  await publishing(async () => {
    started = await startTor({
      folder: own,
      torrc: [...lines, ...services(folders)],
      // If the network were held, each reload of the torrc would hold it again.
      holdNetwork: false,
      events: ['HS_DESC'],
      onEvent: (event) => {
        for (const watcher of watchers) watcher(event)
      },
    })
  })
  const torrc = async (dirs: readonly string[]): Promise<void> => {
    const fixed = [
      `DataDirectory ${quoted(join(own, 'data'))}`,
      `ControlPort unix:${quoted(join(own, 'control'))}`,
      'CookieAuthentication 1',
    ]
    await writeFile(
      join(own, 'torrc'),
      [...fixed, `__OwningControllerProcess ${process.pid}`, 'Log notice stdout', ...lines, ...services(dirs), ''].join('\n'),
    )
  }
  return {
    tor: started!,
    control: `unix:${join(own, 'control')}`,
    publishing,
    async serve(...dirs) {
      await torrc(dirs)
      await started!.control.ask('SIGNAL RELOAD')
    },
  }
}

async function startRelay(...names: string[]): Promise<Running> {
  const doors = ['--tcp', 'off', '--http', 'off', '--unix', at('raw'), '--proxy', 'unix', '--operator', operator()]
  const probe = ['--probe', `${client.socks.host}:${client.socks.port}`, '--probe-every', '5s']
  const started = start([...ASFALEIA, 'relay', ...doors, ...probe, ...names])
  await started.until(/^ready$/m)
  return started
}

/** Visits the relay at the address, by default with a fresh tor. */
async function visit(address: string, by?: TorClient, seconds = 60): Promise<Finished> {
  const fresh = by ?? (await network.addClient())
  const socks = `${fresh.socks.host}:${fresh.socks.port}`
  const finished = await asfaleia('get', '--relay', address, '--key', at('alice'), '--socks', socks, '--timeout', String(seconds))
  if (by === undefined) await fresh.tor.stop()
  return finished
}
const FOUND = { code: 0, stdout: '' }
const LOST = { code: 69, stdout: '' }
/** Seconds until a visit to a vanished service gives up; tor itself would try for minutes. */
const GIVEN_UP = 20

async function status(when: (status: Status) => boolean): Promise<Status> {
  for (;;) {
    const { stdout } = await asfaleia('status', '--json', '--operator', operator())
    const now = JSON.parse(stdout) as Status
    if (when(now)) return now
  }
}

beforeAll(async () => {
  if (reason !== undefined) return
  folder = await mkdtemp(join(tmpdir(), 'asf-tasks-'))
  network = await joinTorNetwork(inject('torNetwork'))
  client = await network.addClient()
  tor = await startHost('tor', at('onion'))
  await done('key', '--out', at('alice'))
  relay = await startRelay('--name-file', at('onion/hostname'))
}, 300_000)
afterAll(async () => {
  await relay?.end('SIGKILL')
  await tor?.tor.stop()
  await network?.stop()
  if (folder !== undefined) await rm(folder, { recursive: true, force: true })
})
beforeEach((ctx) => ctx.skip(reason !== undefined, reason))

let address: string

describe("an operator's relay", () => {
  test('has an address, and reports whether it is reachable there', { timeout: SLOW }, async () => {
    address = (await done('address', '--service', at('onion'))).trim()
    expect(await visit(address)).toMatchObject(FOUND)
    const { probe, ready } = await status((now) => now.probe?.reachable === true)
    expect([ready, probe!.seconds! > 0, probe!.failures]).toEqual([true, true, 0])
    expect((await asfaleia('status', '--operator', operator())).stdout).toMatch(/^reachable +yes, through Tor in \d+ ms, \d+ s ago$/m)
  })

  test('is backed up, lost, and restored on a fresh host at the same address', { timeout: 2 * SLOW }, async () => {
    await done('key', '--out', at('vault'))
    await done('backup', '--service', at('onion'), '--to', `${at('vault')}.pub`, '--out', at('backup.age'))
    expect(await done('backup', '--verify', at('backup.age'), '--identity', at('vault'))).toContain(address)
    await tor.tor.kill()
    await rm(at('onion'), { recursive: true })
    await rm(at('tor'), { recursive: true })
    expect(await visit(address, undefined, GIVEN_UP)).toMatchObject(LOST)
    expect((await status((now) => now.probe?.reachable === false)).probe).toMatchObject({ reachable: false })
    await mkdir(at('fresh'), { mode: 0o700 })
    expect(await done('restore', at('backup.age'), '--identity', at('vault'), '--to', at('fresh/onion'))).toContain(address)
    tor = await startHost('tor2', at('fresh/onion'))
    await relay.end()
    relay = await startRelay('--name-file', at('fresh/onion/hostname'))
    expect(await visit(address)).toMatchObject(FOUND)
  })

  test('lets only members find it after `invite`, and everyone again after `member remove --open`', { timeout: 2 * SLOW }, async () => {
    const service = ['--service', at('fresh/onion')]
    const profile = (name: string, by: TorClient): Record<string, string> => ({
      ASFALEIA_HOME: at(name),
      ASFALEIA_SOCKS: `${by.socks.host}:${by.socks.port}`,
      ASFALEIA_TOR_CONTROL: `unix:${by.tor.controlPath}`,
    })
    const as = (env: Record<string, string>, ...argv: string[]): Promise<Finished> => run([...ASFALEIA, ...argv], { env })
    // The operator receives at the relay, too, and comes as a member.
    const own = await network.addClient()
    const olga = profile('olga', own)
    const card = (await as(olga, 'me', '--name', 'Olga', '--relay', address, '--link')).stdout.trim()
    let mine = ''
    let invite = ''
    await tor.publishing(async () => {
      mine = await done('invite', 'olga', ...service)
      invite = (await done('invite', 'alice', '--card', card, ...service, '--tor-control', tor.control)).trim()
    })
    const locked = await visit(address)
    expect(locked).toMatchObject(LOST)
    expect(locked.stderr).toContain('the onion service requires client authorization')
    expect(await as(olga, 'join', mine.trim())).toMatchObject({ code: 0 })

    const fresh = await network.addClient()
    const alice = profile('alice-home', fresh)
    expect(await as(alice, 'join', invite)).toMatchObject({
      code: 0,
      stdout: expect.stringContaining('sent your card to Olga\n') as string,
    })
    expect(await as(alice, 'send', 'Olga', 'hello')).toMatchObject({ code: 0 })
    const got = (await as(olga, 'get', '--json')).stdout.trim().split('\n')
    expect(got.some((line) => line.includes('hello'))).toBe(true)

    await tor.publishing(() => done('member', 'remove', 'alice', ...service, '--tor-control', tor.control))
    await fresh.newIdentity()
    expect(await as(alice, 'send', 'Olga', 'again', '--timeout', '30')).toMatchObject({ code: 69 })
    await fresh.tor.stop()
    await own.tor.stop()
    await tor.publishing(() => done('member', 'remove', 'olga', '--open', ...service, '--tor-control', tor.control))
    expect(await visit(address)).toMatchObject(FOUND)
  })

  test(
    'moves: both addresses work at first, with a notice at the old one, and only the new one after `rotate --end`',
    { timeout: 2 * SLOW },
    async () => {
      const [moved = ''] = (await done('rotate', '--service', at('fresh/onion'), '--to', at('fresh/new'))).split('\n')
      await tor.publishing(() => tor.serve(at('fresh/onion'), at('fresh/new')))
      await relay.end()
      relay = await startRelay('--name-file', at('fresh/new/hostname'), '--moved-from', address)
      expect((await visit(moved)).stderr).not.toContain('moving')
      const old = await visit(address)
      expect(old).toMatchObject(FOUND)
      expect(old.stderr).toContain(`this relay is moving: use ${moved} from now on`)

      await tor.serve(at('fresh/new'))
      await done('rotate', '--service', at('fresh/onion'), '--end', address)
      await relay.end()
      relay = await startRelay('--name-file', at('fresh/new/hostname'))
      expect(await visit(address, undefined, GIVEN_UP)).toMatchObject(LOST)
      expect(await visit(moved)).toMatchObject(FOUND)
      address = moved
    },
  )

  test('is wiped by `panic`: messages, keys and tor are gone at once', { timeout: SLOW }, async () => {
    const socks = `${client.socks.host}:${client.socks.port}`
    await done('send', '--relay', address, '--key', at('alice'), '--socks', socks, `${at('alice')}.pub`, 'secret')
    expect((await status(() => true)).messages).toBe(10)
    const said = await done('panic', '--operator', operator(), '--keys', at('fresh/new'), '--tor-control', tor.control)
    expect(said).toBe(`the relay erased everything\nthe keys in ${at('fresh/new')} are destroyed\ntor has ended\n`)
    await tor.tor.exited
    expect(await status(() => true)).toMatchObject({ messages: 0, connections: 0, mailboxes: 0 })
    expect(await asfaleia('address', '--service', at('fresh/new'))).toMatchObject({ code: 1 })
    expect(await visit(address, undefined, GIVEN_UP)).toMatchObject(LOST)
  })
})
