/**
 * The relay's process made unable to keep anything: Node's permission model, nothing that loads or writes, and memory
 * that is overwritten when it is freed. Flags that Node takes only at its start, so the process replaces itself by
 * itself with them: same pid, no child. It must run before anything that matters is in memory.
 */
import { realpathSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Config } from '../../config/config.ts'
import type { Address } from '../../config/value.ts'

/** Whether this Node can replace its process: 23.11 and later, not on Windows. */
export const CONFINES = typeof process.execve === 'function'

/** Variables that make Node, or what it holds, write files. */
export const WRITING_VARIABLES: readonly string[] = [
  'NODE_V8_COVERAGE',
  'NODE_COMPILE_CACHE',
  'NODE_DEBUG',
  'NODE_DEBUG_NATIVE',
  'NODE_REDIRECT_WARNINGS',
  'NODE_REPL_EXTERNAL_MODULE',
  'SSLKEYLOGFILE',
]

/** The flags of Node that an operator may give; they are kept. */
export const HARMLESS_FLAG =
  /^--(?:(?:max-old-space-size|max-semi-space-size|max-heap-size|stack-trace-limit|disable-warning)=\S+|no-warnings|enable-fips|force-fips)$/

/** What the process may never do, whatever it is asked. */
const DENIED = ['child', 'worker', 'wasi', 'addon', 'inspector'] as const

/** V8's own: how it frees. */
export const MEMORY_FLAGS: readonly string[] = [
  // What V8's collector frees is zeroed, and soon: strings are nobody's else to overwrite.
  '--clear-free-memory',
  '--max-semi-space-size=2',
  // What lives there is little: helpers would wait for a core longer than they take.
  '--no-parallel-scavenge',
  // V8 holds its limits against what lies outside of its heap, too: slabs of messages that come would have it collect
  // all the time. The factor that it uses at most anyway (docs/decisions/0012-when-memory-is-freed.md).
  '--heap-growing-percent=300',
  // And it looks at that memory apart, every 64 MiB, unless it is told to count all as one; Node 24 has no flag for how
  // much that may grow.
  '--external-memory-accounted-in-global-limit',
  ...(Number.parseInt(process.versions.node, 10) >= 26 ? ['--external-memory-max-growing-factor=2'] : []),
]

const FLAGS: readonly string[] = [
  '--permission',
  // For listening and for tor; given up once every door is open, where nothing is to be dialled.
  '--allow-net',
  '--no-addons',
  '--no-experimental-sqlite',
  '--no-experimental-webstorage',
  // Else SIGUSR1 opens the inspector.
  '--disable-sigusr1',
  // --allow-net says that it is new, on standard error, where the log is.
  '--disable-warning=ExperimentalWarning',
  ...MEMORY_FLAGS,
]

/**
 * glibc, malloc tunables: memory is overwritten when it is freed; the per-thread cache would bypass that. Slabs of
 * messages are of the system's own, always, and so given back to it whatever lies around them.
 */
const TUNABLES = 'glibc.malloc.perturb=255:glibc.malloc.tcache_count=0:glibc.malloc.mmap_threshold=524288'

/** Whether this process is what `confine` makes. */
export function isConfined(): boolean {
  const { permission, execArgv, env } = process
  if (permission === undefined || permission.has('fs.write') || DENIED.some((scope) => permission.has(scope))) return false
  return supported(FLAGS).every((flag) => execArgv.includes(flag)) && env['GLIBC_TUNABLES']?.includes(TUNABLES) === true
}

/**
 * Replaces this process by one that is confined; returns only where that cannot be done.
 * @param files what the configuration was read from
 */
export function confine(config: Config, files: readonly string[]): void {
  const [, main = ''] = process.argv
  const { readable, writable, always } = findPaths(config, files)
  const flags = [
    ...supported(FLAGS),
    ...[...readable, ...always].map((path) => `--allow-fs-read=${path}`),
    ...writable.map((path) => `--allow-fs-write=${path}`),
    ...process.execArgv.filter((flag) => HARMLESS_FLAG.test(flag)),
  ]
  try {
    process.execve?.(process.execPath, [process.execPath, ...flags, realpathSync(main), ...process.argv.slice(2)], cleanEnvironment())
  } catch {
    // The system refused: the caller goes on, or does not.
  }
}

