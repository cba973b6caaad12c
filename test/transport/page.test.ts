/** The web page at the HTTP door: the file in each mode, its headers, its limits, and visitors that read slowly. */
import { createHash } from 'node:crypto'
import { connect, type Socket } from 'node:net'
import { gunzipSync, gzipSync } from 'node:zlib'
import { afterEach, describe, expect, it, test, vi } from 'vitest'
import type { Offer, WebPage } from '../../src/transport/page.ts'
import { createSocketServer, listen } from '../../src/transport/socket.ts'
import { createPublicDoor } from '../../src/transport/upgrade.ts'

const POLICY = "default-src 'none'; script-src 'sha256-AAAA'"

function makePage(length = 1_000): WebPage {
  const bytes = Buffer.from(`<!doctype html>\n${'x'.repeat(length)}`)
  return { bytes, compressed: gzipSync(bytes), policy: POLICY, sha256: createHash('sha256').update(bytes).digest('hex') }
}
const page = makePage()

const closers: (() => unknown)[] = []
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close()
})

interface Door {
  /** Opens a connection and sends the request. */
  visit(request: string): Socket
  /** Sends a request for a path, and returns everything that the door answers. */
  ask(path: string, headers?: string, method?: string): Promise<{ status: number; headers: Map<string, string>; body: Buffer }>
}

async function open(offer: Offer | undefined, pageWait = (): number => 0, leave = (): void => {}): Promise<Door> {
  const door = await createPublicDoor({
    maxMessage: 1_000,
    names: () => ['localhost'],
    offer,
    pageWait,
    enter: () => ({ leave }),
    accept: () => {
      throw new Error('accepted')
    },
  })
  const server = createSocketServer((socket) => door.serve(socket, undefined))
  const address = await listen(server, { kind: 'tcp', host: '127.0.0.1', port: 0 })
  if (address.kind !== 'tcp') throw new Error('not TCP')
  const clients: Socket[] = []
  closers.push(async () => {
    for (const client of clients) client.destroy()
    server.close()
    await door.close()
  })
  const visit = (request: string): Socket => {
    const client = connect({ port: address.port, host: '127.0.0.1' })
    client.on('error', () => {})
    client.write(Buffer.from(request, 'latin1'))
    clients.push(client)
    return client
  }
  return {
    visit,
    async ask(path, headers = '', method = 'GET') {
      const said = Buffer.concat((await visit(`${method} ${path} HTTP/1.1\r\nHost: localhost\r\n${headers}\r\n`).toArray()) as Buffer[])
      const end = said.indexOf('\r\n\r\n')
      const [status, ...lines] = said.toString('latin1', 0, end).split('\r\n')
      return {
        status: Number(status!.split(' ')[1]),
        headers: new Map(lines.map((line) => [line.split(': ')[0]!.toLowerCase(), line.slice(line.indexOf(': ') + 2)])),
        body: said.subarray(end + 4),
      }
    },
  }
}

const PATH = '/asfaleia.html'

describe('a relay that offers no web page', () => {
  it('has no file, and a first page without links', async () => {
    const { ask } = await open(undefined)
    expect((await ask(PATH)).status).toBe(404)
    const first = (await ask('/')).body.toString()
    expect(first).toContain('This is an Asfaleia relay')
    expect(first).toContain('nothing to click')
    expect(first).not.toMatch(/<a |asfaleia\.html/)
  })
})

describe('a relay that offers the web page as a download', () => {
  it('serves it as an attachment in a sandbox', async () => {
    const { ask } = await open({ page, runs: false })
    const { status, headers, body } = await ask(PATH)
    expect([status, body]).toEqual([200, page.bytes])
    expect(Object.fromEntries(headers)).toEqual({
      'content-type': 'text/html; charset=utf-8',
      'content-length': `${page.bytes.length}`,
      'content-disposition': 'attachment; filename="asfaleia.html"',
      'content-security-policy': "default-src 'none'; frame-ancestors 'none'; sandbox",
      'cross-origin-opener-policy': 'same-origin',
      'cross-origin-resource-policy': 'same-origin',
      'referrer-policy': 'no-referrer',
      'x-content-type-options': 'nosniff',
      'cache-control': 'no-store',
      vary: 'accept-encoding',
      connection: 'close',
    })
  })

  it('explains it on its first page, which has no script, and links nothing that runs here', async () => {
    const { headers, body } = await (await open({ page, runs: false })).ask('/')
    const first = body.toString()
    expect(headers.get('content-security-policy')).toBe("default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'")
    expect(first).toContain(page.sha256)
    expect(first).toContain('ssh-keygen -Y verify')
    expect([...first.matchAll(/<a [^>]*>/g)].map(([link]) => link)).toEqual(['<a href="/asfaleia.html" download="asfaleia.html">'])
    expect(first).not.toMatch(/<script|\son\w+=/)
  })
})

