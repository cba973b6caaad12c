/**
 * Characters that a reader cannot see, and where they belong to the writing all the same: the joiners in words (UAX 31,
 * section 2.3) and in emoji (UTS 51), and the selectors of a variant. Pure; runs in a browser too.
 */

/** Control and format characters (bidi overrides, zero-width), line separators, and characters without a glyph. */
const HIDDEN = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}]/v

let emoji: RegExp | undefined
/** Whether Unicode recommends the sequence. The expression has thousands of strings: Node takes 40 ms to read it. */
export const isEmoji = (sequence: string): boolean => (emoji ??= new RegExp(String.raw`^\p{RGI_Emoji}$`, 'v')).test(sequence)

const EMOJI_OR_HIDDEN = new RegExp(
  // Emoji joined by ZWJ; a flag with tags; any other hidden character.
  String.raw`\p{Emoji}[\p{EMod}\uFE0F\u20E3]*(?:\u200D\p{Emoji}[\p{EMod}\uFE0F\u20E3]*)+|\p{Emoji}[\u{E0020}-\u{E007E}]+\u{E007F}|` +
    HIDDEN.source,
  'gv',
)

/**
 * Replaces each hidden character that is no part of the writing where it stands.
 * @param replace returns the replacement of a character
 */
export function replaceHidden(text: string, replace: (character: string) => string): string {
  return text.replace(EMOJI_OR_HIDDEN, (found: string, at: number) => {
    const [first = '', ...more] = found
    if (more.length === 0) return belongs(text, at, first) ? first : replace(first)
    if (isEmoji(found)) return found
    const qualified = qualify(found)
    return isEmoji(qualified) ? qualified : Array.from(found, (each) => (isJoiner(each) ? replace(each) : each)).join('')
  })
}

/** Returns whether the text has a hidden character that is no part of the writing. */
export function hides(text: string): boolean {
  let found = false
  replaceHidden(text, (character) => {
    found = true
    return character
  })
  return found
}

/** Removes all hidden characters, for a comparison. */
export const dropHidden = (text: string): string => text.replace(new RegExp(HIDDEN, 'gv'), '')

/** Whether it joins emoji or tags one. */
const isJoiner = (character: string): boolean => /[\u200D\u{E0020}-\u{E007F}]/u.test(character)

/** Adds the emoji selectors that a sender may leave out (UTS 51, section 2.2). */
function qualify(emoji: string): string {
  return emoji.replaceAll('\u{FE0F}', '').replaceAll(/[\p{Emoji}--\p{Emoji_Presentation}](?!\p{EMod})/gv, '$&\u{FE0F}')
}

/** How much of the text around a character counts, in UTF-16 code units. */
const AROUND = 16

/** Returns whether the hidden character at that index belongs to the writing. */
function belongs(text: string, at: number, character: string): boolean {
  const rule = RULES.find(([characters]) => characters.test(character))
  if (rule === undefined) return false
  const before = text.slice(Math.max(0, at - AROUND), at)
  const after = text.slice(at + character.length, at + character.length + AROUND)
  return rule.slice(1).some((context) => (context as Context)[0].test(before) && (context as Context)[1].test(after))
}

type Context = readonly [before: RegExp, after: RegExp]

// Scripts whose letters join by themselves.
const CURSIVE = String.raw`[\p{L}&&[\p{scx=Arab}\p{scx=Syrc}\p{scx=Mand}\p{scx=Nkoo}\p{scx=Mong}\p{scx=Phag}\p{scx=Adlm}\p{scx=Rohg}\p{scx=Sogd}]]`
// Letters that a virama can follow.
const BASE = String.raw`[\p{L}--[\p{sc=Latn}\p{sc=Grek}\p{sc=Cyrl}]]`
const MARK = String.raw`[\p{M}--\p{Default_Ignorable_Code_Point}]`
// Canonical combining class 9 (UnicodeData.txt of Unicode 15).
const VIRAMA =
  '[\\u094D\\u09CD\\u0A4D\\u0ACD\\u0B4D\\u0BCD\\u0C4D\\u0CCD\\u0D3B\\u0D3C\\u0D4D\\u0DCA\\u0E3A\\u0EBA\\u0F84\\u1039\\u103A' +
  '\\u1714\\u1715\\u1734\\u17D2\\u1A60\\u1B44\\u1BAA\\u1BAB\\u1BF2\\u1BF3\\u2D7F\\uA806\\uA82C\\uA8C4\\uA953\\uA9C0\\uAAF6\\uABED' +
  '\\u{10A3F}\\u{11046}\\u{11070}\\u{1107F}\\u{110B9}\\u{11133}\\u{11134}\\u{111C0}\\u{11235}\\u{112EA}\\u{1134D}\\u{11442}' +
  '\\u{114C2}\\u{115BF}\\u{1163F}\\u{116B6}\\u{1172B}\\u{11839}\\u{1193D}\\u{1193E}\\u{119E0}\\u{11A34}\\u{11A47}\\u{11A99}' +
  '\\u{11C3F}\\u{11D44}\\u{11D45}\\u{11D97}\\u{11F41}\\u{11F42}]'
const at = (before: string, after = ''): Context => [new RegExp(`${before}$`, 'v'), new RegExp(`^${after}`, 'v')]
const VIRAMA_BEFORE = `${BASE}${MARK}*${VIRAMA}${MARK}*`

const RULES: readonly (readonly [characters: RegExp, ...contexts: readonly Context[]])[] = [
  [
    // ZERO WIDTH NON-JOINER, UAX 31 A1 and A2. Writers of Persian also put it after letters that do not join, so A1 does
    // not ask whether the letters would join without it.
    /\u200C/u,
    at(`${CURSIVE}${MARK}*`, `${MARK}*${CURSIVE}`),
    at(VIRAMA_BEFORE, String.raw`\p{L}`),
  ],
  [
    // ZERO WIDTH JOINER, UAX 31 B; and before a virama, for the ra of Bengali and Kannada, and touching letters of Sinhala.
    /\u200D/u,
    at(VIRAMA_BEFORE, `(?!${MARK})`),
    at(`${BASE}${MARK}*`, `${VIRAMA}\\p{L}`),
  ],
  // Text or emoji: of symbols and punctuation, and of the digits in keycaps.
  [/[\uFE0E\uFE0F]/u, at(String.raw`[\p{Emoji}\p{EMod}\p{S}\p{P}]`)],
  // Variants of ideographs, also in names, and of Mongolian letters.
  [/[\uFE00-\uFE02\u{E0100}-\u{E01EF}]/u, at(String.raw`\p{Ideographic}`)],
  [/[\u180B-\u180D\u180F]/u, at(String.raw`[\p{L}&&\p{sc=Mong}]`)],
]
