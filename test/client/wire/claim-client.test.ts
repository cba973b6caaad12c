/** A connection that proves no key, against a relay in this process: claims, labels, bundles and early data. */
import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { afterEach, describe, expect, test, vi } from 'vitest'
import type { ClaimClient } from '../../../src/client/wire/claim-client.ts'
import { type ClaimOptions, connectClaims } from '../../../src/client/wire/connect.ts'
import type { RelayError } from '../../../src/client/wire/error.ts'
import { startHostileRelay } from '../../support/hostile-relay.ts'
import { startTestRelay, type TestRelay, type TestRelayOptions } from '../../support/relay.ts'
import { startSocksServer } from '../../support/socks-server.ts'

const ONION = '2gzyxa5ihm7nsggfxnu52rck2vv4rvmdlkiu3zzui5du4xyclen53wid.onion'
const closers: (() => unknown)[] = []
afterEach(async () => {
  vi.useRealTimers()
  for (const close of closers.splice(0).toReversed()) await close()
})

/** Waits until the relay has answered everything so far. */
async function roundTrip(client: ClaimClient): Promise<void> {
  await client.fetch(addressOf(randomBytes(32)))
}

async function startRelay(options?: TestRelayOptions): Promise<TestRelay> {
  const started = await startTestRelay(options)
  closers.push(() => started.close())
  return started
}

async function connectTo(relay: string, more: Partial<ClaimOptions> = {}): Promise<ClaimClient> {
  const client = await connectClaims({ relay, ...more })
  closers.push(() => client.close())
  return client
}

const addressOf = (secret: Uint8Array): string => `SHA256:${createHash('sha256').update(secret).digest('base64').replace('=', '')}`
const bytes = (text: string): Uint8Array => Buffer.from(text)
const texts = (messages: readonly { readonly payload: Uint8Array }[]): string[] =>
  messages.map(({ payload }) => Buffer.from(payload).toString())

