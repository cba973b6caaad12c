/** Runs the kept inputs of `npm run fuzz` again: each reached something that no other did. */
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it, test } from 'vitest'
import { CORPUS, encodeLine, readCorpus } from './fuzz/corpus.ts'
import { mutate } from './fuzz/mutation.ts'
import { seeded } from './fuzz/random.ts'
import { bytesOf, latin1 } from './fuzz/target.ts'
import { loadTarget, TARGETS } from './fuzz/targets.ts'

const names = Object.keys(TARGETS)

test('each target has a corpus, and each corpus a target', () => {
  expect(readdirSync(CORPUS).toSorted()).toEqual(names.map((name) => `${name}.jsonl`).toSorted())
})

describe.each(names)('%s', (name) => {
  it('returns for each kept input, and its properties hold', async () => {
    const target = await loadTarget(name)
    const inputs = readCorpus(target)
    expect(inputs.length).toBeGreaterThan(0)
    expect(target.covers.filter((path) => !existsSync(join(import.meta.dirname, '../src', path)))).toEqual([])
    const outcomes: string[] = []
    for (const input of [...(await target.seeds()).map(bytesOf), ...inputs]) outcomes.push(await target.run(input))
    expect(outcomes.every((outcome) => outcome !== '')).toBe(true)
  }, 60_000)
})

test('an input is the same after it was written and read', () => {
  const bytes = Uint8Array.from({ length: 256 }, (_, n) => n)
  const line = encodeLine(bytes)
  expect(line).toMatch(/^[\x20-\x7e]+$/)
  expect(bytesOf(JSON.parse(line) as string)).toEqual(bytes)
})

test('a mutation follows from its seed, and keeps to the longest input', () => {
  const options = { other: bytesOf('a;b;c\n'), words: [bytesOf('word')], longest: 40 }
  const make = (): string[] => {
    const random = seeded(7)
    return Array.from({ length: 500 }, () => latin1(mutate(bytesOf('0;1;22\nline two'), { ...options, random })))
  }
  const made = make()
  expect(make()).toEqual(made)
  expect(new Set(made).size).toBeGreaterThan(300)
  expect(Math.max(...made.map(({ length }) => length))).toBeLessThanOrEqual(40)
})
