import { EventEmitter, once } from 'node:events'
import { connect, createServer, type AddressInfo, type Socket } from 'node:net'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { parseProxyHeader, readProxyHeader } from '../../src/transport/proxy-header.ts'

const LINE = 'PROXY TCP6 fc00:dead:beef:4dad::0:a6 ::1 166 7777'

describe('parseProxyHeader', () => {
  it.each([
    [LINE, { circuit: 'fc00:dead:beef:4dad::0:a6' }],
    ['PROXY TCP4 10.0.0.1 127.0.0.1 1 2', { circuit: '10.0.0.1' }],
    ['PROXY UNKNOWN', { circuit: undefined }],
    ['PROXY UNKNOWN ffff::1 ffff::2 1 2', { circuit: undefined }],
    ['PROXY TCP6 fc00::1 ::1 166', undefined],
    ['PROXY TCP6 fc00::1 ::1 166 7777 more', undefined],
    ['PROXY  TCP6 fc00::1 ::1 166 7777', undefined],
    ['PROXY TCP6 nonsense ::1 166 7777', undefined],
    ['proxy TCP6 fc00::1 ::1 166 7777', undefined],
    ['8;asfaleia/1', undefined],
    ['', undefined],
  ])('%s', (line, expected) => {
    expect(parseProxyHeader(line)).toEqual(expected)
  })
})

describe('PROXY line on a socket', () => {
  const seen: { circuit: string | undefined; rest: string }[] = []
  let refused = 0
  let changed = (): void => {}
  const sockets: Socket[] = []
  const server = createServer((socket: Socket) => {
    sockets.push(socket)
    readProxyHeader(
      socket,
      (circuit) => {
        const entry = { circuit, rest: '' }
        seen.push(entry)
        socket.on('data', (chunk: Buffer) => {
          entry.rest += chunk.toString('latin1')
          changed()
        })
      },
      () => {
        refused++
        changed()
      },
    )
  })
  let port: number
  beforeEach(async () => {
    seen.length = 0
    refused = 0
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    port = (server.address() as AddressInfo).port
  })
  afterEach(async () => {
    for (const socket of sockets.splice(0)) socket.destroy()
    server.close()
    await once(server, 'close')
  })

  /** Sends the pieces one by one, each after the one before is flushed. */
  async function send(...pieces: string[]): Promise<Socket> {
    const socket = connect(port, '127.0.0.1').on('error', () => {})
    socket.setNoDelay(true)
    for (const piece of pieces) await new Promise((resolve) => socket.write(piece, 'latin1', resolve))
    return socket
  }

  async function until(condition: () => boolean): Promise<void> {
    while (!condition()) await new Promise<void>((resolve) => (changed = resolve))
  }

  it.each([
    ['in one piece with the bytes after it', [`${LINE}\r\n7\n8;x`]],
    ['byte by byte', [...`${LINE}\r\n7\n8;x`]],
    ['cut inside its line end', [`${LINE}\r`, '\n', '7\n8;x']],
  ])('is read and removed if it arrives %s', async (_name, pieces) => {
    const socket = await send(...pieces)
    await until(() => seen[0]?.rest.length === 5)
    expect(seen).toEqual([{ circuit: 'fc00:dead:beef:4dad::0:a6', rest: '7\n8;x' }])
    socket.destroy()
  })

  it.each([
    ['is missing', '8;asfaleia/1\n'],
    ['ends in LF alone', `${LINE}\n7\n`],
    ['never ends', 'P'.repeat(200)],
  ])('ends the connection if it %s', async (_name, text) => {
    const socket = await send(text)
    const closed = once(socket, 'close')
    await until(() => refused === 1)
    await closed
    expect(seen).toEqual([])
  })

  it.each([
    [107, 0],
    [108, 1],
  ])('of %i bytes, its line end included, is refused %i times', async (length, refusals) => {
    const head = 'PROXY UNKNOWN '
    const socket = await send(`${head}${'x'.repeat(length - head.length - 2)}\r\n7`)
    const closed = once(socket, 'close')
    await until(() => refused === refusals && (refusals === 1 || seen[0]?.rest === '7'))
    if (refusals === 0) socket.destroy()
    await closed
    expect(refused).toBe(refusals)
  })

  it('ends the connection if it does not come within ten seconds, and leaves one that came alone', () => {
    vi.useFakeTimers()
    try {
      const create = (): { socket: EventEmitter & { destroyed: boolean }; refusals: () => number } => {
        let refusals = 0
        const socket = Object.assign(new EventEmitter(), {
          destroyed: false,
          destroy: () => void (socket.destroyed = true),
          pause: () => {},
          resume: () => {},
          unshift: () => {},
        })
        readProxyHeader(
          socket as unknown as Socket,
          () => {},
          () => void refusals++,
        )
        return { socket, refusals: () => refusals }
      }
      const [silent, slow, good] = [create(), create(), create()]
      slow.socket.emit('data', Buffer.from('PROXY '))
      good.socket.emit('data', Buffer.from(`${LINE}\r\n`))
      vi.advanceTimersByTime(9_999)
      slow.socket.emit('data', Buffer.from('TCP6'))
      expect([silent, slow, good].map(({ socket, refusals }) => [socket.destroyed, refusals()])).toEqual([
        [false, 0],
        [false, 0],
        [false, 0],
      ])
      vi.advanceTimersByTime(1)
      expect([silent, slow, good].map(({ socket, refusals }) => [socket.destroyed, refusals()])).toEqual([
        [true, 1],
        [true, 1],
        [false, 0],
      ])
    } finally {
      vi.useRealTimers()
    }
  })

  it('ends the connection if the peer hangs up before the line is complete, counted once', async () => {
    const socket = await send('PROXY')
    socket.end()
    await once(socket, 'close')
    // A second count would come before the next connection is read.
    const next = await send(`${LINE}\r\n7`)
    await until(() => seen[0]?.rest === '7')
    next.destroy()
    expect(refused).toBe(1)
  })
})
