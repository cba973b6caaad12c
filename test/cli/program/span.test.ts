/** Spans of time as a user writes them. */
import { describe, expect, test } from 'vitest'
import { formatSpan, parseSpan } from '../../../src/cli/program/span.ts'

describe('a span', () => {
  test.each([
    ['1s', 1],
    ['90s', 90],
    ['30m', 1_800],
    ['1h', 3_600],
    ['7d', 604_800],
    ['2w', 1_209_600],
    ['99999999s', 99_999_999],
  ])('%s is read as %i seconds', (text, seconds) => {
    expect(parseSpan(text, 1, 1e9)).toBe(seconds)
  })

  test.each(['', '0s', '01s', '1', 's', '1.5h', '-1h', '+1h', ' 1h', '1h ', '1h30m', '1H', '1y', '100000000s', '1h\n'])(
    '%j is none',
    (text) => {
      expect(parseSpan(text, 0, Infinity)).toBeUndefined()
    },
  )

  test('lies within its bounds, both of which it may reach', () => {
    expect(['59s', '1m', '60s', '1h', '3601s', '61m'].map((text) => parseSpan(text, 60, 3_600))).toEqual([
      undefined,
      60,
      60,
      3_600,
      undefined,
      undefined,
    ])
  })

  test.each([
    [1, '1s'],
    [59, '59s'],
    [60, '1m'],
    [90, '90s'],
    [3_600, '1h'],
    [5_400, '90m'],
    [86_400, '1d'],
    [6 * 86_400, '6d'],
    [7 * 86_400, '1w'],
    [8 * 86_400, '8d'],
  ])('of %i seconds is written as %s, and read again', (seconds, text) => {
    expect(formatSpan(seconds)).toBe(text)
    expect(parseSpan(text, seconds, seconds)).toBe(seconds)
  })
})
