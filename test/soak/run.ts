/**
 * A soak: a relay and clients as real processes, with steady random traffic. Connections are cut, and some clients are
 * killed and started again. At the end, every text must have been shown once, and memory and descriptors must be flat.
 */
import { createHash, randomBytes, randomInt } from 'node:crypto'
import { appendFile, mkdir, readdir, readFile, writeFile } from 'node:fs/promises'
import { stripTypeScriptTypes } from 'node:module'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { Book } from '../../src/cli/profile/book.ts'
import { parseCard } from '../../src/client/format/card.ts'
import { ASFALEIA, run, type Running, start } from '../support/process.ts'
import { openCutter } from './cutter.ts'
import { Ledger } from './ledger.ts'
import { Member, type Place } from './member.ts'
import { type Sample, sample } from './sample.ts'

export interface SoakOptions {
  /** Of traffic. */
  readonly minutes: number
  readonly people: number
  /** An empty folder. */
  readonly folder: string
  /** Texts a second, of all people together. */
  readonly rate: number
  /** Write snapshots of the heaps after the warm-up and at the end. */
  readonly snapshots: boolean
  readonly onProgress: (line: string) => void
}

export interface Outcome {
  readonly members: readonly Member[]
  readonly relay: readonly Sample[]
  readonly ledger: Ledger
  readonly cuts: number
  readonly kills: number
  /** How often clients wrote each line that is no text, digits as `#`. */
  readonly notes: ReadonlyMap<string, number>
}

/** Mean pauses between two events of a kind, ms. A short soak has shorter ones. */
const EVERY = { file: 20_000, cut: 5_000, cutAll: 180_000, kill: 20_000, command: 20_000 }
/**
 * The warm-up is the first quarter, and then texts and cuts come so much more often: V8 compiles code by how often it
 * runs, and a relay that sees a login each second would get warm for an hour.
 */
const WARM_UP = { part: 0.25, times: 4 }
const SAMPLE_MS = 5_000
const COLLECT_MS = 60_000
const FILE_BYTES = 100_000
/** How long texts may take to arrive once the traffic has ended, s. */
const SETTLE_SECONDS = 300
/** Everyone knows so many people on each side. */
const NEIGHBOURS = 3

export async function soak(options: SoakOptions): Promise<Outcome> {
  const { minutes, people, folder, rate, onProgress } = options
  const ledger = new Ledger()
  const notes = new Map<string, number>()
  const onNote = (note: string): void => {
    const kind = note.replaceAll(/\d+/g, '#')
    notes.set(kind, (notes.get(kind) ?? 0) + 1)
  }
  const relay = await startRelay(folder)
  const cutter = await openCutter(relay.port)
  const members = await createMembers(people, `localhost:${cutter.port}`, { folder, ledger, onNote })
  // All at once would only compete for the processors.
  for (const member of members) await member.start()
  onProgress(`${people} clients are connected`)

  const traffic = new Traffic(members, ledger, folder)
  const relaySamples: Sample[] = []
  const total = minutes * 60_000
  const began = performance.now()
  const at = (): number => (performance.now() - began) / total
  const stop = new AbortController()
  const pauseOf = (kind: keyof typeof EVERY): number => Math.min(EVERY[kind], total / 8)
  const hurry = (): number => (at() < WARM_UP.part ? WARM_UP.times : 1)
  const jobs = [
    every(
      () => 1_000 / rate / hurry(),
      stop.signal,
      () => traffic.text(),
    ),
    every(
      () => pauseOf('file'),
      stop.signal,
      () => traffic.file(),
    ),
    every(
      () => pauseOf('cut') / hurry(),
      stop.signal,
      async () => cutter.cut(),
    ),
    every(
      () => pauseOf('cutAll'),
      stop.signal,
      async () => cutter.cut(true),
    ),
    every(
      () => pauseOf('kill'),
      stop.signal,
      () => traffic.kill(),
    ),
    every(
      () => pauseOf('command'),
      stop.signal,
      () => traffic.command(),
    ),
    regularly(Math.min(SAMPLE_MS, total / 20), stop.signal, async () => {
      const now = at()
      for (const member of members) member.sample(now)
      const found = sample(relay.running.pid, now)
      if (found !== undefined) relaySamples.push(found)
    }),
    regularly(Math.min(COLLECT_MS, total / 8), stop.signal, async () => {
      for (const member of members) await member.collect(at())
    }),
    regularly(60_000, stop.signal, async () => {
      const { sent, shown } = ledger.count
      onProgress(`${Math.round(at() * minutes)} min: ${sent} sent, ${shown} shown, ${traffic.kills} kills, ${cutter.cuts()} cuts`)
    }),
  ]
  const failure = Promise.race(jobs.map((job) => job.then(() => new Promise<never>(() => {}))))
  failure.catch(() => {})
  if (options.snapshots) {
    await Promise.race([failure, pause(total * WARM_UP.part)])
    await snapshot(members, folder, 'before')
  }
  await Promise.race([failure, pause(Math.max(0, total - (performance.now() - began)))])
  stop.abort()
  await Promise.all(jobs)
  if (options.snapshots) await snapshot(members, folder, 'after')

  onProgress('the traffic has ended')
  await ledger.settled(SETTLE_SECONDS)
  await drained(relay.operator).catch((error: unknown) => ledger.fail(String(error)))
  for (const member of members) await member.end()
  for (const member of members) await readRest(member, ledger)
  await checkFiles(members, traffic, ledger)
  await cutter.close()
  const { code, stderr } = await relay.running.end()
  if (code !== 0) ledger.fail(`the relay ended with ${code}: ${stderr.slice(-2_000)}`)
  return { members, relay: relaySamples, ledger, cuts: cutter.cuts(), kills: traffic.kills, notes }
}

