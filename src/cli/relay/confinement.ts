/**
 * Confines the relay's process, so that it cannot store anything: Node's permission model, no addons, workers or child
 * processes, and freed memory is overwritten. Node accepts these flags only at startup, so the process replaces itself
 * (execve) with the same pid and no child. This must happen before the memory holds any secret.
 */
import { realpathSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Config } from '../../config/config.ts'
import type { Address } from '../../transport/address.ts'
import { PAGE_FILE } from './page-file.ts'

/** Whether this Node can replace its process: from 23.11, not on Windows. */
export const CONFINES = typeof process.execve === 'function'

/** Variables that make Node or its libraries write files. */
export const WRITING_VARIABLES: readonly string[] = [
  'NODE_V8_COVERAGE',
  'NODE_COMPILE_CACHE',
  'NODE_DEBUG',
  'NODE_DEBUG_NATIVE',
  'NODE_REDIRECT_WARNINGS',
  'NODE_REPL_EXTERNAL_MODULE',
  'SSLKEYLOGFILE',
]

/** Variables that make the loader or Node load other code, or trust other certificates. */
export const LOADING_VARIABLES: readonly string[] = ['LD_PRELOAD', 'LD_AUDIT', 'NODE_PATH', 'NODE_EXTRA_CA_CERTS']

/** The flags of Node that an operator may pass; the confined process keeps them. */
export const HARMLESS_FLAG =
  /^--(?:(?:max-old-space-size|max-semi-space-size|max-heap-size|stack-trace-limit|disable-warning)=\S+|no-warnings|enable-fips|force-fips)$/

/** The permissions that the process never has. */
const DENIED = ['child', 'worker', 'wasi', 'addon', 'inspector'] as const

/** V8's flags for freeing memory. */
export const MEMORY_FLAGS: readonly string[] = [
  // V8 zeroes freed memory, and frees it soon. Only V8 can overwrite strings.
  '--clear-free-memory',
  // The relay collects garbage when it becomes idle: V8 alone would leave keys of people who left until more work comes.
  '--expose-gc',
  '--max-semi-space-size=2',
  // So little survives a scavenge that helper threads would wait for a core longer than they work.
  '--no-parallel-scavenge',
  // V8 counts memory outside its heap against its limits, so arriving slabs of messages would make it collect all the
  // time. 300 is the factor that it uses at most anyway (docs/decisions/0012-when-memory-is-freed.md).
  '--heap-growing-percent=300',
  // By default V8 also checks that memory separately, every 64 MiB; this flag counts both together. Node 24 has no flag
  // for its growth.
  '--external-memory-accounted-in-global-limit',
  ...(Number.parseInt(process.versions.node, 10) >= 26 ? ['--external-memory-max-growing-factor=2'] : []),
]

const FLAGS: readonly string[] = [
  '--permission',
  // For listening and for tor. giveUp drops it once the relay listens, unless the relay opens connections later.
  '--allow-net',
  '--no-addons',
  '--no-experimental-sqlite',
  '--no-experimental-webstorage',
  // Otherwise SIGUSR1 opens the inspector.
  '--disable-sigusr1',
  // --allow-net prints a warning to standard error, into the log.
  '--disable-warning=ExperimentalWarning',
  ...MEMORY_FLAGS,
]

/**
 * glibc's malloc tunables: free overwrites memory; the per-thread cache, which would bypass that, is off. Slabs of
 * messages are always separate mappings, so free returns them to the system at once.
 */
const TUNABLES = 'glibc.malloc.perturb=255:glibc.malloc.tcache_count=0:glibc.malloc.mmap_threshold=524288'

/** Whether this process is confined as by {@link confine}. */
export function isConfined(): boolean {
  const { permission, execArgv, env } = process
  if (permission === undefined || permission.has('fs.write') || DENIED.some((scope) => permission.has(scope))) return false
  return supported(FLAGS).every((flag) => execArgv.includes(flag)) && env['GLIBC_TUNABLES']?.includes(TUNABLES) === true
}

/**
 * Replaces this process by a confined one; returns only if that fails.
 * @param files the files of the configuration
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
    // The system refused; the caller decides whether to continue.
  }
}

/** Permanently drops the permissions that only the startup needed. Open files and sockets stay open. */
export function giveUp(config: Config, files: readonly string[]): void {
  const { permission } = process as { permission?: { drop?(scope: string, path?: string): void } }
  if (permission?.drop === undefined) return
  // After an interrupted handover, the relay must create its sockets again.
  if (config.handover === undefined) permission.drop('fs.write')
  // Permission to read everything (*) cannot be dropped in parts.
  const { readable } = findPaths(config, files)
  if (!readable.includes('*')) for (const path of readable) permission.drop('fs.read', path)
  if (!dials(config)) permission.drop('net')
}

