/**
 * `asfaleia start`: a relay for people who have none yet. It runs the relay and, where there is a tor
 * program, a tor with an onion service in front of it, shows how far Tor is, and prints the address and
 * what to type next. Only this process starts children; the relay never does. It ends what it started and
 * keeps nothing but Tor's own state: the service's keys, in a folder of mode 0700.
 */
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { chmod, mkdir, mkdtemp, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { extname, join, resolve } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as delay } from 'node:timers/promises'
import { openCommandLine } from '../arguments.ts'
import { drawCode } from '../qr.ts'
import { CliError, EXIT, type Io, sanitizeLine, TIED } from '../terminal.ts'
import { publication, quoted, startTor, TorError } from '../tor.ts'

const USAGE = 'asfaleia start [--tcp ADDR] [--operator ADDR] [--state FOLDER] [--no-tor]'

const HELP = `usage: ${USAGE}

Runs a relay and, where the tor program is installed, an onion service in front of it.

  --tcp ADDR       the relay's door for this machine (127.0.0.1:3308, or a free port if that is taken)
  --operator ADDR  the operator's pages (127.0.0.1:9090, or a free port if that is taken)
  --state FOLDER   Tor's own state and the onion service's keys, nothing of the relay's
                   (ASFALEIA_STATE, or state/tor below the current folder)
  --no-tor         on this machine only
  -h, --help       this text

For tests, ASFALEIA_TORRC_EXTRA names a file whose lines are added to Tor's configuration.
`

const OPTIONS = {
  tcp: { type: 'string' },
  operator: { type: 'string' },
  state: { type: 'string' },
  'no-tor': { type: 'boolean' },
} as const

/** The ports of the onion service: the raw door's, and a web browser's. */
const ONION_PORT = 3308
const ONION_HTTP_PORT = 80
/** Tor without a step forward for so long most likely has no network. */
const PATIENCE_MS = 30_000
/** Uploads of the descriptor that will do: a client asks several of the eight and more directories. */
const ENOUGH_UPLOADS = 6
/** The longest wait before a tor that ended is started again. */
const BACKOFF_MAX_MS = 60_000

interface Service {
  /** Whether this tor can ask clients for a proof of work when it is under load. */
  readonly pow: boolean
  /** Tor's data and the service's keys; outlives us. */
  readonly state: string
  /** Tor's configuration and control socket; removed at the end. */
  readonly tor: string
  /** The relay's doors that only tor can reach. */
  readonly raw: string
  readonly http: string
  /** Tor's file of the service's name. */
  readonly hostname: string
  /** Ours, by which the relay goes: `localhost` while Tor has no network, then the service's name and no other. */
  readonly nameFile: string
}

/** @throws UsageError, or CliError if the relay cannot run; ends with 0 on SIGINT and SIGTERM. */
export async function run(argv: string[], io: Io): Promise<number> {
  const given = openCommandLine(argv, io, { usage: USAGE, help: HELP, options: OPTIONS, words: 0 })
  if (given === undefined) return EXIT.ok
  const { values: options } = given
  // Short, since the paths of unix sockets end at 107 bytes; mkdtemp makes it ours alone.
  const runtime = await mkdtemp(join(io.env['XDG_RUNTIME_DIR'] ?? tmpdir(), 'asfaleia-'))
  const state = resolve(options.state ?? io.env['ASFALEIA_STATE'] ?? join('state', 'tor'))
  const paths = {
    state,
    tor: join(runtime, 'tor'),
    raw: join(runtime, 'raw'),
    http: join(runtime, 'http'),
    hostname: join(state, 'onion', 'hostname'),
    nameFile: join(runtime, 'name'),
  }
  const { tcp = await freeAddress(3308), operator = await freeAddress(9090) } = options
  const doors = ['--tcp', tcp, '--operator', operator]
  const screen = createScreen(io)
  try {
    if (options['no-tor'] === true) return await serveLocally(doors, io, screen)
    const modules = torModules(io)
    if (modules !== undefined) return await serveOnion(doors, { ...paths, pow: modules.includes('pow: yes') }, io, screen)
    screen.say('there is no tor program here: the relay cannot be reached from elsewhere')
    screen.say('hint: install Tor (on Debian: apt-get install tor) and start again')
    return await serveLocally(doors, io, screen)
  } finally {
    await rm(runtime, { recursive: true, force: true })
  }
}

