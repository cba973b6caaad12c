import { expect, test } from 'vitest'
import { judge, median, sample, trendOf } from './sample.ts'

const LINE = Array.from({ length: 100 }, (_, index) => ({ at: index / 100, value: index }))

test('the trend compares the medians of the second and the last quarter', () => {
  expect(trendOf(LINE, ({ value }) => value)).toEqual({ before: 37, after: 87 })
})

test('a process is flat up to 5 % more memory and 2 more descriptors', () => {
  expect(judge({ before: 100, after: 105 }, { before: 20, after: 22 })).toEqual([])
  expect(judge({ before: 100, after: 80 }, { before: 20, after: 10 })).toEqual([])
  expect(judge({ before: 100, after: 105.1 }, { before: 20, after: 23 })).toEqual([
    'its memory grew by 5.1 %',
    'it has 3 more open descriptors',
  ])
  expect(judge({ before: 100, after: 100 }, { before: 100, after: 105 })).toEqual([])
})

test('a process without samples is not flat', () => {
  const none = { before: median([]), after: median([]) }
  expect(judge(none, none)).toHaveLength(2)
})

test('a sample has the memory and the descriptors of a process, and a process that has ended has none', () => {
  const found = sample(process.pid, 0.5)!
  expect(found.at).toBe(0.5)
  expect(found.resident / process.memoryUsage.rss()).toBeCloseTo(1, 0)
  expect(found.descriptors).toBeGreaterThan(2)
  expect(sample(2 ** 22 + 1, 0)).toBeUndefined()
})
