/** A relay in this process on a loopback port, for tests of clients. */
import type { Socket } from 'node:net'
import { DEFAULT_LIMITS, type Limits } from '../../src/protocol/limits.ts'
import { Relay } from '../../src/relay/relay.ts'
import type { Member, Strangers } from '../../src/relay/roster.ts'
import type { Offer } from '../../src/transport/page.ts'
import { createSocketServer, listen, serveSocket } from '../../src/transport/socket.ts'
import { createPublicDoor } from '../../src/transport/upgrade.ts'

export interface TestRelay {
  readonly relay: Relay
  readonly port: number
  /** `127.0.0.1:PORT` */
  readonly address: string
  /** The address of the public HTTP listener if {@link TestRelayOptions.http} is set. */
  readonly httpAddress: string | undefined
  /** Ends every connection and keeps the messages. */
  cut(): void
  /** Behaves as if the process were killed: no notice, and all messages are lost. */
  kill(): Promise<void>
  /** @throws an internal error of the relay */
  close(): Promise<void>
}

export interface TestRelayOptions {
  readonly limits?: Partial<Limits>
  readonly names?: readonly string[]
  readonly movedFrom?: readonly string[]
  readonly memory?: number
  readonly admit?: readonly Member[]
  readonly strangers?: Strangers
  readonly connections?: number
  /** Most connections that have proved no key. */
  readonly unproven?: number
  readonly now?: () => number
  readonly port?: number
  /** Also listen for WebSockets. */
  readonly http?: boolean
  /** The web page at that listener. */
  readonly offer?: Offer
}

export async function startTestRelay(options: TestRelayOptions = {}): Promise<TestRelay> {
  const faults: unknown[] = []
  const relay = new Relay({
    limits: { ...DEFAULT_LIMITS, ...options.limits },
    memory: options.memory ?? 2 ** 20,
    connections: options.connections ?? 10,
    unproven: options.unproven ?? 10,
    perCircuit: 10,
    perKey: 10,
    perSender: 2 ** 26,
    names: options.names ?? ['localhost'],
    movedFrom: options.movedFrom ?? [],
    admit: options.admit,
    ...(options.strangers !== undefined && { strangers: options.strangers }),
    ...(options.now !== undefined && { now: options.now }),
    onFault: (error) => faults.push(error),
  })
  const sockets = new Set<Socket>()
  const server = createSocketServer((socket) => {
    sockets.add(socket)
    socket.on('close', () => sockets.delete(socket))
    serveSocket(socket, undefined, (stream) => relay.accept(stream, 'tcp'))
  })
  const address = await listen(server, { kind: 'tcp', host: '127.0.0.1', port: options.port ?? 0 })
  if (address.kind !== 'tcp') throw new Error('no port was taken')
  const web = options.http === true ? await openHttp(relay, options.offer) : undefined
  return {
    relay,
    port: address.port,
    address: `127.0.0.1:${address.port}`,
    httpAddress: web?.address,
    cut() {
      for (const socket of sockets) socket.destroy()
    },
    async kill() {
      const closed = new Promise((resolve) => server.close(resolve))
      for (const socket of sockets) socket.destroy()
      await closed
      await web?.close()
      await relay.close()
    },
    async close() {
      await relay.close()
      await web?.close()
      if (server.listening) await new Promise((resolve) => server.close(resolve))
      if (faults.length > 0) throw faults[0]
    },
  }
}

async function openHttp(relay: Relay, offer: Offer | undefined): Promise<{ address: string; close(): Promise<void> }> {
  const door = await createPublicDoor({
    offer,
    maxMessage: DEFAULT_LIMITS.payload + DEFAULT_LIMITS.lineOverhead,
    names: () => relay.names,
    enter: (circuit, visitor) => relay.enter(circuit, visitor),
    pageWait: (circuit) => relay.pageWait(circuit),
    accept: (stream, visit) => relay.accept(stream, 'http', visit),
  })
  const sockets = new Set<Socket>()
  const server = createSocketServer((socket) => {
    sockets.add(socket)
    socket.on('close', () => sockets.delete(socket))
    door.serve(socket, undefined)
  })
  const address = await listen(server, { kind: 'tcp', host: '127.0.0.1', port: 0 })
  if (address.kind !== 'tcp') throw new Error('no port was taken')
  return {
    address: `127.0.0.1:${address.port}`,
    async close() {
      for (const socket of sockets) socket.destroy()
      await new Promise((resolve) => server.close(resolve))
      await door.close()
    },
  }
}
