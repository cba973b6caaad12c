/**
 * The units of deploy/systemd under a real systemd, installed by the exact lines of docs/operations.md, behind
 * a tor of the private network. Their sandbox is read from the kernel, and an upgrade loses no message.
 */
import { randomBytes } from 'node:crypto'
import { cpSync, existsSync, globSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, inject, test } from 'vitest'
import { ASFALEIA, type Finished, run } from '../support/process.ts'
import { missing } from '../support/programs.ts'
import { succeed } from '../support/debian.ts'
import { bootMachine, type Machine, place, systemdless } from '../support/systemd.ts'
import { joinTorNetwork, TOR_PROGRAMS, type TorClient, type TorNetwork } from '../support/tor-network.ts'
import { connectRaw, createPerson, type Wire } from '../support/wire.ts'

const ROOT = join(import.meta.dirname, '../..')
const reason = systemdless() ?? missing(...TOR_PROGRAMS, 'npm')
const SLOW = 120_000
const PACKAGE = '/usr/local/lib/node_modules/asfaleia'
const RELAY = 'asfaleia-relay.service'
const DROP_IN = `/etc/systemd/system/${RELAY}.d/test.conf`

let folder: string
let network: TorNetwork
let client: TorClient
let machine: Machine
let onion: string
const at = (name: string): string => join(folder, name)

beforeAll(async () => {
  if (reason !== undefined) return
  folder = mkdtempSync(join(tmpdir(), 'asf-units-'))
  // Install the package as `npm install --global asfaleia` would.
  const packed = await succeed('npm', 'pack', '--silent', '--ignore-scripts', '--pack-destination', folder, ROOT)
  const installed = succeed(
    'npm',
    'install',
    '--global',
    '--silent',
    '--no-audit',
    '--no-fund',
    '--prefix',
    at('usr/local'),
    at(packed.trim()),
  )
  ;[network] = await Promise.all([joinTorNetwork(inject('torNetwork')), installed])
  client = await network.addClient()
  await Promise.all(['alice', 'bob'].map((name) => succeed(...ASFALEIA, 'key', '--out', at(name))))
  machine = await bootMachine({
    packages: ['tor', 'libstdc++6', 'libatomic1'],
    mounts: { '/usr/local': at('usr/local') },
    prepare: (root) => place(root, '/etc/tor/torrc', `${network.torrc}\n`),
  })
  // Control groups of version 1 cannot limit swap, so the relay must be able to see whether there is any.
  if (!machine.limitsMemory) place(machine.root, DROP_IN, '[Service]\nProcSubset=all\n')
  await machine.ask('sh', '-e', '-c', installLines())
  await untilListening()
  onion = readFileSync(`${machine.root}/var/lib/tor/asfaleia/hostname`, 'utf8').trim()
  // Tor's client remembers a failed lookup for a while.
  while ((await get('alice')).code !== 0) await client.newIdentity()
}, 300_000)

afterAll(async () => {
  await machine?.stop()
  await network?.stop()
  if (folder !== undefined) rmSync(folder, { recursive: true })
}, 60_000)

beforeEach((ctx) => ctx.skip(reason !== undefined, reason))

/**
 * Returns the lines of docs/operations.md, "With systemd", without npm, which has already run, and with a free
 * control port.
 */
function installLines(): string {
  const [, lines = ''] = /\n## With systemd\n[\s\S]*?\n\n((?: {4}.*\n)+)/.exec(readFileSync(join(ROOT, 'docs/operations.md'), 'utf8')) ?? []
  const commands = lines.split('\n').map((line) => line.trim())
  if (commands[0] !== 'npm install --global asfaleia') throw new Error('the docs install otherwise')
  return commands.slice(1).join('\n').replace('cat ../../torrc.example', "sed 's/^ControlPort .*/ControlPort auto/' ../../torrc.example")
}

const journal = (...more: string[]): Promise<string> => machine.ask('journalctl', '--no-pager', '--namespace', 'asfaleia', ...more)
const show = async (unit: string, property: string): Promise<string> =>
  (await machine.ask('systemctl', 'show', '--property', property, '--value', unit)).trim()
const status = (): Promise<Finished> =>
  machine.run([`${PACKAGE}/node_modules/.bin/node`, `${PACKAGE}/dist/cli/main.js`, 'status', '--operator', 'unix:/run/asfaleia/operator'])
const upgrade = (): Promise<Finished> => machine.run(['sh', `${PACKAGE}/deploy/upgrade`, 'systemd'])

