/** Tests the whole relay over each of its doors; the same must hold on all of them. */
import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { connect } from 'node:net'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { WebSocket } from 'ws'
import { buildPage } from '../../deploy/page.ts'
import { parseConfig } from '../../src/config/config.ts'
import { ConfigError } from '../../src/config/problem.ts'
import type { Address } from '../../src/transport/address.ts'
import { createLog } from '../../src/log.ts'
import { type RunningServer, startServer } from '../../src/server/server.ts'
import { connectRaw, connectWebSocket, createPerson, type Wire } from '../support/wire.ts'

const PROXY_LINE = 'PROXY TCP6 fc00:dead:beef:4dad::0:a6 ::1 166 7777\r\n'
const ONION = 'pg6mmjiyjmcrsslvykfwnntlaru7p5svn6y2ymmju6nubxndf4pscryd.onion'
const OLD = '2gzyxa5ihm7nsggfxnu52rck2vv4rvmdlkiu3zzui5du4xyclen53wid.onion'
const [alice, bob] = [createPerson(), createPerson()]

let folder: string
let logged: string[] = []
const servers: RunningServer[] = []

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'asfaleia-'))
})
afterAll(() => rmSync(folder, { recursive: true }))
beforeEach(() => {
  logged = []
})
afterEach(async () => {
  for (const server of servers.splice(0)) await server.close()
})

/** Between two questions to a relay whose answer will change, ms. */
const PAUSE = 10

/** Waits until the relay has read a name so many times. */
async function nameKnown(times: number): Promise<void> {
  while (logged.filter((line) => line.includes('"name-known"')).length < times) await delay(PAUSE)
}

/** Waits until the relay has found a new problem of its name file so many times. */
async function nameRefused(times: number): Promise<void> {
  while (logged.filter((line) => line.includes('"name-file-unusable"')).length < times) await delay(PAUSE)
}

let sockets = 0
const DOORS = (): string[] => ['--unix', join(folder, `${sockets++}.sock`), '--http', '127.0.0.1:0', '--operator', '127.0.0.1:0']
async function start(...given: string[]): Promise<RunningServer & { at(door: string): Address }> {
  const parsed = parseConfig({
    env: {},
    argv: [...(given.includes('--tcp') ? [] : ['--tcp', '127.0.0.1:0']), ...DOORS(), ...given],
    readFile: () => '',
  })
  if (!('config' in parsed)) throw new Error(JSON.stringify(parsed))
  const log = createLog({ level: 'debug', format: 'json', write: (line) => logged.push(line) })
  const server = await startServer(parsed.config, log, { version: '0.0.0', page: join(folder, 'asfaleia.html') })
  servers.push(server)
  return { ...server, at: (door) => server.listening.find((each) => each.door === door)!.address }
}

const OPEN: Record<string, (at: (door: string) => Address, first?: string) => Promise<Wire>> = {
  TCP: (at, first) => connectRaw(at('tcp'), first),
  'a unix socket': (at, first) => connectRaw(at('unix'), first),
  'WebSocket, text': (at, first) => connectWebSocket(at('http'), first === undefined ? {} : { first }),
  'WebSocket, binary': (at, first) => connectWebSocket(at('http'), { binary: true, ...(first === undefined ? {} : { first }) }),
}

