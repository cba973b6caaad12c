/**
 * A SOCKS5 server on loopback in place of Tor, which records each line between clients and relays: what an operator of
 * these relays can write down at most, with the number of the circuit.
 */
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'

export interface TapLine {
  /** The number of the connection. */
  readonly connection: number
  /** The credentials of the SOCKS request: connections with the same ones share circuits. */
  readonly circuit: string
  readonly relay: string
  readonly from: 'client' | 'relay'
  /** Without its LF, latin1. */
  readonly text: string
  /** The place of its last byte among all lines. */
  readonly at: number
}

export interface Tap {
  /** For the option `socks`. */
  readonly socks: string
  readonly lines: readonly TapLine[]
  /** Ends the connections to a relay, or all. */
  cut(relay?: string): void
  close(): Promise<void>
}

/** @param ports by host name: the port of the relay */
export async function startTap(ports: ReadonlyMap<string, number>): Promise<Tap> {
  const lines: TapLine[] = []
  const sockets = new Map<Socket, string>()
  let connections = 0
  const server = createServer((socket) => {
    const connection = ++connections
    sockets.set(socket, '')
    socket.on('error', () => {})
    socket.on('close', () => sockets.delete(socket))
    const record = (from: TapLine['from'], relay: string, circuit: string): ((chunk: Buffer) => void) => {
      let rest = ''
      return (chunk) => {
        const parts = (rest + chunk.toString('latin1')).split('\n')
        rest = parts.pop()!
        for (const text of parts) lines.push({ connection, circuit, relay, from, text, at: lines.length })
      }
    }
    let bytes = Buffer.alloc(0)
    let step: 'methods' | 'user' | 'request' = 'methods'
    let circuit = ''
    const onData = (chunk: Buffer): void => {
      bytes = Buffer.concat([bytes, chunk])
      for (;;) {
        if (step === 'methods') {
          if (bytes.length < 2 || bytes.length < 2 + bytes[1]!) return
          bytes = bytes.subarray(2 + bytes[1]!)
          socket.write(Uint8Array.of(5, 2))
          step = 'user'
        } else if (step === 'user') {
          const user = bytes[1]
          if (user === undefined || bytes.length < 3 + user || bytes.length < 3 + user + bytes[2 + user]!) return
          const end = 3 + user + bytes[2 + user]!
          circuit = bytes.subarray(2, end).toString('latin1')
          bytes = bytes.subarray(end)
          socket.write(Uint8Array.of(1, 0))
          step = 'request'
        } else {
          const length = bytes[4]
          if (length === undefined || bytes.length < 7 + length) return
          const host = bytes.subarray(5, 5 + length).toString('latin1')
          const early = bytes.subarray(7 + length)
          socket.off('data', onData)
          void reach(host, early)
          return
        }
      }
    }
    const reach = async (host: string, early: Buffer): Promise<void> => {
      socket.pause()
      const target = connect(ports.get(host) ?? 1, '127.0.0.1')
      target.on('error', () => {
        socket.end(Uint8Array.of(5, 5, 0, 1, 0, 0, 0, 0, 0, 0))
      })
      try {
        await once(target, 'connect')
      } catch {
        return
      }
      sockets.set(socket, host)
      sockets.set(target, host)
      target.on('close', () => {
        sockets.delete(target)
        socket.destroy()
      })
      socket.on('close', () => target.destroy())
      socket.write(Uint8Array.of(5, 0, 0, 1, 0, 0, 0, 0, 0, 0))
      const fromClient = record('client', host, circuit)
      if (early.length > 0) {
        fromClient(early)
        target.write(early)
      }
      socket.on('data', fromClient)
      target.on('data', record('relay', host, circuit))
      socket.pipe(target)
      target.pipe(socket)
    }
    socket.on('data', onData)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    socks: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    lines,
    cut(relay) {
      for (const [socket, host] of sockets) if (relay === undefined || host === relay) socket.destroy()
    },
    async close() {
      for (const socket of sockets.keys()) socket.destroy()
      server.close()
      await once(server, 'close')
    },
  }
}
