/** The one rule for names that people choose, and names that look alike. */
import { describe, expect, it, test } from 'vitest'
import { readConfusables } from '../../src/wording/confusables.ts'
import { looksLike } from '../../src/wording/likeness.ts'
import { composeName, quoteName, refuseName, showName } from '../../src/wording/name.ts'

describe('a name', () => {
  it.each([
    'Alice',
    'alice 2',
    "O'Brien",
    'Jean-Luc',
    'Alice L.',
    'Bob (work)',
    'René',
    'Zoë & Max',
    'Иван',
    'Γιώργος',
    '愛',
    '葛\u{e0100}城',
    'クリス・エバンス',
    '김민수',
    'דוד בן־גוריון',
    'می\u{200c}خواهم',
    'ශ්\u{200d}රී',
    'र\u{94d}\u{200d}य',
    'दुःख',
    'ကျော်း',
    'བསྟན་འཛིན',
    'สมชาย',
    '🎉',
    '❤\u{fe0f}',
    '👨\u{200d}👩\u{200d}👧 Smith',
    '🇩🇪',
    'Ke$ha',
    'Ingrid',
    'Dominique',
    'Youssef',
    'Tomás',
  ])('%j can be chosen, and is shown as it is', (name) => {
    expect(refuseName(name)).toBeUndefined()
    expect(showName(name)).toBe(name)
  })

  it.each<[what: string, name: string, shown: string]>([
    ['a colon', 'Alice: hi', String.raw`"Alice\u{3a} hi"`],
    ['a full-width colon', 'Alice：', String.raw`"Alice\u{ff1a}"`],
    ['a modifier that looks like a colon', 'Alice\u{a789}', String.raw`"Alice\u{a789}"`],
    ['a letter that looks like a colon', 'Alice\u{2d0}', String.raw`"Alice\u{2d0}"`],
    ['a ratio', 'Alice\u{2236}', String.raw`"Alice\u{2236}"`],
    ['a punctuation mark that looks like a colon', 'Alice\u{5c3}', String.raw`"Alice\u{5c3}"`],
    ['a remark', 'Alice [verified]', String.raw`"Alice \u{5b}verified\u{5d}"`],
    ['full-width brackets', 'Alice ［old］', String.raw`"Alice \u{ff3b}old\u{ff3d}"`],
    ['a check mark', 'Alice✓', String.raw`"Alice\u{2713}"`],
    ['a heavy check mark', 'Alice✔\u{fe0f}', String.raw`"Alice\u{2714}\u{fe0f}"`],
    ['a check box', 'Alice ✅', String.raw`"Alice \u{2705}"`],
    ['the word verified', 'Alice (Verified)', '"Alice (Verified)"'],
    ['a blank Braille pattern', 'Alice\u{2800}', String.raw`"Alice\u{2800}"`],
    ['a musical symbol without a glyph', 'Alice\u{1d159}', String.raw`"Alice\u{1d159}"`],
    ['a blank hieroglyph', 'Alice\u{13441}', String.raw`"Alice\u{13441}"`],
    ['a group', 'Alice in Friends', '"Alice in Friends"'],
    ['a group in other letters', 'Alice іn Friends', '"Alice іn Friends"'],
    ['a list of names', 'Alice, Bob', String.raw`"Alice\u{2c} Bob"`],
    ['quotes', '"Alice"', String.raw`"\u{22}Alice\u{22}"`],
    ['a command', 'a`b`', String.raw`"a\u{60}b\u{60}"`],
    ['an escape', String.raw`Alice\u{3a}`, String.raw`"Alice\u{5c}u\u{7b}3a\u{7d}"`],
    ['a path', 'a/b', String.raw`"a\u{2f}b"`],
    ['a mark of another script', 'Alice\u{903}', '"Alice\u{903}"'],
    ['the word of the chat for the user', 'You', '"You"'],
    ['the beginning of a line of the chat', 'to Alice', '"to Alice"'],
    ['the word of the chat for strangers', 'Strangers', '"Strangers"'],
    ["the mark of a group's member", '~Alice', String.raw`"\u{7e}Alice"`],
    ['the mark of a group', '#Friends Alice', '"#Friends Alice"'],
    ['the mark of a name that looks like another', '?Alice', '"?Alice"'],
    ['two spaces', 'Alice  x', '"Alice  x"'],
    ['five marks', `A${'\u{327}\u{328}\u{329}\u{32a}\u{32b}'}`, `"A${'\u{327}\u{328}\u{329}\u{32a}'}…"`],
    ['a joiner between Latin letters', 'Ali\u{200c}ce', String.raw`"Ali\u{200c}ce"`],
    ['a Hangul filler', 'Alice\u{3164}', String.raw`"Alice\u{3164}"`],
    ['a bidi override', 'Alice\u{202e}', String.raw`"Alice\u{202e}"`],
  ])('with %s cannot be chosen, and is shown in quotes', (_, name, shown) => {
    expect(refuseName(name)).toContain('cannot be a name')
    expect(showName(name)).toBe(shown)
    expect(quoteName(name)).toBe(shown)
  })

  it('of a group may contain the word "in", because the first one in a line ends the name of the member', () => {
    expect(refuseName('Women in Tech')).toBeDefined()
    expect(refuseName('Women in Tech', 'group')).toBeUndefined()
    expect(showName('Women in Tech', 'group')).toBe('Women in Tech')
    expect(showName('Friends: I agree. P.S', 'group')).toBe(String.raw`"Friends\u{3a} I agree. P.S"`)
  })

  it('is composed as the user types it', () => {
    expect(refuseName('Rene\u{301}')).toBeDefined()
    expect(composeName('Rene\u{301}')).toBe('René')
    expect(refuseName(composeName('Rene\u{301}'))).toBeUndefined()
  })
})

