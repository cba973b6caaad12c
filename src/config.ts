/**
 * The relay's configuration: one table is the schema of flags, environment, file, `--help` and
 * docs/operations.md. A pure function of its inputs; every problem is reported at once, and none of
 * them repeats a value. Fails closed: what it does not know or cannot read is a problem, never ignored.
 */
import { isIPv4 } from 'node:net'
import { normalize } from 'node:path'
import { parseArgs } from 'node:util'
import { DEFAULT_LIMITS, type Limits } from './protocol/limits.ts'
import { DOORS, type Door } from './relay/counters.ts'
import { isOnion } from './transport/address.ts'

export type Address =
  | { readonly kind: 'tcp'; readonly host: string; readonly port: number }
  | { readonly kind: 'unix'; readonly path: string }

export interface Config {
  /** Raw TCP door; loopback only. */
  readonly tcp: Address | undefined
  /** Raw door on a unix socket, mode 0660. */
  readonly unix: Address | undefined
  /** Public HTTP listener: the page and the WebSocket. Loopback or unix. */
  readonly http: Address | undefined
  /** The operator's listener. Loopback or unix; never behind the onion. */
  readonly operator: Address | undefined
  /** Unix socket at which the next relay takes over, and where this one took over from the last. */
  readonly handover: (Address & { readonly kind: 'unix' }) | undefined
  /** File of the secret that both prove there. */
  readonly handoverSecret: string | undefined
  /** Doors whose connections begin with a PROXY v1 line. */
  readonly proxy: readonly Door[]
  /** Names the relay is reached by, the first one counts without HELLO. */
  readonly names: readonly string[]
  /** Tor's `hostname` file of the onion service: read until it is there, then a name. */
  readonly nameFile: string | undefined
  /** Onion addresses that the relay is reached by still, and is leaving for its first other one. */
  readonly movedFrom: readonly string[]
  /** Tor's SOCKS port, through which the relay tries to reach itself, and how often. */
  readonly probe: Address | undefined
  readonly probeFile: string | undefined
  readonly probeSeconds: number
  /** Tor's control port, asked for its bootstrap state. */
  readonly torControl: Address | undefined
  /** authorized_keys file of the keys that may log in; undefined: any. */
  readonly admit: string | undefined
  /** Bytes of memory for messages. */
  readonly memory: number
  /** Connections at once, and those of them that proved no key yet, and those of one circuit. */
  readonly connections: number
  readonly unproven: number
  readonly perCircuit: number
  /** Bytes of payload that one key, and one circuit, may send at once; they come back over an hour. */
  readonly perSender: number
  readonly limits: Limits
  /** Whether a failed check keeps the relay from starting, and the checks that may fail. */
  readonly strict: boolean
  readonly allowUnsafe: readonly CheckName[]
  readonly log: { readonly level: LogLevel; readonly format: LogFormat }
}

/** The checks before a start, src/cli/checks.ts. */
export const CHECK_NAMES = ['swap', 'core-dumps', 'root', 'working-directory', 'node-options', 'confinement', 'read-buffer'] as const
export type CheckName = (typeof CHECK_NAMES)[number]

export const LOG_LEVELS = ['debug', 'info', 'warn', 'error'] as const
export type LogLevel = (typeof LOG_LEVELS)[number]
export type LogFormat = 'json' | 'pretty'

/** One thing that is wrong, in our own words: neither text repeats a value that was given. */
export interface Problem {
  /** The setting's key in the table below. */
  readonly key: string
  readonly problem: string
  readonly hint: string
  /** Where it stands, as its writer knows it: `--tcp`, `ASFALEIA_TCP`, `line 3 of the config file`. */
  readonly where?: string
}

/** The operator erred: every problem at once. */
export class ConfigError extends Error {
  readonly problems: readonly Problem[]

  constructor(problems: readonly Problem[]) {
    super('the configuration cannot be used')
    this.name = 'ConfigError'
    this.problems = problems
  }
}

