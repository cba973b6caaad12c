/**
 * A SOCKS5 server on loopback in place of Tor: it records requests, and answers with a code or connects every
 * name to one local port.
 */
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'

export interface SocksRequest {
  readonly user: string
  readonly password: string
  /** 1 IPv4, 3 host name, 4 IPv6. */
  readonly type: number
  readonly host: string
  readonly port: number
}

export interface SocksServer {
  readonly port: number
  readonly requests: SocksRequest[]
  /** Ends every connection. */
  cut(): void
  close(): Promise<void>
}

/** The port for every name, or for onion names alone, or the code of a refusal. */
type Answer = { readonly to: number; readonly onionsOnly?: true } | { readonly code: number }

export async function startSocksServer(answer: Answer): Promise<SocksServer> {
  const requests: SocksRequest[] = []
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    sockets.add(socket)
    socket.on('error', () => {})
    socket.on('close', () => sockets.delete(socket))
    void serve(socket, answer, requests, sockets).catch(() => socket.destroy())
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    port: (server.address() as AddressInfo).port,
    requests,
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

async function serve(socket: Socket, answer: Answer, requests: SocksRequest[], sockets: Set<Socket>): Promise<void> {
  let wake = (): void => {}
  const onReadable = (): void => wake()
  socket.on('readable', onReadable)
  socket.on('close', onReadable)
  const take = async (length: number): Promise<Buffer> => {
    for (;;) {
      const bytes = length === 0 ? Buffer.alloc(0) : (socket.read(length) as Buffer | null)
      if (bytes?.length === length) return bytes
      if (socket.destroyed || socket.readableEnded) throw new Error('the client has gone')
      await new Promise<void>((resolve) => (wake = resolve))
    }
  }
  const counted = async (): Promise<string> => (await take((await take(1))[0]!)).toString('latin1')
  const methods = await take((await take(2))[1]!)
  const withUser = methods.includes(2)
  socket.write(Uint8Array.of(5, withUser ? 2 : 0))
  let user = ''
  let password = ''
  if (withUser) {
    await take(1)
    user = await counted()
    password = await counted()
    socket.write(Uint8Array.of(1, 0))
  }
  const type = (await take(4))[3]!
  const host = type === 3 ? await counted() : (await take(type === 1 ? 4 : 16)).join('.')
  const port = (await take(2)).readUInt16BE()
  requests.push({ user, password, type, host, port })
  const reply = (code: number): void => void socket.write(Uint8Array.of(5, code, 0, 1, 0, 0, 0, 0, 0, 0))
  const refusal = 'code' in answer ? answer.code : answer.onionsOnly === true && !host.endsWith('.onion') ? 4 : undefined
  if (refusal !== undefined || 'code' in answer) {
    reply(refusal!)
    socket.end()
    return
  }
  const target = connect(answer.to, '127.0.0.1')
  sockets.add(target)
  target.on('error', () => socket.destroy())
  await once(target, 'connect')
  reply(0)
  socket.off('readable', onReadable)
  socket.pipe(target).pipe(socket)
}
