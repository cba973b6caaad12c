/**
 * The relay with its doors and the operator's listener: the only file that names every part.
 */
import { createSecretKey } from 'node:crypto'
import { lstatSync, readFileSync } from 'node:fs'
import type { Server, Socket } from 'node:net'
import { dirname } from 'node:path'
import { parsePublicKey } from '../auth/ssh-key.ts'
import type { Config } from '../config/config.ts'
import { ConfigError, type Problem } from '../config/problem.ts'
import { type Address, isOnionName } from '../config/value.ts'
import { PSK_BYTES } from '../handover/noise.ts'
import { listenForSuccessor, type Predecessor } from '../handover/predecessor.ts'
import { findPredecessor, HandoverError, type HandoverProblem, type Succession } from '../handover/successor.ts'
import type { Log } from '../log.ts'
import { type Operator, startOperator } from '../operator/http.ts'
import { followProbe, probe, type Report, startProbe } from '../operator/probe.ts'
import { readTorState } from '../tor/control.ts'
import { startWatch } from '../operator/watch.ts'
import type { Door } from '../relay/counters.ts'
import { Relay, type RelaySecrets } from '../relay/relay.ts'
import { readProxyHeader } from '../transport/proxy-header.ts'
import { createSocketServer, listen, ListenError, serveSocket } from '../transport/socket.ts'
import { createPublicServer } from '../transport/websocket.ts'

/** tor writes its `hostname` file moments after its start; a look at it takes some 20 microseconds. */
const NAME_FILE_MS = 500
/** The longest report of another program that tries whether the relay can be reached. */
const REPORT_BYTES = 128
/** For pages and connections that are told that there is no room. */
const SPARE_SOCKETS = 256
/** For an address of a process that ends, or that handed it over, to become free. */
const FREE_MS = 10_000
const TRY_AGAIN_MS = 20

export interface RunningServer {
  readonly listening: readonly { readonly door: Door | 'operator'; readonly address: Address }[]
  /** Resolves when another relay has taken everything over, and this one has only to close. */
  readonly handedOver?: Promise<void>
  /** Reads the file of admitted keys again; keeps the list in force where it cannot be read. */
  reload(): void
  /** Says goodbye to every connection, overwrites every message and closes every listener. */
  close(): Promise<void>
}

/**
 * Where a relay listens at `config.handover`, takes over what it holds, and serves when that one does no longer.
 * @param signal ends a takeover that is under way; the other relay goes on then
 * @throws ConfigError for an address that cannot be had, a file that cannot be read, or what cannot be taken over
 */
