/** Tests the WebSocket door byte by byte, with a relay played by the test. */
import { once } from 'node:events'
import { connect, type Server, type Socket } from 'node:net'
import { afterEach, describe, expect, it, test, vi } from 'vitest'
import type { ByteStream, Receiver } from '../../src/relay/stream.ts'
import { createSocketServer, listen } from '../../src/transport/socket.ts'
import { createPublicDoor, type Visit, type Visitor } from '../../src/transport/upgrade.ts'
import { CLOSE, CONTINUATION, decodeFrames, encodeFrame, type Frame, type FrameOptions, PING, PONG, TEXT } from '../support/frames.ts'

const LONGEST = 1_000
const ONION = 'pg6mmjiyjmcrsslvykfwnntlaru7p5svn6y2ymmju6nubxndf4pscryd.onion'
const OTHER_ONION = '2gzyxa5ihm7nsggfxnu52rck2vv4rvmdlkiu3zzui5du4xyclen53wid.onion'
const REQUEST =
  'GET /v1 HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n' +
  'Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Protocol: asfaleia.1\r\n\r\n'

const closers: (() => unknown)[] = []
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close()
})

/** A connection: the bytes that the client sends and receives, and the events that the relay gets. */
interface Pair {
  readonly client: Socket
  readonly stream: ByteStream
  /** The received lines, `<finish>` and `<end>`, joined. */
  heard(): string
  send(payload: string, options?: FrameOptions): void
  /** Returns the next frame, or undefined at the end of the connection. */
  frame(): Promise<Frame | undefined>
  /** Expects a close frame and then the end of the connection; returns the frame's code. */
  closed(): Promise<number | undefined>
  until(pattern: RegExp): Promise<void>
  /** Sets the relay's reaction to each chunk. */
  onChunk(does: () => void): void
  /** Sets the receiver's answer to the end of its input. */
  onFinish(does: () => void): void
  /** Returns how many frames completed no message. */
  idle(): number
}

/** Calls `done` once the system has the bytes, perhaps at once. */
function write(stream: ByteStream, bytes: Uint8Array, done: () => void): void {
  if (stream.write(bytes, done)) done()
}

/** Opens a door, and a connection to it that has sent the request. */
async function dial(
  accept: (stream: ByteStream) => Receiver,
  request: string,
  enter: (circuit: string | undefined, visitor: Visitor) => Visit | undefined = () => ({ leave: () => {} }),
): Promise<Socket> {
  const door = await createPublicDoor({ maxMessage: LONGEST, names: () => ['localhost', ONION], pageWait: () => 0, enter, accept })
  const server: Server = createSocketServer((socket) => door.serve(socket, 'a circuit'))
  const address = await listen(server, { kind: 'tcp', host: '127.0.0.1', port: 0 })
  if (address.kind !== 'tcp') throw new Error('not TCP')
  const client = connect({ port: address.port, host: '127.0.0.1', allowHalfOpen: true })
  closers.push(async () => {
    client.destroy()
    server.close()
    await door.close()
  })
  client.on('error', () => {})
  client.write(Buffer.from(request, 'latin1'))
  return client
}

