/**
 * Plays both sides of a handover against scripted peers that die, stall or violate the protocol at every step.
 * In the end one relay must hold every message, and that relay must serve.
 */
import { createSecretKey, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Channel, MAX_RECORD_BYTES } from '../../src/handover/channel.ts'
import { MessageReader, MessageWriter } from '../../src/handover/message.ts'
import { type Handing, listenForSuccessor, type Predecessor } from '../../src/handover/predecessor.ts'
import { decodeRecord, encodeRecord, type HandoverRecord, VERSION } from '../../src/handover/record.ts'
import { findPredecessor, type Succession } from '../../src/handover/successor.ts'
import type { HeldMessage } from '../../src/mailbox/mailbox.ts'
import type { Spent } from '../../src/relay/senders.ts'

const folder = mkdtempSync(join(tmpdir(), 'asfaleia-handover-'))
afterAll(() => rmSync(folder, { recursive: true }))

const psk = randomBytes(32)
const boot = randomBytes(32)
const token = randomBytes(32)
const PATIENCE = 10_000
const forever = new AbortController().signal
let paths = 0
let address: { kind: 'unix'; path: string }
let logged: string[]
const log = { event: (name: string, fields?: object) => void logged.push([name, ...Object.values(fields ?? {})].join(' ')) }
const cleanups: (() => unknown)[] = []
beforeEach(() => {
  address = { kind: 'unix', path: join(folder, `${paths++}.sock`) }
  logged = []
})
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup()
})

function message(number: number, size = 1_000): HeldMessage {
  const mailbox = Buffer.alloc(32, number % 5).toString('base64url')
  return { mailbox, id: { high: number, low: ~number >>> 0 }, left: 1_000 + number, payload: Buffer.alloc(size, 65 + (number % 26)) }
}

const MESSAGES = Array.from({ length: 500 }, (_, number) => message(number))
const numbersOf = (messages: readonly HeldMessage[]): number[] => messages.map(({ id }) => id.high)
const ALL = numbersOf(MESSAGES)

interface Owner extends Handing {
  readonly state: { suspended: boolean; released: boolean; intact: boolean }
}

/** The part of a relay that its predecessor side uses. */
function createOwner(messages: readonly HeldMessage[] = MESSAGES, spent: readonly Spent[] = []): Owner {
  const state = { suspended: false, released: false, intact: true }
  return {
    state,
    bytes: () => messages.length * 1_100,
    async suspend() {
      state.suspended = true
      const secrets = { boot: createSecretKey(boot), token: createSecretKey(token) }
      return {
        secrets,
        messages: messages.length,
        held: () => messages.values() as Iterator<HeldMessage, void>,
        spent: () => spent,
        intact: () => state.intact,
      }
    },
    resume: () => void (state.suspended = false),
    release: async () => void (state.released = true),
    reopen: async () => void (state.released = false),
  }
}

const AS_BEFORE = { suspended: false, released: false, intact: true }

async function listenAs(owner: Owner, patience = PATIENCE): Promise<Predecessor> {
  const predecessor = await listenForSuccessor({ address, psk, handing: owner, log, patience })
  cleanups.push(() => predecessor.close())
  return predecessor
}

const find = (
  options: { memory?: number; secret?: Uint8Array; signal?: AbortSignal; patience?: number } = {},
): Promise<Succession | undefined> =>
  findPredecessor({
    address,
    psk: options.secret ?? psk,
    memory: options.memory ?? 1e9,
    signal: options.signal ?? forever,
    patience: options.patience ?? PATIENCE,
    dying: 30,
  })

/** Takes everything over, as a relay does. */
async function takeAll(): Promise<number[]> {
  const succession = (await find())!
  const got: number[] = []
  expect([succession.secrets.boot.equals(boot), succession.secrets.token.equals(token)]).toEqual([true, true])
  expect(
    await succession.fill(
      ({ id }) => got.push(id.high),
      () => {},
    ),
  ).toBe(100)
  await succession.opened()
  return got
}

const problem = (name: string) => expect.objectContaining({ name: 'HandoverError', problem: name })
/**
 * Returns the log once it has `count` entries: the predecessor notices the end of the other side a moment
 * later.
 */
async function until(count: number): Promise<string[]> {
  while (logged.length < count) await new Promise((resolve) => setImmediate(resolve))
  return logged
}

