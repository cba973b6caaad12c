/**
 * Peers' texts as terminal cells: no text moves, hides or reorders anything, and every line has its computed
 * width.
 */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { hides } from '../../../src/client/format/visible.ts'
import { breakLines, clip, fit, graphemes, lineText, rowWidth, showLine, showText, widthOf, wrap } from '../../../src/cli/chat/text.ts'

describe('showText makes harmless', () => {
  it.each([
    ['an escape sequence', '\u{1b}[31mred', String.raw`\u{1b}[31mred`],
    ['an 8-bit escape sequence', '\u{9b}2J', String.raw`\u{9b}2J`],
    ['a title', '\u{1b}]0;owned\u{7}', String.raw`\u{1b}]0;owned\u{7}`],
    ['a right-to-left override', 'a\u{202e}b', String.raw`a\u{202e}b`],
    ['isolates', '\u{2066}x\u{2069}', String.raw`\u{2066}x\u{2069}`],
    ['zero width', 'b\u{200b}o\u{2060}b', String.raw`b\u{200b}o\u{2060}b`],
    ['a byte order mark', '\u{feff}bob', String.raw`\u{feff}bob`],
    ['tags', 'a\u{e0041}', String.raw`a\u{e0041}`],
    ['a carriage return', 'bob\rmallory', 'bob\nmallory'],
    ['line separators', 'a\u{2028}b', String.raw`a\u{2028}b`],
    ['backspaces', 'bob\b\b\b', String.raw`bob\u{8}\u{8}\u{8}`],
    ['a mark without a letter', '\u{301}', String.raw`\u{301}`],
    ['a flood of marks', `e${'\u{301}'.repeat(500)}!`, `e${'\u{301}'.repeat(4)}…!`],
    ['a lone surrogate', '\u{d83d}x', '\u{fffd}x'],
    ['a Hangul filler', '\u{3164}', String.raw`\u{3164}`],
    ['a tab', 'a\tb', 'a    b'],
    ['a joiner outside of an emoji', 'a\u{200d}b', String.raw`a\u{200d}b`],
  ])('%s', (_, text, shown) => {
    expect(showText(text)).toBe(shown)
  })

  it('showText keeps letters, marks, emoji and line breaks', () => {
    const text = 'Grüße, é e\u{301} ñ 日本語 한국어 👍🏽 👨‍👩‍👧 🇩🇪 ❤️\nשלום, می\u{200c}خواهم क्\u{200d}ष ශ්\u{200d}රී कार्त्स्न्य'
    expect(showText(text)).toBe(text)
  })

  it('showLine keeps the text on one line', () => {
    expect(showLine('bob\n23:14 alice: hi\r\n')).toBe(String.raw`bob\n23:14 alice: hi\n`)
  })

  it('showText yields no control or format character, and no grapheme without a width', () => {
    const units = fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.string({ unit: 'grapheme-composite' }),
      fc.constantFrom('\u{1b}[2J', '\u{202e}', '\u{301}'.repeat(9), '\u{200d}', 'क्'.repeat(50)),
    )
    fc.assert(
      fc.property(fc.array(units), (parts) => {
        const shown = showText(parts.join(''))
        for (const grapheme of graphemes(shown)) {
          if (grapheme === '\n') continue
          expect(widthOf(grapheme)).toBeGreaterThan(0)
          expect(widthOf(grapheme)).toBeLessThanOrEqual(8)
        }
        for (const line of shown.split('\n')) expect(hides(line)).toBe(false)
        expect(showText(shown)).toBe(shown)
      }),
    )
  })
})

describe('breakLines', () => {
  it.each([
    ['breaks at spaces', 'the kettle is on', 8, ['the', 'kettle', 'is on']],
    ['breaks within a long word', 'abcdefghij', 4, ['abcd', 'efgh', 'ij']],
    ['breaks at line breaks', 'a\n\nb\n', 9, ['a', '', 'b', '']],
    ['breaks before a wide character that does not fit', '日本語', 5, ['日本', '語']],
    ['breaks before and within a long word', 'on abcdefghij', 4, ['on', 'abcd', 'efgh', 'ij']],
    ['lets spaces at the end of a line hang over', 'ab   cd', 3, ['ab', 'cd']],
    ['makes one line of an empty text', '', 4, ['']],
  ])('%s', (_, text, width, lines) => {
    const all = graphemes(text)
    expect(breakLines(all, width).map((line) => lineText(all, line))).toEqual(lines)
  })

  it('keeps every grapheme once and in order, and no line exceeds the width', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), fc.integer({ min: 8, max: 20 }), (raw, width) => {
        const all = graphemes(showText(raw))
        const lines = breakLines(all, width)
        expect(lines.map(({ start, end }) => all.slice(start, end).join('')).join('')).toBe(all.join(''))
        for (const line of lines) expect(widthOf(lineText(all, line))).toBeLessThanOrEqual(width)
        for (const row of wrap(showText(raw), width)) expect(rowWidth(row)).toBeLessThanOrEqual(width)
      }),
    )
  })

  it('keeps the role of a span across breaks', () => {
    expect(wrap('see abc def', 7, 'plain', [{ start: 4, end: 11, role: 'link' }])).toEqual([
      [
        { text: 'see ', role: 'plain' },
        { text: 'abc', role: 'link' },
      ],
      [{ text: 'def', role: 'link' }],
    ])
  })
})

describe('clip and fit', () => {
  it('add an ellipsis or spaces, and never cut a wide character in half', () => {
    expect(clip('kettle', 6)).toBe('kettle')
    expect(clip('kettles', 6)).toBe('kettl…')
    expect(clip('日本語', 4)).toBe('日…')
    expect(clip('kettle', 0)).toBe('')
    expect(fit('日', 4)).toBe('日  ')
    expect(widthOf(fit('日本語日本語', 8))).toBe(8)
  })
})