/** A value that its setting does not take; caught in `parseConfig` alone. */
class Refused extends Error {
  readonly hint: string

  constructor(problem: string, hint: string) {
    super(problem)
    this.hint = hint
  }
}

export interface Setting<T = unknown> {
  /** What stands for the value in `--help`. */
  readonly value: string
  /** The default as a person would write it; undefined: none. */
  readonly fallback: string | undefined
  /** What it is, one line. */
  readonly about: string
  /** The bounds of a quantity, `1M to 32G`. */
  readonly takes?: string
  /** Several values: given again, or separated by commas. */
  readonly list?: true
  /** @throws Refused */
  readonly parse: (text: string) => T
}

type Parse<T> = (text: string) => T

function one<T>(value: string, fallback: string | undefined, about: string, parse: Parse<T>, takes?: string): Setting<T> {
  return { value, fallback, about, parse, ...(takes === undefined ? {} : { takes }) }
}

function several<T>(value: string, about: string, parse: Parse<T>): Setting<T> & { readonly list: true } {
  return { value, fallback: undefined, about, parse, list: true }
}

const K = 1_024
const SECOND = 1
const MINUTE = 60
const HOUR = 60 * MINUTE
const DAY = 24 * HOUR

/** A key is the flag's name, the file's key and, in upper case with `_`, the environment's `ASFALEIA_…`. */
export const SETTINGS = {
  config: one('FILE', undefined, 'file of `key = value` lines, `#` begins a comment line', parsePath),

  tcp: one('ADDRESS', '127.0.0.1:3308', 'raw door', parseAddress),
  unix: one('PATH', 'off', 'raw door on a unix socket, mode 0660', parseSocketPath),
  http: one('ADDRESS', '127.0.0.1:8080', 'public page and WebSocket', parseAddress),
  operator: one('ADDRESS', '127.0.0.1:9090', 'readiness, metrics and status; never put it behind the onion service', parseAddress),
  handover: one('PATH', 'off', 'unix socket, mode 0600: a relay that is started with the same path takes everything over', parseSocketPath),
  'handover-secret': one('FILE', undefined, 'both prove that they have the 32 bytes in it, in base64; else the folder of the socket has to do', parsePath),
  proxy: several('DOORS', 'doors whose connections begin with a PROXY v1 line (`HiddenServiceExportCircuitID haproxy`)', choice(DOORS)),

  name: several('NAMES', 'names that the relay is reached by, its own `….onion` or `localhost`; the first counts without HELLO', parseName),
  'name-file': one('FILE', undefined, "tor's `hostname` file, read again and again, for it may come late or change; more lines are addresses that are being left", parsePath),
  'moved-from': several('NAMES', 'onion addresses that are being left: who dials one is told the new one (`98;moved`)', parseOnion),
  'tor-control': one('ADDRESS', 'off', "tor's control port or socket, asked how far tor is; cookie authentication", parsePeer),
  probe: one('ADDRESS', 'off', "tor's SOCKS port or socket: the relay tries to reach itself through Tor, at port 3308 of its address", parsePeer),
  'probe-file': one('FILE', undefined, 'what another program writes that tries in its stead: whether the relay can be reached through Tor', parsePath),
  'probe-every': one('TIME', '5m', 'how often; after a failure five times as often', ...duration(SECOND, DAY, 'each try is a circuit through Tor')),
  admit: one('FILE', undefined, 'only keys of this file may log in, one `type base64 [comment]` a line; SIGHUP reads it again', parsePath),

  // Positions in the arena are uint32 of eight bytes: 32 GiB.
  memory: one('SIZE', '256M', 'memory for messages; when it is full, SEND is refused', ...size(K * K, 32 * K ** 3, 'less holds no load, more cannot be addressed')),
  connections: one('COUNT', '10000', 'connections at once', ...count(1, 1_000_000, 'each costs a file descriptor and some memory')),
  unproven: one('COUNT', '2000', 'connections that proved no key yet; at most `connections`', ...count(1, 1_000_000, 'each may cost a login')),
  'per-sender': one('SIZE', '64M', 'payload that one key, and one circuit, may send at once; comes back over an hour', ...size(512 * K, 32 * K ** 3, 'a message must pass, and one sender must not take all memory')),
  'per-circuit': one('COUNT', '64', 'connections of one circuit, where `proxy` tells circuits apart; at most `connections`', ...count(1, 1_000_000, 'one circuit is one client')),

  // A payload lies in one slab of the arena, and a login line has to be shorter than the longest other.
  payload: one('SIZE', '32K', 'characters of one payload', ...size(4 * K, 512 * K, 'less holds no age file worth sending, more does not fit a slab of memory')),
  'mailbox-messages': one('COUNT', '128', 'messages waiting in one mailbox', ...count(1, 100_000, 'one mailbox must not take all memory')),
  hold: one('TIME', '7d', 'how long a message is held', ...duration(SECOND, 30 * DAY, 'memory does not last longer')),
  window: one('COUNT', '64', 'messages under SUBSCRIBE that are not acknowledged yet', ...count(1, 10_000, 'each is leased')),
  token: one('TIME', '1h', 'how long a token is good', ...duration(MINUTE, DAY, 'shorter makes clients log in all the time, longer makes a stolen token worth more')),
  'first-packet': one('TIME', '30s', 'until the first packet', ...duration(SECOND, HOUR, 'a silent connection takes the place of another')),
  login: one('TIME', '2m', 'until a key is proven; at least `first-packet`', ...duration(SECOND, HOUR, 'somebody may have to touch a security key')),
  idle: one('TIME', '15m', 'without a byte from the peer', ...duration(SECOND, DAY, 'clients send PING before it')),

  strict: one('MODE', 'off', '`on`: do not start where a check of `asfaleia doctor` fails; `off`: warn', choice(['on', 'off'] as const)),
  'allow-unsafe': several('CHECKS', 'checks that may fail, by name; `confinement` also leaves the process as it is', choice(CHECK_NAMES)),
  'log-level': one('LEVEL', 'info', '`debug`, `info`, `warn` or `error`', choice(LOG_LEVELS)),
  'log-format': one('FORMAT', 'auto', '`json`, `pretty`, or `auto`: pretty on a terminal', choice(['auto', 'json', 'pretty'] as const)),
} as const satisfies Record<string, Setting>

