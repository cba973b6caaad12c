/**
 * The relay's memory holds no byte of erased data: the tests search every writable page of its process. For
 * each search, a relay that keeps the data must be detected.
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { describe, expect, onTestFinished, test } from 'vitest'
import { findPredecessor } from '../../src/handover/successor.ts'
import { ASFALEIA, run } from '../support/process.ts'
import { scanMemory } from '../support/memory.ts'
import {
  type Canaries,
  drawMark,
  login,
  payloadOf,
  play,
  READS_AS_NODE_DOES,
  type RelayOptions,
  type RunningRelay,
  sendOwn,
  startRelay,
  untilEmpty,
  WIRE_NAMES,
  type WireName,
  WIRES,
} from '../support/scenario.ts'
import { connectRaw, connectWebSocket, createPerson, type Wire } from '../support/wire.ts'

/** A relay that keeps the bytes that its sockets deliver. */
const KEEPS = `${READS_AS_NODE_DOES}
import { Socket } from 'node:net'
const { emit } = Socket.prototype
globalThis.kept = []
Socket.prototype.emit = function (event, chunk, ...more) {
  if (event === 'data') globalThis.kept.push(Buffer.from(chunk))
  return emit.call(this, event, chunk, ...more)
}`

function ownFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'asfaleia-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  return folder
}

async function begin(options: Partial<RelayOptions> = {}): Promise<RunningRelay> {
  const relay = await startRelay({ folder: options.folder ?? ownFolder(), ...options })
  onTestFinished(async () => void (await relay.end('SIGKILL')))
  return relay
}

/** Searches the relay's memory for the needles and returns those found, with their places. */
function found(relay: RunningRelay, needles: Canaries): Record<string, readonly unknown[]> {
  const { seen, bytes } = scanMemory(relay.pid, needles)
  // A smaller amount would mean that the memory was not read at all.
  expect(bytes).toBeGreaterThan(10_000_000)
  return Object.fromEntries(Object.entries(seen).filter(([, sightings]) => sightings.length > 0))
}

/**
 * Simulates other users: moves some megabytes through the relay's heap, so that V8 collects the young
 * generation.
 */
async function bustle(relay: RunningRelay): Promise<void> {
  const wire = await connectRaw(relay.doors.tcp)
  const person = createPerson()
  const { token } = await login(wire, person, 'sign')
  for (let i = 0; i < 40; i++) {
    await sendOwn(wire, token, person, payloadOf(drawMark()), 100)
    await wire.ask(`9;${token}`)
  }
  wire.destroy()
}

describe('after a message is acknowledged, taken, wiped, or refused, a bundle replaced, and a secret shown', () => {
  test('none of its bytes remain in memory, over any door', async () => {
    const relay = await begin()
    const { payloads } = await play(relay)
    expect(Object.keys(payloads)).toHaveLength(WIRE_NAMES.length * 10)
    expect(found(relay, payloads)).toEqual({})
  })

  test('a relay that keeps messages is detected', async () => {
    const relay = await begin({ fault: KEEPS })
    const { payloads } = await play(relay)
    // WebSocket masks its frames, so the marks show only in bytes from the sockets of lines.
    const raw = Object.keys(payloads).filter((name) => /^(tcp|unix)|(tcp|unix)$/.test(name))
    expect(Object.keys(found(relay, payloads))).toEqual(expect.arrayContaining(raw))
  })
})

