import { Duplex } from 'node:stream'
import type { Socket } from 'node:net'
import { readProxyHeader } from '../../../src/transport/proxy-header.ts'
import { chunksOf } from '../../support/chunks.ts'
import { latin1, same, type Target } from '../target.ts'

class FakeSocket extends Duplex {
  override _read(): void {}
  override _write(_chunk: unknown, _encoding: string, done: () => void): void {
    done()
  }
}

/** Returns the circuit and the rest, or that the socket was refused. */
async function play(input: Uint8Array, cuts: Iterable<number>): Promise<string> {
  const socket = new FakeSocket()
  const { promise, resolve } = Promise.withResolvers<string>()
  let rest = ''
  readProxyHeader(
    socket as unknown as Socket,
    (circuit) => {
      socket.on('data', (chunk: Buffer) => (rest += latin1(chunk)))
      socket.on('end', () => resolve(`circuit ${circuit}, then ${rest}`))
    },
    () => resolve('refused'),
  )
  for (const chunk of chunksOf(input, cuts)) if (!socket.destroyed) socket.push(Buffer.from(chunk))
  if (!socket.destroyed) socket.push(null)
  const result = await promise
  socket.destroy()
  return result
}

export const target: Target = {
  name: 'proxy-header',
  covers: ['transport/proxy-header.ts'],
  longest: 256,
  seeds: () => [
    'PROXY TCP6 fc00:dead:beef:4dad::0:1a ::1 26 3308\r\n8;asfaleia/1\n',
    'PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n',
    'PROXY UNKNOWN\r\n7\n',
    'PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n',
  ],
  async run(input) {
    const whole = await play(input, [])
    same('whole and in chunks', whole, await play(input, [1, 7, 2, 30]))
    return whole.split(' ')[0]!
  },
}
