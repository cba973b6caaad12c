/**
 * The measurements: each part starts the servers that it compares, alternates between them for several rounds,
 * and records samples. It reports parts that cannot be measured here, and judges nothing.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { MEMORY_FLAGS } from '../src/cli/relay/confinement.ts'
import { FLOODS, type Honest } from './attack.ts'
import { Ceiling } from './ceiling.ts'
import { COMMANDS, measureCommands } from './command.ts'
import { type Proof, PROOFS } from './key.ts'
import { Generator, type Load, type LoadOptions, type Mode, type Protocol, runLoad, type Under } from './load.ts'
import { type Mailbox, openMailboxes } from './login.ts'
import { measureOneTime } from './one-time.ts'
import { measureTor } from './onion.ts'
import { Group, measurePerson, STEPS } from './person.ts'
import type { Figure, Results, Subject } from './result.ts'
import {
  LOAD_CORE,
  missingServer,
  type RelayOptions,
  type Server,
  SERVER_CORE,
  type ServerName,
  SERVERS,
  startServer as start,
} from './server.ts'
import { measureTrips, measureTripsOverTor } from './trips.ts'

/** base64 of 1 KiB, 16 KiB. */
export const PAYLOAD = 1_368
const LARGE = 21_848
const SENDERS = 16
/** Mailboxes for up to 9,000 connections, which are divided equally among them. */
const MANY_MAILBOXES = 20
/** The time for RSS to settle: allocators and collectors return memory some time after the work. */
const SETTLE_MS = 2_000

export interface Bench {
  readonly full: boolean
  /** The programs in C; undefined if there is no compiler. */
  readonly load: string
  readonly floor: string
  /** A built checkout of the project to compare with. */
  readonly before?: string | undefined
  readonly results: Results
  say(text: string): void
}

type Part = (bench: Bench) => Promise<void>

const PROTOCOLS: Record<Exclude<ServerName, 'prosody'>, Protocol> = {
  relay: 'asf',
  floor: 'asf',
  mosquitto: 'mqtt',
  redis: 'redis',
  nats: 'nats',
  aedes: 'mqtt',
}

interface Target {
  readonly subject: Subject
  readonly under: Under
}

class Recorder {
  readonly #bench: Bench

  constructor(bench: Bench) {
    this.#bench = bench
  }

  figure(name: string, unit: string): void {
    const figures: Figure[] = this.#bench.results.figures
    if (!figures.some((figure) => figure.name === name)) figures.push({ name, unit })
  }

  value(figure: string, subject: Subject, round: number, value: number, cpu?: number): void {
    this.#bench.results.samples.push({ figure, subject, round, value, ...(cpu === undefined ? {} : { cpu }) })
  }

  rate(figure: string, subject: Subject, round: number, load: Load): void {
    this.figure(figure, 'messages/s')
    this.value(figure, subject, round, load.messages / load.seconds, load.cpuMicroseconds)
  }
}

async function withServers(
  bench: Bench,
  names: readonly ServerName[],
  work: (servers: Server[]) => Promise<void>,
  options?: RelayOptions,
): Promise<void> {
  const servers: Server[] = []
  try {
    for (const name of names) {
      const missing = missingServer(name)
      const absent = `${name}: ${missing}`
      if (missing === undefined) servers.push(await start(name, bench.floor, options))
      else if (!bench.results.absent.includes(absent)) bench.results.absent.push(absent)
    }
    await work(servers)
  } finally {
    for (const server of servers) await server.stop()
  }
}

/** Prepares a server for the load and creates its queues, topics and streams. */
async function prepare(bench: Bench, server: Server, mailboxes = SENDERS): Promise<Under> {
  if (server.name === 'prosody') throw new TypeError('prosody has a client of its own')
  const under = { load: bench.load, protocol: PROTOCOLS[server.name], server, mailboxes: await openAny(server, mailboxes) }
  if (under.protocol === 'mqtt' || under.protocol === 'nats') await (await Generator.start(under, 'prepare', { mailboxes })).ended()
  return under
}

