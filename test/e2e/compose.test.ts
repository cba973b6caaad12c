/**
 * The appliance as a user gets it: `docker compose up` in a real engine, with images built from the product's
 * own files, published in the private Tor network. The containers' hardening is read from the running
 * containers.
 */
import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { cpSync, existsSync, globSync, mkdirSync, readdirSync, readFileSync, readlinkSync, statSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { SocksClient } from 'socks'
import { afterAll, beforeAll, beforeEach, describe, expect, inject, test, vi } from 'vitest'
import { type Engine, engineless, startEngine } from '../support/engine.ts'
import { ASFALEIA, type Finished, run, type Running } from '../support/process.ts'
import { missing } from '../support/programs.ts'
import { joinTorNetwork, TOR_PROGRAMS, type TorClient, type TorNetwork } from '../support/tor-network.ts'
import { connectRaw, createPerson } from '../support/wire.ts'

const ROOT = join(import.meta.dirname, '../..')
const reason = engineless() ?? missing(...TOR_PROGRAMS)
/** Every test starts programs in containers and crosses a Tor network on the same two processors. */
const SLOW = 120_000
const SERVICES = ['relay', 'tor'] as const
type Service = (typeof SERVICES)[number]

let engine: Engine
let network: TorNetwork
let client: TorClient
let up: Running
/** A copy of the files in a clone, so that no state of this checkout gets into an image. */
let clone: string
let alice: string
let bob: string

beforeAll(async () => {
  if (reason !== undefined) return
  engine = await startEngine()
  clone = join(engine.folder, 'clone')
  mkdirSync(clone)
  for (const path of CLONED) cpSync(join(ROOT, path), join(clone, path), { recursive: true })
  // The builds reach the registries through the machine's own network, because the engine has no network.
  const torrc = join(engine.folder, 'torrc.d')
  mkdirSync(torrc)
  writeFileSync(
    join(engine.folder, 'override.yml'),
    JSON.stringify({
      services: {
        relay: { build: { network: 'host' }, environment: { ASFALEIA_PROBE_EVERY: '2s' } },
        // The private network's authorities listen on the machine's loopback.
        tor: {
          build: { network: 'host' },
          environment: { ASFALEIA_PROBE_EVERY: '2s' },
          network_mode: 'host',
          volumes: [`${torrc}:/etc/tor/torrc.d:ro`],
        },
      },
    }),
  )
  await compose('build', '--quiet')
  network = await joinTorNetwork(inject('torNetwork'))
  writeFileSync(join(torrc, 'network.conf'), `${network.torrc}\n`)
  client = await network.addClient()
  up = engine.start([...files(), 'up'])
  ;[alice, bob] = await Promise.all([makeKey('alice'), makeKey('bob')])
  await up.until(/asfaleia get --relay .*\n.*\n/, 100)
  await compose('up', '--detach', '--no-recreate', '--wait')
}, 800_000)

afterAll(async () => {
  await engine?.stop()
  await network?.stop()
}, 120_000)

beforeEach((ctx) => ctx.skip(reason !== undefined, reason))

const CLONED = [
  'docker-compose.yml',
  '.dockerignore',
  'deploy',
  'src',
  'package.json',
  'package-lock.json',
  '.npmrc',
  'tsconfig.json',
  'tsconfig.build.json',
] as const

function files(...more: readonly string[]): string[] {
  const all = [join(clone, 'docker-compose.yml'), ...more, join(engine.folder, 'override.yml')]
  return ['compose', ...all.flatMap((file) => ['--file', file])]
}

async function compose(...args: string[]): Promise<string> {
  return engine.ask(...files(), ...args)
}

async function makeKey(name: string): Promise<string> {
  const file = join(engine.folder, name)
  expect(await run([...ASFALEIA, 'key', '--out', file])).toMatchObject({ code: 0 })
  return file
}

/** Returns the address that `up` prints last. */
function onionOf(program: Running): string {
  return /^tor-1 +\| +([a-z2-7]{56}\.onion)$/m.exec(plain(program.stdout()))![1]!
}

/** Removes the control sequences that Compose prints even without a terminal. */
function plain(text: string): string {
  // oxlint-disable-next-line no-control-regex
  return text.replaceAll(/\u001b\[[0-9;]*[A-Za-z]/g, '')
}

const send = (onion: string, from: string, to: string, text: string, by = client): Promise<Finished> =>
  run([...ASFALEIA, 'send', '--relay', onion, '--socks', `127.0.0.1:${by.socks.port}`, '--key', from, `${to}.pub`, text])
const get = async (onion: string, key: string, by = client): Promise<Finished> =>
  textOf(await run([...ASFALEIA, 'get', '--relay', onion, '--socks', `127.0.0.1:${by.socks.port}`, '--key', key]))

/** Visits the relay at the address with Bob's key, which has no messages; by default with a fresh tor. */
async function visit(onion: string, by?: TorClient, seconds = 60): Promise<Finished> {
  const fresh = by ?? (await network.addClient())
  const finished = await run([
    ...ASFALEIA,
    'get',
    '--relay',
    onion,
    '--socks',
    `127.0.0.1:${fresh.socks.port}`,
    '--key',
    bob,
    '--timeout',
    String(seconds),
  ])
  if (by === undefined) await fresh.tor.stop()
  return finished
}
const FOUND = { code: 0, stdout: '', stderr: 'asfaleia: no messages wait\n' }
const LOST = { code: 69, stdout: '' }
/** Seconds until a visit to a vanished service gives up; tor itself would try for minutes. */
const GIVEN_UP = 20

/**
 * Visits until the relay is found. Tor's former descriptor stays valid for a while after a restart, and until
 * the next probe the relay reports its former state.
 */
async function find(onion: string): Promise<Finished> {
  for (;;) {
    const visited = await visit(onion, undefined, GIVEN_UP)
    if (visited.code !== LOST.code) return visited
  }
}

/** Asks the relay in its container until it reports the expected reachability. */
async function reachable(said: RegExp): Promise<void> {
  while (
    !said.test(
      /^reachable +(.*)$/m.exec((await engine.docker([...files(), 'exec', '-T', 'relay', 'asfaleia', 'status'])).stdout)?.[1] ?? '',
    )
  );
}

/** Removes the sender from each printed message. */
function textOf({ stdout, ...finished }: Finished): Finished {
  return { ...finished, stdout: plain(stdout).replaceAll(/^SHA256:\S+ \[[^\]]+\]: /gm, '') }
}

/** Two users write to each other through the network. @returns the texts that each of them read */
async function exchange(onion = onionOf(up)): Promise<string[]> {
  expect(await send(onion, alice, bob, 'to Bob')).toMatchObject({ code: 0 })
  expect(await send(onion, bob, alice, 'to Alice')).toMatchObject({ code: 0 })
  // Remove the signer before the text.
  return [await get(onion, bob), await get(onion, alice)].map(({ stdout }) => stdout.replace(/^SHA256:\S{43} \[not a contact\]: /, ''))
}
const EXCHANGED = ['to Bob\n', 'to Alice\n']

interface Inspected {
  readonly State: {
    readonly Pid: number
    readonly StartedAt: string
    readonly Health: { readonly Status: string; readonly Log: readonly { readonly Output: string }[] }
  }
  readonly Config: { readonly User: string }
  readonly HostConfig: Readonly<Record<string, unknown>>
  readonly NetworkSettings: { readonly Ports: object }
  readonly LogPath: string
}

/** Finds the container by its label, because the number in its name grows with each upgrade. */
async function container(service: string): Promise<string> {
  const [newest = ''] = (await engine.ask('ps', '--all', '--quiet', '--filter', `label=com.docker.compose.service=${service}`)).split('\n')
  return newest
}

async function inspect(service: string): Promise<Inspected> {
  const [inspected] = JSON.parse(await engine.ask('inspect', await container(service))) as Inspected[]
  return inspected!
}

/** Returns the main process of a container, which its init has started. */
async function mainOf(service: string): Promise<number> {
  const { State } = await inspect(service)
  return childOf(State.Pid)!
}

function childOf(pid: number): number | undefined {
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim()
  return children === '' ? undefined : Number(children.split(' ')[0])
}

/** Kills a container's main process as a crash would, and waits until its replacement is healthy. */
async function crash(service: Service): Promise<void> {
  const events = engine.start([
    'events',
    '--filter',
    `container=${await container(service)}`,
    '--filter',
    'event=start',
    '--filter',
    'event=health_status',
    '--filter',
    'event=die',
    '--format',
    '{{.Action}}',
  ])
  try {
    const before = await inspect(service)
    process.kill(await mainOf(service), 'SIGKILL')
    await events.until(/^start$[\s\S]*^health_status: healthy$/m, 90)
    expect((await inspect(service)).State.StartedAt).not.toBe(before.State.StartedAt)
  } finally {
    await events.end()
  }
}

/**
 * Follows what a container prints from now on: the log driver keeps nothing, and `up` ends when a container is replaced.
 * End it by SIGKILL: `docker attach` heeds no SIGTERM.
 */
const attach = async (service: Service): Promise<Running> =>
  engine.start(['attach', '--no-stdin', '--sig-proxy=false', await container(service)])

/** Waits until both containers are healthy. `up --wait` would fail if one is unhealthy at first. */
async function recover(): Promise<void> {
  for (const service of SERVICES)
    while ((await inspect(service)).State.Health.Status !== 'healthy') await new Promise((resolve) => setTimeout(resolve, 500))
}

/** Runs a program text with Node inside the relay's container. */
const inRelay = async (program: string): Promise<Finished> =>
  engine.docker(['exec', await container('relay'), '/usr/bin/node', '-e', program])

describe('docker compose up', () => {
  test('prints the address and the next steps at the end of its log', () => {
    const log = plain(up.stdout())
    const onion = onionOf(up)
    const said = log
      .trimEnd()
      .split('\n')
      .map((line) => line.replace(/^tor-1 +\|/, '').trim())
    expect(said.slice(said.indexOf(onion)).filter((line) => line !== '')).toEqual([
      onion,
      'next, in a checkout on any machine that runs Tor, a message to yourself:',
      'npx asfaleia key --out my-key',
      `npx asfaleia send --relay ${onion}:3308 --key my-key my-key.pub 'hello'`,
      `npx asfaleia get --relay ${onion}:3308 --key my-key`,
    ])
  })

  test('makes both containers healthy, and the output of health checks holds no user data', async () => {
    for (const service of SERVICES) {
      const { Health } = (await inspect(service)).State
      expect(Health.Status).toBe('healthy')
      const words = service === 'relay' ? ['', 'the relay does not answer\n'] : ['tor is on line\n', 'tor does not answer\n']
      for (const { Output } of Health.Log)
        expect(
          words.some((word) => word === Output) ||
            /^(?:tor is not on line yet: \d+ %, [a-z_]+\n|(?:(?:no-name|tor-[a-z]+|onion-unreachable)\n)+)$/.test(Output),
        ).toBe(true)
    }
    expect(await compose('exec', 'tor', '/usr/bin/entry', 'address')).toBe(`${onionOf(up)}\n`)
    expect(await compose('exec', 'relay', 'asfaleia', 'status')).toMatch(/^relay +ready,/)
  })

  test('carries messages between two users', { timeout: SLOW }, async () => {
    expect(await exchange()).toEqual(EXCHANGED)
  })

  test('reports its reachability through Tor, although the relay itself cannot reach any network', { timeout: SLOW }, async () => {
    await reachable(/^yes, through Tor in \d+ ms, \d+ (?:s|min) ago$/)
    const metrics = `require('http').get({ socketPath: '/run/operator/socket', path: '/metrics' }, (answer) => answer.pipe(process.stdout))`
    expect((await inRelay(metrics)).stdout).toMatch(/^asfaleia_reachable 1\n[\s\S]*^asfaleia_reachable_seconds 0?\.?\d+/m)
    // `entry` leaves three files there: the name, the last result of the probe, and tor's state.
    const folder = `/proc/${(await inspect('relay')).State.Pid}/root/run/name`
    expect(readFileSync(`${folder}/reached`, 'utf8')).toMatch(/^reached \d+\n$/)
    expect(readFileSync(`${folder}/hostname`, 'utf8')).toBe(`${onionOf(up)}\n`)
  })

  test('answers HTTP on port 80 and refuses other ports', { timeout: SLOW }, async () => {
    const dial = async (port: number) => {
      const proxy = { host: '127.0.0.1', port: client.socks.port, type: 5 } as const
      return (await SocksClient.createConnection({ proxy, command: 'connect', destination: { host: onionOf(up), port }, timeout: 60_000 }))
        .socket
    }
    const page = await dial(80)
    page.setEncoding('utf8').write(`GET / HTTP/1.1\r\nHost: ${onionOf(up)}\r\nConnection: close\r\n\r\n`)
    expect((await page.toArray()).join('')).toMatch(/^HTTP\/1\.1 200 OK\r\n/)
    for (const port of [22, 9050, 9051, 9090, 9464]) await expect(dial(port)).rejects.toThrow(/^Socks5 proxy rejected connection/)
  })
})

describe('the containers', () => {
  test.each(SERVICES)('%s runs with its hardening options', async (service) => {
    const { HostConfig, Config, NetworkSettings, LogPath } = await inspect(service)
    const memory = service === 'relay' ? 1_024 : 512
    expect(HostConfig).toMatchObject({
      ReadonlyRootfs: true,
      CapDrop: ['ALL'],
      CapAdd: null,
      Privileged: false,
      Init: true,
      IpcMode: 'none',
      Memory: memory * 1_048_576,
      MemorySwap: memory * 1_048_576,
      PidsLimit: service === 'relay' ? 64 : 32,
      Ulimits: [{ Name: 'core', Hard: 1, Soft: 1 }],
      LogConfig: { Type: 'none', Config: {} },
      Devices: null,
      PidMode: '',
      PublishAllPorts: false,
    })
    expect(HostConfig['SecurityOpt']).toContain('no-new-privileges:true')
    expect(Config.User).toBe(service === 'relay' ? '3308:3308' : '9050:9050')
    expect(NetworkSettings.Ports).toEqual({})
    expect(LogPath).toBe('')
  })

  test.each(SERVICES)('%s: the kernel confirms the hardening of its processes', async (service) => {
    const { State } = await inspect(service)
    const pids = [State.Pid, childOf(State.Pid)!, childOf(childOf(State.Pid)!)].filter((pid) => pid !== undefined)
    expect(pids).toHaveLength(service === 'relay' ? 2 : 3)
    const uid = service === 'relay' ? 3_308 : 9_050
    for (const pid of pids) {
      const status = Object.fromEntries(
        readFileSync(`/proc/${pid}/status`, 'utf8')
          .split('\n')
          .map((line) => line.split(/:\s*/) as [string, string]),
      )
      expect(status).toMatchObject({
        Uid: [uid, uid, uid, uid].join('\t'),
        NoNewPrivs: '1',
        Seccomp: '2',
        ...Object.fromEntries(['CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb'].map((set) => [set, '0'.repeat(16)])),
      })
      expect(readFileSync(`/proc/${pid}/limits`, 'utf8')).toMatch(/^Max core file size +1 +1 /m)
      const own = (namespace: string): boolean =>
        readlinkSync(`/proc/${pid}/ns/${namespace}`) !== readlinkSync(`/proc/self/ns/${namespace}`)
      // The override of this test puts tor into the machine's network; the appliance does not.
      expect(['mnt', 'pid', 'ipc', 'uts', 'net'].filter((namespace) => !own(namespace))).toEqual(
        service === 'relay' ? [] : ['net', 'uts'].filter((namespace) => !own(namespace)),
      )
    }
    const limits = readLimits(State.Pid)
    expect(limits.memory).toBe((service === 'relay' ? 1_024 : 512) * 1_048_576)
    expect(limits.swap).toBe(0)
    expect(limits.pids).toBe(service === 'relay' ? 64 : 32)
  })

  test.each(SERVICES)('%s can write only to memory, and tor also to the volume of keys', async (service) => {
    const { State } = await inspect(service)
    const mounts = readFileSync(`/proc/${State.Pid}/mountinfo`, 'utf8')
      .trim()
      .split('\n')
      .map((line) => {
        const [before = '', after = ''] = line.split(' - ')
        const [, , , , path = '', options = ''] = before.split(' ')
        const [type = '', , ofAll = ''] = after.split(' ')
        return { path, type, options: options.split(','), readOnly: options.split(',').includes('ro') || ofAll.split(',').includes('ro') }
      })
    // Ignore devices and the kernel's own file systems.
    const writable = mounts.filter(({ path, readOnly }) => !readOnly && !/^\/(?:dev|proc|sys)(?:\/|$)/.test(path))
    const expected = service === 'relay' ? ['/run/asfaleia', '/run/operator'] : ['/run/name', '/run/tor', '/var/lib/tor']
    expect(writable.map(({ path }) => path).toSorted()).toEqual(expected)
    for (const { path, type, options } of writable.filter(({ path }) => path.startsWith('/run'))) {
      expect([path, type]).toEqual([path, 'tmpfs'])
      expect(options).toEqual(expect.arrayContaining(['noexec', 'nosuid', 'nodev']))
    }
    // Ignore Docker's init, which was mounted there.
    expect(
      (await engine.ask('diff', await container(service))).split('\n').filter((line) => !/^(?:[AC] \/sbin(?:\/docker-init)?)?$/.test(line)),
    ).toEqual([])
  })

  test.each(SERVICES)('%s contains no shell and no package manager', async (service) => {
    const { State } = await inspect(service)
    const found = globSync('**', { cwd: `/proc/${State.Pid}/root`, exclude: (name) => ['proc', 'sys', 'dev'].includes(String(name)) })
    const names = new Set(found.map((path) => path.split('/').at(-1)))
    expect(names.has(service === 'relay' ? 'node' : 'tor')).toBe(true)
    const unwanted = [
      'sh',
      'bash',
      'dash',
      'ash',
      'busybox',
      'env',
      'apt',
      'apt-get',
      'dpkg',
      'npm',
      'npx',
      'perl',
      'python3',
      'curl',
      'wget',
      'gcc',
      'cc',
      'ld',
    ]
    expect(unwanted.filter((name) => names.has(name))).toEqual([])
    const programs = found.filter((path) => /^(?:usr\/)?s?bin\/./.test(path)).toSorted()
    expect(programs).toEqual(
      service === 'relay'
        ? ['sbin/docker-init', 'usr/bin/asfaleia', 'usr/bin/check', 'usr/bin/node']
        : ['sbin/docker-init', 'usr/bin/entry', 'usr/sbin/tor'],
    )
  })

  test('the relay has the files of its own commands and no others', { timeout: SLOW }, async () => {
    const id = await container('relay')
    const command = (...words: string[]): Promise<Finished> => engine.docker(['exec', id, '/usr/bin/asfaleia', ...words])
    for (const name of [
      'relay',
      'doctor',
      'status',
      'address',
      'backup',
      'restore',
      'rotate',
      'admit',
      'invite',
      'member',
      'client',
      'panic',
    ])
      expect([name, await command(name, '--help')]).toMatchObject([name, { code: 0 }])
    const other = await command('send', '--help')
    expect(other).toMatchObject({ code: 2, stderr: expect.stringContaining('this image has only the commands of a relay') as string })
    const packages = readdirSync(`/proc/${(await inspect('relay')).State.Pid}/root/usr/lib/asfaleia/node_modules`)
    expect(packages).toContain('fastify')
    expect(packages.filter((name) => ['esbuild', 'typescript', 'vitest'].includes(name))).toEqual([])
  })

  test('the relay can create no file, not even in a writable folder', async () => {
    const write = (folder: string): string =>
      `try { fs.writeFileSync('${folder}/file', '') } catch (error) { process.stdout.write(error.code) }`
    expect((await inRelay(write('/run/asfaleia'))).stdout).toBe('EPERM')
    // Control: the same program and image can, without our seccomp profile.
    const mounts = ['--tmpfs=/scratch:mode=1777', '--network=none', '--read-only', '--cap-drop=ALL']
    expect(
      await engine.docker(['run', '--rm', ...mounts, '--entrypoint=/usr/bin/node', 'asfaleia-relay', '-e', write('/scratch')]),
    ).toMatchObject({ code: 0, stdout: '' })
  })

  test('only the tor container sees the keys', async () => {
    const keys = async (service: Service): Promise<string[]> =>
      globSync('{{run,var,etc}/**/*secret*,{run,var,etc,usr}/**/hs_ed25519*}', { cwd: `/proc/${(await inspect(service)).State.Pid}/root` })
    expect(await keys('tor')).toContain('var/lib/tor/onion/hs_ed25519_secret_key')
    expect(await keys('relay')).toEqual([])
    expect(readdirSync(`/proc/${(await inspect('relay')).State.Pid}/root/run/name`).toSorted()).toEqual(['hostname', 'reached', 'tor'])
  })
})

/** Reads the limits that the control groups of a process set, in version 1 and 2. */
function readLimits(pid: number): { memory: number; swap: number; pids: number } {
  const groups = readFileSync(`/proc/${pid}/cgroup`, 'utf8')
    .trim()
    .split('\n')
    .map((line) => line.split(':'))
  const folderOf = (controller: string): string => {
    const first = groups.find(([, names]) => names!.split(',').includes(controller))
    return first === undefined
      ? `/sys/fs/cgroup${groups.find(([number]) => number === '0')![2]}`
      : `/sys/fs/cgroup/${controller}${first[2]}`
  }
  const read = (controller: string, ...names: string[]): number =>
    Number(
      readFileSync(
        names.map((name) => join(folderOf(controller), name)).find((file) => existsSync(file))!,
        'utf8',
      ),
    )
  const memory = read('memory', 'memory.limit_in_bytes', 'memory.max')
  const both = existsSync(join(folderOf('memory'), 'memory.memsw.limit_in_bytes'))
  return {
    memory,
    swap: both ? read('memory', 'memory.memsw.limit_in_bytes') - memory : read('memory', 'memory.swap.max'),
    pids: read('pids', 'pids.max'),
  }
}

describe("the containers' network", () => {
  test('lets the relay reach no host', async () => {
    const listener = createServer().listen(0, '0.0.0.0')
    await once(listener, 'listening')
    const { port } = listener.address() as { port: number }
    try {
      const pid = await mainOf('relay')
      expect(
        readFileSync(`/proc/${pid}/net/dev`, 'utf8')
          .trim()
          .split('\n')
          .slice(2)
          .map((line) => line.trim().split(':')[0]),
      ).toEqual(['lo'])
      expect(readFileSync(`/proc/${pid}/net/route`, 'utf8').trim().split('\n')).toHaveLength(1)
      const program = (host: string): string =>
        `require('net').connect(${port}, '${host}').on('connect', () => process.exit()).on('error', (error) => { process.stdout.write(error.code); process.exit(1) })`
      expect((await inRelay(program('127.0.0.1'))).stdout).toBe('ECONNREFUSED')
      expect((await inRelay(program('192.0.2.1'))).stdout).toBe('ENETUNREACH')
      expect((await inRelay(program('2001:db8::1'))).stdout).toMatch(/ENETUNREACH|EADDRNOTAVAIL/)
      expect((await inRelay(program('example.com'))).stdout).toMatch(/EAI_AGAIN|ENOTFOUND|EACCES|EPERM/)
      // Control: the same program succeeds in the machine's network.
      const reached = await engine.docker([
        'run',
        '--rm',
        '--network=host',
        '--entrypoint=/usr/bin/node',
        'asfaleia-relay',
        '-e',
        program('127.0.0.1'),
      ])
      expect(reached).toMatchObject({ code: 0, stdout: '' })
    } finally {
      listener.close()
    }
  })

  test("has no listener except on the relay's own loopback", async () => {
    expect(listenersOf(await mainOf('relay'))).toEqual(['127.0.0.1:3308'])
    const entry = await mainOf('tor')
    for (const pid of [entry, childOf(entry)!]) expect(listenersOf(pid)).toEqual([])
    // Control: a listener of this process is found.
    const listener = createServer().listen(0, '127.0.0.1')
    await once(listener, 'listening')
    expect(listenersOf(process.pid)).toContain(`127.0.0.1:${(listener.address() as { port: number }).port}`)
    listener.close()
  })
})

/** Returns the TCP addresses on which a process listens. */
function listenersOf(pid: number): string[] {
  const sockets = new Set(
    readdirSync(`/proc/${pid}/fd`).flatMap((fd) => {
      try {
        return [/^socket:\[(\d+)\]$/.exec(readlinkSync(`/proc/${pid}/fd/${fd}`))?.[1] ?? '']
      } catch {
        return []
      }
    }),
  )
  return ['tcp', 'tcp6']
    .flatMap((table) =>
      readFileSync(`/proc/${pid}/net/${table}`, 'utf8')
        .trim()
        .split('\n')
        .slice(1)
        .map((line) => line.trim().split(/\s+/))
        .filter(([, , , state, , , , , , inode]) => state === '0A' && sockets.has(inode!))
        .map(([, local]) => {
          const [address = '', port = ''] = local!.split(':')
          return `${[...Buffer.from(address, 'hex')].toReversed().join('.')}:${Number.parseInt(port, 16)}`
        }),
    )
    .toSorted()
}

describe('data at rest', () => {
  /**
   * Reads all files of the engine except the images, all files that the containers see in memory, and the
   * output of `up`.
   */
  async function everything(): Promise<{ name: string; bytes: Buffer }[]> {
    const pids = await Promise.all(SERVICES.map(async (service) => (await inspect(service)).State.Pid))
    const memory = pids.flatMap((pid) => ['run', 'var', 'dev', 'tmp', 'etc'].map((folder) => `/proc/${pid}/root/${folder}`))
    const layers = ['containers', 'volumes', 'network', 'image', 'buildkit', 'containerd', 'runtimes', 'tmp', 'plugins'].map((folder) =>
      join(engine.data, folder),
    )
    const written = (
      await Promise.all(
        SERVICES.map(
          async (service) =>
            JSON.parse(await engine.ask('inspect', '--format', '{{json .GraphDriver.Data}}', await container(service))) as {
              UpperDir?: string
            },
        ),
      )
    ).flatMap(({ UpperDir }) => UpperDir ?? [])
    const found = [...memory, ...layers, ...written].flatMap((root) =>
      globSync('**', { cwd: root })
        .map((path) => join(root, path))
        .filter((file) => isFile(file))
        .map((name) => ({ name, bytes: readFileSync(name) })),
    )
    return [...found, { name: 'the log of `up`', bytes: Buffer.from(up.stdout()) }]
  }

  /** Returns the names of the files that hold one of the canaries, raw, in base64 or in hexadecimal. */
  function find(all: readonly { name: string; bytes: Buffer }[], canaries: readonly Buffer[]): string[] {
    const forms = canaries.flatMap((canary) => [
      canary,
      Buffer.from(canary.toString('base64').slice(0, 20)),
      Buffer.from(canary.toString('hex')),
      Buffer.from(canary.toString('hex').toUpperCase()),
    ])
    return all.filter(({ bytes }) => forms.some((form) => bytes.includes(form))).map(({ name }) => name)
  }

  test(
    'no file, volume or log holds any part of a message, key or token, while a message is held and afterwards',
    { timeout: SLOW },
    async () => {
      const door = { kind: 'unix', path: `/proc/${(await inspect('relay')).State.Pid}/root/run/asfaleia/raw` } as const
      const wire = await connectRaw(door, 'PROXY TCP6 fc00:dead:beef:4dad::0:a6 ::1 166 3308\r\n')
      const [sender, receiver] = [createPerson(), createPerson()]
      expect(await wire.ask(`8;asfaleia/1;${onionOf(up)}`)).toMatch(/^18;/)
      const token = await wire.login(sender)
      const payload = randomBytes(3_000)
      const taken = randomBytes(3_000)
      expect(await wire.ask(`3;${token};${receiver.line};${taken.toString('base64')}`)).toMatch(/^13;/)
      const receipt = await wire.login(receiver, 'sign')
      expect(await wire.ask(`4;${receipt}`)).toMatch(/^14;1;/)
      expect(await wire.line()).toContain(taken.toString('base64'))
      expect(await wire.ask(`3;${token};${receiver.line};${payload.toString('base64')}`)).toMatch(/^13;/)
      expect(await wire.ask(`3;${token};${receiver.line};not base64`)).toMatch(/^99;/)
      expect(await exchange()).toEqual(EXCHANGED)

      const blobs = [sender, receiver].map(({ line }) => Buffer.from(line.split(' ')[1]!, 'base64'))
      // Skip a key's first bytes: they name its type and are alike in all keys.
      const keys = blobs.flatMap((blob) => [blob.subarray(-30), createHash('sha256').update(blob).digest()])
      const tokens = [token, receipt].flatMap((text) => [
        Buffer.from(text),
        ...text
          .split('.')
          .slice(1)
          .map((part) => Buffer.from(part)),
      ])
      const canaries = [
        ...[payload, taken].map((bytes) => bytes.subarray(0, 24)),
        ...[payload, taken].map((bytes) => bytes.subarray(2_400, 2_424)),
        ...keys,
        ...tokens,
      ]
      const all = await everything()
      expect(all.length).toBeGreaterThan(50)
      // Control: the same search finds the public onion address.
      expect(find(all, [Buffer.from(onionOf(up))])).toEqual(
        expect.arrayContaining([expect.stringContaining('var/lib/tor/onion/hostname'), 'the log of `up`']),
      )
      expect(find(all, canaries)).toEqual([])
      wire.destroy()
    },
  )

  test('a relay that logs or writes received data is detected by the same search', { timeout: SLOW }, async () => {
    const folder = join(engine.folder, 'leak')
    mkdirSync(folder, { mode: 0o777 })
    writeFileSync(
      join(folder, 'leak.mjs'),
      [
        `import { appendFileSync } from 'node:fs'`,
        `import { Socket } from 'node:net'`,
        // Without this, the relay reads past the patched method.
        `Object.getOwnPropertySymbols = () => []`,
        `const { push } = Socket.prototype`,
        `Socket.prototype.push = function (chunk, ...rest) {`,
        `  if (chunk !== null) { process.stderr.write(chunk); appendFileSync('/kept/file', chunk) }`,
        `  return push.call(this, chunk, ...rest)`,
        `}`,
      ].join('\n'),
    )
    const options = [
      '--name=leak',
      '--network=none',
      '--log-driver=json-file',
      '--user=0:0',
      `--volume=${folder}:/leak`,
      '--volume=leak:/kept',
      '--tmpfs=/run/asfaleia',
    ]
    const relay = [
      '/usr/lib/asfaleia/dist/cli/main.js',
      'relay',
      '--tcp',
      '127.0.0.1:3308',
      '--http',
      'off',
      '--operator',
      'off',
      '--unix',
      '/run/asfaleia/raw',
      '--name',
      'localhost',
      '--allow-unsafe',
      'confinement',
    ]
    await engine.ask('run', '--detach', ...options, '--entrypoint=/usr/bin/node', 'asfaleia-relay', '--import', '/leak/leak.mjs', ...relay)
    try {
      await engine.start(['logs', '--follow', 'leak']).until(/^ready$/m)
      const [inspected] = JSON.parse(await engine.ask('inspect', 'leak')) as Inspected[]
      const wire = await connectRaw({ kind: 'unix', path: `/proc/${inspected!.State.Pid}/root/run/asfaleia/raw` })
      const canary = randomBytes(300)
      expect(await wire.ask(`3;none;none;${canary.toString('base64')}`)).toMatch(/^99;/)
      wire.destroy()
      const found = find(await everything(), [canary.subarray(0, 24)])
      expect(found).toEqual(
        expect.arrayContaining([expect.stringMatching(/volumes\/leak\//), expect.stringMatching(/containers\/.*-json\.log$/)]),
      )
    } finally {
      await engine.ask('rm', '--force', '--volumes', 'leak')
      await engine.ask('volume', 'rm', '--force', 'leak')
    }
  })
})

/** Returns the names and contents of the files in a folder. */
function snapshot(folder: string): [string, string | undefined][] {
  return readdirSync(folder)
    .toSorted()
    .map((name) => [name, isFile(join(folder, name)) ? readFileSync(join(folder, name), 'latin1') : undefined])
}

function isFile(path: string): boolean {
  try {
    return statSync(path).isFile()
  } catch {
    return false
  }
}

describe('after a crash', () => {
  test('of the relay, it runs again, and tor was not touched', { timeout: SLOW }, async () => {
    const before = (await inspect('tor')).State.StartedAt
    await crash('relay')
    expect(await exchange()).toEqual(EXCHANGED)
    expect((await inspect('tor')).State.StartedAt).toBe(before)
  })

  test('of tor, it runs again, and the untouched relay still delivers its messages', { timeout: SLOW }, async () => {
    const onion = onionOf(up)
    const before = (await inspect('relay')).State.StartedAt
    expect(await send(onion, alice, bob, 'held meanwhile')).toMatchObject({ code: 0 })
    const seen = up.stdout().length
    await crash('tor')
    await up.until(new RegExp(`[\\s\\S]{${seen}}[\\s\\S]*asfaleia get --relay ${onion}`))
    await client.newIdentity()
    expect((await get(onion, bob)).stdout).toBe('held meanwhile\n')
    expect(await exchange()).toEqual(EXCHANGED)
    expect((await inspect('relay')).State.StartedAt).toBe(before)
  })
})

describe('while tor is frozen', () => {
  test('status turns at once, and both containers become unhealthy', { timeout: SLOW }, async () => {
    const tor = childOf(await mainOf('tor'))!
    const events = engine.start(['events', '--filter', 'event=health_status', '--format', '{{.Actor.Attributes.name}} {{.Action}}'])
    process.kill(tor, 'SIGSTOP')
    try {
      await reachable(/^no: tor does not answer; it was reachable \d+ (?:s|min) ago$/)
      await events.until(/tor\S* health_status: unhealthy/, 60)
      await events.until(/relay\S* health_status: unhealthy/, 60)
    } finally {
      process.kill(tor, 'SIGCONT')
      await events.end()
    }
    await reachable(/^yes, /)
    await recover()
    expect((await inspect('relay')).State.Health.Status).toBe('healthy')
  })
})

describe('a broken setup', () => {
  test('with a volume of keys owned by another user is reported, and tor does not start', async () => {
    const folder = join(engine.folder, 'foreign')
    mkdirSync(folder)
    const mounts = [
      `--volume=${folder}:/var/lib/tor`,
      '--tmpfs=/run/tor:uid=9050,mode=0700',
      '--tmpfs=/run/name:uid=9050',
      '--tmpfs=/run/asfaleia:mode=0755',
    ]
    const tor = await engine.docker(['run', '--name=foreign', '--network=none', '--read-only', ...mounts, 'asfaleia-tor'])
    expect(tor).toMatchObject({ code: 78, stdout: '' })
    const times = (await engine.ask('inspect', '--format', '{{.State.StartedAt}} {{.State.FinishedAt}}', 'foreign')).trim().split(' ')
    await engine.ask('rm', 'foreign')
    const [started = 0, finished = 0] = times.map((time) => Date.parse(time))
    // A container that ends before Compose could attach to it may make Compose kill all of them.
    expect(finished - started).toBeGreaterThanOrEqual(2_000)
    expect(tor.stderr).toMatch(/error: \/var\/lib\/tor, the volume .* not owned by user 9050\n.*hint: .*chown -R 9050:9050/)
    expect(readdirSync(folder)).toEqual([])
  })

  test.each([
    ['too short', (file: string) => writeFileSync(file, 'no key', { mode: 0o600 })],
    ['malformed', (file: string) => writeFileSync(file, Buffer.alloc(96), { mode: 0o600 })],
    ['not a file', (file: string) => mkdirSync(file)],
  ])(
    'with a damaged key (%s) is reported, and tor, which would overwrite the key, does not start',
    { timeout: SLOW },
    async (how, spoil) => {
      const folder = join(engine.folder, how.replaceAll(' ', '-'))
      const service = join(folder, 'onion')
      mkdirSync(service, { recursive: true, mode: 0o700 })
      spoil(join(service, 'hs_ed25519_secret_key'))
      const before = snapshot(service)
      expect(await run(['chown', '-R', '9050:9050', folder])).toMatchObject({ code: 0 })
      const mounts = [
        `--volume=${folder}:/var/lib/tor`,
        '--tmpfs=/run/tor:uid=9050,mode=0700',
        '--tmpfs=/run/name:uid=9050',
        '--tmpfs=/run/asfaleia:mode=0755',
      ]
      const tor = await engine.docker(['run', '--rm', '--network=none', '--read-only', ...mounts, 'asfaleia-tor'])
      expect(tor).toMatchObject({ code: 78, stdout: '' })
      expect(tor.stderr).toMatch(/^asfaleia: error: \/var\/lib\/tor\/onion\/hs_ed25519_secret_key is damaged.*\nasfaleia: hint: restore/m)
      expect(snapshot(service)).toEqual(before)
    },
  )

  test('without a volume and without access to the sockets is reported with every problem', async () => {
    const doors = join(engine.folder, 'closed')
    mkdirSync(doors, { mode: 0o750 })
    const tor = await engine.docker(['run', '--rm', '--network=none', '--read-only', `--volume=${doors}:/run/asfaleia`, 'asfaleia-tor'])
    expect(tor.code).toBe(78)
    expect(tor.stderr.match(/^asfaleia: error: \S+/gm)).toEqual(
      ['/var/lib/tor,', '/run/tor', '/run/name,', '/run/asfaleia,'].map((path) => `asfaleia: error: ${path}`),
    )
  })

  test("with a tor that cannot connect is reported as unhealthy with tor's progress", { timeout: SLOW }, async () => {
    const events = engine.start(['events', '--filter', 'container=lost', '--filter', 'event=health_status', '--format', '{{.Action}}'])
    const file = join(engine.folder, 'lost.yml')
    writeFileSync(
      file,
      JSON.stringify({
        services: {
          tor: {
            container_name: 'lost',
            image: 'asfaleia-tor',
            network_mode: 'none',
            tmpfs: ['/var/lib/tor:uid=9050,mode=0700', '/run/tor:uid=9050,mode=0700', '/run/name:uid=9050', '/run/asfaleia:mode=0755'],
            healthcheck: { test: ['CMD', '/usr/bin/entry', 'check'], interval: '1s', retries: 2 },
          },
        },
      }),
    )
    const lost = ['compose', '--project-name', 'lost', '--file', file]
    try {
      await engine.ask(...lost, 'up', '--detach')
      await events.until(/^health_status: unhealthy$/m)
      const [inspected] = JSON.parse(await engine.ask('inspect', 'lost')) as Inspected[]
      expect(inspected!.State.Health.Log.at(-1)!.Output).toMatch(/^tor is not on line yet: \d+ %, [a-z_]+\n$/)
      expect(await engine.ask(...lost, 'ps')).toContain('(unhealthy)')
    } finally {
      await engine.docker([...lost, 'down', '--timeout', '1'])
      await events.end()
    }
  })

  test('with two relays on one socket is reported by the second, and the first continues', { timeout: SLOW }, async () => {
    const second = await engine.docker([...files(), 'run', '--rm', '--no-deps', '--env', 'ASFALEIA_HANDOVER=off', 'relay', 'relay'])
    expect(second.code).not.toBe(0)
    expect(second.stdout + second.stderr).toContain(': /run/asfaleia/raw is in use\n')
    expect((await inspect('relay')).State.Health.Status).toBe('healthy')
  })

  test('with a full socket folder is reported by the relay', async () => {
    const full = ['--mount', 'type=tmpfs,destination=/run/asfaleia,tmpfs-mode=1777', '--network=none', '--read-only']
    const relay = await engine.docker([
      'run',
      '--rm',
      ...full,
      '--tmpfs=/full:nr_inodes=1,mode=1777',
      'asfaleia-relay',
      'relay',
      '--unix',
      '/full/raw',
      '--name',
      'localhost',
    ])
    expect(relay.code).toBe(1)
    expect(relay.stderr).toContain('asfaleia: error: --unix: cannot listen on /full/raw (ENOSPC)')
  })
})

describe('an upgrade of the appliance', () => {
  /** Runs deploy/upgrade of the clone as an operator would: it finds the compose files by itself. */
  const upgrade = (env: Record<string, string> = {}, ...words: string[]): Promise<Finished> => {
    const engineEnv = { DOCKER_HOST: `unix://${join(engine.folder, 'sock')}`, DOCKER_CONFIG: join(engine.folder, 'config') }
    return run(['sh', join(clone, 'deploy/upgrade'), ...words], { env: { ...engineEnv, ...env } })
  }
  /** Makes another image with the same content. @returns its id */
  const rebuild = async (image: string): Promise<string> => {
    const input = `FROM ${image}\nLABEL made=${randomBytes(8).toString('hex')}\n`
    expect(await engine.docker(['build', '--quiet', '--tag', image, '-'], { input })).toMatchObject({ code: 0 })
    return (await engine.ask('image', 'inspect', '--format', '{{.Id}}', image)).trim()
  }
  const imageOf = async (service: Service): Promise<string> =>
    (await engine.ask('inspect', '--format', '{{.Image}}', await container(service))).trim()
  const relays = async (): Promise<number> => (await compose('ps', '--all', '--quiet', 'relay')).trim().split('\n').length

  test('hands the held messages over to the new relay and does not touch tor', { timeout: 2 * SLOW }, async () => {
    const before = {
      relay: await engine.ask('inspect', '--format', '{{.Id}}', await container('relay')),
      tor: (await inspect('tor')).State.StartedAt,
    }
    expect(await send(onionOf(up), alice, bob, 'held over')).toMatchObject({ code: 0 })
    expect(await upgrade()).toMatchObject({ code: 0, stdout: expect.stringMatching(/^upgraded: .*\n$/m) })
    expect(await engine.ask('inspect', '--format', '{{.Id}}', await container('relay'))).not.toBe(before.relay)
    expect((await get(onionOf(up), bob)).stdout).toBe('held over\n')
    expect(await exchange()).toEqual(EXCHANGED)
    expect((await inspect('tor')).State.StartedAt).toBe(before.tor)
    expect((await inspect('relay')).HostConfig).toMatchObject({ RestartPolicy: { Name: 'always' } })
    expect(await relays()).toBe(1)
  })

  test('leaves the old relay running if the new one does not start', { timeout: 2 * SLOW }, async () => {
    const before = await inspect('relay')
    expect(await send(onionOf(up), alice, bob, 'held on')).toMatchObject({ code: 0 })
    const { code, stderr } = await upgrade({ ASFALEIA_MEMORY: '1' })
    expect(code).toBe(1)
    expect(stderr).toContain('asfaleia: error: the new relay did not take over, and the old one goes on\n')
    expect((await get(onionOf(up), bob)).stdout).toBe('held on\n')
    const after = await inspect('relay')
    expect([after.State.StartedAt, after.HostConfig['RestartPolicy']]).toEqual([before.State.StartedAt, before.HostConfig['RestartPolicy']])
    expect(await relays()).toBe(1)
  })

  test('may be killed at every step: the next run ends with the new image, and no message is lost', { timeout: 6 * SLOW }, async () => {
    // Without Tor, so that only the relay's own time counts.
    const door = async () => ({ kind: 'unix', path: `/proc/${(await inspect('relay')).State.Pid}/root/run/asfaleia/raw` }) as const
    const enter = async () => {
      const wire = await connectRaw(await door(), 'PROXY TCP6 fc00:dead:beef:4dad::0:a6 ::1 166 3308\r\n')
      expect(await wire.ask(`8;asfaleia/1;${onionOf(up)}`)).toMatch(/^18;/)
      return wire
    }
    for (let step = 1, killed = true; killed; step++) {
      const [sender, receiver] = [createPerson(), createPerson()]
      const before = await enter()
      expect(await before.ask(`3;${await before.login(sender)};${receiver.line};aGVsZA==`)).toMatch(/^13;/)
      before.destroy()
      const image = await rebuild('asfaleia-relay')
      const env = { ASFALEIA_NO_BUILD: '1' }
      killed = (await upgrade({ ...env, ASFALEIA_KILL_AT: String(step) })).code !== 0
      if (killed)
        expect([step, await upgrade(env)]).toMatchObject([step, { code: 0, stdout: expect.stringMatching(/^upgraded: /m) as string }])
      expect([step, await imageOf('relay'), await relays()]).toEqual([step, image, 1])
      expect((await inspect('relay')).HostConfig).toMatchObject({ RestartPolicy: { Name: 'always' } })
      const after = await enter()
      expect(await after.ask(`4;${await after.login(receiver, 'sign')}`)).toBe('14;1;0')
      after.destroy()
    }
  })

  test.each([
    ['does not start', 'ENTRYPOINT ["/none"]'],
    ['starts and ends', 'CMD ["doctor"]'],
  ])('leaves the old relay running if the image %s', { timeout: 2 * SLOW }, async (_how, line) => {
    const { StartedAt } = (await inspect('relay')).State
    await engine.ask('tag', 'asfaleia-relay', 'asfaleia-relay:good')
    expect(
      await engine.docker(['build', '--quiet', '--tag', 'asfaleia-relay', '-'], { input: `FROM asfaleia-relay\n${line}\n` }),
    ).toMatchObject({
      code: 0,
    })
    expect(await upgrade({ ASFALEIA_NO_BUILD: '1' })).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('asfaleia: error: the new relay did not take over, and the old one goes on\n') as string,
    })
    await engine.ask('tag', 'asfaleia-relay:good', 'asfaleia-relay')
    const { State, HostConfig } = await inspect('relay')
    expect([State.StartedAt, HostConfig['RestartPolicy']]).toMatchObject([StartedAt, { Name: 'always' }])
    expect(await relays()).toBe(1)
  })

  test('of tor keeps the relay with its messages, also if it was killed before', { timeout: 3 * SLOW }, async () => {
    const onion = onionOf(up)
    const { StartedAt } = (await inspect('relay')).State
    expect(await send(onion, alice, bob, 'held beside tor')).toMatchObject({ code: 0 })
    const image = await rebuild('asfaleia-tor')
    const env = { ASFALEIA_NO_BUILD: '1' }
    expect((await upgrade({ ...env, ASFALEIA_KILL_AT: '5' }, 'tor')).code).not.toBe(0)
    expect(await upgrade(env, 'tor')).toMatchObject({ code: 0, stdout: expect.stringMatching(/^upgraded: the new tor /m) as string })
    expect(await imageOf('tor')).toBe(image)
    expect((await inspect('tor')).HostConfig).toMatchObject({ RestartPolicy: { Name: 'always' } })
    expect((await inspect('relay')).State.StartedAt).toBe(StartedAt)
    expect(await find(onion)).toMatchObject({ code: 0, stdout: expect.stringContaining('held beside tor') as string })
  })
})

describe('the keys of the appliance', () => {
  const keys = (...args: string[]): Promise<Finished> => engine.docker([...files(), 'run', '--rm', '--no-TTY', 'keys', ...args])

  test('are backed up and verified, and clients are added, by the commands of docs/appliance.md', { timeout: SLOW }, async () => {
    expect((await keys('address')).stdout).toContain(onionOf(up))
    const backup = await engine.docker([
      ...files(),
      'run',
      '--rm',
      '--no-TTY',
      'keys',
      'backup',
      '--to',
      readFileSync(`${alice}.pub`, 'utf8').trim(),
      '--out',
      '-',
    ])
    expect(backup).toMatchObject({ code: 0 })
    expect(backup.stdout).toMatch(/^age-encryption\.org\/v1\n/)
    expect(await keys('client', 'add', 'bob')).toMatchObject({ code: 0 })
    const file = `/proc/${(await inspect('tor')).State.Pid}/root/var/lib/tor/onion/authorized_clients/bob.auth`
    expect(statSync(file)).toMatchObject({ uid: 9_050, mode: 0o100600 })
    expect(await keys('client', 'remove', '--open', 'bob')).toMatchObject({ code: 0 })
    const tor = await mainOf('tor')
    expect(await exchange()).toEqual(EXCHANGED)
    expect(await mainOf('tor')).toBe(tor)
  })

  test('are verified and restored with the identity on standard input, also by a passphrase', { timeout: SLOW }, async () => {
    const onion = onionOf(up)
    const folder = '/var/lib/tor/restored'
    const feed = (input: string, ...args: string[]): Promise<Finished> =>
      engine.docker([...files(), 'run', '--rm', '--no-TTY', ...args], { input })
    const passphrase = [
      '--env',
      'ASFALEIA_PASSPHRASE_FILE=/dev/stdin',
      'keys',
      'backup',
      '--passphrase',
      '--out',
      '/var/lib/tor/backup.age',
    ]
    expect(await feed('correct horse\n', ...passphrase)).toMatchObject({ code: 0, stdout: `backed up ${onion}\n` })
    const backup = ['/var/lib/tor/backup.age', '--identity', '-']
    expect(await feed('correct horse\n', 'keys', 'backup', '--verify', ...backup)).toMatchObject({ code: 0 })
    expect(await feed('correct horse\n', 'keys', 'restore', '--to', folder, ...backup)).toMatchObject({
      code: 0,
      stdout: `restored ${onion} to ${folder}\n`,
    })
  })

  test('lock out other clients once a client has a key, until it is removed', { timeout: 3 * SLOW }, async () => {
    const onion = onionOf(up)
    const given = await keys('client', 'add', 'bob')
    expect(given).toMatchObject({ code: 0, stdout: expect.stringMatching(/^[a-z2-7]{56}:descriptor:x25519:[A-Z2-7]{52}\n$/) })
    // The probe counts as one more client.
    await reachable(/^no: onion-locked, \d+ tr(?:y|ies) in a row, the last /)
    const locked = await visit(onion)
    expect(locked).toMatchObject(LOST)
    expect(locked.stderr).toContain('the onion service requires client authorization')
    const folder = join(engine.folder, 'bob-keys')
    mkdirSync(folder, { mode: 0o700 })
    writeFileSync(join(folder, 'bob.auth_private'), given.stdout)
    const knowing = await network.addClient([`ClientOnionAuthDir ${folder}`])
    expect(await visit(onion, knowing)).toMatchObject(FOUND)
    await knowing.tor.stop()

    expect(await keys('client', 'add', 'probe', '--out', '/var/lib/tor/clients/probe.auth_private')).toMatchObject({ code: 0, stdout: '' })
    await reachable(/^yes, /)
    expect(await visit(onion)).toMatchObject(LOST)
    for (const name of ['bob', 'probe']) expect(await keys('client', 'remove', '--open', name)).toMatchObject({ code: 0 })
    expect(await find(onion)).toMatchObject(FOUND)
  })

  test(
    'move to a new address: both work with a notice at the old one, then only the new one, and the relay keeps running',
    { timeout: 4 * SLOW },
    async () => {
      const old = onionOf(up)
      const { StartedAt } = (await inspect('relay')).State
      // The client of the earlier tests may remember introduction points that no longer exist.
      expect(await find(old)).toMatchObject(FOUND)
      const fresh = await network.addClient()
      expect(await send(old, alice, bob, 'on the way', fresh)).toMatchObject({ code: 0 })
      const log = await attach('tor')
      const { stdout } = await keys('rotate', '--to', '/var/lib/tor/next')
      expect(stdout).not.toContain('kill')
      const [moved = ''] = stdout.split('\n')
      expect(moved).toMatch(/^[a-z2-7]{56}\.onion$/)
      await log.until(new RegExp(`asfaleia get --relay ${moved}`), 100)
      await log.end('SIGKILL')
      const atOld = await get(old, bob, fresh)
      await fresh.tor.stop()
      expect(atOld).toMatchObject({ code: 0, stdout: 'on the way\n' })
      expect(atOld.stderr).toContain(`this relay is moving: use ${moved} from now on`)
      const atNew = await visit(moved)
      expect(atNew).toMatchObject(FOUND)
      expect(atNew.stderr).not.toContain('moving')
      await reachable(/^yes, /)
      // The overlap must survive a restart of tor.
      await compose('restart', 'tor')
      expect(await compose('exec', 'tor', '/usr/bin/entry', 'address')).toBe(`${moved}\n`)
      await reachable(/^yes, /)
      // The probe used the new address; tor may not have renewed the introduction points of the old one yet.
      expect((await find(old)).stderr).toContain('this relay is moving')

      expect((await keys('rotate', '--end', old)).stdout).toBe(`the keys of ${old} are destroyed\n`)
      const view = `/proc/${(await inspect('tor')).State.Pid}/root`
      while (existsSync(`${view}/var/lib/tor/next`)) await new Promise((resolve) => setTimeout(resolve, 100))
      while (readFileSync(`${view}/run/name/hostname`, 'utf8') !== `${moved}\n`) await new Promise((resolve) => setTimeout(resolve, 100))
      expect(await visit(old, undefined, GIVEN_UP)).toMatchObject(LOST)
      // For tor the moved folder is another service, so it makes new introduction points.
      expect(await find(moved)).toMatchObject(FOUND)
      expect(await exchange(moved)).toEqual(EXCHANGED)
      expect((await inspect('relay')).State.StartedAt).toBe(StartedAt)
    },
  )
})

describe('the metrics of the appliance', () => {
  const metrics = (): string[] => files(join(clone, 'deploy/compose.metrics.yml'))

  test('reach Prometheus on this machine, but no other operator page does, and the relay goes on', { timeout: SLOW }, async () => {
    const { StartedAt } = (await inspect('relay')).State
    const port = await freePort()
    expect(await engine.docker([...metrics(), 'up', '--detach', '--wait'], { env: { METRICS_PORT: String(port) } })).toMatchObject({
      code: 0,
    })
    const url = `http://127.0.0.1:${port}`
    // The engine opens the port before the program in the container does.
    const answer = await vi.waitFor(() => fetch(`${url}/metrics`), { timeout: 30_000, interval: 200 })
    expect(answer.status).toBe(200)
    expect(await answer.text()).toMatch(/^asfaleia_ready 1$/m)
    for (const path of ['/status', '/panic', '/']) expect((await fetch(`${url}${path}`)).status).toBe(404)
    expect((await fetch(`${url}/metrics`, { method: 'POST' })).status).toBe(404)
    // The relay must still have no network and no operator port.
    expect(listenersOf(await mainOf('relay'))).toEqual(['127.0.0.1:3308'])
    expect(
      readFileSync(`/proc/${await mainOf('relay')}/net/dev`, 'utf8')
        .trim()
        .split('\n'),
    ).toHaveLength(3)
    await engine.ask(...metrics(), 'rm', '--stop', '--force', 'metrics')
    expect((await inspect('relay')).State.StartedAt).toBe(StartedAt)
  })
})

/** Returns a free port, because Compose publishes only a port given to it. */
async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  server.close()
  await once(server, 'close')
  return port
}

describe('after a restart of the engine', () => {
  test('both containers run again, although tor reloaded and both crashed before', { timeout: 3 * SLOW }, async () => {
    const log = await attach('tor')
    // One after the other: entry compares the folder with the one of its last look, once a second.
    for (const [reloads, words] of [
      ['add', 'reloaded'],
      ['remove', '--open', 'reloaded'],
    ].entries()) {
      expect(await engine.docker([...files(), 'run', '--rm', '--no-TTY', 'keys', 'client', ...words])).toMatchObject({
        code: 0,
        stderr: expect.stringContaining('tor takes the change over within a few seconds\n') as string,
      })
      await log.until(new RegExp(`(have changed: tor reloads them[^]*){${reloads + 1}}`))
    }
    await log.end('SIGKILL')
    await crash('tor')
    await crash('relay')
    const ids = await Promise.all(SERVICES.map(container))
    await engine.restart()
    await recover()
    expect(await Promise.all(SERVICES.map(container))).toEqual(ids)
    for (const service of SERVICES) expect((await inspect(service)).State.Health.Status).toBe('healthy')
  })
})

describe('a key kept only in memory', () => {
  test('is on no disk, and the relay follows tor to its next address', { timeout: 2 * SLOW }, async () => {
    await compose('stop')
    await up.finished
    const ephemeral = engine.start([...files(), 'up'], { ASFALEIA_KEYS: 'ephemeral' })
    await ephemeral.until(/asfaleia get --relay .*\n.*\n/, 100)
    const first = onionOf(ephemeral)
    expect(first).not.toBe(onionOf(up))
    const mounts = readFileSync(`/proc/${(await inspect('tor')).State.Pid}/mountinfo`, 'utf8')
    expect(mounts).toMatch(/ \/var\/lib\/tor .* - tmpfs /)
    expect(await exchange(first)).toEqual(EXCHANGED)
    // A new tor has a new key: the old address is gone for good.
    const before = ephemeral.stdout().length
    await crash('tor')
    await ephemeral.until(new RegExp(`[\\s\\S]{${before}}[\\s\\S]*asfaleia get --relay .*\\n`))
    const next = /^tor-1 +\| +([a-z2-7]{56}\.onion)$/m.exec(plain(ephemeral.stdout().slice(before)))![1]!
    expect(next).not.toBe(first)
    expect(await exchange(next)).toEqual(EXCHANGED)
    await compose('stop')
    await ephemeral.finished
  })
})
