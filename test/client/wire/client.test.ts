/**
 * The client library against a relay in this process, and against scripts of behaviour that a real relay would
 * not show.
 */
import { setImmediate as turn } from 'node:timers/promises'
import { afterEach, describe, expect, test } from 'vitest'
import { parsePrivateKey, type SshPrivateKey } from '../../../src/auth/private-key.ts'
import { formatFingerprint } from '../../../src/auth/ssh-key.ts'
import {
  connectRelay,
  generatePrivateKey,
  type Identity,
  identityOf,
  type Message,
  parsePublicKey,
  type RelayClient,
  seal,
} from '../../../src/client/index.ts'
import { challengeLine, challengePacket, honestly, type Peer, startHostileRelay, TOKEN } from '../../support/hostile-relay.ts'
import { startTestRelay, type TestRelay, type TestRelayOptions } from '../../support/relay.ts'
import { startSocksServer } from '../../support/socks-server.ts'

const closers: (() => unknown)[] = []
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close()
})

async function startRelay(options?: TestRelayOptions): Promise<TestRelay> {
  const started = await startTestRelay(options)
  closers.push(() => started.close())
  return started
}

async function startScript(script: (peer: Peer) => Promise<void>) {
  const hostile = await startHostileRelay(script)
  closers.push(() => hostile.close())
  return hostile
}

const makeKey = (): SshPrivateKey => parsePrivateKey(Buffer.from(generatePrivateKey('').file))
const bytes = (text: string): Uint8Array => Buffer.from(text)
const openAll = async (client: RelayClient, messages: readonly Message[]): Promise<string[]> =>
  (await Promise.all(messages.map((message) => client.open(message)))).map((text) => Buffer.from(text ?? '').toString())

/** One identity for each key, because circuits belong to the identity. */
const identities = new Map<SshPrivateKey, Identity>()
async function dial(address: string, key: SshPrivateKey, more: object = {}): Promise<RelayClient> {
  const identity = identities.get(key) ?? identityOf(key)
  identities.set(key, identity)
  const client = await connectRelay({ relay: address, identity, ...more })
  closers.push(() => client.close())
  return client
}