async function openAny(server: Server, count: number): Promise<Mailbox[]> {
  if (server.name === 'relay') return openMailboxes(server.port, count)
  if (server.name !== 'floor') return []
  // As long as the relay's own.
  const key = `ssh-ed25519 ${'A'.repeat(60)}`
  return Array.from({ length: count }, (_, n) => ({ token: `${'t'.repeat(240)}.${n}`, receiver: `${key}.${n}` }))
}

/** Sends messages of every kind, so that the JIT compiles the code; every server gets the same time. */
async function warmUp(bench: Bench, { subject, under }: Target): Promise<void> {
  const until = performance.now() + warmSeconds(bench) * 1_000
  const messages = AMOUNT[subject] / 4
  while (performance.now() < until) {
    await runLoad(under, 'store', { messages })
    await runLoad(under, 'drain', { messages })
    await runLoad(under, 'push', { messages: messages / 2, window: 4 })
  }
}

const warmSeconds = (bench: Bench): number => (bench.full ? 6 : 1.5)

/** Returns the subjects of a server: a relay is one for each of its doors. */
function byDoor(under: Under): Target[] {
  const subject = under.server.name
  return subject === 'relay'
    ? [
        { subject, under },
        { subject: 'websocket', under: { ...under, protocol: 'ws' } },
      ]
    : [{ subject, under }]
}

/** About half a second of work for each server; the depth of a queue must not influence these figures. */
const AMOUNT: Record<Subject, number> = {
  relay: 96_000,
  websocket: 48_000,
  floor: 192_000,
  redis: 128_000,
  nats: 32_000,
  mosquitto: 32_000,
  aedes: 16_000,
  prosody: 1_600,
  before: 96_000,
  command: 0,
  client: 0,
  age: 0,
  bare: 0,
  own: 0,
  echo: 0,
}

const measureMessages: Part = async (bench) => {
  const record = new Recorder(bench)
  await withServers(bench, SERVERS, async (servers) => {
    const targets: Target[] = []
    let prosody: Server | undefined
    for (const server of servers) {
      if (server.name === 'prosody') prosody = server
      else targets.push(...byDoor(await prepare(bench, server)))
    }
    const scale = bench.full ? 1.5 : 0.5
    for (const target of targets) await warmUp(bench, target)
    for (let round = 1; round <= (bench.full ? 5 : 3); round++) {
      for (const { subject, under } of targets) {
        const messages = AMOUNT[subject] * scale
        const run = async (figure: string, mode: Mode, options: LoadOptions): Promise<void> => {
          record.rate(figure, subject, round, await runLoad(under, mode, options))
        }
        await run('store', 'store', { messages })
        await run('drain', 'drain', { messages })
        if (under.protocol === 'asf' || under.protocol === 'ws') {
          await runLoad(under, 'store', { messages })
          await run('subscription', 'drain', { messages, by: 'subscribe' })
        }
        await run('single', 'store', { messages: messages / 4, window: 1 })
        await runLoad(under, 'drain', { messages: messages / 4 })
        await run('push', 'push', { messages: messages / 4, window: 4 })
      }
      if (prosody !== undefined && (bench.full || round === 1)) {
        const generator = await Generator.startScript('xmpp.ts', ['store', `${prosody.port}`, `${AMOUNT.prosody}`], prosody)
        record.rate('store', 'prosody', round, await generator.run())
      }
      bench.say(`messages, round ${round}`)
    }
  })
}

/**
 * How often the two relays take turns on a path in a round. The sample is the turn with the least CPU time, because other
 * work on the machine only adds to it.
 */
const SLICES = 8