describe('a relay that runs the web page', () => {
  it('serves it with the policy of the file, and forbids frames', async () => {
    const { status, headers, body } = await (await open({ page, runs: true })).ask(PATH)
    expect([status, body]).toEqual([200, page.bytes])
    expect(headers.get('content-security-policy')).toBe(`${POLICY}; frame-ancestors 'none'`)
    expect(headers.has('content-disposition')).toBe(false)
    expect(headers.has('date')).toBe(false)
  })

  it('says first what a visitor trusts, and still offers the file', async () => {
    const first = (await (await open({ page, runs: true })).ask('/')).body.toString()
    const links = [...first.matchAll(/<a [^>]*>[^<]*/g)].map(([link]) => link)
    expect(links).toEqual([
      '<a href="/asfaleia.html">Use it here, and trust this relay',
      '<a href="/asfaleia.html" download="asfaleia.html">Save asfaleia.html',
    ])
  })
})

test.each([
  ['gzip', true],
  ['gzip, deflate, br, zstd', true],
  ['GZIP', true],
  ['br, gzip;q=0.5', true],
  ['gzip ; q=1', true],
  ['gzip;q=0', false],
  ['gzip; q=0.000', false],
  ['identity', false],
  ['x-gzip-not', false],
  ['', false],
  [','.repeat(4_000), false],
])('with the accepted encodings %j, the answer is compressed: %s', async (accepted, compressed) => {
  const { headers, body } = await (await open({ page, runs: false })).ask(PATH, `Accept-Encoding: ${accepted}\r\n`)
  expect(headers.get('content-encoding')).toBe(compressed ? 'gzip' : undefined)
  expect(compressed ? gunzipSync(body) : body).toEqual(page.bytes)
})

describe('limits', () => {
  it('a visitor over the limit gets 503 with the time to wait, and nothing of the file', async () => {
    const waits = [0, 60]
    const { ask } = await open({ page, runs: false }, () => waits.shift()!)
    expect((await ask(PATH)).status).toBe(200)
    const { status, headers, body } = await ask(`${PATH}?a-word`)
    expect([status, headers.get('retry-after'), headers.get('content-type')]).toEqual([503, '60', 'text/plain'])
    expect(body.length).toBeLessThan(100)
    expect(body.toString()).not.toContain('a-word')
  })

  it('the first page, other paths and other methods do not count', async () => {
    const pageWait = vi.fn<() => number>(() => 0)
    const { ask } = await open({ page, runs: false }, pageWait)
    for (const [path, method] of [
      ['/', 'GET'],
      [`${PATH}/`, 'GET'],
      ['/ASFALEIA.HTML', 'GET'],
      [PATH, 'POST'],
      [PATH, 'OPTIONS'],
    ] as const)
      await ask(path, '', method)
    expect(pageWait).not.toHaveBeenCalled()
    const { status, headers, body } = await ask(PATH, '', 'HEAD')
    expect([status, headers.get('content-length'), body.length]).toEqual([200, `${page.bytes.length}`, 0])
  })

  it('a visitor that does not read its answer is disconnected after 120 s', async () => {
    let left = 0
    const gone = Promise.withResolvers<void>()
    const asked = Promise.withResolvers<void>()
    // More than the system takes from the relay while nothing reads.
    const { visit } = await open(
      { page: makePage(32 << 20), runs: false },
      () => {
        asked.resolve()
        return 0
      },
      () => {
        left++
        gone.resolve()
      },
    )
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
    closers.push(() => vi.useRealTimers())
    visit(`GET ${PATH} HTTP/1.1\r\nHost: localhost\r\n\r\n`).pause()
    await asked.promise
    await new Promise((resolve) => setImmediate(resolve))
    vi.advanceTimersByTime(119_999)
    await new Promise((resolve) => setImmediate(resolve))
    expect(left).toBe(0)
    vi.advanceTimersByTime(1)
    await gone.promise
  })
})