export type SettingKey = keyof typeof SETTINGS
type One<K extends SettingKey> = ReturnType<(typeof SETTINGS)[K]['parse']>
type Value<K extends SettingKey> = (typeof SETTINGS)[K] extends { readonly list: true } ? One<K>[] : One<K> | undefined

export const SETTING_KEYS = Object.freeze(Object.keys(SETTINGS)) as readonly SettingKey[]

/** Variables that are ours but other commands'; any further `ASFALEIA_…` is a misspelt setting, and not ignored. */
export const OTHER_VARIABLES: readonly string[] = Object.freeze([
  'ASFALEIA_HOME',
  'ASFALEIA_SOCKS',
  'ASFALEIA_STATE',
  'ASFALEIA_TIED',
  'ASFALEIA_SERVICE',
  'ASFALEIA_APPLIANCE',
  'ASFALEIA_TORRC_EXTRA',
  'ASFALEIA_PASSPHRASE_FILE',
])

export function variableOf(key: SettingKey): string {
  return `ASFALEIA_${key.toUpperCase().replaceAll('-', '_')}`
}

/** What was given for a setting by one source; the values still as text. */
interface Given {
  readonly texts: string[]
  readonly where: string
}

type Source = Map<SettingKey, Given>

export interface ConfigInput {
  readonly env: Readonly<Record<string, string | undefined>>
  readonly argv: readonly string[]
  /** Gives a file's text. @throws NodeJS.ErrnoException */
  readonly readFile: (path: string) => string
  /** Whether the log goes to a terminal: `log-format auto`. */
  readonly terminal?: boolean
}

