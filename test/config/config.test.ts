import { createHash, randomBytes } from 'node:crypto'
import { globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type Config, parseConfig } from '../../src/config/config.ts'
import type { Problem } from '../../src/config/problem.ts'
import { OTHER_VARIABLES, SETTING_KEYS, SETTINGS, variableOf } from '../../src/config/setting.ts'
import { isOnionName } from '../../src/config/value.ts'
import { DEFAULT_LIMITS } from '../../src/protocol/limits.ts'

interface Given {
  argv?: string[]
  env?: Record<string, string>
  file?: string
  terminal?: boolean
}

function parse({ argv = [], env = {}, file, terminal = false }: Given) {
  const readFile = (): string => {
    if (file === undefined) throw Object.assign(new Error('no'), { code: 'ENOENT' })
    return file
  }
  return parseConfig({ argv: file === undefined ? argv : [...argv, '--config', 'f'], env, readFile, terminal })
}

function good(given: Given): Config {
  const parsed = parse(given)
  if ('problems' in parsed) throw new Error(JSON.stringify(parsed.problems))
  return parsed.config
}

function bad(given: Given): readonly Problem[] {
  const parsed = parse(given)
  if ('config' in parsed) throw new Error('there should be problems')
  return parsed.problems
}

const OLD = 'pg6mmjiyjmcrsslvykfwnntlaru7p5svn6y2ymmju6nubxndf4pscryd.onion'
const ONION = '2gzyxa5ihm7nsggfxnu52rck2vv4rvmdlkiu3zzui5du4xyclen53wid.onion'

test('the defaults are loopback doors, no name, and the limits of the protocol', () => {
  expect(good({})).toEqual({
    tcp: { kind: 'tcp', host: '127.0.0.1', port: 3308 },
    unix: undefined,
    http: { kind: 'tcp', host: '127.0.0.1', port: 8080 },
    operator: { kind: 'tcp', host: '127.0.0.1', port: 9090 },
    handover: undefined,
    handoverSecret: undefined,
    proxy: [],
    names: [],
    nameFile: undefined,
    movedFrom: [],
    torControl: undefined,
    torFile: undefined,
    probe: undefined,
    probeFile: undefined,
    probeSeconds: 300,
    admit: undefined,
    strangers: 'off',
    page: 'download',
    memory: 256 * 1024 ** 2,
    connections: 10_000,
    unproven: 2_000,
    perCircuit: 64,
    perKey: 16,
    perSender: 67_108_864,
    limits: DEFAULT_LIMITS,
    strict: false,
    allowUnsafe: [],
    log: { level: 'info', format: 'json' },
  } satisfies Config)
})