export async function startServer(
  config: Config,
  log: Log,
  version: string,
  signal: AbortSignal = new AbortController().signal,
): Promise<RunningServer> {
  const admit = config.admit === undefined ? undefined : readAdmitted(config.admit)
  const handover = config.handover === undefined ? undefined : { address: config.handover, psk: readHandoverSecret(config) }
  const succession = handover && (await findPredecessor({ ...handover, memory: config.memory, signal }).catch(rethrow))
  const relay = new Relay({
    ...config,
    admit,
    inherited: succession && inheritSecrets(succession),
    onFault: () => log.event('internal-error', { origin: 'connection' }),
  })
  const doors: { readonly server: Server; readonly address: Address }[] = []
  let operator: Operator | undefined
  let predecessor: Predecessor | undefined
  let closing = false
  const isOver = (): boolean => closing || signal.aborted
  const listening: { door: Door | 'operator'; address: Address }[] = []
  const closers: (() => Promise<void>)[] = []
  const sockets = new Set<Socket>()
  let kept = false
  const onKept = (): void => {
    if (!kept) log.event('unsafe', { check: 'read-buffer' })
    kept = true
  }
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
    }, onKept)
    // Sockets that said no packet yet are not counted by the relay: the system's limit is not theirs to use up.
    server.maxConnections = config.connections + SPARE_SOCKETS
    const taken = await listenAt(server, address).catch((error: unknown) => Promise.reject(asConfigError(door, error)))
    took(door, taken)
    doors.push({ server, address: taken })
    closers.push(() => new Promise((resolve) => server.close(() => resolve())))
  }
  /** Where a relay was before, its addresses may become free a moment later. */
  const listenAt = (server: Server, address: Address): Promise<Address> =>
    persist(() => listen(server, address), succession === undefined ? 0 : FREE_MS, isOver)
  const close = async (): Promise<void> => {
    closing = true
    succession?.abandon()
    await predecessor?.close()
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
    if (succession !== undefined) await takeOver(succession, relay, log)
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
    const probing = startProbing(config, relay, log)
    closers.push(async () => probing?.stop())
    const startedAt = Date.now()
    const openOperator = async (address: Address): Promise<Operator> =>
      startOperator(address, {
        snapshot: () => relay.snapshot(),
        startedAt,
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
      })
    if (config.operator !== undefined) {
      const { operator: address } = config
      const opened = await persist(() => openOperator(address), succession === undefined ? 0 : FREE_MS, isOver).catch((error: unknown) =>
        Promise.reject(asConfigError('operator', error)),
      )
      operator = opened
      took('operator', opened.address)
      closers.push(async () => operator?.close())
    }
    if (succession !== undefined) {
      if (signal.aborted) throw new HandoverError('interrupted')
      await succession.opened()
      relay.resume()
    }
    if (handover !== undefined) {
      const handing = {
        bytes: () => relay.snapshot().messageBytes,
        suspend: () => relay.suspend(),
        resume: () => relay.resume(),
        async release() {
          for (const { server } of doors) server.close()
          await operator?.close()
        },
        async reopen() {
          for (const { server, address } of doors)
            await persist(
              () => listen(server, address),
              Infinity,
              () => closing,
            )
          const former = operator?.address
          if (former !== undefined)
            operator = await persist(
              () => openOperator(former),
              Infinity,
              () => closing,
            )
        },
      }
      const listened = persist(() => listenForSuccessor({ ...handover, handing, log }), FREE_MS, isOver)
      predecessor = await listened.catch((error: unknown) => {
        // Who has taken over holds the only copy by now, and goes on.
        if (succession === undefined) throw asConfigError('handover', error)
        log.event('handover-off')
        return undefined
      })
    }
    const pressure = startWatch({ snapshot: () => relay.snapshot(), connections: config.connections, ...tor }, log)
    closers.push(async () => pressure.stop())
  } catch (error) {
    await close()
    throw asConfigError('handover', error)
  }
  return {
    listening,
    ...(predecessor === undefined ? {} : { handedOver: predecessor.handedOver }),
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

/** Tries again while the address is in use. */
async function persist<T>(attempt: () => Promise<T>, ms: number, isOver: () => boolean): Promise<T> {
  const until = performance.now() + ms
  for (;;) {
    try {
      return await attempt()
    } catch (error) {
      const inUse = error instanceof ListenError && error.code === 'EADDRINUSE'
      if (!inUse || isOver() || performance.now() >= until) throw error
      await new Promise((resolve) => setTimeout(resolve, TRY_AGAIN_MS))
    }
  }
}

async function takeOver(succession: Succession, relay: Relay, log: Log): Promise<void> {
  log.event('taking-over')
  const percent = await succession.fill(
    (message) => relay.restore(message),
    (spent) => relay.spend(spent),
  )
  if (percent === 100) log.event('taken-over')
  else log.event('taken-over-partly', { percent })
}

function inheritSecrets({ secrets }: Succession): RelaySecrets {
  const inherited = { boot: createSecretKey(secrets.boot), token: createSecretKey(secrets.token) }
  for (const secret of [secrets.boot, secrets.token]) secret.fill(0)
  return inherited
}

function rethrow(error: unknown): never {
  throw asConfigError('handover', error)
}

function asConfigError(key: string, error: unknown): unknown {
  if (error instanceof HandoverError) return new ConfigError([HANDOVER_PROBLEMS[error.problem]])
  return error instanceof ListenError ? new ConfigError([describeListen(key, error)]) : error
}

const HANDOVER_PROBLEMS: Readonly<Record<HandoverProblem, Problem>> = {
  busy: { key: 'handover', problem: 'another relay is taking over already', hint: 'one of the two is enough' },
  memory: {
    key: 'memory',
    problem: 'is less than the running relay holds',
    hint: 'give it as much as the running relay has; that one goes on',
  },
  version: {
    key: 'handover',
    problem: 'the running relay hands over in another way',
    hint: 'it goes on; stop it first, which loses what it holds, or upgrade by a version between',
  },
  proof: {
    key: 'handover',
    problem: 'what listens there does not take our proof',
    hint: 'give both relays the same --handover-secret, or none; is it a relay?',
  },
  broken: { key: 'handover', problem: 'the running relay broke it off', hint: 'it goes on as before; its log says why. try again' },
  interrupted: { key: 'handover', problem: 'interrupted', hint: 'the running relay goes on as before' },
  unreachable: { key: 'handover', problem: 'its socket cannot be connected to', hint: 'run both relays as the same user' },
}

/** 32 bytes; zeros where there is no file, with which the socket's folder alone says who may take over. */
function readHandoverSecret({ handover, handoverSecret }: Config): Uint8Array {
  if (handover !== undefined) checkFolder(handover.path)
  if (handoverSecret === undefined) return Buffer.alloc(PSK_BYTES)
  let text: string
  try {
    text = readFileSync(handoverSecret, 'latin1').trim()
  } catch {
    throw new ConfigError([
      { key: 'handover-secret', problem: 'the file cannot be read', hint: 'check that it is there and may be read by this user' },
    ])
  }
  const secret = Buffer.from(text, 'base64')
  if (secret.length === PSK_BYTES && secret.toString('base64') === text) return secret
  throw new ConfigError([
    { key: 'handover-secret', problem: 'the file does not hold 32 bytes in base64', hint: 'make it: head -c 32 /dev/urandom | base64' },
  ])
}

/** Who may write to the folder may put another socket there. */
function checkFolder(path: string): void {
  const folder = lstatSync(dirname(path), { throwIfNoEntry: false })
  if (folder?.isDirectory() !== true) {
    throw new ConfigError([{ key: 'handover', problem: 'its folder is not there', hint: 'make the folder first' }])
  }
  const own = folder.uid === process.geteuid?.() || folder.uid === 0
  if (own && (folder.mode & 0o022) === 0) return
  throw new ConfigError([
    { key: 'handover', problem: 'others may write to its folder', hint: 'give it a folder of the relay’s user, mode 0700' },
  ])
}

function describeListen(key: string, { code, address }: ListenError): Problem {
  const where = address.kind === 'tcp' ? `${address.host}:${address.port}` : address.path
  switch (code) {
    case 'EADDRINUSE':
      return { key, problem: `${where} is in use`, hint: `another relay runs already? choose another with --${key}, or \`--${key} off\`` }
    case 'NOT_LOCAL':
      return {
        key,
        problem: `${where} is not local`,
        hint: 'the relay listens on loopback or a unix socket only, behind the onion service',
      }
    case 'EEXIST':
      return { key, problem: `${where} is there and is not a socket`, hint: 'choose another path' }
    case 'EACCES':
      if (address.kind === 'tcp') return { key, problem: `${where}: permission denied`, hint: 'choose a port from 1024 up' }
      // libuv says so of a folder that is not there, too.
      return {
        key,
        problem: `${where}: its folder is not there, or not writable`,
        hint: 'make the folder first, and let this user write to it',
      }
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
      problems.push({
        key: 'admit',
        problem: `line ${index + 1} is not a key that can log in`,
        hint: 'give `type base64`, without options',
      })
    }
  }
  if (problems.length > 0) throw new ConfigError(problems)
  return keys
}