/** Compares the relay with that of the checkout before. */
const measurePaths: Part = async (bench) => {
  if (bench.before === undefined) return void bench.results.absent.push('paths: there is no checkout before')
  const record = new Recorder(bench)
  await withSides(bench, async (sides) => {
    const targets: Target[] = []
    for (const { subject, server } of sides) targets.push({ subject, under: await prepare(bench, server) })
    for (const target of targets) await warmUp(bench, target)
    const messages = bench.full ? 32_000 : 16_000
    const store = (under: Under): Promise<Load> => runLoad(under, 'store', { messages })
    for (let round = 1; round <= 9; round++) {
      const loads = new Map<string, Load[]>()
      for (let slice = 0; slice < SLICES; slice++) {
        for (const { subject, under } of slice % 2 === 0 ? targets : targets.toReversed()) {
          const keep = (path: string, load: Load): void => {
            const name = `path ${path}`
            const all = [...(loads.get(`${name} ${subject}`) ?? []), load]
            loads.set(`${name} ${subject}`, all)
            const [least] = all.toSorted((a, b) => a.cpuMicroseconds - b.cpuMicroseconds)
            if (slice === SLICES - 1) record.rate(name, subject, round, least!)
          }
          keep('store', await store(under))
          keep('drain', await runLoad(under, 'drain', { messages }))
          await store(under)
          keep('subscription', await runLoad(under, 'drain', { messages, by: 'subscribe' }))
          keep('push', await runLoad(under, 'push', { messages: messages / 2, window: 4 }))
        }
      }
      bench.say(`paths, round ${round}`)
    }
  })
}

const measureLarge: Part = async (bench) => {
  const record = new Recorder(bench)
  await withServers(bench, ['relay', 'floor', 'mosquitto', 'redis'], async (servers) => {
    const targets: Target[] = []
    for (const server of servers) targets.push(...byDoor(await prepare(bench, server)))
    const messages = bench.full ? 16_000 : 3_200
    for (const target of targets) await warmUp(bench, target)
    for (let round = 1; round <= (bench.full ? 5 : 2); round++) {
      for (const { subject, under } of targets) {
        const store = await runLoad(under, 'store', { messages, size: LARGE })
        const drain = await runLoad(under, 'drain', { messages })
        record.rate('large store', subject, round, store)
        record.rate('large drain', subject, round, drain)
      }
    }
  })
}

const measureLatency: Part = async (bench) => {
  const record = new Recorder(bench)
  for (const name of ['p50', 'p99', 'p99.9']) record.figure(name, 'µs')
  await withServers(bench, ['relay', 'floor', 'mosquitto'], async (servers) => {
    const unders: Under[] = []
    for (const server of servers) {
      const under = await prepare(bench, server)
      await warmUp(bench, { subject: server.name, under })
      unders.push(under)
    }
    for (let round = 1; round <= (bench.full ? 5 : 2); round++) {
      for (const under of unders) {
        const { p50 = 0, p99 = 0, p999 = 0, cpuMicroseconds } = await runLoad(under, 'rate', { rate: 5_000, seconds: bench.full ? 4 : 1 })
        record.value('p50', under.server.name, round, p50, cpuMicroseconds)
        record.value('p99', under.server.name, round, p99)
        record.value('p99.9', under.server.name, round, p999)
      }
    }
  })
}

/** The servers whose memory is measured: the quick form includes only those that appear in a target. */
const remembering = (bench: Bench): readonly Exclude<ServerName, 'prosody'>[] =>
  bench.full ? ['relay', 'floor', 'mosquitto', 'redis', 'nats', 'aedes'] : ['relay', 'floor', 'mosquitto', 'redis']

