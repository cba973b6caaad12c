/**
 * WebSockets at `/v1`, whose messages are packets (docs/protocol.md, section 1). fastify and @fastify/websocket make the
 * handshake; then message-stream.ts has the socket (docs/decisions/0015-frames-of-our-own.md).
 */
import type { Server as HttpServer } from 'node:http'
import type { Socket } from 'node:net'
import websocket, { type WebsocketPluginOptions } from '@fastify/websocket'
import { WebSocket } from 'ws'
import type { ByteStream, Receiver } from '../relay/stream.ts'
import { SUBPROTOCOL, WEBSOCKET_PATH } from './address.ts'
import { MessageStream } from './message-stream.ts'
import { createPage, NOTHING_HERE } from './page.ts'
import { serveSocket } from './socket.ts'

export interface PublicServer {
  /** Does not listen: emit `connection` with each socket. */
  readonly http: HttpServer
  close(): Promise<void>
}

/**
 * Creates the HTTP server of the page and the WebSockets.
 * @param options.maxMessage the longest message, bytes
 */
export async function createPublicServer(options: {
  maxMessage: number
  circuitOf: (socket: Socket) => string | undefined
  accept: (stream: ByteStream) => Receiver
}): Promise<PublicServer> {
  const { app, http } = createPage()
  await app.register(websocket, {
    options: {
      WebSocket: Upgraded as unknown as SocketClass,
      autoPong: false,
      perMessageDeflate: false,
      clientTracking: false,
      handleProtocols: (protocols: Set<string>) => (protocols.has(SUBPROTOCOL) ? SUBPROTOCOL : false),
    },
    // The relay ends its WebSockets itself, after its last words.
    preClose: (done: () => void) => done(),
    errorHandler: (_error: unknown, socket: WebSocket) => socket.terminate(),
  })
  // The plugin would upgrade any path, and then close.
  app.addHook('onRequest', async (request, reply) => {
    if (request.ws && request.routeOptions.url !== WEBSOCKET_PATH) {
      await reply.code(404).type('text/plain').send(NOTHING_HERE)
    }
  })
  app.get(
    WEBSOCKET_PATH,
    {
      websocket: true,
      preValidation: async (request, reply) => {
        const offered = request.headers['sec-websocket-protocol'] ?? ''
        if (request.ws && !offered.split(/\s*,\s*/).includes(SUBPROTOCOL)) {
          await reply.code(400).type('text/plain').send(`this WebSocket speaks the subprotocol ${SUBPROTOCOL}\n`)
        } else if (request.ws) {
          // The library answers on the socket itself. Attached, the request and its answer would live as long as the socket.
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
  return { http, close: () => app.close() }
}

/** The plugin's type asks for everything that the module `ws` exports, though it uses the class alone. */
type SocketClass = NonNullable<NonNullable<WebsocketPluginOptions['options']>['WebSocket']>

/** The object that `ws` makes when a handshake is done. It only hands the socket over. */
class Upgraded extends WebSocket {
  #socket: Socket | undefined

  /** The overridden method would start to read the socket. @param head bytes that came behind the request */
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