async function open(behind = ''): Promise<Pair> {
  let heard = ''
  let answer = (): void => {}
  let finish = (): void => {}
  let idle = 0
  let changed = Promise.withResolvers<void>()
  const tell = (what: string): void => {
    heard += what
    changed.resolve()
    changed = Promise.withResolvers()
  }
  const accepted = Promise.withResolvers<ByteStream>()
  const accept = (stream: ByteStream): Receiver => {
    accepted.resolve(stream)
    return {
      onChunk(chunk) {
        tell(Buffer.from(chunk).toString('latin1'))
        chunk.fill(0)
        answer()
      },
      onFinish() {
        tell('<finish>')
        finish()
      },
      onTooLarge() {
        tell('<too-large>')
        finish()
      },
      onIdleFrames: (count) => void (idle += count),
      onEnd: () => tell('<end>'),
    }
  }
  const client = await dial(accept, REQUEST + behind)
  const incoming = client[Symbol.asyncIterator]() as AsyncIterator<Buffer>
  let bytes: Buffer = Buffer.alloc(0)
  const more = async (): Promise<boolean> => {
    const { value, done } = await incoming.next()
    if (done !== true) bytes = Buffer.concat([bytes, value])
    return done !== true
  }
  while (!bytes.includes('\r\n\r\n')) if (!(await more())) throw new Error('no WebSocket')
  expect(bytes.toString('latin1')).toMatch(/^HTTP\/1.1 101 /)
  bytes = bytes.subarray(bytes.indexOf('\r\n\r\n') + 4)
  const frames: Frame[] = []
  const pair: Pair = {
    client,
    stream: await accepted.promise,
    heard: () => heard,
    onChunk: (does) => void (answer = does),
    onFinish: (does) => void (finish = does),
    idle: () => idle,
    send: (payload, options) => void client.write(encodeFrame(payload, options)),
    async frame() {
      while (frames.length === 0) {
        const decoded = decodeFrames(bytes)
        frames.push(...decoded.frames)
        bytes = decoded.rest
        if (frames.length === 0 && !(await more())) return undefined
      }
      return frames.shift()
    },
    async closed() {
      const frame = await pair.frame()
      expect(frame?.opcode).toBe(CLOSE)
      expect(await pair.frame()).toBeUndefined()
      return frame!.payload.length === 0 ? undefined : frame!.payload.readUInt16BE()
    },
    async until(pattern) {
      while (!pattern.test(heard)) await changed.promise
    },
  }
  return pair
}

/** Encodes a packet as the relay's output does. */
const packet = (text: string): Uint8Array => encodeFrame(text, { mask: undefined })
const text = (frame: Frame | undefined): string => `${frame?.opcode} ${frame?.payload.toString('latin1')}`
const CODE_1000 = '\x03\xe8'

test.each([
  ['a malformed key', REQUEST.replace('AAAAAAAA', 'AAAA'), 400],
  ['no key', REQUEST.replace('-Key:', '-Kex:'), 400],
  ['an unsupported version', REQUEST.replace('Version: 13', 'Version: 7'), 400],
  ['no version', REQUEST.replace('Version: 13', 'Version:'), 400],
  ['another protocol', REQUEST.replace('Upgrade: websocket', 'Upgrade: other'), 400],
  ['another subprotocol', REQUEST.replace('asfaleia.1', 'asfaleia.2'), 400],
  ['an empty subprotocol', REQUEST.replace('asfaleia.1', ''), 400],
  ['an empty member behind its subprotocol', REQUEST.replace('asfaleia.1', 'asfaleia.1, '), 400],
  ['an empty member in another header line', REQUEST.replace('asfaleia.1', 'asfaleia.1\r\nSec-WebSocket-Protocol: '), 400],
  ['an empty member before its subprotocol', REQUEST.replace('asfaleia.1', ',asfaleia.1'), 400],
  ['a subprotocol that is not a token', REQUEST.replace('asfaleia.1', 'asfaleia.1, a b'), 400],
  ['its subprotocol twice', REQUEST.replace('asfaleia.1', 'asfaleia.1, asfaleia.1'), 400],
  ['the version 8, in which Origin has another name', REQUEST.replace('Version: 13', 'Version: 8'), 400],
  ['two versions', REQUEST.replace('Version: 13', 'Version: 13\r\nSec-WebSocket-Version: 13'), 400],
  ['a body', REQUEST.replace('Upgrade: websocket', 'Upgrade: websocket\r\nContent-Length: 5'), 400],
  ['an empty body', REQUEST.replace('Upgrade: websocket', 'Upgrade: websocket\r\nContent-Length: 0'), 400],
  ['a body in chunks', REQUEST.replace('Upgrade: websocket', 'Upgrade: websocket\r\nTransfer-Encoding: chunked'), 400],
  ['another path', REQUEST.replace('/v1', '/v2'), 404],
  ['the path of the page', REQUEST.replace('/v1', '/'), 404],
])('a handshake with %s is refused, and its connection ends', async (_what, request, status) => {
  const client = await dial(() => {
    throw new Error('accepted')
  }, request)
  const said = Buffer.concat((await client.toArray()) as Buffer[]).toString('latin1')
  expect(said).toMatch(new RegExp(`^HTTP/1.1 ${status} `))
})

