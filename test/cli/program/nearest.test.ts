import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { didYouMean, nearest } from '../../../src/cli/program/nearest.ts'

const OPTIONS = ['follow', 'files', 'format', 'relay', 'key', 'json', 'timeout']

describe('nearest', () => {
  test.each([
    ['folow', ['follow']],
    ['follwo', ['follow']],
    ['FOLLOW', ['follow']],
    ['fo', ['follow', 'format']],
    ['kez', ['key']],
    ['tiemout', ['timeout']],
    ['xyzzy', []],
    ['', []],
  ])('finds the names near %j', (word, names) => {
    expect(nearest(word, OPTIONS)).toEqual(names)
  })

  test('returns at most three names, each once, those that begin with the word first', () => {
    expect(nearest('bo', ['bobby', 'bob', 'bob', 'to', 'bonnie', 'boo'])).toEqual(['bob', 'boo', 'bobby'])
  })

  test('finds a name one edit away', () => {
    const name = fc.string({ minLength: 3, maxLength: 20, unit: fc.constantFrom(...'abcdefgh') })
    fc.assert(
      fc.property(name, fc.nat(19), fc.constantFrom('insert', 'remove', 'replace'), (word, at, edit) => {
        const index = at % word.length
        const typed = `${word.slice(0, index)}${edit === 'remove' ? '' : 'z'}${word.slice(edit === 'insert' ? index : index + 1)}`
        expect(nearest(typed, [word])).toEqual([word])
      }),
    )
  })

  test('compares long words in bounded time', () => {
    const long = 'a'.repeat(1_000_000)
    expect(nearest(long, [long, 'b'.repeat(1_000_000)])).toEqual([long])
  })
})

test('didYouMean suggests the nearest names', () => {
  expect(didYouMean('bo', ['bob', 'bobby', 'carol'])).toBe('did you mean "bob" or "bobby"?')
  expect(didYouMean('--folow', ['--follow'], (name) => name)).toBe('did you mean --follow?')
  expect(didYouMean('dave', ['bob'])).toBeUndefined()
})
