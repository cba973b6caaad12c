/**
 * Builds the relay's configuration from its sources (source.ts) by the table of settings (setting.ts). Pure. Reports
 * every problem at once, and repeats no value. Fails closed: an unknown setting or an unreadable value is a problem.
 */
import { normalize } from 'node:path'
import { DEFAULT_LIMITS, type Limits } from '../protocol/limits.ts'
import { DOORS, type Door } from '../relay/counters.ts'
import type { Problem } from './problem.ts'
import {
  type CheckName,
  type LogFormat,
  type LogLevel,
  type PageMode,
  type Setting,
  type SettingKey,
  SETTINGS,
  type Value,
} from './setting.ts'
import { type Given, readConfigFile, readEnvironment, readFlags } from './source.ts'
import type { Address } from '../transport/address.ts'
import { Refused } from './value.ts'

export interface Config {
  /** The raw door on TCP; loopback only. */
  readonly tcp: Address | undefined
  /** The raw door on a unix socket, mode 0660. */
  readonly unix: Address | undefined
  /** The public HTTP listener: page and WebSocket. Loopback or unix. */
  readonly http: Address | undefined
  /** How the public HTTP listener offers the web page. */
  readonly page: PageMode
  /** The operator's listener. Loopback or unix; never behind the onion service. */
  readonly operator: Address | undefined
  /** The unix socket for handovers: from this relay's predecessor, and to its successor. */
  readonly handover: (Address & { readonly kind: 'unix' }) | undefined
  /** The file of the secret that both relays prove at a handover. */
  readonly handoverSecret: string | undefined
  /** Doors whose connections begin with a PROXY v1 line. */
  readonly proxy: readonly Door[]
  /** The relay's names; the first is for clients that send no name in HELLO. */
  readonly names: readonly string[]
  /** Tor's `hostname` file of the onion service, which the relay follows for its name. */
  readonly nameFile: string | undefined
  /** Onion addresses that still reach the relay, and that it is leaving for its first other one. */
  readonly movedFrom: readonly string[]
  /** Tor's SOCKS port, through which the relay tries to reach itself. */
  readonly probe: Address | undefined
  /** The report of another program that tries instead. */
  readonly probeFile: string | undefined
  /** The time between two tries. */
  readonly probeSeconds: number
  /** Tor's control port, for the progress of tor's start. */
  readonly torControl: Address | undefined
  /** The report of another program that asks tor instead. */
  readonly torFile: string | undefined
  /** The authorized_keys file of the keys that may log in; undefined if any key may. */
  readonly admit: string | undefined
  /** Whether other keys may send to those keys. */
  readonly strangers: 'off' | 'send'
  /** Bytes of memory for messages. */
  readonly memory: number
  /** The most connections at once: in all, without a proven key, and of one circuit. */
  readonly connections: number
  readonly unproven: number
  readonly perCircuit: number
  readonly perKey: number
  /** Bytes of payload that one key, and one circuit, may send at once; the budget refills over an hour. */
  readonly perSender: number
  readonly limits: Limits
  /** Whether a failed check prevents the start, and the checks that may fail. */
  readonly strict: boolean
  readonly allowUnsafe: readonly CheckName[]
  readonly log: { readonly level: LogLevel; readonly format: LogFormat }
}

export interface ConfigInput {
  readonly env: Readonly<Record<string, string | undefined>>
  readonly argv: readonly string[]
  /** Returns a file's text. @throws NodeJS.ErrnoException */
  readonly readFile: (path: string) => string
  /** Whether the log goes to a terminal: `log-format auto`. */
  readonly terminal?: boolean
}

