/**
 * The relay as a v3 onion service in a private Tor network: users exchange messages through every kind of
 * client, also after the relay or the tor in front of it was killed.
 */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { createServer, type Server, type Socket } from 'node:net'
import { once } from 'node:events'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { SocksClient } from 'socks'
import { afterAll, beforeAll, beforeEach, describe, expect, inject, test } from 'vitest'
import { WebSocket } from 'ws'
import { ASFALEIA, run, type Running, start } from '../support/process.ts'
import { missing } from '../support/programs.ts'
import { type OnionHost, joinTorNetwork, TOR_PROGRAMS, type TorClient, type TorNetwork } from '../support/tor-network.ts'

const SHELL_CLIENT = join(import.meta.dirname, 'shell-client.sh')
const reason = missing(...TOR_PROGRAMS, 'torsocks', 'nc', 'age', 'ssh-keygen')
/** Every test crosses six relays of a network that shares its processors with other tests. */
const SLOW = 90_000

let folder: string
let network: TorNetwork
let client: TorClient

beforeAll(async () => {
  if (reason !== undefined) return
  folder = await mkdtemp(join(tmpdir(), 'asf-e2e-'))
  network = await joinTorNetwork(inject('torNetwork'))
  client = await network.addClient()
})
afterAll(async () => {
  await network?.stop()
  if (folder !== undefined) await rm(folder, { recursive: true, force: true })
})
beforeEach((ctx) => ctx.skip(reason !== undefined, reason))

async function dial(onion: string, port: number, identity: string): Promise<Socket> {
  const { socket } = await SocksClient.createConnection({
    proxy: { ...client.socks, type: 5, userId: identity, password: identity },
    command: 'connect',
    destination: { host: onion, port },
  })
  return socket
}

async function makeKey(name: string, type = 'ed25519'): Promise<string> {
  const key = join(folder, name)
  const { code } = await run(['ssh-keygen', '-q', '-t', type, '-N', '', '-C', '', '-f', key])
  expect(code).toBe(0)
  return key
}

describe('the private network', () => {
  let echo: Server
  let host: OnionHost

  beforeAll(async () => {
    if (reason !== undefined) return
    echo = createServer((socket) => socket.on('error', () => {}).pipe(socket)).listen(0, '127.0.0.1')
    await once(echo, 'listening')
    const { port } = echo.address() as { port: number }
    host = await network.addOnionHost({
      doors: [{ port: 7777, target: { kind: 'tcp', host: '127.0.0.1', port } }],
      proxyHeader: true,
    })
  })
  afterAll(() => {
    echo?.close()
  })

  /** @returns the echo of `hello` and a line break, after the PROXY line */
  async function echoed(identity: string): Promise<string> {
    const socket = await dial(host.onion, 7777, identity)
    let back = ''
    socket.setEncoding('utf8').on('data', (text: string) => {
      back += text
    })
    socket.write('hello\n')
    while (!back.includes('hello\n')) await once(socket, 'data')
    socket.destroy()
    return back
  }

  test('carries bytes to an onion service and back, with a PROXY line that identifies the circuit', { timeout: SLOW }, async () => {
    const [first, second, other] = [await echoed('a'), await echoed('a'), await echoed('b')]
    expect(first).toMatch(/^PROXY TCP6 fc00:dead:beef:4dad::[0-9a-f]+:[0-9a-f]+ ::1 \d+ 7777\r\nhello\n$/)
    expect(second).toBe(first)
    expect(other).not.toBe(first)
  })

  test('carries bytes again after the onion host was killed', { timeout: SLOW }, async () => {
    const { onion } = host
    await host.restart()
    await client.newIdentity()
    expect(host.onion).toBe(onion)
    expect(await echoed('c')).toMatch(/hello\n$/)
  })
})

