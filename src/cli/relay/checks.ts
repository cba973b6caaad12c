/**
 * Checks whether the process or the machine could leak the relay's memory, and whether the settings fit the limits of the
 * process. `asfaleia doctor` prints each check by its
 * name, the log warns of it, and `--allow-unsafe` excuses it. The checks change nothing. A check that cannot read its
 * source fails.
 */
import { accessSync, constants, readFileSync } from 'node:fs'
import type { Config } from '../../config/config.ts'
import type { CheckName } from '../../config/setting.ts'
import { estimateMemory } from '../../relay/footprint.ts'
import { readsThrough } from '../../transport/socket.ts'
import { readMemoryLimit } from '../disk/cgroup.ts'
import { CONFINES, HARMLESS_FLAG, isConfined, LOADING_VARIABLES, splitOptions, WRITING_VARIABLES } from './confinement.ts'

/** The facts that the checks examine. */
export interface Surroundings {
  /** Returns a file's text; undefined if it cannot be read. */
  readonly read: (path: string) => string | undefined
  /** The effective user; undefined on a system without user ids. */
  readonly uid: number | undefined
  /** Whether the working directory can be written to. */
  readonly writable: boolean
  readonly env: Readonly<Record<string, string | undefined>>
  /** Node's flags, without those in NODE_OPTIONS. */
  readonly flags: readonly string[]
  /** Whether the relay is confined, or will be. */
  readonly confined: boolean
  /** Whether sockets read into a buffer that the relay owns. */
  readonly readsThrough: boolean
  /** The settings that have to fit the limits of the process. */
  readonly settings: Pick<Config, 'memory' | 'connections'>
}

export interface Finding {
  readonly name: CheckName
  /** Undefined if the check passed. */
  readonly problem: string | undefined
  readonly hint: string
}

interface Check {
  readonly hint: string
  /** Returns the problem; undefined if the check passes. */
  readonly look: (around: Surroundings) => string | undefined
}

