import { spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { connect, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Address } from '../../src/transport/address.ts'
import { createSocketServer, isLoopback, listen, serveSocket, SHORT_BYTES } from '../../src/transport/socket.ts'
import type { ByteStream } from '../../src/relay/stream.ts'

let folder: string
const servers: Server[] = []
const server = (onSocket: Parameters<typeof createSocketServer>[0] = (socket) => socket.destroy()): Server => {
  const created = createSocketServer(onSocket)
  servers.push(created)
  return created
}

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'asfaleia-'))
})
afterEach(() => {
  for (const each of servers.splice(0)) each.close()
  rmSync(folder, { recursive: true })
})

describe('loopback addresses and listening', () => {
  it.each(['127.0.0.1', '127.1.2.3', '::1'])('%s is loopback', (host) => expect(isLoopback(host)).toBe(true))
  it.each([
    '0.0.0.0',
    '::',
    '10.0.0.1',
    '::ffff:127.0.0.1',
    'localhost',
    '127.evil.example',
    '12.0.0.1',
    '126.0.0.1',
    '128.0.0.1',
    '',
    '127.0.0.1.',
  ])('%s is not loopback, and listen refuses it', async (host) => {
    expect(isLoopback(host)).toBe(false)
    await expect(listen(server(), { kind: 'tcp', host, port: 0 })).rejects.toMatchObject({ code: 'NOT_LOCAL' })
  })

  it('listen returns the assigned port, and fails with EADDRINUSE for a port in use', async () => {
    const taken = await listen(server(), { kind: 'tcp', host: '127.0.0.1', port: 0 })
    expect(taken).toEqual({ kind: 'tcp', host: '127.0.0.1', port: expect.any(Number) as number })
    await expect(listen(server(), taken)).rejects.toMatchObject({ code: 'EADDRINUSE' })
  })

  it('listen creates a unix socket that only owner and group can open', async () => {
    const path = join(folder, 'relay.sock')
    const before = process.umask()
    await listen(server(), { kind: 'unix', path })
    expect(statSync(path).mode & 0o777).toBe(0o660)
    expect(process.umask()).toBe(before)
  })

  it('listen replaces a socket left by a dead process, but no socket in use and no other file', async () => {
    const path = join(folder, 'relay.sock')
    const address: Address = { kind: 'unix', path }
    await listen(server(), address)
    await expect(listen(server(), address)).rejects.toMatchObject({ code: 'EADDRINUSE' })
    const file = join(folder, 'file')
    writeFileSync(file, 'kept')
    await expect(listen(server(), { kind: 'unix', path: file })).rejects.toMatchObject({ code: 'EEXIST' })
    expect(statSync(file).size).toBe(4)
    // A killed process leaves its socket file behind, with no listener.
    const dead = join(folder, 'dead.sock')
    const script = `require('net').createServer().listen(process.argv[1], () => process.kill(process.pid, 'SIGKILL'))`
    expect(spawnSync(process.execPath, ['-e', script, dead]).signal).toBe('SIGKILL')
    expect(statSync(dead).isSocket()).toBe(true)
    await listen(server(), { kind: 'unix', path: dead })
  })
})

