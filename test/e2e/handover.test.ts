/**
 * Relays that take over from each other, as servers in this process and as separate processes: no message is
 * lost or duplicated.
 */
import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { chmodSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { connect, createServer, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { parseConfig } from '../../src/config/config.ts'
import type { Address } from '../../src/transport/address.ts'
import { Channel, MAX_RECORD_BYTES } from '../../src/handover/channel.ts'
import { MessageWriter } from '../../src/handover/message.ts'
import { decodeRecord, encodeRecord, type HandoverRecord, VERSION } from '../../src/handover/record.ts'
import { createLog } from '../../src/log.ts'
import { type RunningServer, startServer } from '../../src/server/server.ts'
import { ASFALEIA, type Running, start as startProgram } from '../support/process.ts'
import { connectRaw, connectWebSocket, createPerson, type Person, type Wire } from '../support/wire.ts'

const [alice, bob] = [createPerson(), createPerson()]
let folder: string
const running: Running[] = []
const servers: RunningServer[] = []
let logged: string[] = []
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'asfaleia-'))
  logged = []
})
afterEach(async () => {
  await Promise.all(running.splice(0).map((each) => each.end('SIGKILL')))
  for (const server of servers.splice(0)) await server.close()
  rmSync(folder, { recursive: true })
})

const at = (name: string): string => join(folder, name)
const events = (): string[] => logged.map((line) => (JSON.parse(line) as { event: string }).event)

interface Started extends RunningServer {
  readonly tcp: Address
  /** Closes the server once it has handed everything over, as the command does. */
  handed(): Promise<void>
}

async function start(options: { argv?: string[]; tcp?: string; unix?: string; signal?: AbortSignal } = {}): Promise<Started> {
  const argv = [
    '--name',
    'localhost',
    '--tcp',
    options.tcp ?? '127.0.0.1:0',
    '--unix',
    options.unix ?? at('raw'),
    '--http',
    `unix:${at('http')}`,
    '--operator',
    `unix:${at('operator')}`,
  ]
  const parsed = parseConfig({
    env: {},
    argv: [...argv, '--mailbox-messages', '2000', '--handover', at('handover'), ...(options.argv ?? [])],
    readFile: () => '',
  })
  if (!('config' in parsed)) throw new Error(JSON.stringify(parsed))
  const log = createLog({ level: 'debug', format: 'json', write: (line) => logged.push(line) })
  const server = await startServer(parsed.config, log, { version: '0.0.0', page: at('page') }, options.signal)
  servers.push(server)
  return {
    ...server,
    tcp: server.listening.find(({ door }) => door === 'tcp')!.address,
    async handed() {
      await server.handedOver
      servers.splice(servers.indexOf(server), 1)
      await server.close()
    },
  }
}

async function startAfter(first: Started): Promise<Started> {
  const second = await start({ tcp: portOf(first.tcp) })
  await first.handed()
  return second
}

const portOf = (address: Address): string => (address.kind === 'tcp' ? `127.0.0.1:${address.port}` : '')
const unix = (): Promise<Wire> => connectRaw({ kind: 'unix', path: at('raw') })

async function send(wire: Wire, token: string, count: number, size: number): Promise<string[]> {
  const ids: string[] = []
  for (let i = 0; i < count; i++) wire.send(`3;${token};${bob.line};${String(i).padStart(8, '0')}${'A'.repeat(size - 8)}\n`)
  for (let i = 0; i < count; i++) ids.push((await wire.line())!.split(';')[1]!)
  return ids
}

/** Leases and acknowledges all waiting messages; returns their ids and the numbers in their payloads. */
async function takeAll(wire: Wire, token: string): Promise<{ ids: string[]; numbers: number[] }> {
  const ids: string[] = []
  const numbers: number[] = []
  for (;;) {
    const [no, count] = (await wire.ask(`4;${token};lease`)).split(';')
    expect(no).toBe('14')
    if (count === '0') return { ids, numbers }
    const got: string[] = []
    for (let i = 0; i < Number(count); i++) {
      const [, id, payload] = (await wire.line())!.split(';')
      got.push(id!)
      numbers.push(Number(payload!.slice(0, 8)))
    }
    expect(await wire.ask(`5;${token};${got.join(';')}`)).toBe(`15;${count}`)
    ids.push(...got)
  }
}