describe('Host and Origin', () => {
  const HOSTS: readonly (readonly [string, boolean])[] = [
    ['localhost', true],
    ['LOCALHOST:8080', true],
    ['127.0.0.1:8080', true],
    ['127.1.2.3', true],
    ['[::1]:8080', true],
    [ONION, true],
    [`${ONION.toUpperCase()}:80`, true],
    [OTHER_ONION, false],
    [`www.${ONION}`, false],
    [`${ONION}.`, false],
    [`${ONION}.example.org`, false],
    ['example.org', false],
    ['localhost.example.org', false],
    ['evil.localhost', false],
    ['127.0.0.1.example.org', false],
    ['127.0.0.256', false],
    ['127.1', false],
    ['2130706433', false],
    ['0.0.0.0', false],
    ['10.0.0.1', false],
    ['[::2]', false],
    ['localhost:8080@example.org', false],
    ['localhost, example.org', false],
    ['', false],
  ]
  /** Each: the Host, the Origin, and whether the relay serves it. */
  const ORIGINS: readonly (readonly [string, string, boolean])[] = [
    ['localhost:8080', 'http://localhost:8080', true],
    ['127.0.0.1:8080', 'http://localhost:3000', true],
    ['localhost', 'http://[::1]', true],
    ['localhost', 'https://127.0.0.1:3000', true],
    [ONION, `http://${ONION}`, true],
    [`${ONION}:80`, `https://${ONION.toUpperCase()}:8000`, true],
    [ONION, 'null', true],
    // A file's page, but also any sandboxed frame of any site.
    ['localhost', 'null', false],
    ['127.0.0.1', 'file://', false],
    [ONION, 'file://', false],
    ['localhost', 'https://example.org', false],
    ['localhost:8080', 'http://example.org:8080', false],
    ['localhost', 'http://localhost.example.org', false],
    ['localhost', 'http://localhost@example.org', false],
    ['localhost', 'http://localhost/', false],
    ['localhost', 'http://localhost http://localhost', false],
    ['localhost', 'localhost', false],
    ['localhost', 'moz-extension://localhost', false],
    ['localhost', `http://${ONION}`, false],
    ['localhost', '', false],
    [ONION, 'http://localhost', false],
    [ONION, `http://${OTHER_ONION}`, false],
    [ONION, `http://www.${ONION}`, false],
    [ONION, 'https://example.org', false],
  ]
  const receiver: Receiver = {
    onChunk: (chunk) => void chunk.fill(0),
    onTooLarge: () => {},
    onIdleFrames: () => {},
    onFinish: () => {},
    onEnd: () => {},
  }
  const PAGE = 'GET / HTTP/1.1\r\nHost: localhost\r\n\r\n'
  const statusOf = async (request: string): Promise<number> => {
    const client = await dial(() => receiver, request)
    const [answer] = (await once(client, 'data')) as [Buffer]
    client.destroy()
    return Number(/^HTTP\/1.1 ([0-9]{3}) /.exec(answer.toString('latin1'))![1])
  }

  it.each(HOSTS)('a request to the host %j is served: %s', async (host, served) => {
    const to = (request: string): string => request.replace('Host: localhost', `Host: ${host}`)
    expect(await statusOf(to(PAGE))).toBe(served ? 200 : 421)
    expect(await statusOf(to(PAGE.replace('GET /', 'GET /nowhere')))).toBe(served ? 404 : 421)
    expect(await statusOf(to(REQUEST))).toBe(served ? 101 : 421)
    expect(await statusOf(to(REQUEST.replace('/v1', '/v2')))).toBe(served ? 404 : 421)
  })

  it.each(ORIGINS)('a request to the host %j by a page of %j is served: %s', async (host, origin, served) => {
    const by = (request: string): string => request.replace('Host: localhost', `Host: ${host}\r\nOrigin: ${origin}`)
    expect(await statusOf(by(PAGE))).toBe(served ? 200 : 403)
    expect(await statusOf(by(REQUEST))).toBe(served ? 101 : 403)
  })

  it('without a Host, or with two, nothing is served', async () => {
    expect(await statusOf('GET / HTTP/1.0\r\n\r\n')).toBe(421)
    expect(await statusOf(REQUEST.replace('Host: localhost\r\n', ''))).toBe(421)
    expect(await statusOf(REQUEST.replace('Host: localhost', 'Host: example.org\r\nHost: localhost'))).toBe(421)
    expect(await statusOf(REQUEST.replace('Host: localhost', 'Host: localhost\r\nOrigin: null\r\nOrigin: http://localhost'))).toBe(403)
  })
})