async function serveLocally(doors: readonly string[], io: Io, screen: Screen): Promise<number> {
  const relay = startRelay([...doors, '--unix', 'off', '--http', await freeAddress(8080), '--name', 'localhost'], io, screen)
  try {
    const tcp = await Promise.race([relay.ready, aborted(io.signal)])
    if (tcp !== undefined) {
      screen.say('the relay runs, on this machine only; Ctrl-C stops it')
      if (tcp !== '') io.stdout.write(nextCommands(io, localName(tcp)))
      await Promise.race([relay.ended, aborted(io.signal)])
    }
    return EXIT.ok
  } finally {
    await relay.stop()
  }
}

async function serveOnion(doors: readonly string[], service: Service, io: Io, screen: Screen): Promise<number> {
  // Doors that only tor is to reach. It names the circuit of each connection, for the relay's budgets.
  const onionDoors = ['--unix', service.raw, '--http', `unix:${service.http}`, '--proxy', 'unix,http']
  const control = `unix:${join(service.tor, 'control')}`
  const args = [...doors, ...onionDoors, '--name-file', service.nameFile, '--tor-control', control]
  const stopping = new AbortController()
  const over = AbortSignal.any([io.signal, stopping.signal])
  const relay = startRelay(args, io, screen)
  // Rejects when a relay ends that was not told to.
  const failed = Promise.withResolvers<never>()
  relay.ended.catch(failed.reject)
  const torOver = (async () => {
    await Promise.race([relay.ready, aborted(over)])
    if (over.aborted) return
    screen.say('the relay runs; Tor is starting, which can take a minute; Ctrl-C stops both')
    await keepTor(service, io, screen, over, {
      async onReachable(name, socks) {
        await tellName(service, name)
        screen.say('the onion service can be reached')
        io.stdout.write(`\n${name}\n\n${await drawCode(name, io)}\n${nextCommands(io, `${name}:${ONION_PORT}`, socks)}`)
      },
      async onNoNetwork() {
        screen.say('Tor does not get on: is there a network, and does it let Tor through? It keeps trying')
        // `localhost` is no name of a relay that others can reach: whoever can listen on a client's machine could use it
        // to pass our challenges on. So it is given only now, and taken away as soon as the service is known.
        await tellName(service, 'localhost')
        const tcp = await relay.ready
        screen.say('until it does, the relay runs on this machine only, by the name localhost')
        if (tcp !== '') io.stdout.write(nextCommands(io, localName(tcp)))
      },
    })
  })()
  try {
    await Promise.race([torOver, failed.promise, aborted(io.signal)])
    return EXIT.ok
  } finally {
    stopping.abort()
    await torOver.catch(() => {})
    await relay.stop()
  }
}

interface Relay {
  /** The address of its TCP door, '' without one, once its doors are open. Rejects as `ended` does. */
  readonly ready: Promise<string>
  /** Resolves when it was stopped by us, rejects with a CliError when it ended by itself. */
  readonly ended: Promise<void>
  /** Ends it and waits; what is not heeded for 10 s is a kill. */
  stop(): Promise<void>
}

/** The relay as a process of its own. It says what is wrong by itself; its standard error is passed on. */
function startRelay(args: readonly string[], io: Io, screen: Screen): Relay {
  const main = join(import.meta.dirname, `../main${extname(import.meta.filename)}`)
  // Its log goes through us, so it cannot see that a person reads it; what goes well we say ourselves.
  const { isTTY } = io.stderr
  const forPerson = isTTY === true && io.env['ASFALEIA_LOG_LEVEL'] === undefined && io.env['ASFALEIA_LOG_FORMAT'] === undefined
  const log = forPerson ? ['--log-level', 'warn', '--log-format', 'pretty'] : []
  const child = spawn(process.execPath, [main, 'relay', ...args, ...log], {
    // A process group of its own: Ctrl-C in a terminal reaches us, and we end the children in order.
    detached: true,
    // Its standard input carries nothing. It ends when we die, whatever of, and the relay with it. (A channel of
    // Node's would not outlive the relay's replacing itself, src/cli/confinement.ts.)
    env: { ...io.env, [TIED]: '1' },
    stdio: ['pipe', 'pipe', 'pipe'],
  })
  let stopping = false
  const killAtExit = (): void => {
    child.kill('SIGKILL')
  }
  process.once('exit', killAtExit)
  const gone = once(child, 'exit').finally(() => process.off('exit', killAtExit))
  const ended = gone.then(([code, signal]) => {
    if (!stopping) throw new CliError(`the relay ended (${signal ?? `exit code ${code}`}), so everything is stopped`)
  })
  const doors = createInterface({ input: child.stdout })
  const ready = new Promise<string>((answer) => {
    let tcp = ''
    doors.on('line', (line) => {
      if (line.startsWith('tcp ')) tcp = line.slice('tcp '.length)
      if (line === 'ready') answer(tcp)
    })
  })
  createInterface({ input: child.stderr }).on('line', (line) => screen.pass(line))
  ended.catch(() => {})
  return {
    ready: Promise.race([ready, ended.then(() => ready)]),
    ended,
    async stop() {
      stopping = true
      const timer = setTimeout(killAtExit, 10_000)
      child.kill('SIGTERM')
      await gone.finally(() => clearTimeout(timer))
    },
  }
}

