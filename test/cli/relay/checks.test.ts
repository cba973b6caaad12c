/** Each check at the start finds its problem and nothing else; a check that cannot be read fails. */
import { describe, expect, test } from 'vitest'
import { examine, type Surroundings } from '../../../src/cli/relay/checks.ts'
import { run } from '../../../src/cli/commands/doctor.ts'
import { CHECK_NAMES, type CheckName } from '../../../src/config/setting.ts'
import { createTestIo } from '../../support/terminal.ts'

const SWAPS = 'Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n'
const ON = `${SWAPS}/dev/sda2                               partition\t1000\t\t0\t\t-2\n`
const limits = (soft: string): string =>
  `Limit                     Soft Limit           Hard Limit           Units     \nMax core file size        ${soft.padEnd(20)} unlimited            bytes     \nMax open files            20000                20000                files     \n`

const FILES: Record<string, string> = { '/proc/swaps': SWAPS, '/proc/self/limits': limits('0'), '/proc/sys/kernel/core_pattern': 'core\n' }
const SOUND: Surroundings = {
  read: (path) => FILES[path],
  uid: 1_000,
  writable: false,
  env: {},
  flags: [],
  confined: true,
  readsThrough: true,
  settings: { memory: 256 * 2 ** 20, connections: 10_000 },
}

function failed(change: Partial<Omit<Surroundings, 'read'>>, files: Record<string, string | undefined> = {}): CheckName[] {
  const all: Record<string, string | undefined> = { ...FILES, ...files }
  return examine({ ...SOUND, read: (path) => all[path], ...change })
    .filter(({ problem }) => problem !== undefined)
    .map(({ name }) => name)
}

test('a sound machine passes every check, in order', () => {
  expect(failed({})).toEqual([])
  expect(examine(SOUND).map(({ name }) => name)).toEqual(CHECK_NAMES)
})

test('checks whose files are unreadable fail', () => {
  expect(failed({}, { '/proc/swaps': undefined, '/proc/self/limits': undefined })).toEqual(['swap', 'core-dumps', 'descriptors'])
})

describe('the check of swap, if swap', () => {
  test.each([
    ['is on,', {}, ['swap']],
    ['is on, but not for the cgroup,', { '/proc/self/cgroup': '0::/a/b\n', '/sys/fs/cgroup/a/b/memory.swap.max': '0\n' }, []],
    ['is on, but not for a cgroup above,', { '/proc/self/cgroup': '1:cpu:/x\n0::/a/b\n', '/sys/fs/cgroup/a/memory.swap.max': '0\n' }, []],
    ['is on, but not within a container,', { '/proc/self/cgroup': '0::/\n', '/sys/fs/cgroup/memory.swap.max': '0\n' }, []],
    ['is on and bounded,', { '/proc/self/cgroup': '0::/a\n', '/sys/fs/cgroup/a/memory.swap.max': '4096\n' }, ['swap']],
    ['is on and not bounded,', { '/proc/self/cgroup': '0::/a\n', '/sys/fs/cgroup/a/memory.swap.max': 'max\n' }, ['swap']],
    [
      'is unknown, but off for the cgroup,',
      { '/proc/swaps': undefined, '/proc/self/cgroup': '0::/a\n', '/sys/fs/cgroup/a/memory.swap.max': '0\n' },
      [],
    ],
    ['is off only for another cgroup,', { '/proc/self/cgroup': '0::/a\n', '/sys/fs/cgroup/b/memory.swap.max': '0\n' }, ['swap']],
  ])('%s gives %j', (_name, files, expected) => {
    expect(failed({}, { '/proc/swaps': ON, ...files })).toEqual(expected)
  })
})

describe('the check of core dumps', () => {
  test.each([
    ['unlimited', 'core', false],
    ['0', 'core', true],
    ['0', '|/usr/lib/systemd/systemd-coredump %P', true],
    ['0', '|/usr/share/apport/apport %p', false],
    ['1', '|/usr/share/apport/apport %p', true],
    ['4096', 'core', false],
    ['0', undefined, false],
  ])('judges a limit of %s and the pattern %s', (soft, pattern, good) => {
    const files = { '/proc/self/limits': limits(soft), '/proc/sys/kernel/core_pattern': pattern }
    expect(failed({}, files)).toEqual(good ? [] : ['core-dumps'])
  })
})

test.each<[string, Partial<Surroundings>, CheckName[]]>([
  ['root', { uid: 0 }, ['root']],
  ['a Node that reads into its own buffer', { readsThrough: false }, ['read-buffer']],
  ['no user id', { uid: undefined }, []],
  ['a writable folder', { writable: true }, ['working-directory']],
  ['no confinement', { confined: false }, ['confinement']],
])('the checks judge %s', (_name, change, expected) => {
  expect(failed(change)).toEqual(expected)
})

