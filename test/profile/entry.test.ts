import { describe, expect, it } from 'vitest'
import { fold, refuseFile, splitParts } from '../../src/profile/entry.ts'

describe('fold', () => {
  it.each([
    ['differ in case', 'Bob', 'bOB'],
    ['are composed or not', 'Zo\u00EB', 'Zoe\u0308'],
    ['are equal only after NFKC: a ligature', '\uFB01n', 'fin'],
    ['are equal only after NFKC: wide letters', '\uFF22\uFF4F\uFF42', 'Bob'],
    ['differ in a joiner', 'B\u200Dob', 'Bob'],
  ])('makes one name of two that %s', (_what, one, other) => {
    expect(one).not.toBe(other)
    expect(fold(one)).toBe(fold(other))
  })

  it('keeps other names apart', () => {
    expect(new Set(['bob', 'b\u00F6b', 'bo', 'bobby', 'b ob'].map(fold)).size).toBe(5)
  })
})

describe('refuseFile', () => {
  it('accepts names of 1 to 64 characters and at most 200 bytes', () => {
    for (const name of ['a', 'x'.repeat(64), '\u{1F600}'.repeat(50), `${'\u{1F600}'.repeat(49)}abcd`])
      expect([name, refuseFile(name)]).toEqual([name, undefined])
    for (const name of ['', 'x'.repeat(65), `${'\u{1F600}'.repeat(50)}a`]) expect(refuseFile(name)).toContain('1 to 64 characters')
  })

  it.each(['.hidden', '-option', ' a', 'a ', 'a~', '#a#', 'a/b', 'a\u200Bb'])('refuses %j', (name) => {
    expect(refuseFile(name)).toContain('cannot be a name')
  })
})

describe('splitParts', () => {
  const SIGNATURE = '-----END SSH SIGNATURE-----\n'

  it('ends the signed text at its last signature', () => {
    const signed = `one\n${SIGNATURE}two\n${SIGNATURE}`
    expect(splitParts(`${signed}relay: localhost\n`).signed).toBe(signed)
    expect(splitParts(signed.replaceAll('\n', '\r\n')).signed).toBe(signed)
    expect(splitParts('relay: localhost\n').signed).toBe('')
  })
})
