/**
 * The time until a relay has a message, in round trips of a circuit that stands: the client opens a stream, proves itself and
 * sends. By a throwaway secret, everything follows the SOCKS request. By a key, HELLO and AUTH follow it, and SEND follows VERIFY.
 */
import { createServer } from 'node:net'
import { once } from 'node:events'
import { randomBytes } from '../src/auth/crypto.ts'
import type { ClaimClient } from '../src/client/wire/claim-client.ts'
import { connectClaims, connectRelay } from '../src/client/wire/connect.ts'
import { encodeOnion } from '../src/onion/address.ts'
import { connectTarget } from '../src/transport/socks.ts'
import { startFlights } from '../test/support/flights.ts'
import { makePerson } from '../test/support/people.ts'
import { missing } from '../test/support/programs.ts'
import { startTestRelay } from '../test/support/relay.ts'
import { startTorNetwork, TOR_PROGRAMS } from '../test/support/tor-network.ts'
import { Wire } from './login.ts'
import { spread } from './result.ts'

const TRIP_MS = 200
/** Those of a chat line, after base64. */
const PAYLOAD_BYTES = 5_757
const PORT = 3308
/** Of each kind on one circuit, in turns. */
const REPEATS = 7
const WAYS = ['claim', 'key'] as const

export type Way = (typeof WAYS)[number]
/** What takes turns on a circuit: a PING, a stream without a packet, and a message. */
const KINDS = ['ping', 'open', ...WAYS] as const

const sender = makePerson('sender').identity

/** @returns ms */
async function send(way: Way, relay: string, socks: string, isolation: string): Promise<number> {
  const payload = randomBytes(PAYLOAD_BYTES)
  // Each message has a mailbox of its own: one would be full soon.
  const receiver = `SHA256:${Buffer.from(randomBytes(32)).toString('base64').slice(0, 43)}`
  const began = performance.now()
  let sent: Promise<unknown> | undefined
  const early = (client: Pick<ClaimClient, 'sendSealed'>): void => void (sent = client.sendSealed(receiver, payload))
  const options = { relay, socks, isolation, early }
  const client = await (way === 'claim' ? connectClaims(options) : connectRelay({ ...options, identity: sender, login: true }))
  await sent
  const took = performance.now() - began
  client.close()
  return took
}

/** Over loopback, where a proxy in Tor's place delays each way by 100 ms. */
export async function measureTrips(rounds: number, record: (way: Way, round: number, trips: number) => void): Promise<void> {
  const name = encodeOnion(randomBytes(32))
  const relay = await startTestRelay({ names: [name], memory: 2 ** 24 })
  const flights = await startFlights(relay.port, TRIP_MS)
  try {
    for (let round = 0; round <= rounds; round++) {
      for (const way of WAYS) {
        const took = await send(way, name, flights.socks, `${way}-${round}`)
        if (round > 0) record(way, round, took / TRIP_MS)
      }
    }
  } finally {
    await flights.close()
    await relay.close()
  }
}

/** Over the private Tor network: each round has a circuit of its own, on which the kinds take turns. */
export async function measureTripsOverTor(
  rounds: number,
  record: (kind: (typeof KINDS)[number], round: number, milliseconds: number) => void,
): Promise<string | undefined> {
  const absent = missing(...TOR_PROGRAMS)
  if (absent !== undefined) return absent
  const port = await freePort()
  const network = await startTorNetwork()
  try {
    const { onion } = await network.addOnionHost({ doors: [{ port: PORT, target: { kind: 'tcp', host: '127.0.0.1', port } }] })
    const relay = await startTestRelay({ names: [onion], memory: 2 ** 24, port })
    const { socks: endpoint } = await network.addClient()
    const socks = `${endpoint.host}:${endpoint.port}`
    try {
      for (let round = 1; round <= rounds; round++) {
        const isolation = `round-${round}`
        const target = { kind: 'name', host: onion, port: PORT, name: onion } as const
        const route = { kind: 'socks', proxy: endpoint, isolation: { user: isolation, password: isolation } } as const
        const socket = await connectTarget(target, route, { timeout: 60_000 })
        const wire = Wire.over(socket)
        socket.resume()
        const times = { ping: [] as number[], open: [] as number[], claim: [] as number[], key: [] as number[] }
        // The first ones build caches.
        for (let n = 0; n <= REPEATS; n++) {
          let began = performance.now()
          await wire.ask('7')
          const took = { ping: performance.now() - began, open: 0, claim: 0, key: 0 }
          began = performance.now()
          const other = await connectTarget(target, route, { timeout: 60_000 })
          took.open = performance.now() - began
          other.destroy()
          for (const way of WAYS) took[way] = await send(way, `${onion}:${PORT}`, socks, isolation)
          if (n > 0) for (const of of KINDS) times[of].push(took[of])
        }
        for (const of of KINDS) record(of, round, spread(times[of])!.median)
        wire.close()
      }
    } finally {
      await relay.close()
    }
  } finally {
    await network.stop()
  }
  return undefined
}

async function freePort(): Promise<number> {
  const server = createServer()
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  server.close()
  await once(server, 'close')
  return port
}
