/** How a connection proves a key: what may leave before the answer to VERIFY, or under the token of an earlier connection. */
import { once } from 'node:events'
import { type AddressInfo, createServer } from 'node:net'
import { afterEach, describe, expect, test } from 'vitest'
import { formatFingerprint } from '../../../src/auth/ssh-key.ts'
import { type ConnectOptions, connectRelay } from '../../../src/client/wire/connect.ts'
import type { RelayClient } from '../../../src/client/wire/client.ts'
import { challengeLine, challengePacket, type Peer, startHostileRelay, TOKEN } from '../../support/hostile-relay.ts'
import { makePerson } from '../../support/people.ts'
import { startTestRelay, type TestRelay, type TestRelayOptions } from '../../support/relay.ts'

const ONION = '2gzyxa5ihm7nsggfxnu52rck2vv4rvmdlkiu3zzui5du4xyclen53wid.onion'
const { identity } = makePerson('alice')
const { identity: reader } = makePerson('bob')
const bob = formatFingerprint(reader.key.fingerprint)
const stale = { text: 'x.y.z', renewAt: Number.POSITIVE_INFINITY }

const closers: (() => unknown)[] = []
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close()
})

async function startRelay(options?: TestRelayOptions): Promise<TestRelay> {
  const started = await startTestRelay({ memory: 2 ** 22, ...options })
  closers.push(() => started.close())
  return started
}

/** A relay that answers HELLO, AUTH and then what `script` says. */
async function startScript(welcome: string, script: (peer: Peer) => Promise<void>) {
  const hostile = await startHostileRelay(async (peer) => {
    await peer.line()
    await peer.say(`18;asfaleia/1;${welcome}\n`)
    await peer.line()
    await peer.say(await challengePacket(challengeLine(), identity.key))
    await script(peer)
  })
  closers.push(() => hostile.close())
  return hostile
}

async function connect(relay: string, more: Partial<ConnectOptions> = {}): Promise<RelayClient> {
  const client = await connectRelay({ relay, identity, login: true, ...more })
  closers.push(() => client.close())
  return client
}

/** Messages of which the second one is too long to leave before a proof. */
const MESSAGES = ['short', 'long'.padEnd(16_000), 'after it'].map((text) => Buffer.from(text))

async function readAll(address: string): Promise<string[]> {
  const client = await connectRelay({ relay: address, identity: reader })
  closers.push(() => client.close())
  return (await client.get()).messages.map(({ payload }) => Buffer.from(payload).toString().trimEnd())
}