test('every setting can be given as a flag', () => {
  const argv = [
    ['--tcp', '[::1]:1'],
    ['--unix', '/r.sock'],
    ['--http', 'unix:/h.sock'],
    ['--operator', 'off'],
    ['--proxy', 'tcp,http'],
    ['--handover', '/t.sock'],
    ['--handover-secret', '/s'],
    ['--name', `localhost, ${ONION.toUpperCase()}`],
    ['--name-file', '/n'],
    ['--tor-control', 'localhost:9051'],
    ['--moved-from', OLD],
    ['--probe', 'unix:/socks'],
    ['--tor-file', '/t'],
    ['--probe-file', '/r'],
    ['--probe-every', '1m'],
    ['--admit', '/a'],
    ['--strangers', 'send'],
    ['--page', 'run'],
    ['--memory', '1G'],
    ['--connections', '100'],
    ['--unproven', '20'],
    ['--per-circuit', '3'],
    ['--per-key', '4'],
    ['--per-sender', '1M'],
    ['--payload', '64K'],
    ['--mailbox-messages', '7'],
    ['--hold', '2d'],
    ['--window', '8'],
    ['--token', '90m'],
    ['--first-packet', '5s'],
    ['--login', '6s'],
    ['--idle', '7s'],
    ['--strict', 'on'],
    ['--allow-unsafe', 'swap,root'],
    ['--log-level', 'warn'],
    ['--log-format', 'pretty'],
  ].flat()
  expect(good({ argv })).toEqual({
    tcp: { kind: 'tcp', host: '::1', port: 1 },
    unix: { kind: 'unix', path: '/r.sock' },
    http: { kind: 'unix', path: '/h.sock' },
    operator: undefined,
    handover: { kind: 'unix', path: '/t.sock' },
    handoverSecret: '/s',
    proxy: ['tcp', 'http'],
    names: ['localhost', ONION],
    nameFile: '/n',
    movedFrom: [OLD],
    torControl: { kind: 'tcp', host: '127.0.0.1', port: 9051 },
    torFile: '/t',
    probe: { kind: 'unix', path: '/socks' },
    probeFile: '/r',
    probeSeconds: 60,
    admit: '/a',
    strangers: 'send',
    page: 'run',
    memory: 1024 ** 3,
    connections: 100,
    unproven: 20,
    perCircuit: 3,
    perKey: 4,
    perSender: 1_048_576,
    limits: {
      ...DEFAULT_LIMITS,
      payload: 65_536,
      mailboxMessages: 7,
      holdSeconds: 172_800,
      window: 8,
      tokenSeconds: 5_400,
      firstPacketSeconds: 5,
      loginSeconds: 6,
      idleSeconds: 7,
    },
    strict: true,
    allowUnsafe: ['swap', 'root'],
    log: { level: 'warn', format: 'pretty' },
  } satisfies Config)
  expect(SETTING_KEYS.filter((key) => key !== 'config' && !argv.includes(`--${key}`))).toEqual([])
})

describe('sources of settings', () => {
  const file = '# the relay\n\n  window = 1\r\nhold=1h\nname = localhost\nname = ' + ONION + '\n'

  test('flags override the environment, the environment overrides the file, the file overrides defaults', () => {
    const config = good({ file, argv: ['--window', '3'], env: { ASFALEIA_WINDOW: '2', ASFALEIA_IDLE: '9s', ASFALEIA_HOLD: '2h' } })
    expect(config.limits).toMatchObject({ window: 3, holdSeconds: 7_200, idleSeconds: 9, tokenSeconds: 3_600 })
    expect(good({ file }).limits).toMatchObject({ window: 1, holdSeconds: 3_600 })
  })

  test('a list is repeated or comma-separated, and only one source counts', () => {
    expect(good({ file }).names).toEqual(['localhost', ONION])
    expect(good({ file, argv: ['--name', 'localhost'] }).names).toEqual(['localhost'])
    expect(good({ argv: ['--name', ONION, '--name=localhost'] }).names).toEqual([ONION, 'localhost'])
    expect(good({ env: { ASFALEIA_NAME: `${ONION},localhost,${ONION}` } }).names).toEqual([ONION, 'localhost'])
  })

  test('ASFALEIA_CONFIG names the config file', () => {
    const parsed = parseConfig({ argv: [], env: { ASFALEIA_CONFIG: '/c' }, readFile: (path) => (path === '/c' ? 'window = 5' : '') })
    expect(parsed).toMatchObject({ config: { limits: { window: 5 } } })
  })

  test('--config wins over ASFALEIA_CONFIG, whose file is not read', () => {
    const read: string[] = []
    const readFile = (path: string): string => {
      read.push(path)
      return `window = ${path === '/flag' ? 7 : 5}`
    }
    const parsed = parseConfig({ argv: ['--config', '/flag'], env: { ASFALEIA_CONFIG: '/variable' }, readFile })
    expect(parsed).toMatchObject({ config: { limits: { window: 7 } } })
    expect(read).toEqual(['/flag'])
  })

  test('the variables of other commands are ignored', () => {
    expect(good({ env: { ASFALEIA_SOCKS: 'off', ASFALEIA_STATE: 'x', PATH: '/bin', ASFALEIA: '1' } })).toEqual(good({}))
  })

  test('every setting can be given in the environment and in the file', () => {
    for (const key of SETTING_KEYS) {
      expect(bad({ env: { [variableOf(key)]: '' } })).toContainEqual(expect.objectContaining({ key, where: variableOf(key) }))
      if (key !== 'config') {
        const where = 'line 1 of the config file'
        expect(bad({ file: `${key} =` })).toContainEqual(expect.objectContaining({ key, where, problem: 'is empty' }))
      }
    }
  })
})

