/**
 * What a process asked the system for, by strace: every call that could make or change something outside its memory.
 * No io_uring under it, whose work no trace shows: where the system has none, libuv does without.
 */
import { readFileSync } from 'node:fs'

/** Calls that open, make, change, share or write, and those that start something. */
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

/** What stands before a command to trace it, its threads and whatever it starts, into `file`. No data is traced. */
export function underStrace(file: string): string[] {
  const calls = [`trace=${CALLS.join(',')}`, 'inject=io_uring_setup:error=ENOSYS']
  return ['strace', '-f', '-y', '-qq', '-s', '0', ...calls.flatMap((expression) => ['-e', expression]), '-o', file]
}

export interface Trace {
  /** How often each call was made. */
  readonly calls: Readonly<Record<string, number>>
  /** Calls that left something, or could have: each as strace wrote it. */
  readonly violations: readonly string[]
}

/** Where writing leaves nothing: sockets, pipes, terminals, and the counter by which libuv wakes itself. */
const PASSING =
  /^(?:socket:\[\d+\]|(?:UNIX|TCP|TCPv6|UNIX-STREAM):\[.*\]|pipe:\[\d+\]|anon_inode:\[eventfd\]|\/dev\/(?:pts\/\d+|tty|null)(?:<char .*>)?)$/

/** Judges a trace. `socket` is the path of the unix socket that the process may make and remove. */
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
    // That it is replaced by itself, and where it was looked for; -s 0 leaves no arguments.
    case 'execve':
      return /^"[^"]*\/node",/.test(rest)
    // Looking only.
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
    // Ends.
    case 'exit':
    case 'exit_group':
    case 'kill':
    case 'tgkill':
    case 'wait4':
    case 'rt_sigqueueinfo':
    // Refused by the trace.
    case 'io_uring_setup':
      return true
  }
  return false
}