describe.each(Object.entries(OPEN))('over %s', (name, open) => {
  it('two users log in by either proof and exchange messages', async () => {
    const { at } = await start('--name', 'localhost')
    const a = await open(at)
    const b = await open(at)
    expect(await a.ask('8;asfaleia/1;localhost')).toMatch(/^18;asfaleia\/1;/)
    const aliceToken = await a.login(alice, 'decrypt')
    const bobToken = await b.login(bob, 'sign')
    const [, id] = (await a.ask(`3;${aliceToken};${bob.line};QUJD`)).split(';')
    expect(await b.ask(`4;${bobToken};lease`)).toBe('14;1;0')
    expect(await b.line()).toBe(`20;${id};QUJD`)
    expect(await b.ask(`5;${bobToken};${id}`)).toBe('15;1')
    expect(await b.ask(`6;${bobToken}`)).toBe('16;0')
    const [, next] = (await a.ask(`3;${aliceToken};${bob.line};REVG`)).split(';')
    expect(await b.line()).toBe(`20;${next};REVG`)
  })

  it('the leased messages of a cut connection wait again', async () => {
    const { at } = await start('--name', 'localhost')
    const sender = await open(at)
    const token = await sender.login(alice)
    const ids: string[] = []
    for (const payload of ['AAAA', 'BBBB', 'CCCC']) ids.push((await sender.ask(`3;${token};${alice.line};${payload}`)).split(';')[1]!)
    const reader = await open(at)
    expect(await reader.ask(`6;${token}`)).toBe('16;3')
    for (const id of ids) expect(await reader.line()).toMatch(`20;${id};`)
    reader.destroy()
    // The relay notices the end of a stream on its own, so ask until it has.
    let count = '14;0;0'
    while (count === '14;0;0') {
      await delay(PAUSE)
      count = await sender.ask(`4;${token};lease`)
    }
    expect(count).toBe('14;3;0')
    for (const id of ids) expect(await sender.line()).toMatch(`20;${id};`)
  })

  it('errors carry their code, and too-large also ends the connection', async () => {
    const { at } = await start('--name', 'localhost')
    const wire = await open(at)
    expect(await wire.ask('0;ssh-ed25519 AAAA')).toMatch(/^99;bad-key;/)
    expect(await wire.ask('4;forged')).toMatch(/^99;bad-token;/)
    expect(await wire.ask('x'.repeat(8_193))).toMatch(/^99;too-large;/)
    expect(await wire.line()).toBeUndefined()
  })

  it('a stalled reader delays no other connection', async () => {
    const { at } = await start('--name', 'localhost', '--mailbox-messages', '1000')
    const sender = await open(at)
    const token = await sender.login(alice)
    const payload = 'A'.repeat(30_000)
    for (let i = 0; i < 200; i++) expect(await sender.ask(`3;${token};${alice.line};${payload}`)).toMatch(/^13;/)
    const stopped = await open(at)
    await stopped.ask(`4;${token}`)
    stopped.pause()
    for (let i = 0; i < 20; i++) stopped.send(`4;${token}\n`)
    expect(await sender.ask(`3;${token};${bob.line};QUJD`)).toMatch(/^13;/)
    const other = await open(at)
    expect(await other.ask(`4;${await other.login(bob)}`)).toBe('14;1;0')
    stopped.destroy()
  })

  it('the relay announces its restart when it goes down', async () => {
    const { at } = await start('--name', 'localhost')
    const wire = await open(at)
    await wire.login(alice)
    await servers.pop()!.close()
    expect(await wire.line()).toBe('98;restarting;10')
    expect(await wire.line()).toBeUndefined()
  })

  it('streams of one circuit share their limit if the door gets PROXY lines', async () => {
    const { at } = await start('--name', 'localhost', '--proxy', 'tcp,unix,http', '--per-circuit', '2')
    const wires = [await open(at, PROXY_LINE), await open(at, PROXY_LINE)]
    for (const wire of wires) expect(await wire.ask('7')).toBe('17')
    if (name.startsWith('WebSocket')) {
      await expect(open(at, PROXY_LINE)).rejects.toThrow('HTTP 503')
    } else {
      const third = await open(at, PROXY_LINE)
      expect(await third.line()).toMatch(/^99;rate-limited;.*;10$/)
      expect(await third.line()).toBeUndefined()
    }
    const other = await open(at, PROXY_LINE.replace('a6', 'a7'))
    expect(await other.ask('7')).toBe('17')
  })
})

