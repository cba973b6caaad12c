import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, afterEach, describe, expect, onTestFinished, test, vi } from 'vitest'
import { runCommand } from '../../../src/cli/command.ts'
import { connectRelay, identityOf, seal } from '../../../src/client/index.ts'
import { asfaleia, createKeyFolder, type Outcome } from '../../support/command.ts'
import { challengePacket, honestly, type Peer, startHostileRelay } from '../../support/hostile-relay.ts'
import { run, start } from '../../support/process.ts'
import { missing } from '../../support/programs.ts'
import { startTestRelay, type TestRelay, type TestRelayOptions } from '../../support/relay.ts'
import { startSocksServer } from '../../support/socks-server.ts'
import { createTestIo } from '../../support/terminal.ts'

const folder = createKeyFolder()
const alice = folder.make('alice')
const bob = folder.make('bob')
afterAll(() => folder.remove())
const MAIN = [process.execPath, join(import.meta.dirname, '../../../src/cli/main.ts')]
// The Tor Project's web site, because its address has a valid checksum.
const ONION = '2gzyxa5ihm7nsggfxnu52rck2vv4rvmdlkiu3zzui5du4xyclen53wid.onion'

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
async function put(address: string, ...texts: (string | Uint8Array)[]): Promise<void> {
  using client = await connectRelay({ relay: address, identity: identityOf(alice.key) })
  for (const text of texts) await client.send(bob.key.public, Buffer.from(text as string))
}
const get = (address: string, ...more: string[]): Promise<Outcome> => asfaleia(['get', '--relay', address, '--key', bob.file, ...more])
/** The prefix of a text that was sent with age alone. */
const BARE = '[unsigned: anyone may have written this]: '
const sealed = async (text: string): Promise<string> => Buffer.from(await seal(bob.key.public, Buffer.from(text))).toString('base64')

describe('get', () => {
  test('prints the waiting messages once and in order', async () => {
    const { address, relay } = await startRelay()
    await put(address, 'one', 'two\nlines\n', '', 'ümläut 🙂')
    expect(await get(address)).toEqual({ code: 0, out: `${BARE}one\n${BARE}two\n  lines\n${BARE}\n${BARE}ümläut 🙂\n`, err: '' })
    expect(relay.snapshot().messages).toBe(0)
    expect(await get(address)).toEqual({ code: 0, out: '', err: 'asfaleia: no messages wait\n' })
  })

  test('gets messages in more than one batch', async () => {
    const { address } = await startRelay({ limits: { batchMessages: 2 } })
    await put(address, '1', '2', '3', '4', '5')
    expect(await get(address)).toMatchObject({ code: 0, out: ['1', '2', '3', '4', '5'].map((text) => `${BARE}${text}\n`).join('') })
  })

  test('prints no character that could control a terminal', async () => {
    const { address } = await startRelay()
    const text = '\u{1b}[31mred\u{1b}]0;title\u{7}\u{9b}2J\u{202e}evil\u{2066}\r\b\0\u{e0041}'
    await put(address, text, text, Uint8Array.of(0xff, 0x1b, 0x41))
    const plain = await get(address)
    expect(plain.out).not.toMatch(/[[\p{Cc}\p{Cf}]--[\n]]/v)
    expect(plain.out).toContain('\\u{1b}[31mred')
    await put(address, text, Uint8Array.of(0xff, 0x1b, 0x41))
    const json = await get(address, '--json')
    expect(json.out).toMatch(/^[\x20-\x7e\n]*$/)
    expect(
      json.out
        .trimEnd()
        .split('\n')
        .map((line) => JSON.parse(line) as object),
    ).toEqual([
      { verdict: 'unsigned', relay: address, text },
      { verdict: 'unsigned', relay: address, base64: '/xtB' },
    ])
  })

  test('reports junk without printing it, and drops it', async () => {
    const { address, relay } = await startRelay()
    using client = await connectRelay({ relay: address, identity: identityOf(alice.key) })
    await client.sendSealed(bob.key.public, Buffer.from('junk'))
    await client.send(bob.key.public, Buffer.from('good'))
    expect(await get(address)).toEqual({
      code: 0,
      out: `${BARE}good\n`,
      err: 'asfaleia: dropped a message that this key cannot decrypt\n',
    })
    expect(relay.snapshot().messages).toBe(0)
  })

  test.each([
    [1, 'asfaleia: the relay announced more messages than it delivered; try again later\n'],
    [0, 'asfaleia: no messages wait\n'],
  ])('says that no messages wait only if no relay announced one (%i)', async (waiting, note) => {
    const slow = await startScript(async (peer) => {
      await honestly(peer, bob.key.public)
      await peer.line()
      await peer.say(`16;${waiting}\n`)
      await peer.gone
    })
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
    onTestFinished(() => void vi.useRealTimers())
    const done = get(slow.address)
    const turns = setInterval(() => vi.advanceTimersByTime(waiting > 0 ? 1_000 : 0), 20)
    onTestFinished(() => clearInterval(turns))
    expect(await done).toEqual({ code: 0, out: '', err: note })
  })

  test('refuses a key that can only sign', async () => {
    const file = join(folder.path, 'ecdsa')
    const { generateKeyPairSync } = await import('node:crypto')
    writeFileSync(file, generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ format: 'pem', type: 'pkcs8' }), {
      mode: 0o600,
    })
    const outcome = await asfaleia(['get', '--relay', '127.0.0.1:1', '--key', file])
    expect(outcome).toMatchObject({ code: 1, out: '' })
    expect(outcome.err).toContain('can only sign')
  })

  test.each([[['word']], [['--follow=yes']], [['--no-such']]])('refuses the arguments %j', async (words) => {
    expect(await get('127.0.0.1:1', ...words)).toMatchObject({ code: 2, out: '' })
  })

  test('ends when interrupted', async () => {
    const silent = await startScript((peer) => peer.gone)
    const io = createTestIo()
    const running = runCommand(['get', '--relay', silent.address, '--key', bob.file], io)
    io.interrupt()
    expect(await running).toBe(1)
    expect(io.err()).toBe('asfaleia: error: interrupted\n')
  })
})