/** Has the relay go by the name, and by no other: it reads the file again and again. */
async function tellName({ nameFile }: Service, name: string): Promise<void> {
  await writeFile(`${nameFile}.new`, `${name}\n`, { mode: 0o600 })
  await rename(`${nameFile}.new`, nameFile)
}

interface TorListener {
  /** The service can be found. `socks` is the SOCKS port of this tor, for clients on this machine. */
  onReachable(name: string, socks: string): Promise<void>
  /** Called once, when Tor made no step forward for a while before the service could be found. */
  onNoNetwork(): Promise<void>
}

/** Runs tor until `over`, and again whenever it ends. */
async function keepTor(service: Service, io: Io, screen: Screen, over: AbortSignal, listener: TorListener): Promise<void> {
  try {
    await mkdir(service.state, { recursive: true, mode: 0o700 })
    await chmod(service.state, 0o700)
  } catch {
    throw new CliError('the state folder cannot be made', { hint: 'name another one with --state' })
  }
  const extra = io.env['ASFALEIA_TORRC_EXTRA']
  const torrc = [...onionTorrc(service, await freeAddress(3309)), ...(extra === undefined ? [] : [await readExtra(extra)])]

  let reached = false
  let noNetwork: Promise<void> | undefined
  const patience = setTimeout(() => {
    // What can go wrong in it is the relay's end, which its own watcher reports.
    noNetwork = listener.onNoNetwork().catch(() => {})
  }, PATIENCE_MS)
  let wait = 1_000
  const runOnce = async (): Promise<string> => {
    const { done, onEvent } = publication(ENOUGH_UPLOADS)
    let progress = ''
    const tor = await startTor({
      folder: service.tor,
      data: join(service.state, 'data'),
      torrc,
      events: ['STATUS_CLIENT', 'HS_DESC'],
      onEvent: (event) => {
        onEvent(event)
        const [, percent, summary = ''] = / BOOTSTRAP PROGRESS=(\d+) .*?SUMMARY="([^"]*)"/.exec(event) ?? []
        if (reached || percent === undefined || percent === progress) return
        progress = percent
        if (noNetwork === undefined) patience.refresh()
        const what = percent === '100' ? 'making the onion service known' : sanitizeLine(summary).toLowerCase()
        screen.progress(`Tor ${percent}%: ${what}`)
      },
      signal: over,
    })
    try {
      const how = await Promise.race([done.then(() => 'reachable'), tor.exited.then(() => 'ended'), aborted(over)])
      if (how === 'reachable') {
        wait = 1_000
        clearTimeout(patience)
        // What it says of a name must not come after what is said now.
        await noNetwork
        const name = (await readFile(service.hostname, 'utf8')).trim()
        const listeners = (await tor.control.ask('GETINFO net/listeners/socks')).join(' ')
        if (!reached) await listener.onReachable(name, /"([^"]+)"/.exec(listeners)?.[1] ?? '')
        else screen.say('Tor is back, and the onion service with it')
        reached = true
      }
      await Promise.race([tor.exited, aborted(over)])
      return 'Tor ended'
    } finally {
      await tor.stop()
    }
  }
  try {
    while (!over.aborted) {
      const why = await runOnce().catch((error: unknown) => {
        if (error instanceof TorError) return explain(error)
        if (over.aborted) return ''
        throw error
      })
      if (over.aborted) break
      screen.say(`error: ${sanitizeLine(why)}; the relay runs on, and tor is started again in ${wait / 1_000} s`)
      await delay(wait, undefined, { signal: over }).catch(() => {})
      wait = Math.min(2 * wait, BACKOFF_MAX_MS)
    }
  } finally {
    clearTimeout(patience)
    await noNetwork
  }
}

