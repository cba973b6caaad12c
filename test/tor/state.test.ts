import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { symlinkSync } from 'node:fs'
import { type AddressInfo, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { describe, expect, test } from 'vitest'
import { readTorState, TOR_SUMMARIES, type TorState } from '../../src/tor/state.ts'
import { cookieFile, listen, type Script, tor } from '../support/tor-control.ts'

const UNREACHABLE: TorState = { reachable: false, bootstrap: undefined, summary: 'unreachable' }
const UNAUTHORIZED: TorState = { reachable: false, bootstrap: undefined, summary: 'unauthorized' }

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
