import { mkdtempSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, onTestFinished, test, vi } from 'vitest'
import { followNameFile } from '../../src/server/name-file.ts'

const ONION = 'pg6mmjiyjmcrsslvykfwnntlaru7p5svn6y2ymmju6nubxndf4pscryd.onion'
const OLD = '2gzyxa5ihm7nsggfxnu52rck2vv4rvmdlkiu3zzui5du4xyclen53wid.onion'

beforeEach(() => {
  vi.useFakeTimers()
})
afterEach(() => {
  vi.useRealTimers()
})

/** Several looks at the file. */
const look = (): void => void vi.advanceTimersByTime(2_000)

/** Returns the path of a file that does not exist yet. */
function place(): string {
  const folder = mkdtempSync(join(tmpdir(), 'asf-name-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  return join(folder, 'hostname')
}

test('each problem of the name file is reported once, but not that it is missing', () => {
  const path = place()
  const problems: string[] = []
  const names: string[] = []
  const file = followNameFile(
    path,
    ({ name }) => void names.push(name),
    (problem) => void problems.push(problem),
  )
  onTestFinished(() => file.stop())
  look()
  expect([file.problem(), problems]).toEqual(['missing', []])
  mkdirSync(path)
  look()
  expect(file.problem()).toBe('unreadable')
  rmSync(path, { recursive: true })
  writeFileSync(path, 'example.com\n')
  look()
  expect(file.problem()).toBe('malformed')
  writeFileSync(path, 'localhost\n')
  look()
  expect(file.problem()).toBeUndefined()
  expect([names, problems]).toEqual([['localhost'], ['unreadable', 'malformed']])
})

test.each(['', 'not a name\n', `${ONION}\nnot a name\n`, `${OLD}\nlocalhost\n`, `${OLD}\n${OLD}\n`, `${ONION}\n\n${OLD}\n`])(
  'the content %j leaves the former name in force',
  (text) => {
    const path = place()
    writeFileSync(path, `${ONION}\n${OLD}\n`)
    const found: unknown[] = []
    const file = followNameFile(path, (name, former) => void found.push([name, former]))
    onTestFinished(() => file.stop())
    look()
    writeFileSync(path, text)
    look()
    expect(file.problem()).toBe('malformed')
    expect(found).toEqual([[{ name: ONION, left: [OLD] }, undefined]])
  },
)