describe('after a long message, when only short packets follow', () => {
  /** Sends and acknowledges one message that fills the relay's longest read; no long packet follows. */
  async function sendLong(relay: RunningRelay, name: WireName): Promise<Canaries> {
    const [wire, person, mark] = [await WIRES[name](relay), createPerson(), drawMark()]
    const { token } = await login(wire, person, 'sign')
    const [id] = await sendOwn(wire, token, person, payloadOf(mark, 1_500), 1)
    await wire.ask(`4;${token};lease`)
    await wire.line()
    expect(await wire.ask(`5;${token};${id}`)).toBe('15;1')
    return { [name]: Buffer.from(mark) }
  }

  test.each(WIRE_NAMES)('none of it remains in the read buffers: %s', async (name) => {
    const relay = await begin()
    expect(found(relay, await sendLong(relay, name))).toEqual({})
  })

  test("a relay that lets Node read into Node's own buffer is detected", async () => {
    const relay = await begin({ fault: READS_AS_NODE_DOES })
    expect(Object.keys(found(relay, await sendLong(relay, 'tcp')))).toEqual(['tcp'])
    // The relay reports it by itself as well, so that a changed Node does not go unnoticed.
    await relay.until(/"event":"unsafe","check":"read-buffer"/)
    const [node, main] = ASFALEIA
    const doctor = await run([node, '--import', 'data:text/javascript,Object.getOwnPropertySymbols=()=>[]', main, 'doctor'])
    expect(doctor).toMatchObject({ code: 1, stdout: expect.stringMatching(/^failed +read-buffer: /m) })
    expect((await run([...ASFALEIA, 'doctor'])).stdout).toMatch(/^ok +read-buffer$/m)
  })
})

describe('after a message that arrived in pieces', () => {
  /** Sends a message in these pieces one by one, and acknowledges it if `erase` is set. */
  async function sendPieces(relay: RunningRelay, name: keyof typeof PIECES, erase = true): Promise<Canaries> {
    const [person, mark] = [createPerson(), drawMark()]
    const { wire, send } = await PIECES[name](relay)
    const { token } = await login(wire, person, 'sign')
    const packet = `3;${token};${person.line};${payloadOf(mark, 1_500)}`
    const cuts = [0, 300, 5_000, 12_000, 20_001, packet.length]
    for (const [n, cut] of cuts.slice(1).entries()) {
      send(packet.slice(cuts[n], cut), n === cuts.length - 2, packet.length)
      // Once another client gets an answer, the relay has read the piece.
      const other = await connectRaw(relay.doors.tcp)
      expect(await other.ask('7')).toBe('17')
      other.destroy()
    }
    const [number, id] = (await wire.line())!.split(';')
    expect(number).toBe('13')
    if (erase) {
      await wire.ask(`4;${token};lease`)
      await wire.line()
      expect(await wire.ask(`5;${token};${id}`)).toBe('15;1')
    }
    return { [name]: Buffer.from(mark) }
  }
  interface Sender {
    readonly wire: Wire
    /** Sends one piece of the packet. */
    send(piece: string, last: boolean, length: number): void
  }
  const lines =
    (door: 'tcp' | 'unix') =>
    async ({ doors }: RunningRelay): Promise<Sender> => {
      const wire = await connectRaw(doors[door])
      return { wire, send: (piece, last) => wire.send(last ? `${piece}\n` : piece) }
    }
  /**
   * Encodes a frame of a text message, or its continuation; masked by zeros, so that the search finds it
   * anywhere.
   */
  const frame = (piece: string, first: boolean, last: boolean, length = piece.length): Buffer => {
    const head = Buffer.of((last ? 0x80 : 0) | (first ? 1 : 0), 0x80 | 126, 0, 0, 0, 0, 0, 0)
    head.writeUInt16BE(length, 2)
    return Buffer.concat([head, Buffer.from(piece)])
  }
  const PIECES = {
    tcp: lines('tcp'),
    unix: lines('unix'),
    async 'frames of one message'({ doors }: RunningRelay): Promise<Sender> {
      const wire = await connectWebSocket(doors.http)
      let first = true
      return {
        wire,
        send(piece, last) {
          wire.sendRaw(frame(piece, first, last))
          first = false
        },
      }
    },
    async 'reads of one frame'({ doors }: RunningRelay): Promise<Sender> {
      const wire = await connectWebSocket(doors.http)
      let first = true
      return {
        wire,
        send(piece, _last, length = 0) {
          wire.sendRaw(first ? frame(piece, true, true, length) : Buffer.from(piece))
          first = false
        },
      }
    },
  } satisfies Record<string, (relay: RunningRelay) => Promise<Sender>>

  test.each(Object.keys(PIECES) as (keyof typeof PIECES)[])('none of it remains in memory: %s', async (name) => {
    const relay = await begin()
    expect(found(relay, await sendPieces(relay, name))).toEqual({})
  })

  test('a waiting message is found, even if it arrived in pieces', async () => {
    const relay = await begin()
    for (const name of Object.keys(PIECES) as (keyof typeof PIECES)[])
      expect(Object.keys(found(relay, await sendPieces(relay, name, false)))).toEqual([name])
  })
})

