/**
 * The table of settings: the schema of flags, environment variables and config file, and the source of `--help`.
 * docs/operations.md lists the same.
 */
import { DOORS } from '../relay/counters.ts'
import {
  choice,
  count,
  DAY,
  duration,
  HOUR,
  K,
  MINUTE,
  type Parse,
  parseAddress,
  parseName,
  parseOnion,
  parsePath,
  parsePeer,
  parseSocketPath,
  SECOND,
  size,
} from './value.ts'

/** The checks before a start (src/cli/relay/checks.ts). */
export const CHECK_NAMES = [
  'swap',
  'core-dumps',
  'root',
  'working-directory',
  'node-options',
  'confinement',
  'read-buffer',
  'memory-limit',
  'descriptors',
] as const
export type CheckName = (typeof CHECK_NAMES)[number]

/** What keys may do that are not on the list of admitted keys. */
const STRANGERS = ['off', 'send'] as const

/** How the relay offers the web page. */
export const PAGE_MODES = ['off', 'download', 'run'] as const
export type PageMode = (typeof PAGE_MODES)[number]

export const LOG_LEVELS = ['debug', 'info', 'warn', 'error'] as const
export type LogLevel = (typeof LOG_LEVELS)[number]
export type LogFormat = 'json' | 'pretty'

export interface Setting<T = unknown> {
  /** The placeholder of the value in `--help`. */
  readonly value: string
  /** The default, as a person would write it; undefined if there is no default. */
  readonly fallback: string | undefined
  /** A description of one line. */
  readonly about: string
  /** The range of a quantity, such as `1M to 32G`. */
  readonly takes?: string
  /** The setting takes several values, repeated or separated by commas. */
  readonly list?: true
  /** @throws Refused */
  readonly parse: (text: string) => T
}

function one<T>(value: string, fallback: string | undefined, about: string, parse: Parse<T>, takes?: string): Setting<T> {
  return { value, fallback, about, parse, ...(takes === undefined ? {} : { takes }) }
}

function several<T>(value: string, about: string, parse: Parse<T>): Setting<T> & { readonly list: true } {
  return { value, fallback: undefined, about, parse, list: true }
}

