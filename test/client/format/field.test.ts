/** The values of headers, and the names that a received file may have. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { generatePrivateKey } from '../../../src/auth/private-key.ts'
import { encodeText, formatKey, isFileName, isId, isName, makeFileName, makeId, parseKey } from '../../../src/client/format/field.ts'

const GOOD = [
  'a',
  'holiday.jpeg',
  'a b.txt',
  'Zoë.txt',
  '報告書.pdf',
  '🎉.png',
  'archive.tar.gz',
  'no ending',
  'console.log',
  'nulls.txt',
  'com10',
  "it's (1) [final] #2 & 50%.txt",
  'Screenshot 2026-11-26 at 3.04.05\u202fPM.png',
  `${'x'.repeat(251)}.txt`,
]

const BAD: readonly (readonly [what: string, name: string])[] = [
  ['an empty name', ''],
  ['the folder', '.'],
  ['the folder above', '..'],
  ['a path upwards', '../../etc/passwd'],
  ['a path', 'folder/name'],
  ['an absolute path', '/etc/passwd'],
  ['a Windows path', '..\\name'],
  ['a drive', 'C:name'],
  ['an NTFS stream', 'name:stream'],
  ['a network share', '\\\\host\\share'],
  ['a dot file', '.bashrc'],
  ['an option', '-rf'],
  ['a home folder', '~root'],
  ['a trailing dot', 'name.'],
  ['a trailing space', 'name '],
  ['a leading space', ' name'],
  ['a line feed', 'a\nb'],
  ['a NUL', 'a\0b'],
  ['an escape sequence', '\u001b[31mred'],
  ['a C1 control', 'a\u009bb'],
  ['a delete character', 'a\u007fb'],
  ['a bidi override', 'photo\u202egnp.exe'],
  ['a bidi isolate', 'a\u2066b'],
  ['a zero-width space', 'a\u200bb'],
  ['a line separator', 'a\u2028b'],
  ['a Hangul filler', 'a\u3164b'],
  ['a tag character', 'a\u{e0041}b'],
  ['a lone surrogate', 'a\ud800'],
  ['a decomposed umlaut', 'Zoe\u0308'],
  ['a star', '*'],
  ['a question mark', 'a?'],
  ['a pipe', 'a|b'],
  ['quotation marks', '"a"'],
  ['angle brackets', '<a>'],
  ['a Windows device', 'CON'],
  ['a device in lower case', 'nul'],
  ['a device with an extension', 'aux.txt'],
  ['a device with two extensions', 'Prn.tar.gz'],
  ['a device with a space', 'com1 .txt'],
  ['a device with a number', 'LPT9'],
  ['a device with a superscript digit', 'com²'],
  ['a device of the console', 'CONIN$'],
  ['256 bytes', 'x'.repeat(256)],
  ['256 bytes in fewer characters', `${'ä'.repeat(128)}`],
]

describe('file names', () => {
  it.each(GOOD)('accept %j and keep it', (name) => {
    expect(isFileName(name)).toBe(true)
    expect(makeFileName(name)).toBe(name)
  })

  it.each(BAD)('refuse and replace %s', (_, name) => {
    expect(isFileName(name)).toBe(false)
    expect(isFileName(makeFileName(name))).toBe(true)
  })

  it.each([
    ['/home/alice/holiday.jpeg', 'holiday.jpeg'],
    ['C:\\Users\\alice\\report.pdf', 'report.pdf'],
    ['folder/', 'folder'],
    ['.bashrc', 'bashrc'],
    ['..', 'file'],
    ['', 'file'],
    ['photo\u202egnp.exe', 'photo_gnp.exe'],
    ['nul.txt', '_nul.txt'],
    ['12:30.txt', '12_30.txt'],
    ['Zoe\u0308', 'Zoë'],
    [`${'ä'.repeat(200)}.jpeg`, `${'ä'.repeat(125)}.jpeg`],
  ])('turn %j into %j', (path, name) => {
    expect(makeFileName(path)).toBe(name)
  })

  // A quadratic time would be minutes.
  it('are made of a text of a million characters', () => {
    expect(makeFileName(`${'name '.repeat(200_000)}.tar`)).toMatch(/^(?:name )+n\.tar$/)
    expect(isFileName(makeFileName(`x${'. '.repeat(500_000)}x`))).toBe(true)
    expect(makeFileName('é'.repeat(200))).toBe('é'.repeat(127))
  })

  it('are made of any text, and a second pass changes nothing', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 400 }), (path) => {
        const name = makeFileName(path)
        expect(isFileName(name)).toBe(true)
        expect(makeFileName(name)).toBe(name)
        expect(encodeText(name).length).toBeLessThanOrEqual(255)
        expect(name).not.toMatch(/[/\\\0]|^\./)
      }),
    )
  })
})

describe('names of people', () => {
  it.each(['A', 'Alice', 'Zoë', '愛', 'Ana María', '🎉', 'x'.repeat(64), '🎉'.repeat(64)])('accept %j', (name) => {
    expect(isName(name)).toBe(true)
  })

  it.each([
    '',
    ' ',
    ' a',
    'a ',
    'a\tb',
    'a\nb',
    'a\u00a0b',
    'a\u3000b',
    'a\u200db',
    'a\u202eb',
    'a\u00adb',
    'a\ufe0f',
    'a\ud800',
    'Zoe\u0308',
    'x'.repeat(65),
    '🎉'.repeat(65),
  ])('refuse %j', (name) => {
    expect(isName(name)).toBe(false)
  })
})

it('ids are random and have 22 characters', () => {
  const ids = Array.from({ length: 1_000 }, makeId)
  expect(ids.every(isId)).toBe(true)
  expect(new Set(ids).size).toBe(1_000)
})

describe('parseKey', () => {
  const makeLine = (): string => generatePrivateKey('').public

  it('caches a line until 64 other lines follow', () => {
    const line = makeLine()
    const key = parseKey(line)!
    expect(formatKey(key)).toBe(line)
    for (let n = 0; n < 63; n++) parseKey(makeLine())
    expect(parseKey(line)).toBe(key)
    parseKey(makeLine())
    expect(parseKey(line)).not.toBe(key)
    expect(parseKey(line)).toEqual(key)
  })

  it('accepts only one spelling, even of a cached key', () => {
    const line = makeLine()
    expect(parseKey(line)).toBeDefined()
    for (const other of [`${line} `, `${line} comment`, line.toUpperCase(), line.slice(0, -1), ` ${line}`, '', '__proto__'])
      expect(parseKey(other)).toBeUndefined()
  })
})
