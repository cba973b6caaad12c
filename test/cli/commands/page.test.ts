/** `asfaleia page` with a relay on loopback, through a SOCKS server, and with servers that are no relay. */
import { once } from 'node:events'
import { createHash } from 'node:crypto'
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { PAGE_FILE } from '../../../src/cli/relay/page-file.ts'
import { readPageFile } from '../../../src/server/page-file.ts'
import type { WebPage } from '../../../src/transport/page.ts'
import { runCommand } from '../../../src/cli/command.ts'
import { asfaleia, type Outcome } from '../../support/command.ts'
import { startTestRelay, type TestRelayOptions } from '../../support/relay.ts'
import { startSocksServer } from '../../support/socks-server.ts'
import { createTestIo } from '../../support/terminal.ts'

const ONION = 'pg6mmjiyjmcrsslvykfwnntlaru7p5svn6y2ymmju6nubxndf4pscryd.onion'

/** The page of the build: `npm run build` writes it. */
function readBuilt(): WebPage {
  const page = readPageFile(PAGE_FILE)
  if (typeof page === 'string') throw new Error(`${PAGE_FILE} is ${page}: npm run build`)
  return page
}

let folder: string
const closers: (() => unknown)[] = []
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'asfaleia-'))
})
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close()
  rmSync(folder, { recursive: true })
})

const run = (...words: string[]): Promise<Outcome> => asfaleia(['page', ...words], { env: { ASFALEIA_HOME: join(folder, 'home') } })

async function startRelay(options: TestRelayOptions = {}): Promise<string> {
  const relay = await startTestRelay({ http: true, ...options })
  closers.push(() => relay.close())
  return relay.httpAddress!
}

describe('the page of this version', () => {
  test('is written to a new file that everyone may read', async () => {
    const file = join(folder, 'asfaleia.html')
    const { code, out } = await run('--out', file)
    expect([code, out]).toEqual([0, `wrote ${file}\nSHA-256 ${readBuilt().sha256}\n`])
    expect(readFileSync(file)).toEqual(readBuilt().bytes)
    expect(statSync(file).mode & 0o777).toBe(0o644)
    writeFileSync(file, 'mine')
    expect((await run('--out', file)).code).toBe(1)
    expect(readFileSync(file, 'utf8')).toBe('mine')
  })

  test('has the SHA-256 that is printed', async () => {
    expect((await run('--sha256')).out).toBe(`${createHash('sha256').update(readBuilt().bytes).digest('hex')}\n`)
    expect(JSON.parse((await run('--sha256', '--json')).out)).toEqual({ version: expect.any(String), sha256: readBuilt().sha256 })
  })

  test.each([[[]], [['--sha256', '--out', 'x']], [['--sha256', '--socks', 'off']], [['--out', 'x', '--timeout', '3']], [['x']]])(
    'needs one task: %j is a mistake',
    async (words) => {
      expect((await run(...words)).code).toBe(2)
      expect(existsSync('x')).toBe(false)
    },
  )
})

describe("a relay's page", () => {
  test('is the same as that of this version', async () => {
    const { code, out, err } = await run('--check', await startRelay({ offer: { page: readBuilt(), runs: false } }))
    expect([code, out]).toEqual([0, `the same as this version's\nSHA-256 ${readBuilt().sha256}\n`])
    expect(err).toContain('what the relay gave to you, now')
  })

  test.each([
    ['one more byte', (bytes: Buffer) => Buffer.concat([bytes, Buffer.from('\n')])],
    ['one byte less', (bytes: Buffer) => bytes.subarray(0, -1)],
    ['a changed bit', (bytes: Buffer) => Buffer.from(bytes.map((byte, at) => (at === 5_000 ? byte ^ 1 : byte)))],
    ['no byte', () => Buffer.alloc(0)],
  ])('with %s is a different one', async (_how, change) => {
    const bytes = change(readBuilt().bytes)
    const sha256 = createHash('sha256').update(bytes).digest('hex')
    const offer = { page: { ...readBuilt(), bytes, compressed: gzipSync(bytes) }, runs: true }
    const { code, out, err } = await run('--check', await startRelay({ offer }), '--json')
    expect([code, JSON.parse(out)]).toEqual([1, { same: false, sha256, version: expect.any(String), expected: readBuilt().sha256 }])
    expect(err).toContain('do not use the page')
  })

  test('may be missing, or given too often', async () => {
    expect(await run('--check', await startRelay())).toMatchObject({ code: 1, err: expect.stringContaining('offers no web page') })
    const address = await startRelay({ offer: { page: readBuilt(), runs: false } })
    let last: Outcome
    let answers = -1
    do {
      last = await run('--check', address)
      answers++
    } while (last.code === 0)
    expect(answers).toBeGreaterThanOrEqual(64)
    expect(last.err).toMatch(/gave its page too often[^]*try again in 1 s/)
  })

  test('of an onion address is asked for at port 80, by a name that only the SOCKS server sees', async () => {
    const address = await startRelay({ names: [ONION], offer: { page: readBuilt(), runs: false } })
    const socks = await startSocksServer({ to: Number(address.split(':')[1]) })
    closers.push(() => socks.close())
    expect((await run('--check', ONION, '--socks', `127.0.0.1:${socks.port}`)).code).toBe(0)
    expect((await run('--check', `${ONION}:8080`, '--socks', `127.0.0.1:${socks.port}`)).code).toBe(0)
    expect(socks.requests.map(({ type, host, port }) => [type, host, port])).toEqual([
      [3, ONION, 80],
      [3, ONION, 8080],
    ])
    // Each has its own circuit.
    expect(socks.requests[0]!.user).not.toBe(socks.requests[1]!.user)
  })

  test('of an onion address is not asked for without Tor', async () => {
    expect(await run('--check', ONION, '--socks', 'off')).toMatchObject({ code: 2, err: expect.stringContaining('nothing was resolved') })
    expect((await run('--check', ONION, '--socks', '127.0.0.1:1')).code).toBe(69)
    expect((await run('--check', 'not an address')).code).toBe(2)
  })
})