describe('a client that claims', () => {
  test('reads several mailboxes beside each other, and sends under a throwaway secret', async () => {
    const { address, relay } = await startRelay()
    const secrets = [randomBytes(32), randomBytes(32)]
    const reader = await connectTo(address)
    expect(reader.limits.labels).toBe(64)
    const boxes = secrets.map((secret) => reader.open(secret))
    const loops = boxes.map((box) => box.subscribe())
    const first = loops.map((loop) => loop.next())
    const sender = await connectTo(address)
    for (const [n, secret] of secrets.entries()) await sender.sendSealed(addressOf(secret), bytes(`to ${n}`))
    for (const [n, next] of first.entries()) {
      const { value } = await next
      expect(texts([value!])).toEqual([`to ${n}`])
      expect(await boxes[n]!.ack([value!.id])).toBe(1)
    }
    expect(relay.snapshot()).toMatchObject({ messages: 0, subscribers: 2, counters: { logins: { decrypt: 0, sign: 0, claim: 3 } } })
  })

  test('fetches, publishes and wipes', async () => {
    const { address } = await startRelay()
    const secret = randomBytes(32)
    const reader = await connectTo(address)
    const box = reader.open(secret)
    await box.claimed
    expect(await box.publish(bytes('a bundle'))).toBe(1_209_600)
    const other = await connectTo(address)
    expect(Buffer.from((await other.fetch(addressOf(secret)))!).toString()).toBe('a bundle')
    expect(await box.publish(undefined)).toBe(0)
    expect(await other.fetch(addressOf(secret))).toBeUndefined()
    await other.sendSealed(addressOf(secret), bytes('one'))
    expect(texts((await box.get()).messages)).toEqual(['one'])
    expect(await box.wipe()).toBe(1)
  })

  test('gets the reason of a refused claim from every request behind it', async () => {
    const { address } = await startRelay({ admit: [] })
    const client = await connectTo(address)
    const box = client.open(randomBytes(32))
    for (const request of [box.claimed, box.get(), box.publish(bytes('x')), client.sendSealed(addressOf(randomBytes(32)), bytes('x'))])
      await expect(request).rejects.toMatchObject({ code: 'denied' })
  })

  test('learns which mailbox a newer subscriber took; the others go on', async () => {
    const { address } = await startRelay()
    const secrets = [randomBytes(32), randomBytes(32)]
    const first = await connectTo(address)
    const loops = secrets.map((secret) => first.open(secret).subscribe())
    const nexts = loops.map((loop) => loop.next())
    await roundTrip(first)
    const second = await connectTo(address)
    const taken = second.open(secrets[0]!).subscribe()
    void taken.next().catch(() => {})
    await expect(nexts[0]).rejects.toMatchObject({ code: 'taken-over' })
    await second.sendSealed(addressOf(secrets[1]!), bytes('on'))
    expect(texts([(await nexts[1])!.value!])).toEqual(['on'])
  })

  test('renews claims under a spare label: nothing is delivered twice, and requests go on', async () => {
    vi.useFakeTimers({ toFake: ['performance', 'setInterval'] })
    const { address, relay } = await startRelay({ limits: { idleSeconds: 60 } })
    const secret = randomBytes(32)
    const reader = await connectTo(address)
    const box = reader.open(secret)
    const loop = box.subscribe()
    const next = loop.next()
    const sender = await connectTo(address)
    await sender.sendSealed(addressOf(secret), bytes('one'))
    const { value: one } = await next
    for (let round = 1; round <= 3; round++) {
      await vi.advanceTimersByTimeAsync(3_000_000)
      while (relay.snapshot().counters.logins.claim < 2 + round) await delay(1)
    }
    await sender.sendSealed(addressOf(secret), bytes('two'))
    const { value: two } = await loop.next()
    expect(texts([two!])).toEqual(['two'])
    expect(await box.ack([one!.id, two!.id])).toBe(2)
    expect(relay.snapshot()).toMatchObject({ messages: 0, subscribers: 1, counters: { delivered: 2 } })
  })

  test('claims anew if the relay says bad-token, once', async () => {
    let now = 0
    const { address } = await startRelay({ now: () => now, limits: { idleSeconds: 1e6 } })
    const client = await connectTo(address)
    const box = client.open(randomBytes(32))
    await box.claimed
    now += 3_600_000
    expect(await box.get()).toEqual({ messages: [], waiting: 0 })
  })

  test('keeps the labels of mailboxes that it only asks apart from those that it subscribes to', async () => {
    let now = 0
    const { address } = await startRelay({ now: () => now, limits: { idleSeconds: 1e6 } })
    const [client, sender] = [await connectTo(address), await connectTo(address)]
    const [asked, subscribed] = [randomBytes(32), randomBytes(32)]
    const box = client.open(asked)
    await box.claimed
    const other = client.open(subscribed)
    const next = other.subscribe().next()
    await sender.sendSealed(addressOf(subscribed), bytes('one'))
    const { value: one } = await next
    now += 3_600_000
    // Both claims are renewed, the second one under another label.
    expect(await box.get()).toEqual({ messages: [], waiting: 0 })
    expect(await other.ack([one!.id])).toBe(1)
    await sender.sendSealed(addressOf(asked), bytes('two'))
    expect(texts((await box.get()).messages)).toEqual(['two'])
  })

  test('names the run of the relay with each claim, the same on every connection, and another one at another relay', async () => {
    const [one, other] = [await startRelay(), await startRelay()]
    const runs: string[] = []
    const onRun = (run: string): unknown => runs.push(run)
    const reader = await connectTo(one.address, { onRun })
    expect(runs).toEqual([])
    await reader.open(randomBytes(32)).claimed
    await reader.open(randomBytes(32)).claimed
    await (await connectTo(one.address, { onRun })).sendSealed(addressOf(randomBytes(32)), bytes('one'))
    await (await connectTo(other.address, { onRun })).sendSealed(addressOf(randomBytes(32)), bytes('two'))
    const [run, another] = [runs[0]!, runs[3]!]
    expect(runs).toEqual([run, run, run, another])
    expect(run).toMatch(/^\.eyJqdGkiOi[\w-]{11}$/)
    expect(another).not.toBe(run)
  })

  test('can learn the run of the relay before it is connected, without a message', async () => {
    const { address, relay } = await startRelay()
    const runs: string[] = []
    await connectTo(address, { onRun: (run) => runs.push(run), early: (client) => client.prove() })
    expect(runs).toHaveLength(1)
    expect(relay.snapshot().counters.logins.claim).toBe(1)
  })

  test('stands, although the relay refuses the claim for its run', async () => {
    const hostile = await startHostileRelay(async (peer) => {
      await peer.line()
      await peer.line()
      await peer.say('18;asfaleia/1;labels=1\n99;denied;text\n')
      await peer.gone
    })
    closers.push(() => hostile.close())
    const client = await connectTo(hostile.address, { early: (first) => first.prove() })
    await expect(client.fetch(addressOf(randomBytes(32)))).rejects.toMatchObject({ code: 'denied' })
  })

  test('ends every loop and request if the connection ends, and overwrites its secrets', async () => {
    const started = await startRelay()
    const client = await connectTo(started.address)
    const loop = client.open(randomBytes(32)).subscribe()
    const next = loop.next()
    await roundTrip(client)
    started.cut()
    await expect(next).rejects.toMatchObject({ code: 'closed' })
    expect(() => client.open(randomBytes(32))).not.toThrow()
    await expect(roundTrip(client)).rejects.toMatchObject({ code: 'closed' })
  })

  test('refuses secrets of another length, receivers and payloads that the relay would refuse', async () => {
    const { address } = await startRelay()
    const client = await connectTo(address)
    await expect(client.open(randomBytes(31)).claimed).rejects.toThrow(TypeError)
    await expect(client.sendSealed(addressOf(randomBytes(32)), Buffer.alloc(30_000))).rejects.toMatchObject({ code: 'too-large' })
  })

  test.each(['x', '127.0.0.1:1 '])('refuses the malformed relay %j', async (relay) => {
    await expect(connectClaims({ relay: `${relay}\n` })).rejects.toThrow(TypeError)
  })
})

