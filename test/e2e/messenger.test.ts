/**
 * Two users on two relays behind two onion services of a private Tor network: no message is lost or duplicated
 * if a relay is killed, and a file arrives although its connections are cut.
 */
import { randomBytes } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, expect, inject, test } from 'vitest'
import type { MessengerOptions } from '../../src/client/messenger/options.ts'
import type { Messenger } from '../../src/client/messenger/messenger.ts'
import { memoryFile, type MemoryFile, sourceOf } from '../support/files.ts'
import { makePerson, messengerOf, type Person, take, textOf } from '../support/people.ts'
import { ASFALEIA, type Running, start } from '../support/process.ts'
import { missing } from '../support/programs.ts'
import { type OnionHost, joinTorNetwork, TOR_PROGRAMS, type TorClient, type TorNetwork } from '../support/tor-network.ts'

const reason = missing(...TOR_PROGRAMS)
const SLOW = 240_000

interface Side {
  readonly host: OnionHost
  readonly door: string
  relay: Running
}

let folder: string
let network: TorNetwork
let client: TorClient
let sides: Side[]
const open: Messenger[] = []

async function startRelay(host: OnionHost, door: string): Promise<Running> {
  const started = start([
    ...ASFALEIA,
    'relay',
    '--tcp',
    'off',
    '--unix',
    door,
    '--http',
    'off',
    '--operator',
    'off',
    '--proxy',
    'unix',
    '--name-file',
    host.nameFile,
  ])
  await started.until(/^ready$/m)
  return started
}

async function startSide(name: string): Promise<Side> {
  const door = join(folder, name)
  const host = await network.addOnionHost({ doors: [{ port: 3308, target: { kind: 'unix', path: door } }], proxyHeader: true })
  return { host, door, relay: await startRelay(host, door) }
}

beforeAll(async () => {
  if (reason !== undefined) return
  folder = await mkdtemp(join(tmpdir(), 'asf-e2e-'))
  network = await joinTorNetwork(inject('torNetwork'))
  ;[client, sides] = await Promise.all([network.addClient(), Promise.all(['a', 'b'].map(startSide))])
})
afterAll(async () => {
  await Promise.all(open.map((messenger) => messenger.close()))
  await Promise.all((sides ?? []).map(({ relay }) => relay.end()))
  await network?.stop()
  if (folder !== undefined) await rm(folder, { recursive: true, force: true })
})
beforeEach((ctx) => ctx.skip(reason !== undefined, reason))

const people = (): readonly [Person, Person] => [makePerson('alice', sides[0]!.host.onion), makePerson('bob', sides[1]!.host.onion)]

function messenger(person: Person, other: Person, more?: Partial<MessengerOptions>): Messenger {
  const made = messengerOf(person, [other], { socks: `${client.socks.host}:${client.socks.port}`, ...more })
  open.push(made)
  return made
}

test('200 messages each way arrive once and in order although a relay is killed in between', { timeout: SLOW }, async () => {
  const [alice, bob] = people()
  const [from, to] = [messenger(alice, bob), messenger(bob, alice)]
  const texts = Array.from({ length: 200 }, (_, n) => `message ${n}`)
  const out = texts.map((text) => from.send(bob, { type: 'text', text }))
  const back = texts.map((text) => to.send(alice, { type: 'text', text }))
  const came = take(to, 200)
  const cameBack = await take(from, 60)
  const side = sides[0]!
  await side.relay.end('SIGKILL')
  side.relay = await startRelay(side.host, side.door)
  cameBack.push(...(await take(from, 140)))
  expect((await came).map(textOf)).toEqual(texts)
  expect(cameBack.map(textOf)).toEqual(texts)
  expect(cameBack.filter(({ gap, late }) => gap || late)).toEqual([])
  expect(new Set(await Promise.all([...out, ...back].map(({ settled }) => settled)))).toEqual(new Set(['delivered']))
  await Promise.all([from.close(), to.close()])
})

test('a file of 5 MB arrives although its connections are cut three times', { timeout: SLOW }, async () => {
  const [alice, bob] = people()
  const bytes = new Uint8Array(randomBytes(5_000_000))
  const from = messenger(alice, bob)
  let file: MemoryFile | undefined
  const to = messenger(bob, alice, {
    files: {
      async open(offer) {
        file ??= memoryFile(offer)
        return file.sink
      },
    },
  })
  const whole = Promise.withResolvers<void>()
  const cuts = [1_000_000, 2_000_000, 3_000_000]
  void (async () => {
    for await (const event of to.events()) {
      if (event.kind !== 'file-received') continue
      if (event.bytes > (cuts[0] ?? Number.POSITIVE_INFINITY)) {
        cuts.shift()
        expect(await cutCircuits()).toBeGreaterThan(0)
      }
      if (event.state === 'done') whole.resolve()
    }
  })()
  const delivery = await from.sendFile(bob, sourceOf('five.bin', bytes))
  expect(await delivery.settled).toBe('done')
  await whole.promise
  expect(cuts).toEqual([])
  expect(file).toMatchObject({ outcome: 'finished' })
  expect(Buffer.compare(file!.bytes, bytes)).toBe(0)
})

/** Closes every circuit of the client that leads to an onion service. @returns how many */
async function cutCircuits(): Promise<number> {
  const lines = ((await client.tor.control.info('circuit-status')) ?? '')
    .split('\n')
    .filter((line) => line.includes('PURPOSE=HS_CLIENT_REND'))
  await Promise.all(lines.map((line) => client.tor.control.ask(`CLOSECIRCUIT ${line.split(' ', 1)[0]}`).catch(() => {})))
  return lines.length
}