describe('a relay client', () => {
  test.each([false, true])('exchanges messages with another client (sign: %s)', async (sign) => {
    const { address, relay } = await startRelay()
    const [alice, bob] = [makeKey(), makeKey()]
    const from = await dial(address, alice, { sign })
    const to = await dial(address, bob, { sign })
    expect(from.limits).toMatchObject({ payload: 32_768, hold: 604_800, window: 64, idle: 900, batch: 128 })
    expect(await from.send(bob.public, bytes('one'))).toMatchObject({ seconds: 604_800 })
    await from.sendSealed(formatFingerprint(bob.public.fingerprint), await seal(bob.public, bytes('two')))
    const batch = await to.get()
    expect(batch.waiting).toBe(0)
    expect(await openAll(to, batch.messages)).toEqual(['one', 'two'])
    expect(await to.ack(batch.messages.map(({ id }) => id))).toBe(2)
    expect(await to.ack(batch.messages.map(({ id }) => id))).toBe(0)
    expect(await to.get()).toEqual({ messages: [], waiting: 0 })
    await to.ping()
    expect(relay.snapshot().counters.logins).toMatchObject(sign ? { decrypt: 0, sign: 2 } : { decrypt: 2, sign: 0 })
  })

  test('publishes a bundle, which another client fetches, and takes it down', async () => {
    const { address } = await startRelay()
    const [alice, bob] = [makeKey(), makeKey()]
    const [owner, other] = [await dial(address, alice), await dial(address, bob)]
    const receiver = formatFingerprint(alice.public.fingerprint)
    expect(await other.fetch(receiver)).toBeUndefined()
    expect(await owner.publish(bytes('a bundle'))).toBe(1_209_600)
    expect(Buffer.from((await other.fetch(receiver))!).toString()).toBe('a bundle')
    expect(await owner.publish(undefined)).toBe(0)
    expect(await other.fetch(receiver)).toBeUndefined()
    await expect(owner.publish(Buffer.alloc(6_145))).rejects.toThrow(TypeError)
  })

  test('gets leased messages again after a reconnect, and erases messages by a plain GET and by WIPE', async () => {
    const { address } = await startRelay()
    const key = makeKey()
    const first = await dial(address, key)
    await first.send(key.public, bytes('again'))
    expect((await first.get()).messages).toHaveLength(1)
    expect((await first.get()).messages).toHaveLength(0)
    const gone = new Promise<void>((resolve) => first.onEnd(() => resolve()))
    first.close()
    await gone
    const second = await dial(address, key)
    await second.login()
    // The relay notices the end of the connection a moment later.
    let messages: readonly Message[] = []
    while (messages.length === 0) messages = (await second.get({ lease: false })).messages
    expect(await openAll(second, messages)).toEqual(['again'])
    await second.send(key.public, bytes('wiped'))
    expect(await second.wipe()).toBe(1)
    expect(await second.get()).toEqual({ messages: [], waiting: 0 })
  })

  test('receives waiting and new messages by subscription, more than its window', async () => {
    const { address } = await startRelay({ limits: { window: 3 } })
    const key = makeKey()
    const client = await dial(address, key)
    const texts = Array.from({ length: 20 }, (_, i) => `message ${i}`)
    for (const text of texts.slice(0, 5)) await client.send(key.public, bytes(text))
    const seen: string[] = []
    for await (const message of client.subscribe()) {
      seen.push(...(await openAll(client, [message])))
      await client.ack([message.id])
      if (seen.length === 5) for (const text of texts.slice(5)) await client.send(key.public, bytes(text))
      if (seen.length === texts.length) break
    }
    expect(seen).toEqual(texts)
    // Leaving the loop closes the connection.
    await expect(client.ping()).rejects.toMatchObject({ code: 'closed' })
  })

  test('loses its subscription to a newer one with taken-over', async () => {
    const { address } = await startRelay()
    const key = makeKey()
    const [older, newer] = [await dial(address, key), await dial(address, key)]
    await older.send(key.public, bytes('one'))
    const first = older.subscribe()
    expect(await openAll(older, [(await first.next()).value!])).toEqual(['one'])
    const lost = first.next()
    lost.catch(() => {})
    const second = newer.subscribe()
    expect(await openAll(newer, [(await second.next()).value!])).toEqual(['one'])
    await expect(lost).rejects.toMatchObject({ code: 'taken-over' })
  })

  test('gets restarting with the seconds to wait if the relay shuts down', async () => {
    const { address, relay } = await startRelay()
    const key = makeKey()
    const client = await dial(address, key)
    await client.send(key.public, bytes('one'))
    const subscription = client.subscribe()
    await subscription.next()
    const ended = subscription.next()
    ended.catch(() => {})
    await relay.close()
    await expect(ended).rejects.toMatchObject({ code: 'restarting', seconds: 10 })
  })

  test('gets each refusal as an error code', async () => {
    const key = makeKey()
    const full = await startRelay({ limits: { mailboxMessages: 1 } })
    const client = await dial(full.address, key)
    await client.send(key.public, bytes('one'))
    await expect(client.send(key.public, bytes('two'))).rejects.toMatchObject({ code: 'mailbox-full' })
    await expect(client.sendSealed(key.public, Buffer.alloc(24_577))).rejects.toMatchObject({ code: 'too-large' })
    await expect(client.sendSealed('SHA256:x', bytes('x'))).rejects.toThrow(TypeError)
    // The connection must still work.
    await client.sendSealed(makeKey().public, Buffer.alloc(24_576))

    const closed = await startRelay({ admit: [] })
    await expect((await dial(closed.address, key)).login()).rejects.toMatchObject({ code: 'denied' })
    const nameless = await startRelay({ names: [] })
    await expect(dial(nameless.address, key)).rejects.toMatchObject({ code: 'not-ready' })
    const other = await startRelay({ names: ['other.example'] })
    await expect(dial(other.address, key)).rejects.toMatchObject({ code: 'wrong-name' })
    const tiny = await startRelay({ memory: 1_024 })
    await expect((await dial(tiny.address, key)).send(key.public, Buffer.alloc(10_000))).rejects.toMatchObject({ code: 'relay-full' })
  })

  test('gets undefined when it opens junk or a message to another key', async () => {
    const { address } = await startRelay()
    const key = makeKey()
    const client = await dial(address, key)
    await client.sendSealed(key.public, await seal(makeKey().public, bytes('not yours')))
    await client.sendSealed(key.public, bytes('junk'))
    const { messages } = await client.get()
    expect(await Promise.all(messages.map((message) => client.open(message)))).toEqual([undefined, undefined])
  })

  test('cannot send to a key that cannot decrypt', async () => {
    const { address } = await startRelay()
    const ecdsa = parsePublicKey(
      'ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBGsX0fLhLEJH+Lzm5WOkQPJ3A32BLeszoPShOUXYmMKWT+NC4v4af5uO5+tKfA+eFivOM1drMV7Oy7ZAaDe/UfU=',
    )
    const client = await dial(address, makeKey())
    await expect(client.send(ecdsa, bytes('x'))).rejects.toThrow(TypeError)
  })
})

