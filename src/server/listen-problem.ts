/** Errors of listening and of taking over, as problems of the configuration that cause them. */
import { ConfigError, type Problem } from '../config/problem.ts'
import { HandoverError, type HandoverProblem } from '../handover/successor.ts'
import { ListenError } from '../transport/socket.ts'

/**
 * Turns an error into a ConfigError if the configuration causes it; returns any other error as it is.
 * @param key the setting whose address was listened at
 */
export function asConfigError(key: string, error: unknown): unknown {
  if (error instanceof HandoverError) return new ConfigError([HANDOVER_PROBLEMS[error.problem]])
  return error instanceof ListenError ? new ConfigError([describeListen(key, error)]) : error
}

const HANDOVER_PROBLEMS: Readonly<Record<HandoverProblem, Problem>> = {
  busy: { key: 'handover', problem: 'another relay is already taking over', hint: 'wait for it; one successor is enough' },
  memory: {
    key: 'memory',
    problem: 'is less than the running relay uses',
    hint: 'use at least the --memory of the running relay, which continues',
  },
  version: {
    key: 'handover',
    problem: 'the running relay uses another version of the handover',
    hint: 'it continues; stop it first, which loses its messages, or upgrade through a version in between',
  },
  proof: {
    key: 'handover',
    problem: 'the program at that path does not know our secret',
    hint: 'give both relays the same --handover-secret, or neither of them one; is that program a relay?',
  },
  stalled: {
    key: 'handover',
    problem: 'the running relay does not answer',
    hint: 'it may be stopped or paused; it keeps its messages, and continues when it can',
  },
  broken: {
    key: 'handover',
    problem: 'the running relay broke off the handover',
    hint: 'it continues, and its log has the reason; try again',
  },
  interrupted: { key: 'handover', problem: 'the takeover was interrupted', hint: 'the running relay continues' },
  unreachable: { key: 'handover', problem: 'this user may not connect to its socket', hint: 'run both relays as the same user' },
}

function describeListen(key: string, { code, address }: ListenError): Problem {
  const where = address.kind === 'tcp' ? `${address.host}:${address.port}` : address.path
  switch (code) {
    case 'EADDRINUSE':
      return { key, problem: `${where} is in use`, hint: `does another relay run already? choose another address, or \`--${key} off\`` }
    case 'NOT_LOCAL':
      return {
        key,
        problem: `${where} is not local`,
        hint: 'the relay listens only on loopback or a unix socket, behind the onion service',
      }
    case 'EEXIST':
      return { key, problem: `${where} exists and is not a socket`, hint: 'choose another path' }
    case 'EACCES':
      if (address.kind === 'tcp') return { key, problem: `${where}: permission denied`, hint: 'choose a port of 1024 or above' }
      // libuv reports EACCES for a missing folder, too.
      return {
        key,
        problem: `${where}: its folder does not exist, or is not writable`,
        hint: 'make the folder first, and let this user write to it',
      }
    case 'ENOENT':
      return { key, problem: `${where}: its folder does not exist`, hint: 'make the folder first' }
    default:
      return { key, problem: `cannot listen on ${where} (${code})`, hint: `choose another address with --${key}` }
  }
}