describe('early data', () => {
  test('leaves behind the SOCKS request, and everything is answered after one trip', async () => {
    const { port } = await startRelay({ names: [ONION] })
    const { port: socks, requests } = await startSocksServer({ to: port })
    const secret = randomBytes(32)
    let sent: Promise<unknown> | undefined
    let got: Promise<unknown> | undefined
    let refused: Promise<readonly PromiseSettledResult<unknown>[]> | undefined
    const client = await connectTo(ONION, {
      socks: `127.0.0.1:${socks}`,
      early: (early) => {
        sent = early.sendSealed(addressOf(secret), bytes('early'))
        got = early.open(secret).get()
        refused = Promise.allSettled([early.open(secret).wipe(), early.open(secret).publish(bytes('x'))])
        expect(() => early.open(secret).get({ lease: false })).toThrow(TypeError)
      },
    })
    expect(await sent).toMatchObject({ seconds: 604_800 })
    expect(texts(((await got) as { messages: { payload: Uint8Array }[] }).messages)).toEqual(['early'])
    for (const each of (await refused)!) expect(each).toMatchObject({ status: 'rejected', reason: expect.any(TypeError) as unknown })
    expect(requests).toHaveLength(1)
    await roundTrip(client)
  })

  test('is there before the answer of the SOCKS port, and counts as under way if that answer is a failure', async () => {
    const heard: Buffer[] = []
    let answer = (_socket: Socket): void => {}
    const proxy = createServer((socket) => {
      let step = 0
      socket.on('error', () => {})
      socket.on('data', (chunk: Buffer) => {
        if (step++ === 0) socket.write(Uint8Array.of(5, 2))
        else if (step === 2) socket.write(Uint8Array.of(1, 0))
        else {
          heard.push(Buffer.from(chunk))
          answer(socket)
        }
      })
    }).listen(0, '127.0.0.1')
    await once(proxy, 'listening')
    closers.push(() => proxy.close())
    const socks = `127.0.0.1:${(proxy.address() as AddressInfo).port}`
    const attempt = async (reply: (socket: Socket) => void): Promise<{ error: RelayError; sending: RelayError }> => {
      heard.length = 0
      answer = reply
      let sending: Promise<RelayError> | undefined
      const error = await connectTo(ONION, {
        socks,
        early: (client) => {
          sending = client.sendSealed(addressOf(randomBytes(32)), bytes('early')).then(
            () => expect.unreachable(),
            (reason: RelayError) => reason,
          )
        },
      }).then(
        () => expect.unreachable(),
        (reason: RelayError) => reason,
      )
      return { error, sending: await sending! }
    }
    for (const [reply, code] of [
      [(socket: Socket) => void socket.write(Uint8Array.of(5, 0xf2, 0, 1, 0, 0, 0, 0, 0, 0)), 'onion-unreachable'],
      [(socket: Socket) => void socket.destroy(), 'proxy-failed'],
    ] as const) {
      const { error, sending } = await attempt(reply)
      expect(error).toMatchObject({ code, mayHaveArrived: true })
      expect(sending).toMatchObject({ code, mayHaveArrived: true })
      const [request] = heard
      expect(request!.subarray(0, 4)).toEqual(Buffer.of(5, 1, 0, 3))
      expect(request!.toString('latin1')).toMatch(/8;asfaleia\/1;[a-z2-7]{56}\.onion\n34;[A-Za-z0-9_-]{43}\n3;;SHA256:[^;]+;ZWFybHk=\n$/)
    }
  })

  test('did not leave if there is no SOCKS port, or nothing was early', async () => {
    const gone = createServer().listen(0, '127.0.0.1')
    await once(gone, 'listening')
    const socks = `127.0.0.1:${(gone.address() as AddressInfo).port}`
    gone.close()
    const early = (client: ClaimClient): void => void client.open(randomBytes(32)).claimed.catch(() => {})
    await expect(connectTo(ONION, { socks, early })).rejects.toMatchObject({ code: 'proxy-down', mayHaveArrived: false })
    const { port } = await startSocksServer({ code: 0xf2 })
    await expect(connectTo(ONION, { socks: `127.0.0.1:${port}` })).rejects.toMatchObject({ mayHaveArrived: false })
  })

  test('waits for the TOKEN if its line is long, and the connection does not time out while the relay is being reached', async () => {
    const { port } = await startRelay({ names: [ONION] })
    const { port: socks } = await startSocksServer({ to: port })
    let long: Promise<unknown> | undefined
    await connectTo(ONION, {
      socks: `127.0.0.1:${socks}`,
      early: (client) => (long = client.sendSealed(addressOf(randomBytes(32)), Buffer.alloc(7_000))),
    })
    await expect(long).resolves.toMatchObject({ seconds: 604_800 })
  })
})