describe('an answer of the door', () => {
  it.each([
    ['the page', 'GET / HTTP/1.1\r\nHost: localhost\r\n\r\n', 200],
    ['HEAD', 'HEAD / HTTP/1.1\r\nHost: localhost\r\n\r\n', 200],
    ['HTTP/1.0', 'GET / HTTP/1.0\r\nHost: localhost\r\nConnection: keep-alive\r\n\r\n', 200],
    ['another path', 'GET /x HTTP/1.1\r\nHost: localhost\r\n\r\n', 404],
    ['another method', 'DELETE / HTTP/1.1\r\nHost: localhost\r\n\r\n', 404],
    ['a body for a path that takes none', `POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9999\r\n\r\n${'x'.repeat(9_999)}`, 404],
    ['another host', 'GET / HTTP/1.1\r\nHost: example.org\r\n\r\n', 421],
    ['no host', 'GET / HTTP/1.1\r\n\r\n', 400],
    ['a path that does not decode', 'GET /%zz HTTP/1.1\r\nHost: localhost\r\n\r\n', 400],
    ['no HTTP', 'hello\r\n\r\n', 400],
    ['a header that is too long', `GET / HTTP/1.1\r\nHost: localhost\r\nX: ${'x'.repeat(9_000)}\r\n\r\n`, 431],
    ['two lengths', 'POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n', 400],
    ['an expectation', 'GET / HTTP/1.1\r\nHost: localhost\r\nExpect: a miracle\r\n\r\n', 417],
    ['a second request', 'GET / HTTP/1.1\r\nHost: localhost\r\n\r\nGET / HTTP/1.1\r\nHost: localhost\r\n\r\n', 200],
    ['an upgrade to another path', REQUEST.replace('/v1', '/v2'), 404],
    ['an upgrade to a path that does not decode', REQUEST.replace('/v1', '/%zz'), 400],
    ['an upgrade of another site', REQUEST.replace('Host: localhost', 'Host: localhost\r\nOrigin: https://example.org'), 403],
    ['an upgrade without a subprotocol', REQUEST.replace('Sec-WebSocket-Protocol', 'X'), 400],
    ['an upgrade by POST', REQUEST.replace('GET', 'POST'), 404],
    ['an upgrade by HEAD', REQUEST.replace('GET', 'HEAD'), 404],
    ['an upgrade to HTTP/2', REQUEST.replace('websocket', 'h2c'), 400],
    ['an upgrade without a key', REQUEST.replace('-Key', '-Kex'), 400],
  ])('to %s states no time, and ends the connection', async (_what, request, status) => {
    const client = await dial(() => {
      throw new Error('accepted')
    }, request)
    const said = Buffer.concat((await client.toArray()) as Buffer[]).toString('latin1')
    expect(said).toMatch(new RegExp(`^HTTP/1.1 ${status} `))
    expect(said).not.toMatch(/^(?:date|last-modified|age|expires|etag|server):/im)
    expect(said).not.toMatch(/[0-9]{2}:[0-9]{2}/)
  })
})

