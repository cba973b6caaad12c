import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { type AddressInfo, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import type { Address } from '../../src/config/value.ts'
import { readTorState, TOR_SUMMARIES, type TorState } from '../../src/tor/control.ts'

const UNREACHABLE: TorState = { reachable: false, bootstrap: undefined, summary: 'unreachable' }
const UNAUTHORIZED: TorState = { reachable: false, bootstrap: undefined, summary: 'unauthorized' }

/** Returns the answer to a command, CRLF included, or undefined to end the connection. */
type Script = (command: string) => string | undefined

/** Starts a server in place of tor's control port. */
async function listen(script: Script, heard: string[] = []): Promise<Address> {
  const server = createServer((socket) => {
    let rest = ''
    socket.on('error', () => {})
    socket.setEncoding('latin1')
    socket.on('data', (chunk: string) => {
      const lines = (rest + chunk).split('\r\n')
      rest = lines.pop() ?? ''
      for (const line of lines) {
        heard.push(line)
        const answer = script(line)
        if (answer === undefined) socket.end()
        else socket.write(answer, 'latin1')
      }
    })
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(() => void server.close())
  return { kind: 'tcp', host: '127.0.0.1', port: (server.address() as AddressInfo).port }
}

const PHASE = 'NOTICE BOOTSTRAP PROGRESS=80 TAG=ap_conn SUMMARY="Connecting to a relay"'

function info(methods: string, cookie?: string): string {
  const file = cookie === undefined ? '' : ` COOKIEFILE="${cookie}"`
  return `250-PROTOCOLINFO 1\r\n250-AUTH METHODS=${methods}${file}\r\n250-VERSION Tor="0.4.9.11"\r\n250 OK\r\n`
}

/** Plays tor's side of a control connection, as in control-spec.txt. */
function tor(options: { methods: string; cookie?: Buffer; path?: string; phase?: string; liar?: boolean }): Script {
  const nonce = randomBytes(32)
  const cookie = options.cookie ?? Buffer.alloc(32)
  let material = Buffer.alloc(0)
  const hash = (key: string): Buffer => createHmac('sha256', key).update(material).digest()
  return (command) => {
    const [verb, ...args] = command.split(' ')
    switch (verb) {
      case 'PROTOCOLINFO':
        return info(options.methods, options.path)
      case 'AUTHCHALLENGE': {
        material = Buffer.concat([cookie, Buffer.from(args[1]!, 'hex'), nonce])
        const proof = options.liar ? randomBytes(32) : hash('Tor safe cookie authentication server-to-controller hash')
        return `250 AUTHCHALLENGE SERVERHASH=${proof.toString('hex').toUpperCase()} SERVERNONCE=${nonce.toString('hex').toUpperCase()}\r\n`
      }
      case 'AUTHENTICATE': {
        const expected = hash('Tor safe cookie authentication controller-to-server hash')
        const given = Buffer.from(args[0] ?? '', 'hex')
        const isGood = options.methods === 'NULL' || (given.length === 32 && timingSafeEqual(given, expected))
        return isGood ? '250 OK\r\n' : '515 Authentication failed\r\n'
      }
      case 'GETINFO':
        return `250-${args[0]}=${options.phase ?? PHASE}\r\n250 OK\r\n`
    }
    return '510 Unrecognized command\r\n'
  }
}

function cookieFile(bytes: Uint8Array, name = 'cookie'): string {
  const folder = mkdtempSync(join(tmpdir(), 'asfaleia-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  const path = join(folder, name)
  writeFileSync(path, bytes)
  return path
}

describe('authentication', () => {
  test('sends no credentials if tor requires none', async () => {
    const heard: string[] = []
    expect(await readTorState(await listen(tor({ methods: 'NULL' }), heard))).toEqual({
      reachable: true,
      bootstrap: 80,
      summary: 'ap_conn',
    })
    expect(heard).toEqual(['PROTOCOLINFO 1', 'AUTHENTICATE', 'GETINFO status/bootstrap-phase'])
  })

  test('uses SAFECOOKIE with a quoted path and does not send the cookie itself', async () => {
    const cookie = randomBytes(32)
    const path = cookieFile(cookie, 'a "cookie" of Jürgen')
    const quoted = Buffer.from(path)
      .toString('latin1')
      .replace(/["\\]/g, '\\$&')
      .replace(/[\x80-\xFF]/g, (byte) => `\\${byte.charCodeAt(0).toString(8)}`)
    const heard: string[] = []
    const address = await listen(tor({ methods: 'COOKIE,SAFECOOKIE,HASHEDPASSWORD', cookie, path: quoted }), heard)
    expect(await readTorState(address)).toEqual({ reachable: true, bootstrap: 80, summary: 'ap_conn' })
    expect(heard.join().toLowerCase()).not.toContain(cookie.toString('hex'))
  })

  test.each<[string, () => Parameters<typeof tor>[0]]>([
    ['the cookie file holds another cookie', () => ({ methods: 'SAFECOOKIE', path: cookieFile(Buffer.alloc(32, 1)) })],
    ['the cookie is missing', () => ({ methods: 'SAFECOOKIE', path: '/nowhere/cookie' })],
    ['the cookie is too short', () => ({ methods: 'SAFECOOKIE', path: cookieFile(Buffer.alloc(31)) })],
    ['the cookie is too long', () => ({ methods: 'SAFECOOKIE', path: cookieFile(Buffer.alloc(33)) })],
    ['the cookie is a folder', () => ({ methods: 'SAFECOOKIE', path: tmpdir() })],
    ['the server does not know the cookie', () => ({ methods: 'SAFECOOKIE', path: cookieFile(Buffer.alloc(32)), liar: true })],
    ['the server requires the cookie itself', () => ({ methods: 'COOKIE', path: cookieFile(Buffer.alloc(32)) })],
    ['the server requires a password', () => ({ methods: 'HASHEDPASSWORD' })],
  ])('reports unauthorized if %s', async (_name, options) => {
    const heard: string[] = []
    expect(await readTorState(await listen(tor(options()), heard))).toEqual(UNAUTHORIZED)
    expect(heard.join()).not.toContain('GETINFO')
  })

  test('never sends the content of a file that an impostor of tor chooses', async () => {
    const secret = cookieFile(Buffer.from('0123456789abcdef0123456789abcdef'))
    const link = `${secret}-link`
    symlinkSync(secret, link)
    const heard: string[] = []
    await readTorState(await listen(tor({ methods: 'COOKIE,SAFECOOKIE', path: link, liar: true }), heard))
    expect(heard.map((line) => line.split(' ')[0])).toEqual(['PROTOCOLINFO', 'AUTHCHALLENGE'])
  })
})

describe('the bootstrap phase', () => {
  test.each([
    ['NOTICE BOOTSTRAP PROGRESS=0 TAG=starting SUMMARY="Starting"', { bootstrap: 0, summary: 'starting' }],
    ['NOTICE BOOTSTRAP PROGRESS=100 TAG=done SUMMARY="Done"', { bootstrap: 100, summary: 'done' }],
    ['WARN BOOTSTRAP PROGRESS=5 TAG=conn SUMMARY="x" WARNING="No route to host" REASON=NOROUTE', { bootstrap: 5, summary: 'conn' }],
    ['NOTICE BOOTSTRAP PROGRESS=7 TAG=phase_of_the_future SUMMARY="x"', { bootstrap: 7, summary: 'other' }],
    ['NOTICE BOOTSTRAP PROGRESS=101 TAG=unreachable', { bootstrap: undefined, summary: 'unreachable' }],
    ['', { bootstrap: undefined, summary: 'other' }],
  ])('%s', async (phase, expected) => {
    expect(await readTorState(await listen(tor({ methods: 'NULL', phase })))).toEqual({ reachable: true, ...expected })
  })
})

describe('a server that is not tor', () => {
  test('is reported as unreachable if no process listens', async () => {
    const server = createServer().listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { port } = server.address() as AddressInfo
    server.close()
    await once(server, 'close')
    expect(await readTorState({ kind: 'tcp', host: '127.0.0.1', port })).toEqual(UNREACHABLE)
    expect(await readTorState({ kind: 'unix', path: '/nowhere/control' })).toEqual(UNREACHABLE)
  })

  test.each<[string, Script]>([
    ['ends the connection', () => undefined],
    ['speaks another protocol', () => 'HTTP/1.1 400 Bad Request\r\n\r\n'],
    ['answers twice', () => '250 OK\r\n250 OK\r\n'],
    ['sends an unrequested event', () => '250 OK\r\n650 BW 1 2\r\n'],
    ['sends an endless line', () => '2'.repeat(100_000)],
    ['sends endless lines', () => '250-x\r\n'.repeat(10_000)],
  ])('is not reported as reachable if it %s', async (_name, script) => {
    const state = await readTorState(await listen(script))
    expect(state.reachable).toBe(false)
    expect(TOR_SUMMARIES).toContain(state.summary)
  })

  test('is reported as unreachable if it stays silent beyond the timeout', async () => {
    expect(await readTorState(await listen(() => ''), { timeoutMs: 50 })).toEqual(UNREACHABLE)
  })
})