describe('the doors of a relay', () => {
  it('refuse a connection without the PROXY line if configured to expect it', async () => {
    const { at } = await start('--name', 'localhost', '--proxy', 'tcp')
    const wire = await connectRaw(at('tcp'), '8;asfaleia/1\n')
    expect(await wire.line()).toBeUndefined()
  })

  it('require the WebSocket subprotocol', async () => {
    const { at } = await start('--name', 'localhost')
    await expect(connectWebSocket(at('http'), { protocols: ['chat'] })).rejects.toThrow('HTTP 400')
    await expect(connectWebSocket(at('http'), { protocols: [] })).rejects.toThrow('HTTP 400')
    const wire = await connectWebSocket(at('http'), { protocols: ['chat', 'asfaleia.1'] })
    expect(await wire.ask('7')).toBe('17')
  })

  it('refuse WebSocket messages with line breaks, and end the connection at an oversized message', async () => {
    const { at } = await start('--name', 'localhost')
    const { port } = at('http') as Address & { kind: 'tcp' }
    const socket = new WebSocket(`ws://127.0.0.1:${port}/v1`, ['asfaleia.1'])
    await once(socket, 'open')
    const ask = async (message: string): Promise<string> => {
      socket.send(message)
      return String(((await once(socket, 'message')) as [Buffer])[0])
    }
    expect(await ask('7\n')).toMatch(/^99;wrong-usage;/)
    expect(await ask('7\r')).toMatch(/^99;wrong-usage;/)
    expect(await ask('7')).toBe('17')
    // Fragments without an end are refused at the limit, before the message is complete.
    const endless = new WebSocket(`ws://127.0.0.1:${port}/v1`, ['asfaleia.1'])
    await once(endless, 'open')
    for (let i = 0; i < 20; i++) endless.send('x'.repeat(1_000), { fin: false })
    expect(String(((await once(endless, 'message')) as [Buffer])[0])).toMatch(/^99;too-large;/)
    await once(endless, 'close')
    const elsewhere = new WebSocket(`ws://127.0.0.1:${port}/`, ['asfaleia.1'])
    const [, response] = (await once(elsewhere, 'unexpected-response')) as [unknown, { statusCode: number }]
    expect(response.statusCode).toBe(404)
    elsewhere.on('error', () => {})
    elsewhere.terminate()
    // Send only a frame header, which claims a mebibyte.
    const claims = connect(port, '127.0.0.1')
    claims.write(
      'GET /v1 HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n' +
        'Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Protocol: asfaleia.1\r\n\r\n',
    )
    await once(claims, 'data')
    claims.write(Buffer.from('82ff00000000001000006d61736b', 'hex'))
    const said: Buffer[] = []
    for await (const chunk of claims) said.push(chunk as Buffer)
    // Expect a text frame, then a close frame of code 1009.
    expect(Buffer.concat(said).toString('latin1', 2)).toMatch(/^99;too-large;/)
    expect(Buffer.concat(said).subarray(-4).toString('hex')).toBe('880203f1')
    expect(await ask('x'.repeat(100_000))).toMatch(/^99;too-large;/)
    await once(socket, 'close')
  })

  it('serve one page that loads nothing and has no date, and echo nothing of a request', async () => {
    const { at } = await start('--name', 'localhost')
    const address = at('http') as Address & { kind: 'tcp' }
    const page = await fetch(`http://127.0.0.1:${address.port}/`)
    expect(page.status).toBe(200)
    expect(await page.text()).toContain('This is an Asfaleia relay')
    expect(page.headers.get('content-security-policy')).toContain("default-src 'none'")
    expect(page.headers.get('date')).toBeNull()
    const marker = 'marker-that-must-not-come-back'
    for (const path of [`/${marker}`, `/?${marker}`, '/metrics', '/livez', '/v1', `/%zz${marker}`]) {
      const answer = await fetch(`http://127.0.0.1:${address.port}${path}`)
      if (path !== `/?${marker}`) expect(answer.status).toBeGreaterThanOrEqual(400)
      expect(await answer.text()).not.toContain(marker)
    }
  })

  it('offer the web page as the setting says, and say in the log if its file is missing', async () => {
    const at = async (...argv: string[]): Promise<string> => {
      const { at } = await start('--name', 'localhost', ...argv)
      return `http://127.0.0.1:${(at('http') as Address & { kind: 'tcp' }).port}`
    }
    const file = await buildPage(join(import.meta.dirname, '../..'))
    const missing = await at()
    expect((await fetch(`${missing}/asfaleia.html`)).status).toBe(404)
    expect(logged.filter((line) => line.includes('"page-unusable"')).join()).toMatch(/"problem":"missing"/)
    logged = []
    writeFileSync(join(folder, 'asfaleia.html'), file)
    const [off, download, run] = [await at('--page', 'off'), await at(), await at('--page', 'run')]
    rmSync(join(folder, 'asfaleia.html'))
    expect((await fetch(`${off}/asfaleia.html`)).status).toBe(404)
    for (const [origin, disposition] of [
      [download, 'attachment; filename="asfaleia.html"'],
      [run, null],
    ] as const) {
      const answer = await fetch(`${origin}/asfaleia.html`)
      expect([answer.status, answer.headers.get('content-disposition')]).toEqual([200, disposition])
      expect(await answer.text()).toBe(file)
      const hash = createHash('sha256').update(file).digest('hex')
      expect(await (await fetch(`${origin}/`)).text()).toContain(hash)
    }
    // Without PROXY lines, all visitors share one limit.
    let answers = 1
    while ((await fetch(`${download}/asfaleia.html`, { method: 'HEAD' })).status === 200) answers++
    expect(answers).toBeGreaterThanOrEqual(64)
    expect(logged.filter((line) => line.includes('"page-unusable"'))).toEqual([])
  })

  it('tell a WebSocket no name but that in its Host', async () => {
    const { at } = await start('--name', `localhost,${ONION},${OLD}`)
    const ask = async (host: string, packet: string): Promise<string> =>
      (await connectWebSocket(at('http'), { headers: { host } })).ask(packet)
    const unknown = '8;asfaleia/1;unknown.onion'
    for (const [host, name, others] of [
      ['127.0.0.1', 'localhost', [ONION, OLD]],
      [ONION, ONION, ['localhost', OLD]],
      [`${OLD.toUpperCase()}:80`, OLD, ['localhost', ONION]],
    ] as const) {
      const [, , challenge] = (await ask(host, `0;${alice.line};sign`)).split(';')
      expect(Buffer.from(challenge!, 'base64').toString()).toMatch(`asfaleia/1 auth ${name} `)
      expect(await ask(host, `8;asfaleia/1;${name}`)).toMatch(/^18;/)
      expect(await ask(host, unknown)).toMatch(/^99;wrong-usage;/)
      for (const other of others) expect(await ask(host, `8;asfaleia/1;${other}`)).toBe(await ask(host, unknown))
    }
    // A raw door cannot tell by which name a connection came.
    const wire = await connectRaw(at('tcp'))
    for (const name of ['localhost', ONION, OLD]) expect(await wire.ask(`8;asfaleia/1;${name}`)).toMatch(/^18;/)
  })

  it('tell a WebSocket that came by loopback no onion name, even if the relay has no other', async () => {
    const { at } = await start('--name', ONION)
    const wire = await connectWebSocket(at('http'))
    expect(await wire.ask(`0;${alice.line};sign`)).toMatch(/^99;not-ready;/)
    for (const name of [ONION, OLD, 'localhost']) expect(await wire.ask(`8;asfaleia/1;${name}`)).toMatch(/^99;not-ready;/)
    expect(await wire.ask('8;asfaleia/1')).toMatch(/^18;/)
    // docs/protocol.md, section 9: by hand, without HELLO, on this machine.
    const [, , challenge] = (await (await connectRaw(at('tcp'))).ask(`0;${alice.line};sign`)).split(';')
    expect(Buffer.from(challenge!, 'base64').toString()).toMatch(`asfaleia/1 auth ${ONION} `)
  })

  it('count half-sent requests against their circuit, and stay open to other circuits', async () => {
    const { at } = await start('--name', 'localhost', '--proxy', 'http', '--connections', '20', '--per-circuit', '5')
    const http = at('http') as Address & { kind: 'tcp' }
    const halves = Array.from({ length: 500 }, () => {
      const socket = connect(http.port, '127.0.0.1').on('error', () => {})
      socket.write(`${PROXY_LINE}GET / HTTP/1.1\r\nHost: localhost\r\n`)
      return socket
    })
    const answers = await Promise.all(halves.slice(5).map(async (socket) => String(((await once(socket, 'data')) as [Buffer])[0])))
    for (const answer of answers) expect(answer).toMatch(/^HTTP\/1.1 503 /)
    const visitor = await connectWebSocket(http, { first: PROXY_LINE.replace('a6', 'a7') })
    expect(await visitor.ask('7')).toBe('17')
    for (const half of halves) half.destroy()
  })

  it('stay responsive under a flood of silent connections, of which the oldest are closed', async () => {
    const { at } = await start('--name', 'localhost', '--unproven', '50', '--connections', '200')
    const proven = await connectRaw(at('tcp'))
    const token = await proven.login(alice)
    const flood: Wire[] = []
    for (let i = 0; i < 120; i++) flood.push(await connectRaw(at('tcp')))
    expect(await proven.ask(`4;${token}`)).toBe('14;0;0')
    const newcomer = await connectRaw(at('tcp'))
    await newcomer.login(bob)
    expect(await flood[0]!.line()).toBeUndefined()
    expect(await flood.at(-1)!.ask('7')).toBe('17')
    for (const wire of flood) wire.destroy()
  })

  it('turn away connections over the limit with rate-limited', async () => {
    const { at } = await start('--name', 'localhost', '--connections', '2', '--unproven', '2', '--per-circuit', '2')
    const wires = [await connectRaw(at('tcp')), await connectRaw(at('unix'))]
    for (const wire of wires) expect(await wire.ask('7')).toBe('17')
    expect(await (await connectRaw(at('tcp'))).line()).toMatch(/^99;rate-limited;/)
    expect(await wires[0]!.ask('7')).toBe('17')
  })
})