describe('a visitor', () => {
  const refuse = (): never => {
    throw new Error('accepted')
  }
  /** Lets time pass only by `vi.advanceTimersByTime`. The door must be open already. */
  const holdTimers = (): void => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
    closers.push(() => vi.useRealTimers())
  }
  /** Returns everything that the door sends until it ends the connection. */
  const hear = async (client: Socket): Promise<string> => Buffer.concat((await client.toArray()) as Buffer[]).toString('latin1')

  it.each([
    ['nothing', ''],
    ['half of the headers', REQUEST.slice(0, -2)],
    ['half of a body', 'POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\nContent-Length: 9\r\n\r\nhalf'],
  ])('that sends %s is disconnected after 20 s, and leaves its place', async (_what, request) => {
    const entered = Promise.withResolvers<void>()
    const left = Promise.withResolvers<void>()
    const client = await dial(refuse, request, (circuit) => {
      expect(circuit).toBe('a circuit')
      entered.resolve()
      return { leave: () => left.resolve() }
    })
    holdTimers()
    await entered.promise
    const ended = Promise.withResolvers<void>()
    let isEnded = false
    for (const event of ['end', 'close']) {
      client.on(event, () => {
        isEnded = true
        ended.resolve()
      })
    }
    client.resume()
    vi.advanceTimersByTime(19_999)
    await new Promise((resolve) => setImmediate(resolve))
    expect(isEnded).toBe(false)
    vi.advanceTimersByTime(1)
    await Promise.all([left.promise, ended.promise])
  })

  it('that has a WebSocket keeps its connection after the deadline, and its place until the connection ends', async () => {
    const accepted = Promise.withResolvers<ByteStream>()
    const left = Promise.withResolvers<void>()
    let isLeft = false
    const client = await dial(
      (stream) => {
        accepted.resolve(stream)
        return {
          onChunk: (chunk) => void chunk.fill(0),
          onFinish: () => stream.destroy(),
          onTooLarge: () => {},
          onIdleFrames: () => {},
          onEnd: () => {},
        }
      },
      REQUEST,
      () => ({
        leave() {
          isLeft = true
          left.resolve()
        },
      }),
    )
    holdTimers()
    await once(client, 'data')
    const stream = await accepted.promise
    vi.advanceTimersByTime(60_000)
    write(stream, packet('17'), () => {})
    await once(client, 'data')
    expect([isLeft, stream.circuit]).toEqual([false, 'a circuit'])
    client.destroy()
    await left.promise
  })

  it('gets one answer, which ends the connection, and leaves', async () => {
    let places = 0
    const page = 'GET / HTTP/1.1\r\nHost: localhost\r\nConnection: keep-alive\r\n\r\n'
    const said = await hear(
      await dial(refuse, page.repeat(9), () => {
        places++
        return { leave: () => places-- }
      }),
    )
    expect(said.match(/^HTTP/gm)).toHaveLength(1)
    expect(said).toMatch(/^HTTP\/1.1 200 [^]*\r\nconnection: close\r\n/i)
    expect(places).toBe(0)
  })

  it('without a place gets 503 before its request is read', async () => {
    const said = await hear(await dial(refuse, 'GET / HT', () => undefined))
    expect(said).toMatch(/^HTTP\/1.1 503 [^]*\r\nretry-after: 10\r\n/)
  })

  it('that must give way is disconnected', async () => {
    expect(
      await hear(
        await dial(refuse, '', (_circuit, visitor) => {
          setImmediate(() => visitor.destroy())
          return { leave: () => {} }
        }),
      ),
    ).toBe('')
  })
})

