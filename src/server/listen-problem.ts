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
      // libuv reports EACCES for a missing folder, too.
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