/**
 * Parses the configuration. Flags win over environment variables, these over the file, and the file over defaults. A list
 * comes from one source as a whole.
 * @returns a frozen configuration, or all problems
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
        if (text === '') throw new Refused('is empty', 'omit it for its default')
        values.push(row.parse(text))
      } catch (error) {
        if (!(error instanceof Refused)) throw error
        problems.push({ ...where(key), problem: error.message, hint: error.hint })
      }
    }
    return (row.list ? [...new Set(values)] : values[0]) as Value<K>
  }
  // If a value was refused, there is a problem already, and the zero is never used.
  const number = (
    key: 'memory' | 'connections' | 'unproven' | 'per-circuit' | 'per-key' | 'per-sender' | 'probe-every' | LimitKey,
  ): number => read(key) ?? 0

  const connections = number('connections')
  const share = (key: 'unproven' | 'per-circuit' | 'per-key'): number => {
    const value = number(key)
    if (value > connections && connections > 0 && given(key) !== undefined) {
      problems.push({ ...where(key), problem: 'is more than `connections`', hint: 'raise `connections`, or lower this' })
    }
    return Math.min(value, connections)
  }
  const format = read('log-format')
  read('config')
  const config: Config = {
    tcp: read('tcp'),
    unix: read('unix'),
    http: read('http'),
    page: read('page') ?? 'off',
    operator: read('operator'),
    handover: read('handover'),
    handoverSecret: read('handover-secret'),
    proxy: read('proxy'),
    names: read('name'),
    nameFile: read('name-file'),
    movedFrom: read('moved-from'),
    torControl: read('tor-control'),
    torFile: read('tor-file'),
    probe: read('probe'),
    probeFile: read('probe-file'),
    probeSeconds: number('probe-every'),
    admit: read('admit'),
    strangers: read('strangers') ?? 'off',
    memory: number('memory'),
    connections,
    unproven: share('unproven'),
    perCircuit: share('per-circuit'),
    perKey: share('per-key'),
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

/** Checks values against each other. Some checks need that every value was read. */
function checkTogether(config: Config, problems: Problem[], where: (key: SettingKey) => { key: string; where?: string }): void {
  const sound = problems.length === 0
  if (sound && DOORS.every((door) => config[door] === undefined)) {
    problems.push({ key: 'tcp', problem: 'no door is open', hint: 'set --tcp, --unix or --http to an address' })
  }
  const taken = new Map<string, SettingKey>()
  for (const key of [...DOORS, 'operator', 'handover'] as const) {
    const address = config[key]
    if (address === undefined || (address.kind === 'tcp' && address.port === 0)) continue
    const place = address.kind === 'tcp' ? `${address.host}:${address.port}` : normalize(address.path)
    const first = taken.get(place)
    if (first === undefined) taken.set(place, key)
    else problems.push({ ...where(key), problem: `is the same address as ${first}`, hint: 'use a different port or path for each' })
  }
  for (const door of config.proxy) {
    if (!sound || config[door] !== undefined) continue
    problems.push({
      ...where('proxy'),
      problem: `names the ${door} door, which is not open`,
      hint: `set --${door} to an address, or remove the door from --proxy`,
    })
  }
  if (sound && config.handoverSecret !== undefined && config.handover === undefined) {
    problems.push({ ...where('handover-secret'), problem: 'has no effect without --handover', hint: 'set --handover to a path' })
  }
  if (sound && config.strangers === 'send' && config.admit === undefined) {
    problems.push({
      ...where('strangers'),
      problem: 'has no effect without --admit: all keys have all rights',
      hint: 'set --admit to a file',
    })
  }
  if (config.movedFrom.length > 0 && config.nameFile === undefined && !config.names.some((name) => name.endsWith('.onion'))) {
    problems.push({
      ...where('moved-from'),
      problem: 'names the old address, but the new one is missing',
      hint: 'set the new address with --name-file or --name',
    })
  }
  if (config.movedFrom.some((name) => config.names.includes(name))) {
    problems.push({
      ...where('moved-from'),
      problem: 'names an address that --name names, too',
      hint: 'remove it from --name; the relay still answers to it',
    })
  }
  const { firstPacketSeconds, loginSeconds } = config.limits
  if (loginSeconds > 0 && loginSeconds < firstPacketSeconds) {
    problems.push({ ...where('login'), problem: 'is shorter than first-packet', hint: 'the login includes the first packet' })
  }
}

function freeze<T extends object>(value: T): Readonly<T> {
  for (const part of Object.values(value)) if (typeof part === 'object' && part !== null) freeze(part)
  return Object.freeze(value)
}
