/**
 * The public HTTP server and its page, which explains the relay to a visitor. It neither logs nor echoes any part of a
 * request.
 */
import { createServer, type Server as HttpServer, ServerResponse } from 'node:http'
import fastify, { type FastifyInstance, type FastifyReply } from 'fastify'

const HEADER_BYTES = 8_192
export const MALFORMED = 'malformed request\n'
const BUSY = 'the relay is full\n'
/** As in the relay's ERROR to a stream that finds no place. */
const COME_BACK_SECONDS = 10
/** Of every answer. */
const HEADERS = {
  connection: 'close',
  'content-security-policy': "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
  'cache-control': 'no-store',
}

/** The answer for every other path. */
export const NOTHING_HERE = 'not found\n'

const PAGE = `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Asfaleia relay</title>
<style>body{font:1rem/1.5 system-ui,sans-serif;max-width:38rem;margin:3rem auto;padding:0 1rem;color-scheme:light dark}</style>
<h1>This is an Asfaleia relay</h1>
<p>It passes messages between people, and knows nothing of them but their SSH keys. The sender encrypts each message to
its receiver. The relay holds it in memory until the receiver takes it, and then erases it.</p>
<p>There is nothing to click here. To use the relay, run the command <code>asfaleia</code>, or speak its protocol by hand with
<code>nc</code>, <code>age</code> and <code>ssh-keygen</code> at port 3308 of this address, or over WebSocket at
<code>/v1</code>.</p>
`

/** An answer without a `Date`: a clock distinguishes a machine from others, and links its onion services. */
class Undated extends ServerResponse {
  override sendDate = false
}

/**
 * Creates the server, which does not listen: the door hands it each socket. Node checks the timeouts of a server only
 * after it began to listen, so none is set here; upgrade.ts has the deadline of each socket.
 */
export function createPage(): { readonly app: FastifyInstance; readonly http: HttpServer } {
  let http: HttpServer | undefined
  const app = fastify({
    logger: false,
    bodyLimit: 1_024,
    // Fastify's own answer echoes a path that does not decode. (Its type here is generic over the routes.)
    frameworkErrors(_error, request, reply) {
      // No hook is called. If the request is an upgrade, its response and its socket are nobody's.
      reply.raw.sendDate = false
      reply.raw.once('finish', () => request.raw.socket.destroySoon())
      void (reply as FastifyReply).code(400).type('text/plain').send(MALFORMED)
    },
    serverFactory: (handler) => {
      http = createServer({ maxHeaderSize: HEADER_BYTES, ServerResponse: Undated }, handler)
      http.maxRequestsPerSocket = 1
      // Node's own answer would leave the connection open.
      http.on('checkExpectation', (_request, response) => response.writeHead(417, HEADERS).end())
      return http
    },
  })
  servePage(app)
  return { app, http: http! }
}

function servePage(app: FastifyInstance): void {
  app.addHook('onSend', async (_request, reply) => {
    void reply.headers(HEADERS)
  })
  app.get('/', async (_request, reply) => reply.type('text/html; charset=utf-8').send(PAGE))
  app.setNotFoundHandler(async (_request, reply) => reply.code(404).type('text/plain').send(NOTHING_HERE))
  app.setErrorHandler(async (error: { statusCode?: number }, _request, reply) => {
    const code = error.statusCode ?? 500
    await reply
      .code(code)
      .type('text/plain')
      .send(code < 500 ? MALFORMED : 'internal error\n')
  })
}

/** Encodes the answer to a visitor that finds no place. */
export function encodeBusy(): Uint8Array {
  const headers = { ...HEADERS, 'retry-after': COME_BACK_SECONDS, 'content-type': 'text/plain', 'content-length': BUSY.length }
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`)
  return Buffer.from(`HTTP/1.1 503 Service Unavailable\r\n${lines.join('')}\r\n${BUSY}`, 'latin1')
}