interface Relay {
  readonly running: Running
  readonly port: number
  readonly operator: string
}

async function startRelay(folder: string): Promise<Relay> {
  const doors = ['--tcp', '127.0.0.1:0', '--http', 'off', '--operator', '127.0.0.1:0', '--name', 'localhost', '--log-level', 'warn']
  // A machine for tests may swap, and its user may be root.
  const command = [...ASFALEIA, 'relay', ...doors, '--allow-unsafe', 'swap,core-dumps,root,working-directory']
  const running = start(command, { cwd: folder })
  await running.until(/^ready$/m)
  const at = (door: string): string => new RegExp(`^${door} (\\S+)$`, 'm').exec(running.stdout())![1]!
  return { running, port: Number(at('tcp').split(':')[1]), operator: at('operator') }
}

/** Makes the profiles, each with the cards of its neighbours on a circle, and the scripts of the clients. */
async function createMembers(count: number, relay: string, place: Place): Promise<Member[]> {
  const { folder } = place
  for (const script of ['bot', 'probe']) {
    const source = await readFile(join(import.meta.dirname, `${script}.ts`), 'utf8')
    await writeFile(join(folder, `${script}.mjs`), stripTypeScriptTypes(source))
  }
  const members = Array.from({ length: count }, (_, index) => {
    const isMortal = index % 3 === 2
    return new Member(`p${String(index + 1).padStart(2, '0')}`, index % 2 === 0 ? 'chat' : 'bot', isMortal, place)
  })
  for (const { name, home } of members) {
    const { code, stderr } = await run([...ASFALEIA, 'me', '--name', name, '--relay', relay], { env: { ASFALEIA_HOME: home } })
    if (code !== 0) throw new Error(`me: ${stderr}`)
    await appendFile(join(home, 'profile'), 'outbox: yes\n')
  }
  const cards = await Promise.all(members.map(async ({ home }) => parseCard(await readFile(join(home, 'card'), 'utf8'))))
  for (const [index, { home }] of members.entries()) {
    const book = await Book.open(join(home, 'contacts'), true)
    for (const other of neighbours(index, count)) await book.add({ card: cards[other]! })
  }
  return members
}

function neighbours(index: number, count: number): number[] {
  const steps = Array.from({ length: Math.min(NEIGHBOURS, Math.floor((count - 1) / 2)) }, (_, step) => step + 1)
  return steps.flatMap((step) => [(index + step) % count, (index - step + count) % count])
}

const isSteady = ({ isMortal }: Member): boolean => !isMortal

class Traffic {
  readonly #members: readonly Member[]
  readonly #ledger: Ledger
  readonly #folder: string
  #next = 0
  kills = 0
  /** The SHA-256 of each file, by the receiver and its name. */
  readonly files = new Map<string, string>()

  constructor(members: readonly Member[], ledger: Ledger, folder: string) {
    this.#members = members
    this.#ledger = ledger
    this.#folder = folder
  }

  async text(): Promise<void> {
    const [from, to] = this.#pair(({ isUp }) => isUp)
    if (from === undefined || to === undefined) return
    const id = this.#id(from, to)
    const isReply = from.hasHeard(to.name) && Math.random() < 0.2
    const text = `[${id}] ${writeText(isReply)}`
    this.#ledger.sent(id, from.name, to.name, text)
    from.send({ id, to: to.name, text, isReply })
  }

