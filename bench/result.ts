/**
 * The results and their targets: samples by figure, subject and round, their medians and spreads, and the
 * ratios between samples of one round, compared with the targets.
 */
import { FLOODS } from './attack.ts'
import type { ServerName } from './server.ts'

export type Subject =
  Exclude<ServerName, 'relay'> | 'relay' | 'before' | 'websocket' | 'bare' | 'own' | 'echo' | 'command' | 'client' | 'age'

export const SUBJECTS: Record<Subject, string> = {
  relay: 'relay',
  before: 'relay of the checkout before',
  websocket: 'relay, WebSocket',
  floor: 'C floor',
  mosquitto: 'Mosquitto',
  redis: 'Redis',
  nats: 'NATS',
  aedes: 'aedes',
  prosody: 'Prosody',
  bare: 'node:crypto alone',
  own: "the relay's own cryptography alone",
  echo: 'bare echo server',
  command: 'a command',
  client: 'client',
  age: 'age-encryption alone',
}

export interface Sample {
  readonly figure: string
  readonly subject: Subject
  readonly round: number
  readonly value: number
  /** CPU time of the server for each message, in microseconds. */
  readonly cpu?: number
}

/** A figure and the format of its number. */
export interface Figure {
  readonly name: string
  readonly unit: string
}

export interface Spread {
  readonly median: number
  readonly least: number
  readonly most: number
}

export interface Results {
  readonly date: string
  readonly form: 'quick' | 'full'
  readonly machine: readonly string[]
  readonly versions: Readonly<Record<string, string>>
  /** Parts that a later run measured. */
  readonly later?: readonly {
    readonly parts: readonly string[]
    readonly date: string
    readonly form: 'quick' | 'full'
    readonly machine: readonly string[]
  }[]
  /** Parts that were not measured, with the reasons. */
  readonly absent: string[]
  /** In the order of measurement. */
  readonly figures: Figure[]
  readonly samples: Sample[]
}

export function spread(values: readonly number[]): Spread | undefined {
  const sorted = values.toSorted((a, b) => a - b)
  const [least] = sorted
  const most = sorted.at(-1)
  if (least === undefined || most === undefined) return undefined
  const middle = sorted.length / 2
  const median = (sorted[Math.ceil(middle) - 1]! + sorted[Math.floor(middle)]!) / 2
  return { median, least, most }
}

export function spreadOf(results: Results, figure: string, subject: Subject, of: 'value' | 'cpu' = 'value'): Spread | undefined {
  return spread(results.samples.flatMap((sample) => (sample.figure === figure && sample.subject === subject ? (sample[of] ?? []) : [])))
}

/**
 * Compares samples of the same round only, because a disturbance affects a whole round.
 *
 * @param minus subtracted from the samples above
 */
export function ratioOf(
  results: Results,
  above: { figure: string; subject: Subject },
  below: { figure: string; subject: Subject },
  of: 'value' | 'cpu' = 'value',
  minus = 0,
): Spread | undefined {
  const values = (of_: { figure: string; subject: Subject }): Map<number, number> =>
    new Map(
      results.samples
        .filter(({ figure, subject }) => figure === of_.figure && subject === of_.subject)
        .flatMap((sample) => (sample[of] === undefined ? [] : [[sample.round, sample[of]] as const])),
    )
  const divisors = values(below)
  return spread([...values(above)].flatMap(([round, value]) => (divisors.has(round) ? [(value - minus) / divisors.get(round)!] : [])))
}

export type Target = {
  readonly title: string
  readonly figure: string
  readonly subject: Subject
  /** Only the full form has large enough samples. */
  readonly full?: true
} & (
  | { readonly against: Subject; readonly of?: string; readonly atLeast: number }
  | {
      readonly against: Subject
      readonly of?: string
      readonly atMost: number
      readonly ratio: 'value' | 'cpu'
      /** Added to the bound, in the figure's unit: `atMost` times the other figure, plus this. */
      readonly plus?: number
    }
  | { readonly atMost: number; readonly unit: string }
)

const atLeast = (title: string, figure: string, subject: Subject, rows: [against: Subject, times: number, of?: string][]): Target[] =>
  rows.map(([against, times, of = figure]) => ({ title, figure, subject, against, of, atLeast: times }))

export const PATH_TITLES = {
  store: 'SEND',
  drain: 'drain and acknowledge',
  subscription: 'drain by subscription',
  push: 'online push',
} as const

export const PROOF_TITLES = {
  'decrypt-ed25519': 'logins: decrypt, ed25519',
  'decrypt-rsa': 'logins: decrypt, rsa 2048',
  'sign-ed25519': 'logins: sign, ed25519',
  'sign-rsa': 'logins: sign, rsa 2048',
  'sign-ecdsa': 'logins: sign, ecdsa p256',
} as const

