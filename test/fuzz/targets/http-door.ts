import { Duplex } from 'node:stream'
import type { Socket } from 'node:net'
import { gzipSync } from 'node:zlib'
import { createPublicDoor } from '../../../src/transport/upgrade.ts'
import { encodeFrame } from '../../support/frames.ts'
import { ONION } from '../people.ts'
import { fail, latin1, type Target } from '../target.ts'

const LONGEST = 1_000
const END_MS = 4_000

/** A socket without a system below it, as far as the door uses one. */
class FakeSocket extends Duplex {
  written = ''
  override _read(): void {}
  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.written += latin1(chunk)
    done()
  }
  setNoDelay(): this {
    return this
  }
  setKeepAlive(): this {
    return this
  }
  setTimeout(): this {
    return this
  }
  ref(): this {
    return this
  }
  unref(): this {
    return this
  }
  destroySoon(): void {
    if (this.writable) this.end()
    if (this.writableFinished) this.destroy()
    else this.once('finish', () => this.destroy())
  }
}

/** The web page that the door offers. */
const bytes = Buffer.from('<!doctype html>')
const page = { bytes, compressed: gzipSync(bytes), policy: "default-src 'none'", sha256: '00' }

let received = ''
const door = await createPublicDoor({
  maxMessage: LONGEST,
  names: () => ['localhost', ONION],
  offer: { page, runs: false },
  pageWait: () => 0,
  enter: () => ({ leave: () => {} }),
  accept: (stream) => ({
    onChunk(chunk) {
      received += latin1(chunk)
      chunk.fill(0)
    },
    onFinish: () => stream.end(),
    onTooLarge: () => stream.end(),
    onIdleFrames: () => {},
    onEnd: () => {},
  }),
})

const REQUEST =
  'GET /v1 HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n' +
  'Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Protocol: asfaleia.1\r\n\r\n'

/** A visitor of the HTTP door: the page, the upgrade, and the frames behind it, which come as a chunk of their own. */
export const target: Target = {
  name: 'http-door',
  covers: ['transport/upgrade.ts', 'transport/page.ts', 'transport/visitor.ts', 'transport/message-stream.ts'],
  longest: 2_000,
  seeds: () => [
    'GET / HTTP/1.1\r\nHost: localhost\r\n\r\n',
    `GET / HTTP/1.1\r\nHost: ${ONION}\r\nOrigin: null\r\n\r\n`,
    'GET /asfaleia.html HTTP/1.1\r\nHost: localhost\r\nAccept-Encoding: br, gzip;q=0.5\r\n\r\n',
    `POST /x%zz HTTP/1.1\r\nHost: evil\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\nabc`,
    Buffer.concat([Buffer.from(REQUEST), encodeFrame('8;asfaleia/1')]),
    Buffer.concat([Buffer.from(REQUEST.replace('localhost', ONION)), encodeFrame('', { opcode: 8 })]),
    REQUEST.replace('13', '8').replace('asfaleia.1', 'chat, asfaleia.1'),
    `${REQUEST.replace('\r\n\r\n', '\r\nOrigin: http://example.org\r\n\r\n')}`,
    'GET /v1 HTTP/1.0\r\n\r\nHEAD / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n',
  ],
  async run(input) {
    received = ''
    const socket = new FakeSocket()
    const closed = new Promise<boolean>((resolve) => {
      socket.on('close', () => resolve(true))
      setTimeout(() => resolve(false), END_MS).unref()
    })
    door.serve(socket as unknown as Socket, 'a circuit')
    const head = latin1(input).indexOf('\r\n\r\n')
    const end = head === -1 ? input.length : head + 4
    socket.push(Buffer.from(input.subarray(0, end)))
    await new Promise(setImmediate)
    if (end < input.length && !socket.destroyed) socket.push(Buffer.from(input.subarray(end)))
    await new Promise(setImmediate)
    if (!socket.destroyed) socket.push(null)
    const isClosed = await closed
    socket.destroy()
    const { written } = socket
    if (!isClosed) fail(`the connection stays open after ${JSON.stringify(written.slice(0, 60))}`)
    if (/^date:/im.test(written.split('\r\n\r\n')[0]!)) fail('an answer has the time')
    if (written.startsWith('HTTP/1.1 5') && !written.startsWith('HTTP/1.1 505')) fail(`the answer is ${written.slice(0, 40)}`)
    if (/\r/.test(received)) fail('a CR passes')
    return `${/^HTTP\/1\.[01] (\d+)/.exec(written)?.[1] ?? 'nothing'}${received === '' ? '' : ', packets'}`
  },
}
