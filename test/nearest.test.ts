import { describe, expect, test } from 'vitest'
import { nearest } from '../src/nearest.ts'

describe('nearest', () => {
  test.each<[string, string[], string | undefined]>([
    ['foo', ['files', 'follow', 'json', 'key', 'socks'], 'follow'],
    ['sned', ['status', 'send', 'start'], 'send'],
    ['contct', ['chat', 'contact'], 'contact'],
    ['hist', ['help', 'history'], 'history'],
    ['LIST', ['add', 'list'], 'list'],
    ['frobnicate', ['add', 'list', 'show', 'rename', 'remove', 'verify'], undefined],
    ['zQ9', ['me', 'get', 'key'], undefined],
    ['', ['me'], undefined],
    ['me', [], undefined],
    ['x'.repeat(10_000), ['x'.repeat(9_999)], undefined],
  ])('%j among %j is %j', (word, candidates, expected) => {
    expect(nearest(word, candidates)).toBe(expected)
  })
})