describe('a socket as a byte stream', () => {
  const say = (stream: ByteStream, last: string): void => {
    const end = (): void => stream.end()
    if (stream.write(Buffer.from(last), end)) end()
  }

  /** Starts a server that hands its streams to the test and records their events. */
  async function open(): Promise<{ port: number; streams: ByteStream[]; events: string[]; changed: () => Promise<void> }> {
    const streams: ByteStream[] = []
    const events: string[] = []
    let resolve = (): void => {}
    const record = (event: string): void => {
      events.push(event)
      resolve()
    }
    const address = await listen(
      server((socket) =>
        serveSocket(socket, undefined, (stream) => {
          streams.push(stream)
          record('open')
          return {
            onChunk: (chunk) => record(Buffer.from(chunk).toString()),
            onTooLarge: () => {},
            onIdleFrames: () => {},
            onFinish: () => record('<finish>'),
            onEnd: () => record('<end>'),
          }
        }),
      ),
      { kind: 'tcp', host: '127.0.0.1', port: 0 },
    )
    if (address.kind !== 'tcp') throw new Error('not TCP')
    return { port: address.port, streams, events, changed: () => new Promise<void>((then) => (resolve = then)) }
  }

  it('lets a peer that closed its sending side read on, and closes when the peer has everything', async () => {
    const { port, streams, events, changed } = await open()
    const peer = connect({ port, host: '127.0.0.1', allowHalfOpen: true })
    peer.end('question')
    while (!events.includes('<finish>')) await changed()
    say(streams[0]!, 'answer\n')
    const chunks: Buffer[] = []
    for await (const chunk of peer) chunks.push(chunk as Buffer)
    expect(Buffer.concat(chunks).toString()).toBe('answer\n')
    while (!events.includes('<end>')) await changed()
    expect(events).toEqual(['open', 'question', '<finish>', '<end>'])
    expect(streams[0]!.received).toBe('question'.length)
  })

  it('shares its buffer with other sockets, which leave nothing in it', async () => {
    const { promise: other, resolve } = Promise.withResolvers<Buffer>()
    const { promise: shared, resolve: onShared } = Promise.withResolvers<string>()
    let accepted = 0
    const address = await listen(
      server((socket) => {
        if (accepted++ === 0) return void socket.on('data', resolve)
        serveSocket(socket, undefined, () => ({
          onChunk: (chunk) => onShared(Buffer.from(chunk.buffer).toString('latin1')),
          onTooLarge: () => {},
          onIdleFrames: () => {},
          onFinish: () => {},
          onEnd: () => {},
        }))
      }),
      { kind: 'tcp', host: '127.0.0.1', port: 0 },
    )
    const { port } = address as Address & { kind: 'tcp' }
    const first = connect({ port, host: '127.0.0.1' })
    first.write('the words of another')
    expect((await other).toString()).toBe('the words of another')
    const second = connect({ port, host: '127.0.0.1' })
    second.write('x')
    expect((await shared).replaceAll('\0', '')).toBe('x')
    first.destroy()
    second.destroy()
  })

  it('delivers its last bytes to a peer that keeps sending', async () => {
    const { port, streams, events, changed } = await open()
    const peer = connect({ port, host: '127.0.0.1' })
    peer.on('error', () => {})
    peer.write('x')
    while (!events.includes('x')) await changed()
    streams[0]!.pause()
    const flood = Buffer.alloc(1 << 20, 0x78)
    peer.write(flood)
    say(streams[0]!, '99;too-large\n')
    const [said] = (await once(peer, 'data')) as [Buffer]
    expect(said.toString()).toBe('99;too-large\n')
    peer.destroy()
    while (!events.includes('<end>')) await changed()
    expect(events).toEqual(['open', 'x', '<end>'])
  })

  it('is read in short pieces until it is widened: a stranger must not make the relay keep much', async () => {
    const { port, streams, events, changed } = await open()
    const peer = connect({ port, host: '127.0.0.1' })
    const send = async (bytes: number): Promise<number> => {
      events.length = 0
      peer.write(Buffer.alloc(bytes, 0x78))
      while (events.join('').length < bytes) await changed()
      expect(events.join('')).toBe('x'.repeat(bytes))
      return Math.max(...events.map(({ length }) => length))
    }
    while (!events.includes('open')) await changed()
    for (let n = 0; n < 3; n++) expect(await send(100_000)).toBeLessThanOrEqual(SHORT_BYTES)
    streams[0]!.widen()
    await send(10)
    let longest = 0
    for (let n = 0; n < 20; n++) longest = Math.max(longest, await send(100_000))
    expect(longest).toBeGreaterThan(SHORT_BYTES)
    peer.destroy()
  })

  it('calls back once the system has taken the bytes that did not fit at once, and all of them arrive', async () => {
    const { port, streams, events, changed } = await open()
    const peer = connect({ port, host: '127.0.0.1' }).pause()
    while (!events.includes('open')) await changed()
    const bytes = Buffer.alloc(16 << 20)
    for (let at = 0; at < bytes.length; at += 4) bytes.writeUInt32LE(at, at)
    const taken = Promise.withResolvers<void>()
    let isTaken = false
    expect(streams[0]!.write(bytes, taken.resolve)).toBe(false)
    void taken.promise.then(() => (isTaken = true))
    await new Promise((resolve) => setImmediate(resolve))
    expect(isTaken).toBe(false)
    const chunks: Buffer[] = []
    peer.on('data', (chunk: Buffer) => chunks.push(chunk)).resume()
    await taken.promise
    say(streams[0]!, 'the last\n')
    await once(peer, 'end')
    const came = Buffer.concat(chunks)
    expect(came.subarray(0, bytes.length).equals(bytes)).toBe(true)
    expect(came.toString('latin1', bytes.length)).toBe('the last\n')
    peer.destroy()
  })

  it('accepts no bytes for a peer that is gone, and reports the end', async () => {
    const { port, streams, events, changed } = await open()
    const peer = connect({ port, host: '127.0.0.1' })
    while (!events.includes('open')) await changed()
    // While the relay does not read, it notices a reset only when it writes.
    streams[0]!.pause()
    const closed = once(peer, 'close')
    peer.resetAndDestroy()
    await closed
    let isTaken = false
    expect(streams[0]!.write(Buffer.from('17\n'), () => (isTaken = true))).toBe(false)
    while (!events.includes('<end>')) await changed()
    expect(streams[0]!.write(Buffer.from('17\n'), () => (isTaken = true))).toBe(false)
    await new Promise((resolve) => setImmediate(resolve))
    expect([events, isTaken]).toEqual([['open', '<end>'], false])
  })

  it('reports the end once, even if destroyed twice', async () => {
    const { port, streams, events, changed } = await open()
    const peer = connect({ port, host: '127.0.0.1' })
    await changed()
    const closed = once(peer, 'close')
    streams[0]!.destroy()
    streams[0]!.destroy()
    await closed
    // A second end of the first connection would come before that of the next one.
    connect({ port, host: '127.0.0.1' }).on('error', () => {})
    while (streams.length < 2) await changed()
    streams[1]!.destroy()
    while (events.filter((event) => event === '<end>').length < 2) await changed()
    expect(events).toEqual(['open', '<end>', 'open', '<end>'])
  })
})