describe('messages that are sent before the relay is reached', () => {
  test.each([
    ['during the login', {}],
    ['under a token that the relay forgot', { token: stale }],
  ])('leave in order, and once, %s', async (_, more) => {
    const { address, relay } = await startRelay()
    let sent: Promise<unknown>[] = []
    const client = await connect(address, {
      ...more,
      early: (early) => (sent = MESSAGES.map((payload) => early.sendSealed(bob, payload))),
    })
    await Promise.all(sent)
    expect(await readAll(address)).toEqual(['short', 'long', 'after it'])
    expect(client.token).not.toEqual(stale)
    expect(relay.snapshot().counters.logins.decrypt).toBe(2)
  })

  test.each([0, 1])('leave in order, and once, under a token that the relay knows (the first %i are missing)', async (from) => {
    const payloads = MESSAGES.slice(from)
    const { address, relay } = await startRelay()
    const { token } = await connect(address)
    let sent: Promise<unknown>[] = []
    const client = await connect(address, {
      token: token!,
      early: (early) => (sent = payloads.map((payload) => early.sendSealed(bob, payload))),
    })
    await Promise.all(sent)
    expect(client.token).toEqual(token)
    expect(relay.snapshot().counters.logins.decrypt).toBe(1)
    expect(await readAll(address)).toEqual(['short', 'long', 'after it'].slice(from))
  })

  test('have one packet test the token: a relay that forgot it ends a connection after ten bad tokens', async () => {
    const { address } = await startRelay()
    let sent: Promise<unknown>[] = []
    await connect(address, {
      token: stale,
      early: (early) => (sent = Array.from({ length: 20 }, (_, n) => early.sendSealed(bob, Buffer.from(`${n}`)))),
    })
    await Promise.all(sent)
    expect(await readAll(address)).toEqual(Array.from({ length: 20 }, (_, n) => `${n}`))
  })

  test('do not tell whether the relay knows the token if it refuses them for another reason', async () => {
    const { address, relay } = await startRelay({ limits: { mailboxMessages: 1 } })
    const first = await connect(address)
    await first.sendSealed(bob, MESSAGES[0]!)
    let sent: Promise<unknown> | undefined
    const client = await connect(address, {
      token: first.token!,
      early: (early) => {
        sent = early.sendSealed(bob, MESSAGES[0]!)
        sent.catch(() => {})
      },
    })
    await expect(sent).rejects.toMatchObject({ code: 'mailbox-full' })
    // An empty ACK told.
    expect(client.token).toEqual(first.token)
    expect(await client.fetch(bob)).toBeUndefined()
    expect(relay.snapshot().counters.logins.decrypt).toBe(1)
  })

  test('fail with the connection if the relay does not admit the key', async () => {
    const { address } = await startRelay({ admit: [] })
    const order: string[] = []
    let sent: Promise<unknown> | undefined
    const connecting = connect(address, {
      early: (early) => {
        early.onEnd((error) => order.push(`end: ${(error as Error).message}`))
        sent = early.sendSealed(bob, MESSAGES[0]!).catch((error: unknown) => order.push((error as Error).message))
      },
    })
    await expect(connecting).rejects.toMatchObject({ code: 'denied' })
    await sent
    // A program learns first that the connection has ended, so it does not take the refusal for one of the message.
    expect(order).toEqual(['end: denied', 'denied'])
  })
})

describe('behind VERIFY', () => {
  test('a message leaves at once under the empty label, but a bundle waits for the TOKEN', async () => {
    const hostile = await startScript('payload=32768;labels=64', async (peer) => {
      await peer.line()
      expect(await peer.line()).toBe(`3;;${bob};c2hvcnQ=`)
      await peer.say(`12;${TOKEN};3600\n13;AAAAAAAAAAA;60\n`)
      expect(await peer.line()).toBe(`30;${TOKEN};eA==`)
      await peer.say('31;60\n')
      await peer.gone
    })
    let all: Promise<unknown> | undefined
    await connect(hostile.address, {
      early: (early) => (all = Promise.all([early.sendSealed(bob, MESSAGES[0]!), early.publish(Buffer.from('x'))])),
    })
    expect(await all).toEqual([{ id: 'AAAAAAAAAAA', seconds: 60 }, 60])
  })

  test('nothing leaves to a relay of a version without labels', async () => {
    const hostile = await startScript('payload=32768', async (peer) => {
      await peer.line()
      await peer.say(`12;${TOKEN};3600\n`)
      expect(await peer.line()).toBe(`3;${TOKEN};${bob};c2hvcnQ=`)
      await peer.say('13;AAAAAAAAAAA;60\n')
      await peer.gone
    })
    let sent: Promise<unknown> | undefined
    await connect(hostile.address, { early: (early) => (sent = early.sendSealed(bob, MESSAGES[0]!)) })
    expect(await sent).toMatchObject({ seconds: 60 })
  })

  test('a message fails with a refused proof, and is not sent again', async () => {
    const hostile = await startScript('payload=32768;labels=64', async (peer) => {
      await peer.line()
      await peer.line()
      await peer.say('99;auth-failed;text\n99;bad-token;text\n')
      await peer.gone
    })
    const client = await connectRelay({ relay: hostile.address, identity })
    closers.push(() => client.close())
    await expect(client.sendSealed(bob, MESSAGES[0]!)).rejects.toMatchObject({ code: 'auth-failed' })
    expect(hostile.received().match(/^3;/gm)).toHaveLength(1)
  })

  test('a message does not leave if the challenge is a foreign one', async () => {
    const hostile = await startHostileRelay(async (peer) => {
      await peer.line()
      await peer.say('18;asfaleia/1;labels=64\n')
      await peer.line()
      await peer.say(await challengePacket(challengeLine('other.example'), identity.key))
      await peer.gone
    })
    closers.push(() => hostile.close())
    let sent: Promise<unknown> | undefined
    const early = (client: RelayClient): void => {
      sent = client.sendSealed(bob, MESSAGES[0]!)
      sent.catch(() => {})
    }
    await expect(connect(hostile.address, { early })).rejects.toMatchObject({ code: 'hostile-challenge' })
    await expect(sent).rejects.toMatchObject({ code: 'hostile-challenge' })
    expect(hostile.received()).toMatch(/^8;[^\n]+\n0;[^\n]+\n$/)
  })
})

