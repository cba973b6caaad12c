import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { LogFormat, LogLevel } from '../src/config/setting.ts'
import { createLog, type EventName, EVENTS, type Log } from '../src/log.ts'
import { PACKAGE_VERSION } from '../src/version.ts'

function capture(
  format: LogFormat = 'json',
  level: LogLevel = 'debug',
): { log: Log; lines: string[]; last: () => Record<string, unknown> } {
  const lines: string[] = []
  const log = createLog({ format, level, write: (line) => lines.push(line) })
  return { log, lines, last: () => JSON.parse(lines.at(-1)!) as Record<string, unknown> }
}

const NAMES = Object.keys(EVENTS) as EventName[]

test('an event is one line of JSON with level, time, event, fields and text', () => {
  const { log, lines, last } = capture()
  log.event('listening', { door: 'tcp', port: 3308 })
  expect(lines).toHaveLength(1)
  expect(lines[0]).toMatch(/^\{.*\}\n$/)
  expect(last()).toEqual({
    level: 'info',
    time: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/),
    event: 'listening',
    door: 'tcp',
    port: 3308,
    text: EVENTS.listening.text,
  })
})

test('a field may be omitted', () => {
  const { log, last } = capture()
  log.event('listening', { door: 'unix' })
  expect(last()).not.toHaveProperty('port')
  log.event('ready')
  expect(last()).toMatchObject({ event: 'ready' })
})

test('the level is a threshold', () => {
  const { log, lines } = capture('json', 'warn')
  log.event('ready')
  log.event('memory-high', { percent: 91 })
  log.event('internal-error', { origin: 'connection' })
  expect(lines.map((line) => (JSON.parse(line) as { event: string }).event)).toEqual(['memory-high', 'internal-error'])
})

test('the pretty format is one readable line, in colours only if asked', () => {
  const pretty = (colors: boolean): string => {
    const lines: string[] = []
    const log = createLog({ format: 'pretty', level: 'debug', colors, write: (line) => lines.push(line) })
    log.event('listening', { door: 'http', port: 8080 })
    log.event('memory-high', { percent: 91 })
    log.event('stopped')
    return lines.join('').replace(/\d\d:\d\d:\d\d/g, 'hh:mm:ss')
  }
  expect(pretty(false)).toBe(
    '[hh:mm:ss] INFO: a listener is open {"door":"http","port":8080}\n' +
      `[hh:mm:ss] WARN: ${EVENTS['memory-high'].text} {"percent":91}\n` +
      `[hh:mm:ss] INFO: ${EVENTS.stopped.text}\n`,
  )
  expect(pretty(true)).toContain(
    '[hh:mm:ss] \x1b[32mINFO\x1b[39m: \x1b[36ma listener is open\x1b[39m \x1b[90m{"door":"http","port":8080}\x1b[39m\n',
  )
})

describe('values that the types forbid', () => {
  // Calls the log as code without types would.
  type Untyped = { event(name: unknown, fields?: unknown): void }
  const secret = 'AAAAC3NzaC1lZDI1NTE5AAAAI'

  test.each([
    ['a word outside the set', 'listening', { door: secret }, { door: 'other' }],
    ['a text for a number', 'listening', { port: secret }, { port: 'other' }],
    ['a number that is too large', 'listening', { port: 65_536 }, { port: 'other' }],
    ['a number that could be an id', 'memory-high', { percent: 123_456_789 }, { percent: 'other' }],
    ['not a number', 'memory-high', { percent: Number.NaN }, { percent: 'other' }],
    ['an object with a text in it', 'internal-error', { origin: { toString: (): string => secret } }, { origin: 'other' }],
    ['an array', 'internal-error', { origin: [secret] }, { origin: 'other' }],
    ['a text for a flag', 'admit-reloaded', { ok: secret }, { ok: 'other' }],
    ['null', 'listening', { door: null }, { door: 'other' }],
  ])('are logged as `other`: %s', (_name, event, fields, expected) => {
    const { log, lines, last } = capture()
    ;(log as Untyped).event(event, fields)
    expect(last()).toMatchObject({ event, ...expected })
    expect(lines.join('')).not.toContain(secret)
  })

  test('are dropped in an unknown field, and an unknown event is logged as internal-error', () => {
    const { log, lines, last } = capture()
    const untyped = log as Untyped
    untyped.event('ready', { key: secret, msg: secret, err: new Error(secret), level: secret })
    expect(Object.keys(last())).toEqual(['level', 'time', 'event', 'text'])
    for (const name of [secret, 'toString', '__proto__', undefined]) {
      untyped.event(name, { origin: secret })
      expect(last()).toMatchObject({ event: 'internal-error', origin: 'log' })
    }
    expect(lines.join('')).not.toContain(secret)
  })

  test('never reach the log: only words of the table do, whatever the input', () => {
    const words = new Set<unknown>(['other', true, false])
    for (const [name, { level, text, fields }] of Object.entries(EVENTS)) {
      for (const word of [name, level, text]) words.add(word)
      for (const field of Object.values<unknown>(fields)) if (Array.isArray(field)) for (const word of field) words.add(word)
    }
    const fields = fc.dictionary(fc.constantFrom('door', 'port', 'percent', 'origin', 'ok', 'key', 'time'), fc.anything())
    fc.assert(
      fc.property(fc.oneof(fc.constantFrom(...NAMES), fc.string()), fields, (name, given) => {
        const { log, last } = capture()
        ;(log as Untyped).event(name, given)
        const { time: _time, ...rest } = last()
        for (const value of Object.values(rest)) expect(typeof value === 'number' ? value <= 65_535 : words.has(value)).toBe(true)
      }),
    )
  })
})

test('the table of events holds only short words', () => {
  const words = Object.values(EVENTS)
    .flatMap(({ fields }) => Object.values<unknown>(fields))
    .filter(Array.isArray)
    .flat()
  expect(words).toContain(PACKAGE_VERSION)
  for (const word of words) expect(word).toMatch(/^[A-Za-z0-9_.-]{1,25}$/)
})