const measureMemory: Part = async (bench) => {
  const record = new Recorder(bench)
  record.figure('queued', 'B over the payload')
  record.figure('drained', '% of the peak')
  record.figure('thinned', '% of the peak')
  const messages = bench.full ? 1_000_000 : 64_000
  for (const name of remembering(bench)) {
    await withServers(bench, [name], async ([server]) => {
      if (server === undefined) return
      const under = await prepare(bench, server)
      const total = messages - (messages % SENDERS)
      // Let the server make its one-time allocations; send few messages, because most servers keep them.
      await runLoad(under, 'store', { messages: SENDERS * 50 })
      await runLoad(under, 'drain', { messages: SENDERS * 50 })
      const before = server.memory()
      await runLoad(under, 'store', { messages: total })
      const peak = server.memory()
      record.value('queued', name, 1, (peak - before) / total - PAYLOAD)
      await runLoad(under, 'drain', { messages: total })
      await delay(bench.full ? SETTLE_MS : SETTLE_MS / 2)
      record.value('drained', name, 1, (server.memory() / peak) * 100)
    })
    bench.say(`memory: ${name}`)
  }
  const boxes = 400
  await withServers(bench, ['relay', 'floor'], async (servers) => {
    for (const server of servers) {
      const under = await prepare(bench, server, boxes)
      const total = messages - (messages % boxes)
      await runLoad(under, 'store', { messages: total, connections: boxes, window: 4 })
      const peak = server.memory()
      await runLoad(under, 'drain', { messages: total, connections: boxes, keep: 10 })
      await delay(bench.full ? SETTLE_MS : SETTLE_MS / 2)
      record.value('thinned', server.name, 1, (server.memory() / peak) * 100)
    }
  })
}

/** Measures the collector's pauses while messages come and go over a deep queue. */
const measurePause: Part = async (bench) => {
  const record = new Recorder(bench)
  record.figure('pause', 'ms')
  await withServers(
    bench,
    ['relay'],
    async ([server]) => {
      const under = await prepare(bench, server!)
      await runLoad(under, 'store', { messages: bench.full ? 1_000_000 : 96_000 })
      const said = server!.said().length
      for (let n = 0; n < (bench.full ? 8 : 2); n++) {
        await runLoad(under, 'store', { messages: 96_000 })
        await runLoad(under, 'drain', { messages: 96_000 })
      }
      const pauses = [
        ...server!
          .said()
          .slice(said)
          .matchAll(/ MB, (?:pooled: [\d.]+ MB, )?([\d.]+) \/ [\d.]+ ms/g),
      ].map((match) => Number(match[1]))
      if (pauses.length === 0) bench.results.absent.push('pause: this node does not trace its collector')
      else record.value('pause', 'relay', 1, Math.max(...pauses))
      // A relay that replaces itself drops flags for tracing, so start this one by hand with the same flags.
    },
    { node: ['--trace-gc', ...MEMORY_FLAGS], flags: ['--allow-unsafe', 'confinement'] },
  )
}

const measureIdle: Part = async (bench) => {
  const record = new Recorder(bench)
  record.figure('idle', 'B')
  const connections = bench.full ? 9_600 : 1_000
  const measure = async (under: Under, subject: Subject): Promise<void> => {
    // Let the server make its one-time allocations before the counted connections.
    const first = await Generator.start(under, 'idle', { connections: 200 })
    const before = under.server.memory()
    const rest = await Generator.start(under, 'idle', { connections })
    await delay(bench.full ? SETTLE_MS : SETTLE_MS / 4)
    record.value('idle', subject, 1, (under.server.memory() - before) / connections)
    await rest.end()
    await first.end()
  }
  for (const name of remembering(bench)) {
    await withServers(bench, [name], async ([server]) => {
      if (server !== undefined) await measure(await prepare(bench, server, 1), name)
    })
  }
  await withServers(bench, ['relay'], async ([server]) => {
    await measure({ ...(await prepare(bench, server!, 1)), protocol: 'ws' }, 'websocket')
  })
}