describe('the relay behind an onion service', () => {
  let host: OnionHost
  let relay: Running
  let alice: string
  let bob: string

  const startRelay = async (): Promise<Running> => {
    const doors = ['--tcp', 'off', '--unix', join(folder, 'raw'), '--http', `unix:${join(folder, 'http')}`]
    const names = ['--operator', 'off', '--proxy', 'unix,http', '--name-file', host.nameFile]
    const started = start([...ASFALEIA, 'relay', ...doors, ...names])
    await started.until(/^ready$/m)
    return started
  }

  beforeAll(async () => {
    if (reason !== undefined) return
    ;[host, alice, bob] = await Promise.all([
      network.addOnionHost({
        doors: [
          { port: 3308, target: { kind: 'unix', path: join(folder, 'raw') } },
          { port: 80, target: { kind: 'unix', path: join(folder, 'http') } },
        ],
        proxyHeader: true,
      }),
      makeKey('alice'),
      makeKey('bob', 'rsa'),
    ])
    relay = await startRelay()
  })
  afterAll(async () => {
    await relay?.end()
  })

  /**
   * The kinds of clients: each has a command that sends a text with a key to a public key, and one that gets
   * messages.
   */
  const ways = {
    'torsocks nc and age': {
      send: (key: string, to: string, text: string) => shell('send', key, `${to}.pub`, text),
      get: (key: string) => shell('get', key),
    },
    'our client, by SOCKS': {
      send: (key: string, to: string, text: string) => ours([], 'send', '--socks', socks(), '--key', key, `${to}.pub`, text),
      get: (key: string) => ours([], 'get', '--socks', socks(), '--key', key),
    },
    'our client, under torsocks': {
      send: (key: string, to: string, text: string) => ours(['torsocks'], 'send', '--socks', 'off', '--key', key, `${to}.pub`, text),
      get: (key: string) => ours(['torsocks'], 'get', '--socks', 'off', '--key', key),
    },
  } as const
  const socks = (): string => `${client.socks.host}:${client.socks.port}`
  const torsocks = (): { env: Record<string, string> } => ({ env: { TORSOCKS_CONF_FILE: client.torsocksConf } })
  const shell = (command: string, key: string, ...args: string[]) =>
    run(['sh', SHELL_CLIENT, command, host.onion, '3308', key, ...args], torsocks())
  const ours = (under: readonly string[], command: string, ...args: string[]) =>
    run([...under, ...ASFALEIA, command, '--relay', host.onion, ...args], torsocks())

  /**
   * Two users write to each other with every kind of client; another kind reads the message too.
   * @returns the texts that each of them read, in order
   */
  async function exchange(): Promise<string[]> {
    const read: string[] = []
    const entries = Object.entries(ways)
    for (const [n, [name, way]] of entries.entries()) {
      const [, otherWay] = entries[(n + 1) % entries.length]!
      expect(await way.send(alice, bob, `to Bob by ${name}`)).toMatchObject({ code: 0 })
      expect(await way.send(bob, alice, `to Alice by ${name}`)).toMatchObject({ code: 0 })
      // The last one finds nothing, because the messages were acknowledged.
      for (const got of [await way.get(bob), await otherWay.get(alice), await way.get(alice)]) {
        expect(got).toMatchObject({ code: 0 })
        // Our client prints the sender before the text; the shell client prints it to standard error.
        read.push(/^.*?(to (?:Bob|Alice) by .*)$/m.exec(got.stdout)?.[1] ?? got.stdout)
      }
    }
    return read
  }
  const everything = Object.keys(ways).flatMap((name) => [`to Bob by ${name}`, `to Alice by ${name}`, ''])

  test('carries messages between two users', { timeout: SLOW }, async () => {
    expect(await exchange()).toEqual(everything)
  })

  test('carries messages after it was killed and restarted', { timeout: SLOW }, async () => {
    await relay.end('SIGKILL')
    relay = await startRelay()
    expect(await exchange()).toEqual(everything)
  })

  test('carries messages after the tor in front of it was killed', { timeout: SLOW }, async () => {
    await host.restart()
    await client.newIdentity()
    expect(await exchange()).toEqual(everything)
  })

  test('accepts signatures by a shell client whose key cannot decrypt', { timeout: SLOW }, async () => {
    const carol = await makeKey('carol', 'ecdsa')
    expect(await shell('login', carol)).toMatchObject({ code: 0 })
    expect(await shell('send', carol, `${bob}.pub`, 'signed')).toMatchObject({ code: 0 })
    const people = join(folder, 'people')
    await writeFile(people, `carol ${await readFile(`${carol}.pub`, 'utf8')}`)
    expect(await shell('get', bob, people)).toMatchObject({ stdout: 'signed\n', stderr: expect.stringContaining('from carol, ') })
    expect(await shell('send', carol, `${bob}.pub`, 'signed for ours')).toMatchObject({ code: 0 })
    const { stdout } = await ours([], 'get', '--socks', socks(), '--key', bob, '--json')
    expect(JSON.parse(stdout)).toMatchObject({ verdict: 'genuine', type: 'text', text: 'signed for ours' })
  })

  test('answers on a WebSocket', { timeout: SLOW }, async () => {
    const socket = await dial(host.onion, 80, 'browser')
    const websocket = new WebSocket(`ws://${host.onion}/v1`, ['asfaleia.1'], { createConnection: () => socket })
    await once(websocket, 'open')
    const answers: string[] = []
    websocket.on('message', (data) => answers.push(String(data)))
    websocket.send(`8;asfaleia/1;${host.onion}`)
    websocket.send('7')
    while (answers.length < 2) await once(websocket, 'message')
    websocket.close()
    expect(answers[0]).toMatch(/^18;asfaleia\/1;/)
    expect(answers[1]).toBe('17')
  })

  test('refuses a connection without a PROXY line', { timeout: SLOW }, async () => {
    // Connect straight to the socket, as if tor exported no circuit ids: the first packet is not a PROXY line.
    const nc = await run(['nc', '-U', '-N', join(folder, 'raw')], { input: '7\n' })
    expect(nc.stdout).toBe('')
  })
})

