/**
 * The relay's configuration, of what its sources say (source.ts) by the table of settings (setting.ts). A pure function of its
 * inputs; every problem is reported at once, and none of them repeats a value. Fails closed: what it does not know or
 * cannot read is a problem, never ignored.
 */
import { normalize } from 'node:path'
import { DEFAULT_LIMITS, type Limits } from '../protocol/limits.ts'
import { DOORS, type Door } from '../relay/counters.ts'
import type { Problem } from './problem.ts'
import { type CheckName, type LogFormat, type LogLevel, type Setting, type SettingKey, SETTINGS, type Value } from './setting.ts'
import { type Given, readConfigFile, readEnvironment, readFlags } from './source.ts'
import type { Address } from '../transport/address.ts'
import { Refused } from './value.ts'

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
  const number = (key: 'memory' | 'connections' | 'unproven' | 'per-circuit' | 'per-sender' | 'probe-every' | LimitKey): number =>
    read(key) ?? 0

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
function checkTogether(config: Config, problems: Problem[], where: (key: SettingKey) => { key: string; where?: string }): void {
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
    problems.push({
      ...where('proxy'),
      problem: `names the ${door} door, which is not open`,
      hint: `give --${door} an address, or leave it out here`,
    })
  }
  if (sound && config.handoverSecret !== undefined && config.handover === undefined) {
    problems.push({ ...where('handover-secret'), problem: 'is of no use without a path', hint: 'give --handover PATH' })
  }
  if (config.movedFrom.length > 0 && config.nameFile === undefined && !config.names.some((name) => name.endsWith('.onion'))) {
    problems.push({
      ...where('moved-from'),
      problem: 'says what is left, and nothing says for what',
      hint: 'give the new address: --name-file or --name',
    })
  }
  if (config.movedFrom.some((name) => config.names.includes(name))) {
    problems.push({
      ...where('moved-from'),
      problem: 'names an address that --name names, too',
      hint: 'leave it out of --name: it stays a name of the relay',
    })
  }
  const { firstPacketSeconds, loginSeconds } = config.limits
  if (loginSeconds > 0 && loginSeconds < firstPacketSeconds) {
    problems.push({ ...where('login'), problem: 'is less than first-packet', hint: 'the first packet is part of the login' })
  }
}

function freeze<T extends object>(value: T): Readonly<T> {
  for (const part of Object.values(value)) if (typeof part === 'object' && part !== null) freeze(part)
  return Object.freeze(value)
}
