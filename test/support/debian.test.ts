import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { cached } from './debian.ts'

function makeCache(): string {
  const cache = mkdtempSync(join(tmpdir(), 'asf-cache-'))
  onTestFinished(() => rmSync(cache, { recursive: true }))
  return cache
}

test('a cached folder that two test files make at the same time is the one that was ready first', async () => {
  const cache = makeCache()
  const late = Promise.withResolvers<void>()
  const slow = cached(
    'debian',
    async (folder) => {
      await late.promise
      writeFileSync(join(folder, 'by'), 'the slow one')
    },
    cache,
  )
  const quick = await cached('debian', async (folder) => writeFileSync(join(folder, 'by'), 'the quick one'), cache)
  late.resolve()
  expect(await slow).toBe(quick)
  expect(readFileSync(join(quick, 'by'), 'utf8')).toBe('the quick one')
  expect(readdirSync(cache)).toHaveLength(1)
})

test('a cached folder is made once, and nothing of a failed attempt stays', async () => {
  const cache = makeCache()
  const fail = (): Promise<void> => Promise.reject(new Error('no mirror'))
  await expect(cached('debian', fail, cache)).rejects.toThrow('no mirror')
  expect(readdirSync(cache)).toEqual([])
  const place = await cached('debian', async (folder) => writeFileSync(join(folder, 'by'), ''), cache)
  expect(await cached('debian', fail, cache)).toBe(place)
})

test('a cached folder of the week before last is removed', async () => {
  const cache = makeCache()
  mkdirSync(join(cache, 'debian-1'))
  mkdirSync(join(cache, 'systemd-1'))
  const place = await cached('debian', async () => {}, cache)
  expect(existsSync(place)).toBe(true)
  expect(readdirSync(cache)).toHaveLength(2)
  expect(existsSync(join(cache, 'systemd-1'))).toBe(true)
})
