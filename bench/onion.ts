/**
 * Round trips through the tests' private Tor network: to the relay and, behind the same onion service, to a
 * server that answers each line with a line as long as the relay's and does nothing else.
 */
import { createServer } from 'node:net'
import { once } from 'node:events'
import type { Endpoint } from '../src/transport/address.ts'
import { connectTarget, createIsolation } from '../src/transport/socks.ts'
import { missing } from '../test/support/programs.ts'
import { startTorNetwork, TOR_PROGRAMS } from '../test/support/tor-network.ts'
import { openMailboxes, Wire } from './login.ts'
import { spread } from './result.ts'
import type { Server } from './server.ts'

const RELAY_PORT = 3308
const ECHO_PORT = 7
/** Trips of each kind on one circuit, alternating. */
const TRIPS = 25
const PONG = '17\n'
const SENT = '13;0123456789abcdef;604800\n'

export interface Trip {
  readonly figure: 'tor' | 'tor send'
  readonly subject: 'relay' | 'echo'
  readonly round: number
  readonly milliseconds: number
}

export async function measureTor(relay: Server, rounds: number): Promise<{ absent: string } | { samples: Trip[] }> {
  const absent = missing(...TOR_PROGRAMS)
  if (absent !== undefined) return { absent }
  const echo = createServer({ noDelay: true }, (socket) => {
    socket.setEncoding('latin1').on('data', (text: string) => {
      if (text.endsWith('\n')) socket.write(text === '7\n' ? PONG : SENT)
    })
    socket.on('error', () => {})
  })
  echo.listen(0, '127.0.0.1')
  await once(echo, 'listening')
  const echoPort = (echo.address() as { port: number }).port
  const network = await startTorNetwork()
  try {
    const target = (port: number): { kind: 'tcp'; host: string; port: number } => ({ kind: 'tcp', host: '127.0.0.1', port })
    const host = await network.addOnionHost({
      doors: [
        { port: RELAY_PORT, target: target(relay.port) },
        { port: ECHO_PORT, target: target(echoPort) },
      ],
    })
    const { socks } = await network.addClient()
    const samples: Trip[] = []
    const [mailbox] = await openMailboxes(relay.port, 1)
    const send = `3;${mailbox!.token};${mailbox!.receiver};${'Az09'.repeat(342)}`
    for (let round = 1; round <= rounds; round++) {
      // One set of credentials means one circuit: the same Tor relays lead to both servers.
      const isolation = createIsolation()
      const wires = {
        relay: await dial(socks, isolation, host.onion, RELAY_PORT),
        echo: await dial(socks, isolation, host.onion, ECHO_PORT),
      }
      const figures = [
        { figure: 'tor', packet: '7' },
        { figure: 'tor send', packet: send },
      ] as const
      for (const { figure, packet } of figures) {
        const times = { relay: [] as number[], echo: [] as number[] }
        for (let trip = 0; trip < TRIPS; trip++) {
          for (const subject of ['relay', 'echo'] as const) {
            const began = performance.now()
            const answer = await wires[subject].ask(packet)
            times[subject].push(performance.now() - began)
            if (!answer.startsWith('1')) throw new Error('a round trip over Tor was refused')
          }
        }
        for (const subject of ['relay', 'echo'] as const) {
          samples.push({ figure, subject, round, milliseconds: spread(times[subject])!.median })
        }
      }
      wires.relay.close()
      wires.echo.close()
    }
    return { samples }
  } finally {
    await network.stop()
    echo.close()
  }
}

async function dial(socks: Endpoint, isolation: ReturnType<typeof createIsolation>, onion: string, port: number): Promise<Wire> {
  const socket = await connectTarget(
    { kind: 'name', host: onion, port, name: onion },
    { kind: 'socks', proxy: socks, isolation },
    { timeout: 60_000 },
  )
  const wire = Wire.over(socket)
  socket.resume()
  // Exclude the circuit's construction and the first packet.
  await wire.ask('7')
  return wire
}
