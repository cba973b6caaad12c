/** The list of admitted keys as a text: what stands in it, and how it grows. */
import { describe, expect, test } from 'vitest'
import { appendLine, readKeyList, removeRows } from '../../../src/cli/service/key-list.ts'
import { createPerson } from '../../support/wire.ts'

const { line } = createPerson()

describe('a line is appended', () => {
  test.each([
    ['to an empty list', '', 'new\n'],
    ['to a list of one character', '#', '#\nnew\n'],
    ['to a list of one line break', '\n', '\nnew\n'],
    ['after a line', 'a\n', 'a\nnew\n'],
    ['after a line without its end', 'a\nb', 'a\nb\nnew\n'],
    ['to a list of one line break of the other kind', '\r\n', '\r\nnew\r\n'],
    ['with the line break of the system that wrote the list', 'a\r\n', 'a\r\nnew\r\n'],
    ['with the same after a line without its end', 'a\r\nb', 'a\r\nb\r\nnew\r\n'],
    ['with the line break of the last line', 'a\r\nb\n', 'a\r\nb\nnew\n'],
  ])('%s', (_where, before, after) => {
    expect(Buffer.from(appendLine(Buffer.from(before), 'new')).toString()).toBe(after)
  })
})

test('a list has a row for each line with a key, whether the line is a mistake or not', () => {
  const text = `# people\n${line} Ada\nssh-ed25519 AAAA Bob\nno key\n\nsend-only,receive-only ${line} again\n`
  const { rows, mistakes } = readKeyList(Buffer.from(text))
  expect(rows.map(({ line: { number }, name, entry }) => [number, name, entry !== undefined])).toEqual([
    [2, 'Ada', true],
    [6, 'again', false],
  ])
  expect(mistakes.map((mistake) => mistake.line)).toEqual([3, 4, 6])
})

test('removed rows take their line breaks with them, and leave every other byte', () => {
  const text = Buffer.from(`\u{feff}# caf\u{e9}\r\n${line} A\r\n\r\n${line} B`, 'latin1')
  const { rows } = readKeyList(text)
  expect(Buffer.from(removeRows(text, rows.slice(0, 1)))).toEqual(Buffer.from(`\u{feff}# caf\u{e9}\r\n\r\n${line} B`, 'latin1'))
  expect(Buffer.from(removeRows(text, []))).toEqual(text)
})
