/**
 * The public HTTP door: the page, and WebSockets at `/v1`, whose messages are packets (docs/protocol.md, section 1).
 * fastify and @fastify/websocket make the handshake; then message-stream.ts has the socket
 * (docs/decisions/0015-frames-of-our-own.md).
 */
import type { Socket } from 'node:net'
import websocket, { type WebsocketPluginOptions } from '@fastify/websocket'
import { WebSocket } from 'ws'
import type { ByteStream, Receiver } from '../relay/stream.ts'
import { SUBPROTOCOL, WEBSOCKET_PATH } from './address.ts'
import { MessageStream } from './message-stream.ts'
import { createPage, encodeBusy, MALFORMED, NOTHING_HERE, type Offer } from './page.ts'
import { serveSocket, SHORT_BYTES } from './socket.ts'
import { findDialled, isForeign, parseTokens } from './visitor.ts'

/** For a visitor to send a request and to take its answer. With the 10 s for a PROXY line: 30 s. */
const VISIT_MS = 20_000
/** To take the web page, over a slow circuit. */
const PAGE_MS = 120_000

/** RFC 6455, section 4.1. */
const WEBSOCKET_VERSION = '13'
const OTHER_HOST = 'this relay has another name\n'
const OTHER_SITE = 'pages of other sites may not visit this relay\n'

/** A visitor's place at the relay. */
export interface Visit {
  /** The visitor's socket is closed. */
  leave(): void
}

export interface PublicDoorOptions<V extends Visit> {
  /** The longest message, bytes. */
  readonly maxMessage: number
  /** The web page; undefined if the relay offers none. */
  readonly offer?: Offer | undefined
  /** Returns the relay's names now. */
  readonly names: () => readonly string[]
  /**
   * Gives a visitor a place, before anything is read of its request. Returns undefined if there is no place.
   */
  readonly enter: (circuit: string | undefined, visitor: Visitor) => V | undefined
  /** Returns the seconds until a circuit may have the web page. Counts an answer if it is 0. */
  readonly pageWait: (circuit: string | undefined) => number
  /** Takes the stream of a visitor that asked for a WebSocket. Its place goes with it. */
  readonly accept: (stream: ByteStream, visit: V) => Receiver
}

export interface PublicDoor {
  /** Serves a socket that was just accepted, or whose PROXY line was just read. */
  serve(socket: Socket, circuit: string | undefined): void
  close(): Promise<void>
}

/** A visitor, with or without a WebSocket. */
export class Visitor {
  readonly #socket: Socket
  /** The relay's name in the request's Host. */
  dialled: string | undefined
  stream: ByteStream | undefined

  constructor(socket: Socket) {
    this.#socket = socket
  }

  /** The count of bytes of packets that came so far. A request has no packets. */
  get received(): number {
    return this.stream?.received ?? 0
  }

  destroy(): void {
    this.#socket.destroy()
  }
}

/** A socket until it becomes a WebSocket. */
interface Visited<V extends Visit> {
  readonly visitor: Visitor
  readonly circuit: string | undefined
  readonly visit: V
  deadline: NodeJS.Timeout
}

