import { expect, test } from 'vitest'
import { parseTokens } from '../../src/transport/visitor.ts'

// test/transport/upgrade.test.ts tests Host and Origin.

test.each([
  ['asfaleia.1', ['asfaleia.1']],
  ['chat,asfaleia.1', ['chat', 'asfaleia.1']],
  [' chat \t,\t asfaleia.1 ', ['chat', 'asfaleia.1']],
])('the list %j is read', (list, tokens) => {
  expect(parseTokens(list)).toEqual(tokens)
})

// A quadratic time would be minutes.
test('a list of a million blanks is refused in a linear time', () => {
  expect(parseTokens(`a${'\t'.repeat(1_000_000)}b`)).toBeUndefined()
})

test.each(['', ' ', ',', 'asfaleia.1,', 'asfaleia.1, ', ',asfaleia.1', 'chat,,asfaleia.1', 'a b', 'a;b', '"a"', 'a\u00a0', 'a\n'])(
  'the list %j is refused',
  (list) => {
    expect(parseTokens(list)).toBeUndefined()
  },
)
