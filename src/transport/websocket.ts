/**
 * The public HTTP listener: a page that says what this is, and `/v1`, where WebSocket messages are
 * packets (docs/protocol.md, section 1). Nothing of a request is logged or answered back.
 */
import type { Server as HttpServer } from 'node:http'
import type { Socket } from 'node:net'
import websocket, { type WebsocketPluginOptions } from '@fastify/websocket'
import fastify, { type FastifyInstance, type FastifyReply } from 'fastify'
import { createServer } from 'node:http'
import { WebSocket } from 'ws'
import type { ByteStream, Receiver } from '../relay/stream.ts'
import { SUBPROTOCOL, WEBSOCKET_PATH } from './address.ts'
import { encodeClose, encodePong, FrameReader, type FrameReceiver, NORMAL, TOO_BIG } from './frames.ts'
import { serveSocket } from './socket.ts'

/** For a peer to answer our close frame. */
const LINGER_MS = 5_000
/** HTTP has no business here but a page and an upgrade: slow or large requests are ended early. */
const HEADERS_MS = 10_000
const HEADER_BYTES = 8_192
const MALFORMED = 'that request is malformed\n'

const NOTHING_HERE = 'there is nothing here\n'

const PAGE = `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Asfaleia relay</title>
<style>body{font:1rem/1.5 system-ui,sans-serif;max-width:38rem;margin:3rem auto;padding:0 1rem;color-scheme:light dark}</style>
<h1>This is an Asfaleia relay</h1>
<p>It passes messages between people who are known to it by nothing but an SSH key. Messages are encrypted
to their receiver before they come here, held in memory until they are taken, and then erased.</p>
<p>There is nothing to click: it is spoken to by the command <code>asfaleia</code>, or by hand with
<code>nc</code>, <code>age</code> and <code>ssh-keygen</code> over port 3308 of this address, or over WebSocket at
<code>/v1</code>.</p>
`

/** A server of the page and the WebSocket, not yet listening; sockets may be handed to it one by one, too. */
export async function createPublicServer(options: {
  /** The longest message that a packet may be. */
  maxMessage: number
  circuitOf: (socket: Socket) => string | undefined
  accept: (stream: ByteStream) => Receiver
}): Promise<{ http: HttpServer; close(): Promise<void> }> {
  let http: HttpServer | undefined
  const app = fastify({
    logger: false,
    bodyLimit: 1_024,
    // Fastify's own answer repeats a path that does not decode. (Its type here is generic over the routes.)
    frameworkErrors: (_error, _request, reply) => {
      void (reply as FastifyReply).code(400).type('text/plain').send(MALFORMED)
    },
    serverFactory: (handler) => {
      http = createServer(
        {
          maxHeaderSize: HEADER_BYTES,
          headersTimeout: HEADERS_MS,
          requestTimeout: HEADERS_MS,
          keepAliveTimeout: HEADERS_MS,
          connectionsCheckingInterval: HEADERS_MS / 2,
        },
        (request, response) => {
          // The clock of a machine tells it from others (and onion services from each other).
          response.sendDate = false
          handler(request, response)
        },
      )
      return http
    },
  })
  await app.register(websocket, {
    options: {
      WebSocket: Upgraded as unknown as SocketClass,
      autoPong: false,
      perMessageDeflate: false,
      clientTracking: false,
      handleProtocols: (protocols: Set<string>) => (protocols.has(SUBPROTOCOL) ? SUBPROTOCOL : false),
    },
    // Ours are ended by the relay, after its last words.
    preClose: (done: () => void) => done(),
    errorHandler: (_error: unknown, socket: WebSocket) => socket.terminate(),
  })
  servePage(app)
  app.get(
    WEBSOCKET_PATH,
    {
      websocket: true,
      preValidation: async (request, reply) => {
        const offered = request.headers['sec-websocket-protocol'] ?? ''
        if (request.ws && !offered.split(/\s*,\s*/).includes(SUBPROTOCOL)) {
          await reply.code(400).type('text/plain').send(`this WebSocket speaks the subprotocol ${SUBPROTOCOL}\n`)
        } else if (request.ws) {
          // The library answers on the socket itself, which would keep the request and its answer for as long as it lives.
          reply.raw.detachSocket(request.raw.socket)
        }
      },
    },
    (upgraded) => {
      const socket = (upgraded as Upgraded).release()
      serveSocket(socket, options.circuitOf(socket), (stream) => new MessageStream(stream, options.maxMessage, options.accept))
    },
  )
  await app.ready()
  return { http: http!, close: () => app.close() }
}

function servePage(app: FastifyInstance): void {
  // The library would upgrade any path, and then close.
  app.addHook('onRequest', async (request, reply) => {
    if (request.ws && request.routeOptions.url !== WEBSOCKET_PATH) {
      await reply.code(404).type('text/plain').send(NOTHING_HERE)
    }
  })
  app.addHook('onSend', async (_request, reply) => {
    void reply.headers({
      'content-security-policy': "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
      'cross-origin-opener-policy': 'same-origin',
      'referrer-policy': 'no-referrer',
      'x-content-type-options': 'nosniff',
      'cache-control': 'no-store',
    })
  })
  app.get('/', async (_request, reply) => reply.type('text/html; charset=utf-8').send(PAGE))
  app.setNotFoundHandler(async (_request, reply) => reply.code(404).type('text/plain').send(NOTHING_HERE))
  app.setErrorHandler(async (error: { statusCode?: number }, _request, reply) => {
    const code = error.statusCode ?? 500
    await reply
      .code(code)
      .type('text/plain')
      .send(code < 500 ? MALFORMED : 'the relay erred\n')
  })
}

