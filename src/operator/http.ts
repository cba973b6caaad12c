/**
 * The operator's listener: readiness, metrics, status and panic, on loopback or a unix socket of its own, never behind
 * the onion service. Every request only reads, except `POST /panic`. The listener logs nothing. It refuses requests with
 * another host's name: a web page could resolve its own name to 127.0.0.1 (DNS rebinding).
 */
import { monitorEventLoopDelay } from 'node:perf_hooks'
import fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify'
import type { Address } from '../transport/address.ts'
import type { Snapshot } from '../relay/counters.ts'
import { listen } from '../transport/socket.ts'
import { isLoopbackHost } from '../transport/visitor.ts'
import { buildStatus, findReasons, METRICS_TYPE, type Moment, renderMetrics } from './metrics.ts'
import type { NameProblem } from './name-problem.ts'
import type { ProbeState } from './reachability.ts'
import type { TorState } from '../tor/state.ts'

export interface OperatorSources {
  snapshot(): Snapshot
  /** The state of the probe; absent if none is configured. */
  readonly probe?: () => ProbeState
  /**
   * Asks tor, or reads another program's report, and resolves to undefined as long as the program has no report; absent
   * if neither is configured. Must settle within a few seconds.
   */
  readonly tor?: () => Promise<TorState | undefined>
  /** Returns why the name file cannot be used, if so; absent if none is configured. */
  readonly nameFile?: () => NameProblem | undefined
  /** Returns the mistake in the file of admitted keys, if it has one; absent if no file is configured. */
  readonly admit?: () => string | undefined
  /** Seconds since the epoch, by the clock of the machine at the start. */
  readonly startTime: number
  /** Seconds since the start, by a clock that cannot be set. */
  uptime(): number
  readonly version: string
  /** Wipes everything at once; absent if there is nothing to wipe. */
  readonly panic?: () => void
  /** Called when a defect of the relay was caught during an answer; the error itself goes nowhere. */
  readonly onFault?: () => void
}

export interface Operator {
  /** The address as taken: port 0 became a port. */
  readonly address: Address
  close(): Promise<void>
}

/** Only the relay's user. */
const SOCKET_MODE = 0o600
/** For how long an answer of tor is reused, so that several watchers ask tor once. */
const TOR_FRESH_MS = 2_000
const DELAY_RESOLUTION_MS = 50
/** For a whole request. Node checks it this often, so a slow one ends after twice the time at the latest. */
const REQUEST_MS = 5_000
/**
 * `POST /panic` requires this header. A web page of another origin cannot send it: for a header outside a short list
 * (Fetch standard, "CORS-safelisted request-header") the browser first asks this listener, which does not allow it.
 */
export const PANIC_HEADER = 'asfaleia-panic'
const MALFORMED = 'malformed request\n'