/** The targets of the relay, as docs/performance.md lists them. */
export const TARGETS: readonly Target[] = [
  ...atLeast('store, window 64', 'store', 'relay', [
    ['mosquitto', 4],
    ['nats', 2],
    ['redis', 0.8],
    ['floor', 0.4],
  ]),
  ...atLeast('drain and acknowledge', 'drain', 'relay', [
    ['mosquitto', 4],
    ['redis', 0.4],
    ['floor', 0.4],
  ]),
  ...atLeast('drain by subscription, window 64', 'subscription', 'relay', [
    ['mosquitto', 4, 'drain'],
    ['redis', 0.4, 'drain'],
    ['floor', 0.4],
  ]),
  ...atLeast('store, one at a time', 'single', 'relay', [
    ['mosquitto', 1],
    ['floor', 0.6],
  ]),
  ...atLeast('online push, window 4', 'push', 'relay', [
    ['mosquitto', 1.3],
    ['aedes', 2],
    ['floor', 0.7],
  ]),
  { title: 'p50 at 5,000 messages/s', figure: 'p50', subject: 'relay', against: 'floor', atMost: 1.5, ratio: 'value' },
  { title: 'p99 at 5,000 messages/s', figure: 'p99', subject: 'relay', against: 'floor', atMost: 3, ratio: 'value' },
  { title: 'memory of a queued message beyond its characters', figure: 'queued', subject: 'relay', full: true, atMost: 96, unit: 'B' },
  { title: 'longest GC pause under churn', figure: 'pause', subject: 'relay', full: true, atMost: 15, unit: 'ms' },
  { title: 'memory after a full drain, of the peak', figure: 'drained', subject: 'relay', full: true, atMost: 15, unit: '%' },
  { title: 'memory after draining 90 % at random, of the peak', figure: 'thinned', subject: 'relay', full: true, atMost: 35, unit: '%' },
  { title: 'memory of an idle connection', figure: 'idle', subject: 'relay', full: true, atMost: 6_000, unit: 'B' },
  { title: 'memory of an idle connection, WebSocket', figure: 'idle', subject: 'websocket', full: true, atMost: 9_000, unit: 'B' },
  ...Object.entries(PROOF_TITLES).flatMap(([proof, title]) => atLeast(title, `login ${proof}`, 'relay', [['bare', 0.4]])),
  {
    title: 'CPU of a claim, compared with a login: decrypt, ed25519',
    figure: 'claim',
    subject: 'relay',
    against: 'relay',
    of: 'login beside claims',
    atMost: 0.1,
    ratio: 'value',
  },
  ...Object.entries(PROOF_TITLES).map(([proof, title]): Target => ({
    title,
    figure: `login ${proof}`,
    subject: 'relay',
    against: 'prosody',
    of: 'login prosody',
    atLeast: 6,
  })),
  {
    title: "messages' p99 in a login flood, compared with calm",
    figure: 'p99 flooded',
    subject: 'relay',
    against: 'relay',
    of: 'p99 calm',
    atMost: 2,
    ratio: 'value',
  },
  ...Object.entries(FLOODS).flatMap(([kind, flood]) =>
    ([1, 16] as const).flatMap((count) =>
      (['p50', 'p99', 'login'] as const).map((of): Target => {
        const isLogin = of === 'login'
        return {
          title: `${isLogin ? 'a login' : `messages' ${of}`}, ${flood}, ${count === 1 ? '1 connection' : `${count} connections`}`,
          figure: `attack ${of} ${kind} ${count}`,
          subject: 'relay',
          against: 'relay',
          of: `attack ${of} calm`,
          atMost: isLogin ? 5 : 3,
          plus: isLogin ? 20 : 5,
          ratio: 'value',
        }
      }),
    ),
  ),
  { title: 'memory of a stranger that does not read', figure: 'stranger', subject: 'relay', atMost: 40_000, unit: 'B' },
  {
    title: 'CPU a message, 100 k to 1 M queued',
    figure: 'queue of 1,000,000',
    subject: 'relay',
    against: 'relay',
    of: 'queue of 100,000',
    full: true,
    atMost: 1.15,
    ratio: 'cpu',
  },
  {
    title: 'CPU a message, 100 to 9 k connections',
    figure: '9,000 connections',
    subject: 'relay',
    against: 'relay',
    of: '100 connections',
    atMost: 2,
    ratio: 'cpu',
  },
  ...(['store', 'drain', 'subscription', 'push'] as const).map((path): Target => ({
    title: `CPU a message, ${PATH_TITLES[path]}`,
    figure: `path ${path}`,
    subject: 'relay',
    against: 'before',
    atMost: 1.05,
    ratio: 'cpu',
  })),
  ...atLeast('16 KiB messages, stored', 'large store', 'relay', [['mosquitto', 1.2]]),
  ...atLeast('16 KiB messages, drained', 'large drain', 'relay', [['mosquitto', 1.2]]),
  ...atLeast('WebSocket, pipelined', 'store', 'websocket', [['relay', 0.55]]),
  ...atLeast('WebSocket, one at a time', 'single', 'websocket', [['relay', 0.9]]),
  ...(
    [
      ['help', '`asfaleia --help`', 2],
      ['send', '`asfaleia send`, to its first packet', 4],
      ['get', '`asfaleia get`, to its first packet', 4],
    ] as const
  ).map(([name, title, atMost]): Target => ({
    title,
    figure: `command ${name}`,
    subject: 'command',
    against: 'command',
    of: 'command node',
    atMost,
    ratio: 'value',
  })),
  { title: 'CPU of a message to a one-time key: new key, encrypt, open', figure: 'one-time', subject: 'client', atMost: 2, unit: 'ms' },
  { title: 'memory of an idle person with 20 contacts, heap', figure: 'person', subject: 'relay', atMost: 30_000, unit: 'B' },
  { title: 'memory of an idle person with 20 contacts, resident', figure: 'person resident', subject: 'relay', atMost: 30_000, unit: 'B' },
  { title: 'stream, claim and SEND, trips of 200 ms', figure: 'trips claim', subject: 'client', atMost: 1.5, unit: 'round trips' },
  { title: 'stream, login and SEND, trips of 200 ms', figure: 'trips key', subject: 'client', atMost: 2.5, unit: 'round trips' },
  {
    title: 'stream, claim and SEND over Tor, compared with a stream alone',
    figure: 'tor trips claim',
    subject: 'client',
    against: 'client',
    of: 'tor trips open',
    atMost: 1.5,
    ratio: 'value',
  },
  {
    title: 'round trip over Tor',
    figure: 'tor',
    subject: 'relay',
    against: 'echo',
    atMost: 1.05,
    ratio: 'value',
  },
]