/** Each key is the name of the flag and the key in the file; in upper case with `_`, it is the variable `ASFALEIA_…`. */
export const SETTINGS = {
  config: one('FILE', undefined, 'file of `key = value` lines; `#` begins a comment line', parsePath),

  tcp: one('ADDRESS', '127.0.0.1:3308', 'raw door on TCP', parseAddress),
  unix: one('PATH', 'off', 'raw door on a unix socket, mode 0660', parseSocketPath),
  http: one('ADDRESS', '127.0.0.1:8080', 'public page and WebSocket', parseAddress),
  page: one(
    'MODE',
    'download',
    'the web page: `off`, as a file to `download`, or also to `run` in this origin, where its users must trust this relay',
    choice(PAGE_MODES),
  ),
  operator: one('ADDRESS', '127.0.0.1:9090', 'readiness, metrics and status; never put it behind the onion service', parseAddress),
  handover: one('PATH', 'off', 'unix socket, mode 0600: a relay that starts with the same path takes over everything', parseSocketPath),
  'handover-secret': one(
    'FILE',
    undefined,
    '32 bytes in base64 that both relays must know; without it, only the folder of the socket protects the handover',
    parsePath,
  ),
  proxy: several('DOORS', 'doors whose connections begin with a PROXY v1 line (`HiddenServiceExportCircuitID haproxy`)', choice(DOORS)),

  name: several(
    'NAMES',
    'names of the relay, its own `….onion` or `localhost`; the first is for clients that send no name in HELLO',
    parseName,
  ),
  'name-file': one(
    'FILE',
    undefined,
    "tor's `hostname` file, which may appear late or change; further lines are addresses that the relay is leaving",
    parsePath,
  ),
  'moved-from': several(
    'NAMES',
    'onion addresses that the relay is leaving: clients that dial one get the new one (`98;moved`)',
    parseOnion,
  ),
  'tor-control': one('ADDRESS', 'off', "tor's control port or socket, for the progress of tor; cookie authentication", parsePeer),
  'tor-file': one(
    'FILE',
    undefined,
    'file in which another program reports the progress of tor; without effect beside --tor-control',
    parsePath,
  ),
  probe: one(
    'ADDRESS',
    'off',
    "tor's SOCKS port or socket: the relay tries to reach itself through Tor, at port 3308 of its address",
    parsePeer,
  ),
  'probe-file': one('FILE', undefined, 'file in which another program reports whether the relay can be reached through Tor', parsePath),
  'probe-every': one(
    'TIME',
    '5m',
    'time between two tries; after a failure, a fifth of it',
    ...duration(SECOND, DAY, 'each try is a circuit through Tor'),
  ),
  admit: one(
    'FILE',
    undefined,
    "only keys in this file may log in; its lines are like those of sshd's authorized_keys, and the relay follows its changes",
    parsePath,
  ),
  strangers: one(
    'MODE',
    'off',
    'whether keys that are not in the file of `admit` may `send` to those in it, or not: `off`',
    choice(STRANGERS),
  ),

  // Positions in the arena are uint32 of eight bytes: 32 GiB.
  memory: one(
    'SIZE',
    '256M',
    'memory for messages; when it is full, the relay refuses SEND',
    ...size(K * K, 32 * K ** 3, 'less serves no load, and more cannot be addressed'),
  ),
  connections: one(
    'COUNT',
    '10000',
    'connections open at the same time',
    ...count(1, 1_000_000, 'each costs a file descriptor and some memory'),
  ),
  unproven: one(
    'COUNT',
    '2000',
    'open connections that have proved no key yet; at most `connections`',
    ...count(1, 1_000_000, 'each may cost a login'),
  ),
  'per-sender': one(
    'SIZE',
    '64M',
    'payload that one key, and one circuit, may send at once; refills over an hour',
    ...size(512 * K, 32 * K ** 3, 'one message must fit, and one sender must not use all memory'),
  ),
  'per-circuit': one(
    'COUNT',
    '64',
    'connections of one circuit, if `proxy` tells circuits apart; at most `connections`',
    ...count(1, 1_000_000, 'one circuit is one client'),
  ),
  'per-key': one(
    'COUNT',
    '16',
    'connections of one key; a newer one ends the oldest; at most `connections`',
    ...count(1, 1_000_000, 'one key is one person'),
  ),

  // A payload must fit one slab of the arena, and a login line must be shorter than the longest other line.
  payload: one(
    'SIZE',
    '32K',
    'characters of one payload',
    ...size(4 * K, 512 * K, 'less has no room for an age file, and more does not fit a slab of memory'),
  ),
  'mailbox-messages': one('COUNT', '128', 'messages in one mailbox', ...count(1, 100_000, 'one mailbox must not use all memory')),
  hold: one('TIME', '7d', 'how long the relay holds a message', ...duration(SECOND, 30 * DAY, 'a process rarely lives longer')),
  window: one('COUNT', '64', 'unacknowledged messages under SUBSCRIBE', ...count(1, 10_000, 'each takes a lease')),
  token: one(
    'TIME',
    '1h',
    'lifetime of a token',
    ...duration(MINUTE, DAY, 'a shorter one makes clients log in all the time, and a longer one makes a stolen token worth more'),
  ),
  'first-packet': one(
    'TIME',
    '30s',
    'time until the first packet',
    ...duration(SECOND, HOUR, 'a silent connection occupies the place of another'),
  ),
  login: one(
    'TIME',
    '2m',
    'time until a key is proved; at least `first-packet`',
    ...duration(SECOND, HOUR, 'a user may have to touch a security key'),
  ),
  idle: one('TIME', '15m', 'time without a byte from the peer', ...duration(SECOND, DAY, 'clients send PING before it ends')),

  strict: one('MODE', 'off', '`on`: do not start if a check of `asfaleia doctor` fails; `off`: warn', choice(['on', 'off'] as const)),
  'allow-unsafe': several('CHECKS', 'checks that may fail, by name; `confinement` also leaves the process unconfined', choice(CHECK_NAMES)),
  'log-level': one('LEVEL', 'info', '`debug`, `info`, `warn` or `error`', choice(LOG_LEVELS)),
  'log-format': one('FORMAT', 'auto', '`json`, `pretty`, or `auto`: pretty on a terminal', choice(['auto', 'json', 'pretty'] as const)),
} as const satisfies Record<string, Setting>

export type SettingKey = keyof typeof SETTINGS
type One<K extends SettingKey> = ReturnType<(typeof SETTINGS)[K]['parse']>
export type Value<K extends SettingKey> = (typeof SETTINGS)[K] extends { readonly list: true } ? One<K>[] : One<K> | undefined

export const SETTING_KEYS = Object.freeze(Object.keys(SETTINGS)) as readonly SettingKey[]

/** Variables of other commands. Any further `ASFALEIA_…` must be a misspelt setting, and is an error. */
export const OTHER_VARIABLES: readonly string[] = Object.freeze([
  'ASFALEIA_HOME',
  'ASFALEIA_CLIENT_STATE',
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

export function isKey(name: string): name is SettingKey {
  return Object.hasOwn(SETTINGS, name)
}
