/**
 * The public HTTP server: its first page, which explains the relay to a visitor, and the web page as a file. It neither
 * logs nor echoes any part of a request.
 */
import { createServer, type Server as HttpServer, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import fastify, { type FastifyInstance, type FastifyReply } from 'fastify'

const HEADER_BYTES = 8_192
const HTML = 'text/html; charset=utf-8'
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

/** The web page: one file, which the build makes (deploy/page.ts). */
export interface WebPage {
  readonly bytes: Buffer
  /** The same bytes by gzip. */
  readonly compressed: Buffer
  /** The Content-Security-Policy that the file itself begins with. */
  readonly policy: string
  /** In hexadecimal. */
  readonly sha256: string
}

/** How a relay offers the web page. */
export interface Offer {
  readonly page: WebPage
  /** Whether it also runs in the relay's origin, where its users have to trust the relay. */
  readonly runs: boolean
}

const PAGE_PATH = '/asfaleia.html'
const TOO_OFTEN = 'this relay gave the page too often over this circuit; try again later\n'

/** Returns the first page. */
function describe(offer: Offer | undefined): string {
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Asfaleia relay</title>
<style>body{font:1rem/1.5 system-ui,sans-serif;max-width:38rem;margin:3rem auto;padding:0 1rem;color-scheme:light dark}code{overflow-wrap:anywhere}</style>
<h1>This is an Asfaleia relay</h1>
<p>It passes messages between people, and knows nothing of them but their SSH keys. The sender encrypts each message to
its receiver. The relay holds it in memory until the receiver takes it, and then erases it.</p>
${offer === undefined ? '<p>There is nothing to click here. ' : `${describeOffer(offer)}<p>`}To use the relay from a terminal, run the command <code>asfaleia</code>, or speak its protocol by hand with
<code>nc</code>, <code>age</code> and <code>ssh-keygen</code> at port 3308 of this address, or over WebSocket at
<code>/v1</code>.</p>
`
}

function describeOffer({ page, runs }: Offer): string {
  const run = `<p><a href="${PAGE_PATH}">Use it here, and trust this relay</a>: its operator can change the page, for you alone, and read
everything that you write there.</p>
`
  return `<h2>Write from your browser</h2>
${runs ? run : ''}<p>Asfaleia is also one file that you keep and open in Tor Browser. The file does the same each time that you open it, and no
relay can change it.</p>
<ol>
<li><a href="${PAGE_PATH}" download="asfaleia.html">Save asfaleia.html</a> (${Math.ceil(page.bytes.length / 1_024)} KiB).</li>
<li>Check the file before you open it. The SHA-256 of the file that this relay gives you is <code>${page.sha256}</code>. A
relay that changes the file can change this number, too, so compare it with the number that the authors publish, or check their
signature:<br>
<code>ssh-keygen -Y verify -f allowed_signers -I asfaleia -n asfaleia-page -s asfaleia.html.sig &lt; asfaleia.html</code></li>
<li>Open the file in Tor Browser: press Ctrl+O, and choose it.</li>
</ol>
`
}

/** An answer without a `Date`: a clock distinguishes a machine from others, and links its onion services. */
class Undated extends ServerResponse {
  override sendDate = false
}

export interface PageOptions {
  readonly offer?: Offer | undefined
  /**
   * Returns the seconds that a visitor has to wait before it may have the web page. If it is 0, the answer follows, for
   * which the visitor gets more time.
   */
  readonly pageWait?: (socket: Socket) => number
}

/**
 * Creates the server, which does not listen: the door hands it each socket. Node checks the timeouts of a server only
 * after it began to listen, so none is set here; upgrade.ts has the deadline of each socket.
 */
export function createPage({ offer, pageWait }: PageOptions = {}): { readonly app: FastifyInstance; readonly http: HttpServer } {
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
  servePages(app, offer)
  if (offer !== undefined) serveFile(app, offer, pageWait)
  return { app, http: http! }
}

function servePages(app: FastifyInstance, offer: Offer | undefined): void {
  app.addHook('onSend', async (_request, reply) => {
    void reply.headers({ ...HEADERS, ...reply.getHeaders() })
  })
  const page = describe(offer)
  app.get('/', async (_request, reply) => reply.type(HTML).send(page))
  app.setNotFoundHandler(async (_request, reply) => reply.code(404).type('text/plain').send(NOTHING_HERE))
  app.setErrorHandler(async (error: { statusCode?: number }, _request, reply) => {
    const code = error.statusCode ?? 500
    await reply
      .code(code)
      .type('text/plain')
      .send(code < 500 ? MALFORMED : 'internal error\n')
  })
}

/** Serves the web page: to run in this origin, or only as a file to save. */
function serveFile(app: FastifyInstance, { page, runs }: Offer, pageWait: NonNullable<PageOptions['pageWait']> = () => 0): void {
  app.get(PAGE_PATH, async (request, reply) => {
    const wait = pageWait(request.raw.socket)
    if (wait > 0) return reply.code(503).header('retry-after', wait).type('text/plain').send(TOO_OFTEN)
    void reply.type(HTML).header('vary', 'accept-encoding')
    if (runs) void reply.header('content-security-policy', `${page.policy}; frame-ancestors 'none'`)
    else {
      void reply.header('content-security-policy', "default-src 'none'; frame-ancestors 'none'; sandbox")
      void reply.header('content-disposition', 'attachment; filename="asfaleia.html"')
    }
    if (!takesGzip(request.headers['accept-encoding'])) return reply.send(page.bytes)
    return reply.header('content-encoding', 'gzip').send(page.compressed)
  })
}

/** Returns whether an Accept-Encoding names gzip and does not refuse it (RFC 9110, section 12.5.3). */
function takesGzip(accepted = ''): boolean {
  const codings = accepted.split(',').map((coding) => coding.trim().toLowerCase())
  return codings.some((coding) => /^gzip(?:$|\s*;)/.test(coding) && !/;\s*q=0(?:\.0*)?$/.test(coding))
}

/** Encodes the answer to a visitor that finds no place. */
export function encodeBusy(): Uint8Array {
  const headers = { ...HEADERS, 'retry-after': COME_BACK_SECONDS, 'content-type': 'text/plain', 'content-length': BUSY.length }
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`)
  return Buffer.from(`HTTP/1.1 503 Service Unavailable\r\n${lines.join('')}\r\n${BUSY}`, 'latin1')
}
