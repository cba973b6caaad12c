import { mkdtempSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test, vi } from 'vitest'
import { followNameFile } from '../../src/server/name-file.ts'

test('each problem of the name file is reported once, but not that it is missing', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'asf-name-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  const path = join(folder, 'hostname')
  const problems: string[] = []
  const names: string[] = []
  const file = followNameFile(
    path,
    ({ name }) => void names.push(name),
    (problem) => void problems.push(problem),
  )
  onTestFinished(() => file.stop())
  expect([file.problem(), problems]).toEqual(['missing', []])
  mkdirSync(path)
  await vi.waitFor(() => expect(file.problem()).toBe('unreadable'), 5_000)
  rmSync(path, { recursive: true })
  writeFileSync(path, 'example.com\n')
  await vi.waitFor(() => expect(file.problem()).toBe('malformed'), 5_000)
  writeFileSync(path, 'localhost\n')
  await vi.waitFor(() => expect(file.problem()).toBeUndefined(), 5_000)
  expect([names, problems]).toEqual([['localhost'], ['unreadable', 'malformed']])
})
