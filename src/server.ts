/**
 * The relay with its doors and the operator's listener: the only file that names every part.
 */
import { readFileSync } from 'node:fs'
import type { Socket } from 'node:net'
import { parsePublicKey } from './auth/ssh-key.ts'
import { type Address, type Config, ConfigError, isOnionName, type Problem } from './config.ts'
import type { Log } from './log.ts'
import { startOperator } from './operator/http.ts'
import { probe, startProbe } from './operator/probe.ts'
import { readTorState } from './operator/tor-control.ts'
import { startWatch } from './operator/watch.ts'
import type { Door } from './relay/counters.ts'
import { Relay } from './relay/relay.ts'
import { readProxyHeader } from './transport/proxy-header.ts'
import { createSocketServer, listen, ListenError, serveSocket } from './transport/socket.ts'
import { createPublicServer } from './transport/websocket.ts'

/** tor writes its `hostname` file moments after its start; a look at it takes some 20 microseconds. */
const NAME_FILE_MS = 500
/** For pages and connections that are told that there is no room. */
const SPARE_SOCKETS = 256

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
  const sockets = new Set<Socket>()
  /** Opens a door whose sockets are handed on with the circuit they came by. */
  const openDoor = async (door: Door, onSocket: (socket: Socket, circuit: string | undefined) => void): Promise<void> => {
    const address = config[door]
    if (address === undefined) return
    const server = createSocketServer((socket) => {
      sockets.add(socket)
      socket.on('close', () => sockets.delete(socket))
      if (!config.proxy.includes(door)) return onSocket(socket, undefined)
      readProxyHeader(
        socket,
        (circuit) => onSocket(socket, circuit),
        () => relay.counters.turnedAway['proxy-header']++,
      )
    })
    // Sockets that said no packet yet are not counted by the relay: the system's limit is not theirs to use up.
    server.maxConnections = config.connections + SPARE_SOCKETS
    took(door, await listen(server, address).catch((error: unknown) => Promise.reject(asConfigError(door, error))))
    closers.push(() => new Promise((resolve) => server.close(() => resolve())))
  }
  const close = async (): Promise<void> => {
    clearInterval(watch)
    const closed = Promise.all(closers.map((each) => each()))
    await relay.close()
    // What spoke no packet, or did not end though the relay has.
    for (const socket of sockets) socket.destroy()
    await closed
  }
  const { torControl } = config
  const tor = torControl === undefined ? {} : { tor: () => readTorState(torControl) }
  const took = (door: Door | 'operator', address: Address): void => {
    listening.push({ door, address })
    log.event('listening', address.kind === 'tcp' ? { door, port: address.port } : { door })
  }
  const watch = config.nameFile === undefined ? undefined : watchNameFile(config.nameFile, relay, log)
  try {
    for (const door of ['tcp', 'unix'] as const) {
      await openDoor(door, (socket, circuit) => serveSocket(socket, circuit, (stream) => relay.accept(stream, door)))
    }
    if (config.http !== undefined) {
      const circuits = new WeakMap<Socket, string>()
      const page = await createPublicServer({
        maxMessage: config.limits.payload + config.limits.lineOverhead,
        circuitOf: (socket) => circuits.get(socket),
        accept: (stream) => relay.accept(stream, 'http'),
      })
      closers.push(() => page.close())
      // Node's HTTP server is handed its sockets, so that a PROXY line can be read off them first.
      await openDoor('http', (socket, circuit) => {
        if (circuit !== undefined) circuits.set(socket, circuit)
        page.http.emit('connection', socket)
      })
    }
    const { probe: socks } = config
    const probing = socks === undefined ? undefined : startProbe({
      // Not a name that is left: people are told to use the other.
      name: () => relay.snapshot().names.find((name) => name.endsWith('.onion') && !config.movedFrom.includes(name)),
      probe: (name, signal) => probe(name, socks, signal),
      everySeconds: config.probeSeconds,
      random: Math.random,
    }, log)
    closers.push(async () => probing?.stop())
    if (config.operator !== undefined) {
      const operator = await startOperator(config.operator, {
        snapshot: () => relay.snapshot(),
        startedAt: Date.now(),
        version,
        ...tor,
        ...(probing === undefined ? {} : { probe: probing.state }),
        panic() {
          relay.wipe()
          // Those that the relay does not know of: they spoke no packet yet.
          for (const socket of sockets) socket.destroy()
          log.event('wiped')
        },
        onFault: () => log.event('internal-error', { origin: 'operator' }),
      }).catch((error: unknown) => Promise.reject(asConfigError('operator', error)))
      took('operator', operator.address)
      closers.push(() => operator.close())
    }
    const pressure = startWatch({ snapshot: () => relay.snapshot(), connections: config.connections, ...tor }, log)
    closers.push(async () => pressure.stop())
  } catch (error) {
    await close()
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
    close,
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
      if (address.kind === 'tcp') return { key, problem: `${where}: permission denied`, hint: 'choose a port from 1024 up' }
      // libuv says so of a folder that is not there, too.
      return { key, problem: `${where}: its folder is not there, or not writable`, hint: 'make the folder first, and let this user write to it' }
    case 'ENOENT':
      return { key, problem: `${where}: its folder is not there`, hint: 'make the folder first' }
    default:
      return { key, problem: `${where} cannot be listened on (${code})`, hint: `choose another with --${key}` }
  }
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

/** Follows tor's `hostname` file: it may come late, and a tor whose keys are gone with it comes back by another name. */
function watchNameFile(path: string, relay: Relay, log: Log): NodeJS.Timeout {
  let known: string | undefined
  const read = (): void => {
    let name: string
    try {
      name = readFileSync(path, 'latin1').trim()
    } catch {
      return
    }
    if (name === known || !isOnionName(name)) return
    relay.addName(name, known)
    known = name
    log.event('name-known', {})
  }
  const timer = setInterval(read, NAME_FILE_MS)
  timer.unref()
  read()
  return timer
}