const measureLogins: Part = async (bench) => {
  const record = new Recorder(bench)
  const seconds = bench.full ? 4 : 0.5
  const warm = warmSeconds(bench)
  // Use the server's CPU time: an RSA client works longer than the relay, so one core of clients cannot fill
  // the relay's core.
  const perCore = (load: Load): number => 1e6 / load.cpuMicroseconds
  const ceilings: Ceiling[] = []
  try {
    await withServers(bench, ['relay', 'prosody'], async ([relay, prosody]) => {
      const run = async (script: 'login.ts' | 'xmpp.ts', args: readonly string[], server: Server): Promise<Load> =>
        (await Generator.startScript(script, args, server)).run()
      const logIn = (proof: Proof, time: number): Promise<Load> => run('login.ts', [proof, `${relay!.port}`, `${time}`], relay!)
      // Warm up every subject for the same time. Run the loops beside each other, because a core is slower
      // while its neighbour is busy, as it is with clients.
      const loops: { proof: Proof; bare: Ceiling; own: Ceiling }[] = []
      for (const proof of PROOFS) {
        const start = async (which: 'bare' | 'own', core: string): Promise<Ceiling> => {
          const ceiling = await Ceiling.start(proof, which, core, warm)
          ceilings.push(ceiling)
          return ceiling
        }
        const [bare, own] = await Promise.all([start('bare', SERVER_CORE), start('own', LOAD_CORE)])
        loops.push({ proof, bare, own })
        await logIn(proof, warm)
      }
      if (prosody !== undefined) await run('xmpp.ts', ['logins', `${prosody.port}`, `${warm}`], prosody)
      for (let round = 1; round <= (bench.full ? 5 : 2); round++) {
        for (const { proof, bare, own } of loops) {
          record.figure(`login ${proof}`, 'logins/s of one core')
          record.value(`login ${proof}`, 'relay', round, perCore(await logIn(proof, seconds)))
          const [least, ours] = await Promise.all([bare.run(seconds), own.run(seconds)])
          record.value(`login ${proof}`, 'bare', round, least)
          record.value(`login ${proof}`, 'own', round, ours)
        }
        if (prosody === undefined) continue
        record.figure('login prosody', 'logins/s of one core')
        record.value('login prosody', 'prosody', round, perCore(await run('xmpp.ts', ['logins', `${prosody.port}`, `${seconds}`], prosody)))
      }
    })
  } finally {
    for (const ceiling of ceilings) ceiling.end()
  }
}

/** Measures messages while strangers request challenges as fast as they get them. */
const measureFlood: Part = async (bench) => {
  const record = new Recorder(bench)
  for (const name of ['p99 calm', 'p99 flooded', 'p50 calm', 'p50 flooded']) record.figure(name, 'µs')
  await withServers(bench, ['relay'], async ([server]) => {
    const under = await prepare(bench, server!)
    const options = { rate: 5_000, seconds: bench.full ? 4 : 1, spin: 0 } as const
    await warmUp(bench, { subject: 'relay', under })
    // Round 0 is for logins.
    for (let round = 0; round <= (bench.full ? 5 : 2); round++) {
      const calm = await runLoad(under, 'rate', options)
      const generator = await Generator.start(under, 'rate', options)
      const flood = await Generator.start(under, 'flood', {}, true)
      flood.begin()
      const flooded = await generator.run()
      await flood.end()
      if (round === 0) continue
      record.value('p50 calm', 'relay', round, calm.p50!)
      record.value('p99 calm', 'relay', round, calm.p99!)
      record.value('p50 flooded', 'relay', round, flooded.p50!)
      record.value('p99 flooded', 'relay', round, flooded.p99!)
    }
  })
}

/** Connections of an attack. */
export const ATTACKERS = [1, 16] as const
/** Unproven connections whose memory is measured. */
const STRANGERS = 1_000

