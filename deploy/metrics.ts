/**
 * Hands the relay's metrics on, from its operator's socket to a port for Prometheus: deploy/compose.metrics.yml
 * runs it in a container beside the relay, which itself has no network. It answers GET /metrics and nothing
 * else, to loopback's names only (no web page reaches it by having its name resolved to 127.0.0.1), and
 * keeps and logs nothing.
 */
import { createServer, request } from 'node:http'

const { METRICS_SOCKET: socketPath = '/run/operator/socket', METRICS_HOST: host = '0.0.0.0', METRICS_PORT: port = '9464' } = process.env
const TIMEOUT_MS = 5_000

const server = createServer((asked, answer) => {
  if (!/^(?:localhost|127\.0\.0\.1|\[::1\])(?::\d{1,5})?$/i.test(asked.headers.host ?? '')) return void answer.writeHead(421).end()
  if (asked.method !== 'GET' || asked.url !== '/metrics') return void answer.writeHead(404).end()
  const relay = request({ socketPath, path: '/metrics', agent: false, timeout: TIMEOUT_MS })
  const fail = (): void => void (answer.headersSent ? answer.destroy() : answer.writeHead(502).end())
  relay.on('timeout', () => relay.destroy())
  relay.on('error', fail)
  relay.on('response', (response) => {
    response.on('error', fail)
    answer.writeHead(response.statusCode ?? 502, {
      'content-type': response.headers['content-type'] ?? 'text/plain',
      'cache-control': 'no-store',
    })
    response.pipe(answer)
  })
  relay.end()
})
server.requestTimeout = TIMEOUT_MS
server.maxConnections = 16
server.listen(Number(port), host)
for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => process.exit(0))