/**
 * Flags before environment before file before defaults; a list is taken from one of them, whole.
 * @returns a frozen configuration, or every problem that there is
 */
export function parseConfig(input: ConfigInput): { readonly config: Config } | { readonly problems: readonly Problem[] } {
  const problems: Problem[] = []
  const flags = readFlags(input.argv, problems)
  const env = readEnvironment(input.env, problems)
  const file = readConfigFile(flags.get('config') ?? env.get('config'), input.readFile, problems)
  const given = (key: SettingKey): Given | undefined => flags.get(key) ?? env.get(key) ?? file.get(key)
  const where = (key: SettingKey): { key: string; where?: string } => {
    const at = given(key)?.where
    return at === undefined ? { key } : { key, where: at }
  }

  const read = <K extends SettingKey>(key: K): Value<K> => {
    const row: Setting = SETTINGS[key]
    const texts = given(key)?.texts ?? (row.fallback === undefined ? [] : [row.fallback])
    const pieces = row.list ? texts.flatMap((text) => text.split(',')).map((text) => text.trim()) : texts
    const values: unknown[] = []
    for (const text of pieces) {
      try {
        if (text === '') throw new Refused('is empty', 'leave it out for its default')
        values.push(row.parse(text))
      } catch (error) {
        if (!(error instanceof Refused)) throw error
        problems.push({ ...where(key), problem: error.message, hint: error.hint })
      }
    }
    return (row.list ? [...new Set(values)] : values[0]) as Value<K>
  }
  // Where a value was refused there is a problem already, and zero is never seen.
  const number = (key: 'memory' | 'connections' | 'unproven' | 'per-circuit' | 'per-sender' | 'probe-every' | LimitKey): number => read(key) ?? 0

  const connections = number('connections')
  const share = (key: 'unproven' | 'per-circuit'): number => {
    const value = number(key)
    if (value > connections && connections > 0 && given(key) !== undefined) {
      problems.push({ ...where(key), problem: 'is more than all connections', hint: 'raise `connections`, or lower this' })
    }
    return Math.min(value, connections)
  }
  const format = read('log-format')
  read('config')
  const config: Config = {
    tcp: read('tcp'),
    unix: read('unix'),
    http: read('http'),
    operator: read('operator'),
    handover: read('handover'),
    handoverSecret: read('handover-secret'),
    proxy: read('proxy'),
    names: read('name'),
    nameFile: read('name-file'),
    movedFrom: read('moved-from'),
    torControl: read('tor-control'),
    probe: read('probe'),
    probeFile: read('probe-file'),
    probeSeconds: number('probe-every'),
    admit: read('admit'),
    memory: number('memory'),
    connections,
    unproven: share('unproven'),
    perCircuit: share('per-circuit'),
    perSender: number('per-sender'),
    limits: {
      ...DEFAULT_LIMITS,
      payload: number('payload'),
      mailboxMessages: number('mailbox-messages'),
      holdSeconds: number('hold'),
      window: number('window'),
      tokenSeconds: number('token'),
      firstPacketSeconds: number('first-packet'),
      loginSeconds: number('login'),
      idleSeconds: number('idle'),
    },
    strict: read('strict') === 'on',
    allowUnsafe: read('allow-unsafe'),
    log: {
      level: read('log-level') ?? 'info',
      format: format === 'pretty' || (format === 'auto' && input.terminal === true) ? 'pretty' : 'json',
    },
  }
  checkTogether(config, problems, where)
  return problems.length > 0 ? { problems } : { config: freeze(config) }
}

type LimitKey = 'payload' | 'mailbox-messages' | 'hold' | 'window' | 'token' | 'first-packet' | 'login' | 'idle'