describe('a handover', () => {
  it('moves every message once and in order, and stops listening', async () => {
    const owner = createOwner()
    const predecessor = await listenAs(owner)
    expect(await takeAll()).toEqual(ALL)
    await predecessor.handedOver
    expect(owner.state).toMatchObject({ suspended: true, released: true })
    expect(logged).toEqual(['handover-started', 'handed-over'])
    expect(await find()).toBeUndefined()
  })

  it('moves the spent amounts of thousands of senders', async () => {
    const spent = Array.from({ length: 5_000 }, (_, number) => ({
      sender: Buffer.alloc(32, `${number} `).toString('base64url'),
      bytes: number * 1_000,
    }))
    await listenAs(createOwner(MESSAGES, spent))
    const succession = (await find())!
    const got: Spent[] = []
    expect(
      await succession.fill(
        () => {},
        (each) => got.push(each),
      ),
    ).toBe(100)
    await succession.opened()
    expect(got).toEqual(spent)
  })

  it('moves large messages, and an empty relay', async () => {
    const large = [message(1, 512 * 1_024), message(2, 1), message(3, MAX_RECORD_BYTES)]
    await listenAs(createOwner(large))
    const succession = (await find())!
    const got: HeldMessage[] = []
    await succession.fill(
      (each) => got.push({ ...each, payload: Buffer.from(each.payload) }),
      () => {},
    )
    await succession.opened()
    expect(got.map(({ payload }) => payload)).toEqual(large.map(({ payload }) => payload))
    address = { kind: 'unix', path: join(folder, `${paths++}.sock`) }
    await listenAs(createOwner([]))
    expect(await takeAll()).toEqual([])
  })

  it('findPredecessor returns undefined if no relay listens', async () => {
    expect(await find()).toBeUndefined()
    const server = createServer().listen(address.path)
    await once(server, 'listening')
    server.close()
    expect(await find()).toBeUndefined()
  })
})

// The side that hands over.

const STEPS = [
  'the connection',
  'the handshake',
  'take',
  'give',
  'the first messages',
  'half of them',
  'all, not held',
  'held',
  'released',
] as const

/** Plays a successor that stops at the given step. */
async function goTo(step: (typeof STEPS)[number]): Promise<{ socket: Socket; channel: Channel | undefined }> {
  const socket = connect(address.path)
  await once(socket, 'connect')
  cleanups.push(() => socket.destroy())
  if (step === 'the connection') return { socket, channel: undefined }
  const channel = await Channel.open(socket, { psk, patience: PATIENCE })
  const at = { socket, channel }
  const say = (record: HandoverRecord): Promise<void> => channel.send(encodeRecord(record))
  const hear = async (): Promise<HandoverRecord> => decodeRecord(await channel.receive())
  if (step === 'the handshake') return at
  await say({ kind: 'take', version: VERSION, memory: 1e9 })
  if (step === 'take') return at
  expect((await hear()).kind).toBe('give')
  if (step === 'give') return at
  const reader = new MessageReader(() => {})
  for (;;) {
    const record = await hear()
    if (record.kind !== 'messages') break
    reader.push(record.bytes)
    if (step === 'the first messages' || (step === 'half of them' && reader.count > MESSAGES.length / 2)) return at
    await say({ kind: 'read' })
  }
  expect(reader.count).toBe(MESSAGES.length)
  if (step === 'all, not held') return at
  await say({ kind: 'held' })
  if (step === 'held') return at
  expect((await hear()).kind).toBe('released')
  return at
}

