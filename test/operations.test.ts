/** docs/operations.md lists exactly the code's settings, metrics, events, reasons, status fields and exit codes. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { EXIT } from '../src/cli/program/exit.ts'
import { SETTING_KEYS, type Setting, SETTINGS } from '../src/config/setting.ts'
import { EVENTS } from '../src/log.ts'
import { buildStatus, METRICS, REASONS } from '../src/operator/metrics.ts'
import { createSnapshot } from './support/snapshot.ts'

const document = readFileSync(join(import.meta.dirname, '../docs/operations.md'), 'utf8')

/** Returns the rows of the table with that head, as lists of cells. */
function table(head: string): string[][] {
  const lines = document.split('\n')
  const at = lines.indexOf(head)
  if (at === -1) throw new Error(`found no table ${head}`)
  const rows = lines.slice(at + 2)
  return rows
    .slice(
      0,
      rows.findIndex((line) => !line.startsWith('|')),
    )
    .map((line) =>
      line
        .split('|')
        .slice(1, -1)
        .map((cell) => cell.trim()),
    )
}

const code = (text: string | undefined): string => (text === undefined ? '' : `\`${text}\``)

test('docs/operations.md lists exactly the settings', () => {
  const rows = SETTING_KEYS.map((key) => {
    const { value, fallback, takes, about }: Setting = SETTINGS[key]
    return [`\`--${key} ${value}\``, code(fallback), takes ?? '', about]
  })
  expect(table('| setting | default | from, to | what it is |')).toEqual(rows)
})

test('docs/operations.md lists exactly the metrics', () => {
  const rows = Object.entries(METRICS).map(([name, row]) => [code(name + ('label' in row ? `{${row.label}}` : '')), row.type, row.help])
  expect(table('| metric | type | what it is |')).toEqual(rows)
})

test('docs/operations.md lists exactly the events of the log', () => {
  const rows = Object.entries(EVENTS).map(([name, { level, fields, text }]) => [
    code(name),
    level,
    Object.keys(fields).map(code).join(', '),
    text,
  ])
  expect(table('| event | level | fields | text |')).toEqual(rows)
})

test('docs/operations.md lists exactly the reasons for not being ready', () => {
  expect(table('| reason | what it says |').map(([reason]) => reason)).toEqual(REASONS.map(code))
})

test('docs/operations.md lists exactly the fields of the status', () => {
  const status = buildStatus({
    snapshot: createSnapshot(),
    tor: undefined,
    version: '',
    uptimeSeconds: 0,
    startTimeSeconds: 0,
    residentBytes: 0,
    loopDelaySeconds: 0,
  })
  expect(table('| field | what it is |').map(([field]) => field)).toEqual(Object.keys(status).map(code))
})

test('docs/operations.md lists exactly the exit codes', () => {
  expect(table('| code | of every command |').map(([number]) => number)).toEqual(Object.values(EXIT).map((number) => code(String(number))))
})