/** In the order of docs/operations.md, "Before it starts". */
const CHECKS: Readonly<Record<CheckName, Check>> = {
  swap: {
    hint: 'turn swap off (swapoff -a), or for the relay alone: MemorySwapMax=0 in systemd, memswap_limit in compose',
    look({ read }) {
      if (hasNoSwap(read)) return undefined
      const swaps = read('/proc/swaps')
      if (swaps === undefined) return 'unknown: /proc/swaps cannot be read'
      // The first line is the head of the table.
      if (swaps.trim().split('\n').length <= 1) return undefined
      return 'swap is on: the system may write the relay’s memory to a disk'
    },
  },
  'core-dumps': {
    hint: 'set the limit of core files to 0, or to 1 if another program collects them: LimitCORE=1 in systemd, ulimits in compose',
    look({ read }) {
      const [, soft] = /^Max core file size\s+(\S+)/m.exec(read('/proc/self/limits') ?? '') ?? []
      if (soft === undefined) return 'unknown: /proc/self/limits cannot be read'
      // With a limit of exactly 1, the kernel makes no dump at all (fs/coredump.c).
      if (soft === '1') return undefined
      if (soft !== '0') return 'a crash would write the memory to a core file'
      // A program that collects dumps may ignore the limit; systemd's respects it.
      const pattern = read('/proc/sys/kernel/core_pattern') ?? '|'
      return !pattern.startsWith('|') || pattern.includes('/systemd-coredump')
        ? undefined
        : 'a crash would pass the memory to another program'
    },
  },
  root: {
    hint: 'run it as a separate user without privileges',
    look: ({ uid }) => (uid === 0 ? 'the relay runs as root' : undefined),
  },
  'working-directory': {
    hint: 'start it in a folder that its user cannot write to, such as /',
    look: ({ writable }) => (writable ? 'the working directory is writable, so dumps and reports could go there' : undefined),
  },
  'node-options': {
    hint: 'unset it; a relay that confines itself drops it anyway',
    look({ env, flags }) {
      const foreign = (flag: string): boolean => !HARMLESS_FLAG.test(flag)
      const found = [...WRITING_VARIABLES, ...LOADING_VARIABLES].filter((name) => (env[name] ?? '') !== '')
      if (splitOptions(env['NODE_OPTIONS']).some(foreign)) found.push('NODE_OPTIONS')
      if (flags.some(foreign)) found.push('a flag of Node')
      return found.length === 0 ? undefined : `these settings may make Node write files or run other code: ${found.join(', ')}`
    },
  },
  confinement: {
    hint: 'use Node 24 or later, and pass it no flags',
    look: ({ confined }) => (confined ? undefined : "Node's permission model does not confine the process"),
  },
  'read-buffer': {
    hint: 'use the Node that comes with the package',
    look: ({ readsThrough }) => (readsThrough ? undefined : 'this Node reads sockets into its own buffer, where the last bytes read stay'),
  },
  'memory-limit': {
    hint: 'lower --memory or --connections, or raise the limit: RELAY_MEMORY in compose, MemoryMax in systemd',
    look({ read, settings }) {
      const limit = readMemoryLimit(read)
      const need = estimateMemory(settings)
      if (limit === undefined || limit >= need) return undefined
      const [has, needs] = [limit, need].map((bytes) => Math.round(bytes / MIB))
      return `the control group allows ${has} MiB, but these settings may need ${needs} MiB: the system would kill the relay with its messages`
    },
  },
  descriptors: {
    hint: 'lower --connections, or raise the limit of open files: ulimits in compose, LimitNOFILE in systemd',
    look({ read, settings }) {
      const [, soft] = /^Max open files\s+(\S+)/m.exec(read('/proc/self/limits') ?? '') ?? []
      if (soft === undefined) return 'unknown: /proc/self/limits cannot be read'
      const needs = settings.connections + SPARE_DESCRIPTORS
      return soft === 'unlimited' || Number(soft) >= needs
        ? undefined
        : `the process may open ${soft} files, but ${settings.connections} connections need ${needs}`
    },
  },
}

const MIB = 2 ** 20
/** For listeners, connections that are being refused, the program's own files, and a handover. */
const SPARE_DESCRIPTORS = 320

/** The finding if the process could not be confined after all. */
export const UNCONFINED: Finding = {
  name: 'confinement',
  problem: 'the process could not be confined',
  hint: CHECKS.confinement.hint,
}

/** Runs every check, in order. */
export function examine(around: Surroundings): Finding[] {
  return Object.entries(CHECKS).map(([name, { hint, look }]) => ({ name: name as CheckName, problem: look(around), hint }))
}

/** Describes this process and its machine. */
export function lookAround(settings: Surroundings['settings']): Surroundings {
  return {
    read(path) {
      try {
        return readFileSync(path, 'utf8')
      } catch {
        return undefined
      }
    },
    uid: process.geteuid?.(),
    writable: isWritable('.'),
    env: process.env,
    flags: process.execArgv,
    confined: isConfined() || CONFINES,
    readsThrough: readsThrough(),
    settings,
  }
}

function isWritable(path: string): boolean {
  try {
    accessSync(path, constants.W_OK)
    return true
  } catch {
    return false
  }
}

/** Whether cgroup v2 forbids swap: `memory.swap.max` is 0 in the process's cgroup or in one above it. */
function hasNoSwap(read: Surroundings['read']): boolean {
  const [, path] = /^0::(\/.*)$/m.exec(read('/proc/self/cgroup') ?? '') ?? []
  if (path === undefined) return false
  const parts = path.split('/').filter((part) => part !== '')
  return [...parts.keys(), parts.length].some((depth) => {
    const folder = ['/sys/fs/cgroup', ...parts.slice(0, depth)].join('/')
    return read(`${folder}/memory.swap.max`)?.trim() === '0'
  })
}
