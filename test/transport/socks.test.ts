import dns from 'node:dns'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { type AddressInfo, createServer, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { parseEndpoint, parseTarget } from '../../src/transport/address.ts'
import { connectTarget, createIsolation, type Route } from '../../src/transport/socks.ts'
import { type SocksServer, startSocksServer } from '../support/socks-server.ts'

// The Tor Project's web site, because its address has a valid checksum.
const ONION = '2gzyxa5ihm7nsggfxnu52rck2vv4rvmdlkiu3zzui5du4xyclen53wid.onion'

describe('parseTarget', () => {
  test.each([
    [`${ONION}`, { kind: 'name', host: ONION, port: 3308, name: ONION }],
    [`${ONION.toUpperCase()}:80`, { kind: 'name', host: ONION, port: 80, name: ONION }],
    [`sub.${ONION}`, { kind: 'name', host: `sub.${ONION}`, port: 3308, name: `sub.${ONION}` }],
    [`${ONION}.`, { kind: 'name', host: ONION, port: 3308, name: ONION }],
    [`${ONION.toUpperCase()}.:80`, { kind: 'name', host: ONION, port: 80, name: ONION }],
    [`www.${ONION}.`, { kind: 'name', host: `www.${ONION}`, port: 3308, name: `www.${ONION}` }],
    ...['\u{3002}', '\u{FF0E}', '\u{FF61}'].flatMap((dot): [string, object][] => [
      [ONION.replace('.', dot), { kind: 'name', host: ONION, port: 3308, name: ONION }],
      [`${ONION}${dot}`, { kind: 'name', host: ONION, port: 3308, name: ONION }],
    ]),
    ['relay.example.', { kind: 'name', host: 'relay.example', port: 3308, name: 'relay.example' }],
    ['Relay.Example:1', { kind: 'name', host: 'relay.example', port: 1, name: 'relay.example' }],
    ['localhost', { kind: 'loopback', host: 'localhost', port: 3308, name: 'localhost' }],
    ['127.0.0.1:65535', { kind: 'loopback', host: '127.0.0.1', port: 65_535, name: 'localhost' }],
    ['127.8.9.1', { kind: 'loopback', host: '127.8.9.1', port: 3308, name: 'localhost' }],
    ['[::1]:7', { kind: 'loopback', host: '::1', port: 7, name: 'localhost' }],
    ['unix:/run/x y', { kind: 'unix', path: '/run/x y', name: 'localhost' }],
    ['127.0.0.1.example', { kind: 'name', host: '127.0.0.1.example', port: 3308, name: '127.0.0.1.example' }],
    ['[2001:db8::1]', { kind: 'name', host: '2001:db8::1', port: 3308, name: '2001:db8::1' }],
  ])('parses %s', (text, target) => {
    expect(parseTarget(text)).toEqual(target)
  })

  test.each([
    '',
    ':1',
    'host:0',
    'host:65536',
    'host:x',
    'host:1:2',
    '::1',
    '[::1',
    '[zz]',
    'ho st',
    'host\n',
    'user@host',
    'unix:a\0b',
    'a'.repeat(254),
    `${ONION.slice(1)}`,
    ONION.replace('2g', '2h'),
    'tooshort.onion',
    'onion:80',
    `${ONION}..`,
    `.${ONION}`,
    `www..${ONION}`,
    `${ONION.replace('2g', '2h')}.`,
    `${ONION.replace('2g', '2h')}\u{3002}`,
    'relay.example..',
    '.',
    '\u{2100}.example',
  ])('refuses %j without repeating it in the error', (text) => {
    expect(() => parseTarget(text)).toThrow(TypeError)
    expect(() => parseTarget(text)).not.toThrow(text === '' ? 'never' : text)
  })

  test('refuses a unix socket without a path', () => {
    expect(() => parseTarget('unix:')).toThrow(TypeError)
  })

  test('parseEndpoint adds the default port', () => {
    expect(parseEndpoint('127.0.0.1', 9050)).toEqual({ host: '127.0.0.1', port: 9050 })
  })
})

describe('connectTarget', () => {
  const servers: { close(): unknown }[] = []
  afterEach(() => {
    for (const server of servers.splice(0)) server.close()
  })
  const options = { timeout: 10_000 }
  const socksTo = async (answer: Parameters<typeof startSocksServer>[0]): Promise<{ server: SocksServer; route: Route }> => {
    const server = await startSocksServer(answer)
    servers.push(server)
    return { server, route: { kind: 'socks', proxy: { host: '127.0.0.1', port: server.port }, isolation: createIsolation() } }
  }
  const nowhere: Route = { kind: 'socks', proxy: { host: '127.0.0.1', port: 1 }, isolation: createIsolation() }
  async function greeter(greeting: string | Uint8Array, at: string | number = 0): Promise<Server> {
    const server = createServer((socket) => socket.on('error', () => {}).end(greeting))
    server.listen(at)
    servers.push(server)
    await once(server, 'listening')
    return server
  }
  const portOf = (server: Server): number => (server.address() as AddressInfo).port

  test('sends a name unchanged to the proxy, with credentials, and keeps the bytes that the relay sends first', async () => {
    const { server, route } = await socksTo({ to: portOf(await greeter('hello')) })
    const socket = await connectTarget(parseTarget(`${ONION}:4000`), route, options)
    // With a listener of 'readable', a socket gives no chunks.
    expect(socket.listenerCount('readable')).toBe(0)
    expect((await socket.toArray()).join('')).toBe('hello')
    expect(server.requests).toEqual([{ ...(route as { isolation: object }).isolation, type: 3, host: ONION, port: 4_000 }])
  })

  test('createIsolation makes random credentials that differ each time', () => {
    const [one, two] = [createIsolation(), createIsolation()]
    expect(new Set([one.user, one.password, two.user, two.password]).size).toBe(4)
    expect(one.user).toMatch(/^[0-9a-f]{32}$/)
  })

  test('reaches loopback and unix sockets without the proxy', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'asfaleia-socks-'))
    const path = join(folder, 'sock')
    const server = await greeter('hello')
    await greeter('hello', path)
    for (const relay of [`127.0.0.1:${portOf(server)}`, `localhost:${portOf(server)}`, `unix:${path}`]) {
      const socket = await connectTarget(parseTarget(relay), nowhere, options)
      expect((await socket.toArray()).join('')).toBe('hello')
    }
    rmSync(folder, { recursive: true })
  })

  test.each([
    [0x01, 'onion-relay-down'],
    [0x02, 'unreachable'],
    [0x03, 'unreachable'],
    [0x04, 'onion-not-found'],
    [0x05, 'onion-relay-down'],
    [0x06, 'connect-timeout'],
    [0xf0, 'onion-not-found'],
    [0xf1, 'onion-not-found'],
    [0xf2, 'onion-unreachable'],
    [0xf3, 'onion-unreachable'],
    [0xf4, 'onion-locked'],
    [0xf5, 'onion-locked'],
    [0xf6, 'onion-malformed'],
    [0xf7, 'onion-unreachable'],
    [0xff, 'unreachable'],
  ])('maps the SOCKS reply %i to its error code', async (code, expected) => {
    const { route } = await socksTo({ code })
    await expect(connectTarget(parseTarget(ONION), route, options)).rejects.toMatchObject({ name: 'ConnectError', code: expected })
  })

  test('fails with proxy-down, relay-down or unreachable if no process listens', async () => {
    await expect(connectTarget(parseTarget(ONION), nowhere, options)).rejects.toMatchObject({ code: 'proxy-down' })
    await expect(connectTarget(parseTarget('127.0.0.1:1'), nowhere, options)).rejects.toMatchObject({ code: 'relay-down' })
    await expect(connectTarget(parseTarget('unix:/nowhere/at/all'), nowhere, options)).rejects.toMatchObject({ code: 'unreachable' })
  })

  test.each([
    ['does not speak SOCKS', 'HTTP/1.1 400 Bad Request\r\n\r\n'],
    ['offers no credentials', Uint8Array.of(5, 0)],
    ['accepts no method', Uint8Array.of(5, 0xff)],
    ['refuses the credentials', Uint8Array.of(5, 2, 1, 1)],
    // These three go on as if nothing were wrong: the streams would not be isolated, or not be SOCKS5.
    ['refuses the credentials and goes on', Uint8Array.of(5, 2, 1, 1, 5, 0, 0, 1, 1, 2, 3, 4, 0, 0)],
    ['takes no credentials and goes on', Uint8Array.of(5, 0, 1, 0, 5, 0, 0, 1, 1, 2, 3, 4, 0, 0)],
    ['replies by another version', Uint8Array.of(5, 2, 1, 0, 4, 0, 0, 1, 1, 2, 3, 4, 0, 0)],
    ['hangs up inside its greeting', Uint8Array.of(5)],
    ['sends nothing', ''],
    ['hangs up inside its reply', Uint8Array.of(5, 2, 1, 0, 5, 0, 0, 3, 200, 1)],
  ])('fails with proxy-failed if the proxy %s', async (_name, greeting) => {
    const proxy = { host: '127.0.0.1', port: portOf(await greeter(greeting)) }
    const route: Route = { kind: 'socks', proxy, isolation: createIsolation() }
    await expect(connectTarget(parseTarget(ONION), route, options)).rejects.toMatchObject({ code: 'proxy-failed' })
  })

  test.each([1, 3, 4])('accepts a reply with an address of type %i', async (type) => {
    const address = { 1: [1, 2, 3, 4], 3: [2, 65, 65], 4: Array.from({ length: 16 }, () => 7) }[type]!
    const said = Uint8Array.of(5, 2, 1, 0, 5, 0, 0, type, ...address, 0, 0, 104, 105)
    const proxy = { host: '127.0.0.1', port: portOf(await greeter(said)) }
    const socket = await connectTarget(parseTarget(ONION), { kind: 'socks', proxy, isolation: createIsolation() }, options)
    expect((await socket.toArray()).join('')).toBe('hi')
  })

  test('abandons a silent proxy at the timeout or when the signal aborts', async () => {
    const mute = createServer((socket) => socket.on('error', () => {}).resume())
    mute.listen(0)
    await once(mute, 'listening')
    const route: Route = { kind: 'socks', proxy: { host: '127.0.0.1', port: portOf(mute) }, isolation: createIsolation() }
    await expect(connectTarget(parseTarget(ONION), route, { timeout: 50 })).rejects.toMatchObject({ code: 'connect-timeout' })
    const controller = new AbortController()
    const connecting = connectTarget(parseTarget(ONION), route, { timeout: 10_000, signal: controller.signal })
    const reason = new Error('enough')
    controller.abort(reason)
    await expect(connecting).rejects.toBe(reason)
    await expect(connectTarget(parseTarget(ONION), route, { timeout: 10_000, signal: controller.signal })).rejects.toBe(reason)
    // `close` waits until both connections have ended.
    mute.close()
    await once(mute, 'close')
  })
})