/** Whether the relay opens connections, or listens anew, after its startup. */
function dials({ torControl, probe, handover }: Config): boolean {
  return torControl !== undefined || probe !== undefined || handover !== undefined
}

interface Paths {
  /** Read, or examined, at startup. */
  readonly readable: readonly string[]
  /** Sockets. Creating one needs no permission of Node's, but setting its mode and removing a stale one does. */
  readonly writable: readonly string[]
  /** Read again while the relay runs. */
  readonly always: readonly string[]
}

function findPaths(config: Config, files: readonly string[]): Paths {
  const root = resolve(import.meta.dirname, '../../..')
  const sockets = Object.values(config as unknown as Record<string, Address | undefined>)
    .filter((value) => value?.kind === 'unix')
    .map((address) => resolve((address as Address & { kind: 'unix' }).path))
  const { admit, nameFile, probeFile, torFile, handover, handoverSecret } = config
  const always = [admit, nameFile, probeFile, torFile].filter((path) => path !== undefined).map((path) => resolve(path))
  // The relay may have to create its sockets again.
  if (handover !== undefined) always.push(...sockets)
  // The path of tor's cookie is unknown until tor reports it.
  if (config.torControl !== undefined) return { readable: ['*'], writable: sockets, always: [] }
  const program = resolve(import.meta.dirname, '../..')
  // In a checkout, the program runs from src/, and the web page lies in dist/.
  const built = PAGE_FILE.startsWith(`${program}/`) ? [] : [dirname(PAGE_FILE)]
  const code = [program, ...built, join(root, 'package.json'), join(root, 'node_modules'), findPackages(root)]
  const read = [...files, ...(handoverSecret === undefined ? [] : [handoverSecret])].map((path) => resolve(path))
  const readable = [...new Set([...code, ...read, ...sockets])].filter((path) => !always.includes(path))
  if (handover === undefined) return { readable, writable: sockets, always }
  // The relay examines the folder of the handover socket. Its permission covers the files in it; Node forgets the
  // permission for a folder if a file in it is named, too.
  const folder = dirname(resolve(handover.path))
  const outside = (path: string): boolean => !path.startsWith(`${folder}/`)
  return { readable: readable.filter(outside), writable: sockets, always: [folder, ...always.filter(outside)] }
}

/** Finds the outermost `node_modules` with our packages: our own, or the one in which this package is installed. */
function findPackages(root: string): string {
  const found = fileURLToPath(import.meta.resolve('fastify'))
  const own = join(root, 'node_modules')
  const marker = '/node_modules/'
  return found.startsWith(`${own}/`) || !found.includes(marker) ? own : found.slice(0, found.indexOf(marker) + marker.length - 1)
}

/** Returns the environment without variables that make Node write files, and with {@link TUNABLES}. */
function cleanEnvironment(): Record<string, string> {
  const env: Record<string, string> = {}
  const dropped = new Set([...WRITING_VARIABLES, ...LOADING_VARIABLES])
  for (const [name, value] of Object.entries(process.env)) if (value !== undefined && !dropped.has(name)) env[name] = value
  delete env['NODE_OPTIONS']
  const options = splitOptions(process.env['NODE_OPTIONS']).filter((flag) => HARMLESS_FLAG.test(flag))
  if (options.length > 0) env['NODE_OPTIONS'] = options.join(' ')
  env['GLIBC_TUNABLES'] = [process.env['GLIBC_TUNABLES'], TUNABLES].filter((text) => text !== undefined && text !== '').join(':')
  return env
}

/** Splits NODE_OPTIONS into words. A quoted word is never a harmless flag, so quotes need no parsing. */
export function splitOptions(text: string | undefined): string[] {
  return (text ?? '').split(/\s+/).filter((word) => word !== '')
}

/** Returns the flags that this Node supports. */
function supported(flags: readonly string[]): string[] {
  // V8's flags are missing from this list of Node's; MEMORY_FLAGS contains only those that the version has.
  return flags.filter((flag) => MEMORY_FLAGS.includes(flag) || process.allowedNodeEnvironmentFlags.has(flag.replace(/=.*/, '')))
}
