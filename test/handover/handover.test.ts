/**
 * Plays both sides of a handover against scripted peers that die, stall or violate the protocol at every step, of this
 * version and of the one before. In the end at least one relay must hold every message.
 * test/handover/interruption.test.ts stops and signals real sides.
 */
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { Channel, MAX_RECORD_BYTES } from '../../src/handover/channel.ts'
import { MessageReader, MessageWriter } from '../../src/handover/message.ts'
import { listenForSuccessor, type Predecessor, type PredecessorOptions } from '../../src/handover/predecessor.ts'
import { decodeRecord, encodeRecord, encodeSpent, type HandoverRecord, OLD_VERSION, type Size, VERSION } from '../../src/handover/record.ts'
import { findPredecessor, HandoverError, type Succession, type SuccessorOptions } from '../../src/handover/successor.ts'
import type { HeldMessage } from '../../src/mailbox/mailbox.ts'
import type { Spent } from '../../src/relay/senders.ts'
import { AS_BEFORE, BOOT, BUNDLES, createMessage, createMessages, createOwner, type Owner, TOKEN } from '../support/handover.ts'

const folder = mkdtempSync(join(tmpdir(), 'asfaleia-handover-'))
afterAll(() => rmSync(folder, { recursive: true }))

const psk = randomBytes(32)
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

const MESSAGES = createMessages(500)
const ALL = MESSAGES.map(({ id }) => id.high)
const BYTES = 500 * 2_000

async function listenAs(owner: Owner, times: PredecessorOptions['times'] = {}): Promise<Predecessor> {
  const predecessor = await listenForSuccessor({ address, psk, handing: owner, log, times: { patience: PATIENCE, ...times } })
  cleanups.push(() => predecessor.close())
  return predecessor
}

const find = (
  options: { memory?: number; secret?: Uint8Array; signal?: AbortSignal; times?: SuccessorOptions['times'] } = {},
): Promise<Succession | undefined> =>
  findPredecessor({
    address,
    psk: options.secret ?? psk,
    memory: options.memory ?? 1e9,
    signal: options.signal ?? forever,
    times: { patience: PATIENCE, dying: 30, ...options.times },
  })

const nothing = (): void => {}

