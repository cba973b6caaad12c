import { describe, expect, test } from 'vitest'
import { didYouMean, nearest } from '../src/nearest.ts'

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

describe('didYouMean', () => {
  test('asks for one name, or for two or three, the most alike first', () => {
    expect(didYouMean('bo', ['carol', 'bobby', 'bob'])).toBe('; did you mean "bob" or "bobby"?')
    expect(didYouMean('BO', ['bobby', 'bob', 'bonny', 'bonnie'])).toBe('; did you mean "bob", "bobby" or "bonny"?')
    expect(didYouMean('hlep', ['help', 'quit'], (name) => `/${name}`)).toBe('; did you mean /help?')
  })

  test('is empty if no name is alike, and for an endless word', () => {
    expect(didYouMean('dave', ['bob', 'carol'])).toBe('')
    expect(didYouMean('x'.repeat(1_000_000), ['x'.repeat(1_000_000)])).toBe('')
  })
})
