/**
 * The measured servers, each on a free loopback port and on the first core, started and stopped by pid. Reports
 * a server's CPU and memory as the kernel counts them. Sends no load.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { findProgram } from './program.ts'

export const SERVERS = ['relay', 'floor', 'mosquitto', 'redis', 'nats', 'aedes', 'prosody'] as const
export type ServerName = (typeof SERVERS)[number]

/**
 * The cores of the server and of the load: the first two that this process may use. If there is only one, both
 * share it, and only CPU times are meaningful.
 */
export const [SERVER_CORE, LOAD_CORE] = findCores()

function findCores(): [string, string] {
  const [, list = '0'] = /^Cpus_allowed_list:\s*(\S+)$/m.exec(readFileSync('/proc/self/status', 'latin1')) ?? []
  const cores = list.split(',').flatMap((range) => {
    const [first = 0, last = first] = range.split('-').map(Number)
    return Array.from({ length: last - first + 1 }, (_, n) => `${first + n}`)
  })
  return [cores[0]!, cores[1] ?? cores[0]!]
}

const START_MS = 30_000

export interface Server {
  readonly name: ServerName
  readonly pid: number
  readonly port: number
  /** The relay's other listeners. */
  readonly httpPort: number
  readonly operatorPort: number
  /** From the launch until the server accepted connections. */
  readonly startSeconds: number
  /** The server's own folder, which is removed with it. */
  readonly folder: string
  /** The server's standard output so far. */
  said(): string
  cpuSeconds(): number
  /** Resident memory, bytes. */
  memory(): number
  stop(): Promise<void>
}

export interface RelayOptions {
  /** Flags of `asfaleia relay`. */
  readonly flags?: readonly string[]
  /** Flags of node itself. */
  readonly node?: readonly string[]
}

/** Returns why a server cannot be started here, or undefined. */
export function missingServer(name: ServerName): string | undefined {
  const program = PROGRAMS[name]
  if (program === undefined || findProgram(program) !== undefined) return undefined
  return `${program} is not installed`
}

const PROGRAMS: Record<ServerName, string | undefined> = {
  relay: undefined,
  floor: 'cc',
  mosquitto: 'mosquitto',
  redis: 'redis-server',
  nats: 'nats-server',
  aedes: undefined,
  prosody: 'prosody',
}

const RELAY_FLAGS = [
  '--tcp',
  '127.0.0.1:0',
  '--http',
  '127.0.0.1:0',
  '--operator',
  '127.0.0.1:0',
  '--name',
  'localhost',
  '--log-level',
  'error',
  '--memory',
  '16G',
  '--per-sender',
  '32G',
  '--mailbox-messages',
  '100000',
  '--connections',
  '12000',
  '--per-key',
  '12000',
]

/** Starts a server that ends with this process at the latest. */
export async function startServer(name: ServerName, floor: string, options: RelayOptions = {}): Promise<Server> {
  const folder = mkdtempSync(join(tmpdir(), 'asfaleia-bench-'))
  const port = await freePort()
  const began = performance.now()
  const child = spawn('taskset', ['-c', SERVER_CORE, ...command(name, { port, folder, floor, options })], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, ...(name === 'prosody' ? { PROSODY_DATADIR: folder } : {}) },
  })
  const kill = (): void => void child.kill('SIGKILL')
  process.once('exit', kill)
  let said = ''
  let complained = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => (said += text))
  child.stderr.setEncoding('utf8').on('data', (text: string) => (complained = (complained + text).slice(-2_000)))
  const exited = once(child, 'close')
  const stop = async (): Promise<void> => {
    child.kill('SIGTERM')
    const late = setTimeout(kill, 10_000)
    await exited
    clearTimeout(late)
    process.off('exit', kill)
    rmSync(folder, { recursive: true, force: true })
  }
  const ready = (): Promise<unknown> => (SAYS_READY.has(name) ? Promise.resolve(/^ready$/m.test(said)) : canConnect(port))
  while (!(await ready())) {
    if (child.exitCode !== null || performance.now() - began > START_MS) {
      await stop()
      throw new Error(`${name} did not start:\n${said}\n${complained}`)
    }
    await delay(2)
  }
  const startSeconds = (performance.now() - began) / 1_000
  const portOf = (door: string): number => Number(new RegExp(`^${door} 127\\.0\\.0\\.1:(\\d+)$`, 'm').exec(said)?.[1] ?? port)
  const pid = childPid(child)
  return {
    name,
    pid,
    port: portOf('tcp'),
    httpPort: portOf('http'),
    operatorPort: portOf('operator'),
    startSeconds,
    folder,
    said: () => said,
    cpuSeconds: () => readCpu(pid),
    memory: () => readMemory(pid),
    stop,
  }
}

