/** The WebSocket door with a relay's place taken by the test: what goes over the socket, byte by byte. */
import { connect, type Server, type Socket } from 'node:net'
import { afterEach, describe, expect, it, test } from 'vitest'
import type { ByteStream, Receiver } from '../../src/relay/stream.ts'
import { createSocketServer, listen } from '../../src/transport/socket.ts'
import { createPublicServer } from '../../src/transport/websocket.ts'
import { CLOSE, CONTINUATION, decodeFrames, encodeFrame, type Frame, type FrameOptions, PING, PONG, TEXT } from '../support/frames.ts'

const LONGEST = 1_000
const REQUEST =
  'GET /v1 HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n' +
  'Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Protocol: asfaleia.1\r\n\r\n'

const closers: (() => unknown)[] = []
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close()
})

/** A connection: what the client says and hears, and what the relay was handed. */
interface Pair {
  readonly client: Socket
  readonly stream: ByteStream
  /** Lines as they came, `<finish>` and `<end>`. */
  heard(): string
  send(payload: string, options?: FrameOptions): void
  /** The next frame; undefined at the end of the connection. */
  frame(): Promise<Frame | undefined>
  /** The code of the close frame that comes next, and then nothing more. */
  closed(): Promise<number | undefined>
  until(pattern: RegExp): Promise<void>
  /** What the relay does after each chunk. */
  onChunk(does: () => void): void
}

/** `done` is called when the bytes were handed to the system, be it at once. */
function write(stream: ByteStream, bytes: Uint8Array, done: () => void): void {
  if (stream.write(bytes, done)) done()
}

/** Opens a door, and a connection to it that has sent the request. */
async function dial(accept: (stream: ByteStream) => Receiver, request: string): Promise<Socket> {
  const page = await createPublicServer({ maxMessage: LONGEST, circuitOf: () => undefined, accept })
  const server: Server = createSocketServer((socket) => void page.http.emit('connection', socket))
  const address = await listen(server, { kind: 'tcp', host: '127.0.0.1', port: 0 })
  if (address.kind !== 'tcp') throw new Error('not TCP')
  const client = connect({ port: address.port, host: '127.0.0.1', allowHalfOpen: true })
  closers.push(async () => {
    client.destroy()
    server.close()
    await page.close()
  })
  client.on('error', () => {})
  client.write(Buffer.from(request, 'latin1'))
  return client
}