/** Their type asks for more than the class: for all that their module exports. */
type SocketClass = NonNullable<NonNullable<WebsocketPluginOptions['options']>['WebSocket']>

/** The class of the library's that is made when a handshake is done; of all that it could do it hands the socket over. */
class Upgraded extends WebSocket {
  #socket: Socket | undefined

  /** The library's own would read the socket from here on. `head` came behind the request. */
  setSocket(socket: Socket, head: Buffer): void {
    this.#socket = socket
    if (head.length > 0) socket.unshift(head)
  }

  release(): Socket {
    return this.#socket!
  }

  override terminate(): void {
    this.#socket?.destroy()
  }
}

/**
 * A WebSocket as the relay's stream, over the stream of its socket: lines go in, frames come out. Frames of its own, pongs
 * and a close, go between those of the relay, for the socket takes one write at a time.
 */
class MessageStream implements ByteStream, Receiver, FrameReceiver {
  readonly framing = 'message'
  readonly #stream: ByteStream
  readonly #receiver: Receiver
  readonly #frames: FrameReader
  readonly #longest: number
  /** Refused: nothing more is taken, and the session has its last word. Closing: our close frame was said, or is about to be. */
  #state: 'open' | 'refused' | 'closing' = 'open'
  #writing = false
  /** What the relay wants to be written while something of our own is. */
  #next: Uint8Array | undefined
  #onNext: (() => void) | undefined
  /** The newest ping's, as RFC 6455 has it in section 5.5.3: who pings and does not read makes nobody hold more. */
  #pong: Uint8Array | undefined
  #close: Uint8Array | undefined
  /** No close frame of the peer is to be waited for: it came, or cannot come any more. */
  #peerClosed = false
  #lingering: NodeJS.Timeout | undefined

  constructor(stream: ByteStream, longest: number, accept: (stream: ByteStream) => Receiver) {
    this.#stream = stream
    this.#longest = longest
    this.#frames = new FrameReader(longest, this)
    this.#receiver = accept(this)
  }

  get circuit(): string | undefined {
    return this.#stream.circuit
  }

  write(bytes: Uint8Array, done: () => void): boolean {
    if (this.#state === 'closing') return false
    if (!this.#writing) return this.#send(bytes, done)
    this.#next = bytes
    this.#onNext = done
    return false
  }

  pause(): void {
    if (this.#state !== 'closing') this.#stream.pause()
  }

  resume(): void {
    this.#stream.resume()
  }

  end(): void {
    this.#sayClose(this.#state === 'refused' ? TOO_BIG : NORMAL)
  }

  destroy(): void {
    this.#stream.destroy()
  }

  onChunk(chunk: Uint8Array): void {
    this.#frames.read(chunk)
    if (this.#pong !== undefined) this.#sayOwn()
  }

  onFinish(): void {
    this.#peerClosed = true
    if (this.#state !== 'closing') this.#receiver.onFinish()
    this.#sayOwn()
  }

  onEnd(): void {
    clearTimeout(this.#lingering)
    this.#frames.clear()
    this.#pong?.fill(0)
    this.#next = undefined
    this.#receiver.onEnd()
  }

  onLines(chunk: Uint8Array): void {
    if (this.#state === 'open') this.#receiver.onChunk(chunk)
    else chunk.fill(0)
  }

  onPing(payload: Uint8Array): void {
    this.#pong?.fill(0)
    this.#pong = this.#state === 'closing' ? undefined : encodePong(payload)
    payload.fill(0)
  }

  flush(): void {
    if (this.#state === 'open') this.#receiver.flush()
  }

  onClose(code: number | undefined): void {
    // It has the answers to what it sent before.
    this.flush()
    this.#peerClosed = true
    this.#sayClose(code)
  }

  onRefused(code: number): void {
    this.flush()
    this.#peerClosed = true
    if (code !== TOO_BIG || this.#state !== 'open') return this.#sayClose(code)
    // The session refuses it by its length, whatever it would have been, and ends the stream.
    this.#state = 'refused'
    this.#receiver.onChunk(new Uint8Array(this.#longest + 2))
  }

  #send(bytes: Uint8Array, done?: () => void): boolean {
    this.#writing = !this.#stream.write(bytes, () => {
      this.#writing = false
      this.#sayOwn()
      done?.()
    })
    return !this.#writing
  }

  #sayClose(code: number | undefined): void {
    if (this.#state !== 'closing') {
      this.#state = 'closing'
      this.#next = undefined
      this.#close = encodeClose(code)
      // For the peer's.
      this.#stream.resume()
    }
    this.#sayOwn()
  }

  /** Writes what waits, and leaves after the last of all. */
  #sayOwn(): void {
    while (!this.#writing) {
      const pong = this.#pong
      const next = this.#close ?? this.#next
      if (pong !== undefined) {
        const done = (): void => void pong.fill(0)
        this.#pong = undefined
        if (this.#send(pong, done)) done()
      } else if (next !== undefined) {
        const done = this.#close === undefined ? this.#onNext : undefined
        this.#close = this.#next = this.#onNext = undefined
        if (this.#send(next, done)) done?.()
      } else {
        if (this.#state !== 'closing') return
        if (this.#peerClosed) this.#stream.end()
        else this.#lingering ??= setTimeout(() => this.#stream.destroy(), LINGER_MS)
        return
      }
    }
  }
}
