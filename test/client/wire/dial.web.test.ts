/** A page's way to a relay, with Node's WebSocket. In a real browser: test/e2e/browser.test.ts. */
import { once } from 'node:events'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { generateSeedKey } from '../../../src/auth/seed.ts'
import { connectRelay, type Identity, identityOf, type RelayClient } from '../../../src/client/core.ts'
import { connectClaims } from '../../../src/client/wire/connect.ts'
import * as dialing from '../../../src/client/wire/dial.ts'
import * as web from '../../../src/client/wire/dial.web.ts'
import { parseTarget } from '../../../src/transport/address.ts'
import { challengePacket, honestly, type Peer, startHostileRelay, TOKEN } from '../../support/hostile-relay.ts'
import { startTestRelay, type TestRelay } from '../../support/relay.ts'
import { bridge } from '../../support/web.ts'

vi.mock('../../../src/client/wire/dial.ts', () => import('../../../src/client/wire/dial.web.ts'))

const closers: (() => unknown)[] = []
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close()
})

async function startRelay(): Promise<TestRelay & { readonly httpAddress: string }> {
  const relay = await startTestRelay({ http: true })
  closers.push(() => relay.close())
  return { ...relay, httpAddress: relay.httpAddress! }
}

async function startScript(script: (peer: Peer) => Promise<void>, protocol?: string | false) {
  const hostile = await startHostileRelay(script)
  closers.push(() => hostile.close())
  const { address, close } = await bridge(hostile.address, protocol)
  closers.push(close)
  return { ...hostile, address }
}

async function connect(relay: string, identity: Identity, more: object = {}): Promise<RelayClient> {
  const client = await connectRelay({ relay, identity, ...more })
  closers.push(() => client.close())
  return client
}

const person = (): Identity => identityOf(generateSeedKey())

test('the mock replaces the dialling of Node', () => {
  expect(dialing.dial).toBe(web.dial)
})

test.each([false, true])('two clients exchange messages by WebSocket (sign: %s)', async (sign) => {
  const { httpAddress, relay } = await startRelay()
  const [alice, bob] = [person(), person()]
  const [from, to] = [await connect(httpAddress, alice, { sign }), await connect(httpAddress, bob, { sign })]
  for (const text of ['one', 'two', 'x'.repeat(20_000)]) await from.send(bob.key, Buffer.from(text))
  const { messages } = await to.get()
  const texts = await Promise.all(messages.map((message) => to.open(message)))
  expect(texts.map((text) => Buffer.from(text!).toString())).toEqual(['one', 'two', 'x'.repeat(20_000)])
  expect(await to.ack(messages.map(({ id }) => id))).toBe(3)
  expect(relay.snapshot().counters.logins).toMatchObject(sign ? { decrypt: 0, sign: 2 } : { decrypt: 2, sign: 0 })
})

test('a connection that claims sends its early packets as soon as the WebSocket is open', async () => {
  const { httpAddress } = await startRelay()
  const secret = crypto.getRandomValues(new Uint8Array(32))
  const digest = Buffer.from(await crypto.subtle.digest('SHA-256', secret)).toString('base64')
  let sent: Promise<unknown> | undefined
  let next: Promise<IteratorResult<{ readonly payload: Uint8Array }, void>> | undefined
  const client = await connectClaims({
    relay: httpAddress,
    early: (early) => {
      next = early.open(secret).subscribe().next()
      sent = early.sendSealed(`SHA256:${digest.replace('=', '')}`, Buffer.from('early'))
    },
  })
  closers.push(() => client.close())
  expect(await sent).toMatchObject({ seconds: 604_800 })
  expect(Buffer.from((await next)!.value!.payload).toString()).toBe('early')
})

test('a subscription receives new messages, and ends with restarting when the relay shuts down', async () => {
  const { httpAddress, relay } = await startRelay()
  const [alice, bob] = [person(), person()]
  const [from, to] = [await connect(httpAddress, alice), await connect(httpAddress, bob)]
  const subscription = to.subscribe()
  const first = subscription.next()
  await from.send(bob.key, Buffer.from('now'))
  const message = await first
  expect(Buffer.from((await to.open(message.value!))!).toString()).toBe('now')
  const next = subscription.next().catch((error: unknown) => error)
  await relay.close()
  expect(await next).toMatchObject({ code: 'restarting' })
})

test('a connection fails with no-answer if the relay is silent for the given timeout', async () => {
  const { address } = await startScript(async (peer) => {
    await peer.line()
    await peer.gone
  })
  await expect(connectRelay({ relay: address, identity: person(), timeout: 50 })).rejects.toMatchObject({ code: 'no-answer' })
})

