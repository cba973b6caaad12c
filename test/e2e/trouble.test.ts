/**
 * The client explains why it cannot reach a relay, tested with real tors: without a network, without a relay
 * behind the onion service, and with client authorization.
 */
import { once } from 'node:events'
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { type AddressInfo, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, inject, test } from 'vitest'
import { startTor, type Tor } from '../../src/tor/process.ts'
import { asfaleia, createKeyFolder, type Outcome } from '../support/command.ts'
import { missing } from '../support/programs.ts'
import { startTestRelay, type TestRelay } from '../support/relay.ts'
import { type OnionHost, joinTorNetwork, TOR_PROGRAMS, type TorClient, type TorNetwork } from '../support/tor-network.ts'

const reason = missing(...TOR_PROGRAMS)
const SLOW = 120_000
/** The address of the Tor Project's web site, which does not exist in this network. */
const ELSEWHERE = '2gzyxa5ihm7nsggfxnu52rck2vv4rvmdlkiu3zzui5du4xyclen53wid.onion'

const keys = createKeyFolder()
const alice = keys.make('alice')
const bob = keys.make('bob')
let folder: string
let network: TorNetwork
let client: TorClient
let host: OnionHost
let relay: TestRelay
const at = (name: string): string => join(folder, name)
beforeAll(async () => {
  if (reason !== undefined) return
  folder = mkdtempSync(join(tmpdir(), 'asf-trouble-'))
  network = await joinTorNetwork(inject('torNetwork'))
  relay = await startTestRelay()
  const doors = [
    { port: 3308, target: { kind: 'tcp', host: '127.0.0.1', port: relay.port } },
    // No process listens at port 1 of this machine.
    { port: 3309, target: { kind: 'tcp', host: '127.0.0.1', port: 1 } },
  ] as const
  ;[client, host] = await Promise.all([network.addClient(), network.addOnionHost({ doors })])
}, 300_000)
afterAll(async () => {
  await network?.stop()
  await relay?.close()
  keys.remove()
  if (folder !== undefined) rmSync(folder, { recursive: true, force: true })
})
beforeEach((context) => {
  if (reason !== undefined) context.skip(reason)
})

const send = (
  to: string,
  socks: string,
  control: string,
  more: readonly string[] = [],
  env: Record<string, string> = {},
): Promise<Outcome> =>
  asfaleia(['send', '--relay', to, '--socks', socks, '--key', alice.file, ...more, `${bob.file}.pub`, 'hello'], {
    env: { ASFALEIA_TOR_CONTROL: control, ...env },
  })
const controlOf = (tor: Tor): string => `unix:${tor.controlPath}`
const socksOf = async (tor: Tor): Promise<string> => /127\.0\.0\.1:\d+/.exec((await tor.control.info('net/listeners/socks'))!)![0]

describe('with a tor that is not connected to its network', () => {
  let tor: Tor
  beforeAll(async () => {
    if (reason !== undefined) return
    const nobody = `DirAuthority nobody orport=1 no-v2 v3ident=${'A'.repeat(40)} 127.0.0.1:1 ${'B'.repeat(40)}`
    tor = await startTor({ folder: at('lonely'), torrc: ['TestingTorNetwork 1', 'SocksPort 127.0.0.1:auto', nobody] })
  }, SLOW)
  afterAll(() => tor?.stop())

  test("the client reports tor's progress and its reason", { timeout: SLOW }, async () => {
    const outcome = await send(ELSEWHERE, await socksOf(tor), controlOf(tor), ['--timeout', '3'])
    expect(outcome).toMatchObject({ code: 69, out: '' })
    expect(outcome.err).toMatch(
      /^asfaleia: error: tor is not connected to its network yet: \d+ %, conn\w*\nasfaleia: hint: tor gives the reason CONNECTREFUSED; see its log\n$/,
    )
  })

  test('the client reports a timeout and suggests that tor may be offline, if it must not ask tor', { timeout: SLOW }, async () => {
    const outcome = await send(ELSEWHERE, await socksOf(tor), 'off', ['--timeout', '3'])
    expect(outcome).toMatchObject({
      code: 69,
      err: expect.stringMatching(
        /timed out while connecting to the relay\nasfaleia: hint: tor does not answer while it is not connected/,
      ) as string,
    })
  })

  test('the client names the right SOCKS port if the user gave another', async () => {
    const outcome = await send(ELSEWHERE, '127.0.0.1:1', controlOf(tor))
    expect(outcome).toMatchObject({
      code: 69,
      err: `asfaleia: error: nothing listens at the SOCKS port\nasfaleia: hint: tor runs, but with another SOCKS port: use --socks ${await socksOf(tor)}\n`,
    })
  })
})