/** What no value is wrong in by itself. Skipped where a value is missing already. */
function checkTogether(
  config: Config,
  problems: Problem[],
  where: (key: SettingKey) => { key: string; where?: string },
): void {
  const sound = problems.length === 0
  if (sound && DOORS.every((door) => config[door] === undefined)) {
    problems.push({ key: 'tcp', problem: 'no door is open', hint: 'give --tcp, --unix or --http an address' })
  }
  const taken = new Map<string, SettingKey>()
  for (const key of [...DOORS, 'operator', 'handover'] as const) {
    const address = config[key]
    if (address === undefined || (address.kind === 'tcp' && address.port === 0)) continue
    const place = address.kind === 'tcp' ? `${address.host}:${address.port}` : normalize(address.path)
    const first = taken.get(place)
    if (first === undefined) taken.set(place, key)
    else problems.push({ ...where(key), problem: `is the same address as ${first}`, hint: 'give each a port or path of its own' })
  }
  for (const door of config.proxy) {
    if (!sound || config[door] !== undefined) continue
    problems.push({ ...where('proxy'), problem: `names the ${door} door, which is not open`, hint: `give --${door} an address, or leave it out here` })
  }
  if (sound && config.handoverSecret !== undefined && config.handover === undefined) {
    problems.push({ ...where('handover-secret'), problem: 'is of no use without a path', hint: 'give --handover PATH' })
  }
  if (config.movedFrom.length > 0 && config.nameFile === undefined && !config.names.some((name) => name.endsWith('.onion'))) {
    problems.push({ ...where('moved-from'), problem: 'says what is left, and nothing says for what', hint: 'give the new address: --name-file or --name' })
  }
  if (config.movedFrom.some((name) => config.names.includes(name))) {
    problems.push({ ...where('moved-from'), problem: 'names an address that --name names, too', hint: 'leave it out of --name: it stays a name of the relay' })
  }
  const { firstPacketSeconds, loginSeconds } = config.limits
  if (loginSeconds > 0 && loginSeconds < firstPacketSeconds) {
    problems.push({ ...where('login'), problem: 'is less than first-packet', hint: 'the first packet is part of the login' })
  }
}

function readFlags(argv: readonly string[], problems: Problem[]): Source {
  const source: Source = new Map()
  const options = Object.fromEntries(SETTING_KEYS.map((key) => [key, { type: 'string', multiple: true } as const]))
  const { tokens } = parseArgs({ args: [...argv], options, strict: false, allowPositionals: true, tokens: true })
  const hint = 'see `asfaleia relay --help`'
  // What follows an unknown flag is most likely its value, and no problem of its own.
  let skipped = -1
  for (const token of tokens) {
    switch (token.kind) {
      case 'option': {
        if (!isKey(token.name)) {
          const where = /^--?[a-z][a-z0-9-]{0,30}$/.test(token.rawName) ? token.rawName : `argument ${token.index + 1}`
          problems.push({ key: 'argv', where, problem: 'there is no such flag', hint })
          if (token.value === undefined) skipped = token.index + 1
        } else if (token.value === undefined || (token.value.startsWith('-') && token.inlineValue === false)) {
          problems.push({ key: token.name, where: token.rawName, problem: 'has no value', hint })
        } else {
          add(source, token.name, token.value, `--${token.name}`, problems)
        }
        break
      }
      case 'positional':
        if (token.index === skipped) break
        problems.push({ key: 'argv', where: `argument ${token.index + 1}`, problem: 'is no flag', hint })
        break
      case 'option-terminator':
        break
    }
  }
  return source
}