describe('the resolver of the system', () => {
  /** Answers nothing, and notes the names that it was asked for. */
  function watchResolver(): string[] {
    const asked: string[] = []
    vi.spyOn(dns, 'lookup').mockImplementation(((host: string, _options: object, done: (error: Error) => void) => {
      asked.push(host)
      done(new Error('nothing is resolved in this test'))
    }) as typeof dns.lookup)
    return asked
  }
  afterEach(() => vi.restoreAllMocks())

  test.each([ONION, `${ONION}.`, `www.${ONION}`, ONION.toUpperCase(), `${ONION}\u{FF61}`])(
    'gets no onion address on a direct route: %s',
    async (host) => {
      const asked = watchResolver()
      const dialled = connectTarget(parseTarget(host), { kind: 'direct' }, { timeout: 1_000 })
      await expect(dialled).rejects.toMatchObject({ code: 'onion-needs-tor' })
      expect(asked).toEqual([])
    },
  )

  test('gets the address if the user names a transparent proxy, without a dot at its end', async () => {
    const asked = watchResolver()
    const dialled = connectTarget(parseTarget(`${ONION}.`), { kind: 'transparent' }, { timeout: 1_000 })
    await expect(dialled).rejects.toMatchObject({ code: 'unreachable' })
    expect(asked).toEqual([ONION])
  })

  test.each(['direct', 'transparent'] as const)('gets no name that ends in a dot: %s', async (kind) => {
    const asked = watchResolver()
    const dialled = connectTarget(parseTarget('relay.example.'), { kind }, { timeout: 1_000 })
    await expect(dialled).rejects.toMatchObject({ code: 'unreachable' })
    expect(asked).toEqual(['relay.example'])
  })
})

test('parseTarget explains that version 2 addresses are no longer supported', () => {
  expect(() => parseTarget('expyuzz4wqqyqhjn.onion')).toThrow('version 2 onion address, which Tor no longer supports')
})
