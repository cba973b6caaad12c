/** The values of headers, and what a file that somebody sends may be called. */
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
  ['nothing', ''],
  ['the folder', '.'],
  ['the folder above', '..'],
  ['a path upwards', '../../etc/passwd'],
  ['a path', 'folder/name'],
  ['an absolute path', '/etc/passwd'],
  ["a path of Windows'", '..\\name'],
  ['a drive', 'C:name'],
  ['a stream', 'name:stream'],
  ['a share', '\\\\host\\share'],
  ['a dot file', '.bashrc'],
  ['an option', '-rf'],
  ['a home', '~root'],
  ['a dot at its end', 'name.'],
  ['a space at its end', 'name '],
  ['a space before it', ' name'],
  ['a line feed', 'a\nb'],
  ['a NUL', 'a\0b'],
  ['an escape', '\u001b[31mred'],
  ['a C1 control', 'a\u009bb'],
  ['a delete', 'a\u007fb'],
  ['an ending that turns around', 'photo\u202egnp.exe'],
  ['an isolate', 'a\u2066b'],
  ['a space of no width', 'a\u200bb'],
  ['a line separator', 'a\u2028b'],
  ['a filler', 'a\u3164b'],
  ['a tag', 'a\u{e0041}b'],
  ['half a character', 'a\ud800'],
  ['another spelling of an umlaut', 'Zoe\u0308'],
  ['a star', '*'],
  ['a question mark', 'a?'],
  ['a pipe', 'a|b'],
  ['quotation marks', '"a"'],
  ['angle brackets', '<a>'],
  ['a device', 'CON'],
  ['a device in small letters', 'nul'],
  ['a device with an ending', 'aux.txt'],
  ['a device with two endings', 'Prn.tar.gz'],
  ['a device with spaces', 'com1 .txt'],
  ['a device with a number', 'LPT9'],
  ['a device with a raised number', 'com²'],
  ['a device of the console', 'CONIN$'],
  ['256 bytes', 'x'.repeat(256)],
  ['256 bytes in fewer characters', `${'ä'.repeat(128)}`],
]

describe('the name of a file', () => {
  it.each(GOOD)('%j is good, and stays', (name) => {
    expect(isFileName(name)).toBe(true)
    expect(makeFileName(name)).toBe(name)
  })

  it.each(BAD)('%s is none: another is made of it', (_, name) => {
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
  ])('of %j is made %j', (path, name) => {
    expect(makeFileName(path)).toBe(name)
  })

  it('can be made of anything, and stays once it is made', () => {
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

describe('the name of a person', () => {
  it.each(['A', 'Alice', 'Zoë', '愛', 'Ana María', '🎉', 'x'.repeat(64), '🎉'.repeat(64)])('%j is good', (name) => {
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
  ])('%j is none', (name) => {
    expect(isName(name)).toBe(false)
  })
})

it('ids are 22 characters that nobody guesses', () => {
  const ids = Array.from({ length: 1_000 }, makeId)
  expect(ids.every(isId)).toBe(true)
  expect(new Set(ids).size).toBe(1_000)
})

describe("a sender's line", () => {
  const makeLine = (): string => generatePrivateKey('').public

  it('is parsed once, as long as no 64 others came', () => {
    const line = makeLine()
    const key = parseKey(line)!
    expect(formatKey(key)).toBe(line)
    for (let n = 0; n < 63; n++) parseKey(makeLine())
    expect(parseKey(line)).toBe(key)
    parseKey(makeLine())
    expect(parseKey(line)).not.toBe(key)
    expect(parseKey(line)).toEqual(key)
  })

  it('has one spelling, also where the key is known', () => {
    const line = makeLine()
    expect(parseKey(line)).toBeDefined()
    for (const other of [`${line} `, `${line} comment`, line.toUpperCase(), line.slice(0, -1), ` ${line}`, '', '__proto__'])
      expect(parseKey(other)).toBeUndefined()
  })
})