describe('POST /panic', () => {
  it('ends every connection, erases every message, revokes every token, and keeps the relay running', async () => {
    const list = join(folder, 'admitted-in-panic')
    writeFileSync(list, `${alice.line}\n`)
    const { at } = await start('--name', 'localhost', '--admit', list)
    const wires = await Promise.all([connectRaw(at('tcp')), connectRaw(at('unix')), connectWebSocket(at('http'))])
    const [sender, subscriber, proving] = wires
    const silent = await connectRaw(at('tcp'))
    const token = await sender!.login(alice)
    expect(await sender!.ask(`3;${token};${alice.line};QUJD`)).toMatch(/^13;/)
    expect(await subscriber!.ask(`6;${token}`)).toBe('16;1')
    // Have a proof in progress, with a message waiting behind it.
    expect(await proving!.ask(`4;${token}`)).toBe('14;0;0')
    proving!.send(`0;${alice.line}\n3;${token};${alice.line};REVG\n`)

    const { port } = at('operator') as Address & { kind: 'tcp' }
    const panicked = await fetch(`http://127.0.0.1:${port}/panic`, { method: 'POST', headers: { 'asfaleia-panic': 'now' } })
    expect(panicked.status).toBe(200)
    const status = (await (await fetch(`http://127.0.0.1:${port}/status`)).json()) as Record<string, unknown>
    expect(status).toMatchObject({ ready: true, connections: 0, mailboxes: 0, messages: 0, messageBytes: 0 })
    for (const wire of [...wires, silent]) {
      let line = await wire.line()
      while (line !== undefined) line = await wire.line()
    }
    expect(logged.filter((line) => line.includes('"event":"wiped"'))).toHaveLength(1)

    const again = await connectRaw(at('tcp'))
    expect(await again.ask(`4;${token}`)).toMatch(/^99;bad-token;/)
    expect(await again.ask(`4;${await again.login(alice)};lease`)).toBe('14;0;0')
    const stranger = await connectRaw(at('tcp'))
    await expect(stranger.login(bob)).rejects.toThrow('99;denied;')
  })
})

