/** Hidden characters are shown where they belong to the writing, and nowhere else. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { isFileName, isName, makeFileName } from '../../../src/client/format/field.ts'
import { dropHidden, hides, replaceHidden } from '../../../src/client/format/visible.ts'

const BELONGS: readonly (readonly [what: string, text: string])[] = [
  ['ZWNJ between joining letters (Persian)', 'می\u{200c}خواهم'],
  ['ZWNJ after a mark (Arabic)', 'بِ\u{200c}ب'],
  ['ZWNJ after a letter that does not join, as Persians write it', 'کار\u{200c}ها'],
  ['ZWNJ after a virama', 'क्\u{200c}ष'],
  ['ZWJ after a virama (Hindi)', 'क्\u{200d}ष'],
  ['ZWJ after a virama (Sinhala)', 'ශ්\u{200d}රී'],
  ['ZWJ after a virama at the end, a half form', 'क्\u{200d}'],
  ['ZWJ before a virama (Bengali)', 'র\u{200d}্যাব'],
  ['a family', '👨\u{200d}👩\u{200d}👧'],
  ['a rainbow flag', '🏳\u{fe0f}\u{200d}🌈'],
  ['a profession with a tone', '👩🏽\u{200d}🚀'],
  ['the flag of England', '🏴\u{e0067}\u{e0062}\u{e0065}\u{e006e}\u{e0067}\u{e007f}'],
  ['a keycap', '1\u{fe0f}\u{20e3}'],
  ['a heart as an emoji', '❤\u{fe0f}'],
  ['a symbol as a text', '☺\u{fe0e}'],
  ['a variant of an ideograph', '葛\u{e0100}城'],
  ['a variant of a Mongolian letter', 'ᠠ\u{180b}'],
]

const FOREIGN: readonly (readonly [what: string, text: string])[] = [
  ['ZWNJ between Latin letters', 'a\u{200c}b'],
  ['ZWJ between Latin letters', 'a\u{200d}b'],
  ['ZWNJ at the start', '\u{200c}می'],
  ['ZWNJ at the end', 'می\u{200c}'],
  ['ZWNJ before a space', 'می\u{200c} خ'],
  ['two ZWNJ', 'می\u{200c}\u{200c}خواهم'],
  ['ZWNJ between scripts', 'می\u{200c}a'],
  ['ZWNJ between Han characters', '愛\u{200c}愛'],
  ['ZWJ between Persian letters', 'می\u{200d}خواهم'],
  ['ZWJ before a vowel sign', 'क्\u{200d}ा'],
  ['a Devanagari virama on a Latin letter', 'a\u{94d}\u{200d}'],
  ['ZWJ after an emoji', '👨\u{200d}'],
  ['ZWJ between emoji that do not join', '👍\u{200d}👍'],
  ['ZWJ between digits', '1\u{200d}2'],
  ['a flag of tags that does not exist', '🏴\u{e0067}\u{e0062}\u{e0065}\u{e006e}\u{e0068}\u{e007f}'],
  ['tags without a flag', 'a\u{e0067}\u{e007f}'],
  ['an emoji selector on a letter', 'a\u{fe0f}'],
  ['a variant selector on a letter', 'a\u{e0100}'],
  ['a zero-width space', 'می\u{200b}خواهم'],
  ['a bidi override', 'می\u{202e}خواهم'],
]

const escape = (text: string): string => replaceHidden(text, (each) => `<${each.codePointAt(0)!.toString(16)}>`)

describe('a hidden character', () => {
  it.each(BELONGS)('that belongs to the writing stays: %s', (_, text) => {
    expect(escape(text)).toBe(text)
    expect(hides(text)).toBe(false)
    // In a word of a sentence, too.
    expect(escape(`so: ${text}`)).toBe(`so: ${text}`)
    expect(isName(text)).toBe(true)
    expect(isFileName(`${text}.txt`)).toBe(true)
    expect(makeFileName(`${text}.txt`)).toBe(`${text}.txt`)
  })

  it.each(FOREIGN)('that does not belong to the writing is replaced: %s', (_, text) => {
    expect(escape(text)).not.toBe(text)
    expect(escape(text).replaceAll(/<[0-9a-f]+>/g, '')).toBe(dropHidden(text))
    expect(hides(text)).toBe(true)
    expect(isName(text)).toBe(false)
    expect(isFileName(`${text}.txt`)).toBe(false)
  })

  it.each([
    ['🏳\u{200d}🌈', '🏳\u{fe0f}\u{200d}🌈'],
    ['❤\u{200d}🔥', '❤\u{fe0f}\u{200d}🔥'],
    ['👁\u{200d}🗨', '👁\u{fe0f}\u{200d}🗨\u{fe0f}'],
  ])('that a sender may leave out of an emoji is added: %s', (text, whole) => {
    expect(escape(text)).toBe(whole)
  })

  it('is left in no text by a second pass that was not left by the first', () => {
    const units = fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.constantFrom(...BELONGS.map(([, text]) => text), '\u{200c}', '\u{200d}', '\u{fe0f}', 'می', 'क्', '👨', '\u{301}'),
    )
    fc.assert(
      fc.property(fc.array(units), (parts) => {
        const shown = escape(parts.join(''))
        expect(hides(shown)).toBe(false)
      }),
    )
  })
})
