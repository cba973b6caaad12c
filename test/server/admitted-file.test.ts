/** A relay follows its file of admitted keys, however a program changes it. */
import { appendFileSync, mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, unlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it, onTestFinished, vi } from 'vitest'
import { formatFingerprint, parsePublicKey } from '../../src/auth/ssh-key.ts'
import { createLog } from '../../src/log.ts'
import type { Member } from '../../src/relay/roster.ts'
import { AdmittedFile } from '../../src/server/admitted-file.ts'
import { createPerson } from '../support/wire.ts'

const people = Array.from({ length: 4 }, () => createPerson().line)
const nameOf = (line: string): string => formatFingerprint(parsePublicKey(line).fingerprint)

let path: string
let lists: string[][]
let events: Record<string, unknown>[]

beforeEach(() => {
  vi.useFakeTimers()
  const folder = mkdtempSync(join(tmpdir(), 'asfaleia-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  path = join(folder, 'admit')
  lists = []
  events = []
})

afterEach(() => {
  vi.useRealTimers()
})

/** Times between two looks of the relay, ms. */
const TIMES = { lookMs: 5_000, settleMs: 500 }
/** Several looks at the file. */
const look = (): void => void vi.advanceTimersByTime(4 * TIMES.lookMs)

function open(): AdmittedFile {
  const log = createLog({ level: 'debug', format: 'json', write: (line) => events.push(JSON.parse(line) as Record<string, unknown>) })
  const onList = (members: readonly Member[]): void => void lists.push(members.map(({ fingerprint }) => formatFingerprint(fingerprint)))
  const file = new AdmittedFile(path, { onList, log, ...TIMES })
  file.follow()
  onTestFinished(() => file.stop())
  return file
}

const write = (...lines: string[]): void => writeFileSync(path, lines.map((line) => `${line}\n`).join(''))
const becomes = (...lines: string[]): void => {
  look()
  expect(lists.at(-1)).toEqual(lines.map(nameOf))
}

it('reads the file again when it was written, replaced or moved back', () => {
  write(people[0]!)
  expect(open().first).toHaveLength(1)
  write(people[0]!, people[1]!)
  becomes(people[0]!, people[1]!)
  writeFileSync(`${path}.new`, `${people[2]!}\n`)
  renameSync(`${path}.new`, path)
  becomes(people[2]!)
  unlinkSync(path)
  write(people[3]!)
  becomes(people[3]!)
  expect(events.every(({ event, ok }) => event === 'admit-reloaded' && ok === true)).toBe(true)
})

it('keeps the former list while the file has a mistake or is gone, and says it once', () => {
  write(people[0]!)
  const file = open()
  write(people[0]!, 'nonsense', 'nonsense')
  look()
  expect(file.problem).toBe('line 2 is no key; mistakes in 1 more line')
  unlinkSync(path)
  look()
  expect(file.problem).toBe('the file cannot be read')
  expect(lists).toEqual([])
  expect(events).toMatchObject([
    { event: 'admit-reloaded', ok: false, line: 2, mistake: 'no-key' },
    { event: 'admit-reloaded', ok: false, mistake: 'unreadable' },
  ])
  write(people[1]!)
  becomes(people[1]!)
  expect(file.problem).toBeUndefined()
})

it('does not read a file that a program is still writing', () => {
  write(people[0]!)
  open()
  writeFileSync(path, '')
  for (const line of people) {
    appendFileSync(path, `${line}\n`)
    vi.advanceTimersByTime(TIMES.settleMs)
  }
  becomes(...people)
  expect(lists).toHaveLength(1)
})

it('follows a link to another file', () => {
  writeFileSync(`${path}.1`, `${people[0]!}\n`)
  writeFileSync(`${path}.2`, `${people[1]!}\n`)
  symlinkSync(`${path}.1`, path)
  open()
  symlinkSync(`${path}.2`, `${path}.new`)
  renameSync(`${path}.new`, path)
  becomes(people[1]!)
  expect(lists).toHaveLength(1)
})

it('reads the file at once when asked to', () => {
  write(people[0]!)
  const file = open()
  write(people[1]!)
  file.reload()
  expect(lists).toEqual([[nameOf(people[1]!)]])
})

it('refuses a folder, and reports at most 20 mistakes at the start', () => {
  mkdirSync(path)
  expect(open).toThrowError(expect.objectContaining({ problems: [expect.objectContaining({ problem: 'the file cannot be read' })] }))
  rmSync(path, { recursive: true })
  write(...Array.from({ length: 30 }, () => 'nonsense'))
  expect(open).toThrowError(
    expect.objectContaining({
      problems: expect.objectContaining({ length: 21, 20: expect.objectContaining({ problem: '10 more lines have mistakes' }) }),
    }),
  )
})
