/** `history: 7d`: the files of a history whose time is over, and clocks that are wrong. */
import { mkdtempSync, readdirSync, rmSync, utimesSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { generateSeedKey } from '../../../src/auth/seed.ts'
import { type Happened, History } from '../../../src/cli/chat/history.ts'
import { identityOf } from '../../../src/client/format/identity.ts'

const DAY = 86_400_000
const NOW = Date.UTC(2026, 10, 26, 12)
const owner = identityOf(generateSeedKey())
const said = (text: string): Happened[] => [
  { kind: 'message', message: { conversation: 'x', author: 'x', at: 0, verdict: 'genuine', text, mine: true, deliveries: [] } },
]

/** Makes a history with one file, last written at NOW. */
async function begin(): Promise<{ folder: string; names: () => string[]; open: (now: number) => History }> {
  const folder = mkdtempSync(join(tmpdir(), 'asfaleia-history-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  await new History(folder, owner, '1').append(said('old'))
  utimesSync(join(folder, '1.history'), NOW / 1_000, NOW / 1_000)
  return {
    folder,
    names: () => readdirSync(folder).toSorted(),
    open: (now) => new History(folder, owner, '2', { keep: (7 * DAY) / 1_000, now: () => now }),
  }
}

test('a file whose time is over is marked, and erased a day later', async () => {
  const { names, open } = await begin()
  await open(NOW + 7 * DAY).prune()
  expect(names()).toEqual(['1.history'])
  await open(NOW + 7 * DAY + 1).prune()
  expect(names()).toEqual(['1.history', '1.history.over'])
  await open(NOW + 8 * DAY).prune()
  expect(names()).toEqual(['1.history', '1.history.over'])
  await open(NOW + 8 * DAY + 1).prune()
  expect(names()).toEqual([])
})

test('a clock that was ahead for some hours erases nothing', async () => {
  const { names, open } = await begin()
  await open(NOW + 5_000 * DAY).prune()
  expect(names()).toEqual(['1.history', '1.history.over'])
  await open(NOW + DAY).prune()
  expect(names()).toEqual(['1.history'])
  await open(NOW + 7 * DAY + 1).prune()
  await open(NOW + 7 * DAY + 2).prune()
  expect(names()).toEqual(['1.history', '1.history.over'])
})

test('a mark that is not a time is removed', async () => {
  const { folder, names, open } = await begin()
  await open(NOW + 8 * DAY).prune()
  writeFileSync(join(folder, '1.history.over'), 'x')
  await open(NOW + 9 * DAY).prune()
  expect(names()).toEqual(['1.history'])
})

test('each day has a file of its own, so that a long session does not keep everything', async () => {
  const { folder, names } = await begin()
  let now = NOW
  const history = new History(folder, owner, '2', { keep: (7 * DAY) / 1_000, now: () => now })
  await history.append(said('one'))
  now += DAY - 1
  await history.append(said('two'))
  now += 1
  await history.append(said('three'))
  expect(names()).toEqual(['1.history', '2.0000.history', '2.0001.history'])
  expect((await history.read()).kept.map(({ text }) => text)).toEqual(['old', 'one', 'two', 'three'])
})

test('without a time, everything stays', async () => {
  const { folder, names } = await begin()
  await new History(folder, owner, '2', { now: () => NOW + 9_999 * DAY }).prune()
  expect(names()).toEqual(['1.history'])
})