describe('a relay that hands over', () => {
  it.each(STEPS)('continues as before if its successor dies after %s, and hands over to the next one', async (step) => {
    const owner = createOwner()
    const predecessor = await listenAs(owner)
    const { socket } = await goTo(step)
    socket.destroy()
    // Until the handshake has proved the secret, a peer is no successor.
    const expected =
      step === 'the connection' ? [] : step === 'the handshake' ? ['handover-refused proof'] : ['handover-started', 'handover-failed ended']
    expect(await until(expected.length)).toEqual(expected)
    await predecessor.close()
    expect(owner.state).toEqual(AS_BEFORE)
    await listenAs(owner)
    expect(await takeAll()).toEqual(ALL)
  })

  it.each(STEPS.slice(2))('continues as before if its successor stalls after %s, and sends it an abort', async (step) => {
    const owner = createOwner()
    // Long enough for the following successor on a busy machine.
    await listenAs(owner, 500)
    const { channel } = await goTo(step)
    expect(await until(2)).toEqual(['handover-started', 'handover-failed stalled'])
    const heard: string[] = []
    await expect(
      (async () => {
        for (;;) heard.push(decodeRecord(await channel!.receive()).kind)
      })(),
    ).rejects.toMatchObject({ problem: 'ended' })
    expect(heard.at(-1)).toBe('abort')
    expect(owner.state).toEqual(AS_BEFORE)
    expect(await takeAll()).toEqual(ALL)
  })

  it.each(STEPS.slice(2))('continues as before if its successor sends a wrong record after %s', async (step) => {
    const owner = createOwner()
    await listenAs(owner)
    const { channel } = await goTo(step)
    await channel!.send(encodeRecord({ kind: 'done' }))
    await expect(
      (async () => {
        for (;;) await channel!.receive()
      })(),
    ).rejects.toMatchObject({ problem: 'ended' })
    expect(await until(2)).toEqual(['handover-started', 'handover-failed forged'])
    expect(await takeAll()).toEqual(ALL)
    expect(owner.state.intact).toBe(true)
  })

  it('refuses a second successor during a handover, which still completes', async () => {
    await listenAs(createOwner())
    const first = (await find())!
    await expect(find()).rejects.toEqual(problem('busy'))
    expect(
      await first.fill(
        () => {},
        () => {},
      ),
    ).toBe(100)
    await expect(find()).rejects.toEqual(problem('busy'))
    await first.opened()
    expect(logged).toEqual(['handover-started', 'handover-refused busy', 'handover-refused busy', 'handed-over'])
  })

  it('refuses a successor with too little memory before it suspends', async () => {
    const owner = createOwner()
    await listenAs(owner)
    await expect(find({ memory: owner.bytes() - 1 })).rejects.toEqual(problem('memory'))
    expect(logged).toEqual(['handover-refused memory'])
    expect(await takeAll()).toEqual(ALL)
  })

  it('refuses a successor with another secret', async () => {
    const owner = createOwner()
    await listenAs(owner)
    await expect(find({ secret: randomBytes(32) })).rejects.toEqual(problem('proof'))
    expect(await until(1)).toEqual(['handover-refused proof'])
    expect(owner.state).toEqual(AS_BEFORE)
  })

  it('refuses a successor of another version', async () => {
    await listenAs(createOwner())
    const { channel } = await goTo('the handshake')
    await channel!.send(encodeRecord({ kind: 'take', version: VERSION + 1, memory: 1e9 }).subarray(0, 2))
    expect(decodeRecord(await channel!.receive())).toEqual({ kind: 'refused', reason: 'version' })
    expect(logged).toEqual(['handover-refused version'])
  })

  it('aborts a handover if the operator wipes the messages in the meantime', async () => {
    for (const step of ['give', 'half of them', 'all, not held'] as const) {
      const owner = createOwner()
      const predecessor = await listenAs(owner)
      const { channel } = await goTo(step)
      owner.state.intact = false
      if (step === 'all, not held') await channel!.send(encodeRecord({ kind: 'held' }))
      else for (let i = 0; i < 40; i++) await channel!.send(encodeRecord({ kind: 'read' }))
      await expect(
        (async () => {
          for (;;) expect(decodeRecord(await channel!.receive()).kind).not.toBe('released')
        })(),
      ).rejects.toMatchObject({ problem: 'ended' })
      expect(logged.splice(0)).toEqual(['handover-started', 'handover-failed wiped'])
      await predecessor.close()
    }
  })

  it('completes a handover in progress before close() resolves', async () => {
    const predecessor = await listenAs(createOwner())
    const succession = (await find())!
    const closed = predecessor.close()
    expect(
      await succession.fill(
        () => {},
        () => {},
      ),
    ).toBe(100)
    await succession.opened()
    await closed
    expect(logged).toEqual(['handover-started', 'handed-over'])
  })
})

// The side that takes over.

const ENDS = ['the connection', 'the handshake', 'give', 'half of them', 'all of them', 'end', 'released', 'opened'] as const
const KEPT: Record<(typeof ENDS)[number], number | undefined> = {
  'the connection': undefined,
  'the handshake': undefined,
  give: 0,
  'half of them': 50,
  'all of them': 100,
  end: 100,
  released: 100,
  opened: 100,
}