describe('the check of node-options', () => {
  test.each<[string, Partial<Surroundings>, boolean]>([
    ['coverage', { env: { NODE_V8_COVERAGE: '/c' } }, false],
    ['an empty variable', { env: { NODE_V8_COVERAGE: '' } }, true],
    ['a compile cache', { env: { NODE_COMPILE_CACHE: '/c' } }, false],
    ['debug output', { env: { NODE_DEBUG: 'net' } }, false],
    ['a library', { env: { LD_PRELOAD: '/l.so' } }, false],
    ['an auditing library', { env: { LD_AUDIT: '/l.so' } }, false],
    ['a folder of modules', { env: { NODE_PATH: '/m' } }, false],
    ['certificates', { env: { NODE_EXTRA_CA_CERTS: '/c.pem' } }, false],
    ['TLS keys', { env: { SSLKEYLOGFILE: '/k' } }, false],
    ['a report in NODE_OPTIONS', { env: { NODE_OPTIONS: '--max-old-space-size=512 --report-on-fatalerror' } }, false],
    ['memory in NODE_OPTIONS', { env: { NODE_OPTIONS: ' --max-old-space-size=512  --no-warnings' } }, true],
    ['a profile', { flags: ['--cpu-prof'] }, false],
    ['a heap profile', { flags: ['--heap-prof'] }, false],
    ['a heap snapshot', { flags: ['--heapsnapshot-signal=SIGUSR2'] }, false],
    ['a folder for reports', { flags: ['--diagnostic-dir=/d'] }, false],
    ['a trace', { flags: ['--trace-event-categories=v8'] }, false],
    ['a preload', { flags: ['--import=/p.mjs'] }, false],
    ['an inspector', { flags: ['--inspect'] }, false],
    ['memory', { flags: ['--max-old-space-size=512'] }, true],
  ])('judges %s', (_name, change, good) => {
    expect(failed(change)).toEqual(good ? [] : ['node-options'])
  })
})

describe('the check of the memory limit', () => {
  const V1 = '9:cpuset:/x\n4:memory:/docker/1\n0::/\n'
  test.each([
    ['no limit', { '/proc/self/cgroup': '0::/a\n', '/sys/fs/cgroup/a/memory.max': 'max\n' }, []],
    ['enough', { '/proc/self/cgroup': '0::/a\n', '/sys/fs/cgroup/a/memory.max': `${1024 * 2 ** 20}\n` }, []],
    ['too little', { '/proc/self/cgroup': '0::/a\n', '/sys/fs/cgroup/a/memory.max': `${640 * 2 ** 20}\n` }, ['memory-limit']],
    ['too little above', { '/proc/self/cgroup': '0::/a/b\n', '/sys/fs/cgroup/a/memory.max': '120000000\n' }, ['memory-limit']],
    [
      'too little in a container, version 1',
      { '/proc/self/cgroup': V1, '/sys/fs/cgroup/memory/memory.limit_in_bytes': '120000000\n' },
      ['memory-limit'],
    ],
    ['no limit, version 1', { '/proc/self/cgroup': V1, '/sys/fs/cgroup/memory/memory.limit_in_bytes': '9223372036854771712\n' }, []],
  ])('%s', (_name, files, names) => {
    expect(failed({}, files)).toEqual(names)
  })

  test('counts the messages twice, and the connections', () => {
    const settings = { memory: 2 ** 20, connections: 1 }
    const files = { '/proc/self/cgroup': '0::/\n', '/sys/fs/cgroup/memory.max': `${186 * 2 ** 20}\n` }
    expect(failed({ settings }, files)).toEqual([])
    expect(failed({ settings: { ...settings, connections: 10_000 } }, files)).toEqual(['memory-limit'])
    expect(failed({ settings: { ...settings, memory: 13 * 2 ** 20 } }, files)).toEqual(['memory-limit'])
  })
})

test('the check of descriptors fails if connections may be refused for want of them', () => {
  expect(failed({ settings: { memory: 2 ** 20, connections: 19_680 } })).toEqual([])
  expect(failed({ settings: { memory: 2 ** 20, connections: 19_681 } })).toEqual(['descriptors'])
})

describe('doctor', () => {
  const look = () => examine({ ...SOUND, uid: 0, writable: true })

  test('prints each check with its problem and hint, and exits with 1', async () => {
    const io = createTestIo()
    expect(await run(['--name', 'localhost'], io, look)).toBe(1)
    expect(io.out().split('\n')).toEqual([
      'ok       swap',
      'ok       core-dumps',
      'failed   root: the relay runs as root',
      '         hint: run it as a separate user without privileges',
      expect.stringMatching(/^failed {3}working-directory: /),
      expect.stringMatching(/^ {9}hint: /),
      'ok       node-options',
      'ok       confinement',
      'ok       read-buffer',
      'ok       memory-limit',
      'ok       descriptors',
      '',
    ])
  })

  test('accepts excused checks', async () => {
    const io = createTestIo()
    expect(await run(['--json', '--allow-unsafe', 'root,working-directory'], io, look)).toBe(0)
    const lines = io
      .out()
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as { check: string; state: string })
    expect(lines.map(({ check }) => check)).toEqual(CHECK_NAMES)
    expect(lines.filter(({ state }) => state === 'excused').map(({ check }) => check)).toEqual(['root', 'working-directory'])
    expect(lines[0]).toEqual({ check: 'swap', state: 'ok' })
  })

  test('refuses a listener that is not local', async () => {
    const io = createTestIo()
    expect(await run(['--tcp', '0.0.0.0:1'], io, look)).toBe(2)
    expect(io.out()).toBe('')
    expect(io.err()).toContain('--tcp: is not a local address')
  })
})