/** Takes everything over, as a relay does. */
async function takeAll(): Promise<number[]> {
  const succession = (await find())!
  const got: number[] = []
  expect([succession.secrets.boot.equals(BOOT), succession.secrets.token.equals(TOKEN)]).toEqual([true, true])
  expect(await succession.fill(({ id }) => got.push(id.high), nothing)).toBe(100)
  expect(succession.owns).toBe(false)
  await succession.opened()
  expect(succession.owns).toBe(true)
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

/** Returns the kinds of the records that still arrive until the stream ends. */
async function hearRest(channel: Channel): Promise<string[]> {
  const heard: string[] = []
  await expect(
    (async () => {
      for (;;) heard.push(decodeRecord(await channel.receive()).kind)
    })(),
  ).rejects.toMatchObject({ problem: 'ended' })
  return heard
}

describe('a handover', () => {
  it('moves every message once and in order, and stops listening', async () => {
    const owner = createOwner(MESSAGES)
    const predecessor = await listenAs(owner)
    expect(await takeAll()).toEqual(ALL)
    await predecessor.handedOver
    expect(owner.state).toMatchObject({ suspended: true, released: true })
    expect(logged).toEqual(['handover-started', 'handed-over'])
    expect(await find()).toBeUndefined()
  })

  it('moves the spent amounts of thousands of senders', async () => {
    const spent = createSpent(5_000)
    await listenAs(createOwner(MESSAGES, spent))
    const succession = (await find())!
    const got: Spent[] = []
    expect(await succession.fill(nothing, (each) => got.push(each))).toBe(100)
    await succession.opened()
    expect(got).toEqual(spent)
  })

  it('moves large messages, and an empty relay', async () => {
    const large = [createMessage(1, 512 * 1_024), createMessage(2, 1), createMessage(3, MAX_RECORD_BYTES)]
    await listenAs(createOwner(large))
    const succession = (await find())!
    const got: HeldMessage[] = []
    await succession.fill((each) => got.push({ ...each, payload: Buffer.from(each.payload) }), nothing)
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

function createSpent(count: number): Spent[] {
  return Array.from({ length: count }, (_, number) => ({
    sender: Buffer.alloc(32, `${number} `).toString('base64url'),
    bytes: number * 1_000,
  }))
}

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
  'done',
] as const

interface Played {
  readonly socket: Socket
  readonly channel: Channel | undefined
}

/** Plays a successor that stops at the given step. */
async function goTo(step: (typeof STEPS)[number], version = VERSION): Promise<Played> {
  const socket = connect(address.path)
  await once(socket, 'connect')
  cleanups.push(() => socket.destroy())
  if (step === 'the connection') return { socket, channel: undefined }
  const channel = await Channel.open(socket, { psk, patience: PATIENCE })
  const at = { socket, channel }
  const say = (record: HandoverRecord): Promise<void> => channel.send(encodeRecord(record))
  const hear = async (): Promise<HandoverRecord> => decodeRecord(await channel.receive())
  if (step === 'the handshake') return at
  await say({ kind: 'take', version, memory: 1e9 })
  if (step === 'take') return at
  expect(await hear()).toMatchObject({
    kind: 'give',
    messages: 500,
    size: { bytes: BYTES, senders: 0, ...(version === OLD_VERSION ? {} : { bundles: BUNDLES.length }) },
  })
  if (step === 'give') return at
  const [reader, bundles] = [new MessageReader(nothing), new MessageReader(nothing)]
  for (;;) {
    const record = await hear()
    if (record.kind !== 'messages' && record.kind !== 'bundles') break
    if (record.kind === 'messages') reader.push(record.bytes)
    else bundles.push(record.bytes)
    if (step === 'the first messages' || (step === 'half of them' && reader.count > MESSAGES.length / 2)) return at
    await say({ kind: 'read' })
  }
  expect(reader.count).toBe(MESSAGES.length)
  expect(bundles.count).toBe(version === OLD_VERSION ? 0 : BUNDLES.length)
  if (step === 'all, not held') return at
  await say({ kind: 'held' })
  if (step === 'held') return at
  expect((await hear()).kind).toBe('released')
  if (step === 'released') return at
  await say({ kind: 'opened' })
  expect((await hear()).kind).toBe('done')
  return at
}

describe('a relay that hands over', () => {
  it.each(STEPS)('continues as before if its successor dies after %s, and hands over to the next one', async (step) => {
    const owner = createOwner(MESSAGES)
    const predecessor = await listenAs(owner)
    const { socket } = await goTo(step)
    socket.destroy()
    // Until the handshake has proved the secret, a peer is no successor.
    const expected =
      step === 'the connection' ? [] : step === 'the handshake' ? ['handover-refused ended'] : ['handover-started', 'handover-failed ended']
    expect(await until(expected.length)).toEqual(expected)
    await predecessor.close()
    expect(owner.state).toEqual(AS_BEFORE)
    await listenAs(owner)
    expect(await takeAll()).toEqual(ALL)
  })

  it('continues as before if its successor says that it owns the messages, and has ended when this is read', async () => {
    const owner = createOwner(MESSAGES)
    await listenAs(owner)
    const { socket, channel } = await goTo('done')
    // Both arrive in one turn of the event loop, as they do if this process was stopped in between.
    await channel!.send(encodeRecord({ kind: 'owned' }))
    socket.end()
    expect(await until(2)).toEqual(['handover-started', 'handover-failed ended'])
    expect(owner.state).toEqual(AS_BEFORE)
    expect(await takeAll()).toEqual(ALL)
  })

  it.each(STEPS.slice(2))('continues as before if its successor stalls after %s, and sends it an abort', async (step) => {
    const owner = createOwner(MESSAGES)
    // Long enough for the following successor on a busy machine.
    await listenAs(owner, { patience: 500 })
    const { channel } = await goTo(step)
    expect(await until(2)).toEqual(['handover-started', 'handover-failed stalled'])
    expect((await hearRest(channel!)).at(-1)).toBe('abort')
    expect(owner.state).toEqual(AS_BEFORE)
    expect(await takeAll()).toEqual(ALL)
  })

  it.each(STEPS.slice(2))('continues as before if its successor sends a wrong record after %s', async (step) => {
    const owner = createOwner(MESSAGES)
    await listenAs(owner)
    const { channel } = await goTo(step)
    await channel!.send(encodeRecord({ kind: 'done' }))
    expect((await hearRest(channel!)).at(-1)).toBe('abort')
    expect(await until(2)).toEqual(['handover-started', 'handover-failed forged'])
    expect(await takeAll()).toEqual(ALL)
    expect(owner.state.intact).toBe(true)
  })

  it('gives up a successor that always moves, but too slowly for a whole handover', async () => {
    const owner = createOwner(MESSAGES)
    let allowed = 0
    await listenAs(owner, {
      whole(bytes) {
        allowed = bytes
        return 100
      },
    })
    const { channel } = await goTo('give')
    const dripping = (async () => {
      for (;;) {
        await channel!.receive()
        await new Promise((resolve) => setTimeout(resolve, 30))
        await channel!.send(encodeRecord({ kind: 'read' }))
      }
    })()
    dripping.catch(() => {})
    expect(await until(2)).toEqual(['handover-started', 'handover-failed stalled'])
    expect(allowed).toBe(BYTES)
    expect(owner.state).toEqual(AS_BEFORE)
  })

  it('refuses a second successor during a handover, which still completes', async () => {
    await listenAs(createOwner(MESSAGES))
    const first = (await find())!
    await expect(find()).rejects.toEqual(problem('busy'))
    expect(await first.fill(nothing, nothing)).toBe(100)
    await expect(find()).rejects.toEqual(problem('busy'))
    await first.opened()
    expect(logged).toEqual(['handover-started', 'handover-refused busy', 'handed-over'])
  })

  it('hands over once only, even to a successor that connected before', async () => {
    const predecessor = await listenAs(createOwner(MESSAGES))
    const { channel } = await goTo('the handshake')
    expect(await takeAll()).toEqual(ALL)
    await predecessor.handedOver
    await channel!.send(encodeRecord({ kind: 'take', version: VERSION, memory: 1e9 }))
    expect(decodeRecord(await channel!.receive())).toEqual({ kind: 'refused', reason: 'busy' })
  })

  it('tells a successor that it is busy if it has too many connections', async () => {
    await listenAs(createOwner(MESSAGES))
    for (let i = 0; i < 8; i++) await goTo('the connection')
    await expect(find()).rejects.toEqual(problem('busy'))
    for (const cleanup of cleanups.splice(1)) cleanup()
    let succession: Succession | undefined
    while (succession === undefined) succession = await find().catch(() => undefined)
    succession.abandon()
  })

  it('refuses a successor with too little memory before it suspends', async () => {
    const owner = createOwner(MESSAGES)
    await listenAs(owner)
    await expect(find({ memory: owner.bytes() - 1 })).rejects.toEqual(problem('memory'))
    expect(logged).toEqual(['handover-refused memory'])
    expect(await takeAll()).toEqual(ALL)
  })

  it('refuses a successor with another secret, and logs this once however often it tries', async () => {
    const owner = createOwner(MESSAGES)
    await listenAs(owner)
    for (let i = 0; i < 20; i++) await expect(find({ secret: randomBytes(32) })).rejects.toEqual(problem('proof'))
    expect(await until(1)).toEqual(['handover-refused proof'])
    expect(owner.state).toEqual(AS_BEFORE)
    expect(await takeAll()).toEqual(ALL)
    expect(logged).toEqual(['handover-refused proof', 'handover-started', 'handed-over'])
  })

  it('refuses a successor of an unknown version', async () => {
    await listenAs(createOwner(MESSAGES))
    const { channel } = await goTo('the handshake')
    await channel!.send(encodeRecord({ kind: 'take', version: VERSION + 1, memory: 1e9 }).subarray(0, 2))
    expect(decodeRecord(await channel!.receive())).toEqual({ kind: 'refused', reason: 'version' })
    expect(logged).toEqual(['handover-refused version'])
  })

  it.each(['give', 'half of them', 'all, not held', 'held', 'released', 'done'] as const)(
    'aborts a handover if the operator wipes the messages after %s',
    async (step) => {
      const owner = createOwner(MESSAGES)
      await listenAs(owner)
      owner.onRelease = () => {
        if (step === 'held') owner.state.intact = false
      }
      const { channel } = await goTo(step)
      owner.state.intact = false
      if (step === 'all, not held') await channel!.send(encodeRecord({ kind: 'held' }))
      else if (step === 'released') await channel!.send(encodeRecord({ kind: 'opened' }))
      else if (step === 'done') await channel!.send(encodeRecord({ kind: 'owned' }))
      else if (step !== 'held') for (let i = 0; i < 40; i++) await channel!.send(encodeRecord({ kind: 'read' }))
      const heard = await hearRest(channel!)
      expect(heard.at(-1)).toBe('abort')
      expect(heard).not.toContain('released')
      expect(heard).not.toContain('done')
      expect(logged).toEqual(['handover-started', 'handover-failed wiped'])
    },
  )

  it('completes a handover in progress before close() resolves', async () => {
    const predecessor = await listenAs(createOwner(MESSAGES))
    const succession = (await find())!
    const closed = predecessor.close()
    expect(await succession.fill(nothing, nothing)).toBe(100)
    await succession.opened()
    await closed
    expect(logged).toEqual(['handover-started', 'handed-over'])
  })

  it.each(STEPS.slice(0, 2))('waits a moment for a successor after %s before close() resolves', async (step) => {
    const predecessor = await listenAs(createOwner(MESSAGES))
    const { channel, socket } = await goTo(step)
    const closed = predecessor.close()
    const opened = channel ?? (await Channel.open(socket, { psk, patience: PATIENCE }))
    await opened.send(encodeRecord({ kind: 'take', version: VERSION, memory: 1e9 }))
    expect(decodeRecord(await opened.receive()).kind).toBe('give')
    opened.close()
    await closed
    expect(logged).toEqual(['handover-started', 'handover-failed ended'])
  })

  it.each(STEPS.slice(3))('does not claim to go on if it was told to stop and its successor stalls after %s', async (step) => {
    const owner = createOwner(MESSAGES)
    const predecessor = await listenAs(owner, { patience: 100 })
    const { channel } = await goTo(step)
    await predecessor.close()
    expect(logged).toEqual(['handover-started', 'handover-failed stalled'])
    // To the successor this looks like a death, after which it keeps what it has.
    expect(await hearRest(channel!)).not.toContain('abort')
    expect(await find()).toBeUndefined()
  })

  it('aborts a handover of wiped messages also if it was told to stop: they must not survive in the successor', async () => {
    const owner = createOwner(MESSAGES)
    const predecessor = await listenAs(owner)
    const { channel } = await goTo('released')
    owner.state.intact = false
    const closed = predecessor.close()
    await channel!.send(encodeRecord({ kind: 'opened' }))
    expect((await hearRest(channel!)).at(-1)).toBe('abort')
    await closed
    expect(logged).toEqual(['handover-started', 'handover-failed wiped'])
  })

  it('reports a fault of its own, and goes on', async () => {
    const owner = createOwner(MESSAGES)
    owner.onRelease = () => {
      throw new Error('EBADF')
    }
    await listenAs(owner)
    await goTo('held')
    expect(await until(2)).toEqual(['handover-started', 'handover-failed fault'])
    while (owner.state.suspended) await new Promise((resolve) => setImmediate(resolve))
  })

  it('reports that another process has its doors, and serves again once they are free', async () => {
    const owner = createOwner(MESSAGES)
    const free = Promise.withResolvers<void>()
    owner.onReopen = () => free.promise
    await listenAs(owner, { doors: 1 })
    const { socket } = await goTo('released')
    socket.destroy()
    expect(await until(3)).toEqual(['handover-started', 'handover-failed ended', 'doors-awaited'])
    await expect(find()).rejects.toEqual(problem('busy'))
    free.resolve()
    while (owner.state.released) await new Promise((resolve) => setImmediate(resolve))
    owner.onReopen = undefined
    expect(await takeAll()).toEqual(ALL)
  })

  it('hands everything but the bundles over to a successor of the version before', async () => {
    const owner = createOwner(MESSAGES)
    const predecessor = await listenAs(owner)
    const { channel } = await goTo('done', OLD_VERSION)
    await channel!.send(encodeRecord({ kind: 'owned' }))
    await predecessor.handedOver
    expect(logged).toEqual(['handover-started', 'handed-over'])
  })
})

// The side that takes over.

const ENDS = [
  'the connection',
  'the handshake',
  'give',
  'half of them',
  'all of them',
  'end',
  'released',
  'opened',
  'done',
  'owned',
] as const
type End = (typeof ENDS)[number]
const KEPT: Record<End, number | undefined> = {
  'the connection': undefined,
  'the handshake': undefined,
  give: 0,
  'half of them': 50,
  'all of them': 100,
  end: 100,
  released: 100,
  opened: 100,
  done: 100,
  owned: 100,
}

interface Script {
  readonly version?: number
  /** What follows the last step. `lives` ends the connection without a word; `stalls` says nothing more. */
  readonly fate: 'dies' | 'lives' | 'aborts' | 'stalls'
  readonly messages?: number
  readonly size?: Size
  readonly spent?: readonly Spent[]
  /** Some bytes of one message or bundle more come before `end`. */
  readonly begun?: 'messages' | 'bundles'
  /** The count in `end`; by default the true one. */
  readonly ends?: number
}

/** Plays a predecessor that stops after the given step. */
async function serveTo(
  step: End,
  { version = VERSION, fate, messages = MESSAGES.length, size, spent = [], begun, ends }: Script,
): Promise<Server> {
  const server = createServer((socket) => {
    socket.on('error', nothing)
    cleanups.push(() => socket.destroy())
    void play(socket)
      .then(async (channel) => {
        if (fate === 'stalls') return
        if (fate === 'aborts') await channel?.send(encodeRecord({ kind: 'abort' }))
        if (fate === 'dies') server.close()
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
    const take = decodeRecord(await channel.receive())
    if (take.kind !== 'take') throw new Error('expected take')
    if (take.version !== version) {
      await say({ kind: 'refused', reason: 'version' })
      throw new Error('another version')
    }
    if (step === 'the handshake') return channel
    const hasBundles = version !== OLD_VERSION
    const announced = { bytes: BYTES, senders: spent.length, ...(hasBundles ? { bundles: BUNDLES.length } : {}), ...size }
    await say({ kind: 'give', boot: BOOT, token: TOKEN, messages, size: announced })
    if (step === 'give') return channel
    for (const record of encodeSpent(spent)) {
      await channel.send(record)
      await hear('read')
    }
    const writer = new MessageWriter(MESSAGES.values() as Iterator<HeldMessage, void>)
    const room = Buffer.alloc(2_000)
    for (let length = writer.write(room); length > 0; length = writer.write(room)) {
      await say({ kind: 'messages', bytes: room.subarray(0, length) })
      await hear('read')
      if (step === 'half of them' && writer.count > MESSAGES.length / 2) return channel
    }
    if (step === 'all of them') return channel
    if (hasBundles)
      for (const part of new MessageWriter(BUNDLES.values() as Iterator<HeldMessage, void>).records('bundles')) {
        await channel.send(part)
        await hear('read')
      }
    if (begun !== undefined) {
      await say({ kind: begun, bytes: Buffer.alloc(10) })
      await hear('read')
    }
    await say({ kind: 'end', messages: ends ?? writer.count })
    await hear('held')
    if (step === 'end') return channel
    await say({ kind: 'released' })
    if (step === 'released') return channel
    await hear('opened')
    if (step === 'opened') return channel
    await say({ kind: 'done' })
    if (step === 'done') return channel
    await hear('owned')
    return channel
  }
  server.listen(address.path)
  await once(server, 'listening')
  cleanups.push(() => server.close())
  return server
}

async function takeFrom(options: Parameters<typeof find>[0] = {}): Promise<Succession> {
  const succession = (await find(options))!
  await succession.fill(nothing, nothing)
  await succession.opened()
  return succession
}

describe('a relay that takes over', () => {
  it.each(ENDS)('keeps the messages received so far if its predecessor dies after %s', async (step) => {
    await serveTo(step, { fate: 'dies' })
    const succession = await find()
    const kept = KEPT[step]
    if (kept === undefined) {
      expect(succession).toBeUndefined()
      return
    }
    const got: number[] = []
    expect(await succession!.fill(({ id }) => got.push(id.high), nothing)).toBe(kept)
    expect(got).toEqual(ALL.slice(0, got.length))
    expect(Math.floor((got.length / ALL.length) * 100)).toBe(kept)
    await succession!.opened()
    expect(succession!.owns).toBe(true)
  })

  it.each(
    ENDS.flatMap((step) => (['lives', 'aborts'] as const).map((fate) => [step, fate] as const)).filter(
      ([step, fate]) => step !== 'owned' || fate === 'aborts',
    ),
  )('fails and keeps no messages if its predecessor stops after %s and %s', async (step, fate) => {
    await serveTo(step, { fate })
    const taking = takeFrom()
    // An abort can cross the `owned` of a successor that has just read `done`.
    await expect(taking).rejects.toEqual(problem(step === 'the connection' ? 'proof' : 'broken'))
  })

  it('asks a dead predecessor for nothing more, also if another process listens at its path', async () => {
    await serveTo('half of them', { fate: 'dies' })
    const succession = (await find())!
    expect(await succession.fill(nothing, nothing)).toBe(50)
    const other = createServer((socket) => socket.destroy()).listen(address.path)
    cleanups.push(() => other.close())
    await once(other, 'listening')
    await succession.opened()
    expect(succession.owns).toBe(true)
  })

  it('takes the word of a predecessor that goes on, also if it has stopped since', async () => {
    const server = await serveTo('released', { fate: 'aborts' })
    const succession = (await find())!
    expect(await succession.fill(nothing, nothing)).toBe(100)
    // The abort has arrived when the connection is closed.
    await new Promise((resolve) => server.close(resolve))
    await expect(succession.opened()).rejects.toEqual(problem('broken'))
    expect(succession.owns).toBe(false)
  })

  it('leaves the messages to its predecessor if it cannot say that it owns them', async () => {
    const owner = createOwner(MESSAGES)
    await listenAs(owner)
    const succession = (await find())!
    expect(await succession.fill(nothing, nothing)).toBe(100)
    const { send } = Channel.prototype
    vi.spyOn(Channel.prototype, 'send').mockImplementation(async function (this: Channel, record) {
      if (decodeRecord(Buffer.from(record)).kind === 'owned') this.close()
      await send.call(this, record)
    })
    cleanups.push(() => vi.restoreAllMocks())
    await expect(succession.opened()).rejects.toEqual(problem('broken'))
    expect(succession.owns).toBe(false)
    expect(await until(2)).toEqual(['handover-started', 'handover-failed ended'])
    while (owner.state.released) await new Promise((resolve) => setImmediate(resolve))
    expect(owner.state).toEqual(AS_BEFORE)
  })

  it.each(ENDS.slice(2, -2))('leaves the messages to a predecessor that is stopped after %s', async (step) => {
    await serveTo(step, { fate: 'stalls' })
    await expect(takeFrom({ times: { patience: 100 } })).rejects.toEqual(problem('stalled'))
  })

  it('keeps the messages if its predecessor ends the connection or is stopped after it could read `owned`', async () => {
    for (const fate of ['lives', 'stalls'] as const) {
      await serveTo('owned', { fate })
      expect((await takeFrom({ times: { patience: 100 } })).owns).toBe(true)
      address = { kind: 'unix', path: join(folder, `${paths++}.sock`) }
    }
  })

  it('gives up a stalled predecessor after its patience, and one that is too slow for a whole handover', async () => {
    const server = createServer((socket) => cleanups.push(() => socket.destroy()))
    server.listen(address.path)
    await once(server, 'listening')
    cleanups.push(() => server.close())
    await expect(find({ times: { patience: 1 } })).rejects.toEqual(problem('stalled'))
    address = { kind: 'unix', path: join(folder, `${paths++}.sock`) }
    await serveTo('owned', { fate: 'dies' })
    let allowed = 0
    const whole = (bytes: number): number => {
      allowed = bytes
      return -1
    }
    await expect(takeFrom({ times: { whole } })).rejects.toEqual(problem('stalled'))
    expect(allowed).toBe(BYTES)
  })

  it('can be interrupted before and during the transfer, and the predecessor continues', async () => {
    await listenAs(createOwner(MESSAGES))
    const before = new AbortController()
    before.abort()
    await expect(find({ signal: before.signal })).rejects.toEqual(problem('interrupted'))
    const within = new AbortController()
    const succession = (await find({ signal: within.signal }))!
    const filling = succession.fill(({ id }) => {
      if (id.high === 250) within.abort()
    }, nothing)
    await expect(filling).rejects.toEqual(problem('interrupted'))
    await until(2)
    expect(logged.at(-1)).toMatch(/^handover-failed (?:ended|silent)$/)
    expect(await takeAll()).toEqual(ALL)
  })

  it('is not interrupted if its predecessor is dead: it has the only copy', async () => {
    const server = await serveTo('released', { fate: 'stalls' })
    const stop = new AbortController()
    const succession = (await find({ signal: stop.signal }))!
    expect(await succession.fill(nothing, nothing)).toBe(100)
    server.close()
    stop.abort()
    await succession.opened()
    expect(succession.owns).toBe(true)
  })

  it.each([
    ['fewer messages than announced', { messages: 501 }, 'broken'],
    ['fewer messages than announced, which `end` names', { messages: 501, ends: 501 }, 'broken'],
    ['all messages, and an `end` that names another count', { ends: 499 }, 'broken'],
    ['more messages than announced', { messages: 499 }, 'broken'],
    ['more bytes than announced', { size: { bytes: 499_999, senders: 0 } }, 'broken'],
    ['more senders than announced', { size: { bytes: BYTES, senders: 9 }, spent: createSpent(10) }, 'broken'],
    ['fewer bundles than announced', { size: { bytes: BYTES, senders: 0, bundles: 3 } }, 'broken'],
    ['more bundles than announced', { size: { bytes: BYTES, senders: 0, bundles: 1 } }, 'broken'],
    ['`end` with a begun message behind the last one', { begun: 'messages' }, 'broken'],
    ['`end` with a begun bundle behind the last one', { begun: 'bundles' }, 'broken'],
    ['an announcement of more bytes than there is memory for', { size: { bytes: 1e9 + 1, senders: 0 } }, 'memory'],
  ] as const)('takes nothing over from a relay that sends %s', async (_name, script, expected) => {
    await serveTo('owned', { fate: 'dies', ...script })
    let got = 0
    await expect(
      (async () => {
        const succession = (await find())!
        await succession.fill(() => got++, nothing)
      })(),
    ).rejects.toEqual(problem(expected))
    expect(got).toBeLessThanOrEqual(500)
  })

  it('takes over no more sending limits than its memory permits, but every message', async () => {
    await listenAs(createOwner(MESSAGES, createSpent(5_000)))
    const succession = (await find({ memory: BYTES }))!
    let limits = 0
    let got = 0
    expect(
      await succession.fill(
        () => got++,
        () => limits++,
      ),
    ).toBe(100)
    expect([got, limits]).toEqual([500, Math.floor(BYTES / 256)])
    succession.abandon()
  })

  it('fails with the error of its relay, and the predecessor continues', async () => {
    await listenAs(createOwner(MESSAGES))
    const succession = (await find())!
    const filling = succession.fill(() => {
      throw new HandoverError('memory')
    }, nothing)
    await expect(filling).rejects.toEqual(problem('memory'))
    await until(2)
    expect(await takeAll()).toEqual(ALL)
  })

  it('takes everything over from a relay of the version before, which has no bundles', async () => {
    await serveTo('owned', { fate: 'dies', version: OLD_VERSION })
    expect((await takeFrom()).owns).toBe(true)
  })
})