test('log-format auto means pretty on a terminal', () => {
  expect(good({ terminal: true }).log.format).toBe('pretty')
  expect(good({ terminal: true, argv: ['--log-format', 'json'] }).log.format).toBe('json')
})

test('fewer connections than the default shares lower those shares', () => {
  expect(good({ argv: ['--connections', '10'] })).toMatchObject({ connections: 10, unproven: 10, perCircuit: 10, perKey: 10 })
})

test('the result is deeply frozen', () => {
  const config = good({})
  for (const part of [config, config.limits, config.names, config.tcp, config.log, config.proxy]) expect(Object.isFrozen(part)).toBe(true)
})

describe('values at their bounds', () => {
  test('a share may be all connections, and no more', () => {
    expect(good({ argv: ['--connections', '10', '--unproven', '10'] })).toMatchObject({ connections: 10, unproven: 10 })
    expect(bad({ argv: ['--connections', '10', '--unproven', '11'] })).toMatchObject([{ key: 'unproven' }])
  })

  test('the login may be as short as its first packet', () => {
    expect(good({ argv: ['--first-packet', '5s', '--login', '5s'] }).limits).toMatchObject({ firstPacketSeconds: 5, loginSeconds: 5 })
    expect(bad({ argv: ['--first-packet', '6s', '--login', '5s'] })).toMatchObject([{ key: 'login' }])
  })

  test('the path of a socket has at most 107 bytes, whatever characters they are', () => {
    const paths = [`/${'x'.repeat(106)}`, `/${'ä'.repeat(53)}`]
    for (const path of paths) {
      expect(good({ argv: ['--unix', `unix:${path}`] }).unix).toEqual({ kind: 'unix', path })
      expect(bad({ argv: ['--unix', `unix:${path}x`] })).toMatchObject([{ problem: 'is longer than 107 bytes' }])
    }
  })

  test('tor listens at a port, not at any', () => {
    for (const key of ['--tor-control', '--probe']) expect(bad({ argv: [key, '127.0.0.1:0'] })).toMatchObject([{ problem: 'needs a port' }])
  })

  test('a door whose address is refused is not missing, too', () => {
    expect(bad({ argv: ['--tcp', 'nonsense', '--unix', 'off', '--http', 'off'] })).toMatchObject([
      { key: 'tcp', problem: 'is not an address' },
    ])
  })

  test('a config file may begin with a byte order mark', () => {
    expect(good({ file: '\uFEFFwindow = 3\n' }).limits.window).toBe(3)
  })
})

