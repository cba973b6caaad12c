/** A whole profile as one value: which files it can hold, and which values are refused. */
import { describe, expect, test } from 'vitest'
import { decodeFiles, encodeFiles, type Files, isPath, PROFILE } from '../../src/profile/files.ts'
import { encodeText } from '../../src/client/format/field.ts'

const bytes = encodeText('name: alice\n')
const filesOf = (...paths: string[]): Files => new Map([['profile', bytes], ...paths.map((path) => [path, bytes] as const)])
const decode = (value: unknown): Files | undefined => decodeFiles(encodeText(typeof value === 'string' ? value : JSON.stringify(value)))
const text = Buffer.from(bytes).toString('base64')

describe('the files of a profile', () => {
  test('are read as they were written, an empty one too', () => {
    const files = new Map([...filesOf('contacts/bob', 'groups/tea time', 'card'), ['blocked', new Uint8Array(0)]])
    expect(decodeFiles(encodeFiles(files))).toEqual(files)
  })

  test.each<[what: string, value: unknown]>([
    ['no JSON', '{"files"'],
    ['null', null],
    ['no files', {}],
    ['files that are null', { files: null }],
    ['another field', { files: { profile: text }, more: 1 }],
    ['no profile among them', { files: { card: text } }],
    ['a file that is no text', { files: { profile: 1 } }],
    ['a file that is no base64', { files: { profile: 'x' } }],
    ['a file of the state', { files: { profile: text, 'state/outbox': text } }],
    ['a path that is a file and a folder', { files: { profile: text, contacts: text, 'contacts/bob': text } }],
  ])('are refused with %s', (_what, value) => {
    expect(decode({ files: { profile: text } })?.size).toBe(1)
    expect(decode(value)).toBeUndefined()
  })

  test('are refused if they are no UTF-8', () => {
    expect(decodeFiles(Uint8Array.of(0xff))).toBeUndefined()
  })

  test('may be the most, and a file may be the largest', () => {
    const many = (count: number): Files => filesOf(...Array.from({ length: count - 1 }, (_, n) => `contacts/${n}`))
    expect(decodeFiles(encodeFiles(many(PROFILE.files)))?.size).toBe(PROFILE.files)
    expect(decodeFiles(encodeFiles(many(PROFILE.files + 1)))).toBeUndefined()
    const large = (length: number): Uint8Array => encodeFiles(new Map([['profile', new Uint8Array(length)]]))
    expect(decodeFiles(large(PROFILE.fileBytes))?.get('profile')).toHaveLength(PROFILE.fileBytes)
    expect(decodeFiles(large(PROFILE.fileBytes + 1))).toBeUndefined()
  })
})

test.each([
  ['profile', true],
  ['contacts/bob', true],
  ['contacts/b.b', true],
  ['state.old', true],
  ['contacts/state', true],
  ['x'.repeat(255), true],
  ['é'.repeat(127), true],
  ['x'.repeat(256), false],
  ['é'.repeat(128), false],
  ['', false],
  ['.ssh', false],
  ['contacts/.bob', false],
  ['contacts/', false],
  ['/etc', false],
  ['a/b/c', false],
  ['..', false],
  ['contacts/..', false],
  ['state', false],
  ['state/outbox', false],
  [String.raw`a\b`, false],
  ['a\0b', false],
])('the path %j can be in a profile: %s', (path, isOne) => {
  expect(isPath(path)).toBe(isOne)
})