/** Gives up what only the start needed. What is open stays open. */
export function giveUp(config: Config, files: readonly string[]): void {
  const { permission } = process as { permission?: { drop?(scope: string, path?: string): void } }
  if (permission?.drop === undefined) return
  // A relay that may have to go on after a handover that broke off opens its doors again.
  if (config.handover === undefined) permission.drop('fs.write')
  // A grant of everything has no parts to give up.
  const { readable } = findPaths(config, files)
  if (!readable.includes('*')) for (const path of readable) permission.drop('fs.read', path)
  if (!dials(config)) permission.drop('net')
}

/** Whether the relay opens connections of its own, or listens, after its start. */
function dials({ torControl, probe, handover }: Config): boolean {
  return torControl !== undefined || probe !== undefined || handover !== undefined
}

interface Paths {
  /** Read, or looked at, at the start. */
  readonly readable: readonly string[]
  /** Sockets: made by the system without asking Node, but their mode is set, and stale ones are removed. */
  readonly writable: readonly string[]
  /** Read again while the relay runs. */
  readonly always: readonly string[]
}

function findPaths(config: Config, files: readonly string[]): Paths {
  const root = resolve(import.meta.dirname, '../../..')
  const sockets = Object.values(config as unknown as Record<string, Address | undefined>)
    .filter((value) => value?.kind === 'unix')
    .map((address) => resolve((address as Address & { kind: 'unix' }).path))
  const { admit, nameFile, probeFile, handover, handoverSecret } = config
  const always = [admit, nameFile, probeFile].filter((path) => path !== undefined).map((path) => resolve(path))
  // The doors may be opened again.
  if (handover !== undefined) always.push(...sockets)
  // Tor says where its cookie is, and nobody knows before.
  if (config.torControl !== undefined) return { readable: ['*'], writable: sockets, always: [] }
  const code = [resolve(import.meta.dirname, '../..'), join(root, 'package.json'), join(root, 'node_modules'), findPackages(root)]
  const read = [...files, ...(handoverSecret === undefined ? [] : [handoverSecret])].map((path) => resolve(path))
  const readable = [...new Set([...code, ...read, ...sockets])].filter((path) => !always.includes(path))
  if (handover === undefined) return { readable, writable: sockets, always }
  // Its folder is looked at. What lies in there is granted by it: Node forgets a folder where both are named.
  const folder = dirname(resolve(handover.path))
  const outside = (path: string): boolean => !path.startsWith(`${folder}/`)
  return { readable: readable.filter(outside), writable: sockets, always: [folder, ...always.filter(outside)] }
}

/** The outermost `node_modules` that our packages lie in: ours, or the one that we lie in beside them. */
function findPackages(root: string): string {
  const found = fileURLToPath(import.meta.resolve('fastify'))
  const own = join(root, 'node_modules')
  const marker = '/node_modules/'
  return found.startsWith(`${own}/`) || !found.includes(marker) ? own : found.slice(0, found.indexOf(marker) + marker.length - 1)
}

/** Our environment without what makes Node write, and with freed memory overwritten. */
function cleanEnvironment(): Record<string, string> {
  const env: Record<string, string> = {}
  for (const [name, value] of Object.entries(process.env)) if (value !== undefined && !WRITING_VARIABLES.includes(name)) env[name] = value
  delete env['NODE_OPTIONS']
  const options = splitOptions(process.env['NODE_OPTIONS']).filter((flag) => HARMLESS_FLAG.test(flag))
  if (options.length > 0) env['NODE_OPTIONS'] = options.join(' ')
  env['GLIBC_TUNABLES'] = [process.env['GLIBC_TUNABLES'], TUNABLES].filter((text) => text !== undefined && text !== '').join(':')
  return env
}

/** The words of NODE_OPTIONS. One in quotes is no harmless flag, so quotes need no understanding. */
export function splitOptions(text: string | undefined): string[] {
  return (text ?? '').split(/\s+/).filter((word) => word !== '')
}

/** Those flags that this Node knows. */
function supported(flags: readonly string[]): string[] {
  // V8's own are not on Node's list of what NODE_OPTIONS may hold; each is asked for only where it is.
  return flags.filter((flag) => MEMORY_FLAGS.includes(flag) || process.allowedNodeEnvironmentFlags.has(flag.replace(/=.*/, '')))
}