describe("a client's way to the relay", () => {
  test('goes through SOCKS with the unresolved name, and with new credentials for each connection unless given an isolation', async () => {
    const { port } = await startRelay({ names: ['relay.example', 'other.example'] })
    const proxy = await startSocksServer({ to: port })
    closers.push(() => proxy.close())
    const key = makeKey()
    const socks = `127.0.0.1:${proxy.port}`
    const same = { isolation: 'one' }
    for (const [relay, more] of [
      ['relay.example:1', {}],
      ['relay.example:1', {}],
      ['other.example:1', {}],
      ['relay.example:1', same],
      ['other.example:1', same],
    ] as const) {
      await (await dial(relay, key, { socks, ...more })).login()
    }
    const [first, again, other, named, namedAgain] = proxy.requests
    expect(first).toMatchObject({ type: 3, host: 'relay.example', port: 1 })
    expect(new Set([first, again, other, named].map((request) => request!.user)).size).toBe(4)
    expect(new Set([first, again, other, named].map((request) => request!.password)).size).toBe(4)
    expect(namedAgain).toMatchObject({ user: named!.user, password: named!.password, host: 'other.example' })
    for (const isolation of ['', 'a b', 'x'.repeat(256)])
      await expect(dial('relay.example:1', key, { socks, isolation })).rejects.toThrow(TypeError)
  })

  test('can join HELLO and login, and can resume with the token of an earlier connection', async () => {
    const { address, relay } = await startRelay()
    const key = makeKey()
    const first = await dial(address, key, { login: true })
    expect(first.token?.text).toMatch(/^[\w-]+\.[\w-]+\.[\w-]+$/)
    first.close()
    const second = await dial(address, key, { token: first.token })
    expect(second.token).toEqual(first.token)
    await second.send(key.public, bytes('one'))
    expect(relay.snapshot().counters.logins).toMatchObject({ decrypt: 1, sign: 0 })
    // Another relay does not accept the token.
    const other = await startRelay()
    const third = await dial(other.address, key, { token: first.token, login: true })
    expect(third.token!.text).not.toBe(first.token!.text)
    await third.send(key.public, bytes('two'))
    // If the relay refuses HELLO, the client answers no challenge.
    const named = await startRelay({ names: ['other.example'] })
    for (const sign of [false, true])
      await expect(dial(named.address, key, { login: true, sign })).rejects.toMatchObject({ code: 'wrong-name' })
    expect(named.relay.snapshot().counters.logins).toMatchObject({ decrypt: 0, sign: 0 })
  })

  test('aborts single requests: sent ones keep their answers in order, unsent ones are never sent', async () => {
    const { address, relay } = await startRelay()
    const [alice, bob] = [makeKey(), makeKey()]
    const client = await dial(address, alice)
    const reason = new Error('enough')
    const giveUp = async (ask: (signal: AbortSignal) => Promise<unknown>): Promise<void> => {
      const controller = new AbortController()
      const asked = ask(controller.signal)
      controller.abort(reason)
      await expect(asked).rejects.toBe(reason)
    }
    // During the login, which continues.
    await giveUp((signal) => client.send(bob.public, bytes('never'), { signal }))
    await giveUp((signal) => client.login({ signal }))
    await client.login()
    await giveUp((signal) => client.ping({ signal }))
    await giveUp((signal) => client.get({ signal }))
    await giveUp((signal) => client.ack(['x'], { signal }))
    await giveUp((signal) => client.wipe({ signal }))
    // After it was sent.
    await giveUp((signal) => client.sendSealed(formatFingerprint(bob.public.fingerprint), bytes('sealed'), { signal }))
    const gone = AbortSignal.abort(reason)
    await expect(client.sendSealed(formatFingerprint(bob.public.fingerprint), bytes('never'), { signal: gone })).rejects.toBe(reason)
    expect(await client.get()).toEqual({ messages: [], waiting: 0 })
    expect(relay.snapshot().messages).toBe(1)

    const controller = new AbortController()
    const subscription = client.subscribe({ signal: controller.signal, onSubscribed: () => controller.abort(reason) })
    await expect(subscription.next()).rejects.toBe(reason)
    await expect(client.ping()).rejects.toBe(reason)
  })

  test('fails with a code if the relay or the proxy cannot be reached', async () => {
    const key = makeKey()
    const proxy = await startSocksServer({ code: 0xf0 })
    closers.push(() => proxy.close())
    await expect(dial('relay.example', key, { socks: `127.0.0.1:${proxy.port}` })).rejects.toMatchObject({
      name: 'RelayError',
      code: 'onion-not-found',
    })
    await expect(dial('relay.example', key, { socks: '127.0.0.1:1' })).rejects.toMatchObject({ code: 'proxy-down' })
    await expect(dial('127.0.0.1:1', key)).rejects.toMatchObject({ code: 'relay-down' })
    await expect(dial('', key)).rejects.toThrow(TypeError)
  })
})