describe('the shell client', () => {
  let key: string

  beforeAll(async () => {
    if (reason === undefined) key = await makeKey('erin')
  })

  test.each([
    ['a text that is not a challenge', 'a message that somebody caught'],
    ['a challenge of another relay', `asfaleia/1 auth ${'a'.repeat(56)}.onion 1 ${'A'.repeat(43)}`],
    ['a challenge with another handle', `asfaleia/1 auth localhost 2 ${'A'.repeat(43)}`],
    ['a challenge with a line break at its end', `asfaleia/1 auth localhost 1 ${'A'.repeat(43)}\n`],
    ['a challenge with a short nonce', `asfaleia/1 auth localhost 1 ${'A'.repeat(42)}`],
  ])('does not answer %s', async (_, text) => {
    const heard = await hostileLogin(key, text)
    expect(heard.said).not.toContain('2;')
    expect(heard.client.code).toBe(1)
    expect(heard.client.stderr).toContain('not one of this relay')
  })

  test('answers the challenge of the relay that it dialled', async () => {
    const text = `asfaleia/1 auth localhost 1 ${'A'.repeat(43)}`
    expect((await hostileLogin(key, text)).said).toContain(`2;1;${text}\n`)
  })
})

/** Serves `text` as a challenge and returns the bytes that the shell client sent. */
async function hostileLogin(key: string, text: string) {
  const pub = (await readFile(`${key}.pub`, 'utf8')).trim()
  const sealed = await run(['sh', '-c', 'age -r "$0" | base64 | tr -d "\\n"', pub], { input: text })
  let said = ''
  const hostile = createServer((socket) => {
    socket.on('error', () => {})
    socket.setEncoding('utf8').on('data', (data: string) => {
      said += data
      if (data.includes('8;')) socket.write('18;asfaleia/1\n')
      if (data.includes('0;ssh')) socket.write(`1;1;${sealed.stdout}\n`)
      if (data.includes('2;1;')) socket.end('99;auth-failed;no\n')
    })
  }).listen(0, '127.0.0.1')
  await once(hostile, 'listening')
  const { port } = hostile.address() as { port: number }
  const done = await run(['sh', SHELL_CLIENT, 'login', 'localhost', String(port), key])
  hostile.close()
  return { client: done, said }
}

describe('asfaleia start', () => {
  test('starts a relay that others reach through the network, and stops it on SIGINT', { timeout: SLOW }, async () => {
    const extra = join(folder, 'torrc-extra')
    await writeFile(extra, network.torrc)
    const state = join(folder, 'state')
    const doors = ['--tcp', '127.0.0.1:0', '--operator', '127.0.0.1:0', '--state', state]
    const started = start([...ASFALEIA, 'start', ...doors], { env: { ASFALEIA_TORRC_EXTRA: extra } })
    try {
      const [, onion] = await started.until(/^([a-z2-7]{56}\.onion)$/m)
      await started.until(/asfaleia get --relay .*\n/)
      expect(started.stdout()).toMatch(/[▀▄█]{10}/)
      expect((await readFile(join(state, 'onion/hostname'), 'utf8')).trim()).toBe(onion)

      const dave = await makeKey('dave')
      const where = ['--relay', `${onion}:3308`, '--key', dave]
      const by = ['--socks', `${client.socks.host}:${client.socks.port}`]
      const sent = await run([...ASFALEIA, 'send', ...where, ...by, `${dave}.pub`, 'from elsewhere'])
      expect(sent).toMatchObject({ code: 0 })
      // Use the SOCKS port that it prints for clients on this machine.
      const [, own = ''] = /asfaleia get .*--socks (\S+)/.exec(started.stdout()) ?? []
      const got = await run([...ASFALEIA, 'get', ...where, '--socks', own])
      expect(got.stdout).toContain('from elsewhere')
    } finally {
      expect(await started.end('SIGINT')).toMatchObject({ code: 0 })
    }
  })
})