/** Creates the door. It does not listen, and so it needs no address. */
export async function createPublicDoor<V extends Visit>(options: PublicDoorOptions<V>): Promise<PublicDoor> {
  const sockets = new WeakMap<Socket, Visited<V>>()
  const { app, http } = createPage({
    offer: options.offer,
    pageWait(socket) {
      const visited = sockets.get(socket)!
      const wait = options.pageWait(visited.circuit)
      if (wait === 0) {
        clearTimeout(visited.deadline)
        visited.deadline = setTimeout(() => visited.visitor.destroy(), PAGE_MS)
      }
      return wait
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
    // The relay ends its WebSockets itself, after its last words.
    preClose: (done: () => void) => done(),
    errorHandler: (_error: unknown, socket: WebSocket) => socket.terminate(),
  })
  // Behind the plugin's own hook: the plugin ends the sockets only of those requests that this hook marked.
  app.addHook('onRequest', async (request, reply) => {
    // The plugin makes the responses of upgrades itself.
    reply.raw.sendDate = false
    const { host, origin } = request.headers
    const dialled = findDialled(host, options.names())
    if (dialled === undefined) return reply.code(421).type('text/plain').send(OTHER_HOST)
    sockets.get(request.raw.socket)!.visitor.dialled = dialled
    if (isForeign(origin, dialled)) return reply.code(403).type('text/plain').send(OTHER_SITE)
    // The plugin would upgrade any path and then close, and answer a HEAD on a socket that it lost.
    const isUpgradable = request.method === 'GET' && request.routeOptions.url === WEBSOCKET_PATH
    if (request.ws && !isUpgradable) return reply.code(404).type('text/plain').send(NOTHING_HERE)
    // A handshake has no body (RFC 6455, section 4.1). With one, Node answers on a socket of its own.
    const { 'content-length': length, 'transfer-encoding': coding } = request.headers
    if (request.ws && (length ?? coding) !== undefined) return reply.code(400).type('text/plain').send(MALFORMED)
  })
  app.get(
    WEBSOCKET_PATH,
    {
      websocket: true,
      preValidation: async (request, reply) => {
        if (!request.ws) return
        const offered = parseTokens(request.headers['sec-websocket-protocol'] ?? '')
        if (offered?.includes(SUBPROTOCOL) !== true) {
          return reply.code(400).type('text/plain').send(`this WebSocket speaks the subprotocol ${SUBPROTOCOL}\n`)
        }
        // The library accepts version 8, too, in which Origin has another name.
        if (request.headers['sec-websocket-version'] !== WEBSOCKET_VERSION) {
          return reply
            .code(400)
            .header('sec-websocket-version', WEBSOCKET_VERSION)
            .type('text/plain')
            .send(`this WebSocket has the version ${WEBSOCKET_VERSION}\n`)
        }
        // The library answers on the socket itself. Without this the request would live as long as the socket.
        reply.raw.detachSocket(request.raw.socket)
      },
    },
    (upgraded) => {
      const socket = (upgraded as Upgraded).release()
      const { visitor, circuit, visit, deadline } = sockets.get(socket)!
      sockets.delete(socket)
      clearTimeout(deadline)
      const { dialled } = visitor
      const accept = (stream: ByteStream): Receiver => {
        visitor.stream = stream
        return options.accept(stream, visit)
      }
      serveSocket(socket, circuit, (stream) => new MessageStream({ stream, longest: options.maxMessage, dialled: dialled!, accept }))
    },
  )
  await app.ready()
  return {
    serve(socket, circuit) {
      const visitor = new Visitor(socket)
      const visit = options.enter(circuit, visitor)
      if (visit === undefined) return turnAway(socket)
      const deadline = setTimeout(() => visitor.destroy(), VISIT_MS)
      const visited = { visitor, circuit, visit, deadline }
      sockets.set(socket, visited)
      socket.on('close', () => {
        clearTimeout(visited.deadline)
        visit.leave()
      })
      http.emit('connection', socket)
    },
    close() {
      // While it closes, fastify would answer an upgrade without any hook.
      http.removeAllListeners('upgrade')
      return app.close()
    },
  }
}

/** Answers a visitor that found no place, without reading a request. */
function turnAway(socket: Socket): void {
  serveSocket(socket, undefined, (stream) => {
    const end = (): void => stream.end()
    if (stream.write(encodeBusy(), end)) end()
    return { onChunk: (chunk) => void chunk.fill(0), onFinish: () => {}, onTooLarge: () => {}, onIdleFrames: () => {}, onEnd: () => {} }
  })
}

/** The plugin's type asks for everything that the module `ws` exports, though it uses the class alone. */
type SocketClass = NonNullable<NonNullable<WebsocketPluginOptions['options']>['WebSocket']>

/** The object that `ws` makes when a handshake is done. It only hands the socket over. */
class Upgraded extends WebSocket {
  #socket: Socket | undefined

  /** The overridden method would start to read the socket. @param head bytes that came behind the request */
  setSocket(socket: Socket, head: Buffer): void {
    this.#socket = socket
    // RFC 6455, section 4.1: a client sends its first frame after the relay's answer. Anything that is here already is kept
    // until it is processed, so it must not be longer than a read.
    if (head.length > SHORT_BYTES) socket.destroy()
    else if (head.length > 0) socket.unshift(head)
  }

  release(): Socket {
    return this.#socket!
  }

  override terminate(): void {
    this.#socket?.destroy()
  }
}