/** How it is known whether the relay can be reached; undefined where nobody tries. */
function startProbing(
  { probe: socks, probeFile, probeSeconds }: Config,
  relay: Relay,
  log: Log,
): ReturnType<typeof startProbe> | undefined {
  if (probeFile !== undefined) return followProbe({ read: () => readReport(probeFile), everySeconds: probeSeconds }, log)
  if (socks === undefined) return undefined
  return startProbe(
    {
      // Those that are left come last: people are told to use the other.
      name: () => relay.snapshot().names.find((name) => name.endsWith('.onion')),
      probe: (name, signal) => probe(name, socks, signal),
      everySeconds: probeSeconds,
      random: Math.random,
    },
    log,
  )
}

function readReport(path: string): Report | undefined {
  try {
    const { mtimeMs, size } = lstatSync(path)
    return size > REPORT_BYTES ? undefined : { text: readFileSync(path, 'latin1'), ageSeconds: (Date.now() - mtimeMs) / 1_000 }
  } catch {
    return undefined
  }
}

/**
 * Follows the file of the onion service's name: it may come late, a tor whose keys are gone with it comes back by another
 * name, and a relay that moves has the name that it is leaving on a line of its own. `asfaleia start` says `localhost`
 * there while Tor has no network.
 */
function watchNameFile(path: string, relay: Relay, log: Log): NodeJS.Timeout {
  let known: string | undefined
  let text: string | undefined
  const read = (): void => {
    let now: string
    try {
      now = readFileSync(path, 'latin1').trim()
    } catch {
      return
    }
    if (now === text) return
    text = now
    const [name = '', ...left] = now.split('\n')
    if (!(isOnionName(name) || name === 'localhost') || !left.every((each) => isOnionName(each) && each !== name)) return
    relay.addName(name, known, left)
    known = name
    log.event('name-known', {})
  }
  const timer = setInterval(read, NAME_FILE_MS)
  timer.unref()
  read()
  return timer
}
