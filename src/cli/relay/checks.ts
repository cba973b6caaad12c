/**
 * What could let something of a relay out of its memory: checks of the process and the machine, each with a name by
 * which `asfaleia doctor` prints it, the log warns of it and `--allow-unsafe` excuses it. They look and change
 * nothing; what cannot be looked at has failed.
 */
import { accessSync, constants, readFileSync } from 'node:fs'
import type { CheckName } from '../../config/setting.ts'
import { readsThrough } from '../../transport/socket.ts'
import { CONFINES, HARMLESS_FLAG, isConfined, splitOptions, WRITING_VARIABLES } from './confinement.ts'

/** What the checks look at. */
export interface Surroundings {
  /** A file's text; undefined where it cannot be read. */
  readonly read: (path: string) => string | undefined
  /** The effective user; undefined where the system has none. */
  readonly uid: number | undefined
  /** Whether the working directory can be written to. */
  readonly writable: boolean
  readonly env: Readonly<Record<string, string | undefined>>
  /** Node's flags, those of NODE_OPTIONS not among them. */
  readonly flags: readonly string[]
  /** Whether the relay is confined, or will be. */
  readonly confined: boolean
  /** Whether sockets are read into a buffer of ours. */
  readonly readsThrough: boolean
}

export interface Finding {
  readonly name: CheckName
  /** What is wrong; undefined if nothing is. */
  readonly problem: string | undefined
  readonly hint: string
}

interface Check {
  readonly hint: string
  /** Gives what is wrong. */
  readonly look: (around: Surroundings) => string | undefined
}

/** In a fixed order; docs/operations.md, "Before it starts". */
const CHECKS: Readonly<Record<CheckName, Check>> = {
  swap: {
    hint: 'turn swap off (swapoff -a), or give the relay none: MemorySwapMax=0 in systemd, memswap_limit in compose',
    look({ read }) {
      if (hasNoSwap(read)) return undefined
      const swaps = read('/proc/swaps')
      if (swaps === undefined) return 'cannot be told: /proc/swaps cannot be read'
      // Its first line is the table's head.
      if (swaps.trim().split('\n').length <= 1) return undefined
      return 'swap is on: what the relay holds in memory may be written to a disk'
    },
  },
  'core-dumps': {
    hint: 'set the limit of core files to 0; where another program takes them, to 1, with which none is made: LimitCORE=1, ulimits in compose',
    look({ read }) {
      const [, soft] = /^Max core file size\s+(\S+)/m.exec(read('/proc/self/limits') ?? '') ?? []
      if (soft === undefined) return 'cannot be told: /proc/self/limits cannot be read'
      // Exactly 1 is the kernel's own sign for no dump at all (fs/coredump.c).
      if (soft === '1') return undefined
      if (soft !== '0') return 'a crash would write the memory to a core file'
      // A program that takes dumps is not bound by the limit; systemd's obeys it.
      const pattern = read('/proc/sys/kernel/core_pattern') ?? '|'
      return !pattern.startsWith('|') || pattern.includes('/systemd-coredump')
        ? undefined
        : 'a crash would hand the memory to another program'
    },
  },
  root: {
    hint: 'run it as a user of its own',
    look: ({ uid }) => (uid === 0 ? 'the relay runs as root, who may do everything' : undefined),
  },
  'working-directory': {
    hint: 'start it in a folder that its user cannot write to, such as /',
    look: ({ writable }) => (writable ? 'the working directory can be written to, and that is where dumps and reports go' : undefined),
  },
  'node-options': {
    hint: 'unset it: a relay that confines itself goes on without it anyway',
    look({ env, flags }) {
      const foreign = (flag: string): boolean => !HARMLESS_FLAG.test(flag)
      const found = WRITING_VARIABLES.filter((name) => (env[name] ?? '') !== '')
      if (splitOptions(env['NODE_OPTIONS']).some(foreign)) found.push('NODE_OPTIONS')
      if (flags.some(foreign)) found.push('a flag of Node')
      return found.length === 0 ? undefined : `what may make Node write files or run other code is set: ${found.join(', ')}`
    },
  },
  confinement: {
    hint: 'use Node 24 or later, and no flags of your own for it',
    look: ({ confined }) => (confined ? undefined : "the process is not confined by Node's permission model"),
  },
  'read-buffer': {
    hint: 'use the Node that the package brings',
    look: ({ readsThrough }) =>
      readsThrough ? undefined : 'this Node reads sockets into a buffer of its own, which keeps the last of what was read',
  },
}

/** What is said where a process could not be confined after all. */
export const UNCONFINED: Finding = {
  name: 'confinement',
  problem: 'the process could not be confined',
  hint: CHECKS.confinement.hint,
}

/** Of every check, in order. */
export function examine(around: Surroundings): Finding[] {
  return Object.entries(CHECKS).map(([name, { hint, look }]) => ({ name: name as CheckName, problem: look(around), hint }))
}

/** This process and its machine. */
export function lookAround(): Surroundings {
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

/** Whether a cgroup that the process is in may use no swap: cgroup v2, `memory.swap.max`, of it or one above. */
function hasNoSwap(read: Surroundings['read']): boolean {
  const [, path] = /^0::(\/.*)$/m.exec(read('/proc/self/cgroup') ?? '') ?? []
  if (path === undefined) return false
  const parts = path.split('/').filter((part) => part !== '')
  return [...parts.keys(), parts.length].some((depth) => {
    const folder = ['/sys/fs/cgroup', ...parts.slice(0, depth)].join('/')
    return read(`${folder}/memory.swap.max`)?.trim() === '0'
  })
}