describe('listening addresses', () => {
  test.each([
    ['127.0.0.1:3308', { kind: 'tcp', host: '127.0.0.1', port: 3308 }],
    ['127.9.8.7:0', { kind: 'tcp', host: '127.9.8.7', port: 0 }],
    ['[::1]:65535', { kind: 'tcp', host: '::1', port: 65_535 }],
    ['localhost:1', { kind: 'tcp', host: '127.0.0.1', port: 1 }],
    ['unix:/run/a b.sock', { kind: 'unix', path: '/run/a b.sock' }],
    ['unix:relative.sock', { kind: 'unix', path: 'relative.sock' }],
    ['off', undefined],
  ])('%s is accepted', (text, address) => {
    expect(good({ argv: ['--tcp', text] }).tcp).toEqual(address)
  })

  test.each([
    ['0.0.0.0:3308', /local address/],
    ['[::]:3308', /local address/],
    ['192.168.1.1:3308', /local address/],
    ['12.0.0.1:3308', /local address/],
    ['126.0.0.1:3308', /local address/],
    ['128.0.0.1:3308', /local address/],
    ['[::ffff:127.0.0.1]:3308', /local address/],
    ['example.org:3308', /local address/],
    ['localhost.:3308', /local address/],
    ['::1:3308', /local address/],
    ['127.0.0.1.example.org:1', /local address/],
    ['127.1:3308', /local address/],
    ['*:3308', /local address/],
    ['3308', /not an address/],
    [':3308', /not an address/],
    ['127.0.0.1', /not an address/],
    ['127.0.0.1:', /not an address/],
    ['127.0.0.1:+1', /not an address/],
    ['127.0.0.1:65536', /port over 65535/],
    ['/run/x.sock', /not an address/],
    ['unix:', /not a path/],
    [`unix:/${'a'.repeat(107)}`, /longer than 107/],
    ['OFF', /not an address/],
  ])('%s is refused with a reason and a hint', (text, problem) => {
    expect(bad({ argv: ['--tcp', text] })).toEqual([
      { key: 'tcp', where: '--tcp', problem: expect.stringMatching(problem), hint: expect.stringMatching(/./) },
    ])
  })

  test('the hint explains why an address must be local', () => {
    expect(bad({ argv: ['--http', '0.0.0.0:80'] })[0]!.hint).toContain('the onion service is in front of it')
  })

  test.each([
    [['--http', 'localhost:3308'], 'http', 'is the same address as tcp'],
    [['--operator', '127.0.0.1:8080'], 'operator', 'is the same address as http'],
    [['--unix', '/a/../b', '--operator', 'unix:/b'], 'operator', 'is the same address as unix'],
  ])('%s is refused because two listeners share an address', (argv, key, problem) => {
    expect(bad({ argv })).toMatchObject([{ key, problem }])
  })

  test('two listeners may both have port 0', () => {
    expect(good({ argv: ['--tcp', '127.0.0.1:0', '--http', '127.0.0.1:0', '--operator', '127.0.0.1:0'] }).http).toMatchObject({ port: 0 })
  })

  test('at least one door must be open, and a proxied door must be open', () => {
    expect(bad({ argv: ['--tcp', 'off', '--http', 'off'] })).toMatchObject([{ key: 'tcp', problem: 'no door is open' }])
    expect(bad({ argv: ['--proxy', 'unix'] })).toMatchObject([
      { key: 'proxy', where: '--proxy', problem: expect.stringContaining('unix door') },
    ])
    expect(bad({ argv: ['--strangers', 'send'] })).toMatchObject([
      { key: 'strangers', where: '--strangers', problem: expect.stringContaining('--admit') },
    ])
  })
})

describe('quantities', () => {
  test.each([
    ['memory', ['1M', '64M', '1048576', '32G'], ['0', '1', '1023K', '33G', '1m', '1 M', '-1', '1.5G', '1MB', '0x10', '']],
    ['hold', ['1s', '30d', '24h'], ['0s', '31d', '7', '1w', 'd', '1D', '1e3s']],
    ['connections', ['1', '1000000'], ['0', '1000001', '1K', '١', '1,000']],
    ['payload', ['4K', '512K'], ['4095', '1M']],
  ] as const)('%s accepts values within its bounds and refuses others', (key, taken, refused) => {
    for (const text of taken) expect(good({ argv: [`--${key}=${text}`] })).toBeDefined()
    for (const text of refused) expect([text, bad({ argv: [`--${key}=${text}`] })]).toMatchObject([text, [{ key, where: `--${key}` }]])
  })

  test('a refusal gives the bounds in readable units', () => {
    expect(bad({ argv: ['--hold', '8w'] })[0]!.problem).toBe('is not a time from 1s to 30d')
    expect(bad({ argv: ['--memory', '1'] })[0]!.problem).toBe('is not a size from 1M to 32G')
    expect(bad({ argv: ['--window', '0'] })[0]!.problem).toBe('is not a whole number from 1 to 10000')
  })

  test('a share may not exceed the whole, nor the login limit undercut the limit of the first packet', () => {
    expect(bad({ argv: ['--connections', '5', '--unproven', '6'] })).toMatchObject([{ key: 'unproven' }])
    expect(bad({ argv: ['--connections', '5', '--per-circuit', '6'] })).toMatchObject([{ key: 'per-circuit' }])
    expect(bad({ argv: ['--connections', '5', '--per-key', '6'] })).toMatchObject([{ key: 'per-key' }])
    expect(bad({ argv: ['--login', '29s'] })).toMatchObject([{ key: 'login' }])
  })
})