async function open(behind = ''): Promise<Pair> {
  let heard = ''
  let answer = (): void => {}
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
      flush: () => {},
      onFinish: () => tell('<finish>'),
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

/** As a relay's output has it. */
const packet = (text: string): Uint8Array => encodeFrame(text, { mask: undefined })
const text = (frame: Frame | undefined): string => `${frame?.opcode} ${frame?.payload.toString('latin1')}`
const CODE_1000 = '\x03\xe8'

test.each([
  ['a key that is none', REQUEST.replace('AAAAAAAA', 'AAAA'), 400],
  ['no key', REQUEST.replace('-Key:', '-Kex:'), 400],
  ['a version that is none', REQUEST.replace('Version: 13', 'Version: 7'), 400],
  ['no version', REQUEST.replace('Version: 13', 'Version:'), 400],
  ['another protocol', REQUEST.replace('Upgrade: websocket', 'Upgrade: other'), 400],
  ['another subprotocol', REQUEST.replace('asfaleia.1', 'asfaleia.2'), 400],
  ['another path', REQUEST.replace('/v1', '/v2'), 404],
])('a handshake with %s is refused, and its connection ends', async (_what, request, status) => {
  const client = await dial(() => {
    throw new Error('taken')
  }, request)
  const said = Buffer.concat((await client.toArray()) as Buffer[]).toString('latin1')
  expect(said).toMatch(new RegExp(`^HTTP/1.1 ${status} `))
})

describe('a WebSocket as a stream', () => {
  it('hands over what one read brought in one chunk, and sends frames as they are', async () => {
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

  it('takes what came right behind the request', async () => {
    const pair = await open(Buffer.from(encodeFrame('7')).toString('latin1'))
    await pair.until(/7/)
    expect(pair.heard()).toBe('7\n')
  })

  it('answers pings, between the parts of a message and between writes', async () => {
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
    // It is a sign of life.
    expect(heard).toBe(1)
    pair.send('b', { opcode: CONTINUATION })
    await pair.until(/^ab\n$/)
    expect(order).toEqual(['written'])
  })

  it('answers the newest of the pings of a read, and holds none for a peer that does not read', async () => {
    const pair = await open()
    pair.client.write(Buffer.concat(Array.from({ length: 1_000 }, (_, n) => encodeFrame(`${n}`, { opcode: PING }))))
    let last = ''
    let pongs = 0
    for (; last !== `${PONG} 999`; pongs++) last = text(await pair.frame())
    expect(pongs).toBeLessThan(1_000)
    // A pong does not hold up the end, nor comes behind it.
    pair.client.write(Buffer.concat([encodeFrame('x', { opcode: PING }), encodeFrame(CODE_1000, { opcode: CLOSE })]))
    expect(text(await pair.frame())).toBe(`${PONG} x`)
    expect(await pair.closed()).toBe(1000)
  })

  it('pauses and goes on, and ends as the peer wants: with its code, or none', async () => {
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
      pair.send(payload, { opcode: CLOSE })
      pair.send('8')
      expect(await pair.closed()).toBe(code)
      pair.client.end()
      await pair.until(/^7\n<end>$/)
    }
  })

  it('says what it has to say before it closes, waits for the close of the peer, and takes nothing more', async () => {
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

  it('lets a peer that ended its side without a close read on', async () => {
    const pair = await open()
    pair.send('7')
    pair.client.end()
    await pair.until(/^7\n<finish>$/)
    write(pair.stream, packet('17'), () => pair.stream.end())
    expect(text(await pair.frame())).toBe('1 17')
    expect(await pair.closed()).toBe(1000)
    await pair.until(/<end>$/)
  })

  it('is told of an end once, whoever it was', async () => {
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
    expect([gone.heard(), thrown.heard()]).toEqual(['half of<finish><end>', '<end>'])
  })
})

describe('a peer that breaks the rules', () => {
  it('gets the answers to what it said before, then a close of 1002', async () => {
    const pair = await open()
    pair.onChunk(() => write(pair.stream, packet('17'), () => {}))
    pair.client.write(Buffer.concat([encodeFrame('7'), encodeFrame('7', { mask: undefined }), encodeFrame('7')]))
    expect(text(await pair.frame())).toBe('1 17')
    expect(await pair.closed()).toBe(1002)
    pair.client.end()
    await pair.until(/^7\n<end>$/)
  })

  it.each([
    ['in a frame that only claims it', [encodeFrame('x', { length: 1 << 20 })], 0],
    ['in parts', [encodeFrame('x'.repeat(900), { fin: false }), encodeFrame('x'.repeat(101), { opcode: CONTINUATION, fin: false })], 900],
  ] as const)(
    'by a message over its length: the relay is handed one, has its word, and closes by 1009: %s',
    async (_how, frames, before) => {
      const pair = await open()
      pair.onChunk(() => {
        if (pair.heard().length === before + LONGEST + 2) write(pair.stream, packet('99;too-large'), () => pair.stream.end())
      })
      pair.client.write(Buffer.concat([...frames, encodeFrame('7')]))
      expect(text(await pair.frame())).toBe('1 99;too-large')
      expect(await pair.closed()).toBe(1009)
      pair.client.end()
      await pair.until(/<end>$/)
      expect(pair.heard()).toBe(`${'x'.repeat(before)}${'\0'.repeat(LONGEST + 2)}<end>`)
    },
  )

  it('by a close that is none, though the relay closes', async () => {
    const pair = await open()
    pair.stream.end()
    expect((await pair.frame())?.opcode).toBe(CLOSE)
    pair.send('\x03\xed', { opcode: CLOSE })
    expect(await pair.frame()).toBeUndefined()
  })

  it('does not get its bytes taken back for a pong while it is written to', async () => {
    const pair = await open()
    // More than a socket takes at once: the write is under way until the client reads.
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