describe('a client with a scripted relay', () => {
  const key = makeKey()
  const victim = key.public

  test("aborts pending requests with the signal's reason", async () => {
    const hostile = await startScript(async (peer) => {
      await honestly(peer, victim)
      await peer.gone
    })
    const controller = new AbortController()
    const client = await dial(hostile.address, key, { signal: controller.signal })
    await client.login()
    const pinging = client.ping()
    const reason = new Error('enough')
    controller.abort(reason)
    await expect(pinging).rejects.toBe(reason)
    await expect(dial(hostile.address, key, { signal: controller.signal })).rejects.toBe(reason)
  })

  test('can be aborted while the relay is silent after HELLO', async () => {
    const hostile = await startScript((peer) => peer.gone)
    const controller = new AbortController()
    const connecting = dial(hostile.address, key, { signal: controller.signal })
    connecting.catch(() => {})
    while (hostile.received() === '') await turn()
    controller.abort(new Error('enough'))
    await expect(connecting).rejects.toThrow('enough')
  })

  test('renews its token before it expires', async () => {
    const hostile = await startScript(async (peer) => {
      await honestly(peer, victim)
      // A token without any lifetime makes each request log in again.
      for (let line = await peer.line(); line !== undefined; line = await peer.line()) {
        if (line.startsWith('0;')) await peer.say(await challengePacket(challengeLine(), victim))
        if (line.startsWith('2;')) await peer.say(`12;x.y.z;0\n`)
        if (line.startsWith('9;')) await peer.say('99;bad-token;text\n')
        if (line.startsWith('4;')) await peer.say('14;0;0\n')
      }
    })
    const client = await dial(hostile.address, key)
    await client.login()
    await client.get()
    expect(hostile.received()).toMatch(new RegExp(`\n4;${TOKEN};lease\n$`))
    await client.login()
    await client.get()
    expect(hostile.received().match(/^0;/gm)).toHaveLength(3)
    expect(hostile.received()).toMatch(/\n4;x\.y\.z;lease\n$/)
    // After bad-token the client renews the token once; a second refusal stands.
    await expect(client.wipe()).rejects.toMatchObject({ code: 'bad-token' })
    expect(hostile.received().match(/^9;/gm)).toHaveLength(2)
  })

  test('reports that the relay moves, but only to a valid onion address', async () => {
    const sound = 'pg6mmjiyjmcrsslvykfwnntlaru7p5svn6y2ymmju6nubxndf4pscryd.onion'
    const hostile = await startScript(async (peer) => {
      await peer.line()
      await peer.say(`18;asfaleia/1\n98;moved;${'a'.repeat(56)}.onion\n98;moved;${sound}\n`)
      await peer.line()
      await peer.say('17\n')
    })
    const told: string[] = []
    const client = await dial(hostile.address, key, { onMoved: (name: string) => told.push(name) })
    await client.ping()
    expect(told).toEqual([sound])
  })

  test('shares one login among simultaneous requests, and gets the answers in order', async () => {
    const { address, relay } = await startRelay()
    const client = await dial(address, key)
    const payloads = await Promise.all(Array.from({ length: 10 }, (_, i) => seal(victim, bytes(`${i}`))))
    await Promise.all(payloads.map((payload) => client.sendSealed(victim, payload)))
    const { messages } = await client.get()
    expect(await openAll(client, messages)).toEqual(['0', '1', '2', '3', '4', '5', '6', '7', '8', '9'])
    expect(relay.snapshot().counters.logins.decrypt).toBe(1)
  })

  test("sends pings to keep a subscription alive within the relay's idle limit", async () => {
    const hostile = await startScript(async (peer) => {
      await honestly(peer, victim, 'idle=1')
      await peer.line()
      await peer.say('16;0\n')
      for (let pings = 0; pings < 2; pings++) {
        expect(await peer.line()).toBe('7')
        await peer.say('17\n')
      }
      await peer.say('20;m1;aGk=\n')
      await peer.gone
    })
    const client = await dial(hostile.address, key)
    for await (const { id } of client.subscribe()) {
      expect(id).toBe('m1')
      break
    }
    expect(hostile.received().match(/^7$/gm)).toHaveLength(2)
  })
})