describe('after a handover', () => {
  const COUNT = 60

  /** Starts a relay with messages for one user, and returns that user's token. */
  async function fill(folder: string): Promise<{ relay: RunningRelay; marks: Canaries; token: string }> {
    const relay = await begin({ folder, more: ['--handover', join(folder, 'handover')] })
    const [wire, person] = [await connectRaw(relay.doors.unix), createPerson()]
    const { token } = await login(wire, person, 'sign')
    const marks: Canaries = {}
    for (let i = 0; i < COUNT; i++) {
      const mark = drawMark()
      await sendOwn(wire, token, person, payloadOf(mark, i % 2 === 0 ? 1_500 : 20), 1)
      marks[`message ${i}`] = Buffer.from(mark)
    }
    return { relay, marks, token }
  }
  async function takeAll(relay: RunningRelay, token: string): Promise<void> {
    let wire = await connectRaw(relay.doors.unix)
    // A relay that resumes after a failed handover opens its doors a moment later.
    while ((await wire.ask('7')) !== '17') wire = await connectRaw(relay.doors.unix)
    for (let left = COUNT; left > 0;) {
      const [, count] = (await wire.ask(`4;${token};lease`)).split(';')
      const ids: string[] = []
      for (let i = 0; i < Number(count); i++) ids.push((await wire.line())!.split(';')[1]!)
      expect(await wire.ask(`5;${token};${ids.join(';')}`)).toBe(`15;${count}`)
      left -= ids.length
    }
  }

  test('the successor holds each message once, and no byte of it after it was delivered', async () => {
    const folder = ownFolder()
    const { relay, marks, token } = await fill(folder)
    const successor = await begin({ folder, more: ['--handover', join(folder, 'handover')] })
    expect(await relay.finished).toMatchObject({ code: 0 })
    // While a message is held, the search finds it exactly once and no part of it elsewhere.
    const held = scanMemory(successor.pid, marks).seen
    for (const [i, name] of Object.keys(marks).entries()) expect([name, held[name]!.length]).toEqual([name, i % 2 === 0 ? 1_500 : 20])
    await takeAll(successor, token)
    expect(found(successor, marks)).toEqual({})
  })

  test('a predecessor whose successor gave up at the end holds no byte of the messages that it then delivered', async () => {
    const folder = ownFolder()
    const { relay, marks, token } = await fill(folder)
    const address = { kind: 'unix', path: join(folder, 'handover') } as const
    const succession = await findPredecessor({ address, psk: Buffer.alloc(32), memory: 2 ** 30, signal: new AbortController().signal })
    expect(
      await succession!.fill(
        () => {},
        () => {},
      ),
    ).toBe(100)
    succession!.abandon()
    await relay.until(/"event":"handover-failed"/)
    await takeAll(relay, token)
    expect(found(relay, marks)).toEqual({})
  })

  test('a successor that keeps the transferred bytes is detected', async () => {
    const folder = ownFolder()
    const { relay, marks, token } = await fill(folder)
    const fault = `
import crypto from 'node:crypto'
import { syncBuiltinESMExports } from 'node:module'
const { createDecipheriv } = crypto
globalThis.kept = []
crypto.createDecipheriv = (...given) => {
  const decipher = createDecipheriv(...given)
  const { update } = decipher
  decipher.update = (...bytes) => {
    const plain = update.apply(decipher, bytes)
    globalThis.kept.push(Buffer.from(plain))
    return plain
  }
  return decipher
}
syncBuiltinESMExports()`
    const successor = await begin({ folder, fault, more: ['--handover', join(folder, 'handover')] })
    expect(await relay.finished).toMatchObject({ code: 0 })
    await takeAll(successor, token)
    expect(Object.keys(found(successor, marks))).toEqual(Object.keys(marks))
  })
})