function readEnvironment(env: ConfigInput['env'], problems: Problem[]): Source {
  const source: Source = new Map()
  const keys = new Map(SETTING_KEYS.map((key) => [variableOf(key), key]))
  for (const [variable, value] of Object.entries(env)) {
    if (value === undefined || !variable.startsWith('ASFALEIA_') || OTHER_VARIABLES.includes(variable)) continue
    const key = keys.get(variable)
    if (key !== undefined) {
      add(source, key, value, variable, problems)
      continue
    }
    const where = /^[A-Z0-9_]{1,40}$/.test(variable) ? variable : 'ASFALEIA_…'
    problems.push({ key: 'environment', where, problem: 'there is no such setting', hint: 'see `asfaleia relay --help`, or unset it' })
  }
  return source
}

/**
 * `key = value`, not JSON: one spelling of values for all three sources, and comments, which JSON
 * lacks and which a file that an operator keeps for years needs.
 */
function readConfigFile(named: Given | undefined, readFile: ConfigInput['readFile'], problems: Problem[]): Source {
  const source: Source = new Map()
  const path = named?.texts[0]
  if (named === undefined || path === undefined || path === '') return source
  let text: string
  try {
    text = readFile(path)
  } catch (error) {
    const problem = `the file cannot be read (${codeOf(error)})`
    problems.push({ key: 'config', where: named.where, problem, hint: 'check that it is there and may be read by this user' })
    return source
  }
  for (const [index, raw] of text.replace(/^\uFEFF/, '').split('\n').entries()) {
    const line = raw.trim()
    if (line === '' || line.startsWith('#')) continue
    const where = `line ${index + 1} of the config file`
    const equals = line.indexOf('=')
    const key = line.slice(0, Math.max(equals, 0)).trim()
    if (equals === -1) {
      problems.push({ key: 'config', where, problem: 'is not `key = value`', hint: '`#` begins a comment line' })
    } else if (key === 'config' || !isKey(key)) {
      problems.push({ key: 'config', where, problem: 'there is no such key', hint: 'keys are the flags without `--`; see `asfaleia relay --help`' })
    } else {
      add(source, key, line.slice(equals + 1).trim(), where, problems)
    }
  }
  return source
}

function add(source: Source, key: SettingKey, text: string, where: string, problems: Problem[]): void {
  const there = source.get(key)
  const row: Setting = SETTINGS[key]
  if (there === undefined) source.set(key, { texts: [text], where })
  else if (row.list) there.texts.push(text)
  else problems.push({ key, where, problem: 'is given twice', hint: 'keep one of them' })
}

function isKey(name: string): name is SettingKey {
  return Object.hasOwn(SETTINGS, name)
}

function codeOf(error: unknown): string {
  const code = error instanceof Error && 'code' in error ? String(error.code) : ''
  return /^E[A-Z]{2,15}$/.test(code) ? code : 'unknown reason'
}

// Values.

const LOCAL_ONLY = 'the relay listens on 127.0.0.1, [::1] or a unix socket only: the onion service stands in front of it'
/** sockaddr_un of Linux holds 108 bytes, the last of them NUL. */
const SOCKET_PATH_BYTES = 107

/** `127.0.0.1:3308` (all of 127.0.0.0/8), `[::1]:3308`, `localhost:3308`, `unix:/path` or `off`; never resolved. */
export function parseAddress(text: string): Address | undefined {
  if (text === 'off') return undefined
  if (text.startsWith('unix:')) return parseSocketPath(text)
  if (text.startsWith('/')) throw new Refused('is not an address', 'a unix socket is written unix:/path')
  const [, host, digits] = /^(.*):(\d{1,5})$/.exec(text) ?? []
  if (host === undefined || digits === undefined || host === '') {
    throw new Refused('is not an address', 'write HOST:PORT such as 127.0.0.1:3308, unix:/path, or off')
  }
  const port = Number(digits)
  if (port > 65_535) throw new Refused('has no such port', 'ports end at 65535; 0 takes any that is free')
  if (host === 'localhost') return { kind: 'tcp', host: '127.0.0.1', port }
  if (host === '[::1]') return { kind: 'tcp', host: '::1', port }
  if (isIPv4(host) && host.startsWith('127.')) return { kind: 'tcp', host, port }
  throw new Refused('is not an address of this machine alone', LOCAL_ONLY)
}

