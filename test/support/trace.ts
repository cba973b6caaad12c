/**
 * Records a process's system calls with strace: every call that could create or change anything outside its
 * memory. It disables io_uring, whose work a trace does not show; libuv does without it.
 */
import { readFileSync } from 'node:fs'

/** Calls that open, create, change, share or write, and those that start something. */
const CALLS = [
  '%file',
  '%process',
  'write',
  'writev',
  'pwrite64',
  'pwritev',
  'pwritev2',
  'sendto',
  'sendmsg',
  'sendmmsg',
  'sendfile',
  'splice',
  'vmsplice',
  'tee',
  'copy_file_range',
  'ftruncate',
  'fallocate',
  'fchmod',
  'fchown',
  'fsetxattr',
  'memfd_create',
  'memfd_secret',
  'mmap',
  'shmget',
  'mq_open',
  'open_by_handle_at',
  'bind',
  'io_uring_setup',
  'io_setup',
  'ptrace',
  'process_vm_writev',
  'add_key',
  'syslog',
]

/**
 * Returns the words before a command that trace it, its threads and its children into `file`. No data is
 * recorded.
 */
export function underStrace(file: string): string[] {
  const calls = [`trace=${CALLS.join(',')}`, 'inject=io_uring_setup:error=ENOSYS']
  return ['strace', '-f', '-y', '-qq', '-s', '0', ...calls.flatMap((expression) => ['-e', expression]), '-o', file]
}

export interface Trace {
  /** The number of calls, by name. */
  readonly calls: Readonly<Record<string, number>>
  /** Calls that left something behind or could have, as strace wrote them. */
  readonly violations: readonly string[]
}

/**
 * Targets of writes that leave nothing behind: sockets, pipes, terminals, and the counter by which libuv wakes
 * itself.
 */
const PASSING =
  /^(?:socket:\[\d+\]|(?:UNIX|TCP|TCPv6|UNIX-STREAM):\[.*\]|pipe:\[\d+\]|anon_inode:\[eventfd\]|\/dev\/(?:pts\/\d+|tty|null)(?:<char .*>)?)$/

/** Judges a trace. `socket` is the path of the unix socket that the process may create and remove. */
export function readTrace(file: string, socket: string): Trace {
  const calls: Record<string, number> = {}
  const violations: string[] = []
  for (const line of readFileSync(file, 'latin1').split('\n')) {
    const [, call, rest = ''] = /^\d+ +([a-z0-9_]+)\((.*)$/.exec(line) ?? []
    if (call === undefined) continue
    calls[call] = (calls[call] ?? 0) + 1
    if (!isHarmless(call, rest, socket)) violations.push(line)
  }
  return { calls, violations }
}

function isHarmless(call: string, rest: string, socket: string): boolean {
  switch (call) {
    case 'open':
    case 'openat':
    case 'openat2':
      return /\bO_RDONLY\b/.test(rest) && !/O_(?:WRONLY|RDWR|CREAT|TRUNC|APPEND|TMPFILE)/.test(rest)
    case 'write':
    case 'writev':
    case 'sendto':
    case 'sendmsg':
    case 'sendmmsg': {
      const [, target = ''] = /^\d+<([^>]*(?:>[^,)]*)?)>[,)]/.exec(rest) ?? []
      return PASSING.test(target)
    }
    case 'mmap':
      return !rest.includes('MAP_SHARED') || !rest.includes('PROT_WRITE')
    case 'clone':
    case 'clone3':
      return rest.includes('CLONE_THREAD')
    case 'bind':
      return rest.includes('AF_INET') || rest.includes(`sun_path="${socket}"`)
    // A socket's file has no content.
    case 'chmod':
    case 'unlink':
      return rest.startsWith(`"${socket}"`)
    // The process may replace itself, and search its program first; -s 0 hides the arguments.
    case 'execve':
      return /^"[^"]*\/node",/.test(rest)
    // These only read.
    case 'stat':
    case 'lstat':
    case 'statx':
    case 'newfstatat':
    case 'statfs':
    case 'readlink':
    case 'readlinkat':
    case 'access':
    case 'faccessat':
    case 'faccessat2':
    case 'getcwd':
    // These end something.
    case 'exit':
    case 'exit_group':
    case 'kill':
    case 'tgkill':
    case 'wait4':
    case 'rt_sigqueueinfo':
    // strace itself refused this call.
    case 'io_uring_setup':
      return true
  }
  return false
}