async function untilListening(): Promise<void> {
  while ((await status()).code !== 0) {
    expect(await show(RELAY, 'Result')).toBe('success')
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
}

async function connect(): Promise<Wire> {
  return connectRaw({ kind: 'unix', path: `${machine.root}/run/asfaleia/raw` }, 'PROXY TCP6 fc00:dead:beef:4dad::0:a6 ::1 166 3308\r\n')
}

const send = (from: string, to: string, text: string): Promise<Finished> =>
  run([...ASFALEIA, 'send', '--relay', onion, '--socks', `127.0.0.1:${client.socks.port}`, '--key', at(from), `${at(to)}.pub`, text])
const get = (key: string): Promise<Finished> =>
  run([...ASFALEIA, 'get', '--relay', onion, '--socks', `127.0.0.1:${client.socks.port}`, '--key', at(key)])

describe('the relay under systemd', () => {
  test('delivers messages between two users through Tor', { timeout: SLOW }, async () => {
    expect(await send('alice', 'bob', 'to Bob')).toMatchObject({ code: 0 })
    expect(await get('bob')).toMatchObject({ code: 0, stdout: expect.stringMatching(/: to Bob\n$/) as string })
  })

  test('is confined, as the kernel confirms', async () => {
    const pid = await machine.mainOf(RELAY)
    const of = Object.fromEntries(
      readFileSync(`/proc/${pid}/status`, 'utf8')
        .split('\n')
        .map((line) => line.split(/:\s*/) as [string, string]),
    )
    const none = Object.fromEntries(['CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb'].map((set) => [set, '0'.repeat(16)]))
    expect(of).toMatchObject({ NoNewPrivs: '1', Seccomp: '2', ...none })
    const [uid, ...others] = of['Uid']!.split('\t').map(Number)
    // A dynamic user, which exists only while the relay runs.
    expect(others).toEqual([uid, uid, uid])
    expect(uid).toBeGreaterThanOrEqual(61_184)
    expect(uid).toBeLessThanOrEqual(65_519)
    expect(readFileSync(`${machine.root}/etc/passwd`, 'utf8')).not.toContain('asfaleia')
    expect(readFileSync(`/proc/${pid}/limits`, 'utf8')).toMatch(/^Max core file size +1 +1 /m)
    expect(
      readFileSync(`/proc/${pid}/net/dev`, 'utf8')
        .trim()
        .split('\n')
        .slice(2)
        .map((line) => line.trim().split(':')[0]),
    ).toEqual(['lo'])
    for (const namespace of ['net', 'user', 'mnt', 'ipc']) {
      expect(readlinkSync(`/proc/${pid}/ns/${namespace}`)).not.toBe(readlinkSync(`${machine.root}/proc/1/ns/${namespace}`))
    }
  })

  test('can write only to its socket folder and other memory, and sees neither home folders nor keys', async () => {
    const pid = await machine.mainOf(RELAY)
    const mounts = readFileSync(`/proc/${pid}/mountinfo`, 'utf8')
      .trim()
      .split('\n')
      .map((line) => {
        const [before = '', after = ''] = line.split(' - ')
        return [before.split(' ')[4]!, after.split(' ')[0]!] as const
      })
    // Ignore the mounts that nspawn shares with the host.
    const types = new Map(mounts.filter(([path]) => !path.startsWith('/run/host/')))
    const writable = async (within: number): Promise<string[]> => {
      const look = 'for path; do if [ -w "$path" ]; then echo "$path"; fi; done'
      // As root, which only a read-only file system can keep from writing.
      const { stdout } = await run(['nsenter', '--target', String(within), '--mount', '--root', 'sh', '-c', look, 'sh', ...types.keys()])
      return stdout
        .trim()
        .split('\n')
        .filter(
          (path) => !['tmpfs', 'ramfs', 'proc', 'sysfs', 'cgroup2', 'devpts', 'devtmpfs', 'mqueue', 'hugetlbfs'].includes(types.get(path)!),
        )
    }
    expect(await writable(pid)).toEqual([])
    expect(readFileSync(`/proc/${pid}/mountinfo`, 'utf8')).toMatch(/ \/run\/asfaleia rw,\S*noexec/)
    expect(await writable(await machine.mainOf('systemd-journald.service'))).toContain('/')
    const view = `/proc/${pid}/root`
    expect(readdirSync(`${view}/run/asfaleia`).toSorted()).toEqual(['handover', 'http', 'operator', 'raw'])
    expect(statSync(`${view}/run/asfaleia`).mode & 0o7777).toBe(0o2750)
    for (const hidden of ['/var', '/root', '/home']) expect([hidden, statSync(view + hidden).mode & 0o777]).toEqual([hidden, 0])
    expect(globSync('run/credentials/*/*', { cwd: view })).toEqual([`run/credentials/${RELAY}/hostname`])
  })

  test('keeps its journal in memory', async () => {
    expect(await journal('--unit', RELAY)).toContain('"event":"ready"')
    expect(globSync('run/log/journal/*.asfaleia/*', { cwd: machine.root })).not.toEqual([])
    expect(globSync('var/log/journal/*.asfaleia/*', { cwd: machine.root })).toEqual([])
    // Control: other journals of the machine are on disk.
    expect(globSync('var/log/journal/*/*', { cwd: machine.root })).not.toEqual([])
  })

  test('restarts after a crash without touching tor', { timeout: SLOW }, async () => {
    const tor = await machine.mainOf('tor@default.service')
    const before = await machine.mainOf(RELAY)
    process.kill(before, 'SIGKILL')
    while ((await show(RELAY, 'NRestarts')) === '0' || (await show(RELAY, 'ActiveState')) !== 'active')
      await new Promise((resolve) => setTimeout(resolve, 100))
    await untilListening()
    expect(await machine.mainOf(RELAY)).not.toBe(before)
    expect(await send('alice', 'bob', 'again')).toMatchObject({ code: 0 })
    expect(await get('bob')).toMatchObject({ code: 0, stdout: expect.stringMatching(/: again\n$/) as string })
    expect(await machine.mainOf('tor@default.service')).toBe(tor)
  })
})

describe('an upgrade by deploy/upgrade systemd', () => {
  const COUNT = 100
  const person = createPerson()

  async function fill(): Promise<{ token: string; ids: string[] }> {
    const wire = await connect()
    await wire.ask(`8;asfaleia/1;${onion}`)
    const token = await wire.login(person)
    const ids: string[] = []
    for (let i = 0; i < COUNT; i++)
      ids.push((await wire.ask(`3;${token};${person.line};${randomBytes(1_500).toString('base64')}`)).split(';')[1]!)
    wire.destroy()
    return { token, ids }
  }
  async function take(token: string): Promise<string[]> {
    const wire = await connect()
    const ids: string[] = []
    for (;;) {
      const [, count] = (await wire.ask(`4;${token};lease`)).split(';')
      if (count === '0') return ids
      const got: string[] = []
      for (let i = 0; i < Number(count); i++) got.push((await wire.line())!.split(';')[1]!)
      await wire.ask(`5;${token};${got.join(';')}`)
      ids.push(...got)
    }
  }

  test('hands the held messages over to the new relay', { timeout: SLOW }, async () => {
    const before = await machine.mainOf(RELAY)
    const tor = await machine.mainOf('tor@default.service')
    const { token, ids } = await fill()
    expect(await send('alice', 'bob', 'held over')).toMatchObject({ code: 0 })
    expect(await upgrade()).toMatchObject({ code: 0, stdout: 'upgraded: the new relay holds the messages of the old one\n' })
    expect(await machine.mainOf(RELAY)).not.toBe(before)
    expect(await take(token)).toEqual(ids)
    expect(await get('bob')).toMatchObject({ code: 0, stdout: expect.stringMatching(/: held over\n$/) as string })
    expect(await machine.mainOf('tor@default.service')).toBe(tor)
    expect(
      (await machine.ask('systemctl', 'list-units', '--all', '--plain', '--no-legend', 'asfaleia*'))
        .split('\n')
        .map((line) => line.split(' ')[0]),
    ).toEqual(['asfaleia-doors.service', RELAY, ''])
    expect(readdirSync(`${machine.root}/run/systemd/system`)).not.toContain('asfaleia-relay-bridge.service')
  })

  test('leaves the old relay running if the new one does not start', { timeout: SLOW }, async () => {
    const before = await machine.mainOf(RELAY)
    const { token, ids } = await fill()
    const program = at('usr/local/lib/node_modules/asfaleia/dist/cli/main.js')
    cpSync(program, at('main.js'))
    cpSync(at('bob'), program)
    const { code, stderr } = await upgrade()
    cpSync(at('main.js'), program)
    expect(code).toBe(1)
    expect(stderr).toMatch(
      /^asfaleia: error: asfaleia-relay-bridge\.service did not take over from asfaleia-relay\.service, which goes on\nasfaleia: hint: .*\n$/m,
    )
    expect(await machine.mainOf(RELAY)).toBe(before)
    expect(await take(token)).toEqual(ids)
    expect(await upgrade()).toMatchObject({ code: 0 })
  })

  test('reports that no relay is running after the relay was stopped, which also removes its folder', async () => {
    await machine.ask('systemctl', 'stop', RELAY)
    while ((await show('asfaleia-doors.service', 'ActiveState')) !== 'inactive') await new Promise((resolve) => setTimeout(resolve, 100))
    expect(existsSync(`${machine.root}/run/asfaleia`)).toBe(false)
    expect(await upgrade()).toMatchObject({
      code: 1,
      stderr: 'asfaleia: error: no relay is running\nasfaleia: hint: start it: systemctl start asfaleia-relay.service\n',
    })
  })
})