describe('relay names', () => {
  test('a generated onion name is valid exactly if its version is 3', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 32, maxLength: 32 }), fc.integer({ min: 0, max: 255 }), (key, version) => {
        expect(isOnionName(onionOf(key, version))).toBe(version === 3)
      }),
    )
  })

  test('a change of any letter of an onion name is detected', () => {
    const name = onionOf(randomBytes(32), 3)
    for (let at = 0; at < 56; at++) {
      const letter = name[at] === 'a' ? 'b' : 'a'
      expect(isOnionName(name.slice(0, at) + letter + name.slice(at + 1))).toBe(false)
    }
  })

  test.each([
    ['example.org', 'is not a name of a relay'],
    ['127.0.0.1', 'is not a name of a relay'],
    ['facebookcorewwwi.onion', 'is not a v3 onion address'],
    [`www.${ONION}`, 'is not a v3 onion address'],
    [`${ONION}.`, 'is not a name of a relay'],
  ])('%s is refused', (name, problem) => {
    expect(bad({ argv: ['--name', name] })).toMatchObject([{ key: 'name', problem }])
  })
})

test('--moved-from must be an onion address, must not remain a name, and needs a new address', () => {
  expect(bad({ argv: ['--name', ONION, '--moved-from', 'localhost'] })).toMatchObject([
    { key: 'moved-from', problem: 'is not an onion address' },
  ])
  expect(bad({ argv: ['--moved-from', OLD] })).toMatchObject([{ key: 'moved-from', where: '--moved-from' }])
  expect(bad({ argv: ['--name', 'localhost', '--moved-from', OLD] })).toMatchObject([{ key: 'moved-from' }])
  expect(bad({ argv: ['--name', `${ONION},${OLD}`, '--moved-from', OLD] })).toMatchObject([{ key: 'moved-from' }])
  expect(good({ argv: ['--name-file', '/n', '--moved-from', OLD] }).movedFrom).toEqual([OLD])
})