test('without a tor, the client reports that no process listens at the SOCKS port', async () => {
  const outcome = await send(ELSEWHERE, '127.0.0.1:1', 'unix:/no/such/socket')
  expect(outcome).toMatchObject({
    code: 69,
    err: expect.stringMatching(/nothing listens at the SOCKS port\nasfaleia: hint: start tor/) as string,
  })
})

test('if another program listens at the SOCKS port, the client says that it is not tor', async () => {
  const server = createServer((socket) => socket.end('HTTP/1.1 400 Bad Request\r\n\r\n'))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const outcome = await send(ELSEWHERE, `127.0.0.1:${(server.address() as AddressInfo).port}`, 'off')
  server.close()
  expect(outcome).toMatchObject({ code: 69, err: expect.stringContaining('the program at the SOCKS port is not tor') as string })
})

describe('with a tor that is connected', () => {
  const socks = (): string => `127.0.0.1:${client.socks.port}`

  test('the client reaches an existing relay and reports only its refusal', { timeout: SLOW }, async () => {
    // The relay's own name is `localhost`, so its refusal proves that the client reached it.
    expect(await send(host.onion, socks(), controlOf(client.tor))).toMatchObject({
      code: 77,
      err: expect.stringContaining('does not go by the name') as string,
    })
  })

  test('the client reports that an onion service does not exist', { timeout: SLOW }, async () => {
    expect(await send(ELSEWHERE, socks(), controlOf(client.tor))).toMatchObject({
      code: 69,
      err: expect.stringMatching(/tor cannot find the onion service\nasfaleia: hint: check the address/) as string,
    })
  })

  test('the client reports that the relay behind an onion service is down', { timeout: SLOW }, async () => {
    const outcome = await send(`${host.onion}:3309`, socks(), controlOf(client.tor), ['--timeout', '30'])
    expect(outcome).toMatchObject({ code: 69, out: '' })
    expect(outcome.err).toMatch(/the onion service is there, but its relay does not answer/)
  })
})

describe('with an onion service that requires client authorization', () => {
  test('the client asks for a key, and reaches the relay once `onion add` has stored one', { timeout: SLOW }, async () => {
    const dir = at('locked')
    mkdirSync(dir, { mode: 0o700 })
    chmodSync(dir, 0o700)
    const first = await network.addOnionHost({ doors: [{ port: 3308, target: { kind: 'tcp', host: '127.0.0.1', port: relay.port } }], dir })
    const added = await asfaleia(['client', 'add', 'alice', '--service', dir])
    expect(added.code).toBe(0)
    await first.restart()
    const fresh = await network.addClient()
    const [socks, control] = [`127.0.0.1:${fresh.socks.port}`, controlOf(fresh.tor)]
    const locked = await send(first.onion, socks, control)
    expect(locked).toMatchObject({
      code: 69,
      err: expect.stringMatching(/requires client authorization\nasfaleia: hint: .*asfaleia join/) as string,
    })
    const env = { ASFALEIA_HOME: at('home'), ASFALEIA_TOR_CONTROL: control }
    expect(await asfaleia(['onion', 'add', '-'], { env, input: added.out })).toEqual({ code: 0, out: `added ${first.onion}\n`, err: '' })
    expect(await send(first.onion, socks, control, [], env)).toMatchObject({
      code: 77,
      err: expect.stringContaining('does not go by the name') as string,
    })
    // A restarted tor has lost the key, so the client must give it again.
    await fresh.tor.control.ask(`ONION_CLIENT_AUTH_REMOVE ${first.onion.slice(0, -6)}`)
    await fresh.newIdentity()
    expect(await send(first.onion, socks, control, [], env)).toMatchObject({ code: 77 })
    expect(await asfaleia(['onion', 'list'], { env })).toMatchObject({ code: 0, out: `${first.onion}\n` })
    // If the client cannot reach tor's control port, it must say what to do.
    const off = await asfaleia(['onion', 'add', added.out.trim()], { env: { ...env, ASFALEIA_TOR_CONTROL: 'off' } })
    expect(off).toMatchObject({
      code: 0,
      err: expect.stringContaining(`and reload tor: ${at('home')}/onions/${first.onion}\n`) as string,
    })
    expect(off.err).not.toContain(added.out.trim().split(':').at(-1))
    expect(readFileSync(join(at('home'), 'onions', first.onion), 'utf8')).toBe(added.out)
    expect(await asfaleia(['onion', 'remove', first.onion], { env })).toMatchObject({ code: 0, out: `removed ${first.onion}\n` })
  })
})