/** Plays a predecessor that stops at the given step, and then dies, lives on in silence, or aborts. */
async function serveTo(step: (typeof ENDS)[number], then: 'dies' | 'lives' | 'aborts'): Promise<Server> {
  const server = createServer((socket) => {
    socket.on('error', () => {})
    cleanups.push(() => socket.destroy())
    void play(socket)
      .then(async (channel) => {
        if (then === 'aborts') await channel?.send(encodeRecord({ kind: 'abort' }))
        if (then === 'dies') server.close()
        socket.end(() => socket.destroy())
      })
      // A peer that only checks whether this relay lives sends nothing.
      .catch(() => socket.destroy())
  })
  const play = async (socket: Socket): Promise<Channel | undefined> => {
    if (step === 'the connection') return undefined
    const channel = await Channel.accept(socket, { psk, patience: PATIENCE })
    const say = (record: HandoverRecord): Promise<void> => channel.send(encodeRecord(record))
    const hear = async (kind: HandoverRecord['kind']): Promise<void> => expect(decodeRecord(await channel.receive()).kind).toBe(kind)
    await hear('take')
    if (step === 'the handshake') return channel
    await say({ kind: 'give', boot, token, messages: MESSAGES.length })
    if (step === 'give') return channel
    const writer = new MessageWriter(MESSAGES.values() as Iterator<HeldMessage, void>)
    const room = Buffer.alloc(2_000)
    for (let length = writer.write(room); length > 0; length = writer.write(room)) {
      await say({ kind: 'messages', bytes: room.subarray(0, length) })
      await hear('read')
      if (step === 'half of them' && writer.count > MESSAGES.length / 2) return channel
    }
    if (step === 'all of them') return channel
    await say({ kind: 'end', messages: writer.count })
    await hear('held')
    if (step === 'end') return channel
    await say({ kind: 'released' })
    if (step === 'released') return channel
    await hear('opened')
    return channel
  }
  server.listen(address.path)
  await once(server, 'listening')
  cleanups.push(() => server.close())
  return server
}

describe('a relay that takes over', () => {
  it.each(ENDS)('keeps the messages received so far if its predecessor dies after %s', async (step) => {
    await serveTo(step, 'dies')
    const succession = await find()
    const kept = KEPT[step]
    if (kept === undefined) {
      expect(succession).toBeUndefined()
      return
    }
    const got: number[] = []
    expect(
      await succession!.fill(
        ({ id }) => got.push(id.high),
        () => {},
      ),
    ).toBe(kept)
    expect(got).toEqual(ALL.slice(0, got.length))
    expect(Math.floor((got.length / ALL.length) * 100)).toBe(kept)
    await succession!.opened()
  })

  it.each(
    ENDS.flatMap(
      (step) =>
        [
          [step, 'lives'],
          [step, 'aborts'],
        ] as const,
    ),
  )('fails and keeps no messages if its predecessor stops after %s and %s', async (step, then) => {
    await serveTo(step, then)
    const taking = (async () => {
      const succession = await find()
      await succession!.fill(
        () => {},
        () => {},
      )
      await succession!.opened()
    })()
    await expect(taking).rejects.toEqual(problem(step === 'the connection' ? 'proof' : 'broken'))
  })

  it('gives up a stalled predecessor after its patience', async () => {
    const server = createServer((socket) => cleanups.push(() => socket.destroy()))
    server.listen(address.path)
    await once(server, 'listening')
    cleanups.push(() => server.close())
    await expect(find({ patience: 1 })).rejects.toEqual(problem('proof'))
  })

  it('can be interrupted before and during the transfer, and the predecessor continues', async () => {
    const owner = createOwner()
    await listenAs(owner)
    const before = new AbortController()
    before.abort()
    await expect(find({ signal: before.signal })).rejects.toEqual(problem('interrupted'))
    const within = new AbortController()
    const succession = (await find({ signal: within.signal }))!
    const filling = succession.fill(
      ({ id }) => {
        if (id.high === 250) within.abort()
      },
      () => {},
    )
    await expect(filling).rejects.toEqual(problem('interrupted'))
    await until(2)
    expect(logged.at(-1)).toMatch(/^handover-failed (?:ended|silent)$/)
    expect(await takeAll()).toEqual(ALL)
  })

  it('fails if the announced and the transferred counts differ', async () => {
    const server = createServer((socket) => {
      void (async () => {
        const channel = await Channel.accept(socket, { psk, patience: PATIENCE })
        await channel.receive()
        await channel.send(encodeRecord({ kind: 'give', boot, token, messages: 2 }))
        await channel.send(encodeRecord({ kind: 'end', messages: 1 }))
      })().catch(() => {})
    })
    server.listen(address.path)
    await once(server, 'listening')
    cleanups.push(() => server.close())
    await expect(
      (await find())!.fill(
        () => {},
        () => {},
      ),
    ).rejects.toEqual(problem('broken'))
  })
})