describe('get --follow', () => {
  const follow = (address: string, ...more: string[]) => {
    const io = createTestIo()
    const code = runCommand(['get', '--follow', '--relay', address, '--key', bob.file, ...more], io)
    return { io, code }
  }

  test('prints new messages until it is interrupted', async () => {
    const { address, relay } = await startRelay({ limits: { window: 2 } })
    await put(address, 'before')
    const { io, code } = follow(address)
    await io.untilOut('before\n')
    const texts = Array.from({ length: 20 }, (_, i) => `text ${i}`)
    await put(address, ...texts)
    await io.untilOut('text 19\n')
    expect(io.out()).toBe(['before', ...texts].map((text) => `${BARE}${text}\n`).join(''))
    io.interrupt()
    expect(await code).toBe(0)
    expect(io.err()).toBe('')
    expect(relay.snapshot().counters.delivered).toBe(21)
  })

  test('reconnects after a lost connection', async () => {
    let connections = 0
    const hostile = await startScript(async (peer) => {
      const nth = ++connections
      if (nth === 1) await honestly(peer, bob.key.public)
      else {
        // The client tests its token by SUBSCRIBE.
        await peer.line()
        await peer.say('18;asfaleia/1;payload=32768\n')
      }
      await peer.line()
      await peer.say(`16;1\n20;m${nth};${await sealed(`message ${nth}`)}\n`)
      await peer.line()
      await peer.say('15;1\n')
      if (nth === 2) await peer.gone
    })
    const { io, code } = follow(hostile.address)
    await io.untilOut('message 2\n')
    io.interrupt()
    expect(await code).toBe(0)
    expect(io.out()).toBe(`${BARE}message 1\n${BARE}message 2\n`)
    expect(hostile.received()).toMatch(/^5;a\.b\.c;m1$/m)
    expect(hostile.received()).toMatch(/^8;asfaleia\/1;localhost\n6;a\.b\.c$/m)
    expect(io.err()).toBe('asfaleia: the relay closed the connection; trying again in 1 second\n')
  })

  test('does not reconnect to a relay that sends a foreign challenge', async () => {
    let connections = 0
    const hostile = await startScript(async (peer) => {
      if (++connections === 1) {
        await honestly(peer, bob.key.public)
        await peer.line()
        await peer.say('16;0\n')
        return
      }
      await peer.line()
      await peer.say('18;asfaleia/1\n')
      await peer.line()
      await peer.say(await challengePacket('secret-text', bob.key.public))
      await peer.gone
    })
    const { io, code } = follow(hostile.address)
    expect(await code).toBe(77)
    expect(hostile.connections()).toBe(2)
    expect(hostile.received()).not.toContain('secret-text')
    expect(io.err()).not.toContain('secret-text')
  })

  test('ends when another program takes the mailbox over, and if the first connection fails', async () => {
    const { address } = await startRelay()
    const { io, code } = follow(address)
    await put(address, 'x')
    await io.untilOut('x\n')
    using newer = await connectRelay({ relay: address, identity: identityOf(bob.key) })
    const waiting = newer.subscribe().next()
    waiting.catch(() => {})
    expect(await code).toBe(1)
    expect(io.err()).toBe('asfaleia: error: another client has taken over this mailbox\n')
    expect(await follow('127.0.0.1:1').code).toBe(69)
  })

  test('can be interrupted while it waits to reconnect', async () => {
    const hostile = await startScript(async (peer) => {
      await honestly(peer, bob.key.public)
      await peer.line()
      await peer.say(`16;1\n20;m1;${await sealed('one')}\n98;restarting;3600\n`)
      await peer.line()
    })
    const { io, code } = follow(hostile.address)
    await io.untilOut('one\n')
    await io.untilErr('trying again')
    io.interrupt()
    expect(await code).toBe(0)
    expect(io.err()).toBe('asfaleia: the relay is going down; trying again in 1 hour\n')
  })
})