describe('configuration problems', () => {
  test('are all reported at once with their places and without any value', () => {
    const file = 'window = secret1\nnonsense secret2\nsecret3 = 1\nwindow = 4\nconfig = x'
    const env = { ASFALEIA_MEMORY: 'secret4', ASFALEIA_ADMITS: 'secret5', ASFALEIA_secret6: 'x' }
    const argv = ['--tcp', 'secret7:1', '--secret8', '--Secret9=3', 'secret10', '--idle', '--hold', '--hold=secret11', '-s']
    const problems = bad({ file, env, argv })
    expect(problems.map(({ key, where }) => [key, where])).toEqual([
      ['argv', '--secret8'],
      ['argv', 'argument 4'],
      ['argv', 'argument 5'],
      ['idle', '--idle'],
      ['argv', '-s'],
      ['environment', 'ASFALEIA_ADMITS'],
      ['environment', 'ASFALEIA_…'],
      ['config', 'line 2 of the config file'],
      ['config', 'line 3 of the config file'],
      ['window', 'line 4 of the config file'],
      ['config', 'line 5 of the config file'],
      ['tcp', '--tcp'],
      ['memory', 'ASFALEIA_MEMORY'],
      ['hold', '--hold'],
      ['window', 'line 1 of the config file'],
    ])
    expect(problems.map(({ problem, hint }) => problem + hint).join()).not.toMatch(/secret/i)
    const told = new Map(problems.map(({ where, problem }) => [where, problem]))
    expect(told.get('line 2 of the config file')).toBe('is not `key = value`')
    expect(told.get('line 3 of the config file')).toMatch(/^unknown key/)
    for (const { problem, hint } of problems) {
      expect(problem).toMatch(/^[^\n]+$/)
      expect(hint).toMatch(/^[^\n]+$/)
    }
  })

  test('suggest the option, variable, key or value that was most likely meant', () => {
    const env = { ASFALEIA_ADMITS: 'x' }
    const argv = ['--tpc', '127.0.0.1:1', '--log-level', 'warning', '--zq=1']
    expect(bad({ file: 'windows = 4', env, argv }).map(({ problem, hint }) => `${problem} | ${hint}`)).toEqual([
      'unknown option; did you mean --tcp? | see `asfaleia relay --help`',
      'unknown option | see `asfaleia relay --help`',
      'unknown setting; did you mean ASFALEIA_ADMIT? | see `asfaleia relay --help`, or unset the variable',
      'unknown key; did you mean window? | the keys are the options without `--`; see `asfaleia relay --help`',
      'is not one of debug, info, warn, error | did you mean warn?',
    ])
  })

  test('include why the config file cannot be read', () => {
    expect(bad({ argv: ['--config', '/x'] })).toMatchObject([
      { key: 'config', where: '--config', problem: 'the file cannot be read (ENOENT)' },
    ])
  })

  test('include names of Object.prototype given as settings', () => {
    expect(bad({ argv: ['--constructor', 'x', 'y'] })).toMatchObject([{ where: '--constructor' }, { where: 'argument 3' }])
    expect(bad({ file: '__proto__ = 1\ntoString = 2' })).toHaveLength(2)
  })

  test('never repeat a given value, and no input makes parseConfig throw', () => {
    const marked = fc.string({ minLength: 1 }).map((text) => `zQ9${text}`)
    const key = fc.constantFrom(...SETTING_KEYS.filter((key) => key !== 'config'))
    fc.assert(
      fc.property(fc.array(fc.tuple(key, marked), { maxLength: 6 }), fc.array(marked, { maxLength: 3 }), marked, (flags, loose, file) => {
        const argv = [...flags.map(([key, text]) => `--${key}=${text}`), ...loose]
        const parsed = parse({ argv, file })
        if ('config' in parsed) return
        expect(parsed.problems.length).toBeGreaterThan(0)
        expect(JSON.stringify(parsed.problems)).not.toContain('zQ9')
      }),
    )
  })
})

test.each(SETTING_KEYS.filter((key) => SETTINGS[key].fallback !== undefined))(
  'the default of %s, given explicitly, changes nothing',
  (key) => {
    expect(good({ argv: [`--${key}`, SETTINGS[key].fallback!] })).toEqual(good({}))
  },
)

test('OTHER_VARIABLES lists exactly the other variables that the sources name', () => {
  const root = join(import.meta.dirname, '../../src')
  const named = globSync('**/*.ts', { cwd: root }).flatMap(
    (path) => readFileSync(join(root, path), 'utf8').match(/\bASFALEIA_[A-Z][A-Z_]*/g) ?? [],
  )
  const ours = SETTING_KEYS.map((key) => variableOf(key))
  expect([...new Set(named)].filter((name) => !ours.includes(name)).toSorted()).toEqual(OTHER_VARIABLES.toSorted())
})

function onionOf(key: Uint8Array, version: number): string {
  const end = Buffer.from([version])
  const sum = createHash('sha3-256').update('.onion checksum').update(key).update(end).digest()
  const bits = [...key, sum[0]!, sum[1]!, version].map((byte) => byte.toString(2).padStart(8, '0')).join('')
  return `${bits
    .match(/.{5}/g)!
    .map((five) => 'abcdefghijklmnopqrstuvwxyz234567'[Number.parseInt(five, 2)])
    .join('')}.onion`
}
