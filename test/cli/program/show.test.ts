import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { hides } from '../../../src/client/format/visible.ts'
import { sanitize, sanitizeLine } from '../../../src/cli/program/show.ts'

describe('sanitize', () => {
  test.each([
    ['an escape sequence', '\u001B[31mred', '\\u{1b}[31mred'],
    ['an operating system command', '\u001B]0;title\u0007', '\\u{1b}]0;title\\u{7}'],
    ['a C1 control sequence introducer', '\u009B31m', '\\u{9b}31m'],
    ['a carriage return', 'good\rbad', 'good\\u{d}bad'],
    ['backspace and delete', 'a\b\u007F', 'a\\u{8}\\u{7f}'],
    ['NUL', '\0', '\\u{0}'],
    ['a bidi override', 'a\u202Eb', 'a\\u{202e}b'],
    ['a bidi isolate', '\u2066\u2069', '\\u{2066}\\u{2069}'],
    ['direction marks', '\u200E\u200F\u061C', '\\u{200e}\\u{200f}\\u{61c}'],
    ['zero-width characters', '\u200B\u200C\u200D\uFEFF\u2060', '\\u{200b}\\u{200c}\\u{200d}\\u{feff}\\u{2060}'],
    ['a soft hyphen', '\u00AD', '\\u{ad}'],
    ['line and paragraph separators', '\u2028\u2029', '\\u{2028}\\u{2029}'],
    ['a tag outside the basic plane', '\u{E0041}', '\\u{e0041}'],
    ['a Hangul filler', '\u3164', '\\u{3164}'],
    ['a lone surrogate', '\uD800', '\\u{d800}'],
    ['a joiner between Latin letters', 'a\u{200c}b', 'a\\u{200c}b'],
    ['marks without a letter', 'a\n\u{301}\u{302}', 'a\n\\u{301}\\u{302}'],
    ['a mark at the start', '\u{301}', '\\u{301}'],
  ])('escapes %s', (_name, text, shown) => {
    expect(sanitize(text)).toBe(shown)
  })

  test.each([
    ['a family', '👨\u{200d}👩\u{200d}👧'],
    ['a rainbow flag', '🏳\u{fe0f}\u{200d}🌈'],
    ['Persian', 'می\u{200c}خواهم'],
    ['Hindi', 'क्\u{200d}ष'],
    ['Sinhala', 'ශ්\u{200d}රී'],
    ['a cluster with five marks, none above another', 'कार्त्स्न्य'],
  ])('keeps %s as written', (_name, text) => {
    expect(sanitize(text)).toBe(text)
  })

  test('shows CR LF as a line break', () => {
    expect(sanitize('line one\r\nline two\r\n')).toBe('line one\nline two\n')
    expect(sanitizeLine('line one\r\nline two')).toBe('line one\\nline two')
  })

  test('shortens a pile of marks', () => {
    expect(sanitize(`e${'\u{301}'.repeat(301)}!`)).toBe(`e${'\u{301}'.repeat(4)}…!`)
    expect(sanitize(`e${'\u{301}'.repeat(4)}!`)).toBe(`e${'\u{301}'.repeat(4)}!`)
    // Five marks of a Burmese syllable, of which one stands above the letter.
    expect(sanitize('ကျော်း')).toBe('ကျော်း')
    expect(sanitize(`က${'း'.repeat(99)}!`)).toBe(`က${'း'.repeat(8)}…!`)
  })

  test.each(['plain', 'two\nlines\tand a tab', 'Grüße, 你好, שלום, مرحبا', '🙂 ❤️', '\\u{1b} as written', ''])(
    'keeps %j unchanged',
    (text) => {
      expect(sanitize(text)).toBe(text)
    },
  )

  test('leaves no character that controls a terminal, for any text', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        const shown = sanitize(text)
        // oxlint-disable-next-line no-control-regex -- the test looks for control characters
        expect(/[\u0000-\u0008\u000B-\u001F\u007F-\u009F\u200B\u200E\u200F\u2028-\u202E\u2066-\u2069]/.test(shown)).toBe(false)
        expect(hides(shown.replaceAll(/[\n\t]/g, ' '))).toBe(false)
        expect(sanitize(shown)).toBe(shown)
        expect(sanitizeLine(text)).not.toMatch(/[\n\t]/)
      }),
    )
  })
})