describe('the running relay', () => {
  it('answers not-ready until its name file exists, then uses the name in it', async () => {
    const nameFile = join(folder, 'hostname')
    const { at } = await start('--name-file', nameFile)
    const wire = await connectRaw(at('tcp'))
    expect(await wire.ask(`0;${alice.line}`)).toMatch(/^99;not-ready;/)
    writeFileSync(nameFile, 'not a name\n')
    await nameRefused(1)
    expect(await wire.ask(`0;${alice.line}`)).toMatch(/^99;not-ready;/)
    writeFileSync(nameFile, `${ONION}\n`)
    await nameKnown(1)
    expect(await wire.ask(`8;asfaleia/1;${ONION}`)).toMatch(/^18;/)
    const [, , challenge] = (await wire.ask(`0;${alice.line};sign`)).split(';')
    expect(Buffer.from(challenge!, 'base64').toString()).toMatch(`asfaleia/1 auth ${ONION} `)
  })

  it('replaces its onion name when the name file changes', async () => {
    const nameFile = join(folder, 'changing-hostname')
    writeFileSync(nameFile, `${OLD}\n`)
    const { at } = await start('--name-file', nameFile, '--name', 'localhost')
    const wire = await connectRaw(at('tcp'))
    expect(await wire.ask(`8;asfaleia/1;${OLD}`)).toMatch(/^18;/)
    writeFileSync(nameFile, '')
    await nameRefused(1)
    writeFileSync(nameFile, `${ONION}\n`)
    await nameKnown(2)
    expect(await wire.ask('7')).toBe('17')
    expect(await wire.ask(`8;asfaleia/1;${ONION}`)).toMatch(/^18;/)
    expect(await wire.ask(`8;asfaleia/1;${OLD}`)).toMatch(/^99;wrong-usage;/)
  })

  it('answers to `localhost` only until its name file holds an onion name', async () => {
    const nameFile = join(folder, 'late-hostname')
    writeFileSync(nameFile, 'localhost\n')
    const { at } = await start('--name-file', nameFile)
    const wire = await connectRaw(at('tcp'))
    expect(await wire.ask('8;asfaleia/1;localhost')).toMatch(/^18;/)
    const token = await wire.login(alice)
    expect(await wire.ask(`3;${token};${alice.line};QUJD`)).toMatch(/^13;/)
    writeFileSync(nameFile, `${ONION}\n`)
    await nameKnown(2)
    expect(await wire.ask('7')).toBe('17')
    const later = await connectRaw(at('tcp'))
    expect(await later.ask('8;asfaleia/1;localhost')).toMatch(/^99;wrong-usage;/)
    expect(await later.ask(`8;asfaleia/1;${ONION}`)).toMatch(/^18;/)
    // The message stored under the former name is still there.
    expect(await later.ask(`4;${await later.login(alice)}`)).toBe('14;1;0')
  })

  it('moves when its name file lists the former address on the second line', async () => {
    const nameFile = join(folder, 'moving-hostname')
    writeFileSync(nameFile, `${OLD}\n`)
    const { at } = await start('--name-file', nameFile)
    const hello = async (name: string): Promise<(string | undefined)[]> => {
      const wire = await connectRaw(at('tcp'))
      const answer = (await wire.ask(`8;asfaleia/1;${name}`)).split(';')[0]
      wire.send('7\n')
      return [answer, await wire.line()]
    }
    expect(await hello(OLD)).toEqual(['18', '17'])
    writeFileSync(nameFile, `${ONION}\n${OLD}\n`)
    await nameKnown(2)
    expect(await hello(OLD)).toEqual(['18', `98;moved;${ONION}`])
    expect(await hello(ONION)).toEqual(['18', '17'])
    writeFileSync(nameFile, `${ONION}\n`)
    await nameKnown(3)
    expect(await hello(OLD)).toEqual(['99', '17'])
    expect(await hello(ONION)).toEqual(['18', '17'])
    writeFileSync(nameFile, `${OLD}\nnot a name\n`)
    await nameRefused(1)
    expect(await hello(ONION)).toEqual(['18', '17'])
  })

  it('answers to the address given by --moved-from too, and announces the new one there', async () => {
    const { at } = await start('--name', ONION, '--moved-from', OLD)
    const wire = await connectRaw(at('tcp'))
    expect(await wire.ask(`8;asfaleia/1;${OLD}`)).toMatch(/^18;/)
    expect(await wire.line()).toBe(`98;moved;${ONION}`)
    const token = await wire.login(alice)
    expect(await wire.ask(`8;asfaleia/1;${ONION}`)).toMatch(/^18;/)
    expect(await wire.ask(`4;${token}`)).toBe('14;0;0')
  })

  it('challenges under the name in its name file as soon as it exists, instead of the address of --moved-from', async () => {
    const nameFile = join(folder, 'new-hostname')
    const { at } = await start('--name-file', nameFile, '--moved-from', OLD)
    const wire = await connectRaw(at('tcp'))
    const challenged = async (): Promise<string> =>
      Buffer.from((await wire.ask(`0;${alice.line};sign`)).split(';')[2]!, 'base64').toString()
    expect(await challenged()).toMatch(`asfaleia/1 auth ${OLD} `)
    writeFileSync(nameFile, `${ONION}\n`)
    await nameKnown(1)
    expect(await challenged()).toMatch(`asfaleia/1 auth ${ONION} `)
  })

  it('admits only the keys of its list, which reload() reads again', async () => {
    const list = join(folder, 'admitted')
    writeFileSync(list, `# people\n\n${alice.line} alice\n`)
    const server = await start('--name', 'localhost', '--admit', list)
    const a = await connectRaw(server.at('tcp'))
    const token = await a.login(alice)
    expect(await a.ask(`3;${token};${bob.line};QUJD`)).toMatch(/^99;denied;/)
    const b = await connectRaw(server.at('tcp'))
    await expect(b.login(bob, 'sign')).rejects.toThrow('99;denied;')
    expect(await a.ask(`3;${token};${alice.line};QUJD`)).toMatch(/^13;/)
    expect(await a.ask(`6;${token}`)).toBe('16;1')
    expect(await a.line()).toMatch(/^20;/)
    // Carol has no token here, so her connection stays.
    const carol = await connectRaw(server.at('tcp'))
    expect(await carol.ask('7')).toBe('17')
    writeFileSync(list, `${bob.line}\n`)
    server.reload()
    // The removed key's connection ends at once, and its mailbox is erased.
    expect(await a.line()).toMatch(/^99;denied;/)
    expect(await a.line()).toBeUndefined()
    expect(await carol.ask('7')).toBe('17')
    await b.login(bob, 'sign')
    expect(await b.ask(`4;${token}`)).toMatch(/^99;bad-token;/)
    writeFileSync(list, `${alice.line}\n${bob.line}\n`)
    server.reload()
    const again = await connectRaw(server.at('tcp'))
    expect(await again.ask(`4;${await again.login(alice)}`)).toBe('14;0;0')
    writeFileSync(list, `${bob.line}\n`)
    server.reload()
    writeFileSync(list, 'nonsense\n')
    server.reload()
    await b.login(bob)
    const { port } = server.at('operator') as Address & { kind: 'tcp' }
    const status = async (): Promise<unknown> =>
      ((await (await fetch(`http://127.0.0.1:${port}/status`)).json()) as { admit: unknown }).admit
    expect(await status()).toEqual({ problem: 'line 1 is no key' })
    writeFileSync(list, `send-only ${bob.line}\n`)
    server.reload()
    expect(await status()).toEqual({ problem: null })
  })

  it('reports every reason why it cannot start, and keeps no port open', async () => {
    const first = await start('--name', 'localhost')
    const { port } = first.at('tcp') as Address & { kind: 'tcp' }
    const failed = start('--name', 'localhost', '--tcp', `127.0.0.1:${port}`)
    await expect(failed).rejects.toBeInstanceOf(ConfigError)
    await expect(failed).rejects.toMatchObject({ problems: [{ key: 'tcp', problem: `127.0.0.1:${port} is in use` }] })
    const secret = join(folder, 'unused')
    writeFileSync(secret, randomBytes(32).toString('base64'), { mode: 0o600 })
    const nowhere = start('--name', 'localhost', '--handover', join(folder, 'none/handover.sock'), '--handover-secret', secret)
    await expect(nowhere).rejects.toMatchObject({ problems: [{ key: 'handover' }] })
    expect(logged.join('')).not.toContain('"handover-off"')
    const list = join(folder, 'broken')
    writeFileSync(list, `${alice.line}\nnonsense\nmore\n`)
    await expect(start('--admit', list)).rejects.toMatchObject({
      problems: [{ problem: 'line 2 is no key' }, { problem: 'line 3 is no key' }],
    })
  })

  it('writes no user data into its log', async () => {
    const { at } = await start('--name', 'localhost')
    const wire = await connectRaw(at('tcp'))
    const token = await wire.login(alice)
    const [, id] = (await wire.ask(`3;${token};${bob.line};UEFZTE9BRA==`)).split(';')
    await wire.ask('0;ssh-ed25519 MARKER')
    await servers.pop()!.close()
    const log = logged.join('')
    expect(log).toContain('"event":"listening"')
    for (const secret of [token, id!, 'UEFZTE9BRA', 'MARKER', alice.line.split(' ')[1]!, bob.line.split(' ')[1]!])
      expect(log).not.toContain(secret)
  })

  it('reads packets that arrive byte by byte', async () => {
    const { at } = await start('--name', 'localhost')
    const address = at('tcp') as Address & { kind: 'tcp' }
    const socket = connect(address.port, address.host)
    socket.setNoDelay(true)
    for (const byte of '8;asfaleia/1;localhost\r\n7\n') await new Promise((resolve) => socket.write(byte, resolve))
    socket.end()
    const chunks: Buffer[] = []
    for await (const chunk of socket) chunks.push(chunk as Buffer)
    expect(Buffer.concat(chunks).toString()).toMatch(/^18;asfaleia\/1;[^\n]*\n17\n$/)
  })
})

describe('a relay that takes over from another one', () => {
  it('has its messages, and knows its tokens', async () => {
    const secret = join(folder, 'secret')
    writeFileSync(secret, randomBytes(32).toString('base64'), { mode: 0o600 })
    const words = ['--name', 'localhost', '--handover', join(folder, 'handover.sock'), '--handover-secret', secret]
    const first = await start(...words)
    const before = await connectRaw(first.at('tcp'))
    const token = await before.login(alice)
    const [, id] = (await before.ask(`3;${token};${alice.line};QUJD`)).split(';')
    const second = await start(...words)
    await first.handedOver
    expect(logged.filter((line) => line.includes('"taken-over"'))).toHaveLength(1)
    const after = await connectRaw(second.at('tcp'))
    expect(await after.ask(`4;${token};lease`)).toBe('14;1;0')
    expect(await after.line()).toBe(`20;${id};QUJD`)
  })
})