/** Measures honest messages and logins while one client, or sixteen, attack; and the memory of strangers that never read. */
const measureAttack: Part = async (bench) => {
  const record = new Recorder(bench)
  const names = ['calm', ...Object.keys(FLOODS).flatMap((kind) => ATTACKERS.map((count) => `${kind} ${count}`))]
  for (const what of ['p50', 'p99', 'login']) for (const name of names) record.figure(`attack ${what} ${name}`, 'ms')
  record.figure('stranger', 'B')
  const seconds = bench.full ? 2 : 1.2
  await withSides(bench, async (sides) => {
    const measure = async (server: Server): Promise<Honest> =>
      (await Generator.startScript('attack.ts', ['honest', `${server.port}`, `${seconds}`], server)).measure<Honest>()
    // Just-in-time compilers finish.
    for (const { server } of sides) await measure(server)
    for (let round = 1; round <= (bench.full ? 5 : 1); round++) {
      for (const { subject, server } of sides) {
        const note = (name: string, { p50, p99, login }: Honest): void => {
          record.value(`attack p50 ${name}`, subject, round, p50)
          record.value(`attack p99 ${name}`, subject, round, p99)
          record.value(`attack login ${name}`, subject, round, login)
        }
        note('calm', await measure(server))
        for (const kind of Object.keys(FLOODS)) {
          for (const count of ATTACKERS) {
            const flood = await Generator.startScript('attack.ts', ['flood', kind, `${server.port}`, `${count}`], server, true)
            const honest = await Generator.startScript('attack.ts', ['honest', `${server.port}`, `${seconds}`], server)
            flood.begin()
            note(`${kind} ${count}`, await honest.measure<Honest>())
            await flood.end()
          }
        }
      }
      bench.say(`attack, round ${round}`)
    }
  })
  const folder = mkdtempSync(join(tmpdir(), 'asfaleia-bench-'))
  const paths = new Map<Subject, string>((['relay', 'before'] as const).map((subject) => [subject, join(folder, subject)]))
  await withSides(
    bench,
    async (sides) => {
      for (const { subject, server } of sides) {
        const args = (count: number): string[] => ['flood', 'hello', `${server.port}`, `${count}`, paths.get(subject)!]
        const flood = async (count: number): Promise<Generator> => {
          const generator = await Generator.startScript('attack.ts', args(count), server)
          generator.begin()
          await settle(server)
          return generator
        }
        const first = await flood(100)
        const before = server.memory()
        const strangers = await flood(STRANGERS)
        record.value('stranger', subject, 1, (server.memory() - before) / STRANGERS)
        await strangers.end()
        await first.end()
      }
    },
    (subject) => ({ flags: ['--unix', paths.get(subject)!] }),
  )
  rmSync(folder, { recursive: true })
}

/** Waits until the server does nothing more: its memory is what the clients make it hold. */
async function settle(server: Server): Promise<void> {
  for (let waited = 0; waited < 20_000; waited += SETTLE_MS / 2) {
    const used = server.cpuSeconds()
    await delay(SETTLE_MS / 2)
    if (server.cpuSeconds() - used < 0.1) return
  }
}

/** Starts the relay, and that of the checkout to compare it with. */
async function withSides(
  bench: Bench,
  work: (sides: { subject: Subject; server: Server }[]) => Promise<void>,
  optionsOf: (subject: Subject) => RelayOptions = () => ({}),
): Promise<void> {
  const measure = async ([server]: Server[]): Promise<void> => {
    const sides: { subject: Subject; server: Server }[] = [{ subject: 'relay', server: server! }]
    if (bench.before === undefined) return work(sides)
    // By its own file: it knows which options its relay has.
    const { startServer } = (await import(join(bench.before, 'bench/server.ts'))) as { startServer: typeof start }
    const before = await startServer('relay', bench.floor, optionsOf('before'))
    try {
      await work([{ subject: 'before', server: before }, ...sides])
    } finally {
      await before.stop()
    }
  }
  await withServers(bench, ['relay'], measure, optionsOf('relay'))
}

const measureStart: Part = async (bench) => {
  const record = new Recorder(bench)
  record.figure('start', 's')
  for (let round = 1; round <= (bench.full ? 5 : 2); round++) {
    for (const name of SERVERS) {
      await withServers(bench, [name], async ([server]) => {
        if (server !== undefined) record.value('start', name, round, server.startSeconds)
      })
    }
  }
}

const measureCommand: Part = async (bench) => {
  const record = new Recorder(bench)
  for (const name of Object.keys(COMMANDS)) record.figure(`command ${name}`, 'ms')
  await measureCommands(bench.full ? 15 : 5, (name, round, milliseconds) => record.value(`command ${name}`, 'command', round, milliseconds))
}

