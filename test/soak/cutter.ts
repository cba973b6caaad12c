/** A way between the clients and the relay that the soak cuts at random moments: the clients then connect again. */
import { connect, createServer, type Socket } from 'node:net'

export interface Cutter {
  readonly port: number
  /** The number of connections that it has cut. */
  readonly cuts: () => number
  /** Cuts a connection, or all. */
  cut(all?: boolean): void
  close(): Promise<void>
}

export async function openCutter(relayPort: number): Promise<Cutter> {
  const ways = new Map<Socket, Socket>()
  let cuts = 0
  const server = createServer({ noDelay: true }, (client) => {
    const relay = connect({ host: '127.0.0.1', port: relayPort, noDelay: true })
    ways.set(client, relay)
    const end = (): void => {
      ways.delete(client)
      client.destroy()
      relay.destroy()
    }
    for (const side of [client, relay]) side.on('error', end).on('close', end)
    client.pipe(relay).pipe(client)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('no port was taken')
  return {
    port: address.port,
    cuts: () => cuts,
    cut(all = false) {
      const clients = [...ways.keys()]
      for (const each of all ? clients : clients.slice((Math.random() * clients.length) | 0).slice(0, 1)) {
        cuts++
        each.destroy()
      }
    },
    async close() {
      const closed = new Promise((resolve) => server.close(resolve))
      for (const each of ways.keys()) each.destroy()
      await closed
    },
  }
}