describe('get as a process', () => {
  test.each(['SIGINT', 'SIGTERM'] as const)('ends --follow with 0 on %s', async (signal) => {
    const { address } = await startRelay()
    await put(address, 'one')
    const running = start([...MAIN, 'get', '--follow', '--relay', address, '--key', bob.file])
    await running.until(/one\n/)
    expect(await running.end(signal)).toEqual({ code: 0, signal: null, stdout: `${BARE}one\n`, stderr: '' })
  })

  test('sends a hostile relay nothing secret, and prints nothing of its text', async () => {
    const captured = Buffer.from(await sealed('secret-text'), 'base64')
    for (const serve of [
      async (peer: Peer) => {
        await peer.line()
        await peer.say('18;asfaleia/1\n')
        await peer.line()
        await peer.say(`1;1;${captured.toString('base64')}\n`)
      },
      async (peer: Peer) => {
        await honestly(peer, bob.key.public)
        await peer.line()
        await peer.say('99;denied;\u{1b}[2J\u{1b}]0;RELAYTEXT\u{7}\n')
      },
      async (peer: Peer) => {
        await peer.line()
        while (await peer.say('x'.repeat(65_536)));
      },
    ]) {
      const hostile = await startScript(async (peer) => {
        await serve(peer)
        await peer.gone
      })
      for (const words of [['get'], ['get', '--follow'], ['send']]) {
        const command = [...words, '--relay', hostile.address, '--key', bob.file]
        const outcome = await asfaleia(words[0] === 'send' ? [...command, `${alice.file}.pub`, 'my-own-text'] : command)
        expect(outcome).toMatchObject({ code: 77, out: '' })
        expect(outcome.err).toMatch(/^asfaleia: error: [\x20-\x7e]+\n(asfaleia: hint: [^\p{Cc}\p{Cf}]+\n)?$/u)
        expect(outcome.err).not.toMatch(/secret|RELAYTEXT/)
      }
      expect(hostile.received()).not.toMatch(/secret|my-own-text/)
    }
  }, 90_000)

  test('leaves the messages at the relay that its reader did not read', async () => {
    const { address } = await startRelay({ limits: { batchMessages: 2 } })
    await put(address, ...Array.from({ length: 8 }, (_, i) => `${i} ${'x'.repeat(20_000)}`))
    const shell = `"$1" "$2" get --relay ${address} --key "$3" | head -c 100 >/dev/null; exit 0`
    expect(await run(['sh', '-c', shell, 'sh', ...MAIN, bob.file])).toMatchObject({ code: 0 })
    const { out } = await get(address)
    expect(out).toContain('7 xxx')
  })

  test.each([
    ['--socks off', ['--socks', 'off'], {}],
    ['ASFALEIA_SOCKS=off', [], { ASFALEIA_SOCKS: 'off' }],
  ])('an onion address is neither resolved nor dialled with %s', async (_, options, env) => {
    for (const host of [ONION, `${ONION}.`, ONION.toUpperCase(), `www.${ONION}`]) {
      const outcome = await asfaleia(['get', ...options, '--relay', host, '--key', bob.file], { env })
      expect(outcome).toMatchObject({ code: 2, out: '' })
      expect(outcome.err).toContain('error: only Tor can reach an onion address')
      expect(outcome.err).toContain('nothing was resolved or dialled')
    }
  })

  test('an onion address is not resolved either if LD_PRELOAD names torsocks but does not load it', async () => {
    const env = { LD_PRELOAD: '/no/such/libtorsocks.so' }
    const outcome = await run([...MAIN, 'get', '--socks', 'off', '--relay', ONION, '--key', bob.file], { env })
    expect(outcome).toMatchObject({ code: 2, stdout: '' })
    expect(outcome.stderr).toContain('nothing was resolved or dialled')
  })

  test('an onion address that ends in a dot goes to the SOCKS port without the dot', async () => {
    const { port } = await startRelay({ names: [ONION] })
    const proxy = await startSocksServer({ to: port })
    closers.push(() => proxy.close())
    const env = { ASFALEIA_SOCKS: `127.0.0.1:${proxy.port}` }
    for (const host of [`${ONION}.`, `${ONION.toUpperCase()}.`, ONION.replace('.', '\u{3002}')])
      expect(await asfaleia(['get', '--relay', host, '--key', bob.file], { env })).toMatchObject({ code: 0 })
    expect(proxy.requests.map((request) => request.host)).toEqual([ONION, ONION, ONION])
  })

  test('works under torsocks, which passes the name to tor unresolved', { timeout: 60_000 }, async (context) => {
    const why = missing('torsocks')
    if (why !== undefined) return context.skip(why)
    const { port } = await startRelay({ names: [ONION] })
    const proxy = await startSocksServer({ to: port })
    closers.push(() => proxy.close())
    const config = join(folder.path, 'torsocks.conf')
    writeFileSync(config, `TorAddress 127.0.0.1\nTorPort ${proxy.port}\nOnionAddrRange 127.42.42.0/24\n`)
    const env = { TORSOCKS_CONF_FILE: config }
    const relay = ['--relay', `${ONION}:4000`]
    const sent = await run(['torsocks', ...MAIN, 'send', ...relay, '--key', alice.file, `${bob.file}.pub`, 'over tor'], { env })
    expect(sent).toMatchObject({ code: 0, stdout: 'stored by a relay for up to 7 days\n' })
    const got = await run(['torsocks', ...MAIN, 'get', ...relay, '--key', bob.file], { env })
    expect(got).toMatchObject({ code: 0, stdout: expect.stringMatching(/^SHA256:\S{43} \[not a contact\]: over tor\n$/) as string })
    // Without torsocks, the client uses SOCKS by itself if the variable names it.
    const own = await run([...MAIN, 'get', ...relay, '--key', bob.file], { env: { ASFALEIA_SOCKS: `127.0.0.1:${proxy.port}` } })
    expect(own).toMatchObject({ code: 0, stderr: 'asfaleia: no messages wait\n' })
    expect(proxy.requests).toHaveLength(3)
    for (const request of proxy.requests) expect(request).toMatchObject({ type: 3, host: ONION, port: 4_000 })
  })
})