describe('before the SOCKS port answers', () => {
  /** What leaves with the SOCKS request, if the relay is not reached then. */
  async function hear(relay: string, more: Partial<ConnectOptions>): Promise<string> {
    let heard = ''
    const proxy = createServer((socket) => {
      let step = 0
      socket.on('error', () => {})
      socket.on('data', (chunk: Buffer) => {
        if (step++ === 0) socket.write(Uint8Array.of(5, 2))
        else if (step === 2) socket.write(Uint8Array.of(1, 0))
        else {
          heard += chunk.toString('latin1')
          // Later bytes would be here, too.
          setTimeout(() => socket.write(Uint8Array.of(5, 0xf2, 0, 1, 0, 0, 0, 0, 0, 0)), 50)
        }
      })
    }).listen(0, '127.0.0.1')
    await once(proxy, 'listening')
    closers.push(() => proxy.close())
    const socks = `127.0.0.1:${(proxy.address() as AddressInfo).port}`
    await expect(connect(relay, { socks, ...more })).rejects.toMatchObject({ code: expect.any(String) as string })
    return heard.slice(heard.indexOf('8;'))
  }
  const token = { ...stale, text: TOKEN }
  const ask =
    (...asks: ((client: RelayClient) => Promise<unknown>)[]) =>
    (client: RelayClient): void => {
      for (const each of asks) each(client).catch(() => {})
    }
  const hello = (name: string): string => `8;asfaleia/1;${name}\n`

  test('HELLO and AUTH leave, and nothing behind them', async () => {
    const early = ask((client) => client.sendSealed(bob, MESSAGES[0]!))
    expect(await hear(ONION, { subscribe: true, early })).toMatch(/^8;asfaleia\/1;[a-z2-7]{56}\.onion\n0;ssh-ed25519 [A-Za-z0-9+/=]+\n$/)
  })

  test('one request leaves under a token, if it may be early', async () => {
    const all = {
      send: [(client: RelayClient) => client.sendSealed(bob, MESSAGES[0]!), `3;${TOKEN};${bob};c2hvcnQ=\n`],
      fetch: [(client: RelayClient) => client.fetch(bob), `32;${TOKEN};${bob}\n`],
      lease: [(client: RelayClient) => client.get(), `4;${TOKEN};lease\n`],
      long: [(client: RelayClient) => client.sendSealed(bob, MESSAGES[1]!), ''],
      get: [(client: RelayClient) => client.get({ lease: false }), ''],
      ack: [(client: RelayClient) => client.ack(['x']), ''],
      wipe: [(client: RelayClient) => client.wipe(), ''],
      publish: [(client: RelayClient) => client.publish(Buffer.from('x')), ''],
    } as const
    for (const [request, line] of Object.values(all)) {
      const early = ask(request, (client) => client.sendSealed(bob, MESSAGES[2]!))
      expect(await hear(ONION, { token, early })).toBe(hello(ONION) + line)
    }
    expect(await hear(ONION, { token, subscribe: true })).toBe(`${hello(ONION)}6;${TOKEN}\n`)
  })

  test('no token leaves to a host that no onion address authenticates', async () => {
    expect(await hear('relay.example', { token, subscribe: true })).toBe(hello('relay.example'))
  })
})