describe('a WebSocket as a stream', () => {
  it('delivers the frames of one read in one chunk, and sends frames unchanged', async () => {
    const pair = await open()
    let chunks = 0
    pair.onChunk(() => chunks++)
    pair.client.write(
      Buffer.concat([encodeFrame('7'), encodeFrame('8;asf', { fin: false }), encodeFrame('eleia/1', { opcode: CONTINUATION })]),
    )
    await pair.until(/^7\n8;asfeleia\/1\n$/)
    expect(chunks).toBe(1)
    await new Promise<void>((resolve) => write(pair.stream, Buffer.concat([packet('17'), packet('18')]), resolve))
    expect([text(await pair.frame()), text(await pair.frame())]).toEqual(['1 17', '1 18'])
  })

  it('reads a frame that arrives together with the request', async () => {
    const pair = await open(Buffer.from(encodeFrame('7')).toString('latin1'))
    await pair.until(/7/)
    expect(pair.heard()).toBe('7\n')
  })

  it('is refused if more than a read arrives together with the request', async () => {
    let heard = ''
    const receiver: Receiver = {
      onChunk: (chunk) => void (heard += Buffer.from(chunk).toString('latin1')),
      onFinish: () => {},
      onTooLarge: () => {},
      onIdleFrames: () => {},
      onEnd: () => {},
    }
    const frames = Buffer.concat(Array.from({ length: 5 }, () => encodeFrame('x'.repeat(900))))
    const client = await dial(() => receiver, REQUEST + frames.toString('latin1'))
    client.on('end', () => client.end()).resume()
    await once(client, 'close')
    expect(heard).toBe('')
  })

  it('answers pings between the parts of a message and between writes', async () => {
    const pair = await open()
    const order: string[] = []
    pair.onChunk(() => write(pair.stream, packet('answer'), () => order.push('written')))
    pair.send('a', { fin: false })
    await pair.until(/a/)
    expect(text(await pair.frame())).toBe('1 answer')
    let heard = 0
    pair.onChunk(() => heard++)
    pair.send('between', { opcode: PING })
    expect(text(await pair.frame())).toBe(`${PONG} between`)
    // A ping counts as a sign of life.
    expect(heard).toBe(1)
    pair.send('b', { opcode: CONTINUATION })
    await pair.until(/^ab\n$/)
    expect(order).toEqual(['written'])
  })

  it('answers only the newest ping of a read, and queues no pongs for a peer that does not read', async () => {
    const pair = await open()
    pair.client.write(Buffer.concat(Array.from({ length: 1_000 }, (_, n) => encodeFrame(`${n}`, { opcode: PING }))))
    let last = ''
    let pongs = 0
    for (; last !== `${PONG} 999`; pongs++) last = text(await pair.frame())
    expect(pongs).toBeLessThan(1_000)
    expect(pair.idle()).toBe(1_000)
    // A pong neither delays the close nor follows it.
    pair.onFinish(() => pair.stream.end())
    pair.client.write(Buffer.concat([encodeFrame('x', { opcode: PING }), encodeFrame(CODE_1000, { opcode: CLOSE })]))
    expect(text(await pair.frame())).toBe(`${PONG} x`)
    expect(await pair.closed()).toBe(1000)
  })

  it("pauses and resumes, and answers the peer's close with the same code or none", async () => {
    for (const [payload, code] of [
      [CODE_1000, 1000],
      ['\x0f\xa0why', 4000],
      ['', undefined],
    ] as const) {
      const pair = await open()
      pair.stream.pause()
      pair.send('7')
      pair.stream.resume()
      await pair.until(/^7\n$/)
      pair.onFinish(() => pair.stream.end())
      pair.send(payload, { opcode: CLOSE })
      pair.send('8')
      expect(await pair.closed()).toBe(code)
      pair.client.end()
      await pair.until(/^7\n<finish><end>$/)
    }
  })

  it("gives the receiver time for its answers before it answers the peer's close", async () => {
    const pair = await open()
    pair.client.write(Buffer.concat([encodeFrame('7'), encodeFrame(CODE_1000, { opcode: CLOSE })]))
    await pair.until(/^7\n<finish>$/)
    await new Promise((resolve) => setImmediate(resolve))
    write(pair.stream, packet('17'), () => pair.stream.end())
    expect(text(await pair.frame())).toBe('1 17')
    expect(await pair.closed()).toBe(1000)
  })

  it("sends its pending packet before it closes, waits for the peer's close, and accepts no more writes", async () => {
    const pair = await open()
    write(pair.stream, packet('99;timeout'), () => pair.stream.end())
    expect(text(await pair.frame())).toBe('1 99;timeout')
    const close = await pair.frame()
    expect([close?.opcode, close?.payload.readUInt16BE()]).toEqual([CLOSE, 1000])
    pair.send('7'.repeat(900))
    pair.send('x', { opcode: PING })
    let written = false
    write(pair.stream, packet('too late'), () => (written = true))
    pair.stream.end()
    pair.send(CODE_1000, { opcode: CLOSE })
    expect(await pair.frame()).toBeUndefined()
    pair.client.end()
    await pair.until(/^<end>$/)
    expect(written).toBe(false)
  })

  it('lets a peer that closed its sending side without a close frame read on', async () => {
    const pair = await open()
    pair.send('7')
    pair.client.end()
    await pair.until(/^7\n<finish>$/)
    write(pair.stream, packet('17'), () => pair.stream.end())
    expect(text(await pair.frame())).toBe('1 17')
    expect(await pair.closed()).toBe(1000)
    await pair.until(/<end>$/)
  })

  it('reports the end once, whichever side caused it', async () => {
    const gone = await open()
    gone.send('half of', { length: 100 })
    await gone.until(/half of/)
    gone.client.destroy()
    await gone.until(/<finish>/)
    gone.stream.end()
    await gone.until(/<end>/)
    const thrown = await open()
    thrown.stream.destroy()
    thrown.stream.destroy()
    expect(await thrown.frame()).toBeUndefined()
    await thrown.until(/<end>/)
    // A second end would come before that of a later connection.
    const later = await open()
    later.stream.destroy()
    await later.until(/<end>/)
    expect([gone.heard(), thrown.heard()]).toEqual(['half of<finish><end>', '<end>'])
  })
})