describe('names look alike', () => {
  it.each([
    ['Alice', 'Аlice'],
    ['Alice', 'alice'],
    ['alice', 'ΑLICE'],
    ['Alice', 'AIice'],
    ['Alice', 'A1ice'],
    ['Alice', 'Ａｌｉｃｅ'],
    ['Alice', '𝐀𝐥𝐢𝐜𝐞'],
    ['Bob', 'B0b'],
    ['Tom', 'Torn'],
    ['می\u{200c}خواهم', 'میخواهم'],
    ['葛\u{e0100}', '葛'],
    ['René', 'Rene\u{301}'],
    ['paypal', 'раураl'],
    ['IVAN', 'іvan'],
    ["O'Brien", 'O’Brien'],
    ['Jean-Luc', 'Jean‐Luc'],
  ])('%j and %j', (one, other) => {
    expect(looksLike(one, other)).toBe(true)
    expect(looksLike(other, one)).toBe(true)
  })

  it.each([
    ['Alice', 'Alicia'],
    ['Rene', 'René'],
    ['Bob', 'Rob'],
    ['Tea', 'Tea (2)'],
    ['Иван', 'Ивана'],
    ['Ali', 'Alì'],
  ])('but not %j and %j', (one, other) => {
    expect(looksLike(one, other)).toBe(false)
  })
})

test('the table of confusable characters gives each prototype itself', () => {
  const prototypes = readConfusables()
  expect(prototypes.size).toBe(2_117)
  for (const [character, prototype] of [
    ['\u0430', 'a'],
    ['\u0131', 'i'],
    ['\u2C9E', 'O'],
    ['\u{118C1}', 's'],
  ] as const)
    expect([character, prototypes.get(character)]).toEqual([character, prototype])
  // U+048B is the one whose prototype is not final in Unicode's file.
  expect([...prototypes.values()].flatMap((each) => [...each]).filter((each) => prototypes.has(each))).toEqual(['\u0438'])
})
