import { expect, test } from 'vitest'
import { Fields } from '../../src/profile/fields.ts'

test.each([
  ['LF', 'seen: no\n# mine\nrelay: a\n'],
  ['CRLF', 'seen: no\r\n# mine\r\nrelay: a\r\n'],
  ['CR', 'seen: no\r# mine\rrelay: a\r'],
  ['no line break at the end', '\ufeffseen: no\n# mine\nrelay: a'],
  ['a CR at the end', 'seen: no\n# mine\nrelay: a\r'],
])('fields with %s as line breaks', (_name, text) => {
  const fields = new Fields(text)
  expect(fields.all('seen')).toEqual(['no'])
  expect(fields.all('relay')).toEqual(['a'])
  expect(fields.toString()).toBe('seen: no\n# mine\nrelay: a\n')
})

test('a set field takes the place of the first one of its name', () => {
  const fields = new Fields('relay: a\nname: Bob\nrelay: b\n')
  fields.set('relay', 'c', 'd')
  expect(fields.toString()).toBe('relay: c\nrelay: d\nname: Bob\n')
})
