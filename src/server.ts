/**
 * The relay with its doors and the operator's listener: the only file that names every part.
 */
import { readFileSync } from 'node:fs'
import type { Server as NetServer, Socket } from 'node:net'
import { parsePublicKey } from './auth/ssh-key.ts'
import { type Address, type Config, ConfigError, isOnionName, type Problem } from './config.ts'
import type { Log } from './log.ts'
import { startOperator } from './operator/http.ts'
import { readTorState } from './operator/tor-control.ts'
import { startWatch } from './operator/watch.ts'
import type { Door } from './relay/counters.ts'
import { Relay } from './relay/relay.ts'
import { readProxyHeader } from './transport/proxy-header.ts'
import { createSocketServer, listen, ListenError, serveSocket } from './transport/socket.ts'
import { createPublicServer } from './transport/websocket.ts'

/** tor writes its `hostname` file moments after its start. */
const NAME_FILE_MS = 500

export interface RunningServer {
  readonly listening: readonly { readonly door: Door | 'operator'; readonly address: Address }[]
  /** Reads the file of admitted keys again; keeps the list in force where it cannot be read. */
  reload(): void
  /** Says goodbye to every connection, overwrites every message and closes every listener. */
  close(): Promise<void>
}

/** @throws ConfigError for an address that cannot be had, or a file that cannot be read */
export async function startServer(config: Config, log: Log, version: string): Promise<RunningServer> {
  const relay = new Relay({
    ...config,
    admit: config.admit === undefined ? undefined : readAdmitted(config.admit),
    onFault: () => log.event('internal-error', { origin: 'connection' }),
  })
  const listening: { door: Door | 'operator'; address: Address }[] = []
  const closers: (() => Promise<void>)[] = []
  const { torControl } = config
  const tor = torControl === undefined ? {} : { tor: () => readTorState(torControl) }
  const took = (door: Door | 'operator', address: Address): void => {
    listening.push({ door, address })
    log.event('listening', address.kind === 'tcp' ? { door, port: address.port } : { door })
  }
  const watch = config.nameFile === undefined ? undefined : watchNameFile(config.nameFile, relay, log)
  closers.push(async () => clearInterval(watch))
  try {
    for (const door of ['tcp', 'unix'] as const) {
      const address = config[door]
      if (address === undefined) continue
      const server = createSocketServer((socket) => {
        behindProxy(socket, door, config, relay, (circuit) => serveSocket(socket, circuit, (s) => relay.accept(s, door)))
      })
      took(door, await open(door, server, address))
      closers.push(() => closeServer(server))
    }
    if (config.http !== undefined) {
      const circuits = new WeakMap<Socket, string>()
      const page = await createPublicServer({
        maxMessage: config.limits.payload + config.limits.lineOverhead,
        connections: config.connections,
        circuitOf: (socket) => circuits.get(socket),
        accept: (stream) => relay.accept(stream, 'http'),
      })
      // Node's HTTP server is handed its sockets, so that a PROXY line can be read off them first.
      const server = createSocketServer((socket) => {
        behindProxy(socket, 'http', config, relay, (circuit) => {
          if (circuit !== undefined) circuits.set(socket, circuit)
          page.http.emit('connection', socket)
        })
      })
      server.maxConnections = config.connections
      took('http', await open('http', server, config.http))
      closers.push(async () => {
        page.http.closeAllConnections()
        await closeServer(server)
        await page.close()
      })
    }
    if (config.operator !== undefined) {
      const operator = await startOperator(config.operator, {
        snapshot: () => relay.snapshot(),
        startedAt: Date.now(),
        version,
        onFault: () => log.event('internal-error', { origin: 'operator' }),
        ...tor,
      }).catch((error: unknown) => {
        throw asConfigError('operator', error)
      })
      took('operator', operator.address)
      closers.push(() => operator.close())
    }
    const pressure = startWatch({ snapshot: () => relay.snapshot(), connections: config.connections, ...tor }, log)
    closers.push(async () => pressure.stop())
  } catch (error) {
    await Promise.all([relay.close(), ...closers.map((close) => close())])
    throw error
  }
  return {
    listening,
    reload() {
      if (config.admit === undefined) return
      try {
        relay.admit(readAdmitted(config.admit))
        log.event('admit-reloaded', { ok: true })
      } catch {
        log.event('admit-reloaded', { ok: false })
      }
    },
    async close() {
      await Promise.all([relay.close(), ...closers.map((close) => close())])
    },
  }
}

function behindProxy(
  socket: Socket,
  door: Door,
  config: Config,
  relay: Relay,
  then: (circuit: string | undefined) => void,
): void {
  if (!config.proxy.includes(door)) return then(undefined)
  readProxyHeader(socket, then, () => relay.counters.turnedAway['proxy-header']++)
}

async function open(key: Door, server: NetServer, address: Address): Promise<Address> {
  try {
    return await listen(server, address)
  } catch (error) {
    throw asConfigError(key, error)
  }
}

function asConfigError(key: string, error: unknown): unknown {
  return error instanceof ListenError ? new ConfigError([describeListen(key, error)]) : error
}

function describeListen(key: string, { code, address }: ListenError): Problem {
  const where = address.kind === 'tcp' ? `${address.host}:${address.port}` : address.path
  switch (code) {
    case 'EADDRINUSE':
      return { key, problem: `${where} is in use`, hint: `another relay runs already? choose another with --${key}, or \`--${key} off\`` }
    case 'NOT_LOCAL':
      return { key, problem: `${where} is not local`, hint: 'the relay listens on loopback or a unix socket only, behind the onion service' }
    case 'EEXIST':
      return { key, problem: `${where} is there and is not a socket`, hint: 'choose another path' }
    case 'EACCES':
      return { key, problem: `${where}: permission denied`, hint: 'choose a port from 1024 up, or a folder that this user may write to' }
    case 'ENOENT':
      return { key, problem: `${where}: its folder is not there`, hint: 'make the folder first' }
    default:
      return { key, problem: `${where} cannot be listened on (${code})`, hint: `choose another with --${key}` }
  }
}

function closeServer(server: NetServer): Promise<void> {
  return new Promise((resolve) => server.close(() => resolve()))
}

/** authorized_keys without options: a key a line, `#` begins a comment. */
function readAdmitted(path: string): Uint8Array[] {
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch {
    throw new ConfigError([{ key: 'admit', problem: 'the file of admitted keys cannot be read', hint: 'give one public key a line' }])
  }
  const problems: Problem[] = []
  const keys: Uint8Array[] = []
  for (const [index, line] of text.split('\n').entries()) {
    if (line.trim() === '' || line.startsWith('#')) continue
    try {
      keys.push(parsePublicKey(line.trim()).fingerprint)
    } catch {
      problems.push({ key: 'admit', problem: `line ${index + 1} is not a key that can log in`, hint: 'give `type base64`, without options' })
    }
  }
  if (problems.length > 0) throw new ConfigError(problems)
  return keys
}

/** Reads tor's `hostname` file until it is there and holds an onion name. */
function watchNameFile(path: string, relay: Relay, log: Log): NodeJS.Timeout {
  const read = (): boolean => {
    let name: string
    try {
      name = readFileSync(path, 'latin1').trim()
    } catch {
      return false
    }
    if (!isOnionName(name)) return false
    relay.addName(name)
    log.event('name-known', {})
    return true
  }
  const timer = setInterval(() => {
    if (read()) clearInterval(timer)
  }, NAME_FILE_MS)
  timer.unref()
  if (read()) clearInterval(timer)
  return timer
}