test('a waiting message is found in memory, and no byte of it after it expires', async () => {
  const relay = await begin({ more: ['--hold', '3s'] })
  const marks: Canaries = {}
  for (const name of WIRE_NAMES) {
    const [wire, person, mark] = [await WIRES[name](relay), createPerson(), drawMark()]
    await sendOwn(wire, (await login(wire, person, 'sign')).token, person, payloadOf(mark))
    marks[name] = Buffer.from(mark)
    if (name === WIRE_NAMES.at(-1)) expect(Object.keys(found(relay, marks))).toContain(name)
    wire.destroy()
  }
  await untilEmpty(relay)
  expect(found(relay, marks)).toEqual({})
})

describe('after a user has proved a key and left', () => {
  /** Leaves the relay idle, and searches its memory until nothing is found, or ten seconds have passed. */
  async function foundWhileIdle(relay: RunningRelay, needles: Canaries): Promise<Record<string, readonly unknown[]>> {
    for (const end = performance.now() + 10_000; ; await delay(1_000)) {
      const sightings = found(relay, needles)
      if (Object.keys(sightings).length === 0 || performance.now() >= end) return sightings
    }
  }

  test('no key, fingerprint or token remains in an idle relay that holds messages of others', async () => {
    const relay = await begin()
    const [holder, mark] = [await connectRaw(relay.doors.tcp), drawMark()]
    const person = createPerson()
    await sendOwn(holder, (await login(holder, person, 'sign')).token, person, payloadOf(mark), 20)
    const { keyTexts, keyBytes, secrets } = await play(relay)
    const texts = Object.fromEntries(Object.entries(keyTexts).filter(([name]) => !name.endsWith('fingerprint')))
    expect(found(relay, texts)).toEqual({})
    const tokens = Object.fromEntries(Object.entries(secrets).filter(([name]) => name.endsWith('token')))
    expect(await foundWhileIdle(relay, { ...keyTexts, ...keyBytes, ...tokens })).toEqual({})
    expect(Object.keys(found(relay, { message: Buffer.from(mark) }))).toEqual(['message'])
    holder.destroy()
  }, 60_000)

  test('an idle relay that never collects garbage is detected', async () => {
    const relay = await begin({ fault: 'delete globalThis.gc' })
    const { keyTexts, keyBytes } = await play(relay)
    expect(Object.keys(await foundWhileIdle(relay, { ...keyTexts, ...keyBytes }))).not.toEqual([])
  }, 60_000)

  test('a relay that keeps keys is detected', async () => {
    const relay = await begin({ fault: KEEPS })
    const { keyTexts } = await play(relay)
    await bustle(relay)
    expect(Object.keys(found(relay, keyTexts))).toEqual(expect.arrayContaining(['tcp, decrypt, ack: base64', 'unix, sign, get: base64']))
  })

  test('an unconfined relay is detected, because V8 and libc do not overwrite freed memory', async () => {
    const relay = await begin({ fault: 'undefined' })
    const { keyBytes } = await play(relay)
    expect(Object.keys(found(relay, keyBytes))).not.toEqual([])
  })
})

test('the relay process runs with its confinement flags, after replacing the process that started it', async () => {
  const relay = await begin()
  const [, ...words] = readFileSync(`/proc/${relay.pid}/cmdline`, 'utf8').split('\0')
  expect(words).toEqual(expect.arrayContaining(['--permission', '--clear-free-memory', '--disable-sigusr1']))
  expect(readFileSync(`/proc/${relay.pid}/environ`, 'utf8')).toContain('glibc.malloc.perturb=255')
})
