/**
 * Tries once whether clients can reach the relay: through Tor, at its own onion address, by HELLO and PING. The try logs
 * in with no key and sends nothing else. The result is a word of a closed set or a number, never the address or a byte
 * of the answer.
 */
import { once } from 'node:events'
import type { Socket } from 'node:net'
import { type Address, type ConnectCode, ConnectError, parseTarget } from '../transport/address.ts'
import { ClientSession } from '../protocol/client-session.ts'
import { connectTarget, createIsolation, type Route } from '../transport/socks.ts'
import type { ProbeProblem, ProbeResult } from './probe-result.ts'

/** Tor looks for a missing service for two minutes, but a user has given up after one. */
const CONNECT_MS = 60_000
const ANSWER_MS = 60_000

/**
 * Tries once, over circuits of its own.
 * @param name the relay's `….onion`
 */
export async function probe(name: string, proxy: Address, signal: AbortSignal): Promise<ProbeResult> {
  const target = parseTarget(name)
  const route: Route = { kind: 'socks', proxy, isolation: createIsolation() }
  let socket: Socket | undefined
  try {
    socket = await connectTarget(target, route, { timeout: CONNECT_MS, signal })
    return await greet(socket, target.name, AbortSignal.any([signal, AbortSignal.timeout(ANSWER_MS)]))
  } catch (error) {
    return { reached: false, problem: error instanceof ConnectError ? problemOf(error.code) : 'no-answer' }
  } finally {
    socket?.destroy()
  }
}

function problemOf(code: ConnectCode): ProbeProblem {
  switch (code) {
    case 'onion-relay-down':
      return 'relay-down'
    case 'onion-needs-tor':
      // A probe always dials through Tor.
      return 'unreachable'
  }
  return code
}

/**
 * Greets the relay by a name, and measures a PING.
 * @throws if the connection or the time ends before the answers come
 */
export async function greet(socket: Socket, name: string, signal: AbortSignal): Promise<ProbeResult> {
  const session = new ClientSession(name)
  const ended = once(socket, 'close', { signal }).then(() => Promise.reject(new Error('closed')))
  const answered = Promise.withResolvers<ProbeResult>()
  let sentAt = 0
  socket.on('data', (chunk: Buffer) => {
    for (const event of session.onChunk(chunk)) {
      switch (event.kind) {
        case 'answer':
          if (event.answer.name === 'PING') return answered.resolve({ reached: true, seconds: (performance.now() - sentAt) / 1_000 })
          sentAt = performance.now()
          socket.write(session.ping())
          break
        case 'refused':
        case 'farewell':
        case 'broken':
          return answered.resolve({ reached: false, problem: 'refused' })
        case 'part':
        case 'message':
        case 'notice':
        case 'moved':
          break
      }
    }
  })
  socket.write(session.hello())
  return Promise.race([answered.promise, ended])
}
