import { randomBytes } from 'node:crypto'
import { EventEmitter, once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { connect, createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, describe, expect, it } from 'vitest'
import { Channel, type ChannelError, MAX_RECORD_BYTES } from '../../src/handover/channel.ts'

const folder = mkdtempSync(join(tmpdir(), 'asfaleia-channel-'))
afterAll(() => rmSync(folder, { recursive: true }))

const psk = randomBytes(32)
const options = { psk, patience: 10_000 }
const sockets: Socket[] = []
afterEach(() => {
  for (const socket of sockets.splice(0)) socket.destroy()
})

let pairs = 0
/** Opens a connection and returns both its ends. */
async function pair(): Promise<[Socket, Socket]> {
  const server = createServer({ allowHalfOpen: true, pauseOnConnect: true })
  server.listen(join(folder, `${pairs++}.sock`))
  await once(server, 'listening')
  const here = connect(server.address() as string)
  const [there] = (await once(server, 'connection')) as [Socket]
  await new Promise((resolve) => (here.connecting ? here.once('connect', resolve) : resolve(undefined)))
  server.close()
  sockets.push(here, there)
  return [here, there]
}

async function channels(more: { readonly patience?: number } = {}): Promise<{ here: Channel; there: Channel; sockets: [Socket, Socket] }> {
  const both = await pair()
  const [here, there] = await Promise.all([Channel.open(both[0], options), Channel.accept(both[1], { ...options, ...more })])
  return { here, there, sockets: both }
}

const problem = (name: ChannelError['problem']) => expect.objectContaining({ name: 'ChannelError', problem: name })

describe('a channel', () => {
  it('carries records of every length in both directions', async () => {
    const { here, there } = await channels()
    for (const length of [1, 2, 1_000, MAX_RECORD_BYTES]) {
      const record = randomBytes(length)
      for (const [from, to] of [
        [here, there],
        [there, here],
      ] as const) {
        await from.send(record)
        expect((await to.receive()).equals(record)).toBe(true)
      }
    }
  })

  it('encrypts its records', async () => {
    const {
      here,
      there,
      sockets: [, socket],
    } = await channels()
    const seen: Buffer[] = []
    const read = socket.read.bind(socket) as (size: number) => Buffer | null
    socket.read = (size: number) => {
      const bytes = read(size)
      if (bytes !== null) seen.push(Buffer.from(bytes))
      return bytes
    }
    await here.send(Buffer.from('canary in a coal mine'))
    expect((await there.receive()).toString()).toBe('canary in a coal mine')
    expect(Buffer.concat(seen).length).toBe(2 + 21 + 16)
    expect(Buffer.concat(seen).includes('canary')).toBe(false)
  })

  it('makes a fast sender wait for a slow reader', async () => {
    const { here, there } = await channels()
    const record = Buffer.alloc(MAX_RECORD_BYTES)
    let sent = 0
    const sending = (async () => {
      for (; sent < 200; sent++) await here.send(record)
    })()
    // Only the kernel's buffers fill up; the sender waits until the peer reads.
    for (let read = 0; read < 200; read++) {
      expect(sent - read).toBeLessThan(100)
      await there.receive()
    }
    await sending
  })

  it('distinguishes a peer that ended the channel from one that never spoke', async () => {
    const [here, there] = await pair()
    const accepting = Channel.accept(there, options)
    here.destroy()
    await expect(accepting).rejects.toEqual(problem('silent'))
    const both = await channels()
    both.here.close()
    await expect(both.there.receive()).rejects.toEqual(problem('ended'))
    await expect(both.there.send(Buffer.alloc(1)).then(() => both.there.receive())).rejects.toEqual(problem('ended'))
  })

  it('delivers the records sent before close()', async () => {
    const { here, there } = await channels()
    await here.send(Buffer.from('last words'))
    here.close('after sending')
    expect((await there.receive()).toString()).toBe('last words')
    await expect(there.receive()).rejects.toEqual(problem('ended'))
  })

  it('ends a handshake of a byte now and then once its whole time is over', async () => {
    const [here, there] = await pair()
    const accepting = Channel.accept(there, { psk, patience: 10_000, whole: 50 })
    accepting.catch(() => {})
    const dripping = setInterval(() => here.write(Buffer.of(0)), 5)
    here.on('error', () => {})
    here.write(Buffer.of(0, 48))
    await expect(accepting).rejects.toEqual(problem('stalled'))
    clearInterval(dripping)
    expect(there.bytesRead).toBeLessThan(50)
  })

  it('gives up once its whole time is over, however long its patience is', async () => {
    const { there } = await channels({ patience: 3_600_000 })
    there.limit(1)
    await expect(there.receive()).rejects.toEqual(problem('stalled'))
  })

  it('waits only a few times more once its whole time is over', async () => {
    /** A socket that becomes readable again and again, and never has enough bytes. */
    class Trickle extends EventEmitter {
      readonly readableEnded = false
      destroyed = false
      reads = 0
      pause(): void {}
      destroy(): void {
        this.destroyed = true
      }
      read(size: number): null {
        if (size > 0 && ++this.reads > 1_000) throw new Error('the channel waits without an end')
        return null
      }
      override on(event: string, listener: () => void): this {
        if (event === 'readable') setImmediate(() => this.emit('readable'))
        return super.on(event, listener)
      }
    }
    const socket = new Trickle()
    const accepting = Channel.accept(socket as unknown as Socket, { ...options, patience: 3_600_000, whole: 0 })
    await expect(accepting).rejects.toEqual(problem('stalled'))
    expect(socket.destroyed).toBe(true)
  })

  it('takes an answer that came in time, even if this process was stopped until its patience was over', async () => {
    const {
      here,
      there,
      sockets: [, socket],
    } = await channels()
    there.limit(20)
    const receiving = there.receive()
    await here.send(Buffer.from('in time'))
    // The event loop does nothing for this long, as in a process that was stopped.
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 50)
    expect((await receiving).toString()).toBe('in time')
    await expect(there.receive()).rejects.toEqual(problem('stalled'))
    expect(socket.destroyed).toBe(false)
  })

  it('is quiet until the peer sends something or leaves', async () => {
    const { here, there } = await channels()
    expect(await there.isQuiet()).toBe(true)
    await here.send(Buffer.from('one'))
    expect(await there.isQuiet()).toBe(false)
    expect((await there.receive()).toString()).toBe('one')
    expect(await there.isQuiet()).toBe(true)
    await here.send(Buffer.from('two'))
    here.close('after sending')
    expect((await there.receive()).toString()).toBe('two')
    expect(await there.isQuiet()).toBe(false)
    await expect(there.receive()).rejects.toEqual(problem('ended'))
  })

  it('tells a peer that was turned away that this side is busy', async () => {
    const [here, there] = await pair()
    Channel.turnAway(there)
    await expect(Channel.open(here, options)).rejects.toEqual(problem('busy'))
  })

  it('gives up a silent peer after its patience', async () => {
    const [, there] = await pair()
    await expect(Channel.accept(there, { psk, patience: 1 })).rejects.toEqual(problem('stalled'))
    expect(there.destroyed).toBe(true)
  })

  it('ends without an answer if the secrets differ: the accepting side reports forged, the opening side silent', async () => {
    const [here, there] = await pair()
    const opening = Channel.open(here, { psk: randomBytes(32), patience: 10_000 })
    const [opened, accepted] = await Promise.allSettled([opening, Channel.accept(there, options)])
    expect(opened).toMatchObject({ reason: problem('silent') })
    expect(accepted).toMatchObject({ reason: problem('forged') })
  })

  it('refuses an answer from a peer without the secret', async () => {
    const [here, there] = await pair()
    const opening = Channel.open(here, options)
    there.write(Buffer.concat([Buffer.of(0, 48), randomBytes(48)]))
    await expect(opening).rejects.toEqual(problem('forged'))
  })

  it.each([
    ['a length over that of a handshake', Buffer.of(0xff, 0xff, 1, 2, 3)],
    ['a length of zero', Buffer.of(0, 0)],
    ['garbage', Buffer.concat([Buffer.of(0, 48), randomBytes(48)])],
    ['a packet of a chat client', Buffer.from('8;asfaleia/1\n')],
  ])('refuses %s instead of a handshake', async (_name, bytes) => {
    const [here, there] = await pair()
    const accepting = Channel.accept(there, options)
    here.write(bytes)
    await expect(accepting).rejects.toEqual(problem('forged'))
    expect(there.destroyed).toBe(true)
  })

  it('reports a truncated handshake as ended', async () => {
    const [here, there] = await pair()
    const accepting = Channel.accept(there, options)
    here.end(Buffer.concat([Buffer.of(0, 48), randomBytes(47)]))
    await expect(accepting).rejects.toEqual(problem('ended'))
  })

  it('refuses a changed, empty or too short record', async () => {
    for (const bytes of [Buffer.concat([Buffer.of(0, 20), randomBytes(20)]), Buffer.of(0, 0), Buffer.of(0, 3, 1, 2, 3)]) {
      const {
        there,
        sockets: [socket],
      } = await channels()
      socket.write(bytes)
      await expect(there.receive()).rejects.toEqual(problem('forged'))
    }
  })

  it('refuses a replayed session', async () => {
    const [here, there] = await pair()
    const said: Buffer[] = []
    const write = here.write.bind(here)
    here.write = ((bytes: Buffer, done: () => void) => {
      said.push(Buffer.from(bytes))
      return write(bytes, done)
    }) as typeof here.write
    const [opened, accepted] = await Promise.all([Channel.open(here, options), Channel.accept(there, options)])
    await opened.send(Buffer.from('take'))
    expect((await accepted.receive()).toString()).toBe('take')
    const [replaying, victim] = await pair()
    replaying.write(Buffer.concat(said))
    const again = await Channel.accept(victim, options)
    await expect(again.receive()).rejects.toEqual(problem('forged'))
  })
})