/** Returns a secret as CLAIM shows it, and the receiver that others write to. */
function createSecret(): readonly [secret: string, address: string] {
  const secret = randomBytes(32)
  return [secret.toString('base64url'), `SHA256:${createHash('sha256').update(secret).digest('base64').replace('=', '')}`]
}

const upTo = (count: number): number[] => Array.from({ length: count }, (_, number) => number)

describe('a relay that takes over from another', () => {
  it('keeps messages, order, ids, tokens and formerly leased messages, and the old relay notifies its clients', async () => {
    const first = await start()
    const sender = await connectRaw(first.tcp)
    const sending = await sender.login(alice)
    const ids = await send(sender, sending, 1_000, 1_000)
    const reader = await unix()
    const reading = await reader.login(bob)
    expect(await reader.ask(`6;${reading}`)).toBe('16;1000')
    for (let i = 0; i < 10; i++) expect((await reader.line())!.split(';')[1]).toBe(ids[i])
    const page = await connectWebSocket({ kind: 'unix', path: at('http') })
    await page.login(alice, 'sign')

    const second = await startAfter(first)
    // Another test may be building the page.
    expect(events().filter((event) => event !== 'listening' && event !== 'page-unusable')).toEqual([
      'handover-started',
      'taking-over',
      'taken-over',
      'handed-over',
    ])
    for (const wire of [sender, page]) {
      expect(await wire.line()).toBe('98;restarting;3')
      expect(await wire.line()).toBeUndefined()
    }

    const again = await connectRaw(second.tcp)
    const [, later] = (await again.ask(`3;${sending};${bob.line};${'00001000'}`)).split(';')
    expect(await takeAll(await unix(), reading)).toEqual({ ids: [...ids, later], numbers: upTo(1_001) })
    await (await connectWebSocket({ kind: 'unix', path: at('http') })).login(bob)
  })

  it('keeps bundles, and the mailboxes of claims', async () => {
    const first = await start()
    const [secret, address] = createSecret()
    const wire = await connectRaw(first.tcp)
    expect(await wire.ask(`34;${secret};a`)).toMatch(/^12;/)
    expect(await wire.ask('30;a;QUJD')).toBe('31;1209600')
    expect(await wire.ask(`3;a;${address};REVG`)).toMatch(/^13;/)
    expect(await wire.ask(`30;${await wire.login(alice)};${'A'.repeat(8_192)}`)).toBe('31;1209600')
    const second = await startAfter(first)
    const third = await startAfter(second)
    const again = await connectRaw(third.tcp)
    expect(await again.ask(`34;${secret};b`)).toMatch(/^12;/)
    expect(await again.ask(`32;b;${address}`)).toBe('33;QUJD')
    expect(await again.ask(`32;b;${alice.line}`)).toBe(`33;${'A'.repeat(8_192)}`)
    expect(await again.ask(`32;b;${bob.line}`)).toBe('33')
    expect(await again.ask('4;b')).toBe('14;1;0')
    expect(await again.line()).toMatch(/^20;.*;REVG$/)
  })

  it('keeps counting how much each key has sent recently', async () => {
    const first = await start({ argv: ['--per-sender', '512K'] })
    const wire = await connectRaw(first.tcp)
    const token = await wire.login(alice)
    await send(wire, token, 17, 30_000)
    const second = await startAfter(first)
    const third = await start({ tcp: portOf(second.tcp), argv: ['--per-sender', '512K'] })
    await second.handed()
    const last = await connectRaw(third.tcp)
    const ask = async (person: Person): Promise<string> => last.ask(`3;${await last.login(person)};${bob.line};${'A'.repeat(30_000)}`)
    expect(await ask(alice)).toMatch(/^99;rate-limited;/)
    expect(await ask(bob)).toMatch(/^13;/)
  })

  it('can hand over again and again', async () => {
    let last = await start()
    const wire = await unix()
    const token = await wire.login(bob)
    await send(wire, token, 20, 100)
    for (let round = 0; round < 3; round++) last = await startAfter(last)
    expect((await takeAll(await unix(), token)).numbers).toEqual(upTo(20))
  })

  it('answers restarting on every door during a handover, and serves again if the successor disappears', async () => {
    const first = await start()
    const wire = await connectRaw(first.tcp)
    const token = await wire.login(bob)
    await send(wire, token, 10, 100)
    const socket = connect(at('handover'))
    const channel = await Channel.open(socket, { psk: Buffer.alloc(32), patience: 10_000 })
    await channel.send(encodeRecord({ kind: 'take', version: VERSION, memory: 2 ** 30 }))
    expect(decodeRecord(await channel.receive()).kind).toBe('give')
    expect(await wire.line()).toBe('98;restarting;3')
    for (const open of [() => connectRaw(first.tcp), unix, () => connectWebSocket({ kind: 'unix', path: at('http') })]) {
      const newcomer = await open()
      expect(await newcomer.line()).toMatch(/^99;restarting;[^;]*;3$/)
      expect(await newcomer.line()).toBeUndefined()
    }
    channel.close()
    // The relay notices the end a moment later; until then it answers restarting.
    let answer = '99;restarting'
    while (answer.startsWith('99;restarting')) {
      await new Promise((resolve) => setTimeout(resolve, 10))
      answer = await (await unix()).ask(`3;${token};${bob.line};${'00000010'}`)
    }
    expect(answer).toMatch(/^13;/)
    expect((await takeAll(await connectRaw(first.tcp), token)).numbers).toEqual(upTo(11))
  })

  it('leaves the old relay running if it cannot open a door', async () => {
    const first = await start()
    const wire = await connectRaw(first.tcp)
    const token = await wire.login(bob)
    await send(wire, token, 100, 1_000)
    writeFileSync(at('file'), '')
    const failing = start({ tcp: portOf(first.tcp), unix: at('file') })
    await expect(failing).rejects.toMatchObject({ problems: [{ key: 'unix', problem: `${at('file')} exists and is not a socket` }] })
    const second = await startAfter(first)
    expect(events().filter((event) => event.startsWith('handover'))).toEqual(['handover-started', 'handover-failed', 'handover-started'])
    expect((await takeAll(await connectRaw(second.tcp), token)).numbers).toEqual(upTo(100))
  })

  it('leaves the old relay running if it is interrupted before it serves', async () => {
    const first = await start()
    const wire = await connectRaw(first.tcp)
    const token = await wire.login(bob)
    await send(wire, token, 100, 1_000)
    const stop = new AbortController()
    stop.abort()
    await expect(start({ tcp: portOf(first.tcp), signal: stop.signal })).rejects.toMatchObject({
      problems: [{ problem: 'the takeover was interrupted' }],
    })
    expect((await takeAll(wire, token)).numbers).toEqual(upTo(100))
  })

  describe('which this test plays', () => {
    /** Listens in the place of a relay. The successor's connection gets to `hand` after the handshake and `take`. */
    const play = async (hand: (channel: Channel) => Promise<void>): Promise<Server> => {
      const server = createServer((socket) => {
        socket.on('error', () => {})
        void (async () => {
          const channel = await Channel.accept(socket, { psk: Buffer.alloc(32), patience: 10_000 })
          await channel.receive()
          await hand(channel)
        })().catch(() => socket.destroy())
      })
      await once(server.listen(at('handover')), 'listening')
      return server
    }
    const say = (channel: Channel, record: HandoverRecord): Promise<void> => channel.send(encodeRecord(record))
    const hear = async (channel: Channel): Promise<string> => decodeRecord(await channel.receive()).kind
    const secrets = { boot: Buffer.alloc(32, 1), token: Buffer.alloc(32, 2) }
    /** Hands over nothing. */
    const handOver = async (channel: Channel): Promise<void> => {
      await say(channel, { kind: 'give', ...secrets, messages: 0, size: { bytes: 0, senders: 0 } })
      await say(channel, { kind: 'end', messages: 0 })
      expect(await hear(channel)).toBe('held')
      await say(channel, { kind: 'released' })
      expect(await hear(channel)).toBe('opened')
      await say(channel, { kind: 'done' })
      expect(await hear(channel)).toBe('owned')
    }

    it('goes on if a signal comes once it owns the messages', async () => {
      const stop = new AbortController()
      const server = await play(async (channel) => {
        await handOver(channel)
        stop.abort()
        server.close()
        channel.close()
      })
      const started = await start({ signal: stop.signal })
      expect(started.ignoresSignal).toBe(true)
      expect(await (await connectRaw(started.tcp)).ask('7')).toBe('17')
    })

    it('can hand over itself as soon as the socket of the old relay is free', async () => {
      const server = await play(async (channel) => {
        await handOver(channel)
        channel.close()
      })
      const started = await start()
      expect(started.ignoresSignal).toBe(false)
      expect(await (await connectRaw(started.tcp)).ask('7')).toBe('17')
      expect(events()).toContain('handover-off')
      server.close()
      while (!events().includes('handover-on')) await new Promise((resolve) => setTimeout(resolve, 10))
      await startAfter(started)
    })

    it.each([
      ['less than it sends', 100_000, 'handover'],
      ['more than fits', 2 ** 30, 'memory'],
    ])('takes over no more than its memory from a relay that announces %s', async (_name, bytes, key) => {
      let sent = 0
      const server = await play(async (channel) => {
        await say(channel, { kind: 'give', ...secrets, messages: 2 ** 40, size: { bytes, senders: 0 } })
        const payload = Buffer.alloc(1_000, 65)
        const endless = (function* () {
          for (; ; sent++)
            yield { mailbox: Buffer.alloc(32, sent % 9).toString('base64url'), id: { high: sent, low: 1 }, left: 1e6, payload }
        })()
        for (const record of new MessageWriter(endless).records('messages')) {
          await channel.send(record)
          await channel.receive()
        }
      })
      await expect(start({ argv: ['--memory', '1M'] })).rejects.toMatchObject({ problems: [{ key }] })
      server.close()
      expect(sent * 1_000).toBeLessThan(2 ** 20 + MAX_RECORD_BYTES)
    })
  })

  it('reports a configuration problem and leaves the old relay running', async () => {
    const secret = at('secret')
    writeFileSync(secret, `${randomBytes(32).toString('base64')}\n`, { mode: 0o600 })
    const first = await start({ argv: ['--handover-secret', secret] })
    const tcp = portOf(first.tcp)
    const problem = (key: string, text: string) => ({ problems: [{ key, problem: text }] })
    await expect(start({ tcp })).rejects.toMatchObject(problem('handover', 'the program at that path does not know our secret'))
    await expect(start({ tcp, argv: ['--handover-secret', at('none')] })).rejects.toMatchObject(
      problem('handover-secret', 'the file cannot be read'),
    )
    writeFileSync(at('short'), 'c2hvcnQ=', { mode: 0o600 })
    await expect(start({ tcp, argv: ['--handover-secret', at('short')] })).rejects.toMatchObject(
      problem('handover-secret', 'the file does not hold 32 bytes in base64'),
    )
    const wire = await connectRaw(first.tcp)
    const token = await wire.login(bob)
    for (let i = 0; i < 40; i++) await wire.ask(`3;${token};${bob.line};${'A'.repeat(32_768)}`)
    await expect(start({ tcp, argv: ['--handover-secret', secret, '--memory', '1M'] })).rejects.toMatchObject(
      problem('memory', 'is less than the running relay uses'),
    )
    expect(await wire.ask('7')).toBe('17')
    const second = await start({ tcp, argv: ['--handover-secret', secret] })
    await first.handed()
    expect((await takeAll(await connectRaw(second.tcp), token)).ids).toHaveLength(40)
  })

  it('refuses a handover socket in a folder that others may write to', async () => {
    chmodSync(folder, 0o777)
    await expect(start()).rejects.toMatchObject({ problems: [{ key: 'handover', problem: 'other users may write to its folder' }] })
    chmodSync(folder, 0o700)
    await start()
    expect(statSync(at('handover')).mode & 0o777).toBe(0o600)
  })
})