/** Starts the listener. @throws ListenError of src/transport/socket.ts */
export async function startOperator(address: Address, sources: OperatorSources): Promise<Operator> {
  const delay = monitorEventLoopDelay({ resolution: DELAY_RESOLUTION_MS })
  const app = fastify({
    logger: false,
    bodyLimit: 1_024,
    requestTimeout: REQUEST_MS,
    keepAliveTimeout: REQUEST_MS,
    http: { connectionsCheckingInterval: REQUEST_MS },
    // Fastify's own answer echoes a path that does not decode. (Its type here is generic over the routes.)
    frameworkErrors: (_error, _request, reply) => refuseMalformed(reply as FastifyReply),
  })
  const askTor = fresh(sources.tor)
  const read = async (): Promise<Moment> => {
    const tor = await askTor?.()
    // The measured time includes the timer's own interval.
    const late = delay.percentile(99) / 1e6 - DELAY_RESOLUTION_MS
    delay.reset()
    return {
      snapshot: sources.snapshot(),
      tor,
      probe: sources.probe?.(),
      ...(sources.nameFile !== undefined && { nameFile: { problem: sources.nameFile() ?? null } }),
      ...(sources.admit !== undefined && { admit: { problem: sources.admit() ?? null } }),
      version: sources.version,
      uptimeSeconds: sources.uptime(),
      startTimeSeconds: sources.startTime,
      residentBytes: process.memoryUsage.rss(),
      loopDelaySeconds: Math.max(0, Math.round(late)) / 1_000,
    }
  }
  guard(app, address.kind, sources.onFault)
  app.get('/livez', async (_request, reply) => reply.type('text/plain').send('ok\n'))
  app.get('/readyz', async (_request, reply) => {
    const reasons = findReasons({ tor: await askTor?.(), snapshot: sources.snapshot(), probe: sources.probe?.() })
    return reply.code(reasons.length === 0 ? 200 : 503).send({ ready: reasons.length === 0, reasons })
  })
  app.get('/metrics', async (_request, reply) => reply.type(METRICS_TYPE).send(await renderMetrics(await read())))
  app.get('/status', async () => buildStatus(await read()))
  const { panic } = sources
  if (panic !== undefined) {
    app.post('/panic', async (request, reply) => {
      const sure = request.headers[PANIC_HEADER] === 'now' && request.headers.origin === undefined
      if (!sure) return reply.code(403).type('text/plain').send(`this request needs the header ${PANIC_HEADER}: now\n`)
      panic()
      return { wiped: true }
    })
  }
  await app.ready()
  const { server } = app
  const taken = await listen(server, address, SOCKET_MODE).catch(async (error: unknown) => {
    await app.close()
    throw error
  })
  delay.enable()
  return {
    address: taken,
    async close() {
      delay.disable()
      const closed = new Promise((resolve) => server.close(resolve))
      server.closeAllConnections()
      await closed
      await app.close()
    },
  }
}

function guard(app: FastifyInstance, kind: Address['kind'], onFault: (() => void) | undefined): void {
  app.addHook('onRequest', async (request, reply) => {
    void reply.headers({
      'cache-control': 'no-store',
      'x-content-type-options': 'nosniff',
      'cross-origin-resource-policy': 'same-origin',
    })
    // No browser can reach a unix socket, so neither the name nor the site matters there.
    if (kind === 'tcp' && !isLoopbackHost(request.headers.host)) {
      return reply.code(421).type('text/plain').send('this listener answers requests to localhost only\n')
    }
    if (kind === 'tcp' && isFromPage(request.headers))
      return reply.code(403).type('text/plain').send('web pages may not visit this listener\n')
    const panics = request.method === 'POST' && request.url === '/panic'
    if (request.method !== 'GET' && request.method !== 'HEAD' && !panics) {
      return reply.code(405).header('allow', 'GET, HEAD').type('text/plain').send('only GET and HEAD are allowed here\n')
    }
  })
  app.setNotFoundHandler(async (_request, reply) => {
    return reply.code(404).type('text/plain').send('not found; the paths are /livez, /readyz, /metrics and /status\n')
  })
  app.setErrorHandler(async (error: { statusCode?: number }, _request, reply) => {
    const code = error.statusCode ?? 500
    if (code >= 500) onFault?.()
    return reply
      .code(code)
      .type('text/plain')
      .send(code < 500 ? MALFORMED : 'internal error\n')
  })
}

function refuseMalformed(reply: FastifyReply): void {
  void reply.code(400).type('text/plain').send(MALFORMED)
}

/**
 * Returns whether a web page sent the request, and not a program or a user who typed the address. Browsers send Origin
 * with a page's writing requests, and Sec-Fetch-Site with everything that they load from this machine.
 */
function isFromPage(headers: FastifyRequest['headers']): boolean {
  const site = headers['sec-fetch-site'] ?? 'none'
  return headers.origin !== undefined || (site !== 'none' && site !== 'same-origin')
}

/** Asks one question at a time, and reuses its answer for a moment. */
function fresh<T>(ask: (() => Promise<T>) | undefined): (() => Promise<T>) | undefined {
  if (ask === undefined) return undefined
  let answer: Promise<T> | undefined
  let until = 0
  return () => {
    const now = performance.now()
    if (answer === undefined || now >= until) {
      answer = ask()
      until = now + TOR_FRESH_MS
    }
    return answer
  }
}
