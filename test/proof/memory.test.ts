/**
 * The relay's memory holds nothing of what is gone: every writable page of the process is searched for bytes that went
 * through it. Beside each search stands one of a relay that does keep, which has to find them.
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import { scanMemory } from '../support/memory.ts'
import { type Canaries, drawMark, login, payloadOf, play, type RelayOptions, type RunningRelay, sendOwn, startRelay, untilEmpty, WIRE_NAMES, type WireName, WIRES } from '../support/scenario.ts'
import { connectRaw, createPerson } from '../support/wire.ts'

/** A relay whose sockets read into Node's own buffer. */
const READS_AS_NODE_DOES = 'Object.getOwnPropertySymbols = () => []'

/** A relay that keeps what its sockets hand it. */
const KEEPS = `${READS_AS_NODE_DOES}
import { Socket } from 'node:net'
const { emit } = Socket.prototype
globalThis.kept = []
Socket.prototype.emit = function (event, chunk, ...more) {
  if (event === 'data') globalThis.kept.push(Buffer.from(chunk))
  return emit.call(this, event, chunk, ...more)
}`

async function begin(options: Omit<RelayOptions, 'folder'> = {}): Promise<RunningRelay> {
  const folder = mkdtempSync(join(tmpdir(), 'asfaleia-'))
  const relay = await startRelay({ folder, ...options })
  onTestFinished(async () => {
    await relay.end('SIGKILL')
    rmSync(folder, { recursive: true })
  })
  return relay
}

/** What of the needles is in the relay's memory, and where. */
function found(relay: RunningRelay, needles: Canaries): Record<string, readonly unknown[]> {
  const { seen, bytes } = scanMemory(relay.pid, needles)
  // Less would mean that the memory was not read at all.
  expect(bytes).toBeGreaterThan(10_000_000)
  return Object.fromEntries(Object.entries(seen).filter(([, sightings]) => sightings.length > 0))
}

/** What others do at the relay in the meantime: some megabytes through its heap, so that V8 collects what is young. */
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

describe('after a message is acknowledged, taken, wiped, or refused', () => {
  test('none of its bytes is left, over any door', async () => {
    const relay = await begin()
    const { payloads } = await play(relay)
    expect(Object.keys(payloads)).toHaveLength(WIRE_NAMES.length * 5)
    expect(found(relay, payloads)).toEqual({})
  })

  test('a relay that keeps them is found out', async () => {
    const relay = await begin({ fault: KEEPS })
    const { payloads } = await play(relay)
    // Masked by WebSocket, a frame shows nothing; what came by the sockets of lines shows all.
    const raw = Object.keys(payloads).filter((name) => /^(tcp|unix)|(tcp|unix)$/.test(name))
    expect(Object.keys(found(relay, payloads))).toEqual(expect.arrayContaining(raw))
  })
})

describe('after a long message, when only short packets follow', () => {
  /** A message, of which the longest read of the relay is full, acknowledged; then nothing long any more. */
  async function sendLong(relay: RunningRelay, name: WireName): Promise<Canaries> {
    const [wire, person, mark] = [await WIRES[name](relay), createPerson(), drawMark()]
    const { token } = await login(wire, person, 'sign')
    const [id] = await sendOwn(wire, token, person, payloadOf(mark, 1_500), 1)
    await wire.ask(`4;${token};lease`)
    await wire.line()
    expect(await wire.ask(`5;${token};${id}`)).toBe('15;1')
    return { [name]: Buffer.from(mark) }
  }

  test.each(WIRE_NAMES)('nothing of it is left in what sockets are read into: %s', async (name) => {
    const relay = await begin()
    expect(found(relay, await sendLong(relay, name))).toEqual({})
  })

  test("a relay that lets Node read into Node's own buffer is found out", async () => {
    const relay = await begin({ fault: READS_AS_NODE_DOES })
    expect(Object.keys(found(relay, await sendLong(relay, 'tcp')))).toEqual(['tcp'])
  })
})

test('a message that waits is found, and once it has expired it is not', async () => {
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

describe('after somebody has proven a key and left', () => {
  test('no text of it is left; no byte of it, nor a token, once others have been there for a while', async () => {
    const relay = await begin()
    const { keyTexts, keyBytes, secrets } = await play(relay)
    const texts = Object.fromEntries(Object.entries(keyTexts).filter(([name]) => !name.endsWith('fingerprint')))
    expect(found(relay, texts)).toEqual({})
    await bustle(relay)
    expect(found(relay, { ...keyTexts, ...keyBytes })).toEqual({})
    const tokens = Object.fromEntries(Object.entries(secrets).filter(([name]) => name.endsWith('token')))
    expect(found(relay, tokens)).toEqual({})
  })

  test('a relay that keeps keys is found out', async () => {
    const relay = await begin({ fault: KEEPS })
    const { keyTexts } = await play(relay)
    await bustle(relay)
    expect(Object.keys(found(relay, keyTexts))).toEqual(expect.arrayContaining(['tcp, decrypt, ack: base64', 'unix, sign, get: base64']))
  })

  test('a relay that is not confined is found out: what V8 and libc free is not overwritten', async () => {
    const relay = await begin({ fault: 'undefined' })
    const { keyBytes } = await play(relay)
    expect(Object.keys(found(relay, keyBytes))).not.toEqual([])
  })
})

test('the process is confined, and what it was before is not there any more', async () => {
  const relay = await begin()
  const [, ...words] = readFileSync(`/proc/${relay.pid}/cmdline`, 'utf8').split('\0')
  expect(words).toEqual(expect.arrayContaining(['--permission', '--clear-free-memory', '--disable-sigusr1']))
  expect(readFileSync(`/proc/${relay.pid}/environ`, 'utf8')).toContain('glibc.malloc.perturb=255')
})