describe('relays as separate processes', () => {
  const COUNT = 1_000
  const boot = async (tcp: string, handover: string): Promise<Running> => {
    const program = startProgram([
      ...ASFALEIA,
      'relay',
      '--name',
      'localhost',
      '--tcp',
      tcp,
      '--http',
      'off',
      '--operator',
      'off',
      '--mailbox-messages',
      '2000',
      '--handover',
      at(handover),
    ])
    running.push(program)
    return program
  }
  const ready = async (program: Running): Promise<Address> => {
    await program.until(/^ready$/m)
    return { kind: 'tcp', host: '127.0.0.1', port: Number(/^tcp 127\.0\.0\.1:(\d+)$/m.exec(program.stdout())![1]) }
  }
  /** Starts a relay and fills it with messages. */
  const fill = async (): Promise<{ program: Running; tcp: Address; token: string; ids: string[] }> => {
    const program = await boot('127.0.0.1:0', 'handover')
    const tcp = await ready(program)
    const wire = await connectRaw(tcp)
    const token = await wire.login(bob)
    return { program, tcp, token, ids: await send(wire, token, COUNT, 2_000) }
  }
  /**
   * Forwards a second path to the relay's socket until `bytes` bytes of the relay have passed. Then it calls
   * `then` and cuts the connection or stays silent.
   */
  const passUntil = async (bytes: number, then: () => void, after: 'cut' | 'silent' = 'cut'): Promise<void> => {
    const server = createServer((near) => {
      const far = connect(at('handover'))
      let passed = 0
      for (const socket of [near, far]) socket.on('error', () => {})
      near.pipe(far)
      near.on('close', () => far.destroy())
      far.on('data', (chunk: Buffer) => {
        passed += chunk.length
        if (passed < bytes) return void near.write(chunk)
        far.pause()
        if (after === 'silent') return then()
        // From now on no process listens at this path, as if the relay were gone.
        server.close()
        then()
        far.destroy()
        // Bytes that have already passed still arrive, as they do if a process is killed.
        near.end()
      })
    })
    await once(server.listen(at('between')), 'listening')
  }

  it('the old relay exits with 0 once the new one serves', async () => {
    const { program, tcp, token, ids } = await fill()
    const second = await boot(portOf(tcp), 'handover')
    expect(await program.finished).toMatchObject({ code: 0 })
    expect(await takeAll(await connectRaw(await ready(second)), token)).toEqual({ ids, numbers: upTo(COUNT) })
    expect(await second.end()).toMatchObject({ code: 0 })
  })

  it.each([100, 300_000, 1_500_000])('the old relay keeps everything if the new one is killed after %i bytes', async (bytes) => {
    const { program, tcp, token, ids } = await fill()
    const second = await boot(portOf(tcp), 'between')
    await passUntil(bytes, () => process.kill(second.pid, 'SIGKILL'))
    expect(await second.finished).toMatchObject({ signal: 'SIGKILL' })
    await program.until(/"event":"handover-failed"/)
    const third = await boot(portOf(tcp), 'handover')
    expect(await program.finished).toMatchObject({ code: 0 })
    expect(await takeAll(await connectRaw(await ready(third)), token)).toEqual({ ids, numbers: upTo(COUNT) })
  })

  it.each([300_000, 1_500_000])(
    'the new relay keeps the messages received so far if the old one is killed after %i bytes, and logs the share',
    async (bytes) => {
      const { program, tcp, token, ids } = await fill()
      await passUntil(bytes, () => process.kill(program.pid, 'SIGKILL'))
      const second = await boot(portOf(tcp), 'between')
      expect(await program.finished).toMatchObject({ signal: 'SIGKILL' })
      const [, percent] = await second.until(/"event":"taken-over-partly","percent":(\d+)/)
      const got = await takeAll(await connectRaw(await ready(second)), token)
      expect(got).toEqual({ ids: ids.slice(0, got.ids.length), numbers: upTo(got.ids.length) })
      expect(Number(percent)).toBe(Math.floor((got.ids.length / COUNT) * 100))
      expect(got.ids.length).toBeGreaterThan(0)
      expect(got.ids.length).toBeLessThan(COUNT)
    },
  )

  /**
   * Forwards a second path to the relay's socket. Calls `before` with 1 before the relay's `released` passes and with 2
   * before its `done` passes: these are its only records of one byte.
   */
  const passRecords = async (before: (count: number) => void): Promise<Server> => {
    const server = createServer((near) => {
      const far = connect(at('handover'))
      for (const socket of [near, far]) socket.on('error', () => {})
      near.pipe(far)
      near.on('close', () => far.destroy())
      let rest = Buffer.alloc(0)
      let count = 0
      far.on('data', (chunk: Buffer) => {
        rest = Buffer.concat([rest, chunk])
        for (let length: number; rest.length >= 2 && rest.length >= (length = 2 + rest.readUInt16BE()); rest = rest.subarray(length)) {
          // A byte and its tag of 16, after the length in two.
          if (length === 19) before(++count)
          near.write(Buffer.from(rest.subarray(0, length)))
        }
      })
      far.on('end', () => near.end())
    })
    await once(server.listen(at('between')), 'listening')
    return server
  }

  it('the old relay keeps everything if the new one is terminated in the middle', async () => {
    const { program, tcp, token, ids } = await fill()
    const second = await boot(portOf(tcp), 'between')
    await passUntil(500_000, () => process.kill(second.pid, 'SIGTERM'), 'silent')
    const { code, stderr } = await second.finished
    expect(code).toBe(1)
    expect(stderr).toContain('asfaleia: error: --handover: the takeover was interrupted\n')
    await program.until(/"event":"handover-failed"/)
    expect(await takeAll(await connectRaw(tcp), token)).toEqual({ ids, numbers: upTo(COUNT) })
  })

  it.each(['gets a signal', 'loses patience'])(
    'the old relay keeps everything if it is stopped when the new one has opened its doors, and the new one %s',
    async (then) => {
      const { program, tcp, token, ids } = await fill()
      const passing = await passRecords((count) => {
        if (count === 1) process.kill(program.pid, 'SIGSTOP')
      })
      const second = await boot(portOf(tcp), 'between')
      await second.until(/"event":"listening","door":"tcp"/)
      // By now it has sent `opened`, and waits.
      await new Promise((resolve) => setTimeout(resolve, 500))
      if (then === 'gets a signal') process.kill(second.pid, 'SIGTERM')
      const { code, stderr } = await second.finished
      expect(code).toBe(1)
      expect(stderr).toContain(
        then === 'gets a signal' ? '--handover: the takeover was interrupted\n' : '--handover: the running relay does not answer\n',
      )
      process.kill(program.pid, 'SIGCONT')
      await program.until(/"event":"handover-failed"/)
      passing.close()
      let wire = await connectRaw(tcp)
      // It opens its doors a moment later.
      while ((await wire.ask('7')) !== '17') {
        await new Promise((resolve) => setTimeout(resolve, 10))
        wire = await connectRaw(tcp)
      }
      expect(await takeAll(wire, token)).toEqual({ ids, numbers: upTo(COUNT) })
    },
    60_000,
  )

  it('the new relay has everything if the old one is stopped for a while after its last word', async () => {
    const { program, tcp, token, ids } = await fill()
    const passing = await passRecords((count) => {
      if (count !== 2) return
      process.kill(program.pid, 'SIGSTOP')
      passing.close()
    })
    const second = await boot(portOf(tcp), 'between')
    await second.until(/"event":"listening","door":"tcp"/)
    await new Promise((resolve) => setTimeout(resolve, 1_000))
    expect(second.stdout()).not.toContain('ready')
    process.kill(program.pid, 'SIGCONT')
    expect(await program.finished).toMatchObject({ code: 0 })
    expect(await takeAll(await connectRaw(await ready(second)), token)).toEqual({ ids, numbers: upTo(COUNT) })
  })

  it.each([1, 2])('one relay has everything if the new one is stopped for a while before it reads word %i of two', async (word) => {
    const { program, tcp, token, ids } = await fill()
    const passing = await passRecords((count) => {
      if (count === word) process.kill(second.pid, 'SIGSTOP')
      if (count === 2) passing.close()
    })
    const second = await boot(portOf(tcp), 'between')
    await program.until(/"event":"handover-started"/)
    await new Promise((resolve) => setTimeout(resolve, 2_000))
    process.kill(second.pid, 'SIGCONT')
    expect(await program.finished).toMatchObject({ code: 0 })
    expect(await takeAll(await connectRaw(await ready(second)), token)).toEqual({ ids, numbers: upTo(COUNT) })
  })
})