export interface Verdict {
  readonly title: string
  readonly against: string
  readonly target: string
  readonly measured: string
  /** The same by CPU time, which a busy machine disturbs less. */
  readonly cpu: string
  /**
   * For throughputs, both ratios must reach the target: other work on the machine can raise one of them, but
   * not both alike.
   */
  readonly outcome: 'reached' | 'not reached' | 'by CPU alone' | 'not by CPU' | 'not measured' | 'full form only'
}

export function judge(results: Results): Verdict[] {
  return TARGETS.map((target) => {
    const { title, figure, subject } = target
    const small = results.form === 'quick' && target.full === true
    const decide = (reached: boolean): Verdict['outcome'] => (small ? 'full form only' : reached ? 'reached' : 'not reached')
    if (!('against' in target)) {
      const found = spreadOf(results, figure, subject)
      const bound = `at most ${target.atMost} ${target.unit}`
      if (found === undefined)
        return { title, against: '', target: bound, measured: '', cpu: '', outcome: small ? 'full form only' : 'not measured' }
      return {
        title,
        against: '',
        target: bound,
        measured: `${showSpread(found)} ${target.unit}`,
        cpu: '',
        outcome: decide(found.median <= target.atMost),
      }
    }
    const plus = 'plus' in target ? target.plus : 0
    const other = { figure: target.of ?? figure, subject: target.against }
    const isCpu = 'ratio' in target && target.ratio === 'cpu'
    const found = ratioOf(results, { figure, subject }, other, isCpu ? 'cpu' : 'value')
    const byCpu = isCpu || !('atLeast' in target) ? undefined : ratioOf(results, other, { figure, subject }, 'cpu')
    const row = {
      title,
      against: target.against === subject ? '' : SUBJECTS[target.against],
      target: 'atLeast' in target ? `${target.atLeast} ×` : `at most ${target.atMost} ×${plus === 0 ? '' : ` plus ${plus} ms`}`,
      cpu: byCpu === undefined ? '' : `${show(byCpu.median)} ×`,
    }
    if (found === undefined) return { ...row, measured: '', outcome: small ? 'full form only' : 'not measured' }
    const measured = `${showSpread(found)} ×`
    if (!('atLeast' in target)) {
      const bounded = ratioOf(results, { figure, subject }, other, isCpu ? 'cpu' : 'value', plus)!
      return { ...row, measured, outcome: decide(bounded.median <= target.atMost) }
    }
    const reached = found.median >= target.atLeast
    const cheap = byCpu === undefined ? reached : byCpu.median >= target.atLeast
    const outcome = reached === cheap ? decide(reached) : reached ? 'not by CPU' : 'by CPU alone'
    return { ...row, measured, outcome }
  })
}

/** Formats a number with at most three digits, thousands separated. */
export function show(value: number): string {
  if (Math.abs(value) >= 1_000) return Math.round(Number(value.toPrecision(3))).toLocaleString('en-US')
  return `${Number(value.toPrecision(Math.abs(value) < 1 ? 2 : 3))}`
}

export function showSpread({ median, least, most }: Spread): string {
  return least === most ? show(median) : `${show(median)} (${show(least)}–${show(most)})`
}

/** Formats columns of equal width for a terminal. */
export function formatTable(rows: readonly (readonly string[])[]): string {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)))
  return rows
    .map((row) =>
      row
        .map((cell, column) => cell.padEnd(widths[column]!))
        .join('  ')
        .trimEnd(),
    )
    .join('\n')
}
