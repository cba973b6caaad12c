import { EventEmitter, once } from 'node:events'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import { greet, probe } from '../../src/operator/probe.ts'
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
    expect(relay.relay.snapshot()).toMatchObject({ counters: { logins: { decrypt: 0, sign: 0, claim: 0 }, refused: { 'wrong-usage': 0 } } })
  })

  test('ends its connection', async () => {
    const sockets: Socket[] = []
    const relay = createServer((socket) => void sockets.push(socket.on('error', () => {}))).listen(0, '127.0.0.1')
    await once(relay, 'listening')
    onTestFinished(() => void relay.close())
    relay.on('connection', (socket: Socket) => socket.once('data', () => socket.write('99;wrong-usage;text\n')))
    const socks = await startSocksServer({ to: (relay.address() as AddressInfo).port })
    onTestFinished(() => socks.close())
    expect(await probe(ONION, at(socks.port), never)).toEqual({ reached: false, problem: 'refused' })
    if (!sockets[0]!.closed) await once(sockets[0]!.resume(), 'close')
    expect(sockets).toHaveLength(1)
  })

  test('measures the round trip in seconds', async () => {
    vi.useFakeTimers({ toFake: ['performance'] })
    onTestFinished(() => void vi.useRealTimers())
    const socket: EventEmitter & { write?: (bytes: Uint8Array) => void } = new EventEmitter()
    socket.write = (bytes) => {
      const isPing = Buffer.from(bytes).toString() === '7\n'
      vi.advanceTimersByTime(250)
      queueMicrotask(() => socket.emit('data', Buffer.from(isPing ? '17\n' : '18;asfaleia/1\n')))
    }
    expect(await greet(socket as Socket, ONION, never)).toEqual({ reached: true, seconds: 0.25 })
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