function parseSocketPath(text: string): (Address & { readonly kind: 'unix' }) | undefined {
  if (text === 'off') return undefined
  const path = text.startsWith('unix:') ? text.slice('unix:'.length) : text
  if (path === '' || path.includes('\0')) throw new Refused('is not a path', 'write a path such as /run/asfaleia/relay.sock')
  if (Buffer.byteLength(path) > SOCKET_PATH_BYTES) {
    throw new Refused(`is longer than ${SOCKET_PATH_BYTES} bytes`, 'the system takes no longer path for a socket')
  }
  return { kind: 'unix', path }
}

/** Where tor listens, and not we. */
function parsePeer(text: string): Address | undefined {
  const address = parseAddress(text)
  if (address?.kind === 'tcp' && address.port === 0) throw new Refused('has no port', 'tor says it in its torrc: ControlPort, SocksPort')
  return address
}

function parsePath(text: string): string {
  if (text.includes('\0')) throw new Refused('is not a path', 'a path holds no NUL')
  return text
}

function parseOnion(text: string): string {
  const name = parseName(text)
  if (name === 'localhost') throw new Refused('is not an onion address', 'give the `….onion` that is being left')
  return name
}

function parseName(text: string): string {
  const name = text.toLowerCase()
  if (name === 'localhost' || isOnionName(name)) return name
  if (!name.endsWith('.onion')) throw new Refused('is not a name of a relay', 'names are the `….onion` of the service, or localhost')
  throw new Refused('is not a v3 onion address', "its checksum does not hold; copy it from tor's hostname file")
}

/** Whether it is a v3 onion address as tor writes it: in lower case, its checksum and version right, nothing before it. */
export function isOnionName(name: string): boolean {
  return /^[a-z2-7]{56}\.onion$/.test(name) && isOnion(name)
}

function choice<T extends string>(values: readonly T[]): Parse<T> {
  return (text) => {
    const value = values.find((each) => each === text)
    if (value === undefined) throw new Refused('is none of its values', `one of ${values.join(', ')}`)
    return value
  }
}

type Quantity = readonly [parse: Parse<number>, takes: string]

function count(least: number, most: number, why: string): Quantity {
  return quantity('a whole number', { '': 1 }, least, most, why)
}

/** Bytes; `K`, `M` and `G` are powers of 1024. */
function size(least: number, most: number, why: string): Quantity {
  return quantity('a size', { '': 1, K, M: K ** 2, G: K ** 3 }, least, most, why)
}

/** Seconds; a unit has to stand there, since a bare number could mean anything. */
function duration(least: number, most: number, why: string): Quantity {
  return quantity('a time', { s: SECOND, m: MINUTE, h: HOUR, d: DAY }, least, most, why)
}

function quantity(what: string, units: Record<string, number>, least: number, most: number, why: string): Quantity {
  const takes = `${spell(least, units)} to ${spell(most, units)}`
  const parse = (text: string): number => {
    const [, digits = '', unit = ''] = /^(\d{1,15})([A-Za-z]?)$/.exec(text) ?? []
    const factor = Object.hasOwn(units, unit) ? units[unit]! : Number.NaN
    const value = digits === '' ? Number.NaN : Number(digits) * factor
    if (value >= least && value <= most) return value
    throw new Refused(`is not ${what} from ${takes}`, why)
  }
  return [parse, takes]
}

/** The quantity with the largest unit that divides it. */
function spell(value: number, units: Record<string, number>): string {
  const [unit, factor] = Object.entries(units).findLast(([, factor]) => value % factor === 0) ?? ['', 1]
  return `${value / factor}${unit}`
}

function freeze<T extends object>(value: T): Readonly<T> {
  for (const part of Object.values(value)) if (typeof part === 'object' && part !== null) freeze(part)
  return Object.freeze(value)
}