/** Tor gives the reason as a warning, and ends with an error that points at it. */
function explain({ message, said }: TorError): string {
  const reason = said.findLast((line) => line.startsWith('[warn]')) ?? said.at(-1)
  return reason === undefined ? message : `${message}: ${reason.replace(/^\[\w+\] /, '')}`
}

/** What torrc.example says at length. */
function onionTorrc({ state, raw, http, pow }: Service, socks: string): string[] {
  return [
    `SocksPort ${socks === FREE ? '127.0.0.1:auto' : socks}`,
    'AvoidDiskWrites 1',
    `HiddenServiceDir ${quoted(join(state, 'onion'))}`,
    `HiddenServicePort ${ONION_PORT} unix:${quoted(raw)}`,
    `HiddenServicePort ${ONION_HTTP_PORT} unix:${quoted(http)}`,
    'HiddenServiceExportCircuitID haproxy',
    'HiddenServiceEnableIntroDoSDefense 1',
    'HiddenServiceMaxStreams 64',
    'HiddenServiceMaxStreamsCloseCircuit 1',
    ...(pow ? ['HiddenServicePoWDefensesEnabled 1'] : []),
  ]
}

async function readExtra(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8')
  } catch {
    throw new CliError('the file that ASFALEIA_TORRC_EXTRA names cannot be read')
  }
}

/** What the tor program was built with, or undefined where there is none. */
function torModules(io: Io): string | undefined {
  const path = io.env['PATH']
  const env = path === undefined ? {} : { PATH: path }
  const { status, stdout } = spawnSync('tor', ['--list-modules'], { stdio: ['ignore', 'pipe', 'ignore'], env })
  return status === 0 ? String(stdout) : undefined
}

const FREE = '127.0.0.1:0'

/** The port of that number on loopback, or `127.0.0.1:0` if somebody has it. */
async function freeAddress(port: number): Promise<string> {
  const server = createServer()
  const free = await new Promise<boolean>((answer) => {
    server.once('error', () => answer(false))
    server.listen(port, '127.0.0.1', () => answer(true))
  })
  if (!free) return FREE
  server.close()
  await once(server, 'close')
  return `127.0.0.1:${port}`
}

async function aborted(signal: AbortSignal): Promise<undefined> {
  if (!signal.aborted) await once(signal, 'abort')
}

/** Clients take 127.0.0.1 for the name `localhost`; this spells out what stands in the challenge. */
function localName(tcp: string): string {
  return `localhost:${tcp.split(':').at(-1)}`
}

function nextCommands(io: Io, relay: string, socks?: string): string {
  // `npm start` runs in the checkout, where npx finds our program and its Node.
  const program = io.env['npm_lifecycle_event'] === undefined ? 'asfaleia' : 'npx asfaleia'
  const where = `--relay ${relay}${socks === undefined || socks === '127.0.0.1:9050' ? '' : ` --socks ${socks}`}`
  const key = 'my-key'
  return [
    'next, in another terminal, a message to yourself:',
    '',
    ...(existsSync(`${key}.pub`) ? [] : [`  ${program} key --out ${key}`]),
    `  ${program} send ${where} --key ${key} ${key}.pub 'hello'`,
    `  ${program} get ${where} --key ${key}`,
    '',
    '',
  ].join('\n')
}

interface Screen {
  /** A line for the person. */
  say(line: string): void
  /** A line as a child wrote it. */
  pass(line: string): void
  /** On a terminal, one line that is written over by the next. */
  progress(line: string): void
}

function createScreen({ stderr }: Io): Screen {
  let open = false
  const write = (line: string): void => {
    stderr.write(`${open ? '\r\u001b[K' : ''}${line}\n`)
    open = false
  }
  return {
    say: (line) => write(`asfaleia: ${line}`),
    pass: write,
    progress(line) {
      if (!stderr.isTTY) return write(`asfaleia: ${line}`)
      stderr.write(`\r\u001b[Kasfaleia: ${line}`)
      open = true
    },
  }
}