const SAYS_READY: ReadonlySet<ServerName> = new Set<ServerName>(['relay', 'floor', 'aedes'])

function command(
  name: ServerName,
  { port, folder, floor, options }: { port: number; folder: string; floor: string; options: RelayOptions },
): string[] {
  const here = import.meta.dirname
  switch (name) {
    case 'relay':
      return [
        process.execPath,
        ...(options.node ?? []),
        join(here, '../dist/cli/main.js'),
        'relay',
        ...RELAY_FLAGS,
        ...(options.flags ?? []),
      ]
    case 'floor':
      return [floor]
    case 'redis':
      return [
        'redis-server',
        '--bind',
        '127.0.0.1',
        '--port',
        `${port}`,
        '--save',
        '',
        '--appendonly',
        'no',
        '--dir',
        folder,
        '--maxclients',
        '12000',
      ]
    case 'mosquitto': {
      const file = join(folder, 'mosquitto.conf')
      writeFileSync(
        file,
        [
          `listener ${port} 127.0.0.1`,
          'allow_anonymous true',
          'persistence false',
          'log_type none',
          'set_tcp_nodelay true',
          'max_queued_messages 0',
          'max_queued_bytes 0',
          'max_inflight_messages 64',
          'memory_limit 0',
          '',
        ].join('\n'),
      )
      return ['mosquitto', '-c', file]
    }
    case 'nats': {
      const file = join(folder, 'nats.conf')
      writeFileSync(
        file,
        `listen: "127.0.0.1:${port}"\nmax_connections: 12000\njetstream { store_dir: "${folder}", max_memory_store: 16GB }\n`,
      )
      return ['nats-server', '-c', file]
    }
    case 'aedes':
      return [process.execPath, join(here, 'broker.ts'), `${port}`]
    case 'prosody': {
      const file = join(folder, 'prosody.cfg.lua')
      writeFileSync(
        file,
        [
          'run_as_root = true',
          `pidfile = "${folder}/prosody.pid"`,
          `data_path = "${folder}"`,
          'storage = "memory"',
          'authentication = "internal_hashed"',
          'allow_unencrypted_plain_auth = true',
          'c2s_require_encryption = false',
          'modules_enabled = { "saslauth", "offline", "smacks", "message", "register_ibr" }',
          'modules_disabled = { "s2s", "tls" }',
          'allow_registration = true',
          'unlimited_jids = {}',
          'limits = { }',
          `interfaces = { "127.0.0.1" }`,
          `c2s_ports = { ${port} }`,
          'log = { }',
          'VirtualHost "localhost"',
          '',
        ].join('\n'),
      )
      return ['prosody', '--config', file, '-F']
    }
  }
}

/** taskset becomes the program that it starts, so the child's pid is the server's. */
function childPid(child: ChildProcess): number {
  if (child.pid === undefined) throw new Error('a server has no process')
  return child.pid
}

/**
 * Returns user and system time of all threads as the scheduler counts them; /proc/PID/stat counts in steps of
 * 10 ms.
 */
function readCpu(pid: number): number {
  let nanoseconds = 0
  for (const thread of readdirSync(`/proc/${pid}/task`)) {
    nanoseconds += Number(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'latin1').split(' ')[0])
  }
  return nanoseconds / 1e9
}

function readMemory(pid: number): number {
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1]) * 1_024
}

async function freePort(): Promise<number> {
  const server = createServer()
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  server.close()
  await once(server, 'close')
  if (address === null || typeof address === 'string') throw new Error('no free port')
  return address.port
}

function canConnect(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1')
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', () => resolve(false))
  })
}
