/**
 * The appliance in a real engine, published in a private Tor network, for figures and for faults that are too slow or
 * too rough for the tests. As root on Debian, after `npm run build`:
 *
 *   node bench/appliance.ts figures           sizes, times to start, the four commands, 300 members, upgrades
 *   node bench/appliance.ts faults ROUNDS     each fault of the table, and the state that the operator sees
 *
 * Both print tables in Markdown. `faults 1 quick` mends each fault at its first sign, as test/e2e/faults.test.ts does.
 */
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { type Engine, engineless, startEngine } from '../test/support/engine.ts'
import { ASFALEIA, type Finished, run, type Running, start } from '../test/support/process.ts'
import { joinTorNetwork, startTorNetwork, type TorClient, type TorNetwork } from '../test/support/tor-network.ts'
import { connectRaw, createPerson, type Person, type Wire } from '../test/support/wire.ts'

const ROOT = join(import.meta.dirname, '..')
const CLONED = ['docker-compose.yml', '.dockerignore', '.npmrc', 'deploy', 'src', 'package.json', 'package-lock.json']
const CONFIGS = ['tsconfig.json', 'tsconfig.build.json']
const SERVICES = ['relay', 'tor'] as const
type Service = (typeof SERVICES)[number]

const say = (text: string): void => void process.stderr.write(`${text}\n`)
const print = (...cells: readonly (string | number)[]): void => void process.stdout.write(`| ${cells.join(' | ')} |\n`)
const since = (start: number): number => Math.round((performance.now() - start) / 100) / 10

/** A number of one process tree, from the kernel. */
interface Usage {
  readonly cpuSeconds: number
  readonly memoryMiB: number
}

class Appliance {
  readonly engine: Engine
  readonly network: TorNetwork
  readonly #clone: string

  private constructor(engine: Engine, network: TorNetwork, clone: string) {
    this.engine = engine
    this.network = network
    this.#clone = clone
  }

  static async prepare(): Promise<Appliance> {
    const engine = await startEngine()
    // The network of a test run, if there is one.
    const { ASFALEIA_TOR_NETWORK: shared } = process.env
    const network = shared === undefined ? await startTorNetwork() : await joinTorNetwork(shared)
    const appliance = new Appliance(engine, network, join(engine.folder, 'clone'))
    appliance.copy(appliance.#clone)
    const torrc = join(engine.folder, 'torrc.d')
    mkdirSync(torrc)
    writeFileSync(join(torrc, 'network.conf'), `${network.torrc}\n`)
    const environment = { ASFALEIA_PROBE_EVERY: '2s' }
    const override = {
      services: {
        relay: { build: { network: 'host' }, environment },
        // The private network's authorities listen on the machine's loopback.
        tor: { build: { network: 'host' }, environment, network_mode: 'host', volumes: [`${torrc}:/etc/tor/torrc.d:ro`] },
      },
    }
    writeFileSync(join(engine.folder, 'override.yml'), JSON.stringify(override))
    say('building the images')
    await appliance.ask('build', '--quiet')
    return appliance
  }

  /** Makes another checkout. */
  copy(folder: string): void {
    mkdirSync(folder)
    for (const path of [...CLONED, ...CONFIGS])
      cpSync(join(ROOT, path), join(folder, path), { recursive: true, filter: (from) => !from.endsWith('/node_modules') })
  }

  async stop(): Promise<void> {
    await this.engine.stop()
    await this.network.stop()
  }

  #env(): Record<string, string> {
    return { DOCKER_HOST: `unix://${join(this.engine.folder, 'sock')}`, DOCKER_CONFIG: join(this.engine.folder, 'config') }
  }