describe('a server that is no relay', () => {
  /** Starts a server that answers each request with these bytes. */
  async function serve(answer: string | Buffer, then: (socket: Socket) => void = (socket) => socket.end()): Promise<string> {
    const sockets: Socket[] = []
    const server = createServer((socket) => {
      sockets.push(socket)
      socket.on('error', () => {})
      socket.once('data', () => {
        socket.write(typeof answer === 'string' ? Buffer.from(answer, 'latin1') : answer)
        then(socket)
      })
    }).listen(0, '127.0.0.1')
    await once(server, 'listening')
    closers.push(() => {
      for (const socket of sockets) socket.destroy()
      server.close()
    })
    return `127.0.0.1:${(server.address() as AddressInfo).port}`
  }
  const OK = 'HTTP/1.1 200 OK\r\n'
  const gzip = (body: Buffer): Buffer =>
    Buffer.concat([Buffer.from(`${OK}Content-Encoding: gzip\r\nContent-Length: ${body.length}\r\n\r\n`), body])

  test.each<[string, string | Buffer]>([
    ['no HTTP', 'SSH-2.0-OpenSSH_10.0\r\n\r\n'],
    ['another version of HTTP', 'HTTP/2 200 OK\r\nContent-Length: 0\r\n\r\n'],
    ['a redirect', 'HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n'],
    ['an error with its own text', 'HTTP/1.1 500 \x1b[31mred\r\nContent-Length: 0\r\n\r\n'],
    ['no length', `${OK}\r\n`],
    ['two lengths', `${OK}Content-Length: 0\r\nContent-Length: 1\r\n\r\n`],
    ['chunks', `${OK}Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n`],
    ['a length beyond the limit', `${OK}Content-Length: 1048577\r\n\r\n`],
    ['a length that is no number', `${OK}Content-Length: -1\r\n\r\n`],
    ['a body beyond its length', `${OK}Content-Length: 3\r\n\r\nabcd`],
    ['another encoding', `${OK}Content-Encoding: br\r\nContent-Length: 3\r\n\r\nabc`],
    ['no gzip', `${OK}Content-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc`],
    ['gzip that grows beyond the limit', gzip(gzipSync(Buffer.alloc(2 ** 26)))],
    ['gzip that is cut', gzip(gzipSync(Buffer.alloc(9_999)).subarray(0, -9))],
    ['endless headers', `${OK}${'X: y\r\n'.repeat(9_999)}`],
    ['a header without a name', `${OK}: x\r\nContent-Length: 0\r\n\r\n`],
  ])('is refused: %s', async (_what, answer) => {
    const { code, out, err } = await run('--check', await serve(answer))
    expect([code, out]).toEqual([77, ''])
    expect(err).toContain('does not answer as a relay does')
    // Nothing of the answer reaches the terminal.
    for (const part of ['\x1b', 'red', 'OpenSSH']) expect(err).not.toContain(part)
  })

  test('may send headers of the most bytes, and no byte more', async () => {
    const answer = (bytes: number): string => {
      const head = `${OK}Content-Length: 1\r\nX: `
      return `${head}${'y'.repeat(bytes - head.length)}\r\n\r\nz`
    }
    expect((await run('--check', await serve(answer(16_384)))).code).toBe(1)
    expect((await run('--check', await serve(answer(16_385)))).code).toBe(77)
  })

  test('that breaks off, or never ends, is given up', async () => {
    const half = `${OK}Content-Length: 100\r\n\r\nhalf`
    expect(await run('--check', await serve(half))).toMatchObject({ code: 69, err: expect.stringContaining('closed the connection') })
    expect(await run('--check', await serve(half, () => {}), '--timeout', '0.2')).toMatchObject({
      code: 69,
      err: expect.stringContaining('did not answer in time'),
    })
  })

  test('that never ends can be interrupted', async () => {
    const io = createTestIo({ ASFALEIA_HOME: join(folder, 'home') })
    const asked = Promise.withResolvers<void>()
    const code = runCommand(['page', '--check', await serve(OK, () => asked.resolve())], io)
    await asked.promise
    io.interrupt()
    expect(await code).toBe(1)
    expect(io.err()).toContain('interrupted')
  })
})