describe('a WebSocket peer that violates the protocol', () => {
  it('gets the answers to its earlier messages, then a close with 1002', async () => {
    const pair = await open()
    pair.onFinish(() => write(pair.stream, packet('17'), () => pair.stream.end()))
    pair.client.write(Buffer.concat([encodeFrame('7'), encodeFrame('7', { mask: undefined }), encodeFrame('7')]))
    expect(text(await pair.frame())).toBe('1 17')
    expect(await pair.closed()).toBe(1002)
    pair.client.end()
    await pair.until(/^7\n<finish><end>$/)
  })

  it.each([
    ['claimed by a frame header', [encodeFrame('x', { length: 1 << 20 })], 0],
    ['in parts', [encodeFrame('x'.repeat(900), { fin: false }), encodeFrame('x'.repeat(101), { opcode: CONTINUATION, fin: false })], 900],
  ] as const)('gets too-large and a close with 1009 for a message over the limit: %s', async (_how, frames, before) => {
    const pair = await open()
    pair.onFinish(() => write(pair.stream, packet('99;too-large'), () => pair.stream.end()))
    pair.client.write(Buffer.concat([...frames, encodeFrame('7')]))
    expect(text(await pair.frame())).toBe('1 99;too-large')
    expect(await pair.closed()).toBe(1009)
    pair.client.end()
    await pair.until(/<end>$/)
    expect(pair.heard()).toBe(`${'x'.repeat(before)}<too-large><end>`)
  })

  it('with an invalid close code is disconnected, even if the relay closes first', async () => {
    const pair = await open()
    pair.stream.end()
    expect((await pair.frame())?.opcode).toBe(CLOSE)
    pair.send('\x03\xed', { opcode: CLOSE })
    expect(await pair.frame()).toBeUndefined()
  })

  it('cannot make a pong overwrite bytes of a write in progress', async () => {
    const pair = await open()
    // The packet exceeds the socket buffers, so the write is in progress until the client reads.
    pair.client.pause()
    let written = false
    const large = packet('y'.repeat(8 << 20))
    write(pair.stream, large, () => (written = true))
    pair.send('meanwhile', { opcode: PING })
    pair.send('7')
    await pair.until(/^7\n$/)
    expect(written).toBe(false)
    expect((await pair.frame())?.payload.length).toBe(8 << 20)
    expect(text(await pair.frame())).toBe(`${PONG} meanwhile`)
    write(pair.stream, packet('17'), () => {})
    expect(text(await pair.frame())).toBe(`${TEXT} 17`)
  })
})