const measureGrowth: Part = async (bench) => {
  const record = new Recorder(bench)
  const rounds = bench.full ? 3 : 1
  const show = (count: number): string => count.toLocaleString('en-US')
  const depths = bench.full ? [1_000, 10_000, 100_000, 1_000_000] : [1_000, 100_000]
  const deep: { depth: number; under: Under }[] = []
  await withServers(
    bench,
    depths.map(() => 'relay' as const),
    async (servers) => {
      for (const [n, server] of servers.entries()) {
        const under = await prepare(bench, server)
        await warmUp(bench, { subject: 'relay', under })
        await runLoad(under, 'store', { messages: depths[n]! })
        deep.push({ depth: depths[n]!, under })
      }
      const messages = bench.full ? 96_000 : 16_000
      for (let round = 1; round <= rounds; round++) {
        for (const { depth, under } of deep) {
          const store = await runLoad(under, 'store', { messages })
          const drain = await runLoad(under, 'drain', { messages })
          const both = { messages, seconds: store.seconds + drain.seconds, cpuMicroseconds: store.cpuMicroseconds + drain.cpuMicroseconds }
          record.rate(`queue of ${show(depth)}`, 'relay', round, both)
        }
      }
    },
  )
  bench.say('growth: queued')
  await withServers(bench, ['relay', 'floor'], async (servers) => {
    const unders: Under[] = []
    for (const server of servers) {
      const under = await prepare(bench, server, MANY_MAILBOXES)
      await warmUp(bench, { subject: server.name, under })
      unders.push(under)
    }
    const messages = bench.full ? 90_000 : 18_000
    for (let round = 1; round <= rounds; round++) {
      for (const connections of [100, 1_000, 9_000]) {
        for (const under of unders) {
          const load = await runLoad(under, 'store', { messages, connections, window: 1 })
          await runLoad(under, 'drain', { messages, connections: MANY_MAILBOXES })
          record.rate(`${show(connections)} connections`, under.server.name, round, load)
        }
      }
    }
    bench.say('growth: connections')
    for (let round = 1; round <= rounds; round++) {
      for (const size of bench.full ? [256, 1_368, 4_096, 16_384, 32_768] : [256, 1_368, 16_384]) {
        for (const under of unders) {
          const amount = Math.floor(Math.min(48_000, 96_000_000 / size) / (bench.full ? 1 : 6) / SENDERS) * SENDERS
          const store = await runLoad(under, 'store', { messages: amount, size })
          await runLoad(under, 'drain', { messages: amount })
          record.rate(`${show(size)} characters`, under.server.name, round, store)
        }
      }
    }
  })
}

/** Measures the delay of the event loop under load, as the operator page reports it. */
const measureLoop: Part = async (bench) => {
  const record = new Recorder(bench)
  record.figure('loop storing', 'ms')
  record.figure('loop pushing', 'ms')
  await withServers(bench, ['relay'], async ([server]) => {
    const under = await prepare(bench, server!)
    const look = async (): Promise<number> => {
      const status = (await (await fetch(`http://127.0.0.1:${server!.operatorPort}/status`)).json()) as { loopDelaySeconds: number }
      return status.loopDelaySeconds * 1_000
    }
    for (let round = 0; round <= (bench.full ? 3 : 1); round++) {
      await look()
      await runLoad(under, 'store', { messages: 96_000 })
      const storing = await look()
      await runLoad(under, 'drain', { messages: 96_000 })
      await look()
      await runLoad(under, 'push', { messages: 32_000, window: 4 })
      const pushing = await look()
      if (round === 0) continue
      record.value('loop storing', 'relay', round, storing)
      record.value('loop pushing', 'relay', round, pushing)
    }
  })
}

