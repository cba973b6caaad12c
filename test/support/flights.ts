/**
 * A SOCKS5 server on loopback in place of Tor, whose circuits stand already: a stream takes a trip to open, and bytes take
 * half a trip each way. It counts the flights of each connection. The first flight is what follows the SOCKS request
 * before its answer. Each later one is what the client writes once it has the answer to an earlier flight.
 */
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'

export interface Flown {
  readonly connection: number
  /** The credentials of the SOCKS request. */
  readonly circuit: string
  readonly from: 'client' | 'relay'
  /** The round trips until this line left the client, or reached it: the SOCKS request leaves in the first. */
  readonly flight: number
  /** Without its LF, latin1. */
  readonly text: string
}

export interface Flights {
  /** For the option `socks`. */
  readonly socks: string
  readonly lines: readonly Flown[]
  /** The connections that stand. */
  readonly open: number
  cut(): void
  close(): Promise<void>
}

/** @param trip ms */
export async function startFlights(port: number, trip: number): Promise<Flights> {
  const lines: Flown[] = []
  const sockets = new Set<Socket>()
  const standing = new Set<number>()
  let connections = 0
  const server = createServer({ noDelay: true }, (socket) => {
    const connection = ++connections
    sockets.add(socket)
    socket.on('error', () => {})
    socket.on('close', () => {
      sockets.delete(socket)
      standing.delete(connection)
    })
    void serve(socket, connection).catch(() => socket.destroy())
  })

  async function serve(socket: Socket, connection: number): Promise<void> {
    const methods = await read(socket, (bytes) => (bytes.length < 2 ? undefined : 2 + bytes[1]!))
    if (methods.length === 0) return
    socket.write(Uint8Array.of(5, 2))
    const user = await read(socket, (bytes) => {
      const length = bytes[1]
      return length === undefined || bytes[2 + length] === undefined ? undefined : 3 + length + bytes[2 + length]!
    })
    const circuit = user.toString('latin1')
    socket.write(Uint8Array.of(1, 0))
    await read(socket, (bytes) => (bytes[4] === undefined ? undefined : 7 + bytes[4]))
    // The highest flight of the client that has arrived, and of which the answer has arrived.
    let answered = 0
    let arrived = 0
    const target = connect({ port, host: '127.0.0.1', noDelay: true })
    sockets.add(target)
    target.on('error', () => socket.destroy())
    target.on('close', () => {
      sockets.delete(target)
      socket.destroy()
    })
    socket.on('close', () => target.destroy())
    const half = trip / 2
    const record = (from: Flown['from']): ((chunk: Buffer, flight: number) => void) => {
      let rest = ''
      return (chunk, flight) => {
        const parts = (rest + chunk.toString('latin1')).split('\n')
        rest = parts.pop()!
        for (const text of parts) lines.push({ connection, circuit, from, flight, text })
      }
    }
    const [fromClient, fromRelay] = [record('client'), record('relay')]
    socket.on('data', (chunk: Buffer) => {
      const flight = answered + 1
      fromClient(chunk, flight)
      setTimeout(() => {
        arrived = Math.max(arrived, flight)
        target.write(chunk)
      }, half)
    })
    socket.resume()
    await Promise.all([once(target, 'connect'), delay(half)])
    standing.add(connection)
    // The request was the first flight, whether or not bytes followed it.
    arrived = Math.max(arrived, 1)
    target.on('data', (chunk: Buffer) => {
      const flight = arrived
      setTimeout(() => {
        answered = Math.max(answered, flight)
        fromRelay(chunk, flight)
        socket.write(chunk)
      }, half)
    })
    setTimeout(() => {
      answered = Math.max(answered, 1)
      socket.write(Uint8Array.of(5, 0, 0, 1, 0, 0, 0, 0, 0, 0))
    }, half)
  }

  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    socks: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    lines,
    get open() {
      return standing.size
    },
    cut() {
      for (const socket of sockets) socket.destroy()
    },
    async close() {
      for (const socket of sockets) socket.destroy()
      server.close()
      await once(server, 'close')
    },
  }
}

/** Reads as many bytes as `lengthOf` tells, and leaves the others in the socket. */
async function read(socket: Socket, lengthOf: (bytes: Buffer) => number | undefined): Promise<Buffer> {
  let bytes: Buffer = Buffer.alloc(0)
  for (;;) {
    const length = lengthOf(bytes)
    if (length !== undefined && bytes.length >= length) {
      if (bytes.length > length) socket.unshift(bytes.subarray(length))
      return bytes.subarray(0, length)
    }
    const chunk = socket.read() as Buffer | null
    if (chunk === null) {
      if (socket.destroyed || socket.readableEnded) throw new Error('the client has gone')
      await once(socket, 'readable')
    } else bytes = Buffer.concat([bytes, chunk])
  }
}
