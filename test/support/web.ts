/** A WebSocket bridge to a server that speaks in lines, so that a script can play a relay to a page. */
import { once } from 'node:events'
import { type AddressInfo, connect } from 'node:net'
import { WebSocketServer } from 'ws'

export interface Bridge {
  /** `127.0.0.1:PORT` */
  readonly address: string
  close(): Promise<void>
}

/**
 * @param to `127.0.0.1:PORT`; each WebSocket gets a connection there, and each message becomes a line
 * @param protocol the subprotocol to accept; false for none
 */
export async function bridge(to: string, protocol: string | false = 'asfaleia.1'): Promise<Bridge> {
  const server = new WebSocketServer({ host: '127.0.0.1', port: 0, path: '/v1', handleProtocols: () => protocol })
  server.on('connection', (socket) => {
    const [host, port] = to.split(':')
    const lines = connect({ host: host!, port: Number(port) })
    let rest = ''
    lines.on('data', (chunk) => {
      const parts = (rest + chunk.toString('latin1')).split('\n')
      rest = parts.pop()!
      // A script writes LF within a message as NEL, which no packet contains.
      for (const part of parts) socket.send(Buffer.from(part.replaceAll('\u0085', '\n'), 'latin1'), { binary: false })
    })
    lines.on('error', () => {})
    lines.on('close', () => socket.close())
    socket.on('message', (message: Buffer) => lines.write(Buffer.concat([message, Buffer.of(0x0a)])))
    socket.on('close', () => lines.destroy())
  })
  await once(server, 'listening')
  return {
    address: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    async close() {
      for (const socket of server.clients) socket.terminate()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}
