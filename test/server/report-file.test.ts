import { mkdtempSync, renameSync, rmSync, utimesSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { parseTorReport } from '../../src/tor/state.ts'
import { ReportFile } from '../../src/server/report-file.ts'

let folder: string
let path: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'asf-report-'))
  path = join(folder, 'report')
})
afterEach(() => rmSync(folder, { recursive: true }))

/** Replaces the file as `entry` does, by a rename. @param at seconds since the epoch */
function write(text: string, at: number): void {
  writeFileSync(`${path}.new`, text)
  utimesSync(`${path}.new`, at, at)
  renameSync(`${path}.new`, path)
}

test('a report has an age, which no setting of the clock changes', () => {
  let [now, wall] = [5_000, 1_000_000_000]
  const file = new ReportFile(path, { now: () => now, wall: () => wall })
  expect(file.read()).toBeUndefined()
  write('one', 999_997)
  expect(file.read()).toEqual({ text: 'one', ageSeconds: 3 })
  wall -= 8 * 86_400_000
  now += 60_000
  expect(file.read()).toEqual({ text: 'one', ageSeconds: 63 })
  wall += 16 * 86_400_000
  expect(file.read()).toEqual({ text: 'one', ageSeconds: 63 })
  now += 5_000
  write('two', 999_998)
  expect(file.read()).toEqual({ text: 'two', ageSeconds: 5 })
  write('x'.repeat(129), 999_999)
  expect(file.read()).toBeUndefined()
})

test.each([
  ['100 done\n', 2, { reachable: true, bootstrap: 100, summary: 'done', ageSeconds: 2 }],
  ['5 conn\n', 0, { reachable: true, bootstrap: 5, summary: 'conn', ageSeconds: 0 }],
  ['5 new_word\n', 0, { reachable: true, bootstrap: 5, summary: 'other', ageSeconds: 0 }],
  ['100 done\n', 11, { reachable: false, bootstrap: undefined, summary: 'unreachable', ageSeconds: 11 }],
  ['silent\n', 0, { reachable: false, bootstrap: undefined, summary: 'unreachable', ageSeconds: 0 }],
  ['100 done', 0, { reachable: false, bootstrap: undefined, summary: 'unreachable', ageSeconds: 0 }],
])("the report %j, %i s old, is tor's state", (text, ageSeconds, state) => {
  expect(parseTorReport({ text, ageSeconds })).toEqual(state)
})
