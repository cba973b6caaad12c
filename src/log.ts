/**
 * The log: a closed set of events with closed sets of fields, so that nothing about a user can get in. There is no free
 * text and no error object, and every string comes from a table of constants. A value outside its set is written as
 * `other`, even if the type checker accepted it.
 */
import { pino } from 'pino'
import { CHECK_NAMES, type LogFormat, type LogLevel } from './config/setting.ts'
import { FAILURES, REFUSALS, UNPROVEN } from './handover/record.ts'
import { NAME_PROBLEMS } from './operator/name-problem.ts'
import { PROBE_PROBLEMS } from './operator/probe-result.ts'
import { TOR_SUMMARIES } from './tor/state.ts'
import { DOORS } from './relay/counters.ts'
import { MISTAKE_NAMES } from './server/mistake.ts'
import { PAGE_PROBLEMS } from './server/page-problem.ts'
import { PACKAGE_VERSION } from './version.ts'

/** A field is one of these words, true or false, or a whole number from 0 to `most`. */
type Field = readonly string[] | 'flag' | { readonly most: number }

interface EventRow {
  readonly level: LogLevel
  readonly text: string
  readonly fields: Readonly<Record<string, Field>>
}

const PERCENT = { most: 100 } as const

export const EVENTS = {
  unsafe: { level: 'warn', text: 'a check before the start failed; asfaleia doctor says why', fields: { check: CHECK_NAMES } },
  starting: { level: 'info', text: 'the relay is starting', fields: { version: [PACKAGE_VERSION] } },
  listening: { level: 'info', text: 'a listener is open', fields: { door: [...DOORS, 'operator'], port: { most: 65_535 } } },
  ready: { level: 'info', text: 'every listener is open', fields: {} },
  'name-known': { level: 'info', text: 'the relay learned its onion name', fields: {} },
  'no-name': { level: 'warn', text: 'neither a name nor a name file is configured: logins get not-ready', fields: {} },
  'name-file-unusable': {
    level: 'warn',
    text: "the relay cannot read its name from the name file: 'denied' means that its user may not read the file or its folder",
    fields: { problem: NAME_PROBLEMS },
  },
  'page-unusable': {
    level: 'warn',
    text: 'the relay cannot read its web page, and offers none; `npm run build` writes it, and `--page off` expects none',
    fields: { problem: PAGE_PROBLEMS },
  },
  'admit-reloaded': {
    level: 'info',
    text: 'the file of admitted keys was read again; if not ok, the old list stays in force',
    fields: { ok: 'flag', line: { most: 99_999_999 }, mistake: MISTAKE_NAMES },
  },
  'memory-high': { level: 'warn', text: 'the memory for messages is nearly used up', fields: { percent: PERCENT } },
  'memory-ok': { level: 'info', text: 'the memory for messages has room again', fields: { percent: PERCENT } },
  'connections-high': { level: 'warn', text: 'nearly all connections are in use', fields: { percent: PERCENT } },
  'connections-ok': { level: 'info', text: 'connections are free again', fields: { percent: PERCENT } },
  'tor-state': { level: 'info', text: 'tor changed its state', fields: { summary: TOR_SUMMARIES, bootstrap: PERCENT } },
  'onion-reached': { level: 'info', text: 'the relay reached itself through Tor', fields: {} },
  'onion-not-reached': { level: 'warn', text: 'the relay could not reach itself through Tor', fields: { problem: PROBE_PROBLEMS } },
  wiped: { level: 'warn', text: 'the operator wiped everything', fields: {} },
  'taking-over': { level: 'info', text: 'another relay is running: taking over its messages', fields: {} },
  'taken-over': { level: 'info', text: 'everything from the other relay has arrived', fields: {} },
  'taken-over-partly': {
    level: 'error',
    text: 'the other relay died during the handover: this relay keeps the messages that arrived',
    fields: { percent: PERCENT },
  },
  'handover-started': { level: 'info', text: 'a successor takes over: clients get restarting', fields: {} },
  'handover-refused': { level: 'warn', text: 'this relay refused a successor', fields: { reason: [...UNPROVEN, ...REFUSALS] } },
  'handover-failed': { level: 'warn', text: 'the handover failed: this relay continues as before', fields: { reason: FAILURES } },
  'doors-awaited': {
    level: 'error',
    text: 'another process has the addresses of this relay, which holds its messages and waits for them',
    fields: {},
  },
  'handover-off': {
    level: 'error',
    text: 'the socket for a successor is in use: this relay cannot hand over until it is free',
    fields: {},
  },
  'handover-on': { level: 'info', text: 'the socket for a successor is open now', fields: {} },
  'handed-over': { level: 'info', text: 'the successor has everything and serves: this relay ends', fields: {} },
  'stop-too-late': {
    level: 'warn',
    text: 'the signal to stop came when this relay already had the only copy: it goes on; send it again to stop the relay',
    fields: {},
  },
  stopping: { level: 'info', text: 'the relay is going down', fields: {} },
  stopped: { level: 'info', text: 'every message is erased, every listener closed', fields: {} },
  'internal-error': {
    level: 'error',
    text: 'a defect of asfaleia; the log omits its message, which may contain data',
    fields: { origin: ['exception', 'rejection', 'connection', 'operator', 'handover', 'log'] },
  },
} as const satisfies Record<string, EventRow>

