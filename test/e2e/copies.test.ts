/**
 * Two copies over a private Tor network: each text goes to both relays of its receiver. One of them is killed while every
 * sender is offline, and the receiver still gets each text, once.
 */
import { appendFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, expect, inject, test } from 'vitest'
import { ASFALEIA, run, type Running, start } from '../support/process.ts'
import { missing } from '../support/programs.ts'
import { joinTorNetwork, type OnionHost, TOR_PROGRAMS, type TorClient, type TorNetwork } from '../support/tor-network.ts'

const reason = missing(...TOR_PROGRAMS)
const SLOW = 180_000

interface Side {
  readonly host: OnionHost
  readonly door: string
  relay: Running
}

let folder: string
let network: TorNetwork
let client: TorClient
let sides: [Side, Side]

async function startRelay(host: OnionHost, door: string): Promise<Running> {
  const doors = ['--tcp', 'off', '--unix', door, '--http', 'off', '--operator', 'off', '--proxy', 'unix']
  const started = start([...ASFALEIA, 'relay', ...doors, '--name-file', host.nameFile])
  await started.until(/^ready$/m)
  return started
}

async function startSide(name: string): Promise<Side> {
  const door = join(folder, name)
  const host = await network.addOnionHost({ doors: [{ port: 3308, target: { kind: 'unix', path: door } }], proxyHeader: true })
  return { host, door, relay: await startRelay(host, door) }
}

const path = (name: string): string => join(folder, name)

/** Runs a command to its end, so that its user is offline afterwards. @returns its standard output */
async function asfaleia(who: string, ...args: readonly string[]): Promise<string> {
  const { code, stdout, stderr } = await run([...ASFALEIA, ...args], { env: { ASFALEIA_HOME: path(who) } })
  // 75: a relay could not be reached.
  if (code !== 0 && code !== 75) throw new Error(`${args.join(' ')}: ${code}\n${stdout}\n${stderr}`)
  return stdout
}

const get = (who: string): Promise<string> => asfaleia(who, 'get')

beforeAll(async () => {
  if (reason !== undefined) return
  folder = mkdtempSync(join(tmpdir(), 'asf-copies-'))
  network = await joinTorNetwork(inject('torNetwork'))
  ;[client, ...sides] = await Promise.all([network.addClient(), startSide('a'), startSide('b')])
  const relays = sides.flatMap(({ host }) => ['--relay', host.onion])
  await Promise.all(
    ['alice', 'bob'].map(async (name) => {
      writeFileSync(path(`${name}.card`), await asfaleia(name, 'me', '--name', name, ...relays, '--text'))
      appendFileSync(join(path(name), 'profile'), `socks: ${client.socks.host}:${client.socks.port}\ncopies: 2\n`)
    }),
  )
  // This publishes the bundles for first messages, too.
  await asfaleia('alice', 'contact', 'add', path('bob.card'))
  await asfaleia('bob', 'contact', 'add', path('alice.card'))
  // Alice gets Bob's addresses.
  await asfaleia('bob', 'send', 'alice', 'hello')
  const got = await get('alice')
  if (got !== 'bob: hello\n') throw new Error(`alice got ${got}`)
}, SLOW)
afterAll(async () => {
  await Promise.all((sides ?? []).map(({ relay }) => relay.end()))
  await network?.stop()
  if (folder !== undefined) rmSync(folder, { recursive: true, force: true })
})
beforeEach((ctx) => ctx.skip(reason !== undefined, reason))

test.each([
  { name: 'both relays live on', killed: undefined },
  { name: 'the first relay is killed', killed: 0 },
  { name: 'the second relay is killed', killed: 1 },
] as const)('a text arrives once if $name while its sender is offline', { timeout: SLOW }, async ({ name, killed }) => {
  const texts = [`${name}: one`, `${name}: two`]
  for (const text of texts) await asfaleia('alice', 'send', 'bob', text)
  const side = killed === undefined ? undefined : sides[killed]!
  await side?.relay.end('SIGKILL')
  const got = await get('bob')
  if (side !== undefined) side.relay = await startRelay(side.host, side.door)
  expect(got + (await get('bob'))).toBe(texts.map((text) => `alice: ${text}\n`).join(''))
})