  #files(clone: string): string[] {
    return ['--file', join(clone, 'docker-compose.yml'), '--file', join(this.engine.folder, 'override.yml')]
  }

  compose(args: readonly string[], { clone = this.#clone, input }: { clone?: string; input?: string } = {}): Promise<Finished> {
    return this.engine.docker(['compose', ...this.#files(clone), ...args], input === undefined ? {} : { input })
  }

  /** Starts `docker compose up` on a terminal, so to speak. */
  start(): Running {
    const command = ['docker', 'compose', ...this.#files(this.#clone), 'up']
    // The containers' errors come on standard error.
    return start(['sh', '-c', 'exec "$@" 2>&1', 'sh', ...command], { env: this.#env() })
  }

  async ask(...args: readonly string[]): Promise<string> {
    const { code, stdout, stderr } = await this.compose(args)
    if (code !== 0) throw new Error(`docker compose ${args.join(' ')}: ${stderr}`)
    return stdout
  }

  /** Runs deploy/upgrade. @param more for example ASFALEIA_NO_BUILD, to take the image that is there */
  upgrade(words: readonly string[] = [], more: Readonly<Record<string, string>> = {}): Promise<Finished> {
    return run(['sh', join(this.#clone, 'deploy/upgrade'), ...words], { env: { ...this.#env(), ...more } })
  }

  keys(...args: readonly string[]): Promise<Finished> {
    return this.compose(['run', '--rm', '--no-TTY', 'keys', ...args])
  }

  async container(service: Service): Promise<string> {
    const filter = `label=com.docker.compose.service=${service}`
    const ids = await this.engine.ask('ps', '--all', '--quiet', '--filter', filter, '--filter', 'label=com.docker.compose.oneoff=False')
    return ids.split('\n')[0] ?? ''
  }

  async inspect(service: Service, format: string): Promise<string> {
    return (await this.engine.ask('inspect', '--format', `{{${format}}}`, await this.container(service))).trim()
  }

  /** The process of the service below its init. */
  async pid(service: Service): Promise<number> {
    return childOf(Number(await this.inspect(service, '.State.Pid')))
  }

  /** The files of a container, as the machine sees them. */
  async view(service: Service, path: string): Promise<string> {
    return `/proc/${await this.inspect(service, '.State.Pid')}/root${path}`
  }

  async healthy(): Promise<void> {
    for (const service of SERVICES) while ((await this.inspect(service, '.State.Health.Status')) !== 'healthy') await delay(200)
  }

  async onion(): Promise<string> {
    return (await this.ask('exec', '--no-TTY', 'tor', '/usr/bin/entry', 'address')).trim()
  }

  /** A connection at the relay's door, without Tor. */
  async enter(): Promise<Wire> {
    const door = { kind: 'unix', path: await this.view('relay', '/run/asfaleia/raw') } as const
    const wire = await connectRaw(door, 'PROXY TCP6 fc00:dead:beef:4dad::0:a6 ::1 166 3308\r\n')
    await wire.ask(`8;asfaleia/1;${await this.onion()}`)
    return wire
  }

  /** Leaves a message at the relay. @returns its receiver */
  async leave(): Promise<Person> {
    const [wire, receiver] = [await this.enter(), createPerson()]
    const answer = await wire.ask(`3;${await wire.login(createPerson())};${receiver.line};aGVsZA==`)
    wire.destroy()
    if (!answer.startsWith('13;')) throw new Error(`the relay refused a message: ${answer}`)
    return receiver
  }

  async holds(receiver: Person): Promise<boolean> {
    const wire = await this.enter()
    const answer = await wire.ask(`4;${await wire.login(receiver, 'sign')}`)
    wire.destroy()
    return answer.startsWith('14;1;')
  }

  /** Finds out whether a client of this tor reaches the relay. */
  async visit(onion: string, client: TorClient, key: string, seconds: number): Promise<boolean> {
    const words = ['get', '--relay', onion, '--socks', `127.0.0.1:${client.socks.port}`, '--key', key, '--timeout', String(seconds)]
    return (await run([...ASFALEIA, ...words])).code === 0
  }

  async use(service: Service): Promise<Usage> {
    const groups = readFileSync(`/proc/${await this.inspect(service, '.State.Pid')}/cgroup`, 'utf8')
    const folder = (controller: string): string => {
      const [, path] = new RegExp(`^\\d+:(?:[\\w,]*,)?${controller}(?:,[\\w,]*)?:(.*)$`, 'm').exec(groups) ?? []
      return path === undefined ? `/sys/fs/cgroup${/^0::(.*)$/m.exec(groups)![1]}` : `/sys/fs/cgroup/${controller}${path}`
    }
    const read = (path: string): string | undefined => {
      try {
        return readFileSync(path, 'utf8')
      } catch {
        return undefined
      }
    }
    const nanoseconds = read(join(folder('cpuacct'), 'cpuacct.usage'))
    const microseconds = /^usage_usec (\d+)$/m.exec(read(join(folder('cpu'), 'cpu.stat')) ?? '')?.[1]
    const cpuSeconds = nanoseconds === undefined ? Number(microseconds) / 1e6 : Number(nanoseconds) / 1e9
    const stat = read(join(folder('memory'), 'memory.stat')) ?? ''
    const bytes = /^(?:total_rss|anon) (\d+)$/m.exec(stat)?.[1]
    return { cpuSeconds, memoryMiB: Math.round(Number(bytes) / 2 ** 20) }
  }
}

function childOf(pid: number): number {
  return Number(readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ')[0])
}

/** Runs the command line of this checkout. @throws Error with its output if it fails */
async function client(words: readonly string[], env: Record<string, string> = {}, input?: string): Promise<string> {
  const { code, stdout, stderr } = await run([...ASFALEIA, ...words], { env, ...(input !== undefined && { input }) })
  if (code !== 0) throw new Error(`asfaleia ${words.join(' ')}: ${stdout}${stderr}`)
  return stdout
}

async function measureFigures(appliance: Appliance, folder: string): Promise<void> {
  const { engine, network } = appliance
  print('figure', 'value')
  print('---', '---')
  for (const image of ['asfaleia-relay', 'asfaleia-tor'])
    print(`size of ${image}`, `${Math.round(Number(await engine.ask('image', 'inspect', '--format', '{{.Size}}', image)) / 1e5) / 10} MB`)

  const start = performance.now()
  await appliance.ask('up', '--detach')
  const times = await Promise.all(
    SERVICES.map(async (service) => {
      while ((await appliance.inspect(service, '.State.Health.Status')) !== 'healthy') await delay(100)
      return `${service} ${since(start)} s`
    }),
  )
  print('`up` until healthy', times.join(', '))
  const onion = await appliance.onion()

  await measureUpgrades(appliance, folder, onion)

  // The operator has a profile, and a card.
  const operator = { ASFALEIA_HOME: join(folder, 'operator') }
  const card = (await client(['me', '--name', 'Operator', '--relay', onion, '--link'], operator)).trim()
  const tor = await network.addClient()
  const reach = { ASFALEIA_HOME: join(folder, 'alice'), ASFALEIA_SOCKS: `127.0.0.1:${tor.socks.port}` }
  const control = { ASFALEIA_TOR_CONTROL: `unix:${tor.tor.controlPath}` }
  const timed = async <T>(what: string, work: () => Promise<T>): Promise<T> => {
    const began = performance.now()
    const result = await work()
    print(what, `${since(began)} s`)
    return result
  }
  const invited = await timed('`invite alice --card CARD`', () => appliance.keys('invite', 'alice', '--card', card))
  const joined = await timed('`join LINK`', () => client(['join', '-'], { ...reach, ...control }, invited.stdout))
  say(joined)
  await timed('`send Operator hello`', () => client(['send', 'Operator', 'hello'], { ...reach, ...control }))
  const own = await network.addClient()
  const ownEnv = { ...operator, ASFALEIA_SOCKS: `127.0.0.1:${own.socks.port}`, ASFALEIA_TOR_CONTROL: `unix:${own.tor.controlPath}` }
  await client(['join', '-', '--replace'], ownEnv, (await appliance.keys('invite', 'operator')).stdout)
  // Tor takes a new member over within a few seconds.
  let read: Finished
  do {
    await own.newIdentity()
    read = await run([...ASFALEIA, 'get'], { env: ownEnv })
  } while (read.code !== 0)
  print('the operator then reads', JSON.stringify(read.stdout.trim().split('\n').at(-1)))

  await measureMembers(appliance, folder, onion)

  const before = await Promise.all(SERVICES.map((service) => appliance.use(service)))
  const idle = 60
  await delay(idle * 1_000)
  const after = await Promise.all(SERVICES.map((service) => appliance.use(service)))
  for (const [at, service] of SERVICES.entries()) {
    const share = ((after[at]!.cpuSeconds - before[at]!.cpuSeconds) / idle) * 100
    print(`${service}, idle, a probe every 2 s`, `${share.toFixed(2)} % of a core, ${after[at]!.memoryMiB} MiB`)
  }
}

async function measureUpgrades(appliance: Appliance, folder: string, onion: string): Promise<void> {
  const key = join(folder, 'visitor')
  await client(['key', '--out', key])
  print('upgrade of the relay: SEND refused or no connection', `${await measureUpgrade(appliance)} s`)
  const visitor = await appliance.network.addClient()
  print('upgrade of tor: between two visits by clients', `${await measureTorUpgrade(appliance, onion, visitor, key)} s`)
  await visitor.tor.stop()
}

async function measureMembers(appliance: Appliance, folder: string, onion: string): Promise<void> {
  const { network } = appliance
  const key = join(folder, 'visitor')
  const few = performance.now()
  for (let n = 0; n < 5; n++) await appliance.keys('invite', `few${n}`)
  print('one `invite`, by `docker compose run`', `${Math.round(((performance.now() - few) / 5) * 100) / 100_000} s`)
  const service = await appliance.view('tor', '/var/lib/tor/onion')
  const all = performance.now()
  const invites: string[] = []
  for (let n = 0; n < 292; n++) invites.push((await client(['invite', `many${n}`, '--service', service, '--json'])).trim())
  print('300 members: 292 times `invite` on this machine', `${since(all)} s`)
  const { link } = JSON.parse(invites.at(-1)!) as { link: string }
  const privateKey = /key=([a-z0-9]+)/i.exec(link)![1]!
  const keys = join(folder, 'many')
  mkdirSync(keys, { mode: 0o700 })
  writeFileSync(join(keys, 'many.auth_private'), `${onion.slice(0, -6)}:descriptor:x25519:${privateKey.toUpperCase()}\n`, { mode: 0o600 })
  const member = await network.addClient([`ClientOnionAuthDir ${keys}`])
  while (!(await appliance.visit(onion, member, key, 20)));
  print('300 members: until the last one can connect', `${since(all)} s after the first invite`)
  print('files in authorized_clients', readdirSync(join(service, 'authorized_clients')).length)

  // A revoked member: with a tor that knows the descriptor, and with fresh ones.
  const removed = performance.now()
  await client(['member', 'remove', 'many291', '--service', service])
  const known = (async () => {
    while (await appliance.visit(onion, member, key, 10)) if (since(removed) > 90) return 'still open after 90 s'
    return `${since(removed)} s`
  })()
  let last = 0
  for (;;) {
    const fresh = await network.addClient([`ClientOnionAuthDir ${keys}`])
    const began = since(removed)
    const open = await appliance.visit(onion, fresh, key, 10)
    await fresh.tor.stop()
    if (!open) break
    last = began
  }
  print('revoked: the last new tor that still got in had begun', `${last} s after \`member remove\` began`)
  print('revoked: the tor that knew the descriptor was first refused', await known)
  await member.tor.stop()
}

/** Sends messages all the time during an upgrade. @returns the longest time without an accepted one, seconds */
async function measureUpgrade(appliance: Appliance): Promise<number> {
  // Another image with the same content.
  const input = `FROM asfaleia-relay\nLABEL made=${Date.now()}\n`
  await appliance.engine.docker(['build', '--quiet', '--tag', 'asfaleia-relay', '-'], { input })
  const [sender, receiver] = [createPerson(), createPerson()]
  const upgrade = { over: false }
  let longest = 0
  const door = await appliance.view('tor', '/run/asfaleia/raw')
  const onion = await appliance.onion()
  const sending = (async () => {
    let last = performance.now()
    while (!upgrade.over) {
      try {
        const wire = await connectRaw({ kind: 'unix', path: door }, 'PROXY TCP6 fc00:dead:beef:4dad::0:a6 ::1 166 3308\r\n')
        await wire.ask(`8;asfaleia/1;${onion}`)
        const token = await wire.login(sender, 'sign')
        while (!upgrade.over && (await wire.ask(`3;${token};${receiver.line};aGVsZA==`)).startsWith('13;')) {
          longest = Math.max(longest, performance.now() - last)
          last = performance.now()
          await wire.ask(`4;${await wire.login(receiver, 'sign')}`)
          await wire.line()
          await delay(10)
        }
        wire.destroy()
      } catch {
        await delay(10)
      }
    }
  })()
  const { code, stderr } = await appliance.upgrade([], { ASFALEIA_NO_BUILD: '1' })
  if (code !== 0) say(stderr)
  await delay(1_000)
  upgrade.over = true
  await sending
  return Math.round(longest) / 1_000
}

/** Visits all the time during an upgrade of tor. @returns the longest time between two visits that reached the relay, seconds */
async function measureTorUpgrade(appliance: Appliance, onion: string, client: TorClient, key: string): Promise<number> {
  const input = `FROM asfaleia-tor\nLABEL made=${Date.now()}\n`
  await appliance.engine.docker(['build', '--quiet', '--tag', 'asfaleia-tor', '-'], { input })
  const upgrade = { over: false }
  let longest = 0
  let visits = 0
  const visiting = (async () => {
    let last = performance.now()
    while (!upgrade.over) {
      await client.newIdentity()
      if (!(await appliance.visit(onion, client, key, 5))) continue
      visits++
      longest = Math.max(longest, performance.now() - last)
      last = performance.now()
    }
  })()
  const { code, stderr } = await appliance.upgrade(['tor'], { ASFALEIA_NO_BUILD: '1' })
  if (code !== 0) say(stderr)
  await delay(20_000)
  upgrade.over = true
  await visiting
  say(`${visits} visits reached the relay`)
  return Math.round(longest / 100) / 10
}

/** A fault: how to make it, the state that the operator must see, and how it ends. */
interface Fault {
  readonly name: string
  make(appliance: Appliance): Promise<void>
  /** A part of `docker compose ps` or `status` that tells of the fault. */
  readonly sign: RegExp
  /** If the fault does not end by itself. */
  mend?(appliance: Appliance): Promise<void>
  /** Whether the relay died, with its messages. */
  readonly loses?: true
  /** Whether the terminal with `docker compose up` has ended. */
  readonly attachAgain?: true
}

const fill = async (path: string): Promise<void> => void (await run(['sh', '-c', `dd if=/dev/zero of='${path}/fill' bs=4k 2>/dev/null`]))
const signal = (name: NodeJS.Signals, service: Service, deeper = false): Fault['make'] => {
  return async (appliance) => {
    const pid = await appliance.pid(service)
    process.kill(deeper ? childOf(pid) : pid, name)
  }
}
const FAULTS: readonly Fault[] = [
  {
    name: 'kill -9 of the relay',
    make: signal('SIGKILL', 'relay'),
    sign: /relay .*(?:starting|Restarting)|Up Less than a second|Up \d second/,
    loses: true,
  },
  { name: 'kill -9 of `entry`', make: signal('SIGKILL', 'tor'), sign: /tor .*(?:starting|Restarting)/ },
  { name: 'kill -9 of tor', make: signal('SIGKILL', 'tor', true), sign: /tor .*(?:starting|Restarting)/ },
  {
    name: 'SIGSTOP of the relay',
    make: signal('SIGSTOP', 'relay'),
    sign: /relay .*unhealthy/,
    mend: signal('SIGCONT', 'relay'),
  },
  {
    name: 'SIGSTOP of tor',
    make: signal('SIGSTOP', 'tor', true),
    sign: /tor does not answer/,
    mend: signal('SIGCONT', 'tor', true),
  },
  {
    name: 'SIGSTOP of `entry`',
    make: signal('SIGSTOP', 'tor'),
    sign: /tor does not answer|tor .*unhealthy/,
    mend: signal('SIGCONT', 'tor'),
  },
  {
    name: 'out of memory, in the relay',
    async make(appliance) {
      writeFileSync(`/proc/${await appliance.pid('relay')}/oom_score_adj`, '1000')
      const hog = 'const all = []; for (;;) all.push(Buffer.alloc(1e7, 1))'
      void appliance.compose(['exec', '--no-TTY', 'relay', '/usr/bin/node', '-e', hog])
    },
    sign: /relay .*(?:starting|Restarting)/,
    loses: true,
  },
  {
    name: 'full volume of the keys, and tor ends',
    async make(appliance) {
      await fill(await appliance.view('tor', '/var/lib/tor'))
      await signal('SIGKILL', 'tor', true)(appliance)
    },
    sign: /tor .*(?:Restarting|starting|unhealthy)/,
    async mend(appliance) {
      await run(['rm', '-f', join(await volume(appliance), 'fill')])
    },
  },
  {
    name: 'full tmpfs /run/tor',
    make: async (appliance) => fill(await appliance.view('tor', '/run/tor')),
    sign: /Up/,
    mend: async (appliance) => rmSync(join(await appliance.view('tor', '/run/tor'), 'fill'), { force: true }),
  },
  {
    name: 'full volume of the name',
    make: async (appliance) => fill(await appliance.view('tor', '/run/name')),
    sign: /tor does not answer|tor .*unhealthy/,
    mend: async (appliance) => rmSync(join(await appliance.view('tor', '/run/name'), 'fill'), { force: true }),
  },
  {
    name: 'wrong owner of the keys, and tor ends',
    async make(appliance) {
      await run(['chown', '0:0', await volume(appliance)])
      await signal('SIGKILL', 'tor', true)(appliance)
    },
    sign: /tor .*Restarting/,
    mend: async (appliance) => void (await run(['chown', '9050:9050', await volume(appliance)])),
  },
  {
    name: 'flipped bit in the key, and tor ends',
    async make(appliance) {
      await flip(appliance)
      await signal('SIGKILL', 'tor', true)(appliance)
    },
    sign: /tor .*Restarting/,
    mend: flip,
  },
  {
    name: 'deleted sockets',
    async make(appliance) {
      for (const name of ['raw', 'http']) rmSync(join(await appliance.view('relay', '/run/asfaleia'), name))
    },
    sign: /relay .*unhealthy/,
    async mend(appliance) {
      const { code, stderr } = await appliance.upgrade()
      if (code !== 0) say(stderr)
    },
    attachAgain: true,
  },
  {
    name: '`up` from a second checkout',
    async make(appliance) {
      const second = mkdtempSync(join(tmpdir(), 'asf-second-'))
      rmSync(second, { recursive: true })
      appliance.copy(second)
      const { stderr } = await appliance.compose(['up', '--detach'], { clone: second })
      say(stderr)
      rmSync(second, { recursive: true })
    },
    sign: /Up/,
  },
  {
    name: 'restart of the engine',
    make: ({ engine }) => engine.restart(),
    sign: /starting|Up \d second|Less than/,
    loses: true,
    attachAgain: true,
  },
]

/** The folder of the volume of the keys on this machine. */
async function volume({ engine }: Appliance): Promise<string> {
  return (await engine.ask('volume', 'inspect', '--format', '{{.Mountpoint}}', 'asfaleia_onion')).trim()
}

async function flip(appliance: Appliance): Promise<void> {
  const file = join(await volume(appliance), 'onion/hs_ed25519_secret_key')
  const { uid, gid } = statSync(file)
  const bytes = readFileSync(file)
  bytes[40]! ^= 1
  writeFileSync(file, bytes)
  await run(['chown', `${uid}:${gid}`, file])
}

/** The words that the operator sees: `docker compose ps` and `status`. */
async function look(appliance: Appliance): Promise<{ ps: string; status: string }> {
  const asked = appliance.compose(['exec', '--no-TTY', 'relay', 'asfaleia', 'status'])
  const [{ stdout }, status] = await Promise.all([
    appliance.compose(['ps', '--all', '--format', '{{.Service}} {{.Status}}']),
    Promise.race([asked, delay(4_000)]),
  ])
  const lines = status?.stdout.match(/^(?:relay|reachable) +.*/gm) ?? [status?.stderr.trim().split('\n')[0] ?? 'no answer in 4 s']
  return { ps: stdout.trim().split('\n').toSorted().join(', '), status: lines.join('; ').replaceAll(/ +/g, ' ') }
}

/** The last error and hint that the two containers print to an attached terminal. */
function hintOf(log: string): string {
  const told = log.match(/asfaleia: (?:error|hint): .*|"event":"(?:onion-not-reached|doors-\w+|internal-error)".*/g) ?? []
  return [...new Set(told)].slice(-2).join(' ').replaceAll('asfaleia: ', '').replaceAll('|', '/')
}

async function makeFaults(appliance: Appliance, rounds: number, quick: boolean): Promise<void> {
  const { engine } = appliance
  // The volume of the keys is small, so that it can be full.
  const own = ['--label', 'com.docker.compose.project=asfaleia', '--label', 'com.docker.compose.volume=onion']
  const small = ['--opt', 'type=tmpfs', '--opt', 'device=tmpfs', '--opt', 'o=size=8m,mode=0700,uid=9050,gid=9050']
  await engine.ask('volume', 'create', ...own, ...small, 'asfaleia_onion')
  let up = appliance.start()
  await up.until(/asfaleia get --relay .*\n/, 120)
  // A volume in memory would go while tor's container is down, also after a restart of the engine.
  const hold = ['--network=none', '--volume=asfaleia_onion:/hold:ro', '--entrypoint=/usr/bin/node', 'asfaleia-relay']
  await engine.ask('run', '--detach', '--restart=always', '--name=hold', ...hold, '-e', 'setInterval(() => {}, 1000)')
  await appliance.healthy()
  print('fault', 'seen after', '`docker compose ps`', '`status`', 'the log says', 'message kept', 'healthy again after')
  print(...Array.from({ length: 7 }, () => '---'))
  for (let round = 1; round <= rounds; round++) {
    for (const fault of FAULTS) {
      say(`${round}: ${fault.name}`)
      const receiver = await appliance.leave()
      const before = up.stdout().length
      const began = performance.now()
      await fault.make(appliance)
      let seen: number | undefined
      // A fault that stays is looked at for some time: the first sign may be a container that has just ended.
      const least = quick || fault.mend === undefined ? 0 : 20
      let found: Awaited<ReturnType<typeof look>>
      do {
        const asked = since(began)
        found = await look(appliance)
        if (fault.sign.test(`${found.ps}\n${found.status}`)) seen ??= asked
        await delay(300)
      } while (since(began) < (seen === undefined ? 30 : least))
      const mended = performance.now()
      await fault.mend?.(appliance)
      const limit = AbortSignal.timeout(180_000)
      await Promise.race([appliance.healthy(), new Promise((resolve) => limit.addEventListener('abort', resolve))])
      const again = limit.aborted ? '**not within 180 s**' : `${since(fault.mend === undefined ? began : mended)} s`
      const kept = await appliance.holds(receiver).catch(() => false)
      const word = kept ? 'yes' : fault.loses === true ? 'no (the relay died)' : '**no**'
      const when = seen === undefined ? '**not within 30 s**' : `${seen} s`
      print(fault.name, when, found.ps, found.status, hintOf(up.stdout().slice(before)), word, again)
      if (fault.attachAgain === true) up = appliance.start()
    }
  }
}

const [what = '', rounds = '1', how] = process.argv.slice(2)
const reason = engineless()
if (reason !== undefined || !['figures', 'faults'].includes(what)) {
  say(reason ?? 'usage: node bench/appliance.ts figures | faults ROUNDS [quick]')
  process.exit(2)
}
const folder = mkdtempSync(join(tmpdir(), 'asf-appliance-'))
const appliance = await Appliance.prepare()
try {
  if (what === 'figures') await measureFigures(appliance, folder)
  else await makeFaults(appliance, Number(rounds), how === 'quick')
} finally {
  await appliance.stop()
  rmSync(folder, { recursive: true })
}
process.exit(0)