describe('a connection', () => {
  async function listenSilently(): Promise<string> {
    const server = createServer((socket) => socket.on('error', () => {}))
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    closers.push(() => server.close())
    return `127.0.0.1:${(server.address() as AddressInfo).port}`
  }

  test('fails with unreachable if no process listens', async () => {
    const address = await listenSilently()
    await closers.pop()!()
    await expect(connectRelay({ relay: address, identity: person() })).rejects.toMatchObject({ code: 'unreachable' })
  })

  test('fails with unreachable at a raw door or another protocol', async () => {
    const { address } = await startRelay()
    await expect(connectRelay({ relay: address, identity: person() })).rejects.toMatchObject({ code: 'unreachable' })
    const other = await startScript(async (peer) => peer.gone, false)
    await expect(connectRelay({ relay: other.address, identity: person() })).rejects.toMatchObject({ code: 'unreachable' })
    expect(other.received()).toBe('')
  })

  test('fails with connect-timeout if the server is silent, and ends when its signal aborts', async () => {
    const address = await listenSilently()
    await expect(connectRelay({ relay: address, identity: person(), connectTimeout: 50 })).rejects.toMatchObject({
      code: 'connect-timeout',
    })
    const abort = new AbortController()
    const connecting = connectRelay({ relay: address, identity: person(), signal: abort.signal })
    abort.abort(new Error('enough'))
    await expect(connecting).rejects.toThrow('enough')
    await expect(connectRelay({ relay: address, identity: person(), signal: abort.signal })).rejects.toThrow('enough')
  })

  test('that is given up ends its socket', async () => {
    const server = createServer((socket) => socket.on('error', () => {})).listen(0, '127.0.0.1')
    await once(server, 'listening')
    closers.push(() => server.close())
    const abort = new AbortController()
    const accepted = once(server, 'connection')
    const address = `127.0.0.1:${(server.address() as AddressInfo).port}`
    const connecting = connectRelay({ relay: address, identity: person(), signal: abort.signal })
    const [socket] = (await accepted) as [Socket]
    const closed = once(socket.resume(), 'close')
    abort.abort(new Error('enough'))
    await expect(connecting).rejects.toThrow('enough')
    await closed
  })

  test.each(['unix:/tmp/relay', 'example.com', '192.168.0.1:80'])('to %s is refused', async (relay) => {
    await expect(connectRelay({ relay, identity: person() })).rejects.toThrow(TypeError)
  })
})

describe('the URL that a page dials for', () => {
  const onion = 'pg6mmjiyjmcrsslvykfwnntlaru7p5svn6y2ymmju6nubxndf4pscryd.onion'
  test.each([
    ['localhost', 'ws://localhost:8080/v1'],
    ['127.0.0.1:4000', 'ws://127.0.0.1:4000/v1'],
    ['[::1]:4000', 'ws://[::1]:4000/v1'],
    [onion, `ws://${onion}:80/v1`],
    [`${onion}:3308`, `ws://${onion}:80/v1`],
    [`${onion}:8000`, `ws://${onion}:8000/v1`],
  ])('%s is %s', async (address, url) => {
    const asked: unknown[] = []
    vi.stubGlobal('WebSocket', function (...given: unknown[]) {
      asked.push(...given)
      throw new Error('asked')
    })
    closers.push(() => vi.unstubAllGlobals())
    await expect(web.dial(parseTarget(address), { timeout: 1_000, signal: undefined })).rejects.toThrow('asked')
    expect(asked).toEqual([url, 'asfaleia.1'])
  })
})

describe('a hostile relay over WebSocket', () => {
  test('gets no text that is not its challenge', async () => {
    const identity = person()
    const hostile = await startScript(async (peer) => {
      await peer.line()
      await peer.say('18;asfaleia/1\n')
      await peer.line()
      await peer.say(await challengePacket('the-password-is-hunter2', identity.key))
      await peer.gone
    })
    const client = await connect(hostile.address, identity)
    await expect(client.login()).rejects.toMatchObject({ code: 'hostile-challenge' })
    expect(hostile.received()).not.toContain('hunter2')
    expect(hostile.received()).toMatch(/^8;asfaleia\/1;localhost\n0;ssh-ed25519 [A-Za-z0-9+/=]+\n$/)
  })

  test('cannot split one message into two packets', async () => {
    const identity = person()
    const hostile = await startScript(async (peer) => {
      await honestly(peer, identity.key)
      await peer.line()
      await peer.say(Buffer.from('13;id\u0085;60\n', 'latin1'))
      await peer.gone
    })
    const client = await connect(hostile.address, identity)
    await expect(client.send(identity.key, Buffer.from('x'))).rejects.toMatchObject({ code: 'broken-relay', reason: 'malformed-packet' })
    expect(hostile.received()).toContain(`\n3;${TOKEN};`)
  })

  test('cannot make the client hold a message over the limit', async () => {
    const identity = person()
    const hostile = await startScript(async (peer) => {
      await peer.line()
      await peer.say(`18;asfaleia/1;${'x'.repeat(100_000)}\n`)
      await peer.gone
    })
    await expect(connectRelay({ relay: hostile.address, identity })).rejects.toMatchObject({
      code: 'broken-relay',
      reason: 'line-too-long',
    })
  })
})