export type EventName = keyof typeof EVENTS
type FieldValue<F> = F extends readonly (infer Word)[] ? Word : F extends 'flag' ? boolean : number
export type EventFields<E extends EventName> = {
  readonly [K in keyof (typeof EVENTS)[E]['fields']]?: FieldValue<(typeof EVENTS)[E]['fields'][K]>
}

export interface Log {
  /** Writes the event unless its level is below the configured one. Never throws. */
  event<E extends EventName>(name: E, fields?: EventFields<E>): void
}

export interface LogOptions {
  readonly level: LogLevel
  readonly format: LogFormat
  /** Writes one line, LF included. Standard error writes synchronously to files, pipes and terminals. */
  readonly write: (line: string) => void
  readonly colors?: boolean
}

export function createLog(options: LogOptions): Log {
  const shape = options.format === 'pretty' ? (line: string) => formatForPerson(line, options.colors ?? false) : (line: string) => line
  const logger = pino(
    {
      level: options.level,
      // Leaves out pid and host name.
      base: null,
      messageKey: 'text',
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
    },
    { write: (line) => options.write(shape(line)) },
  )
  return {
    event(name, fields = {}) {
      const known = Object.hasOwn(EVENTS, name) ? name : 'internal-error'
      const row: EventRow = EVENTS[known]
      logger[row.level]({ event: known, ...clean(row, known === name ? fields : { origin: 'log' }) }, row.text)
    },
  }
}

/** Numbers of SGR colours (ECMA-48), by level. */
const LEVEL_COLORS = { debug: 34, info: 32, warn: 33, error: 31 } as const satisfies Record<LogLevel, number>
const TEXT_COLOR = 36
const FIELDS_COLOR = 90

/** Turns a line of JSON into `[14:54:12] INFO: a listener is open {"door":"tcp"}`, with the local time. */
function formatForPerson(line: string, colors: boolean): string {
  const { level, time, event: _event, text, ...fields } = JSON.parse(line) as { level: LogLevel; time: string; event: string; text: string }
  const paint = (color: number, words: string): string => (colors ? `\x1b[${color}m${words}\x1b[39m` : words)
  const clock = new Date(time).toTimeString().slice(0, 8)
  const rest = Object.keys(fields).length === 0 ? '' : ` ${paint(FIELDS_COLOR, JSON.stringify(fields))}`
  return `[${clock}] ${paint(LEVEL_COLORS[level], level.toUpperCase())}: ${paint(TEXT_COLOR, text)}${rest}\n`
}

/** Returns the row's fields and no other. A value outside its field's set becomes `other`. */
function clean(row: EventRow, fields: Readonly<Record<string, unknown>>): Record<string, string | number | boolean> {
  const cleaned: Record<string, string | number | boolean> = {}
  for (const [name, field] of Object.entries(row.fields)) {
    const value = Object.hasOwn(fields, name) ? fields[name] : undefined
    if (value !== undefined) cleaned[name] = isOf(field, value) ? value : 'other'
  }
  return cleaned
}

function isOf(field: Field, value: unknown): value is string | number | boolean {
  if (field === 'flag') return typeof value === 'boolean'
  if ('most' in field) return Number.isInteger(value) && (value as number) >= 0 && (value as number) <= field.most
  return typeof value === 'string' && field.includes(value)
}