const measureMessage: Part = async (bench) => {
  const record = new Recorder(bench)
  record.figure('one-time', 'ms')
  await measureOneTime(bench.full ? 9 : 5, (by, round, milliseconds) => record.value('one-time', by, round, milliseconds))
}

/** Measures claims beside logins, which take turns, by the relay's CPU time. */
const measureClaims: Part = async (bench) => {
  const record = new Recorder(bench)
  await withServers(bench, ['relay'], async ([relay]) => {
    const seconds = bench.full ? 4 : 1
    for (let round = 0; round <= (bench.full ? 9 : 5); round++) {
      for (const [figure, what] of [
        ['claim', 'claim'],
        ['login beside claims', 'decrypt-ed25519'],
      ] as const) {
        const generator = await Generator.startScript('login.ts', [what, `${relay!.port}`, `${seconds}`], relay!)
        const { cpuMicroseconds } = await generator.run()
        record.figure(figure, 'µs')
        if (round > 0) record.value(figure, 'relay', round, cpuMicroseconds)
      }
    }
  })
}

const WARM_PEOPLE = 100
const IDLE_PEOPLE = 1_000

const measurePeople: Part = async (bench) => {
  const record = new Recorder(bench)
  for (const step of STEPS) record.figure(`person ${step}`, 'B')
  record.figure('person', 'B')
  record.figure('person resident', 'B')
  const rounds = bench.full ? 5 : 3
  const totals = new Map<number, number>()
  await measurePerson(rounds, (step, round, bytes) => {
    record.value(`person ${step}`, 'relay', round, bytes)
    totals.set(round, (totals.get(round) ?? 0) + bytes)
  })
  for (const [round, total] of totals) record.value('person', 'relay', round, total)
  for (let round = 1; round <= rounds; round++) {
    await withServers(bench, ['relay'], async ([server]) => {
      const first = await Group.start(server!.port, WARM_PEOPLE)
      for (const _ of STEPS) await first.step()
      const people = await Group.start(server!.port, IDLE_PEOPLE)
      await settle(server!)
      const before = server!.memory()
      for (const _ of STEPS) await people.step()
      await settle(server!)
      record.value('person resident', 'relay', round, (server!.memory() - before) / IDLE_PEOPLE)
      await people.end()
      await first.end()
    })
  }
}

const measureFlights: Part = async (bench) => {
  const record = new Recorder(bench)
  await measureTrips(10, (way, round, trips) => {
    record.figure(`trips ${way}`, 'round trips')
    record.value(`trips ${way}`, 'client', round, trips)
  })
  const absent = await measureTripsOverTor(10, (kind, round, milliseconds) => {
    record.figure(`tor trips ${kind}`, 'ms')
    record.value(`tor trips ${kind}`, 'client', round, milliseconds)
  })
  if (absent !== undefined) bench.results.absent.push(`trips over Tor: ${absent}`)
}

const measureOverTor: Part = async (bench) => {
  const record = new Recorder(bench)
  record.figure('tor', 'ms')
  record.figure('tor send', 'ms')
  await withServers(bench, ['relay'], async ([server]) => {
    const outcome = await measureTor(server!, bench.full ? 12 : 4)
    if ('absent' in outcome) {
      bench.results.absent.push(`tor: ${outcome.absent}`)
      return
    }
    for (const { figure, subject, round, milliseconds } of outcome.samples) record.value(figure, subject, round, milliseconds)
  })
}

export const PARTS = {
  messages: measureMessages,
  paths: measurePaths,
  large: measureLarge,
  latency: measureLatency,
  memory: measureMemory,
  pause: measurePause,
  idle: measureIdle,
  logins: measureLogins,
  flood: measureFlood,
  attack: measureAttack,
  start: measureStart,
  command: measureCommand,
  'one-time': measureMessage,
  claims: measureClaims,
  person: measurePeople,
  trips: measureFlights,
  growth: measureGrowth,
  loop: measureLoop,
  tor: measureOverTor,
} as const satisfies Record<string, Part>
export type PartName = keyof typeof PARTS