  async file(): Promise<void> {
    const [from, to] = this.#pair(isSteady, isSteady)
    if (from === undefined || to === undefined) return
    const id = `f-${this.#id(from, to)}`
    const bytes = randomBytes(randomInt(1, FILE_BYTES))
    const path = join(this.#folder, `${id}.bin`)
    await writeFile(path, bytes)
    const hash = createHash('sha256').update(bytes).digest('hex')
    this.files.set(join(to.files, `${id}.bin`), hash)
    this.#ledger.sent(id, from.name, to.name, hash)
    from.sendFile(to.name, path)
  }

  /** Kills a client, perhaps in the middle of something, and starts it again after a while. */
  async kill(): Promise<void> {
    const victim = pick(this.#members.filter(({ isMortal, isUp }) => isMortal && isUp))
    if (victim === undefined) return
    this.kills++
    await victim.kill()
    await pause(Math.random() * 5_000)
    await victim.start()
  }

  /** Runs `asfaleia send` beside a client: it works through the process that owns the profile. */
  async command(): Promise<void> {
    const [from, to] = this.#pair(isSteady)
    if (from === undefined || to === undefined) return
    const id = this.#id(from, to)
    const text = `[${id}] ${writeText(true)}`
    this.#ledger.sent(id, from.name, to.name, text)
    from.texts.sent++
    const { code } = await run([...ASFALEIA, 'send', to.name, text], { env: { ASFALEIA_HOME: from.home, ASFALEIA_SOCKS: 'off' } })
    if (code === 0) this.#ledger.held(id)
    // A cut of the connection may be the reason.
    else this.#ledger.released(id)
  }

  /** Picks a sender, and one of its contacts. */
  #pair(sends: (member: Member) => boolean, receives: (member: Member) => boolean = () => true): [Member, Member] | [] {
    const from = pick(this.#members.filter(sends))
    if (from === undefined) return []
    const others = neighbours(this.#members.indexOf(from), this.#members.length).map((index) => this.#members[index]!)
    const to = pick(others.filter(receives))
    return to === undefined ? [] : [from, to]
  }

  #id(from: Member, to: Member): string {
    return `${from.name}-${to.name}-${++this.#next}`
  }
}

const WORDS = 'the tea is cold and rain falls on roofs while we wait for news from over there'.split(' ')

function writeText(isOneLine: boolean): string {
  const words = (most: number): string => Array.from({ length: randomInt(1, most) }, () => pick(WORDS)).join(' ')
  if (Math.random() < 0.03) return words(600)
  return isOneLine || Math.random() < 0.9 ? words(30) : `${words(10)}\n${words(10)}`
}

function pick<T>(list: readonly T[]): T | undefined {
  return list[Math.floor(Math.random() * list.length)]
}

/** Acts after random pauses of this mean, one action at a time. */
async function every(mean: () => number, signal: AbortSignal, act: () => Promise<void>): Promise<void> {
  for (;;) {
    await pause(-mean() * Math.log(1 - Math.random()), undefined, { signal }).catch(() => {})
    if (signal.aborted) return
    await act()
  }
}

async function regularly(period: number, signal: AbortSignal, act: () => Promise<void>): Promise<void> {
  for (;;) {
    await pause(period, undefined, { signal }).catch(() => {})
    if (signal.aborted) return
    await act()
  }
}

async function snapshot(members: readonly Member[], folder: string, when: string): Promise<void> {
  await mkdir(join(folder, 'snapshots'), { recursive: true })
  for (const member of members)
    if (!member.isMortal) await member.snapshot(join(folder, 'snapshots', `${member.name}-${member.kind}-${when}.heapsnapshot`))
}

/** Waits until the relay holds no message. @throws {Error} if it takes too long */
async function drained(operator: string): Promise<void> {
  const until = performance.now() + SETTLE_SECONDS * 1_000
  for (;;) {
    const metrics = await (await fetch(`http://${operator}/metrics`)).text()
    const [, messages] = /^asfaleia_messages (\d+)$/m.exec(metrics) ?? []
    if (messages === '0') return
    if (performance.now() > until) throw new Error(`the relay still holds ${messages} messages`)
    await pause(200)
  }
}

/** Runs `asfaleia get` once the client has ended: it must not show anything. */
async function readRest({ name, home }: Member, ledger: Ledger): Promise<void> {
  const { code, stdout, stderr } = await run([...ASFALEIA, 'get'], { env: { ASFALEIA_HOME: home, ASFALEIA_SOCKS: 'off' } })
  for (const [, id] of stdout.matchAll(/^.*\[(p\d+-p\d+-\d+)\]/gm)) ledger.shown(id!, name)
  if (code !== 0 || stdout !== '') ledger.fail(`\`get\` of ${name} ended with ${code} and wrote ${stdout}${stderr}`)
}

/** Compares the files on the disk with those that were sent. */
async function checkFiles(members: readonly Member[], { files }: Traffic, ledger: Ledger): Promise<void> {
  for (const member of members) {
    for (const name of await readdir(member.files).catch(() => [])) {
      const path = join(member.files, name)
      const hash = createHash('sha256')
        .update(await readFile(path))
        .digest('hex')
      if (files.get(path) !== hash) ledger.fail(`${path} has other bytes, or was not sent`)
    }
  }
}
