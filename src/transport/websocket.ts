/**
 * The public HTTP listener: a page that says what this is, and `/v1`, where WebSocket messages are
 * packets (docs/protocol.md, section 1). Nothing of a request is logged or answered back.
 */
import type { Server as HttpServer } from 'node:http'
import type { Socket } from 'node:net'
import websocket from '@fastify/websocket'
import fastify, { type FastifyInstance, type FastifyReply } from 'fastify'
import { createServer } from 'node:http'
import type WebSocket from 'ws'
import type { ByteStream, Receiver } from '../relay/stream.ts'
import { Frames } from './frames.ts'
import { SUBPROTOCOL, WEBSOCKET_PATH } from './address.ts'

/** For a peer to answer our close frame. */
const LINGER_MS = 5_000
/** HTTP has no business here but a page and an upgrade: slow or large requests are ended early. */
const HEADERS_MS = 10_000
const HEADER_BYTES = 8_192
/** RFC 6455, section 7.4.1. */
const MESSAGE_TOO_BIG = 1009
/** What the headers of a message's frames may take beside it. */
const FRAMES_BYTES = 1_024
const LF = 0x0a
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
      // Over the limit by a little, the session answers `too-large` itself; far over, the library ends it unread.
      maxPayload: options.maxMessage * 2,
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
        }
      },
    },
    (socket, request) => {
      const { socket: raw } = request.raw
      const frames = new Frames(options.maxMessage * 2)
      serveWebSocket(socket, raw, frames, options.circuitOf(raw), options.accept)
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
    await reply.code(code).type('text/plain').send(code < 500 ? MALFORMED : 'the relay erred\n')
  })
}

function serveWebSocket(
  socket: WebSocket,
  raw: Socket,
  frames: Frames,
  circuit: string | undefined,
  accept: (stream: ByteStream) => Receiver,
): void {
  let lingering: NodeJS.Timeout | undefined
  const stream: ByteStream = {
    framing: 'message',
    circuit,
    write(bytes, done) {
      // All frames leave in one write. No field holds an LF, so the packets' ends are the only ones.
      raw.cork()
      let start = 0
      while (start < bytes.length) {
        const end = bytes.indexOf(LF, start)
        const last = end + 1 === bytes.length
        socket.send(bytes.subarray(start, end), { binary: false, compress: false }, (error) => {
          if (last && (error === null || error === undefined)) done()
        })
        start = end + 1
      }
      raw.uncork()
    },
    pause: () => socket.pause(),
    resume: () => socket.resume(),
    end() {
      if (lingering !== undefined || socket.readyState === socket.CLOSED) return
      socket.close(1000)
      socket.resume()
      lingering = setTimeout(() => socket.terminate(), LINGER_MS)
    },
    destroy: () => socket.terminate(),
  }
  socket.on('error', () => {})
  const receiver = accept(stream)
  /** The session refuses it by its length, whatever it would have been. */
  const refuseLong = (): void => receiver.onChunk(new Uint8Array(receiver.packetLimit + 1))
  // For a frame that claims more than it takes the library closes at once: the session has its word before.
  const close = socket.close.bind(socket)
  socket.close = (code, reason) => {
    if (code === MESSAGE_TOO_BIG && lingering === undefined) refuseLong()
    close(code, reason)
  }
  /** Bytes since the last whole message; frames' headers among them. */
  let unfinished = 0
  socket.on('message', (message: Buffer) => {
    // What a chunk holds behind the end of a message is not counted.
    unfinished = -Infinity
    if (lingering === undefined) receiver.onChunk(message)
    else message.fill(0)
  })
  socket.on('ping', () => {
    unfinished = 0
  })
  // After the library's own listener, which has given out by then what was whole.
  const onRaw = (chunk: Buffer): void => {
    unfinished = unfinished < 0 ? 0 : unfinished + chunk.length
    if (lingering !== undefined || unfinished <= receiver.packetLimit * 2 + FRAMES_BYTES) return
    // A message without end, as a line without end.
    refuseLong()
  }
  const offFrames = handWhole(raw, frames)
  raw.on('data', onRaw)
  socket.on('close', () => {
    clearTimeout(lingering)
    raw.off('data', onRaw)
    offFrames()
    receiver.onEnd()
  })
}

/** Stands before the library's own listener, and hands it whole frames. Gives the way to end that, which overwrites. */
function handWhole(raw: Socket, frames: Frames): () => void {
  const listeners = raw.listeners('data') as ((chunk: Uint8Array) => void)[]
  const hand = (chunk: Buffer): void => {
    const whole = frames.push(chunk)
    if (whole === undefined) return
    for (const listener of listeners) listener.call(raw, whole)
    frames.clear()
  }
  for (const listener of listeners) raw.off('data', listener)
  raw.on('data', hand)
  return () => {
    raw.off('data', hand)
    frames.end()
  }
}
